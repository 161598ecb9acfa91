package features

import (
	"encoding/binary"
	"testing"
)

// BenchmarkEncode is how rows become bytes: of netCDF, and of a chunk of Zarr before it
// is compressed.
func BenchmarkEncode(b *testing.B) {
	const steps, units = 17, 14 * 14 * 256
	row := make([]float32, steps*units)
	for i := range row {
		row[i] = float32(i) * 0.37
	}
	b.Run("netcdf", func(b *testing.B) {
		r := region{rowElements: len(row), rowBytes: int64(4 * len(row)), dataType: Float32, order: binary.BigEndian,
			transpose: steps}
		dst := make([]byte, 4*len(row))
		b.SetBytes(int64(len(dst)))
		for b.Loop() {
			if err := r.encode(dst, row); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("zarr", func(b *testing.B) {
		layout := &Layout{Model: "m", Rows: 1,
			Streamed: []Streamed{{Name: "x", DataType: Float32, RowShape: []int{steps, units}}}}
		store, err := NewZarrStore(layout, Options{})
		if err != nil {
			b.Fatal(err)
		}
		chunk := store.NewChunk(0)
		b.SetBytes(int64(4 * len(row)))
		for b.Loop() {
			chunk.end = 0
			if err := chunk.Append(row); err != nil {
				b.Fatal(err)
			}
		}
	})
}
