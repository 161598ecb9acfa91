package compare_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
)

// madeUp are features of layers [stimuli][features], without time, and responses to the same stimuli.
type madeUp struct {
	ids    []string
	layers [][][]float32
	rates  compare.Targets
}

func (m *madeUp) Stimuli() []string { return m.ids }
func (m *madeUp) Layers() []compare.FeatureLayer {
	var list []compare.FeatureLayer
	for i, rows := range m.layers {
		list = append(list, compare.FeatureLayer{Name: fmt.Sprint("layer", i), Size: len(rows[0])})
	}
	return list
}
func (m *madeUp) Row(layer, stimulus int) ([]float32, error) { return m.layers[layer][stimulus], nil }
func (m *madeUp) Neuroids() []string                         { return []string{"a", "b"} }
func (m *madeUp) Bins() []compare.Bin                        { return nil }
func (m *madeUp) Average(int) (compare.Targets, error)       { return m.rates, nil }
func (m *madeUp) Labels(string) []string                     { return nil }
func (m *madeUp) Trials(int) (trials compare.Trials, err error) {
	for _, row := range m.rates {
		trials = append(trials, [][]float64{row})
	}
	return trials, nil
}

func newMadeUp(random *rand.Rand, layers int, signal float64) *madeUp {
	m := &madeUp{layers: make([][][]float32, layers)}
	for i := range 40 {
		m.ids = append(m.ids, fmt.Sprint("stimulus", i))
		m.rates = append(m.rates, []float64{random.NormFloat64(), random.NormFloat64()})
		for l := range m.layers {
			row := make([]float32, 3)
			for k := range row {
				row[k] = float32(random.NormFloat64())
			}
			if l == layers-1 {
				row[0] += float32(signal * m.rates[i][0])
				row[1] += float32(signal * m.rates[i][1])
			}
			m.layers[l] = append(m.layers[l], row)
		}
	}
	return m
}

// Of many layers of noise the best one seems to explain something, unless the choice is nested.
func TestNestedChoicesAreNotOptimistic(t *testing.T) {
	nested, not := 0.0, 0.0
	const times = 12
	for seed := range times {
		m := newMadeUp(rand.New(rand.NewPCG(uint64(seed), 0)), 30, 0)
		best, fits, err := compare.BestOverTime(t.Context(), m, m,
			compare.BestOptions{FitOptions: compare.FitOptions{Mapping: compare.Ridge{},
				Splits: compare.Splits{TrainFraction: 0.7}}})
		require.NoError(t, err)
		require.Len(t, best, 1)
		assert.Len(t, fits.Scores, 30)
		assert.True(t, best[0].Nested)
		nested += best[0].Score.Center / times
		not += best[0].NotNested / times
		splits := 0
		for _, c := range best[0].Choices {
			splits += c.Splits
		}
		assert.Equal(t, 10, splits)
	}
	assert.InDelta(t, 0, nested, 0.1)
	assert.Greater(t, not, 0.2)
}

func TestBestIsFound(t *testing.T) {
	m := newMadeUp(rand.New(rand.NewPCG(7, 7)), 6, 3)
	options := compare.BestOptions{FitOptions: compare.FitOptions{Mapping: compare.Ridge{}}}
	best, fits, err := compare.BestOverTime(t.Context(), m, m, options)
	require.NoError(t, err)
	assert.Equal(t, []compare.Choice{{Layer: "layer5", Splits: 10}}, best[0].Choices)
	assert.Equal(t, "layer5", best[0].Layer)
	// Chosen everywhere, its score is that of the fits.
	assert.Equal(t, fits.Scores[5].Score.Center, best[0].Score.Center)
	assert.Equal(t, fits.Scores[5].Score.Center, best[0].NotNested)
	options.NotNested = true
	best, _, err = compare.BestOverTime(t.Context(), m, m, options)
	require.NoError(t, err)
	assert.False(t, best[0].Nested)
	assert.Equal(t, fits.Scores[5].Score.Center, best[0].Score.Center)
	for _, wrong := range []compare.FitOptions{{Reverse: true}, {SpanTime: true}, {Normalisation: compare.Corrected},
		{Mapping: compare.OneToOne{}}} {
		_, _, err := compare.BestOverTime(t.Context(), m, m, compare.BestOptions{FitOptions: wrong})
		assert.ErrorIs(t, err, compare.ErrOptions)
	}
}

func TestParseMapping(t *testing.T) {
	for name, want := range map[string]compare.Mapping{"pls": compare.PLS{}, "ridge": compare.Ridge{},
		"linear": compare.Linear{}, "neuron-to-neuron": compare.OneToOne{},
		"ridge-loo":   compare.Ridge{Alphas: compare.BrainScoreAlphas()},
		"ridge-kfold": compare.Ridge{Alphas: compare.BrainScoreAlphas(), Folds: 5}} {
		got, err := compare.ParseMapping(name, compare.MappingOptions{})
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	for name, o := range map[string]compare.MappingOptions{"ridge": {Components: 5}, "pls": {Folds: 2},
		"linear": {Alphas: []float64{1}}, "ridge-loo": {Alphas: []float64{-1}}, "nonsense": {}} {
		_, err := compare.ParseMapping(name, o)
		assert.ErrorIs(t, err, compare.ErrOptions, name)
	}
	for i, name := range compare.NormalisationNames() {
		n, err := compare.ParseNormalisation(name)
		require.NoError(t, err)
		assert.Equal(t, compare.Normalisations()[i], n)
	}
	_, err := compare.ParseNormalisation("r")
	assert.ErrorIs(t, err, compare.ErrOptions)
}

func TestObjectProbabilities(t *testing.T) {
	objects, p, err := compare.ObjectProbabilities([][]float64{{0, 0, 0, 0}}, map[string][]int{"dog": {0, 1}, "cat": {3}})
	require.NoError(t, err)
	assert.Equal(t, []string{"cat", "dog"}, objects)
	assert.InDeltaSlice(t, []float64{0.25, 0.25}, p[0], 1e-12)
	_, _, err = compare.ObjectProbabilities([][]float64{{0}}, map[string][]int{"dog": {1}})
	assert.ErrorIs(t, err, compare.ErrData)
}
