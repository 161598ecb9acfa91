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
	npmProgram(t, "typescript@5.9.3", "tsc", "-p", "jsconfig.json")
}

// The page's scripts are formatted by Prettier, to 120 columns.
func TestFormat(t *testing.T) {
	if testing.Short() {
		t.Skip("fetches Prettier")
	}
	npmProgram(t, "prettier@3.6.2", "prettier", "--check", "page/*.js")
}

// npmProgram runs a program of a package, which must succeed.
func npmProgram(t *testing.T, pack string, command ...string) {
	t.Helper()
	npm, err := exec.LookPath("npm")
	if err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	require.NoError(t, err)
	args := append([]string{"exec", "--yes", "--package=" + pack, "--"}, command...)
	out, err := exec.Command(npm, args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}
