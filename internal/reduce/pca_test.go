package reduce

import (
	"archive/zip"
	"cmp"
	"encoding/json"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
)

// scikit-learn's PCA, of testdata/comparison: 108 stimuli, 960 features.
func TestFitPCA(t *testing.T) {
	rows, test, want := goldenRows(t)
	units := len(want.components) / 10
	p, err := FitPCA(rows, []int{units}, 10)
	require.NoError(t, err)
	require.Len(t, p.Components, 10*units)
	for i, v := range want.components {
		require.InDelta(t, v, float64(p.Components[i]), 1e-5, "%d", i)
	}
	for i, v := range want.ratios {
		assert.InDelta(t, v, p.Ratios[i], 1e-7)
	}
	path := filepath.Join(t.TempDir(), "components.npz")
	require.NoError(t, WritePCA(t.Context(), path, []string{"conv9"}, map[string]*PCA{"conv9": p}, `{"of": "a test"}`,
		false))
	assert.ErrorIs(t, WritePCA(t.Context(), path, []string{"conv9"}, map[string]*PCA{"conv9": p}, "", false),
		features.ErrExists)
	s, err := OpenSpecification([]string{"pca(" + path + ")"})
	require.NoError(t, err)
	r, err := s.For("conv9", []int{units})
	require.NoError(t, err)
	assert.Regexp(t, `^pca\(10,sha256:[0-9a-f]{64}\)$`, r.String())
	assert.Equal(t, []string{"component"}, r.Dimensions([]int{units}))
	d, err := New(r, []int{units})
	require.NoError(t, err)
	got := make([]float32, len(test)/units*10)
	d.ApplyAll(got, test)
	for i, v := range want.transformed {
		assert.InDelta(t, v, float64(got[i]), 2e-5)
	}
	for i := range len(test) / units { // each by itself is the same, to the last bit
		one := make([]float32, 10)
		d.Apply(one, test[i*units:][:units])
		assert.Equal(t, got[i*10:][:10], one)
	}
	few, err := OpenSpecification([]string{"conv9=pca(" + path + ",3)"})
	require.NoError(t, err)
	r, err = few.For("conv9", []int{units})
	require.NoError(t, err)
	d, err = New(r, []int{units})
	require.NoError(t, err)
	three := make([]float32, 3)
	d.Apply(three, test)
	for i := range three {
		assert.InDelta(t, got[i], three[i], 1e-6)
	}
	// Other layers stay as they are, unless they are named.
	r, err = s.For("conv5", []int{7})
	require.NoError(t, err)
	assert.True(t, r.IsNone())
	assert.ErrorIs(t, s.Kept("conv5", []int{7}), ErrShape)
	_, err = s.For("conv9", []int{7})
	require.NoError(t, err)
	named, err := OpenSpecification([]string{"conv5=pca(" + path + ")"})
	require.NoError(t, err)
	_, err = named.For("conv5", []int{7})
	assert.ErrorIs(t, err, ErrShape)
}

func TestUnusablePCA(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.npz")
	require.NoError(t, os.WriteFile(path, []byte("hello"), 0o600))
	for text, cause := range map[string]error{
		"pca(" + path + ")": ErrPCA, "pca(missing.npz)": ErrPCA, "pca(100)": ErrReduction, "pca": ErrReduction,
		"pca()": ErrReduction,
		"pca(../../features/testdata/stored.npz)": ErrPCA,
	} {
		_, err := OpenSpecification([]string{text})
		assert.ErrorIs(t, err, cause, text)
		_, err = ParseSpecification([]string{text}) // of strangers: opens nothing
		assert.ErrorIs(t, err, ErrReduction, text)
	}
	for _, rows := range [][]float32{nil, make([]float32, 8), {1, 2, float32(math.NaN()), 3},
		make([]float32, 4*(MostRows+1)), {1, 2, 3}} {
		_, err := FitPCA(rows, []int{4}, 2)
		assert.ErrorIs(t, err, ErrPCA)
	}
	_, err := FitPCA([]float32{1, 2, 3, 5}, []int{2}, 0)
	assert.ErrorIs(t, err, ErrPCA)
}

// What varies in few directions has as many components, and is found again.
func TestPCAOfFewDirections(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	axes := [][]float64{{3, 0, 4, 0}, {0, 5, 0, 0}}
	var rows []float32
	for range 50 {
		a, b := random.NormFloat64()*2, random.NormFloat64()
		for u := range 4 {
			rows = append(rows, float32(7+a*axes[0][u]/5+b*axes[1][u]/5))
		}
	}
	p, err := FitPCA(rows, []int{4}, 4)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(p.Variances), 2)
	assert.InDelta(t, 1, p.Ratios[0]+p.Ratios[1], 1e-6)
	assert.InDelta(t, 0.8, p.Components[2], 0.05)
	assert.True(t, slices.IsSortedFunc(p.Variances, func(a, b float64) int { return int(math.Copysign(1, b-a)) }))
}

type goldenPCA struct{ components, transformed, ratios []float64 }

// goldenRows are the features of timesteps 4 to 19, in the order of Brain-Score's averages.
func goldenRows(t *testing.T) (train, test []float32, want goldenPCA) {
	data := cmp.Or(os.Getenv("TFCONVRNN_GOLDEN_COMPARISON"), "../../testdata/comparison") + "/"
	var ridge struct {
		Train, Test []int
		Ratios      []float64 `json:"pca_explained_variance_ratio"`
	}
	var scores struct {
		Average struct {
			IDs []string `json:"stimulus_id"`
		} `json:"average_repetition"`
	}
	for name, into := range map[string]any{"ridge.json": &ridge, "brainscore.json": &scores} {
		text, err := os.ReadFile(data + name)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, into))
	}
	read := func(file, name string) []float64 { // Fortran's order is read of files that are not compressed
		archive, err := zip.OpenReader(data + file)
		require.NoError(t, err)
		defer archive.Close()
		packed, err := archive.Open(name + ".npy")
		require.NoError(t, err)
		content, err := io.ReadAll(packed)
		require.NoError(t, err)
		plain := filepath.Join(t.TempDir(), "a.npy")
		require.NoError(t, os.WriteFile(plain, content, 0o600))
		f, err := features.OpenArrays(plain)
		require.NoError(t, err)
		defer f.Close()
		a, err := f.Array("")
		require.NoError(t, err)
		values, err := a.Float64s(0, a.Info().Shape[0])
		require.NoError(t, err)
		return values
	}
	want = goldenPCA{read("ridge_arrays.npz", "pca/wide/components"), read("ridge_arrays.npz", "pca/wide/transform_test"),
		ridge.Ratios}
	f, err := features.OpenArrays(data + "data.npz")
	require.NoError(t, err)
	defer f.Close()
	names, err := f.Array("stimulus_id")
	require.NoError(t, err)
	ids, err := names.Strings(0, names.Info().Rows())
	require.NoError(t, err)
	a, err := f.Array("features")
	require.NoError(t, err)
	all, err := a.Float32s(0, len(ids))
	require.NoError(t, err)
	size, timesteps := a.Info().Shape[1], a.Info().Shape[2]
	row := func(i int) (values []float32) {
		at := slices.Index(ids, scores.Average.IDs[i])
		for u := range size {
			values = append(values, all[(at*size+u)*timesteps+4:][:timesteps-4]...)
		}
		return values
	}
	for _, i := range ridge.Train {
		train = append(train, row(i)...)
	}
	for _, i := range ridge.Test {
		test = append(test, row(i)...)
	}
	return train, test, want
}
