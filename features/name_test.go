package features

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSettleName(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("folder", 0o777))
	require.NoError(t, os.WriteFile("file", nil, 0o666))
	for name, want := range map[string]string{"": "", "a.npz": "a.npz", "a.zarr/": "a.zarr",
		"folder/a.mat//": "folder/a.mat", "s3://bucket/-": "s3://bucket/-", "/dev/shm/a.npz": "/dev/shm/a.npz"} {
		got, err := SettleName(name, "")
		require.NoError(t, err, name)
		assert.Equal(t, want, got)
	}
	for name, example := range map[string]string{"-": "features.npz", "folder": "folder/features.npz",
		"nowhere/": "nowhere/features.npz", "..": "../features.npz", "/dev/null": "features.npz",
		"folder/.npz": "folder/features.npz", "folder/.zarr": "folder/features.zarr"} {
		_, err := SettleName(name, "")
		var wrong *NameError
		require.ErrorAs(t, err, &wrong, name)
		assert.Equal(t, name, wrong.Name)
		assert.Equal(t, example, wrong.Example, name)
		assert.ErrorContains(t, err, ", such as "+example)
	}
	_, err := SettleName("-", NetCDF)
	assert.EqualError(t, err, "-: nothing is written to standard output here; name a place on a disk, such as features.nc")

	assert.NoError(t, CheckFolderName("folder", "x"))
	assert.Error(t, CheckFolderName("file", "x"))
	assert.NoError(t, CheckNewFolderName(filepath.Join("folder", "new"), "x"))
	assert.Error(t, CheckNewFolderName("folder/..", "x"))
}
