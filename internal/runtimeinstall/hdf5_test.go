package runtimeinstall

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/cachedir"
)

func h5pyWheel(t *testing.T) []byte {
	return makeWheel(t,
		entry{name: "h5py/h5.cpython-312-x86_64-linux-gnu.so", content: "not this"},
		entry{name: "h5py.libs/libhdf5-9e18f0c6.so.320.0.0", content: "hdf5"},
		entry{name: "h5py.libs/libhdf5_hl-69da89c9.so.320.0.0", content: "nor this"},
		entry{name: "h5py.libs/libsz-c6be10dd.so.2.0.1", content: "sz"},
		entry{name: "h5py.libs/libaec-a27cf049.so.0.1.4", content: "aec"},
		entry{name: "h5py.libs/../../libsz-00.so.2", content: "away"},
		entry{name: "h5py-3.16.0.dist-info/licenses/licenses/hdf5.txt", content: "licence"},
		entry{name: "h5py-3.16.0.dist-info/METADATA", content: "Version: 3.16.0"})
}

func TestInstallHDF5(t *testing.T) {
	newCache(t)
	data := h5pyWheel(t)
	o := Options{File: write(t, data), wheel: &wheel{"h5py", "manylinux_2_28_x86_64", sumOf(data), int64(len(data)),
		HDF5Version}}
	result, err := InstallHDF5(t.Context(), o)
	require.NoError(t, err)
	root, err := cachedir.HDF5()
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(root, HDF5Version), result.Dir)
	var names []string
	entries, err := os.ReadDir(result.Dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	assert.Equal(t, []string{"hdf5.txt", "libaec-a27cf049.so.0.1.4", "libhdf5-9e18f0c6.so.320.0.0",
		"libsz-c6be10dd.so.2.0.1", "manifest.json"}, names)
	again, err := InstallHDF5(t.Context(), o)
	require.NoError(t, err)
	assert.True(t, again.AlreadyInstalled)
	_, err = Verify(t.Context(), result.Dir)
	require.NoError(t, err)
}

func TestInstallHDF5Refuses(t *testing.T) {
	newCache(t)
	data := h5pyWheel(t)
	_, err := InstallHDF5(t.Context(), Options{File: write(t, data), platform: "linux/amd64"})
	assert.ErrorIs(t, err, ErrChecksum)
	_, err = InstallHDF5(t.Context(), Options{platform: "plan9/386"})
	assert.ErrorIs(t, err, ErrPlatform)
	other := goodWheel(t)
	_, err = InstallHDF5(t.Context(),
		Options{File: write(t, other), wheel: &wheel{"h5py", "x", sumOf(other), 0, HDF5Version}})
	assert.ErrorIs(t, err, ErrArchive)
	root, err := cachedir.HDF5()
	require.NoError(t, err)
	left, err := filepath.Glob(filepath.Join(root, "[^.]*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}
