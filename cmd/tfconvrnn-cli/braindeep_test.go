package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/tfconvrnn/go/features"
)

const (
	deepLayer    = "conv6"
	deepTimestep = 6
	deepBin      = 100 // ms, of the responses
	deepStimuli  = 100
	deepFrames   = 9  // of a stimulus, each for a timestep, so that the times differ
	deepSide     = 56 // of a frame, in pixels
	deepUnits    = 24 // of each layer, of the place in its middle
)

// A recurrent layer of a deep model is taken for a brain. Its made-up neurons see the units in its middle at one
// timestep; the stimuli are noise, new in every timestep, so that other layers and times see something else. Among
// eight layers at all their times compare finds the layer, the time, and the ceiling that follows from the noise.
// TFCONVRNN_BRAIN_SEEDS says how many models and brains are tried.
func TestFindsALayerOfADeepModel(t *testing.T) {
	if _, err := runtimePath(); err != nil {
		require.NotEqual(t, "1", os.Getenv(requireEnv), "%v", err)
		t.Skip("needs libtensorflow:", err)
	}
	seeds := 1
	if text := os.Getenv("TFCONVRNN_BRAIN_SEEDS"); text != "" {
		var err error
		seeds, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed+1), func(t *testing.T) { findDeep(t, seed+1) })
	}
}

func findDeep(t *testing.T, seed int) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	writeNoise(t, file("noise.npy"), uint64(seed))
	args := []string{"extract", "--model", "ugrnn_intermediate", "--weights", fmt.Sprintf("seeded:%d", seed),
		"--on-ms", "0", "--off-ms", fmt.Sprint(10 * deepFrames), "--total-ms", fmt.Sprint(10 * deepFrames), "--frames-per-image", "1",
		"--preprocess", "warp224", "--batch", "8", "--out", file("features.npz"), file("noise.npy")}
	var layers []string
	for k := range 8 {
		layers = append(layers, fmt.Sprint("conv", k+1))
		args = append(args, "--select", fmt.Sprintf("conv%d=center+channels(0-%d)", k+1, deepUnits-1))
	}
	code, _, stderr := run(t.Context(), append(args, "--layers", strings.Join(layers, ","))...)
	require.Equal(t, exitOK, code, "%s", stderr)
	store, err := features.Open(file("features.npz"))
	require.NoError(t, err)
	components := whitened(t, store)
	require.NoError(t, os.WriteFile(file("ids.txt"), []byte(strings.Join(store.Stimuli(), "\n")+"\n"), 0o600))
	require.NoError(t, store.Close())
	responses := noisy(deepStimuli, 1, func(i, _, c int) float64 { return components.At(i, c) })
	writeResponses(t, file("neural.npy"), responses, deepStimuli, 1)
	compared := func(what string) (report deepReport) {
		code, stdout, stderr := run(t.Context(), "compare", what, "--features", file("features.npz"), "--data",
			file("neural.npy"), "--data-axes", "stimulus,repetition,neuroid,time_bin",
			"--data-bins", fmt.Sprintf("%d:10", deepBin), "--data-coordinate", "stimulus_id@stimulus="+file("ids.txt"), "--metric", "ridge-loo", "--matrix", "--json")
		require.Equal(t, exitOK, code, "%s", stderr)
		require.NoError(t, json.Unmarshal([]byte(stdout), &report))
		return report
	}
	report := compared("fit")
	var best, second deepScore
	for _, s := range report.Scores {
		switch {
		case s.Score == nil:
		case best.Score == nil || *s.Score > *best.Score:
			best, second = s, best
		case second.Score == nil || *s.Score > *second.Score:
			second = s
		}
	}
	t.Logf("%s at %d ms: %.4f ± %.4f, ceiled %.3f, ceiling %.3f; then %s at %d ms: %.4f ± %.4f, of %d", best.Layer,
		best.At, *best.Score, best.Error, best.Ceiled, best.Ceiling, second.Layer, second.At, *second.Score, second.Error,
		len(report.Scores))
	assert.Equal(t, deepLayer, best.Layer)
	assert.Equal(t, 10*deepTimestep, best.At)
	assert.Greater(t, *best.Score-*second.Score, 5*math.Hypot(best.Error, second.Error))
	assert.InDelta(t, 1/(1+brainNoise*brainNoise/brainRepetitions), best.Ceiling, 0.02)
	assert.InDelta(t, 1, best.Ceiled, 0.08) // a hundred stimuli do not tell 24 weights quite
	chosen := compared("best").Scores[0]
	assert.Equal(t, deepLayer, chosen.Layer)
	assert.Equal(t, 10*deepTimestep, chosen.At)
	assert.Equal(t, "10 of 10", chosen.Chosen)
}

// deepReport is what is read of compare's JSON.
type deepReport struct{ Scores []deepScore }

type deepScore struct {
	Layer                  string
	At                     int `json:"feature_bin_start"`
	Score                  *float64
	Error, Ceiling, Ceiled float64
	Chosen                 string
}

// writeNoise writes frames of noise as an array.
func writeNoise(t *testing.T, name string, seed uint64) {
	header := fmt.Sprintf("{'descr': '|u1', 'fortran_order': False, 'shape': (%d, %d, %d, %d, 3), }", deepStimuli,
		deepFrames, deepSide, deepSide)
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
	content := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8))
	content = append(content, header...)
	random := rand.New(rand.NewPCG(seed, 9))
	for range deepStimuli * deepFrames * deepSide * deepSide * 3 {
		content = append(content, byte(random.Uint32()))
	}
	require.NoError(t, os.WriteFile(name, content, 0o600))
}

// whitened are the principal components of the layer's units at the timestep, all of one variance, as the units are
// before: [stimuli, units].
func whitened(t *testing.T, store *features.Store) *mat.Dense {
	x := mat.NewDense(deepStimuli, deepUnits, nil)
	for i := range deepStimuli {
		values, err := store.Read(t.Context(), deepLayer, i, 1, []int{deepTimestep})
		require.NoError(t, err)
		require.Len(t, values, deepUnits)
		for u, v := range values {
			x.Set(i, u, float64(v))
		}
	}
	for u := range deepUnits {
		column := mat.Col(nil, u, x)
		mean, square := 0.0, 0.0
		for _, v := range column {
			mean += v / deepStimuli
		}
		for _, v := range column {
			square += (v - mean) * (v - mean) / deepStimuli
		}
		for i, v := range column {
			x.Set(i, u, (v-mean)/math.Sqrt(square))
		}
	}
	var svd mat.SVD
	require.True(t, svd.Factorize(x, mat.SVDThin))
	var u mat.Dense
	svd.UTo(&u)
	return &u
}
