package explorer_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// TypeScript finds nothing wrong with the types that the page's scripts declare in comments.
func TestTypes(t *testing.T) {
	if testing.Short() {
		t.Skip("fetches TypeScript")
	}
	npm, err := exec.LookPath("npm")
	if err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	require.NoError(t, err)
	out, err := exec.Command(npm, "exec", "--yes", "--package=typescript@5.9.3", "--", "tsc", "-p",
		"jsconfig.json").CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// The page's scripts are formatted by Prettier, to 120 columns.
func TestFormat(t *testing.T) {
	if testing.Short() {
		t.Skip("fetches Prettier")
	}
	npm, err := exec.LookPath("npm")
	if err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	require.NoError(t, err)
	out, err := exec.Command(npm, "exec", "--yes", "--package=prettier@3.6.2", "--", "prettier", "--check",
		"page/*.js").CombinedOutput()
	require.NoError(t, err, "%s", out)
}
