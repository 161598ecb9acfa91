package compare_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/tfconvrnn/go/compare"
)

const fewStimuli = 40 // of the numbers of rsatoolbox: the first by id

func (r *recorded) few(bin int, keep func(neuroid int) bool) compare.Targets {
	var targets compare.Targets
	for _, row := range r.bin(bin)[:fewStimuli] {
		var kept []float64
		for j, v := range row {
			if keep == nil || keep(j) {
				kept = append(kept, v)
			}
		}
		targets = append(targets, kept)
	}
	return targets
}

func gramOfTargets(t testing.TB, targets compare.Targets) *compare.Gram {
	g, err := compare.GramOfTargets(targets)
	require.NoError(t, err)
	return g
}

func similarity(t testing.TB, a, b compare.RDM, s compare.Similarity) float64 {
	v, leftOut, err := compare.CompareRDMs(a, b, s)
	require.NoError(t, err)
	require.Zero(t, leftOut)
	return v
}

func arrayOf(t testing.TB, name string) []float64 {
	values, _ := doubles(t, "rsatoolbox_arrays.npz", name)
	return values
}

func TestRDMs(t *testing.T) {
	model, data := goldenData(t)
	neural, features := gramOfTargets(t, data.few(2, nil)), gramOf(t, model[:fewStimuli].flat(9), fewStimuli)
	trials := data.trials(2)[:fewStimuli]
	covariance, err := compare.NoiseCovariance(trials)
	require.NoError(t, err)
	equalWithin(t, arrayOf(t, "cov_from_measurements/shrinkage_diag"), covariance.RawMatrix().Data, dissimilarities, "covariance")
	precision, err := compare.Precision(covariance)
	require.NoError(t, err)
	mahalanobis, err := compare.MahalanobisRDM(data.few(2, nil), precision)
	require.NoError(t, err)
	crossnobis, err := compare.CrossnobisRDM(trials, precision)
	require.NoError(t, err)
	rates := data.few(2, nil)
	for _, row := range rates {
		for j := range row {
			row[j] = math.Abs(row[j])
		}
	}
	poisson, err := compare.PoissonRDM(rates)
	require.NoError(t, err)
	for name, r := range map[string]compare.RDM{
		"rdm/correlation": compare.CorrelationRDM(neural), "rdm/euclidean": compare.EuclideanRDM(neural),
		"rdm_model90/correlation": compare.CorrelationRDM(features), "rdm_model90/euclidean": compare.EuclideanRDM(features),
		"rdm/mahalanobis": mahalanobis, "rdm/crossnobis": crossnobis, "rdm/poisson": poisson,
	} {
		equalWithin(t, arrayOf(t, name), r.Values, dissimilarities, name)
	}
	assert.Equal(t, mahalanobis.At(3, 7), mahalanobis.At(7, 3))
}

func rounded(r compare.RDM) compare.RDM {
	values := slices.Clone(r.Values)
	for i, v := range values {
		values[i] = math.RoundToEven(v*10) / 10
	}
	return compare.RDM{Stimuli: r.Stimuli, Values: values}
}

func TestSimilarities(t *testing.T) {
	model, data := goldenData(t)
	neural, features := gramOfTargets(t, data.few(2, nil)), gramOf(t, model[:fewStimuli].flat(9), fewStimuli)
	for _, s := range compare.Similarities() {
		name := map[compare.Similarity]string{compare.TauB: "kendall"}[s]
		if name == "" {
			name = string(s)
		}
		for about, pair := range map[string][2]compare.RDM{
			"correlation_rdms": {compare.CorrelationRDM(features), compare.CorrelationRDM(neural)},
			"euclidean_rdms":   {compare.EuclideanRDM(features), compare.EuclideanRDM(neural)},
			"ties":             {rounded(compare.CorrelationRDM(features)), rounded(compare.CorrelationRDM(neural))},
		} {
			within(t, golden[float64](t, "rsatoolbox.json", "compare", name, about), similarity(t, pair[0], pair[1], s),
				similarities, name, about)
		}
	}
}

func TestSimilaritiesOverTime(t *testing.T) {
	model, data := goldenData(t)
	for _, s := range []compare.Similarity{compare.RankCorrelation, compare.RhoA, compare.Correlation, compare.Cosine,
		compare.TauA, compare.WhitenedCorrelation} {
		want := golden[[][]float64](t, "rsatoolbox.json", "time_by_time", string(s))
		for i, row := range want {
			features := compare.CorrelationRDM(gramOf(t, model[:fewStimuli].flat(4+i), fewStimuli))
			for bin, v := range row {
				within(t, v, similarity(t, features, compare.CorrelationRDM(gramOfTargets(t, data.few(bin, nil))), s),
					similarities, s, i, bin)
			}
		}
	}
}

func TestRDMsOfBrainScore(t *testing.T) {
	model, data := goldenData(t)
	for bin := range data.bins {
		features, neural := compare.CorrelationRDM(gramOf(t, model.flat(7+bin), len(model))),
			compare.CorrelationRDM(gramOfTargets(t, data.bin(bin)))
		name := fmt.Sprintf("model%d_neural%d", 70+10*bin, 70+10*bin)
		within(t, golden[float64](t, "brainscore.json", "rdm", name),
			similarity(t, features, neural, compare.RankCorrelation), similarities, name)
	}
}

// subjectNames are sorted.
func (r *recorded) subjectNames() []string {
	return slices.Compact(slices.Sorted(slices.Values(r.animals)))
}

func (r *recorded) subjects(t testing.TB, rdm func(*compare.Gram) compare.RDM, whole bool) []compare.RDM {
	var list []compare.RDM
	for _, subject := range r.subjectNames() {
		targets := r.few(2, func(j int) bool { return r.animals[j] == subject })
		if whole {
			targets = nil
			for _, row := range r.bin(2) {
				var kept []float64
				for j, v := range row {
					if r.animals[j] == subject {
						kept = append(kept, v)
					}
				}
				targets = append(targets, kept)
			}
		}
		list = append(list, rdm(gramOfTargets(t, targets)))
	}
	return list
}

func TestNoiseCeilings(t *testing.T) {
	_, data := goldenData(t)
	subjects := data.subjects(t, compare.CorrelationRDM, false)
	for _, s := range []compare.Similarity{compare.Cosine, compare.Correlation, compare.RankCorrelation, compare.RhoA,
		compare.TauA, compare.WhitenedCorrelation, compare.WhitenedCosine} {
		lower, upper, err := compare.RSANoiseCeiling(subjects, s)
		require.NoError(t, err)
		equalWithin(t, golden[[]float64](t, "rsatoolbox.json", "noise_ceiling", string(s)), []float64{lower, upper},
			noiseCeilings, string(s))
	}
	lower, upper, err := compare.BrainScoreRSACeiling(data.subjects(t, compare.CorrelationRDM, true))
	require.NoError(t, err)
	within(t, golden[float64](t, "brainscore.json", "rdm", "rsa_ceiling", "lower"), lower, noiseCeilings)
	within(t, golden[float64](t, "brainscore.json", "rdm", "rsa_ceiling", "upper"), upper, noiseCeilings)
}

func TestCKA(t *testing.T) {
	model, data := goldenData(t)
	for bin := range data.bins {
		features, neural := gramOf(t, model.flat(7+bin), len(model)), gramOfTargets(t, data.bin(bin))
		name := fmt.Sprint(70 + 10*bin)
		unbiased, err := compare.CKA(features, neural)
		require.NoError(t, err)
		within(t, golden[float64](t, "brainscore.json", "cka", "cka", name), unbiased, ckaScores)
		biased, err := compare.BiasedCKA(features, neural)
		require.NoError(t, err)
		within(t, golden[float64](t, "brainscore.json", "cka", "cka_biased", name), biased, ckaScores)
	}
	constant := gramOf(t, slices.Repeat([]float32{1, 2}, len(model)), len(model))
	zero, err := compare.CKA(constant, gramOfTargets(t, data.bin(0)))
	require.NoError(t, err)
	assert.InDelta(t, 0, zero, 1e-3)
	zero, err = compare.BiasedCKA(constant, gramOfTargets(t, data.bin(0)))
	require.NoError(t, err)
	assert.Zero(t, zero)
}

func TestUnusableDissimilarities(t *testing.T) {
	one := compare.RDM{Stimuli: 3, Values: []float64{1, 2, math.NaN()}}
	other := compare.RDM{Stimuli: 3, Values: []float64{3, 7, 1}}
	_, leftOut, err := compare.CompareRDMs(one, other, compare.Correlation)
	require.NoError(t, err)
	assert.Equal(t, 1, leftOut)
	whitened, _, err := compare.CompareRDMs(one, other, compare.WhitenedCosine)
	require.NoError(t, err)
	assert.True(t, math.IsNaN(whitened))
	_, _, err = compare.CompareRDMs(one, compare.RDM{Stimuli: 2, Values: []float64{1}}, compare.Cosine)
	assert.ErrorIs(t, err, compare.ErrData)
	_, _, err = compare.CompareRDMs(one, other, "bures")
	assert.ErrorIs(t, err, compare.ErrData)
	for _, v := range compare.CorrelationRDM(gramOf(t, []float32{0.1, 0.1, 0.1, 1, 2, 4, 3, 3, 1}, 3)).Values[:2] {
		assert.True(t, math.IsNaN(v), "a constant pattern has no correlation")
	}
	_, err = compare.PoissonRDM(compare.Targets{{1, -1}, {2, 3}})
	assert.ErrorIs(t, err, compare.ErrData)
	_, err = compare.MahalanobisRDM(compare.Targets{{1, 1}, {2, 3}}, mat.NewDense(3, 3, nil))
	assert.ErrorIs(t, err, compare.ErrData)
}
