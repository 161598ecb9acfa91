package tfconvrnn

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
)

// trajectory returns [timesteps, 1000] with the given values of the first classes
// and -100 for the others.
func trajectory(rows ...[]float32) []float32 {
	data := make([]float32, 0, len(rows)*Classes)
	for _, row := range rows {
		full := make([]float32, Classes)
		for i := range full {
			full[i] = -100
		}
		copy(full, row)
		data = append(data, full...)
	}
	return data
}

func TestDecoders(t *testing.T) {
	z := trajectory([]float32{1, 0}, []float32{3, 0}, []float32{0, 5}, []float32{5, 0}, []float32{2, 2})
	before := slices.Clone(z)
	first := func(logits []float32, n int) []float32 {
		require.Len(t, logits, Classes)
		return logits[:n]
	}
	last, err := DecodeLast(z)
	require.NoError(t, err)
	assert.Equal(t, []float32{2, 2}, first(last, 2))

	logits, timestep, err := DecodeMaxConfidence(z, 1)
	require.NoError(t, err)
	assert.Equal(t, 2, timestep, "the earlier of two equal ones")
	assert.Equal(t, []float32{0, 5}, first(logits, 2))

	// q = 1/(1+exp(-1)) = 0.73, 1/(1+exp(-3)) = 0.95, 0.993, …
	for threshold, want := range map[float32]int{0.5: 0, 0.9: 1, 0.96: 2, 0.999: 2} {
		logits, timestep, err = DecodeThreshold(z, 1, threshold)
		require.NoError(t, err)
		assert.Equal(t, want, timestep, "threshold %g", threshold)
		assert.Equal(t, at(z, want), logits)
	}
	_, timestep, err = DecodeThreshold(z, 4, 0.9)
	require.NoError(t, err)
	assert.Equal(t, 0, timestep, "β sharpens: 1/(1+exp(-4)) = 0.98")

	logits, err = DecodeTimeAverage(z)
	require.NoError(t, err)
	assert.InDeltaSlice(t, []float32{2.2, 1.4, -100}, first(logits, 3), 1e-5)

	logits, err = DecodeConfidenceWeighted(z, 1, 0)
	require.NoError(t, err)
	assert.InDeltaSlice(t, []float32{2.2, 1.4, -100}, first(logits, 3), 1e-5, "γ = 0 is the mean")
	logits, err = DecodeConfidenceWeighted(z, 1, 1)
	require.NoError(t, err)
	var sum, weighted float64
	for i, d := range []float64{1, 3, 5, 5, 0} {
		w := math.Exp(1 / (1 + math.Exp(-d)))
		sum += w
		weighted += w * float64(z[i*Classes])
	}
	assert.InDelta(t, weighted/sum, logits[0], 1e-5)

	logits, err = DecodeSoftmaxAverage(z, 0)
	require.NoError(t, err)
	assert.InDeltaSlice(t, []float32{2.2, 1.4, -100}, first(logits, 3), 1e-5, "β = 0 is the mean")
	logits, err = DecodeSoftmaxAverage(z, 1000)
	require.NoError(t, err)
	assert.InDeltaSlice(t, []float32{5, 5, -100}, first(logits, 3), 1e-5, "the maximum in the limit")
	assert.Equal(t, before, z)
}

func TestDecodersRefuse(t *testing.T) {
	nan := float32(math.NaN())
	bad := trajectory([]float32{1}, []float32{nan})
	for _, z := range [][]float32{nil, {1, 2, 3}, bad} {
		_, err := DecodeLast(z)
		assert.ErrorIs(t, err, ErrTrajectory)
		_, _, err = DecodeMaxConfidence(z, 1)
		assert.ErrorIs(t, err, ErrTrajectory)
		_, _, err = DecodeThreshold(z, 1, 0.9)
		assert.ErrorIs(t, err, ErrTrajectory)
		_, err = DecodeTimeAverage(z)
		assert.ErrorIs(t, err, ErrTrajectory)
		_, err = DecodeConfidenceWeighted(z, 1, 1)
		assert.ErrorIs(t, err, ErrTrajectory)
		_, err = DecodeSoftmaxAverage(z, 1)
		assert.ErrorIs(t, err, ErrTrajectory)
	}
	good := trajectory([]float32{1})
	_, _, err := DecodeMaxConfidence(good, nan)
	assert.ErrorIs(t, err, ErrOption)
	_, _, err = DecodeThreshold(good, 1, nan)
	assert.ErrorIs(t, err, ErrOption)
	_, err = DecodeConfidenceWeighted(good, 1, float32(math.Inf(1)))
	assert.ErrorIs(t, err, ErrOption)
	_, err = DecodeSoftmaxAverage(good, nan)
	assert.ErrorIs(t, err, ErrOption)
}

// goldenStimuli returns the images of the reference outputs.
func goldenStimuli(t testing.TB) []Stimulus {
	images, err := features.OpenArrays(filepath.Join(goldenDir, "images.npy"))
	require.NoError(t, err)
	defer images.Close()
	array, err := images.Array("")
	require.NoError(t, err)
	pixels, err := array.Uint8s(0, 2)
	require.NoError(t, err)
	stimuli, err := FromUint8(pixels)
	require.NoError(t, err)
	return stimuli
}

// TestDecodersAgreeWithGraphs compares the functions with what graphs decode, and
// those with the published implementation, whose logits are in the golden files.
func TestDecodersAgreeWithGraphs(t *testing.T) {
	requireRuntime(t)
	stimuli := append(goldenStimuli(t), patterns(t, 6)...)
	store := t.TempDir()
	for model, times := range map[string][]int{
		"timedecay_shallow": {16}, "simplernn_shallow": {16, 7}, "rgc_intermediate_tmaxconf": {17, 12},
		"rgc_intermediate_dthresh": {17},
	} {
		t.Run(model, func(t *testing.T) {
			m, err := Load(model, WithWeights("seeded:1"), WithStore(store))
			require.NoError(t, err)
			defer m.Close()
			parameters, err := m.DecoderParameters()
			require.NoError(t, err)
			assert.Equal(t, m.Info().Decoder, parameters.Decoder)
			for _, n := range times {
				features, err := m.Extract(t.Context(), stimuli, Layers("imnetds"), AllTimesteps(), Logits(),
					WithPresentation(Custom(n, min(n, 12))))
				require.NoError(t, err)
				at := map[int]bool{}
				for i := range stimuli {
					readout := features.Layers[0].Data[i*n*Classes : (i+1)*n*Classes]
					decoded := readout[min(FirstDecodedTimestep, n-1)*Classes:]
					var got []float32
					var timestep int
					switch parameters.Decoder {
					case "last":
						got, err = DecodeLast(readout)
					case "max_conf":
						require.NotZero(t, parameters.Beta)
						got, timestep, err = DecodeMaxConfidence(decoded, parameters.Beta)
					case "thresh":
						require.InDelta(t, 0.9, parameters.Threshold, 1e-6)
						got, timestep, err = DecodeThreshold(decoded, parameters.Beta, parameters.Threshold)
					}
					require.NoError(t, err)
					require.Equal(t, features.Logits[i*Classes:(i+1)*Classes], got, "stimulus %d of %d timesteps, decoded at %d", i, n,
						timestep)
					at[timestep] = true
				}
				t.Logf("%s of %d timesteps: decoded at %d different ones", parameters.Decoder, n, len(at))
			}
		})
		require.NoError(t, os.RemoveAll(filepath.Join(store, model)))
	}
}

// patterns returns pictures that differ from one another.
func patterns(t testing.TB, n int) []Stimulus {
	pixels := make([]uint8, 0, n*imageValues)
	for i := range n {
		picture := builtInPicture()
		for j := range picture {
			picture[j] = uint8((int(picture[j])*(i+1) + j%(3*(i+5))*7) >> (i % 3))
		}
		pixels = append(pixels, picture...)
	}
	stimuli, err := FromUint8(pixels)
	require.NoError(t, err)
	return stimuli
}
