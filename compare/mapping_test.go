package compare_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
)

// goldenScore is a score as testdata's generator wrote Brain-Score's.
type goldenScore struct {
	Center float64    `json:"center"`
	Error  float64    `json:"error"`
	Raw    [][]number `json:"raw"`
}

func compareScore(t *testing.T, data *recorded, want goldenScore, got compare.Score, q quantity, about string) {
	t.Helper()
	equalWithin(t, []float64{want.Center, want.Error}, []float64{got.Center, got.Error}, q, about)
	raw := data.inOrder(t, got.Raw)
	for i := range want.Raw {
		equalWithin(t, plain(want.Raw[i]), raw[i], q, fmt.Sprintf("%s, split %d", about, i))
	}
}

func TestPredictivity(t *testing.T) {
	model, data := goldenData(t)
	// Brain-Score computes with float32 features in parts: PLS centres those to predict for
	// in float32, ridge works in float32 throughout.
	for _, c := range []struct {
		name    string
		mapping compare.Mapping
		q       quantity
		strata  []string
		bins    []int
	}{
		{"pls/stratified", compare.PLS{}, plsScores, data.objects, numpyOrder(data.bins)},
		{"pls/unstratified", compare.PLS{}, plsScores, nil, []int{2}},
		{"pls5/stratified", compare.PLS{Components: 5}, plsScores, data.objects, []int{2}},
		{"pls10/stratified", compare.PLS{Components: 10}, plsScores, data.objects, []int{2}},
		{"ridge/stratified", compare.Ridge{}, ridge32Scores, data.objects, numpyOrder(data.bins)},
		{"ridge/unstratified", compare.Ridge{}, ridge32Scores, nil, []int{2}},
		{"dual_ridge_cv/stratified", compare.Ridge{Alphas: compare.BrainScoreAlphas()}, ridgeScores, data.objects, []int{2}},
	} {
		splits := splitsOf(t, compare.Splits{}, len(data.ids), c.strata)
		for _, bin := range c.bins {
			name := fmt.Sprintf("%s/%d", c.name, 70+10*bin)
			fit, err := compare.FitTargets(gramOf(t, model.flat(7+bin), len(model)), data.bin(bin), splits, c.mapping)
			require.NoError(t, err, name)
			compareScore(t, data, golden[goldenScore](t, "brainscore.json", "predictivity", name), fit.Score, c.q, name)
		}
	}
}

// Every component takes as many iterations as scikit-learn's.
func TestPLSIterations(t *testing.T) {
	model, data := goldenData(t)
	want, err := array(t, "brainscore_arrays.npz", "split0/pls/n_iter").Int64s(0, 25)
	require.NoError(t, err)
	fit, err := compare.FitTargets(gramOf(t, model.flat(9), len(model)), data.bin(2),
		splitsOf(t, compare.Splits{}, len(data.ids), data.objects)[:1], compare.PLS{})
	require.NoError(t, err)
	for i, n := range fit.Iterations[0] {
		assert.Equal(t, int(want[i]), n, "component %d", i)
	}
	assert.Len(t, fit.Iterations[0], 25)
}

// Rows that change places together, and features in other blocks, change nothing.
func TestFitsDoNotDependOnOrder(t *testing.T) {
	model, data := goldenData(t)
	n := len(data.ids)
	splits := splitsOf(t, compare.Splits{Count: 2}, n, nil)
	order := rand.New(rand.NewPCG(1, 1)).Perm(n)
	var shuffled modelled
	targets := make(compare.Targets, n)
	var moved []compare.Split
	place := make([]int, n)
	for i, at := range order {
		shuffled = append(shuffled, model[at])
		targets[i] = data.bin(1)[at]
		place[at] = i
	}
	for _, s := range splits {
		var m compare.Split
		for _, at := range s.Train {
			m.Train = append(m.Train, place[at])
		}
		for _, at := range s.Test {
			m.Test = append(m.Test, place[at])
		}
		moved = append(moved, m)
	}
	blocks := compare.NewGram(n)
	flat, p := shuffled.flat(8), len(model[0][8])
	for from := 0; from < p; from += 13 {
		require.NoError(t, blocks.Add(flat[from:], min(13, p-from), p))
	}
	for _, mapping := range []compare.Mapping{compare.PLS{}, compare.Ridge{}, compare.Ridge{Alphas: []float64{1, 10, 100},
		PerNeuroid: true}} {
		one, err := compare.FitTargets(gramOf(t, model.flat(8), n), data.bin(1), splits, mapping)
		require.NoError(t, err)
		other, err := compare.FitTargets(blocks, targets, moved, mapping)
		require.NoError(t, err)
		for i := range one.Raw {
			equalWithin(t, one.Raw[i], other.Raw[i], quantity{tolerance: 1e-9}, mapping.String())
		}
	}
}

func TestRidgeWithChosenAlpha(t *testing.T) {
	model, data := goldenData(t)
	alphas := golden[[]float64](t, "ridge.json", "alphas")
	split := compare.Split{Train: golden[[]int](t, "ridge.json", "train"), Test: golden[[]int](t, "ridge.json", "test")}
	timesteps := make([]int, 16)
	for i := range timesteps {
		timesteps[i] = 4 + i
	}
	for name, flat := range map[string][]float32{"narrow": model.flat(9), "wide": model.flat(timesteps...)} {
		g := gramOf(t, flat, len(model))
		for _, per := range []bool{false, true} {
			for golden_, c := range map[string]struct {
				mapping       compare.Ridge
				alphas, score string
			}{
				map[bool]string{false: "sklearn.RidgeCV/per_target=False/",
					true: "sklearn.RidgeCV/per_target=True/"}[per] + name: {
					compare.Ridge{Alphas: alphas, PerNeuroid: per}, "alpha", "pearson"},
				map[bool]string{false: "himalaya.RidgeCV/local_alpha=False/",
					true: "himalaya.RidgeCV/local_alpha=True/"}[per] + name: {
					compare.Ridge{Alphas: alphas, PerNeuroid: per, Folds: 5}, "best_alphas", "correlation"},
				map[bool]string{false: "himalaya.KernelRidgeCV/local_alpha=False/",
					true: "himalaya.KernelRidgeCV/local_alpha=True/"}[per] + name: {compare.Ridge{Alphas: alphas, PerNeuroid: per,
					Folds: 5}, "best_alphas", "correlation"},
			} {
				fit, err := compare.FitTargets(g, data.bin(2), []compare.Split{split}, c.mapping)
				require.NoError(t, err)
				want := golden[[]float64](t, "ridge.json", golden_, c.alphas)
				for i, alpha := range fit.Alphas[0] {
					assert.InEpsilon(t, want[i], alpha, 1e-12, golden_)
				}
				equalWithin(t, golden[[]float64](t, "ridge.json", golden_, c.score), fit.Raw[0], ridgeScores, golden_)
			}
		}
	}
}

// By what the chosen alphas were, and how much of the variance they explain.
func TestScoresOfChosenAlphas(t *testing.T) {
	model, data := goldenData(t)
	alphas := golden[[]float64](t, "ridge.json", "alphas")
	split := compare.Split{Train: golden[[]int](t, "ridge.json", "train"), Test: golden[[]int](t, "ridge.json", "test")}
	targets, q := data.bin(2), len(data.neuroids)
	for name, flat := range map[string][]float32{"narrow": model.flat(9), "wide": model.flat(wide()...)} {
		g := gramOf(t, flat, len(model))
		left, err := compare.LeaveOneOutOfEach(alphas, g, targets, split)
		require.NoError(t, err)
		folds, err := compare.FoldErrors(compare.Ridge{Alphas: alphas, Folds: 5}, g, targets, split)
		require.NoError(t, err)
		for _, per := range []bool{false, true} {
			suffix := map[bool]string{false: "False/", true: "True/"}[per] + name
			about := "sklearn.RidgeCV/per_target=" + suffix
			chosen := golden[[]float64](t, "ridge.json", about, "alpha")
			var best []float64
			for j := range q {
				best = append(best, -left[slices.Index(alphas, chosen[min(j, len(chosen)-1)])][j])
			}
			if !per {
				best = []float64{mean(best)}
			}
			equalWithin(t, golden[[]float64](t, "ridge.json", about, "best_score"), best, ridgeScores, about)
			for _, class := range []string{"RidgeCV", "KernelRidgeCV"} {
				about := "himalaya." + class + "/local_alpha=" + suffix
				chosen := golden[[]float64](t, "ridge.json", about, "best_alphas")
				predicted, err := compare.Predictions(compare.Ridge{Alphas: alphas, PerNeuroid: per, Folds: 5}, g, targets, split)
				require.NoError(t, err)
				var scores, explained []float64
				for j := range q {
					at := slices.IndexFunc(alphas, func(a float64) bool { return math.Abs(a/chosen[j]-1) < 1e-9 })
					// himalaya adds 1e-10·ln α to prefer larger ones.
					scores = append(scores, -folds[at][j]+1e-10*math.Log(alphas[at]))
					var measured []float64
					rest := 0.0
					for i, at := range split.Test {
						measured = append(measured, targets[at][j])
						rest += (targets[at][j] - predicted[i][j]) * (targets[at][j] - predicted[i][j])
					}
					all := 0.0
					for _, v := range measured {
						all += (v - mean(measured)) * (v - mean(measured))
					}
					explained = append(explained, 1-rest/all)
				}
				equalWithin(t, golden[[]float64](t, "ridge.json", about, "cv_scores"), scores, ridgeScores, about+" of folds")
				equalWithin(t, golden[[]float64](t, "ridge.json", about, "r2"), explained, ridgeScores, about+" r²")
			}
		}
	}
}

func mean(values []float64) (m float64) {
	for _, v := range values {
		m += v / float64(len(values))
	}
	return m
}

func TestUnusableData(t *testing.T) {
	constant := gramOf(t, make([]float32, 40), 4)
	assert.True(t, constant.Constant())
	_, err := compare.FitTargets(constant, compare.Targets{{1}, {2}, {3}, {4}},
		[]compare.Split{{Train: []int{0, 1, 2}, Test: []int{3}}}, compare.Ridge{})
	assert.ErrorIs(t, err, compare.ErrConstant)
	g := gramOf(t, []float32{1, 2, 3, 4}, 4)
	splits := []compare.Split{{Train: []int{0, 1, 2}, Test: []int{3}}}
	for _, c := range []struct {
		targets compare.Targets
		mapping compare.Mapping
	}{
		{compare.Targets{{1}, {2}, {3}}, compare.Ridge{}}, {compare.Targets{{1}, {2}, {3}, {}}, compare.Ridge{}},
		{compare.Targets{{1}, {2}, {3}, {4}}, compare.PLS{}},
		{compare.Targets{{1}, {2}, {3}, {4}}, compare.PLS{Components: -1}},
		{compare.Targets{{1}, {2}, {3}, {4}}, compare.Ridge{Alphas: []float64{0}}},
		{compare.Targets{{1}, {2}, {3}, {4}}, compare.Ridge{Folds: 1}},
	} {
		_, err := compare.FitTargets(g, c.targets, splits, c.mapping)
		assert.ErrorIs(t, err, compare.ErrData)
	}
}

// The data are made up: 3,200 stimuli, 25,088 features, 168 neuroids; few of all where
// benchmarks are only tried (TFCONVRNN_BENCH_IMAGES).
func benchmarkFit(b *testing.B, mapping compare.Mapping, splits int) {
	n, p := 3200, 25088
	const q, latent = 168, 60
	if os.Getenv("TFCONVRNN_BENCH_IMAGES") != "" {
		n, p = 200, 300
	}
	random := rand.New(rand.NewPCG(1, 1))
	normal := func(count int) []float32 {
		values := make([]float32, count)
		for i := range values {
			values[i] = float32(random.NormFloat64())
		}
		return values
	}
	z, toFeatures, toNeuroids := normal(n*latent), normal(latent*64), normal(latent*q)
	features := normal(n * p)
	targets := make(compare.Targets, n)
	for i := range n {
		for f := range p {
			sum := features[i*p+f] * 0.5
			for k := range 4 {
				sum += z[i*latent+(f+k*7)%latent] * toFeatures[(f+k)%(latent*64)]
			}
			features[i*p+f] = max(sum, 0)
		}
		for j := range q {
			sum := random.NormFloat64() * 4
			for k := range latent {
				sum += float64(z[i*latent+k] * toNeuroids[k*q+j])
			}
			targets[i] = append(targets[i], sum)
		}
	}
	all, err := compare.Splits{}.Of(n, nil)
	require.NoError(b, err)
	for b.Loop() {
		g, err := compare.GramOf(features, n)
		require.NoError(b, err)
		fit, err := compare.FitTargets(g, targets, all[:splits], mapping)
		require.NoError(b, err)
		b.ReportMetric(fit.Center, "r")
	}
}

func BenchmarkPLS(b *testing.B)   { benchmarkFit(b, compare.PLS{}, 10) }
func BenchmarkRidge(b *testing.B) { benchmarkFit(b, compare.Ridge{}, 10) }
func BenchmarkRidgeOfAlphas(b *testing.B) {
	benchmarkFit(b, compare.Ridge{Alphas: compare.BrainScoreAlphas()}, 10)
}
