package compare

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// layered are made-up features of several layers, of which the last is not driven in its first bin.
type layered struct{ counted }

func (l *layered) Layers() []FeatureLayer {
	bins := TimestepBins(5, 6)
	return []FeatureLayer{{Name: "a", Bins: bins, Size: 20}, {Name: "b", Bins: bins, Size: 20},
		{Name: "c", Bins: bins, Size: 20, Driven: []bool{false, true}}}
}

func (l *layered) Row(layer, stimulus int) ([]float32, error) {
	row := make([]float32, 40)
	for i := range row {
		row[i] = float32((stimulus*stimulus*(31+layer)+i*17*(layer+1))%101) - 50
	}
	return row, nil
}

func TestBetweenLayers(t *testing.T) {
	f := &layered{counted{n: 9}}
	rows := func(layer, bin int) *Gram {
		g := NewGram(f.n)
		var all []float32
		for i := range f.n {
			row, _ := f.Row(layer, i)
			all = append(all, row[20*bin:20*bin+20]...)
		}
		require.NoError(t, g.Add(all, 20, 20))
		return g
	}
	for _, alignment := range []Alignment{RSA, UnbiasedCKA, BiasedCKAlignment} {
		got, err := BetweenLayers(t.Context(), f, BetweenOptions{Alignment: alignment})
		require.NoError(t, err)
		require.Len(t, got, 6) // three pairs in two bins
		for k, s := range got {
			pair := [][2]int{{0, 1}, {0, 2}, {1, 2}}[k%3]
			assert.Equal(t, TimestepBins(5, 6)[k/3], s.Bin)
			assert.Equal(t, [2]string{f.Layers()[pair[0]].Name, f.Layers()[pair[1]].Name}, s.Layers)
			if k == 1 || k == 2 {
				assert.True(t, math.IsNaN(s.Similarity))
				assert.Contains(t, s.Reason, "layer c: not driven")
				continue
			}
			one, other := rows(pair[0], k/3), rows(pair[1], k/3)
			want := 0.0
			switch alignment {
			case RSA:
				want = Spearman(CorrelationRDM(one).Values, CorrelationRDM(other).Values)
			case UnbiasedCKA:
				want, err = CKA(one, other)
			default:
				want, err = BiasedCKA(one, other)
			}
			require.NoError(t, err)
			assert.Equal(t, want, s.Similarity)
		}
		result := &Result{}
		result.AddBetween(got)
		assert.True(t, result.Between())
		whole := result.Symmetric()
		at := map[[2]string]Number{}
		for _, s := range whole.Scores {
			if *s.TimeBinStart == 60 {
				at[[2]string{s.Layer, s.OtherLayer}] = s.Score
			}
		}
		assert.Len(t, at, 9)
		assert.Equal(t, Number(1), at[[2]string{"b", "b"}])
		assert.Equal(t, at[[2]string{"a", "c"}], at[[2]string{"c", "a"}])
	}
	for _, o := range []BetweenOptions{{Measure: PoissonMeasure}, {Alignment: "x"}, {Layers: []string{"a"}}} {
		_, err := BetweenLayers(t.Context(), f, o)
		assert.ErrorIs(t, err, ErrOptions)
	}
	low, high := 60.0, 70.0
	assert.Equal(t, TimestepBins(6), BinsWithin(f, &low, &high))
	assert.Empty(t, BinsWithin(f, &high, nil))
}

// What is missing is refused, or left out and counted.
func TestWhatIsMissingOfBehaviour(t *testing.T) {
	nan := math.NaN()
	m := &SolutionTimes{Images: []string{"a", "b", "c"}, Labels: []string{"x", "", "y"}, Times: []float64{100, 110, nan},
		Thresholds: []float64{1, 2, nan}}
	_, _, err := m.Complete(RefuseMissing)
	assert.ErrorIs(t, err, ErrMissing)
	_, err = OST(t.Context(), nil, m, ConvergedOSTDecoder)
	assert.ErrorIs(t, err, ErrMissing)
	_, _, err = m.Complete(DropNeuroids)
	assert.ErrorIs(t, err, ErrOptions)
	whole, note, err := m.Complete(DropStimuli)
	require.NoError(t, err)
	assert.Equal(t, &SolutionTimes{Images: []string{"a"}, Labels: []string{"x"}, Times: []float64{100},
		Thresholds: []float64{1}}, whole)
	assert.Contains(t, note, "2 of 3 images")
	f := &counted{n: 2}
	_, note = whole.Among(f)
	assert.Contains(t, note, "1 of 1 images")

	trials := []Trial{{"s0", "x", "y", "x"}, {"s0", "x", "y", ""}, {"s1", "y", "x", "y"}, {"s9", "y", "x", "x"}}
	_, _, err = CompleteTrials(trials, RefuseMissing)
	assert.ErrorIs(t, err, ErrMissing)
	_, err = BehaviourOverTime(t.Context(), f, trials, BehaviourOptions{})
	assert.ErrorIs(t, err, ErrMissing)
	_, _, err = CompleteTrials(trials, PerNeuroid)
	assert.ErrorIs(t, err, ErrOptions)
	some, note, err := CompleteTrials(trials, DropTrials)
	require.NoError(t, err)
	assert.Len(t, some, 3)
	assert.Contains(t, note, "1 of 4 trials left out")
	some, _, err = CompleteTrials(trials, DropStimuli)
	require.NoError(t, err)
	assert.Equal(t, trials[2:], some)
	some, note = TrialsAmong(f, some)
	assert.Equal(t, trials[2:3], some)
	assert.Contains(t, note, "1 of 2 trials")
}

// Dissimilarities of responses with gaps are those of the neuroids that two stimuli share; without gaps they are the
// same as ever.
func TestPairwise(t *testing.T) {
	nan := math.NaN()
	y := Targets{{1, 2, 4, 3}, {2, 1, 0, 5}, {nan, 3, 1, 2}, {4, nan, 2, 0}, {nan, nan, nan, 1}}
	rdm, err := PairwiseRDM(y, CorrelationMeasure)
	require.NoError(t, err)
	assert.InDelta(t, 1-Pearson([]float64{1, 4, 3}, []float64{4, 2, 0}), rdm.At(0, 3), 1e-12)
	assert.InDelta(t, 1-Pearson([]float64{1, 2}, []float64{2, 0}), rdm.At(2, 3), 1e-12)
	assert.True(t, math.IsNaN(rdm.At(0, 4)))
	rdm, err = PairwiseRDM(y, EuclideanMeasure)
	require.NoError(t, err)
	assert.InDelta(t, (1+9+1)/3., rdm.At(0, 2), 1e-12)
	_, err = PairwiseRDM(y, PoissonMeasure)
	assert.ErrorIs(t, err, ErrOptions)

	whole := y[:2]
	g, err := GramOfTargets(whole)
	require.NoError(t, err)
	pairwise, err := pairwiseGram(whole)
	require.NoError(t, err)
	assert.InDeltaSlice(t, g.matrix(), pairwise.matrix(), 1e-12)
	gaps, err := pairwiseGram(y[:4])
	require.NoError(t, err)
	assert.InDelta(t, (2*3+4*1+3*2)/3.*4, gaps.matrix()[2], 1e-12)
	_, err = pairwiseGram(Targets{{1, nan}, {nan, 1}})
	assert.ErrorIs(t, err, ErrData)
}
