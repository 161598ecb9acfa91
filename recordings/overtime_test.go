package recordings_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/recordings"
)

type goldenScore struct {
	Center float64      `json:"center"`
	Error  float64      `json:"error"`
	Raw    [][]*float64 `json:"raw"`
}

type goldenFile struct {
	Predictivity map[string]json.RawMessage `json:"predictivity"` // other mappings' are of another form
	Ceiled       map[string]float64         `json:"ceiled"`
}

func readGolden(t testing.TB, name string, into any) {
	text, err := os.ReadFile(data + name)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, into))
}

func modelled(t testing.TB) *recordings.FeatureFile {
	f, err := recordings.OpenFeatures(data + "features.nc")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, f.Close()) })
	return f
}

func sameRaw(t *testing.T, want [][]*float64, got [][]float64, tolerance float64) {
	t.Helper()
	require.Len(t, got, len(want))
	for s := range want {
		for j, w := range want[s] {
			if w == nil {
				assert.True(t, math.IsNaN(got[s][j]))
				continue
			}
			assert.InDelta(t, *w, got[s][j], tolerance)
		}
	}
}

// From files to Brain-Score's scores.
func TestFitOverTime(t *testing.T) {
	needHDF5(t)
	var golden goldenFile
	readGolden(t, "brainscore.json", &golden)
	r := selected(t, open(t, "neural.nc", recordings.Layout{}), recordings.Selection{})
	for _, c := range []struct {
		name      string
		mapping   compare.Mapping
		tolerance float64
	}{{"pls", nil, 1e-7}, {"ridge", compare.Ridge{}, about(5e-5)}} {
		fits, err := compare.FitOverTime(t.Context(), modelled(t), r, compare.FitOptions{Mapping: c.mapping,
			Stratify: "object_name"})
		require.NoError(t, err)
		require.Len(t, fits.Scores, len(r.Bins()))
		if data == standard+"/" {
			assert.Empty(t, fits.Notes) // few stimuli are remarked on
		}
		for _, s := range fits.Scores {
			bin := fmt.Sprint(s.Bin.Start)
			var want goldenScore
			require.NoError(t, json.Unmarshal(golden.Predictivity[c.name+"/stratified/"+bin], &want))
			assert.InDelta(t, want.Center, s.Score.Center, c.tolerance)
			assert.InDelta(t, want.Error, s.Score.Error, c.tolerance)
			sameRaw(t, want.Raw, s.Score.Raw, c.tolerance)
			assert.Equal(t, "conv9", s.Layer)
			assert.Equal(t, s.Bin, s.Features)
			assert.True(t, slices.IsSorted(s.NeuroidIDs))
			if c.name == "pls" {
				assert.InDelta(t, golden.Ceiled[bin], s.Ceiled, 1e-7)
			}
		}
	}
}

// Features of before the image has reached the layer are the same for all stimuli.
func TestNotDriven(t *testing.T) {
	needHDF5(t)
	r := selected(t, open(t, "neural.nc", recordings.Layout{}), recordings.Selection{})
	fits, err := compare.FitOverTime(t.Context(), modelled(t), r, compare.FitOptions{Mapping: compare.Ridge{},
		Offsets: []float64{50}})
	require.NoError(t, err)
	for i, s := range fits.Scores {
		assert.Equal(t, s.Bin.Start-50, s.Features.Start)
		if i < 2 {
			assert.True(t, math.IsNaN(s.Score.Center))
			assert.Contains(t, s.Reason, "not driven")
		} else {
			assert.Empty(t, s.Reason)
			assert.Greater(t, s.Score.Center, 0.3)
		}
	}
	fits, err = compare.FitOverTime(t.Context(), modelled(t), r, compare.FitOptions{Mapping: compare.Ridge{},
		Offsets: []float64{100}})
	assert.ErrorIs(t, err, compare.ErrData)
	assert.Contains(t, fits.Scores[0].Reason, "no features of that time")
	fits, err = compare.FitOverTime(t.Context(), modelled(t), r, compare.FitOptions{Mapping: compare.Ridge{},
		Matrix: true})
	require.NoError(t, err)
	assert.Len(t, fits.Scores, 20*len(r.Bins()))
}

func TestMissingPolicies(t *testing.T) {
	needHDF5(t)
	from, to := 90.0, 100.0
	r := selected(t, open(t, "neural_nan.nc", recordings.Layout{}), recordings.Selection{From: &from, To: &to})
	_, err := compare.FitOverTime(t.Context(), modelled(t), r, compare.FitOptions{Stratify: "object_name"})
	assert.ErrorIs(t, err, compare.ErrMissing)
	var golden map[string]json.RawMessage
	readGolden(t, "nan_variant.json", &golden)
	average, err := r.Average(0)
	require.NoError(t, err)
	constant := ""
	for j, id := range r.Neuroids() {
		if !slices.ContainsFunc(average, func(row []float64) bool { return row[j] != 0 }) {
			constant = id
		}
	}
	for _, c := range []struct {
		name      string
		missing   compare.Missing
		mapping   compare.Mapping
		tolerance float64
	}{
		{"pls/drop neuroids/90", compare.DropNeuroids, compare.PLS{}, 1e-7},
		{"ridge/drop neuroids/90", compare.DropNeuroids, compare.Ridge{}, about(5e-5)},
		{"pls/drop stimuli (Cadena2017 way)/90", compare.DropStimuli, compare.PLS{}, 1e-7},
	} {
		var want goldenScore
		require.NoError(t, json.Unmarshal(golden[c.name], &want))
		fits, err := compare.FitOverTime(t.Context(), modelled(t), r, compare.FitOptions{Mapping: c.mapping,
			Stratify: "object_name", Missing: c.missing, Shared: true})
		require.NoError(t, err, c.name)
		s := fits.Scores[0]
		assert.InDelta(t, want.Center, s.Score.Center, c.tolerance, c.name)
		sameRaw(t, want.Raw, s.Score.Raw, c.tolerance)
		assert.InDelta(t, want.Error, s.Score.Error, c.tolerance, c.name)
		assert.Equal(t, []string{constant}, s.Undefined)
		assert.Contains(t, fmt.Sprint(fits.Notes), "left out")
	}
	fits, err := compare.FitOverTime(t.Context(), modelled(t), r, compare.FitOptions{Mapping: compare.Ridge{},
		Stratify: "object_name", Missing: compare.PerNeuroid})
	require.NoError(t, err)
	assert.Len(t, r.Stimuli(), fits.Scores[0].Stimuli)
	assert.Len(t, fits.Scores[0].NeuroidIDs, len(r.Neuroids())-1) // one has no response
	assert.Subset(t, fits.Scores[0].Undefined, []string{constant})
}
