package features

import (
	"context"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/disk"
)

func TestExistingOutput(t *testing.T) {
	eachFormat(t, func(t *testing.T, format Format) {
		dir := t.TempDir()
		path := filepath.Join(dir, "out")
		layout := sample(3)
		writeAll(t, path, format, layout, 2, Options{})
		before := contents(t, dir)
		_, err := Create(path, format, layout, Options{})
		assert.ErrorIs(t, err, ErrExists)
		assert.Equal(t, before, contents(t, dir))

		// With force it stays until the new one is finished.
		w, err := Create(path, format, layout, Options{Force: true})
		require.NoError(t, err)
		writeRange(t, w, layout, 0, 2, 2)
		require.NoError(t, w.Abort())
		assert.Equal(t, before, contents(t, dir))
		writeAll(t, path, format, sample(2), 2, Options{Force: true})
		assert.NotEqual(t, before, contents(t, dir))
	})
	// A folder of something else is never replaced.
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "thesis.tex"), []byte("x"), 0o600))
	for _, format := range Formats() {
		if writable(format) != nil {
			continue
		}
		_, err := Create(dir, format, sample(2), Options{Force: true})
		assert.ErrorIs(t, err, ErrExists, format)
	}
	assert.Len(t, contents(t, dir), 1)
	_, err := os.Stat(partialPath(dir))
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

// An output that is being written is not taken for one whose run was interrupted.
func TestRunningIsNotInterrupted(t *testing.T) {
	eachJournaled(t, func(t *testing.T, format Format) {
		path := filepath.Join(t.TempDir(), "out")
		assert.NoError(t, CheckFree(path))
		w, err := Create(path, format, sample(3), resumable())
		require.NoError(t, err)
		_, err = Create(path, format, sample(3), resumable())
		assert.ErrorIs(t, err, ErrBusy)
		assert.ErrorIs(t, CheckFree(path), ErrBusy)
		require.NoError(t, w.Suspend())
		assert.NoError(t, CheckFree(path))
		_, err = Create(path, format, sample(3), resumable())
		assert.ErrorIs(t, err, ErrUnfinished)
	})
}

func TestWriterRefusesMisuse(t *testing.T) {
	eachFormat(t, func(t *testing.T, format Format) {
		dir := t.TempDir()
		path := filepath.Join(dir, "out")
		layout := sample(3)
		w, err := Create(path, format, layout, Options{})
		require.NoError(t, err)
		_, err = Create(path, format, layout, Options{})
		assert.ErrorIs(t, err, ErrBusy)
		assert.ErrorIs(t, w.WriteRows(0, 1, make([]float32, 60)), ErrOrder)
		assert.ErrorIs(t, w.WriteRows(0, 0, make([]float32, 59)), ErrOrder)
		assert.ErrorIs(t, w.WriteRows(0, 0, make([]float32, 240)), ErrOrder)
		assert.ErrorIs(t, w.WriteRows(9, 0, nil), ErrOrder)
		assert.ErrorIs(t, w.Finish(context.Background()), ErrIncomplete)
		writeRange(t, w, layout, 0, 3, 1)
		cancelled, cancel := context.WithCancel(context.Background())
		cancel()
		assert.ErrorIs(t, w.Finish(cancelled), context.Canceled)
		assert.Empty(t, contents(t, dir))
		assert.ErrorIs(t, w.WriteRows(0, 3, nil), ErrClosed)
		assert.ErrorIs(t, w.Finish(context.Background()), ErrClosed)
		assert.NoError(t, w.Abort())
		assert.NoError(t, w.Suspend())

		_, err = Create(filepath.Join(dir, "absent", "out"), format, layout, Options{})
		assert.ErrorIs(t, err, fs.ErrNotExist)
	})
}

// An output is none of its inputs, whatever they are called.
func TestCheckInputs(t *testing.T) {
	dir := t.TempDir()
	input, other, link := filepath.Join(dir, "a.npz"), filepath.Join(dir, "b.npz"), filepath.Join(dir, "link.npz")
	require.NoError(t, os.WriteFile(input, nil, 0o600))
	require.NoError(t, os.WriteFile(other, nil, 0o600))
	require.NoError(t, os.Symlink("a.npz", link))
	for _, output := range []string{input, link, filepath.Join(dir, ".", "a.npz")} {
		assert.ErrorIs(t, CheckInputs(output, other, input), ErrOwnInput)
	}
	assert.NoError(t, CheckInputs(other, input, link, filepath.Join(dir, "none")))
	assert.NoError(t, CheckInputs(filepath.Join(dir, "new.npz"), input))
	assert.NoError(t, CheckInputs("", input, ""))
}

func TestNoSpace(t *testing.T) {
	eachFormat(t, func(t *testing.T, format Format) {
		if disk.Free(t.TempDir()) < 0 {
			t.Skip("the file system does not tell its free space")
		}
		dir := t.TempDir()
		layout := sample(2)
		layout.Streamed[0].RowShape = []int{3, 1 << 27}
		layout.Streamed[0].Dimensions = nil
		layout.Rows = 1 << 16 // 96 TiB
		layout.Columns = []Column{{Name: "stimulus_id", Values: make([]string, layout.Rows)}}
		_, err := Create(filepath.Join(dir, "out"), format, layout, Options{ChunkRows: 1})
		if format == MATLAB {
			assert.ErrorIs(t, err, ErrTooLarge)
		} else {
			assert.ErrorIs(t, err, ErrNoSpace)
			assert.ErrorContains(t, err, "TB are needed")
		}
		assert.Empty(t, contents(t, dir))
	})
}

func TestRefusedLayouts(t *testing.T) {
	change := map[string]func(*Layout){
		"no rows":           func(l *Layout) { l.Rows = 0 },
		"no arrays":         func(l *Layout) { l.Streamed = nil },
		"same name":         func(l *Layout) { l.Streamed[1].Name = "conv9" },
		"name leads out":    func(l *Layout) { l.Streamed[1].Name = "../x" },
		"absolute name":     func(l *Layout) { l.Streamed[1].Name = "/x" },
		"hidden name":       func(l *Layout) { l.Columns[1].Name = ".zattrs" },
		"control character": func(l *Layout) { l.Columns[1].Name = "a\nb" },
		"empty name":        func(l *Layout) { l.Attributes[0].Name = "" },
		"zero dimension":    func(l *Layout) { l.Streamed[0].RowShape[1] = 0 },
		"overflow": func(l *Layout) {
			l.Streamed[2].RowShape = []int{math.MaxInt, 7}
			l.Streamed[2].Dimensions = nil
		},
		"dimension names":       func(l *Layout) { l.Streamed[0].Dimensions = []string{"x"} },
		"timesteps":             func(l *Layout) { l.Streamed[0].Layer.Timesteps = []int{1} },
		"driven":                func(l *Layout) { l.Streamed[0].Layer.Driven = []bool{true} },
		"text rows":             func(l *Layout) { l.Streamed[0].DataType = Text },
		"column length":         func(l *Layout) { l.Columns[0].Values = []string{"x"} },
		"column type":           func(l *Layout) { l.Columns[0].Values = []complex64{1, 2, 3} },
		"constant shape":        func(l *Layout) { l.Constants[1].Shape = []int{7} },
		"constant type":         func(l *Layout) { l.Constants[1].Values = 3 },
		"constant's dimensions": func(l *Layout) { l.Constants[1].Dimensions = []string{"x"} },
	}
	for name, f := range change {
		layout := sample(3)
		f(layout)
		dir := t.TempDir()
		for _, format := range Formats() {
			if writable(format) != nil {
				continue
			}
			_, err := Create(filepath.Join(dir, "out"), format, layout, Options{})
			assert.ErrorIs(t, err, ErrLayout, "%s %s", name, format)
		}
		assert.Empty(t, contents(t, dir), name)
	}
	_, err := Create(filepath.Join(t.TempDir(), "out"), "parquet", sample(3), Options{})
	assert.ErrorIs(t, err, ErrLayout)

	layout := sample(3)
	layout.Streamed[1].Layer.Timesteps = []int{1, 2, 3}
	_, err = Create(filepath.Join(t.TempDir(), "out"), NetCDF, layout, Options{})
	assert.ErrorIs(t, err, ErrLayout)
	layout = sample(3)
	layout.Columns = nil
	_, err = Create(filepath.Join(t.TempDir(), "out"), NetCDF, layout, Options{})
	assert.ErrorContains(t, err, "stimulus_id")
	layout = sample(3)
	layout.Streamed[0].DataType, layout.Streamed[1].DataType = Float16, Float16
	for format, refused := range map[Format]bool{NPZ: false, NPYFolder: false, Zarr: false, HDF5: false, NetCDF: true,
		MATLAB: true} {
		if writable(format) != nil {
			continue
		}
		_, err = layout.Size(format)
		if refused {
			assert.ErrorIs(t, err, ErrDataType, format)
		} else {
			assert.NoError(t, err, format)
		}
	}
	layout = sample(3)
	layout.Columns[0].Values = []string{"a\nb", "", ""}
	_, err = layout.Size(NPYFolder)
	assert.ErrorIs(t, err, ErrLayout)
}

// The size told beforehand is the size on disk, or for Zarr an upper bound.
func TestSize(t *testing.T) {
	eachFormat(t, func(t *testing.T, format Format) {
		dir := t.TempDir()
		layout := sample(7)
		writeAll(t, filepath.Join(dir, "out"), format, layout, 3, Options{})
		total := int64(0)
		for _, text := range contents(t, dir) {
			total += int64(len(text))
		}
		size, err := layout.Size(format)
		require.NoError(t, err)
		switch format {
		case Zarr:
			assert.GreaterOrEqual(t, size, total)
		case NPYFolder: // room for a mask of false values
			assert.GreaterOrEqual(t, size, total)
			assert.LessOrEqual(t, size, total+7)
		default:
			assert.Equal(t, total, size)
		}
	})
}

// Other stored types, through the npz reader.
func TestStoredTypes(t *testing.T) {
	rows := []float32{1.5, 2.5, -1, 300, 65504, float32(math.NaN())}
	layout := &Layout{Rows: 6}
	types := []DataType{Float16, Float32, Float64, Int32, Int64, Uint8, Bool}
	for _, d := range types {
		layout.Streamed = append(layout.Streamed, Streamed{Name: d.String(), DataType: d})
	}
	path := filepath.Join(t.TempDir(), "x.npz")
	w, err := Create(path, NPZ, layout, Options{})
	require.NoError(t, err)
	for i := range types {
		require.NoError(t, w.WriteRows(i, 0, rows))
	}
	require.NoError(t, w.Finish(context.Background()))
	for _, d := range types[:3] {
		got, err := open(t, path, d.String()).Float32s(0, 6)
		require.NoError(t, err)
		assert.Equal(t, rows[:5], got[:5])
		assert.True(t, math.IsNaN(float64(got[5])))
	}
	for name, want := range map[string][]int64{"int32": {2, 2, -1, 300, 65504, 0}, "int64": {2, 2, -1, 300, 65504, 0},
		"uint8": {2, 2, 0, 255, 255, 0}, "bool": {1, 1, 1, 1, 1, 1}} {
		got, err := open(t, path, name).Int64s(0, 6)
		require.NoError(t, err)
		assert.Equal(t, want, got, name)
	}
}
