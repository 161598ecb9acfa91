package main

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is committed is what the pinned package and the photographs make.
func TestUpToDate(t *testing.T) {
	if _, err := exec.LookPath("npm"); err != nil {
		require.NotEqual(t, "true", os.Getenv("CI"), "%v", err)
		t.Skipf("npm fetches the package: %v", err)
	}
	files, err := generate("..")
	require.NoError(t, err)
	require.Len(t, files, len(taken)+4)
	for name, want := range files {
		got, err := os.ReadFile(name)
		require.NoError(t, err)
		assert.True(t, string(want) == string(got), "%s is out of date; run go generate ./internal/explorer", name) // the difference would be long
	}
}
