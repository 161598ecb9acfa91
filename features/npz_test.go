package features

import (
	"archive/zip"
	"io"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNPZRoundTrip(t *testing.T) {
	layout := sample(6)
	path := filepath.Join(t.TempDir(), "features.npz")
	writeAll(t, path, NPZ, layout, 4, Options{})

	f, err := OpenArrays(path)
	require.NoError(t, err)
	defer f.Close()
	assert.Equal(t, []string{"stimulus_id", "weight", "count", "flag", "conv9/timesteps", "conv9/ms", "conv9/driven",
		"imnetds/timesteps", "imnetds/ms", "class_name", "projection/indices", "provenance",
		"conv9", "imnetds", "logits", "valid"}, f.Names())
	for i, s := range layout.Streamed[:3] {
		a, err := f.Array(s.Name)
		require.NoError(t, err)
		assert.Equal(t, append([]int{6}, s.RowShape...), a.Info().Shape)
		got, err := a.Float32s(0, 6)
		require.NoError(t, err)
		assert.Equal(t, values(layout, i), got)
	}
	a, err := f.Array("stimulus_id")
	require.NoError(t, err)
	ids, err := a.Strings(0, 6)
	require.NoError(t, err)
	assert.Equal(t, layout.Columns[0].Values, ids)
	a, err = f.Array("conv9/timesteps")
	require.NoError(t, err)
	times, err := a.Int64s(0, 3)
	require.NoError(t, err)
	assert.Equal(t, []int64{0, 1, 2}, times)
	a, err = f.Array("provenance")
	require.NoError(t, err)
	text, err := a.Strings(0, 1)
	require.NoError(t, err)
	assert.Equal(t, []string{layout.Attributes[0].Value}, text)

	// The standard library's reader verifies every checksum.
	z, err := zip.OpenReader(path)
	require.NoError(t, err)
	defer z.Close()
	for _, entry := range z.File {
		r, err := entry.Open()
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, r)
		require.NoError(t, err, entry.Name)
	}
	size, err := layout.Size(NPZ)
	require.NoError(t, err)
	assert.Equal(t, fileSize(t, path), size)
}
