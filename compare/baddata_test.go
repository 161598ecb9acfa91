package compare_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
)

// repeated has two repetitions of every stimulus, which differ a little.
type repeated struct{ *madeUp }

func (r *repeated) Trials(int) (trials compare.Trials, err error) {
	for i, row := range r.rates {
		other := []float64{row[0] + 0.1*float64(i%3), row[1] - 0.1*float64(i%2)}
		trials = append(trials, [][]float64{row, other})
	}
	return trials, nil
}

// Each kind of bad data is refused by name, or left out and said; nothing is NaN without a reason.
func TestBadData(t *testing.T) {
	fresh := func() *madeUp { return newMadeUp(rand.New(rand.NewPCG(1, 1)), 1, 1) }
	fit := func(f, r *madeUp, o compare.FitOptions) (*compare.Fits, error) {
		o.Mapping = compare.Ridge{}
		return compare.FitOverTime(t.Context(), f, &repeated{r}, o)
	}
	for name, c := range map[string]struct {
		change  func(f, r *madeUp, o *compare.FitOptions)
		kind    error
		message string
	}{
		"other ids": {func(f, r *madeUp, o *compare.FitOptions) {
			r.ids[3] = "x"
		}, compare.ErrData, "no features of 1 of 40 stimuli, such as x"},
		"no overlap": {func(f, r *madeUp, o *compare.FitOptions) {
			o.Shared = true
			rename(r)
		}, compare.ErrData, "none of the 40 stimuli"},
		"features twice": {func(f, r *madeUp, o *compare.FitOptions) {
			f.ids[1] = f.ids[0]
		}, compare.ErrData, "stimulus0 twice"},
		"one stimulus": {func(f, r *madeUp, o *compare.FitOptions) {
			r.ids, r.rates = r.ids[:1], r.rates[:1]
		}, compare.ErrData, "responses to 1 stimulus"},
		"one to test on": {func(f, r *madeUp, o *compare.FitOptions) {
			r.ids, r.rates = r.ids[:5], r.rates[:5]
		}, compare.ErrSplits, "a split tests on 1"},
		"too many splits": {func(f, r *madeUp, o *compare.FitOptions) {
			o.Splits.Count = 1 << 40
		}, compare.ErrSplits, "more than fit into memory"},
		"no strata": {func(f, r *madeUp, o *compare.FitOptions) {
			o.Stratify = "object_name"
		}, compare.ErrSplits, "no coordinate object_name"},
		"unknown layer": {func(f, r *madeUp, o *compare.FitOptions) {
			o.Layers = []string{"conv1"}
		}, compare.ErrNoLayer, `"conv1"; there are layer0`},
		"NaN feature": {func(f, r *madeUp, o *compare.FitOptions) {
			f.layers[0][7][1] = float32(math.NaN())
		}, compare.ErrData, "feature 1 of stimulus stimulus7 is NaN"},
		"infinite response": {func(f, r *madeUp, o *compare.FitOptions) {
			r.rates[7][1] = math.Inf(1)
		}, compare.ErrMissing, "1 of 2 neuroids lack a finite response to some stimulus: b"},
		"nothing left": {func(f, r *madeUp, o *compare.FitOptions) {
			o.Missing = compare.DropNeuroids
			fill(r, math.NaN())
		}, compare.ErrData, "nothing is left"},
		"constant responses": {func(f, r *madeUp, o *compare.FitOptions) {
			fill(r, 3)
		}, compare.ErrData, "no neuroid has a score"},
		"constant features": {func(f, r *madeUp, o *compare.FitOptions) {
			f.layers[0] = make([][]float32, 40)
			clearRows(f)
		}, compare.ErrData, "not driven"},
		"unknown statistics": {func(f, r *madeUp, o *compare.FitOptions) {
			o.Normalisation = "r"
		}, compare.ErrOptions, "no normalisation"},
		"neuroids by pattern": {func(f, r *madeUp, o *compare.FitOptions) {
			o.Missing = compare.PerNeuroid
			o.Reverse = true
		}, compare.ErrOptions, "stimuli of their own"},
	} {
		t.Run(name, func(t *testing.T) {
			f, r, o := fresh(), fresh(), compare.FitOptions{}
			c.change(f, r, &o)
			_, err := fit(f, r, o)
			require.ErrorIs(t, err, c.kind)
			assert.ErrorContains(t, err, c.message)
		})
	}

	f, r := fresh(), fresh()
	for i := range r.rates {
		r.rates[i][0] = 3
	}
	fits, err := fit(f, r, compare.FitOptions{})
	require.NoError(t, err)
	assert.Equal(t, []string{"a"}, fits.Scores[0].Undefined)
	assert.Contains(t, fits.Notes[len(fits.Notes)-1], "1 of 2 neuroids without a score or ceiling at some time")
	assert.False(t, math.IsNaN(fits.Scores[0].Score.Center))
}

func rename(m *madeUp) {
	for i := range m.ids {
		m.ids[i] = "other " + m.ids[i]
	}
}

func fill(m *madeUp, v float64) {
	for i := range m.rates {
		m.rates[i] = []float64{v, v}
	}
}

func clearRows(m *madeUp) {
	for i := range m.layers[0] {
		m.layers[0][i] = make([]float32, 3)
	}
}

// Where no neuroid has a ceiling, since a stimulus lacks a repetition in a half, scores stay.
func TestScoresWithoutCeilings(t *testing.T) {
	m := newMadeUp(rand.New(rand.NewPCG(1, 1)), 1, 3)
	ragged := &raggedTrials{&repeated{m}}
	fits, err := compare.FitOverTime(t.Context(), m, ragged, compare.FitOptions{Mapping: compare.Ridge{}})
	require.NoError(t, err)
	assert.Greater(t, fits.Scores[0].Score.Center, 0.5)
	assert.Empty(t, fits.Scores[0].Undefined)
	assert.True(t, math.IsNaN(fits.Scores[0].Ceiled))
	assert.Contains(t, fits.Notes[len(fits.Notes)-1], "no ceiling")
	ceilings, err := compare.CeilingOverTime(t.Context(), ragged, false)
	require.NoError(t, err)
	assert.Contains(t, ceilings[0].Reason, "without a repetition in a half")
}

type raggedTrials struct{ *repeated }

func (r *raggedTrials) Trials(bin int) (compare.Trials, error) {
	trials, err := r.repeated.Trials(bin)
	trials[3][1] = []float64{math.NaN(), math.NaN()}
	return trials, err
}

func TestResultText(t *testing.T) {
	r := &compare.Result{Analysis: "fit", Metric: "ridge",
		Scores: []compare.ResultScore{{Layer: "conv1", Score: -0.3, Ceiled: 0.1, Ceiling: 0.9, Normalisation: "r²/ρ",
			Neuroids: 3}}}
	text := &writer{}
	require.NoError(t, r.WriteTable(text))
	assert.Contains(t, text.text, "where the score is negative, its square hides it")
	assert.Equal(t, []string{"LAYER", "MS", "FEATURES' MS", "SCORE", "ERROR", "CEILING", "CEILED", "NEUROIDS", ""},
		r.Table()[0])
}

type writer struct{ text string }

func (w *writer) Write(p []byte) (int, error) { w.text += string(p); return len(p), nil }
