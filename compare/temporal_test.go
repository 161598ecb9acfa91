package compare_test

import (
	"context"
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
	for bin := range data.bins {
		features = append(features, model.flat(7+bin)...)
		targets = append(targets, data.bin(bin))
	}
	splits := splitsOf(t, compare.Splits{}, len(data.ids), data.objects)
	for name, c := range map[string]struct {
		mapping compare.Mapping
		q       quantity
	}{"spantime_pls": {compare.PLS{}, spanningScores}, "spantime_ridge": {compare.Ridge{}, ridge32Scores}} {
		fits, err := compare.FitSpanningTime(gramOf(t, features, data.bins*len(model)), targets, splits, c.mapping)
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
	if !otherData() || !onlyRounding(compare.Linear{}, len(model[0][9]), len(splits[0].Train)) {
		compareScore(t, data, golden[goldenScore](t, "brainscore.json", "predictivity", "linear_predictivity/stratified/90"),
			linear.Score, linearScores, "linear")
	}
	single, err := compare.NeuronToNeuron(model.flat(9), data.bin(2), splits)
	require.NoError(t, err)
	compareScore(t, data, golden[goldenScore](t, "brainscore.json", "predictivity", "neuron_to_neuron/stratified/90"),
		single.Score, oneToOneScores, "neuron to neuron")
	_, err = compare.NeuronToNeuron(nil, data.bin(2), splits)
	assert.ErrorIs(t, err, compare.ErrData)
}

func TestBootstrapError(t *testing.T) {
	var raw [][]float64
	for _, row := range golden[goldenScore](t, "brainscore.json", "predictivity", "pls/stratified/90").Raw {
		raw = append(raw, plain(row))
	}
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
		assert.Equal(t, golden[float64](t, "rsatoolbox.json", "eval_fixed", string(s), "dof"), got.DegreesOfFreedom)
		equalWithin(t, slices.Concat(golden[[][]float64](t, "rsatoolbox.json", "eval_fixed", string(s), "evaluations")...),
			slices.Concat(evaluations...), similarities, string(s))
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
		got, err := compare.BootstrapInference(t.Context(), models, subjects, compare.Correlation, kind, 200, 0)
		require.NoError(t, err)
		assert.Equal(t, golden[float64](t, "rsatoolbox.json", "bootstrap", name, "dof"), got.DegreesOfFreedom)
		for i, mean := range golden[[]float64](t, "rsatoolbox.json", "bootstrap", name, "means") {
			assert.InDelta(t, mean, got.Means[i], 0.03, "%s %d", name, i)
			sem := golden[[]float64](t, "rsatoolbox.json", "bootstrap", name, "sem")[i]
			assert.InDelta(t, sem, math.Sqrt(got.Variances[i]), 0.4*sem, "%s %d", name, i)
		}
		again, err := compare.BootstrapInference(t.Context(), models, subjects, compare.Correlation, kind, 200, 0)
		require.NoError(t, err)
		assert.Equal(t, got, again)
	}
	alone := subjects[:1]
	_, err := compare.BootstrapInference(t.Context(), models, alone, compare.Correlation, compare.BootstrapBoth, 10, 0)
	assert.ErrorIs(t, err, compare.ErrData)
	// Samples may take hours; they end when the caller no longer wants them.
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = compare.BootstrapInference(cancelled, models, subjects, compare.Correlation, compare.BootstrapDual, 1<<40, 0)
	assert.ErrorIs(t, err, context.Canceled)
}

// What is inferred from rsatoolbox's own samples.
func TestInferenceFromSamples(t *testing.T) {
	_, data := goldenData(t)
	for name, c := range map[string]struct {
		kind  compare.BootstrapKind
		parts []compare.BootstrapKind // along the last axis
	}{
		"pattern": {compare.BootstrapStimuli, []compare.BootstrapKind{compare.BootstrapStimuli}},
		"rdm":     {compare.BootstrapSubjects, []compare.BootstrapKind{compare.BootstrapSubjects}},
		"both":    {compare.BootstrapBoth, []compare.BootstrapKind{compare.BootstrapBoth}},
		"dual": {compare.BootstrapDual,
			[]compare.BootstrapKind{compare.BootstrapBoth, compare.BootstrapSubjects, compare.BootstrapStimuli}},
	} {
		values, shape := doubles(t, "rsatoolbox_arrays.npz", "bootstrap/"+name+"/evaluations")
		bounds, _ := doubles(t, "rsatoolbox_arrays.npz", "bootstrap/"+name+"/noise_ceiling")
		count, models, parts := shape[0], shape[1], len(c.parts)
		samples := map[compare.BootstrapKind][][]float64{}
		for k, part := range c.parts {
			for s := range count {
				var row []float64
				for m := range models {
					row = append(row, values[(s*models+m)*parts+k])
				}
				samples[part] = append(samples[part], append(row, bounds[s*parts+k], bounds[(count+s)*parts+k]))
			}
		}
		got, err := compare.InferenceFrom(samples, c.kind, models, len(data.subjectNames()), fewStimuli)
		require.NoError(t, err)
		at := func(what string) []float64 {
			return golden[[]float64](t, "rsatoolbox.json", "bootstrap", name, what)
		}
		assert.Equal(t, golden[float64](t, "rsatoolbox.json", "bootstrap", name, "dof"), got.DegreesOfFreedom)
		equalWithin(t, at("means"), got.Means, inferences, name+" means")
		equalWithin(t, at("model_var"), got.Variances, inferences, name+" variances")
		equalWithin(t, at("p_zero"), got.AgainstZero(), inferences, name+" against 0")
		equalWithin(t, at("p_noise"), got.AgainstCeiling(), inferences, name+" against the ceiling")
		var lower, upper []float64
		for _, rows := range samples {
			for _, row := range rows {
				lower, upper = append(lower, row[models]), append(upper, row[models+1])
			}
		}
		equalWithin(t, []float64{mean(finite(lower)), mean(finite(upper))}, got.Ceiling[:], inferences, name+" ceiling")
		low, high := got.Interval(0.95)
		equalWithin(t, slices.Concat(golden[[][]float64](t, "rsatoolbox.json", "bootstrap", name, "ci95_t")...),
			slices.Concat(low, high), intervals, name+" intervals")
		var pairs []float64
		for m := range models {
			within(t, at("sem")[m], math.Sqrt(got.Variances[m]), inferences)
			pairs = append(pairs, got.PairVariances[m][m+1:]...)
		}
		equalWithin(t, at("diff_var"), pairs, inferences, name+" differences")
	}
}

func finite(values []float64) []float64 { return slices.DeleteFunc(values, math.IsNaN) }

// Layers that begin after a window, or in it, are named.
func TestWindowsLeftOut(t *testing.T) {
	from := func(name string, first int) compare.FeatureLayer {
		l := compare.FeatureLayer{Name: name, Size: 1}
		for timestep := first; timestep < 17; timestep++ {
			l.Bins = append(l.Bins, compare.TimestepBins(timestep)...)
		}
		return l
	}
	layers := []compare.FeatureLayer{from("conv7", 7), from("conv8", 8), from("conv9", 9)}
	assert.Empty(t, compare.WindowsLeftOut(layers, []compare.Bin{{Start: 90, End: 170}}))
	assert.Equal(t, []string{
		"there is no matrix of 70-170 ms for conv8 (no features of that time: they are of 80-170 ms), " +
			"conv9 (no features of that time: they are of 90-170 ms)",
	}, compare.WindowsLeftOut(layers, []compare.Bin{{Start: 70, End: 170}, {Start: 90, End: 170}}))
}
