package features

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What users read about formats comes from the formats themselves.
func TestFormats(t *testing.T) {
	assert.Equal(t, []Format{HDF5, MATLAB, NetCDF, NPYFolder, NPZ, Zarr}, Formats())
	for _, f := range Formats() {
		parsed, err := ParseFormat(string(f))
		require.NoError(t, err)
		assert.Equal(t, f, parsed)
		of, err := FormatOf("dir.x/FEATURES" + f.Suffix())
		require.NoError(t, err)
		assert.Equal(t, f, of)
		assert.NoError(t, f.CheckDataType(Float32))
		assert.ErrorIs(t, f.CheckDataType(Int32), ErrDataType)
		assert.Contains(t, FormatNames(), string(f))
		assert.Contains(t, FormatSuffixes(), f.Suffix())
		assert.Contains(t, FormatHelp(), f.Title())
	}
	assert.Equal(t, ".h5, .mat, .nc, .npy, .npz or .zarr", FormatSuffixes())
	assert.Equal(t, 6, strings.Count(FormatHelp(), "\n"))
	assert.Contains(t, FormatHelp(), "  .zarr  Zarr, a folder: ")
	_, err := ParseFormat("parquet")
	assert.ErrorIs(t, err, ErrUnknownFormat)
	assert.ErrorContains(t, err, `"parquet"; there are hdf5, mat, netcdf, npy, npz, zarr`)
	for _, name := range []string{"x.parquet", "x", "npz", ""} {
		_, err = FormatOf(name)
		assert.ErrorIs(t, err, ErrUnknownFormat, name)
	}
	of, err := FormatOf("X.NC")
	require.NoError(t, err)
	assert.Equal(t, NetCDF, of)
	nothing := Format("parquet")
	assert.Equal(t, "parquet", nothing.Title())
	assert.False(t, nothing.Folder() || nothing.Journaled() || nothing.OneTimeAxis())
}

// What a format says that it holds is what Create takes, and Size says before.
func TestFormatConstraints(t *testing.T) {
	for _, f := range Formats() {
		if writable(f) != nil {
			continue
		}
		layout := sample(3)
		for _, d := range []DataType{Float16, Float32, Float64} {
			layout.Streamed[0].DataType, layout.Streamed[1].DataType = d, d
			_, err := layout.Size(f)
			if f.CheckDataType(d) == nil {
				assert.NoError(t, err, "%s %v", f, d)
			} else {
				assert.ErrorIs(t, err, ErrDataType, "%s %v", f, d)
			}
		}
		layout = sample(3)
		layout.Streamed[1].Layer.Timesteps = []int{1, 2, 3}
		_, err := layout.Size(f)
		assert.Equal(t, f.OneTimeAxis(), err != nil, "%s: %v", f, err)
		layout = sample(4096)
		layout.Streamed[0].RowShape, layout.Streamed[0].Dimensions = []int{3, 1 << 18}, nil // 12 GiB
		_, err = layout.Size(f)
		if f.MaxLayerBytes() > 0 {
			assert.ErrorIs(t, err, ErrTooLarge, f)
		} else {
			assert.NoError(t, err, f)
		}
		path := filepath.Join(t.TempDir(), "x"+f.Suffix())
		writeAll(t, path, f, sample(3), 2, Options{})
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, f.Folder(), info.IsDir(), f)
		_, err = Create(path+"2", f, sample(3), Options{Identity: 1, ChunkRows: 2})
		assert.Equal(t, f.Journaled(), err == nil, "%s: %v", f, err)
	}
}

// A store that one process writes has the bytes that ZarrStore gives.
func TestCreateZarrIsZarrStore(t *testing.T) {
	layout := sample(7)
	path := filepath.Join(t.TempDir(), "x.zarr")
	w, err := Create(path, Zarr, layout, Options{ChunkRows: 3})
	require.NoError(t, err)
	writeRange(t, w, layout, 0, 7, 2)
	require.NoError(t, w.Finish(context.Background()))

	store, err := NewZarrStore(layout, Options{ChunkRows: 3})
	require.NoError(t, err)
	want := map[string]string{}
	put := func(name string, content []byte) error {
		want[filepath.FromSlash(name)] = string(content)
		return nil
	}
	require.NoError(t, store.Files(put))
	for i := range layout.Streamed {
		n := layout.Streamed[i].rowElements()
		all := values(layout, i)
		for chunk := range 3 {
			c := store.NewChunk(i)
			require.NoError(t, c.Append(all[3*chunk*n:min(3*chunk+3, 7)*n]))
			file, err := c.Encode(nil)
			require.NoError(t, err)
			require.NoError(t, put(store.ChunkName(i, chunk), file))
		}
	}
	assert.Equal(t, want, contents(t, path))
	_, err = Create(path+"2", Zarr, layout, Options{Identity: 1})
	assert.ErrorIs(t, err, ErrLayout)
	assert.NoFileExists(t, path+"2.partial")
}

// Names of columns that a format says it holds are written, and so are those that it makes.
func TestColumnNames(t *testing.T) {
	for _, f := range Formats() {
		if writable(f) != nil {
			continue
		}
		assert.Empty(t, f.ColumnName(""))
		assert.False(t, f.HoldsColumn("") || f.HoldsColumn("--") || f.HoldsColumn("a\nb"))
		for _, name := range []string{"a", "a b", "object/category", "été", "9", ".hidden", "end", "a:b", "寿司", "..", "-",
			strings.Repeat("é", 200)} {
			made := f.ColumnName(name)
			assert.LessOrEqual(t, len(made), f.MaxColumnName(), "%s %q", f, name)
			assert.True(t, utf8.ValidString(made))
			for _, candidate := range []string{name, made} {
				if !f.HoldsColumn(candidate) {
					continue
				}
				layout := sample(3)
				layout.Columns = append(layout.Columns[:1], Column{Name: candidate, Values: []string{"x", "y", "z"}})
				s := roundTrip(t, f, layout, Options{})
				column, err := s.Column(candidate)
				require.NoError(t, err, "%s %q", f, candidate)
				assert.Equal(t, layout.Columns[1].Values, column.Values)
			}
		}
	}
	assert.Equal(t, "stimuli", NPZ.StimulusColumn())
	assert.Equal(t, "stimulus_id", Zarr.StimulusColumn())
	assert.False(t, MATLAB.HoldsColumn("end"))
	assert.True(t, NPZ.HoldsColumn("a b"))
	assert.False(t, Zarr.HoldsColumn("a b"))
}
