package compare_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
)

func TestAlignBins(t *testing.T) {
	source := compare.TimestepBins(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19)
	type aligned struct {
		Target  [][]float64
		Portion [][]float64
	}
	for name, want := range golden[map[string]aligned](t, "brainscore.json", "time_align") {
		for i, target := range want.Target {
			got, err := compare.AlignBins(source, compare.Bin{Start: target[0], End: target[1]})
			if target[1] > 200 {
				assert.ErrorIs(t, err, compare.ErrData)
				continue
			}
			require.NoError(t, err)
			equalWithin(t, want.Portion[i], got, binWeights, name)
		}
	}
	_, err := compare.AlignBins(source, compare.Bin{Start: -10, End: 20})
	assert.ErrorIs(t, err, compare.ErrData)
}

func TestBlend(t *testing.T) {
	model, _ := goldenData(t)
	want, shape := doubles(t, "brainscore_arrays.npz", "assembly_time_align_70-170_75-85")
	var timesteps []int
	for i := range 20 {
		timesteps = append(timesteps, i)
	}
	for b, target := range []compare.Bin{{Start: 70, End: 170}, {Start: 75, End: 85}} {
		weights, err := compare.AlignBins(compare.TimestepBins(timesteps...), target)
		require.NoError(t, err)
		position := map[string]int{}
		for i, id := range texts(t, "data.npz", "stimulus_id") {
			position[id] = i
		}
		_, data := goldenData(t)
		for i, stimulus := range model {
			got := compare.Blend(stimulus, weights)
			for f, v := range got {
				at := position[data.ids[i]]
				within(t, want[(at*shape[1]+f)*shape[2]+b], float64(v), blends)
			}
		}
	}
}

func TestSpanningTime(t *testing.T) {
	model, data := goldenData(t)
	var features []float32
	var targets []compare.Targets
	for bin := range 5 {
		features = append(features, model.flat(7+bin)...)
		targets = append(targets, data.bin(bin))
	}
	splits := splitsOf(t, compare.Splits{}, len(data.ids), data.objects)
	for name, c := range map[string]struct {
		mapping compare.Mapping
		q       quantity
	}{"spantime_pls": {compare.PLS{}, spanningScores}, "spantime_ridge": {compare.Ridge{}, ridge32Scores}} {
		fits, err := compare.FitSpanningTime(gramOf(t, features, 5*len(model)), targets, splits, c.mapping)
		require.NoError(t, err)
		for bin, fit := range fits {
			equalWithin(t, []float64{golden[[]float64](t, "brainscore.json", name, "center")[bin],
				golden[[]float64](t, "brainscore.json", name, "error")[bin]},
				[]float64{fit.Center, fit.Error}, c.q, fmt.Sprint(name, bin))
		}
	}
}

func TestLinearAndNeuronToNeuron(t *testing.T) {
	model, data := goldenData(t)
	splits := splitsOf(t, compare.Splits{}, len(data.ids), data.objects)
	linear, err := compare.FitTargets(gramOf(t, model.flat(9), len(model)), data.bin(2), splits, compare.Linear{})
	require.NoError(t, err)
	compareScore(t, data, golden[goldenScore](t, "brainscore.json", "predictivity", "linear_predictivity/stratified/90"),
		linear.Score, linearScores, "linear")
	single, err := compare.NeuronToNeuron(model.flat(9), data.bin(2), splits)
	require.NoError(t, err)
	compareScore(t, data, golden[goldenScore](t, "brainscore.json", "predictivity", "neuron_to_neuron/stratified/90"),
		single.Score, oneToOneScores, "neuron to neuron")
	_, err = compare.NeuronToNeuron(nil, data.bin(2), splits)
	assert.ErrorIs(t, err, compare.ErrData)
}

func TestBootstrapError(t *testing.T) {
	raw := golden[goldenScore](t, "brainscore.json", "predictivity", "pls/stratified/90").Raw
	mean := func(raw [][]float64) float64 {
		sum := 0.0
		for _, row := range raw {
			for _, v := range row {
				sum += v / float64(len(raw)*len(row))
			}
		}
		return sum
	}
	for name, c := range map[string]struct {
		over      []compare.Resample
		statistic func([][]float64) float64
	}{
		"over_neuroid_mean":        {[]compare.Resample{compare.OverNeuroids}, mean},
		"over_neuroid_median_mean": {[]compare.Resample{compare.OverNeuroids}, compare.Center},
		"over_both":                {[]compare.Resample{compare.OverSplits, compare.OverNeuroids}, mean},
	} {
		got, err := compare.BootstrapError(raw, c.over, c.statistic)
		require.NoError(t, err)
		within(t, golden[float64](t, "brainscore.json", "bootstrap_error", name), got, bootstraps, name)
	}
	_, err := compare.BootstrapError(nil, nil, mean)
	assert.ErrorIs(t, err, compare.ErrData)
	_, err = compare.BootstrapError(raw, []compare.Resample{"subject"}, mean)
	assert.ErrorIs(t, err, compare.ErrData)
}

func modelRDMs(t testing.TB, model modelled) []compare.RDM {
	var models []compare.RDM
	for _, timestep := range []int{5, 9, 15} {
		models = append(models, compare.CorrelationRDM(gramOf(t, model[:fewStimuli].flat(timestep), fewStimuli)))
	}
	return models
}

func TestFixedInference(t *testing.T) {
	model, data := goldenData(t)
	subjects, models := data.subjects(t, compare.CorrelationRDM, false), modelRDMs(t, model)
	for _, s := range []compare.Similarity{compare.Cosine, compare.Correlation, compare.RankCorrelation, compare.RhoA,
		compare.TauA, compare.WhitenedCorrelation, compare.WhitenedCosine} {
		var evaluations [][]float64
		for _, m := range models {
			var row []float64
			for _, r := range subjects {
				row = append(row, similarity(t, m, r, s))
			}
			evaluations = append(evaluations, row)
		}
		lower, upper, err := compare.RSANoiseCeiling(subjects, s)
		require.NoError(t, err)
		got, err := compare.FixedInference(evaluations, lower, upper)
		require.NoError(t, err)
		at := func(name string) []float64 {
			return golden[[]float64](t, "rsatoolbox.json", "eval_fixed", string(s), name)
		}
		equalWithin(t, at("means"), got.Means, inferences, string(s))
		equalWithin(t, at("p_zero"), got.AgainstZero(), inferences, string(s))
		equalWithin(t, at("p_noise"), got.AgainstCeiling(), inferences, string(s))
		low, high := got.Interval(0.95)
		want := golden[[][]float64](t, "rsatoolbox.json", "eval_fixed", string(s), "ci95")
		equalWithin(t, slices.Concat(want...), slices.Concat(low, high), intervals, string(s))
		equalWithin(t, slices.Concat(golden[[][]float64](t, "rsatoolbox.json", "eval_fixed", string(s), "p_pairwise")...),
			slices.Concat(got.BetweenModels()...), inferences, string(s))
		for i, v := range at("sem") {
			within(t, v, math.Sqrt(got.Variances[i]), inferences)
		}
	}
}

// With many samples the bootstraps come near rsatoolbox's, which had 50 and other draws.
func TestBootstrapInference(t *testing.T) {
	model, data := goldenData(t)
	subjects, models := data.subjects(t, compare.CorrelationRDM, false), modelRDMs(t, model)
	for kind, name := range map[compare.BootstrapKind]string{compare.BootstrapStimuli: "pattern",
		compare.BootstrapSubjects: "rdm", compare.BootstrapBoth: "both", compare.BootstrapDual: "dual"} {
		got, err := compare.BootstrapInference(models, subjects, compare.Correlation, kind, 200, 0)
		require.NoError(t, err)
		assert.Equal(t, golden[float64](t, "rsatoolbox.json", "bootstrap", name, "dof"), got.DegreesOfFreedom)
		for i, mean := range golden[[]float64](t, "rsatoolbox.json", "bootstrap", name, "means") {
			assert.InDelta(t, mean, got.Means[i], 0.03, "%s %d", name, i)
			sem := golden[[]float64](t, "rsatoolbox.json", "bootstrap", name, "sem")[i]
			assert.InDelta(t, sem, math.Sqrt(got.Variances[i]), 0.4*sem, "%s %d", name, i)
		}
		again, err := compare.BootstrapInference(models, subjects, compare.Correlation, kind, 200, 0)
		require.NoError(t, err)
		assert.Equal(t, got, again)
	}
	_, err := compare.BootstrapInference(models, subjects[:1], compare.Correlation, compare.BootstrapBoth, 10, 0)
	assert.ErrorIs(t, err, compare.ErrData)
}

// The formula of the dual bootstrap, on rsatoolbox's own samples.
func TestDualVariance(t *testing.T) {
	values, shape := doubles(t, "rsatoolbox_arrays.npz", "bootstrap/dual/evaluations")
	require.Equal(t, []int{50, 3, 1, 1, 3}, shape)
	want := golden[[]float64](t, "rsatoolbox.json", "bootstrap", "dual", "sem")
	for m := range 3 {
		var v [3]float64
		for part := range 3 {
			var all []float64
			for s := range 50 {
				all = append(all, values[(s*3+m)*3+part])
			}
			mean, square := 0.0, 0.0
			for _, x := range all {
				mean += x / 50
			}
			for _, x := range all {
				square += (x - mean) * (x - mean) / 49
			}
			v[part] = square
		}
		within(t, want[m], math.Sqrt(compare.DualVariance(v[0], v[1], v[2], 4, fewStimuli)), inferences)
	}
}
