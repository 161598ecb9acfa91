package truncatednormal_test

import (
	"cmp"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/truncatednormal"
)

// The start of Brain-Score's decoder of object solution times, which TensorFlow 2.15 drew.
func TestTensorFlowsNumbers(t *testing.T) {
	folder := cmp.Or(os.Getenv("TFCONVRNN_GOLDEN_COMPARISON"), "../../testdata/comparison")
	f, err := features.OpenArrays(folder + "/ost_arrays.npz")
	require.NoError(t, err)
	defer f.Close()
	a, err := f.Array("split0/bin0/initial_weights")
	require.NoError(t, err)
	shape := a.Info().Shape
	want, err := a.Float32s(0, shape[0])
	require.NoError(t, err)
	got := truncatednormal.Float32s(87654321, len(want))
	scale := math.Sqrt(1/float64(shape[0])) / 0.87962566103423978
	for i := range want {
		assert.InDelta(t, float64(want[i]), float64(got[i])*scale, 2e-6*scale, i)
	}
}

func TestNumbersAreNormal(t *testing.T) {
	const n = 100_000
	mean, square := 0.0, 0.0
	for _, v := range truncatednormal.Float32s(1, n) {
		require.Less(t, math.Abs(float64(v)), 2.0)
		mean += float64(v) / n
		square += float64(v) * float64(v) / n
	}
	assert.InDelta(t, 0, mean, 0.01)
	assert.InDelta(t, 0.87962566103423978, math.Sqrt(square), 0.005)
}
