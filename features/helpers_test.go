package features

import (
	"context"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// sample is a layout with every kind of array, small.
func sample(rows int) *Layout {
	ids := make([]string, rows)
	numbers := make([]float64, rows)
	counts := make([]int64, rows)
	flags := make([]bool, rows)
	for i := range rows {
		ids[i] = []string{"astronaut", "chelsea", "Käse", "寿司", "", "🙂x"}[i%6]
		numbers[i] = float64(i) / 3
		counts[i] = int64(i) - 1
		flags[i] = i%2 == 0
	}
	return &Layout{
		Rows: rows, Model: "ugrnn_shallow", Identifier: "ugrnn_shallow-test", StimulusSet: "test",
		Streamed: []Streamed{
			{Name: "conv9", DataType: Float32, RowShape: []int{3, 2, 2, 5}, Dimensions: []string{"timestep", "height", "width",
				"channel"},
				Layer: &Layer{Region: "IT", Timesteps: []int{0, 1, 2}, Driven: []bool{false, true, true}}},
			{Name: "imnetds", DataType: Float32, RowShape: []int{3, 7}, Dimensions: []string{"timestep", "channel"},
				Layer: &Layer{Timesteps: []int{0, 1, 2}}},
			{Name: "logits", DataType: Float32, RowShape: []int{7}, Dimensions: []string{"class"}},
			{Name: "valid", DataType: Bool},
		},
		Columns: []Column{{Name: "stimulus_id", Values: ids}, {Name: "weight", Values: numbers},
			{Name: "count", Values: counts}, {Name: "flag", Values: flags}},
		Constants: []Constant{
			{Name: "class_name", Shape: []int{7}, Dimensions: []string{"class"}, Values: []string{"a", "b", "c", "d", "e", "f",
				"gh"}},
			{Name: "projection/indices", Shape: []int{2, 3}, Values: []int32{1, 2, 3, 4, 5, 6}},
		},
		Attributes: []Attribute{{"provenance", `{"model": "ugrnn_shallow", "note": "Grüße"}`}},
	}
}

// values makes the rows of one streamed array, the same for the same seed.
func values(layout *Layout, array int) []float32 {
	s := &layout.Streamed[array]
	random := rand.New(rand.NewPCG(1, uint64(array)))
	data := make([]float32, layout.Rows*s.rowElements())
	for i := range data {
		data[i] = float32(random.NormFloat64())
		if s.DataType == Bool {
			data[i] = float32(random.IntN(2))
		}
	}
	return data
}

// writeRange writes rows from to to in batches, arrays interleaved.
func writeRange(t testing.TB, w Writer, layout *Layout, from, to, batch int) {
	t.Helper()
	all := make([][]float32, len(layout.Streamed))
	for i := range all {
		all[i] = values(layout, i)
	}
	for row := from; row < to; row += batch {
		end := min(row+batch, to)
		for i := range layout.Streamed {
			n := layout.Streamed[i].rowElements()
			require.NoError(t, w.WriteRows(i, row, all[i][row*n:end*n]))
		}
	}
}

// writeAll writes a whole output.
func writeAll(t testing.TB, path string, format Format, layout *Layout, batch int, options Options) {
	t.Helper()
	w, err := Create(path, format, layout, options)
	require.NoError(t, err)
	writeRange(t, w, layout, 0, layout.Rows, batch)
	require.NoError(t, w.Finish(context.Background()))
}

func fileSize(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Size()
}
