package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is committed is what the description makes.
func TestCurrent(t *testing.T) {
	files, err := generate(t.Context(), "..")
	require.NoError(t, err)
	require.Len(t, files, 2)
	for name, want := range files {
		have, err := os.ReadFile(filepath.Join("..", name))
		require.NoError(t, err)
		assert.Equal(t, string(want), string(have), "%s is not current; run go generate ./internal/inferencepb", name)
	}
}
