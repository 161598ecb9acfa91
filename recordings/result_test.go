package recordings_test

import (
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/recordings"
)

// fitted is a result of ridge regression on the golden data.
func fitted(t *testing.T, o compare.FitOptions) *compare.Result {
	t.Helper()
	a, err := recordings.Open(data+"neural.nc", recordings.Layout{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, a.Close()) })
	r, err := recordings.Select(a, recordings.Selection{})
	require.NoError(t, err)
	f := modelled(t)
	o.Mapping, o.Splits = compare.Ridge{Alphas: []float64{1, 10, 100}, PerNeuroid: true}, compare.Splits{Count: 3}
	fits, err := compare.FitOverTime(t.Context(), f, r, o)
	require.NoError(t, err)
	seed := int64(1)
	result := &compare.Result{Analysis: "fit", Metric: "ridge", Splits: "3 splits", Seed: &seed, Features: data +
		"features.nc", Data: data + "neural.nc", Software: "test"}
	r.Said(result)
	result.Add(fits, !o.Matrix)
	require.NoError(t, recordings.Describe(t.Context(), result, f, r))
	return result
}

func TestResultsAreReadAgain(t *testing.T) {
	needHDF5(t)
	result := fitted(t, compare.FitOptions{Offsets: []float64{50}})
	dir := t.TempDir()
	for _, format := range recordings.ResultFormats() {
		name := filepath.Join(dir, "result"+format)
		require.NoError(t, recordings.WriteResult(name, result))
		require.NoError(t, recordings.WriteResult(name, result)) // replaces it
		if format == ".csv" {
			continue
		}
		got, err := recordings.ReadResult(name)
		require.NoError(t, err, format)
		require.Len(t, got.Scores, len(result.Scores))
		assert.Equal(t, result.Metric, got.Metric)
		last := len(result.Scores) - 1
		assert.Equal(t, result.Scores[last].Score, got.Scores[last].Score)
		assert.True(t, math.IsNaN(float64(got.Scores[0].Score)))
		assert.Equal(t, result.Scores[0].Reason, got.Scores[0].Reason)
		assert.Equal(t, result.Means, got.Means)
	}
	other := filepath.Join(dir, "folder.zarr")
	require.NoError(t, os.Mkdir(other, 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(other, "mine"), nil, 0o666))
	assert.Error(t, recordings.WriteResult(other, result), "a folder that is no store is kept")
	for _, name := range []string{data + "behaviour.json", data + "features.nc", data + "behaviour.csv", other,
		filepath.Join(dir, "none.nc")} {
		_, err := recordings.ReadResult(name)
		assert.Error(t, err, name)
	}
}

func TestXarrayReadsResults(t *testing.T) {
	needHDF5(t)
	var pythons []string
	if name := os.Getenv("TFCONVRNN_PYTHON"); name != "" {
		pythons = append(pythons, name)
	}
	pythons = append(pythons, filepath.SplitList(os.Getenv("TFCONVRNN_OLD_PYTHONS"))...)
	if len(pythons) == 0 {
		if out, err := exec.Command("python3", "-c", "import xarray, netCDF4, zarr").CombinedOutput(); err != nil {
			t.Skipf("no Python with the modules of scripts/python-requirements.txt (set TFCONVRNN_PYTHON): %s", out)
		}
		pythons = append(pythons, "python3")
	}
	for name, c := range map[string]struct {
		options   compare.FitOptions
		undefined int
	}{
		"same times": {}, "not driven": {compare.FitOptions{Offsets: []float64{50}}, 2},
		"all times": {compare.FitOptions{Matrix: true}, 20},
	} {
		t.Run(name, func(t *testing.T) {
			result, dir := fitted(t, c.options), t.TempDir()
			for _, format := range recordings.ResultFormats() {
				require.NoError(t, recordings.WriteResult(filepath.Join(dir, "result"+format), result))
			}
			for _, python := range pythons {
				out, err := exec.Command(python, filepath.Join("testdata", "read_result.py"), dir,
					strconv.Itoa(c.undefined)).CombinedOutput()
				require.NoError(t, err, "%s: %s", python, out)
				assert.Contains(t, string(out), "all the same")
			}
		})
	}
}
