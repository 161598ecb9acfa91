package hdf5_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/hdf5"
)

const data = "../../testdata/comparison/"

func open(t *testing.T, name string) *hdf5.File {
	if err := hdf5.Load(""); err != nil {
		if os.Getenv("CI") == "true" {
			require.NoError(t, err)
		}
		t.Skip("needs libhdf5:", err)
	}
	f, err := hdf5.Open(name)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func dataset(t *testing.T, f *hdf5.File, name string) *hdf5.Dataset {
	d, err := f.Dataset(name)
	require.NoError(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

func TestNetCDF(t *testing.T) {
	f := open(t, data+"neural_old.nc")
	members, err := f.Members("/")
	require.NoError(t, err)
	var names []string
	for _, m := range members {
		assert.True(t, m.Dataset, m.Name)
		names = append(names, m.Name)
	}
	assert.Subset(t, names, []string{"data", "image_id", "noisy", "background", "region"})
	// In the order of the file, not of the alphabet.
	assert.Less(t, slices.Index(names, "repetition"), slices.Index(names, "neuroid_id"))
	assert.Equal(t, []string{"data"}, names[len(names)-1:])
	values := dataset(t, f, "data")
	dimensions, err := values.Dimensions()
	require.NoError(t, err)
	assert.Equal(t, []string{"/presentation", "/neuroid", "/time_bin"}, dimensions)
	dimensions, err = dataset(t, f, "image_id").Dimensions()
	require.NoError(t, err)
	assert.Equal(t, []string{"/presentation"}, dimensions)
	assert.Equal(t, []int{240, 24, 1}, values.Shape)
	assert.Equal(t, hdf5.Float, values.Type)
	all, err := values.Float64s(nil, nil)
	require.NoError(t, err)
	part, err := values.Float64s([]int{17, 3, 0}, []int{2, 4, 1})
	require.NoError(t, err)
	for i := range 2 {
		assert.Equal(t, all[(17+i)*24+3:][:4], part[i*4:][:4])
	}
	backgrounds, err := dataset(t, f, "background").Strings(nil, nil)
	require.NoError(t, err)
	assert.Subset(t, backgrounds, []string{"", "naïve", "森"})
	noisy := dataset(t, f, "noisy")
	flags, err := noisy.Int64s([]int{0}, []int{6})
	require.NoError(t, err)
	assert.Equal(t, []int64{1, 0, 0, 0, 0, 1}, flags)
	kind, err := noisy.Attribute("dtype")
	require.NoError(t, err)
	assert.Equal(t, "bool", kind)
	missing, err := noisy.Attribute("nothing")
	require.NoError(t, err)
	assert.Nil(t, missing)
}

func TestMATLAB(t *testing.T) {
	f := open(t, data+"neural_v73_like.mat")
	assert.Equal(t, []int{24, 6, 40}, dataset(t, f, "rates").Shape)
	cells := dataset(t, f, "stimulus_id")
	paths, err := cells.Pointed()
	require.NoError(t, err)
	require.Len(t, paths, 40)
	text, err := dataset(t, f, paths[7]).Int64s(nil, nil)
	require.NoError(t, err)
	assert.Len(t, text, 40)
}

func TestUnusable(t *testing.T) {
	f := open(t, data+"neural_kar.h5")
	for _, name := range []string{"nothing", "", "/", "rates/x", "\x00"} {
		_, err := f.Dataset(name)
		assert.ErrorIs(t, err, hdf5.ErrFormat, "%q", name)
	}
	d := dataset(t, f, "rates")
	for _, part := range [][2][]int{{{0}, {1}}, {{0, 0}, {41, 1}}, {{-1, 0}, {1, 1}}, {{40, 0}, {1, 1}}} {
		_, err := d.Float64s(part[0], part[1])
		assert.ErrorIs(t, err, hdf5.ErrFormat, "%v", part)
	}
	_, err := d.Strings(nil, nil)
	assert.ErrorIs(t, err, hdf5.ErrFormat)
	_, err = d.Int64s(nil, nil)
	assert.ErrorIs(t, err, hdf5.ErrFormat)
	_, err = d.Pointed()
	assert.ErrorIs(t, err, hdf5.ErrFormat)
	require.NoError(t, f.Close())
	require.NoError(t, f.Close())
	_, err = d.Float64s(nil, nil)
	assert.ErrorIs(t, err, hdf5.ErrFormat)
	_, err = f.Members("/")
	assert.ErrorIs(t, err, hdf5.ErrFormat)

	whole, err := os.ReadFile(data + "neural_kar.h5")
	require.NoError(t, err)
	for name, content := range map[string][]byte{"empty": nil, "text": []byte("hello"), "cut": whole[:len(whole)/2],
		"head": whole[:600]} {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		f, err := hdf5.Open(path)
		if err == nil {
			f.Close()
		}
		assert.ErrorIs(t, err, hdf5.ErrFormat, name)
	}
	_, err = hdf5.Open("missing.h5")
	assert.ErrorIs(t, err, os.ErrNotExist)
}
