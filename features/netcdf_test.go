package features

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFirstDriven(t *testing.T) {
	for _, test := range []struct {
		layer Layer
		want  float64
	}{
		{Layer{Timesteps: []int{0, 1, 2}, Driven: []bool{false, false, true}}, 20},
		{Layer{Timesteps: []int{5, 6}, Driven: []bool{true, true}}, math.NaN()}, // perhaps before
		{Layer{Timesteps: []int{0, 1}, Driven: []bool{true, true}}, 0},
		{Layer{Timesteps: []int{0, 1}, Driven: []bool{false, false}}, math.NaN()},
		{Layer{Timesteps: []int{0, 1}}, math.NaN()},
	} {
		if got := firstDrivenMS(&test.layer); math.IsNaN(test.want) {
			assert.True(t, math.IsNaN(got), "%+v", test.layer)
		} else {
			assert.Equal(t, test.want, got, "%+v", test.layer)
		}
	}
}

// A layer that is never driven must not be selected by first_driven_ms <= t.
func TestNeverDrivenIsNotANumber(t *testing.T) {
	out := filepath.Join(t.TempDir(), "a.nc")
	layout := &Layout{
		Rows: 1, Model: "m", Identifier: "i", StimulusSet: "s",
		Columns: []Column{{Name: "stimulus_id", Values: []string{"a"}}},
		Streamed: []Streamed{
			{Name: "one", DataType: Float32, RowShape: []int{2, 1},
				Layer: &Layer{Timesteps: []int{0, 1}, Driven: []bool{false, true}}},
			{Name: "two", DataType: Float32, RowShape: []int{2, 3},
				Layer: &Layer{Timesteps: []int{0, 1}, Driven: []bool{false, false}}},
		},
	}
	writer, err := Create(out, NetCDF, layout, Options{})
	require.NoError(t, err)
	require.NoError(t, writer.WriteRows(0, 0, make([]float32, 2)))
	require.NoError(t, writer.WriteRows(1, 0, make([]float32, 6)))
	require.NoError(t, writer.Finish(t.Context()))
	data, err := os.ReadFile(out)
	require.NoError(t, err)
	var want []byte // one unit driven from 10 ms, three never
	for _, v := range []float64{10, math.NaN(), math.NaN(), math.NaN()} {
		want = binary.BigEndian.AppendUint64(want, math.Float64bits(v))
	}
	assert.Contains(t, string(data), string(want))
}
