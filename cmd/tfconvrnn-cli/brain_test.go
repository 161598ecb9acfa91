package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	_ "image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/tfconvrnn/go/features"
)

// brain is a model that is taken for one: its made-up neurons see what a layer of it computes, lagMs
// later, through the layer's first principal components, with noise.
type brain struct {
	model, layer string
	layers       []string // that are compared
	stimuli      int
	lagMs        int
	firstBin     int // of binCount bins, a timestep
}

// brainReport is what is read of compare's JSON.
type brainReport struct {
	Scores []struct {
		Ceiling float64 `json:"ceiling"`
	} `json:"scores"`
	Means []struct {
		Layer  string  `json:"layer"`
		Score  float64 `json:"score"`
		Ceiled float64 `json:"ceiled"`
	} `json:"means_over_time"`
}

const (
	brainBins        = 6
	brainNeurons     = 24
	brainRepetitions = 8
	brainNoise       = 1.0 // sd, of responses whose own is 1
	brainComponents  = 20
	brainImages      = 4 // of a stimulus, each for 40 ms, so that the times differ
)

// A seeded model's features are compared with noisy neurons made from one of its layers: compare finds the
// layer, the time between the two, and the ceiling that follows from the noise.
func TestFindsTheLayerAndTheTime(t *testing.T) {
	testFinds(t, brain{model: "timedecay_shallow", layer: "conv4", layers: []string{"conv4", "conv5", "imnetds"},
		stimuli: 128, lagMs: 20, firstBin: 8})
}

func testFinds(t *testing.T, b brain) {
	if _, err := runtimePath(); err != nil {
		require.NotEqual(t, "1", os.Getenv(requireEnv), "%v", err)
		t.Skip("needs libtensorflow:", err)
	}
	dir := t.TempDir()
	pictures := filepath.Join(dir, "stimuli")
	makeSequences(t, pictures, b.stimuli)
	file := filepath.Join(dir, "features.npz")
	code, _, stderr := run(t.Context(), "extract", "--model", b.model, "--weights", "seeded:1", "--layers",
		strings.Join(b.layers, ","),
		"--include-all-times", "--folder-sequences", "--frames-per-image", "4", "--out", file, pictures)
	require.Equal(t, exitOK, code, "%s", stderr)
	store, err := features.Open(file)
	require.NoError(t, err)
	responses := filepath.Join(dir, "neural.npy")
	ids := filepath.Join(dir, "ids.txt")
	require.NoError(t, os.WriteFile(ids, []byte(strings.Join(store.Stimuli(), "\n")+"\n"), 0o600))
	writeResponses(t, responses, b.record(t, store), b.stimuli, brainBins)
	require.NoError(t, store.Close())

	ceiling := 1 / (1 + brainNoise*brainNoise/brainRepetitions)
	best, bestLayer, bestOffset := 0.0, "", 0
	for _, offset := range []int{b.lagMs - 20, b.lagMs - 10, b.lagMs, b.lagMs + 10} {
		code, stdout, stderr := run(t.Context(), "compare", "fit", "--features", file, "--data", responses, "--data-axes",
			"stimulus,repetition,neuroid,time_bin",
			"--data-bins", fmt.Sprintf("%d:10", 10*b.firstBin), "--data-coordinate", "stimulus_id@stimulus="+ids, "--offset-ms",
			fmt.Sprint(offset), "--json")
		require.Equal(t, exitOK, code, "%s", stderr)
		var report brainReport
		require.NoError(t, json.Unmarshal([]byte(stdout), &report))
		for _, s := range report.Scores {
			assert.InDelta(t, ceiling, s.Ceiling, 0.02)
		}
		for _, m := range report.Means {
			t.Logf("%s, %d ms: %.4f, ceiled %.3f", m.Layer, offset, m.Score, m.Ceiled)
			if m.Ceiled > best {
				best, bestLayer, bestOffset = m.Ceiled, m.Layer, offset
			}
		}
	}
	assert.Equal(t, b.layer, bestLayer)
	assert.Equal(t, b.lagMs, bestOffset)
	assert.InDelta(t, 0.95, best, 0.07) // a model that knows all would have 1; this one sees some stimuli

	// Of stimuli with each other's names nothing is explained, and the ceiling is the same.
	names := append(strings.Split(readText(t, ids), "\n")[1:b.stimuli], strings.Split(readText(t, ids), "\n")[0])
	require.NoError(t, os.WriteFile(ids, []byte(strings.Join(names, "\n")+"\n"), 0o600))
	code, stdout, stderr := run(t.Context(), "compare", "fit", "--features", file, "--data", responses, "--data-axes",
		"stimulus,repetition,neuroid,time_bin", "--layers", b.layer,
		"--data-bins", fmt.Sprintf("%d:10", 10*b.firstBin), "--data-coordinate", "stimulus_id@stimulus="+ids, "--offset-ms",
		fmt.Sprint(b.lagMs), "--json")
	require.Equal(t, exitOK, code, "%s", stderr)
	var report brainReport
	require.NoError(t, json.Unmarshal([]byte(stdout), &report))
	assert.InDelta(t, 0, report.Means[0].Score, 0.15)
}

func readText(t *testing.T, name string) string {
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(text)
}

// makeSequences makes a folder of brainImages cut-outs of photographs for each stimulus.
func makeSequences(t *testing.T, dir string, stimuli int) {
	paths, err := filepath.Glob("../../testdata/pictures/*")
	require.NoError(t, err)
	var photographs []image.Image
	for _, path := range paths {
		if file, err := os.Open(path); err == nil {
			if picture, _, err := image.Decode(file); err == nil {
				photographs = append(photographs, picture)
			}
			file.Close()
		}
	}
	require.NotEmpty(t, photographs)
	random := rand.New(rand.NewPCG(3, 3))
	for i := range stimuli {
		folder := filepath.Join(dir, fmt.Sprintf("s%04d", i))
		require.NoError(t, os.MkdirAll(folder, 0o700))
		for k := range brainImages {
			from := photographs[random.IntN(len(photographs))]
			side := min(from.Bounds().Dx(), from.Bounds().Dy()) * (3 + random.IntN(5)) / 10
			at := from.Bounds().Min.Add(image.Pt(random.IntN(from.Bounds().Dx()-side), random.IntN(from.Bounds().Dy()-side)))
			cut := image.NewRGBA(image.Rect(0, 0, side, side))
			draw.Draw(cut, cut.Bounds(), from, at, draw.Src)
			var buffer bytes.Buffer
			require.NoError(t, jpeg.Encode(&buffer, cut, nil))
			require.NoError(t, os.WriteFile(filepath.Join(folder, fmt.Sprintf("%d.jpg", k)), buffer.Bytes(), 0o600))
		}
	}
}

// record returns responses [stimuli][repetitions][neurons][bins].
func (b brain) record(t *testing.T, store *features.Store) []float64 {
	var about features.LayerInfo
	for _, l := range store.Layers() {
		if l.Name == b.layer {
			about = l
		}
	}
	units := about.Units()
	every := max(units/4000, 1) // unit that the neurons see
	var seen []float64
	for i := range b.stimuli {
		values, err := store.Read(t.Context(), b.layer, i, 1, nil)
		require.NoError(t, err)
		for bin := range brainBins {
			timestep := b.firstBin + bin - b.lagMs/10
			require.Equal(t, timestep, about.Timesteps[timestep-about.Timesteps[0]])
			row := values[(timestep-about.Timesteps[0])*units:][:units]
			for u := 0; u < units; u += every {
				seen = append(seen, float64(row[u]))
			}
		}
	}
	rows := b.stimuli * brainBins
	x := mat.NewDense(rows, len(seen)/rows, seen)
	means := make([]float64, len(seen)/rows)
	for r := range rows {
		for u, v := range x.RawRowView(r) {
			means[u] += v / float64(rows)
		}
	}
	for r := range rows {
		for u := range means {
			x.Set(r, u, x.At(r, u)-means[u])
		}
	}
	var products mat.Dense
	products.Mul(x, x.T())
	var eigen mat.EigenSym
	require.True(t, eigen.Factorize(mat.NewSymDense(rows, products.RawMatrix().Data), true))
	var vectors mat.Dense
	eigen.VectorsTo(&vectors)
	return noisy(b.stimuli, brainBins, func(stimulus, bin, component int) float64 {
		return vectors.At(stimulus*brainBins+bin, rows-1-component)
	})
}

// noisy makes neurons of random sums of components, standardized in every bin, and adds noise to each repetition.
func noisy(stimuli, bins int, component func(stimulus, bin, component int) float64) []float64 {
	random := rand.New(rand.NewPCG(5, 5))
	out := make([]float64, stimuli*brainRepetitions*brainNeurons*bins)
	for j := range brainNeurons {
		weights := make([]float64, brainComponents)
		for c := range weights {
			weights[c] = random.NormFloat64()
		}
		for bin := range bins {
			signal, mean, square := make([]float64, stimuli), 0.0, 0.0
			for i := range signal {
				for c, w := range weights {
					signal[i] += w * component(i, bin, c)
				}
				mean += signal[i] / float64(stimuli)
			}
			for _, v := range signal {
				square += (v - mean) * (v - mean) / float64(stimuli)
			}
			for i, v := range signal {
				for r := range brainRepetitions {
					at := ((i*brainRepetitions+r)*brainNeurons+j)*bins + bin
					out[at] = (v-mean)/math.Sqrt(square) + brainNoise*random.NormFloat64()
				}
			}
		}
	}
	return out
}

// writeResponses writes a .npy file.
func writeResponses(t *testing.T, name string, values []float64, stimuli, bins int) {
	header := fmt.Sprintf("{'descr': '<f8', 'fortran_order': False, 'shape': (%d, %d, %d, %d), }", stimuli,
		brainRepetitions, brainNeurons, bins)
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
	buffer := bytes.NewBufferString("\x93NUMPY\x01\x00")
	require.NoError(t, binary.Write(buffer, binary.LittleEndian, uint16(len(header))))
	buffer.WriteString(header)
	require.NoError(t, binary.Write(buffer, binary.LittleEndian, values))
	require.NoError(t, os.WriteFile(name, buffer.Bytes(), 0o600))
}
