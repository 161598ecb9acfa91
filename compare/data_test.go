package compare_test

import (
	"cmp"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/features"
)

// comparison is a folder of data, and of other packages' numbers for them. TFCONVRNN_GOLDEN_COMPARISON names another
// that the scripts in testdata/comparison/generators made, of other seeds and sizes.
var comparison = cmp.Or(os.Getenv("TFCONVRNN_GOLDEN_COMPARISON"), "../testdata/comparison")

// recorded is the synthetic data of comparison (data.npz), in the order of
// averaged repetitions.
type recorded struct {
	ids, objects, neuroids, animals []string
	average                         [][][]float64   // [stimuli][neuroids][time bins]
	rates                           [][][][]float64 // [stimuli][repetitions][neuroids][time bins]
	repetitions, bins               int
}

// modelled is features [stimuli][timesteps][features].
type modelled [][][]float32

func (m modelled) flat(timesteps ...int) []float32 {
	var flat []float32
	for _, stimulus := range m {
		for f := range stimulus[0] {
			for _, t := range timesteps {
				flat = append(flat, stimulus[t][f])
			}
		}
	}
	return flat
}

func (r *recorded) bin(bin int) compare.Targets {
	targets := make(compare.Targets, len(r.average))
	for i, stimulus := range r.average {
		for _, bins := range stimulus {
			targets[i] = append(targets[i], bins[bin])
		}
	}
	return targets
}

func array(t testing.TB, file, name string) *features.Array {
	f, err := features.OpenArrays(filepath.Join(comparison, file))
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	a, err := f.Array(name)
	require.NoError(t, err)
	return a
}

func doubles(t testing.TB, file, name string) ([]float64, []int) {
	a := array(t, file, name)
	shape := a.Info().Shape
	values, err := a.Float64s(0, shape[0])
	require.NoError(t, err)
	return values, shape
}

func texts(t testing.TB, file, name string) []string {
	a := array(t, file, name)
	values, err := a.Strings(0, a.Info().Shape[0])
	require.NoError(t, err)
	return values
}

func goldenData(t testing.TB) (modelled, *recorded) {
	r := &recorded{
		ids:      golden[[]string](t, "brainscore.json", "average_repetition", "stimulus_id"),
		neuroids: texts(t, "data.npz", "neuroid_id"), animals: texts(t, "data.npz", "animal"),
	}
	position := map[string]int{}
	for i, id := range texts(t, "data.npz", "stimulus_id") {
		position[id] = i
	}
	objects := texts(t, "data.npz", "object_name")
	a := array(t, "data.npz", "features")
	features, err := a.Float32s(0, a.Info().Shape[0])
	require.NoError(t, err)
	size, timesteps := a.Info().Shape[1], a.Info().Shape[2]
	rates, shape := doubles(t, "data.npz", "rates")
	r.repetitions, r.bins = shape[1], shape[3]
	average, averaged := doubles(t, "brainscore_arrays.npz", "average_repetition")
	require.Equal(t, []int{shape[0], shape[2], shape[3]}, averaged)
	q := shape[2]
	var m modelled
	for i, id := range r.ids {
		at := position[id]
		r.objects = append(r.objects, objects[at])
		rows := make([][]float32, timesteps)
		for f := range size {
			for step := range rows {
				rows[step] = append(rows[step], features[(at*size+f)*timesteps+step])
			}
		}
		m = append(m, rows)
		var neuroids [][]float64
		for j := range q {
			neuroids = append(neuroids, average[(i*q+j)*r.bins:][:r.bins])
		}
		r.average = append(r.average, neuroids)
		var repetitions [][][]float64
		for k := range r.repetitions {
			var each [][]float64
			for j := range q {
				each = append(each, rates[((at*r.repetitions+k)*q+j)*r.bins:][:r.bins])
			}
			repetitions = append(repetitions, each)
		}
		r.rates = append(r.rates, repetitions)
	}
	return m, r
}

func gramOf(t testing.TB, features []float32, n int) *compare.Gram {
	g, err := compare.GramOf(features, n)
	require.NoError(t, err)
	return g
}

// inOrder reorders the neuroids of each split from that of the file to that of their
// names, in which the golden results are.
func (r *recorded) inOrder(t testing.TB, raw [][]float64) [][]float64 {
	var ordered [][]float64
	for _, values := range raw {
		byName := map[string]float64{}
		for j, name := range r.neuroids {
			byName[name] = values[j]
		}
		var row []float64
		for _, name := range golden[[]string](t, "brainscore.json", "neuroid_order_of_raw") {
			row = append(row, byName[name])
		}
		ordered = append(ordered, row)
	}
	return ordered
}

// number is a float64 of JSON, where null is NaN.
type number float64

func (n *number) UnmarshalJSON(text []byte) error {
	*n = number(math.NaN())
	if string(text) == "null" || string(text) == "NaN" {
		return nil
	}
	return json.Unmarshal(text, (*float64)(n))
}

func plain(numbers []number) []float64 {
	values := make([]float64, len(numbers))
	for i, v := range numbers {
		values[i] = float64(v)
	}
	return values
}
