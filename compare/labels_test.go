package compare_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
)

// labelled are responses whose stimuli have labels, which are numbers or not.
type labelled struct {
	*repeated
	labels  []string
	numbers bool
}

func (l *labelled) Labels(string) []string { return l.labels }
func (l *labelled) Numbered(string) bool   { return l.numbers }

// Labels that are numbers are sorted as numbers before they are split, as NumPy does, and others as texts.
func TestStrataOfNumbers(t *testing.T) {
	m := newMadeUp(rand.New(rand.NewPCG(2, 2)), 1, 1)
	fit := func(labels []string, numbers bool) []float64 {
		var strata []string
		for i := range m.ids {
			strata = append(strata, labels[i%3])
		}
		fits, err := compare.FitOverTime(t.Context(), m, &labelled{&repeated{m}, strata, numbers},
			compare.FitOptions{Mapping: compare.Ridge{}, Stratify: "level"})
		require.NoError(t, err)
		return column(fits.Scores[0].Score.Raw)
	}
	numbers := []string{"3", "10", "200"}
	assert.Equal(t, fit([]string{"a", "b", "c"}, false), fit(numbers, true))
	assert.NotEqual(t, fit(numbers, false), fit(numbers, true)) // 10 before 200 before 3
	assert.Equal(t, fit([]string{"c", "a", "b"}, false), fit(numbers, false))
}

// The halves of the repetitions of reverse predictivity are drawn in the order of the ids: of numbers by size.
func TestReverseCeilingOfNumberedStimuli(t *testing.T) {
	ceiling := func(name func(i int) string, numbers bool) float64 {
		m := newMadeUp(rand.New(rand.NewPCG(2, 2)), 1, 1)
		for i := range m.ids {
			m.ids[i] = name(i)
		}
		fits, err := compare.FitOverTime(t.Context(), m, &labelled{&repeated{m}, nil, numbers},
			compare.FitOptions{Mapping: compare.Ridge{}, Reverse: true})
		require.NoError(t, err)
		return fits.Scores[0].Ceiling.Center
	}
	padded := ceiling(func(i int) string { return fmt.Sprintf("%02d", i) }, false)
	plain := func(i int) string { return fmt.Sprint(i) }
	assert.Equal(t, padded, ceiling(plain, true))
	assert.NotEqual(t, padded, ceiling(plain, false))
}

// A pair of stimuli that one subject has no dissimilarity of is in no pool.
func TestNoiseCeilingWithoutSomePairs(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	random := func() compare.RDM {
		d := compare.RDM{Stimuli: 12, Values: make([]float64, 66)}
		for i := range d.Values {
			d.Values[i] = r.Float64()
		}
		return d
	}
	subjects := []compare.RDM{random(), random(), random()}
	subjects[1].Values[7] = math.NaN()
	without := make([]compare.RDM, 3)
	for i, s := range subjects {
		without[i] = compare.RDM{Stimuli: 12, Values: slices.Clone(s.Values)}
		without[i].Values[7] = math.NaN()
	}
	for _, s := range []compare.Similarity{compare.Cosine, compare.Correlation, compare.RankCorrelation, compare.RhoA,
		compare.TauA} {
		lower, upper, err := compare.RSANoiseCeiling(subjects, s)
		require.NoError(t, err)
		wantLower, wantUpper, err := compare.RSANoiseCeiling(without, s)
		require.NoError(t, err)
		assert.Equal(t, []float64{wantLower, wantUpper}, []float64{lower, upper}, s)
		assert.Greater(t, upper, lower, s)
	}
}

// A subject with one neuroid has no correlations over neuroids, and no part in the noise ceiling; that is said.
func TestSubjectWithOneNeuroid(t *testing.T) {
	m := newMadeUp(rand.New(rand.NewPCG(2, 2)), 1, 1)
	six := &manyNeuroids{m}
	o := compare.AlignmentOptions{Subjects: []string{"x", "x", "x", "y", "y", "z"}, Similarity: compare.Correlation}
	fits, err := compare.SimilarityOverTime(t.Context(), m, six, o)
	require.NoError(t, err)
	assert.Contains(t, fits.Notes, "subject z is left out of the noise ceiling: it has no dissimilarities of stimuli")
	assert.False(t, math.IsNaN(fits.Scores[0].Ceiling.Center))
	o.Inference = &compare.InferenceOptions{}
	_, err = compare.SimilarityOverTime(t.Context(), m, six, o)
	require.ErrorIs(t, err, compare.ErrData)
	assert.ErrorContains(t, err, "subject z has no dissimilarities")
}

// manyNeuroids has three neuroids of each.
type manyNeuroids struct{ *madeUp }

func (m *manyNeuroids) Neuroids() []string { return []string{"a", "b", "c", "d", "e", "f"} }
func (m *manyNeuroids) Average(int) (targets compare.Targets, err error) {
	for i, row := range m.rates {
		x, y := row[0], row[1]
		targets = append(targets, []float64{x, y, x * y, x + 0.1*float64(i%5), y - 0.2*float64(i%3), x - y})
	}
	return targets, nil
}

// Stimuli that were repeated different numbers of times have different shares of the noise; without noise all is
// signal.
func TestNoiseCeilingOfRaggedRepetitions(t *testing.T) {
	nan := math.NaN()
	trials := compare.Trials{{{1, 1}, {2, 1}, {3, 1}}, {{5, 4}, {6, 4}, {nan, nan}}, {{9, 2}, {nan, nan}, {nan, nan}},
		{{4, 7}, {6, 7}, {nan, 7}}}
	got, err := compare.NoiseCeiling(trials)
	require.NoError(t, err)
	values := []float64{1, 2, 3, 5, 6, 9, 4, 6}
	variance := 0.0
	for _, v := range values {
		variance += (v - mean(values)) * (v - mean(values)) / 8
	}
	noise := (1 + 0.5 + 2) / 3 / variance // of the stimuli with more than one
	ratio := (1 - noise) / noise
	assert.InDelta(t, ratio/(ratio+(1./3+1./2+1+1./2)/4), got[0], 1e-12)
	assert.Equal(t, 1.0, got[1])
}

// A model that is static solves all images at the same time: there is no score, and it is said why.
func TestOSTOfAStaticLayer(t *testing.T) {
	bins, measured, _ := ostData(t)
	for b := range bins {
		bins[b].Features = bins[len(bins)-1].Features
	}
	f := &overTime{measured.Images, bins, slices.Repeat([]bool{true}, len(bins))}
	scores, err := compare.OSTOverLayers(t.Context(), f, measured, compare.BrainScoreOSTDecoder,
		[]string{"conv9"}, 70, 250)
	require.NoError(t, err)
	assert.True(t, math.IsNaN(scores[0].Score))
	assert.Contains(t, scores[0].Reason, "solved by both")
	assert.Positive(t, mean(scores[0].Solved))
}

// A neuroid with responses to fewer stimuli than there are folds has no score; the others have.
func TestNeuroidOfFewStimuli(t *testing.T) {
	m := newMadeUp(rand.New(rand.NewPCG(2, 2)), 1, 1)
	for i := range m.rates {
		if i > 3 {
			m.rates[i][1] = math.NaN()
		}
	}
	for _, mapping := range []compare.Mapping{compare.Ridge{Alphas: []float64{1, 10}, Folds: 5}, compare.Ridge{}} {
		fits, err := compare.FitOverTime(t.Context(), m, m, compare.FitOptions{Mapping: mapping,
			Missing: compare.PerNeuroid, Splits: compare.Splits{TrainFraction: 0.5}})
		require.NoError(t, err)
		assert.Equal(t, []string{"b"}, fits.Scores[0].Undefined)
		assert.Greater(t, fits.Scores[0].Score.Center, 0.5)
		assert.Contains(t, fmt.Sprint(fits.Notes), "neuroid b has responses to too few stimuli for a fit")
	}
}

// Corrections for noise need every stimulus in both halves of the repetitions.
func TestCorrectionOfRaggedRepetitions(t *testing.T) {
	m := newMadeUp(rand.New(rand.NewPCG(2, 2)), 1, 1)
	_, err := compare.FitOverTime(t.Context(), m, &raggedTrials{&repeated{m}},
		compare.FitOptions{Mapping: compare.Ridge{}, Normalisation: compare.Corrected})
	require.ErrorIs(t, err, compare.ErrData)
	assert.ErrorContains(t, err, "neuroid a lacks stimulus stimulus3 in a half of the repetitions")
}

// What is chosen by alphas at the edge of those to choose from is remarked on.
func TestEdgeAlphasOfTheBest(t *testing.T) {
	m := newMadeUp(rand.New(rand.NewPCG(2, 2)), 2, 1)
	best, _, err := compare.BestOverTime(t.Context(), m, m, compare.BestOptions{FitOptions: compare.FitOptions{
		Mapping: compare.Ridge{Alphas: []float64{1e5, 1e6, 1e7}}}})
	require.NoError(t, err)
	assert.Equal(t, 10, best[0].EdgeAlphas)
	result := &compare.Result{}
	result.AddBest("IT", best)
	assert.Equal(t, []string{"region IT: 10 alphas are the first or last of those to choose from"}, result.Notes)
}

// PLS stops where the features have no more dimensions, and says so: what rounding leaves of them predicts nothing.
func TestComponentsBeyondTheFeatures(t *testing.T) {
	model, data := goldenData(t)
	few, many := model.flat(9), []float32(nil)
	n, p := len(model), len(model[0][9])
	for i := range n {
		for f := range p {
			many = append(many, few[i*p+f%12])
		}
	}
	splits := splitsOf(t, compare.Splits{}, n, data.objects)
	all, err := compare.FitTargets(gramOf(t, many, n), data.bin(2), splits, compare.PLS{})
	require.NoError(t, err)
	twelve, err := compare.FitTargets(gramOf(t, many, n), data.bin(2), splits, compare.PLS{Components: 12})
	require.NoError(t, err)
	for s := range splits {
		assert.Len(t, all.Iterations[s], 12)
		assert.Equal(t, twelve.Raw[s], all.Raw[s])
	}
}
