package compare_test

import (
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
)

// quantity is what is compared with other packages' numbers, and how far apart it may be. One without a name
// is compared with our own.
type quantity struct {
	name      string
	tolerance float64
}

// The quantities, in the order of the table.
var (
	plsScores         = quantity{"PLS: r, of float32 features in Brain-Score", 1e-7}
	plsPredictions    = quantity{"PLS: predictions", 1e-6}
	spanningScores    = quantity{"PLS over all bins: score, error", 1e-6}
	ridgeScores       = quantity{"ridge, α chosen: r, predictions, errors of each α (scikit-learn, himalaya)", 1e-9}
	ridge32Scores     = quantity{"ridge in float32 in Brain-Score: r", inFloat32(5e-5)}
	float64Scores     = quantity{"ridge and linear of float64 features in Brain-Score: r", 1e-9}
	predictions32     = quantity{"ridge and linear in float32: predictions", inFloat32(2e-4)}
	linearScores      = quantity{"linear in float32: r, 10 splits", inFloat32(5e-5)}
	linearFixedScores = quantity{"linear in float32: r, fixed sets (scikit-learn 1.5.2)", inFloat32(3e-4)}
	linearCutScores   = quantity{"linear in float32: r, fixed sets (scikit-learn 1.7.2)", inFloat32(5e-5)}
	oneToOneScores    = quantity{"neuron-to-neuron in float32: r", inFloat32(5e-5)}
	averages          = quantity{"averages over repetitions", 1e-12}
	ceilings          = quantity{"ceilings: internal consistency, halves of responses, predictor consistency", 1e-9}
	ceiledScores      = quantity{"CEILED of PLS", 1e-6}
	correctedScores   = quantity{"corrected by both consistencies, PLS", 1e-6}
	binWeights        = quantity{"weights of time bins", 1e-12}
	blends            = quantity{"features of time bins (float32)", 1e-6}
	dissimilarities   = quantity{"RDMs, covariance, precision (rsatoolbox)", 1e-9}
	dissimilarities32 = quantity{"RDMs of float32 features (Brain-Score)", 1e-6}
	similarities      = quantity{"similarities of RDMs", 1e-9}
	noiseCeilings     = quantity{"noise ceilings", 1e-9}
	inferences        = quantity{"inference: means, p, errors", 1e-9}
	intervals         = quantity{"inference: intervals", 1e-6}
	bootstraps        = quantity{"bootstrapped errors", 1e-9}
	ckaScores         = quantity{"CKA of float32 features", 1e-6}
	choiceRates       = quantity{"i1 … i2n: rates, d′", 1e-6}
	consistencies     = quantity{"i1 … i2n: scores, ceilings", 1e-7}
	consistencyRatios = quantity{"i1 … i2n: ceiled", 1e-6}
	readouts          = quantity{"probabilities of the readout", 1e-4}
	ostDecoders       = quantity{"OST: weights, probabilities of the decoder", 1e-5}
	ostDPrimes        = quantity{"OST: d′", 1e-4}
	ostTimes          = quantity{"OST: ms", 0.1}
	ostScores         = quantity{"OST: correlations", 1e-9}
)

// inFloat32 is the tolerance of what peers compute in float32: on other data than the standard ones rounding may leave
// more. TestRegressionsInFloat64 has none of it.
func inFloat32(tolerance float64) float64 {
	if otherData() {
		return 10 * tolerance
	}
	return tolerance
}

// onlyRounding tells whether scikit-learn's least squares are rounding in part: with as many features as training
// stimuli, centring leaves of the smallest singular value a few units in the last place, which are not left out there.
// On the standard data that is little.
func onlyRounding(mapping compare.Mapping, features, stimuli int) bool {
	return mapping == compare.Linear{} && features >= stimuli
}

func otherData() bool { return os.Getenv("TFCONVRNN_GOLDEN_COMPARISON") != "" }

var quantities = []quantity{
	plsScores, plsPredictions, spanningScores, ridgeScores, ridge32Scores, float64Scores, predictions32,
	linearScores, linearFixedScores, linearCutScores, oneToOneScores, averages, ceilings, ceiledScores, correctedScores,
	binWeights, blends, dissimilarities, dissimilarities32, similarities, noiseCeilings, inferences, intervals,
	bootstraps, ckaScores, choiceRates, consistencies, consistencyRatios, readouts, ostDecoders, ostDPrimes,
	ostTimes, ostScores,
}

// worst are the largest differences of quantities, and how many numbers were compared.
var worst = struct {
	sync.Mutex
	error map[string]float64
	count map[string]int
}{error: map[string]float64{}, count: map[string]int{}}

var goldenErrors = flag.Bool("golden-errors", false, "print how far quantities are from other packages' numbers")

func TestMain(m *testing.M) {
	code := m.Run()
	if *goldenErrors {
		fmt.Println("| quantity | numbers | worst difference | tolerance |\n|---|---|---|---|")
		for _, q := range quantities {
			fmt.Printf("| %s | %d | %.1e | %.0e |\n", q.name, worst.count[q.name], worst.error[q.name], q.tolerance)
		}
	}
	os.Exit(code)
}

// Every quantity has a row in the table.
func TestQuantitiesAreListed(t *testing.T) {
	for name := range worst.count {
		assert.True(t, slices.ContainsFunc(quantities, func(q quantity) bool { return q.name == name }), name)
	}
}

// equalWithin compares numbers, NaN with NaN.
func equalWithin(t *testing.T, want, got []float64, q quantity, about string) {
	t.Helper()
	require.Len(t, got, len(want), about)
	for i := range want {
		if math.IsNaN(want[i]) || math.IsNaN(got[i]) {
			assert.Equal(t, math.IsNaN(want[i]), math.IsNaN(got[i]), "%s: %d: want %v, got %v", about, i, want[i], got[i])
			continue
		}
		difference := math.Abs(want[i] - got[i])
		q.note(difference)
		if difference > q.tolerance {
			assert.Fail(t, "too far apart", "%s: %d: want %v, got %v, which differ by %.3g", about, i, want[i], got[i],
				difference)
			return
		}
	}
}

// within is equalWithin for one number.
func within(t *testing.T, want, got float64, q quantity, about ...any) {
	t.Helper()
	equalWithin(t, []float64{want}, []float64{got}, q, fmt.Sprint(about...))
}

func (q quantity) note(difference float64) {
	if q.name == "" {
		return
	}
	worst.Lock()
	defer worst.Unlock()
	worst.error[q.name] = max(worst.error[q.name], difference)
	worst.count[q.name]++
}
