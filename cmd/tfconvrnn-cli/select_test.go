package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
)

// Selected units are those of whole layers, to the last bit, in every format, which says where
// they are.
func TestSelectedUnits(t *testing.T) {
	if _, err := runtimePath(); err != nil {
		require.NotEqual(t, "1", os.Getenv(requireEnv), "%v", err)
		t.Skip("needs libtensorflow:", err)
	}
	dir, store := t.TempDir(), t.TempDir()
	extract := func(name string, further ...string) string {
		out := filepath.Join(dir, name)
		args := append([]string{"extract", "--quiet", "--model", "timedecay_shallow", "--weights", "seeded:1",
			"--store", store,
			"--layers", "conv4,conv5,imnetds", "--include-all-times", "--out", out, "../../testdata/pictures"}, further...)
		code, _, stderr := run(t.Context(), args...)
		require.Equal(t, exitOK, code, "%s", stderr)
		return out
	}
	read := func(name, layer string) ([]float32, []int) {
		s, err := features.Open(name)
		require.NoError(t, err)
		defer s.Close()
		values, err := s.Read(t.Context(), layer, 0, 4, nil)
		require.NoError(t, err)
		info, err := s.Layer(layer)
		require.NoError(t, err)
		return values, info.Shape
	}
	whole := extract("whole.npz")
	pick := func(layer string, size int, units ...int) (picked []float32) {
		values, _ := read(whole, layer)
		for ; len(values) > 0; values = values[size:] {
			for _, u := range units {
				picked = append(picked, values[u])
			}
		}
		return picked
	}
	center := (2*4 + 2) * 512 // of 4×4×512
	want := map[string][]float32{
		"conv5": pick("conv5", 4*4*512, center+7, center+3), "imnetds": pick("imnetds", 1000, 999),
		"conv4": pick("conv4", 256, 0, 5),
	}
	shapes := map[string][]int{"conv5": {2}, "imnetds": {1}, "conv4": {7, 7, 2}}
	selections := []string{"--select", "conv5=center+channels(7,3)", "--select", "conv4=channels(0,5)", "--select",
		"imnetds=channels(999)"}
	for _, suffix := range []string{".npz", ".zarr", ".nc", ".mat", ".npy", ".h5"} {
		out := extract("some"+suffix, selections...)
		for layer, values := range want {
			got, shape := read(out, layer)
			assert.Equal(t, values, got, "%s %s", suffix, layer)
			assert.Equal(t, shapes[layer], shape, "%s %s", suffix, layer)
		}
	}

	arrays, err := features.OpenArrays(filepath.Join(dir, "some.npz"))
	require.NoError(t, err)
	defer arrays.Close()
	for name, want := range map[string][]int64{"conv5/row": {2}, "conv5/column": {2}, "conv5/channels": {7, 3},
		"conv4/channels": {0, 5}} {
		array, err := arrays.Array(name)
		require.NoError(t, err)
		got, err := array.Int64s(0, len(want))
		require.NoError(t, err, name)
		assert.Equal(t, want, got, name)
	}
	var zarr, npy map[string]any
	for name, into := range map[string]*map[string]any{"some.zarr/conv5/.zattrs": &zarr,
		"some.npy/conv5/layer.json": &npy} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, into))
	}
	assert.Equal(t, []any{4.0, 4.0, 512.0}, zarr["map_shape"])
	assert.FileExists(t, filepath.Join(dir, "some.zarr/conv5_row/.zarray"))
	assert.Equal(t, []any{7.0, 3.0}, npy["channels"])
	assert.Equal(t, 2.0, npy["row"])
	nc, err := os.ReadFile(filepath.Join(dir, "some.nc"))
	require.NoError(t, err)
	assert.Contains(t, string(nc), "timedecay_shallow.conv5.5127", "the neuroid's number is that in the whole layer")
	mat, err := os.ReadFile(filepath.Join(dir, "some.mat", "conv5.mat"))
	require.NoError(t, err)
	assert.Contains(t, string(mat), "unit_channels")

	// Reductions are of what is selected.
	out := extract("reduced.npz", append(selections, "--reduce", "conv4=gap")...)
	got, shape := read(out, "conv4")
	assert.Equal(t, []int{2}, shape)
	positions, _ := read(filepath.Join(dir, "some.npz"), "conv4")
	var sum float64
	for i := range 49 {
		sum += float64(positions[2*i])
	}
	assert.InDelta(t, sum/49, got[0], 1e-6)
}
