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
	for bin := range 5 {
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

// Neuroids with missing repetitions, without responses, and constant ones.
func TestInternalConsistencyOfMissingData(t *testing.T) {
	_, data := goldenData(t)
	trials := data.trials(2)
	position := map[string]int{}
	for i, id := range texts(t, "data.npz", "stimulus_id") {
		position[id] = i
	}
	for i, stimulus := range trials {
		at := position[data.ids[i]]
		for r, row := range stimulus {
			row = slices.Clone(row)
			if at < 60 && r < 2 {
				row[3] = math.NaN()
			}
			if slices.Contains([]int{5, 17, 44, 80, 101}, at) {
				row[7] = math.NaN()
			}
			row[11], row[15] = 0, math.NaN()
			stimulus[r] = row
		}
	}
	score, err := compare.InternalConsistency(trials)
	require.NoError(t, err)
	want := golden[struct {
		Center, Error float64
		Raw           [][]number
	}](t, "nan_variant.json", "internal_consistency/90")
	equalWithin(t, []float64{want.Center, want.Error}, []float64{score.Center, score.Error}, ceilings, "missing data")
	for i, row := range data.inOrder(t, score.Raw) {
		equalWithin(t, plain(want.Raw[i]), row, ceilings, "missing data")
	}
}

func TestPredictorConsistency(t *testing.T) {
	_, data := goldenData(t)
	score, err := compare.PredictorConsistency(data.trials(2), slices.Repeat([]int{6}, 120))
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
		splits := splitsOf(t, compare.Splits{Count: 2, OwnSeeds: true, TrainFraction: c.train}, 120, nil)
		if c.train == 0.5 {
			assert.Equal(t, golden[[]compare.Split](t, "noise_corrected.json", c.name, "splits"), splits)
		}
		for half := range want["r_xy"] {
			for s := range want["r_xy"][half] {
				got, err := compare.NoiseCorrected(g, data.trials(2), splits[s], c.mapping,
					compare.HalveRepetitions(6, uint32(1234+half)))
				require.NoError(t, err)
				about := fmt.Sprintf("%s %d %d", c.name, half, s)
				equalWithin(t, plain(want["r_xx_sb"][half][s]), got.PredictionReliability, correctedScores, about)
				equalWithin(t, plain(want["r_yy_sb"][half][s]), got.ResponseReliability, ceilings, about)
				equalWithin(t, plain(want["r_xy_n_sb"][half][s]), got.Corrected, correctedScores, about)
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
