package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A disk without the room for the features ends no comparison: they come in passes. It only ends one that asks for a
// file, before anything is computed.
func TestCompareWhereTheDiskIsFull(t *testing.T) {
	dir := t.TempDir()
	pictures, data := picturesAndRates(t, dir)
	disk := smallDisk(t, 4) // the features take 6.5 MB
	fit := func(args ...string) (code int, stderr string) {
		code, _, stderr = run(t.Context(), append([]string{"compare", "fit", "--data", data, "--metric", "ridge", "--splits",
			"3", "--matrix", "--features-memory", "2MB", "--model", "timedecay_shallow", "--weights", "seeded:1", "--layers",
			"conv4,imnetds", "--times", "6", pictures}, args...)...)
		return code, stderr
	}
	code, stderr := fit("--gram-cache", disk, "--features-in", "file")
	assert.Equal(t, exitFailure, code, "%s", stderr)
	assert.Contains(t, stderr, "not enough disk space")
	assert.Contains(t, stderr, "--features-in passes")
	left, err := os.ReadDir(disk)
	require.NoError(t, err)
	assert.Empty(t, left)

	full, roomy := filepath.Join(dir, "full.json"), filepath.Join(dir, "roomy.json")
	code, stderr = fit("--gram-cache", disk, "--out", full)
	require.Equal(t, exitOK, code, "%s", stderr)
	assert.Contains(t, stderr, "of which nothing is written: the model runs 3 times over all stimuli")
	code, stderr = fit("--gram-cache", filepath.Join(dir, "cache"), "--out", roomy)
	require.Equal(t, exitOK, code, "%s", stderr)
	assert.NotContains(t, stderr, "of which nothing is written")
	want, err := os.ReadFile(roomy)
	require.NoError(t, err)
	got, err := os.ReadFile(full)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got))
}
