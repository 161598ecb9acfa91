package features

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// roundTrip writes a layout in a format and opens what was written.
func roundTrip(t *testing.T, format Format, layout *Layout, options Options) *Store {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x"+format.Suffix())
	writeAll(t, path, format, layout, 2, options)
	s, err := Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

// expected is what Read gives of an array of values.
func expected(layout *Layout, array, first, count int, indices []int) []float32 {
	s := &layout.Streamed[array]
	all, n := values(layout, array), s.rowElements()
	units := n / len(s.Layer.Timesteps)
	want := []float32{}
	for row := first; row < first+count; row++ {
		for _, t := range indices {
			for _, v := range all[row*n+t*units : row*n+(t+1)*units] {
				if s.DataType == Float16 {
					v = Float32FromFloat16(Float16FromFloat32(v))
				}
				want = append(want, v)
			}
		}
	}
	return want
}

// What each writer wrote, its reader gives back.
func TestRoundTrip(t *testing.T) {
	eachFormat(t, func(t *testing.T, format Format) {
		for _, d := range []DataType{Float16, Float32, Float64} {
			if format.CheckDataType(d) != nil {
				continue
			}
			for _, options := range []Options{{ChunkRows: 2}, {ChunkRows: 4, Uncompressed: true}} {
				layout := sample(8)
				layout.Streamed[0].DataType, layout.Streamed[1].DataType = d, d
				layout.Attributes[0].Value = `{"model": "ugrnn_shallow", "reductions": {"imnetds": "gap", "conv9": "none"}, "note": "Grüße 寿司"}`
				s := roundTrip(t, format, layout, options)
				assert.Equal(t, format, s.Format())
				assert.Equal(t, layout.Attributes[0].Value, s.Provenance())
				assert.Equal(t, layout.Columns[0].Values, s.Stimuli())
				require.Len(t, s.Layers(), 2)
				for i, l := range s.Layers() {
					want := layout.Streamed[i]
					assert.Equal(t, want.Name, l.Name)
					assert.Equal(t, want.RowShape[1:], l.Shape)
					assert.Equal(t, want.Layer.Timesteps, l.Timesteps)
					assert.Equal(t, []float64{0, 10, 20}, l.Milliseconds)
					assert.Equal(t, want.Layer.Driven, l.Driven)
					assert.Equal(t, d, l.DataType)
					assert.Equal(t, []string{"", "gap"}[i], l.Reduction)
					if format != NPZ { // has no place for it
						assert.Equal(t, want.Layer.Region, l.Region)
					}
					got, err := s.Read(t.Context(), l.Name, 0, 8, nil)
					require.NoError(t, err)
					assert.Equal(t, expected(layout, i, 0, 8, []int{0, 1, 2}), got)
					got, err = s.Read(t.Context(), l.Name, 3, 2, []int{2, 0})
					require.NoError(t, err)
					assert.Equal(t, expected(layout, i, 3, 2, []int{2, 0}), got)
				}
				valid := values(layout, 3)
				require.Len(t, s.Valid(), 8)
				for i, v := range s.Valid() {
					assert.Equal(t, valid[i] != 0, v)
				}
				checkColumns(t, s, layout)
				assert.Equal(t, []string{"logits"}, s.Companions())
				logits, shape, err := s.ReadCompanion(t.Context(), "logits", 3, 4)
				require.NoError(t, err)
				assert.Equal(t, []int{7}, shape)
				assert.Equal(t, values(layout, 2)[3*7:7*7], logits)
				_, _, err = s.ReadCompanion(t.Context(), "logits", 3, 6)
				assert.ErrorIs(t, err, ErrRange)
				_, _, err = s.ReadCompanion(t.Context(), "conv9", 0, 1)
				assert.ErrorIs(t, err, ErrNoArray)
			}
		}
	})
}

func checkColumns(t *testing.T, s *Store, layout *Layout) {
	t.Helper()
	names := s.Columns()
	slices.Sort(names)
	require.Equal(t, []string{"count", "flag", "stimulus_id", "weight"}, names)
	for _, want := range layout.Columns {
		got, err := s.Column(want.Name)
		require.NoError(t, err)
		if text, ok := want.Values.([]string); s.Format() == NPYFolder && !ok { // its table has no types
			require.Len(t, got.Values, 8)
			for i, v := range got.Values.([]string) {
				switch values := want.Values.(type) {
				case []int64:
					assert.Equal(t, fmt.Sprint(values[i]), v)
				case []bool:
					assert.Equal(t, fmt.Sprint(values[i]), v)
				}
			}
			assert.Nil(t, text)
			continue
		}
		assert.Equal(t, want.Values, got.Values, want.Name)
	}
}

// A layer that is larger than the pieces in which files are read.
func TestReadLargeRows(t *testing.T) {
	eachFormat(t, func(t *testing.T, format Format) {
		layout := sample(3)
		layout.Streamed[0].RowShape = []int{3, 7, 100, 200}
		s := roundTrip(t, format, layout, Options{})
		got, err := s.Read(t.Context(), "conv9", 1, 2, []int{1})
		require.NoError(t, err)
		assert.True(t, slices.Equal(expected(layout, 0, 1, 2, []int{1}), got))
	})
}

// The chunk after those that are asked for one by one is read meanwhile; what is asked for is what comes.
func TestZarrReadsAhead(t *testing.T) {
	layout := sample(11)
	path := filepath.Join(t.TempDir(), "x.zarr")
	writeAll(t, path, Zarr, layout, 2, Options{ChunkRows: 2})
	require.NoError(t, os.Remove(filepath.Join(path, "conv9", "4.0.0.0.0"))) // rows 8 and 9
	s, err := Open(path)
	require.NoError(t, err)
	for _, row := range []int{0, 1, 2, 3, 4, 5, 6, 8, 10, 3, 4, 6, 7, 9, 0, 2, 4, 1, 2, 4, 6} {
		got, err := s.Read(t.Context(), "conv9", row, 1, []int{2, 0})
		if row/2 == 4 {
			assert.ErrorIs(t, err, ErrFormat)
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, expected(layout, 0, row, 1, []int{2, 0}), got)
	}
	assert.NoError(t, s.Close())
	assert.NoError(t, s.Close())
}

func TestOpenRefusesMisuse(t *testing.T) {
	eachFormat(t, func(t *testing.T, format Format) {
		s := roundTrip(t, format, sample(4), Options{})
		for _, rows := range [][2]int{{-1, 1}, {0, 5}, {4, 1}, {1 << 62, 1 << 62}, {0, -1}} {
			_, err := s.Read(t.Context(), "conv9", rows[0], rows[1], nil)
			assert.ErrorIs(t, err, ErrRange, "%v", rows)
		}
		_, err := s.Read(t.Context(), "conv9", 0, 1, []int{3})
		assert.ErrorIs(t, err, ErrRange)
		_, err = s.Read(t.Context(), "conv8", 0, 1, nil)
		assert.ErrorIs(t, err, ErrNoArray)
		assert.ErrorContains(t, err, "there are conv9, imnetds")
		_, err = s.Layer("conv8")
		assert.ErrorIs(t, err, ErrNoArray)
		_, err = s.Column("colour")
		assert.ErrorIs(t, err, ErrNoArray)
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = s.Read(cancelled, "conv9", 0, 1, nil)
		assert.ErrorIs(t, err, context.Canceled)
		nothing, err := s.Read(t.Context(), "conv9", 2, 0, nil)
		require.NoError(t, err)
		assert.Empty(t, nothing)
		l, err := s.Layer("conv9")
		require.NoError(t, err)
		assert.Equal(t, []int{1, 2}, l.Between(10, 30))
		assert.Equal(t, 20, l.Units())
		l.Timesteps[0], s.Stimuli()[0] = 9, "" // the caller's own
		again, err := s.Layer("conv9")
		require.NoError(t, err)
		assert.Equal(t, []int{0, 1, 2}, again.Timesteps)
		require.NoError(t, s.Close())
		require.NoError(t, s.Close())
		_, err = s.Read(t.Context(), "conv9", 0, 1, nil)
		assert.ErrorIs(t, err, ErrClosed)
		_, err = s.Column("stimulus_id")
		assert.ErrorIs(t, err, ErrClosed)
	})
	dir := t.TempDir()
	for name, content := range map[string]string{"x.npz": "", "x.nc": "\x89HDF\r\n\x1a\n", "x.npy": npyMagic,
		"x.txt": "features"} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		_, err := Open(path)
		assert.ErrorIs(t, err, ErrFormat, name)
		assert.ErrorContains(t, err, path)
	}
	_, err := Open(dir)
	assert.ErrorIs(t, err, ErrFormat)
	_, err = Open(filepath.Join(dir, "absent"))
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

// readAll opens an output and reads all of it.
func readAll(path string) (err error) {
	s, err := Open(path)
	if err != nil {
		return err
	}
	defer s.Close()
	for _, l := range s.Layers() {
		if _, err := s.Read(context.Background(), l.Name, 0, min(len(s.Stimuli()), 8), nil); err != nil {
			return err
		}
	}
	for _, name := range s.Columns() {
		if _, err := s.Column(name); err != nil {
			return err
		}
	}
	return nil
}

// filesOf lists the files of an output.
func filesOf(t testing.TB, path string) []string {
	t.Helper()
	var files []string
	require.NoError(t, filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, name)
		}
		return err
	}))
	return files
}

// A file that ends early, or is not there, is no panic and, if it is noticed, ErrFormat.
func TestReadTruncated(t *testing.T) {
	eachFormat(t, func(t *testing.T, format Format) {
		path := filepath.Join(t.TempDir(), "x"+format.Suffix())
		writeAll(t, path, format, sample(5), 2, Options{ChunkRows: 2})
		require.NoError(t, readAll(path))
		random := rand.New(rand.NewPCG(3, 4))
		noticed := 0
		for _, file := range filesOf(t, path) {
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			for _, length := range []int{0, len(content) / 2, len(content) - 1, random.IntN(len(content))} {
				require.NoError(t, os.WriteFile(file, content[:length], 0o600))
				if err := readAll(path); err != nil {
					noticed++
					require.ErrorIs(t, err, ErrFormat, "%s of %d bytes", file, length)
				}
			}
			require.NoError(t, os.Remove(file))
			if err := readAll(path); err != nil && format.Folder() {
				require.ErrorIs(t, err, ErrFormat, "%s removed", file)
			}
			require.NoError(t, os.WriteFile(file, content, 0o600))
		}
		assert.Greater(t, noticed, 3)
	})
}
