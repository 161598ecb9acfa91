package main

import (
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/explorer/npm"
)

// What is committed is what the pinned package and the photographs make.
func TestUpToDate(t *testing.T) {
	files, err := generate("..")
	if errors.Is(err, npm.ErrMissing) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	require.NoError(t, err)
	require.Len(t, files, 8)
	for name, want := range files {
		got, err := os.ReadFile(name)
		require.NoError(t, err)
		assert.True(t, string(want) == string(got), "%s is out of date; run go generate ./internal/explorer",
			name) // the difference would be long
	}
}
