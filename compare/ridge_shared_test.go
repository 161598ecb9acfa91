package compare

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// made returns features of n stimuli of a spectrum that falls as a power, and responses of q neuroids, which
// follow them more or less closely.
func made(t testing.TB, seed uint64, n, p, q int) (*Gram, Targets) {
	r := rand.New(rand.NewPCG(seed, 7))
	latent := min(n, p, 60)
	fall, noise, scale := 2*r.Float64(), math.Exp(2*r.NormFloat64()-1), math.Exp(2*r.NormFloat64())
	weights, toNeuroids := make([]float64, latent*p), make([]float64, latent*q)
	for i := range weights {
		weights[i] = r.NormFloat64()
	}
	for i := range toNeuroids {
		toNeuroids[i] = r.NormFloat64() * math.Pow(float64(1+i/q), -fall*r.Float64())
	}
	features, targets := make([]float32, n*p), make(Targets, n)
	for i := range n {
		z := make([]float64, latent)
		for k := range z {
			z[k] = r.NormFloat64() * math.Pow(float64(1+k), -fall/2)
		}
		for f := range p {
			sum := 3 + 0.1*r.NormFloat64()
			for k, v := range z {
				sum += v * weights[f*latent+k]
			}
			features[i*p+f] = float32(scale * sum)
		}
		targets[i] = make([]float64, q)
		for j := range q {
			targets[i][j] = 5 + noise*r.NormFloat64()*float64(1+j)/float64(q)
			for k, v := range z {
				targets[i][j] += v * toNeuroids[k*q+j]
			}
		}
	}
	g, err := GramOf(features, n)
	require.NoError(t, err)
	return g, targets
}

func equalFits(t *testing.T, want, got []*fitted, tolerance float64, about string) {
	t.Helper()
	require.Len(t, got, len(want))
	for s := range want {
		assert.Equal(t, want[s].alphas, got[s].alphas, about)
		for j := range want[s].prediction {
			for i, v := range want[s].prediction[j] {
				if !assert.InDelta(t, v, got[s].prediction[j][i], tolerance*(1+math.Abs(v)), "%s, split %d, neuroid %d", about,
					s, j) {
					return
				}
			}
		}
	}
}

// The inverses that all splits share give what the eigenvalues of each split do.
func TestSharedInversesEqualSpectra(t *testing.T) {
	for seed := range uint64(8) {
		const n, q = 90, 7
		g, targets := made(t, seed, n, []int{40, 300}[seed%2], q)
		splits, err := Splits{Count: 3}.Of(n, nil)
		require.NoError(t, err)
		splits[1].Test = splits[1].Test[:4] // some stimuli are in neither part
		splits[2].Train = splits[2].Train[10:]
		for _, ridge := range []Ridge{
			{}, {Alphas: []float64{30}}, {Alphas: BrainScoreAlphas()}, {Alphas: BrainScoreAlphas(), PerNeuroid: true},
			{Alphas: BrainScoreAlphas(), Folds: 5}, {Alphas: []float64{1000, 1, 100, 10, 100}, PerNeuroid: true, Folds: 3},
		} {
			var want []*fitted
			for _, split := range splits {
				f, err := ridge.fromSpectrum(g, targets, split)
				require.NoError(t, err)
				want = append(want, f)
			}
			got, err := ridge.fromInverses(g, targets, splits, largeRidge)
			require.NoError(t, err)
			require.NotNil(t, got)
			equalFits(t, want, got, 1e-7, fmt.Sprintf("%v, seed %d", ridge, seed))
		}
	}
}

// With fewer features than stimuli, rounding is larger than the smallest alphas; what is left out must not hang on it.
func TestAlphasBelowRounding(t *testing.T) {
	const n = 60
	g, targets := made(t, 1, n, 20, 3)
	splits, err := Splits{Count: 2}.Of(n, nil)
	require.NoError(t, err)
	ridge := Ridge{Alphas: []float64{1e-10, 1e-8, 1}}
	shared, err := ridge.fromInverses(g, targets, splits, largeRidge)
	require.NoError(t, err)
	assert.Nil(t, shared)
	fits, err := ridge.predict(g, targets, splits)
	require.NoError(t, err)
	assert.Len(t, fits, 2)
}

// A search that leaves alphas out finds those that all would give.
func TestSearchFindsTheBestAlpha(t *testing.T) {
	seeds := uint64(6)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		const n, q = 80, 20
		g, targets := made(t, 100+seed, n, []int{30, 150, 400}[seed%3], q)
		splits, err := Splits{Count: 4}.Of(n, nil)
		require.NoError(t, err)
		for _, ridge := range []Ridge{
			{Alphas: BrainScoreAlphas()}, {Alphas: BrainScoreAlphas(), PerNeuroid: true},
			{Alphas: BrainScoreAlphas(), PerNeuroid: true, Folds: 5},
		} {
			want, err := ridge.fromInverses(g, targets, splits, n+1)
			require.NoError(t, err)
			got, err := ridge.fromInverses(g, targets, splits, n)
			require.NoError(t, err)
			equalFits(t, want, got, 0, fmt.Sprintf("%v, seed %d", ridge, seed))
		}
	}
}

// Smooth losses with several minima need few evaluations.
func TestSearchEvaluatesFew(t *testing.T) {
	alphas := BrainScoreAlphas()
	loss := func(a int, at float64) float64 {
		x := math.Log(alphas[a]) - at
		return 2 - 1/math.Cosh(x/2) - 0.4/math.Cosh((x-8)/2)
	}
	evaluated := 0
	best := choice{}
	require.True(t, searchAlphas(alphas, true, func(a int) ([]float64, bool) {
		evaluated++
		best.offer(a, loss(a, 9), []float64{})
		return []float64{loss(a, 9)}, true
	}))
	assert.Less(t, evaluated, 30)
	for a := range alphas {
		assert.GreaterOrEqual(t, loss(a, 9), loss(best.alpha, 9))
	}
	assert.False(t, searchAlphas(alphas, true, func(a int) ([]float64, bool) { return []float64{1}, alphas[a] > 5 }))
}
