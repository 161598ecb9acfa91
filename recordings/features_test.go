package recordings_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/recordings"
)

// writeFeatures writes the made-up features, of two layers, as extract does.
func writeFeatures(t testing.TB, path string, format features.Format) {
	ids := texts(t, "stimulus_id")
	values, shape := doubles(t, "data.npz", "features") // stimuli, features, timesteps
	var timesteps []int
	for step := range shape[2] {
		timesteps = append(timesteps, step)
	}
	layout := &features.Layout{Rows: shape[0],
		Columns: []features.Column{{Name: map[bool]string{true: "stimulus_id", false: "stimuli"}[format == features.NetCDF],
			Values: ids}}}
	for _, name := range []string{"conv9", "conv10"} {
		layout.Streamed = append(layout.Streamed, features.Streamed{
			Name: name, DataType: features.Float32, RowShape: []int{shape[2], shape[1]}, Dimensions: []string{"timestep", name +
				"_unit"}, Layer: &features.Layer{Timesteps: timesteps},
		})
	}
	w, err := features.Create(path, format, layout, features.Options{})
	require.NoError(t, err)
	for i := range shape[0] {
		row := make([]float32, shape[1]*shape[2])
		for f := range shape[1] {
			for step := range shape[2] {
				row[step*shape[1]+f] = float32(values[(i*shape[1]+f)*shape[2]+step])
			}
		}
		require.NoError(t, w.WriteRows(0, i, row))
		for k := range row {
			row[k] = -row[k] + float32(k%7)
		}
		require.NoError(t, w.WriteRows(1, i, row))
	}
	require.NoError(t, w.Finish(t.Context()))
}

// Outputs of extract give the scores of BrainIO's file of the same features.
func TestOwnOutputs(t *testing.T) {
	needHDF5(t)
	var golden goldenFile
	readGolden(t, "brainscore.json", &golden)
	r := selected(t, open(t, "neural.nc", recordings.Layout{}), recordings.Selection{})
	want, err := compare.FitOverTime(t.Context(), modelled(t), r, compare.FitOptions{Stratify: "object_name"})
	require.NoError(t, err)
	for format, name := range map[features.Format]string{features.NPZ: "f.npz", features.Zarr: "f.zarr",
		features.NetCDF: "f.nc"} {
		path := filepath.Join(t.TempDir(), name)
		writeFeatures(t, path, format)
		f, err := recordings.OpenFeatures(path)
		require.NoError(t, err, name)
		fits, err := compare.FitOverTime(t.Context(), f, r, compare.FitOptions{Stratify: "object_name"})
		require.NoError(t, err, name)
		require.Len(t, fits.Scores, 2*len(r.Bins()))
		for i, s := range fits.Scores[:len(r.Bins())] {
			assert.Equal(t, "conv9", s.Layer)
			assert.Equal(t, want.Scores[i].Score.Center, s.Score.Center, name)
			other := fits.Scores[len(r.Bins())+i]
			assert.InDelta(t, s.Score.Center, other.Score.Center, 1e-6, "a sign and a constant do not matter")
		}
		require.NoError(t, f.Close())
		require.NoError(t, f.Close())
	}
}

// Some bins are read by themselves, and give the Gram matrices that all do.
func TestSomeBinsOfFeatures(t *testing.T) {
	npz := filepath.Join(t.TempDir(), "features.npz")
	writeFeatures(t, npz, features.NPZ)
	for _, name := range []string{npz, data + "features.nc"} {
		f, err := recordings.OpenFeatures(name)
		require.NoError(t, err)
		layer := f.Layers()[0]
		row, err := f.Row(0, 3)
		require.NoError(t, err)
		want := append(append([]float32{}, row[7*layer.Size:8*layer.Size]...), row[2*layer.Size:3*layer.Size]...)
		some, err := f.RowAt(0, 3, []int{7, 2})
		require.NoError(t, err)
		assert.Equal(t, want, some)
		weights := [][]float64{make([]float64, len(layer.Bins)), make([]float64, len(layer.Bins))}
		weights[0][7], weights[1][2], weights[1][3] = 1, 1, 0.5
		stimuli := []int{4, 1, 3, 0}
		whole, err := compare.Grams(t.Context(), struct{ compare.Features }{f}, 0, stimuli, weights)
		require.NoError(t, err)
		parts, err := compare.Grams(t.Context(), f, 0, stimuli, weights)
		require.NoError(t, err)
		for i := range whole {
			assert.Equal(t, compare.EuclideanRDM(whole[i]), compare.EuclideanRDM(parts[i]))
		}
		require.NoError(t, f.Close())
	}
}
