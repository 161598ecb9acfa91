package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Nobody means an input by --force, under whatever name.
func TestOutputIsNoInput(t *testing.T) {
	dir := t.TempDir()
	copied := func(from, to string) string {
		content, err := os.ReadFile(filepath.Join("../../testdata/comparison", from))
		require.NoError(t, err)
		to = filepath.Join(dir, to)
		require.NoError(t, os.WriteFile(to, content, 0o600))
		return to
	}
	features, neural, npz := copied("features.nc", "features.nc"), copied("neural.nc", "neural.nc"),
		copied("neural.nc", "a.npz")
	other := filepath.Join(dir, "other.npz")
	require.NoError(t, os.Symlink("a.npz", other))
	for _, args := range [][]string{
		{"compare", "fit", "--features", features, "--data", neural, "--out", neural, "--force"},
		{"compare", "cka", "--data", neural, "--features", features, "--out", features, "--force"},
		{"pca", npz, "--components", "3", "--out", other, "--force"},
		{"extract", "--model", "timedecay_shallow", "--weights", "seeded:1", "--out", npz, "--force", other},
	} {
		code, _, stderr := run(t.Context(), args...)
		assert.Equal(t, exitUsage, code, "%v: %s", args, stderr)
		assert.Contains(t, stderr, "would be replaced", "%v", args)
	}
	for _, name := range []string{features, neural, npz} {
		info, err := os.Stat(name)
		require.NoError(t, err)
		assert.Greater(t, info.Size(), int64(1000), name)
	}
}
