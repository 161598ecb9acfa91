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

func (r *recorded) trials(bin int) compare.Trials {
	var trials compare.Trials
	for _, stimulus := range r.rates {
		var repetitions [][]float64
		for _, neuroids := range stimulus {
			var row []float64
			for _, bins := range neuroids {
				row = append(row, bins[bin])
			}
			repetitions = append(repetitions, row)
		}
		trials = append(trials, repetitions)
	}
	return trials
}

func TestAverage(t *testing.T) {
	_, data := goldenData(t)
	for i, row := range data.trials(3).Average() {
		equalWithin(t, data.bin(3)[i], row, averages, "average")
	}
}

func TestInternalConsistency(t *testing.T) {
	model, data := goldenData(t)
	for bin := range data.bins {
		name := fmt.Sprint(70 + 10*bin)
		score, err := compare.InternalConsistency(data.trials(bin))
		require.NoError(t, err)
		compareScore(t, data, golden[goldenScore](t, "brainscore.json", "internal_consistency", name), *score, ceilings, name)
		fit, err := compare.FitTargets(gramOf(t, model.flat(7+bin), len(model)), data.bin(bin),
			splitsOf(t, compare.Splits{}, len(data.ids), data.objects), compare.PLS{})
		require.NoError(t, err)
		within(t, golden[float64](t, "brainscore.json", "ceiled", name), compare.Squared.Apply(fit.Center, score.Center),
			ceiledScores)
	}
}

func TestPredictorConsistency(t *testing.T) {
	_, data := goldenData(t)
	score, err := compare.PredictorConsistency(data.trials(2), slices.Repeat([]int{data.repetitions}, len(data.ids)))
	require.NoError(t, err)
	want := golden[goldenScore](t, "brainscore.json", "predictor_consistency")
	equalWithin(t, []float64{want.Center, want.Error}, []float64{score.Center, score.Error}, ceilings, "predictor consistency")
}

func TestNoiseCorrected(t *testing.T) {
	model, data := goldenData(t)
	g := gramOf(t, model.flat(9), len(model))
	for _, c := range []struct {
		name    string
		mapping compare.Mapping
		train   float64
	}{{"brainmodel_utils", compare.PLS{}, 0.5}, {"brainmodel_utils_ridge10", compare.Ridge{Alphas: []float64{10}}, 0.8}} {
		want := golden[map[string][][][]number](t, "noise_corrected.json", c.name, "test")
		splits := splitsOf(t, compare.Splits{Count: 2, OwnSeeds: true, TrainFraction: c.train}, len(data.ids), nil)
		if c.train == 0.5 {
			assert.Equal(t, golden[[]compare.Split](t, "noise_corrected.json", c.name, "splits"), splits)
		}
		for half := range want["r_xy"] {
			for s := range want["r_xy"][half] {
				got, err := compare.NoiseCorrected(g, data.trials(2), splits[s], c.mapping,
					compare.HalveRepetitions(data.repetitions, uint32(1234+half)))
				require.NoError(t, err)
				about := fmt.Sprintf("%s %d %d", c.name, half, s)
				equalWithin(t, plain(want["r_xx_sb"][half][s]), got.PredictionReliability, correctedScores, about)
				equalWithin(t, plain(want["r_yy_sb"][half][s]), got.ResponseReliability, ceilings, about)
				equalWithin(t, plain(want["r_xy_n_sb"][half][s]), got.Corrected, correctedScores, about)
				equalWithin(t, plain(want["r_xy"][half][s]), got.R, correctedScores, about)
				var x, y, product []float64 // before Spearman and Brown, and √(ρ_xx ρ_yy)
				for j := range got.R {
					x = append(x, got.PredictionReliability[j]/(2-got.PredictionReliability[j]))
					y = append(y, got.ResponseReliability[j]/(2-got.ResponseReliability[j]))
					product = append(product, math.Sqrt(got.PredictionReliability[j]*got.ResponseReliability[j]))
				}
				equalWithin(t, plain(want["r_xx"][half][s]), x, correctedScores, about)
				equalWithin(t, plain(want["r_yy"][half][s]), y, ceilings, about)
				equalWithin(t, plain(want["denom_sb"][half][s]), product, correctedScores, about)
			}
		}
	}
}

// The ceiling of made-up neuroids of a known signal is found.
func TestNoiseCeiling(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	const repetitions, noise = 4, 1.5
	var trials compare.Trials
	for range 4000 {
		signal := random.NormFloat64()
		var stimulus [][]float64
		for range repetitions {
			stimulus = append(stimulus, []float64{signal + noise*random.NormFloat64(), random.NormFloat64()})
		}
		trials = append(trials, stimulus)
	}
	got, err := compare.NoiseCeiling(trials)
	require.NoError(t, err)
	assert.InDelta(t, 1/(1+noise*noise/repetitions), got[0], 0.02)
	assert.InDelta(t, 0, got[1], 0.05)
}

func TestNormalisations(t *testing.T) {
	for n, want := range map[compare.Normalisation]float64{compare.Squared: 0.45, compare.SquaredRatio: 0.5625,
		compare.Ratio: 0.75, compare.Root: 0.6 / math.Sqrt(0.8)} {
		assert.InDelta(t, want, n.Apply(0.6, 0.8), 1e-12, n)
	}
	assert.True(t, math.IsNaN(compare.Normalisation("").Apply(1, 1)))
}
