package reduce

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func parse(t testing.TB, text string) Reduction {
	t.Helper()
	r, err := Parse(text)
	require.NoError(t, err)
	return r
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"": "none", "none": "none", "gap": "gap", " pool( 3 )": "pool(3)",
		"sparse(1000, 18446744073709551615)": "sparse(1000,18446744073709551615)",
	} {
		r := parse(t, text)
		assert.Equal(t, want, r.String())
		assert.Equal(t, r, parse(t, r.String()))
	}
	for _, text := range []string{"pool", "pool(0)", "pool(2,3)", "sparse(10)", "sparse(10,-1)", "sparse(0,1)",
		"sparse(10,18446744073709551616)", "GAP", "gap()", "pool(9999999999)", "mean"} {
		_, err := Parse(text)
		assert.ErrorIs(t, err, ErrReduction, text)
	}
}

func TestSpecification(t *testing.T) {
	s, err := ParseSpecification([]string{"gap", "conv4,conv5=sparse(10,1)", "imnetds=none"})
	require.NoError(t, err)
	assert.Equal(t, []string{"conv4", "conv5", "imnetds"}, s.Layers())
	for _, c := range []struct {
		layer string
		shape []int
		want  string
	}{{"conv3", []int{7, 7, 8}, "gap"}, {"conv5", []int{4, 4, 8}, "sparse(10,1)"}, {"imnetds", []int{1000}, "none"},
		{"other", []int{1000}, "none"}} {
		r, err := s.For(c.layer, c.shape)
		require.NoError(t, err)
		assert.Equal(t, c.want, r.String(), c.layer)
	}
	_, err = s.For("conv5", []int{1, 1, 10})
	assert.ErrorIs(t, err, ErrShape)
	assert.ErrorContains(t, err, "conv5")
	for _, texts := range [][]string{{"gap", "pool(2)"}, {"conv5=mean"}, {"conv5=gap", "conv4,conv5=gap"}, {"=gap"}} {
		_, err := ParseSpecification(texts)
		assert.ErrorIs(t, err, ErrReduction, "%v", texts)
	}
}

func TestShapes(t *testing.T) {
	for _, c := range []struct {
		text      string
		in, out   []int
		dimension string
	}{
		{"none", []int{7, 7, 8}, []int{7, 7, 8}, "height"}, {"none", []int{10}, []int{10}, "class"},
		{"gap", []int{7, 5, 8}, []int{8}, "channel"}, {"pool(3)", []int{7, 5, 8}, []int{3, 3, 8}, "height"},
		{"sparse(9,1)", []int{7, 5, 8}, []int{9}, "component"},
	} {
		out, err := parse(t, c.text).OutputShape(c.in)
		require.NoError(t, err)
		assert.Equal(t, c.out, out)
		assert.Equal(t, c.dimension, parse(t, c.text).Dimensions(c.in)[0])
		assert.Len(t, parse(t, c.text).Dimensions(c.in), len(out))
	}
	for text, shape := range map[string][]int{
		"gap": {10}, "pool(2)": {10}, "pool(6)": {7, 5, 8}, "sparse(280,1)": {7, 5, 8},
		"sparse(99999999,1)": {1 << 10, 1 << 10, 1 << 10},
	} {
		_, err := New(parse(t, text), shape)
		assert.ErrorIs(t, err, ErrShape, text)
	}
}

func TestMeans(t *testing.T) {
	src := make([]float32, 7*5*2)
	for i := range src {
		src[i] = float32(i * i % 97)
	}
	at := func(y, x, c int) float64 { return float64(src[(y*5+x)*2+c]) }
	g, err := New(parse(t, "gap"), []int{7, 5, 2})
	require.NoError(t, err)
	dst := make([]float32, 2)
	g.Apply(dst, src)
	for c := range 2 {
		sum := 0.0
		for y := range 7 {
			for x := range 5 {
				sum += at(y, x, c)
			}
		}
		assert.InDelta(t, sum/35, dst[c], 1e-5)
	}
	p, err := New(parse(t, "pool(2)"), []int{7, 5, 2})
	require.NoError(t, err)
	dst = make([]float32, 8)
	p.Apply(dst, src)
	sum := 0.0 // bottom right: rows 3 … 6, columns 2 … 4, as adaptive_avg_pool2d
	for y := 3; y < 7; y++ {
		for x := 2; x < 5; x++ {
			sum += at(y, x, 1)
		}
	}
	assert.InDelta(t, sum/12, dst[7], 1e-5)
	one, err := New(parse(t, "pool(1)"), []int{7, 5, 2})
	require.NoError(t, err)
	same := make([]float32, 2)
	one.Apply(same, src)
	g.Apply(dst[:2], src)
	assert.Equal(t, dst[:2], same)
}

func TestProjectionKeepsNorms(t *testing.T) {
	const n, d = 4 * 4 * 512, 500
	p, err := New(parse(t, "sparse(500,7)"), []int{4, 4, 512})
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	const vectors = 20
	src, dst := make([]float32, vectors*n), make([]float32, vectors*d)
	for i := range src {
		src[i] = float32(random.NormFloat64())
	}
	p.ApplyAll(dst, src)
	for v := range vectors {
		norm := func(x []float32) (sum float64) {
			for _, e := range x {
				sum += float64(e) * float64(e)
			}
			return math.Sqrt(sum)
		}
		// The standard deviation of the ratio is about 1/√(2d).
		assert.InDelta(t, 1, norm(dst[v*d:(v+1)*d])/norm(src[v*n:(v+1)*n]), 5/math.Sqrt(2*d))
		single := make([]float32, d)
		p.Apply(single, src[v*n:])
		assert.Equal(t, dst[v*d:(v+1)*d], single)
	}
	other, err := New(parse(t, "sparse(500,8)"), []int{4, 4, 512})
	require.NoError(t, err)
	assert.NotEqual(t, p.entries, other.entries)
}

// The first entries, so that the matrix of a seed never changes.
func TestProjectionIsFixed(t *testing.T) {
	p, err := New(parse(t, "sparse(3,1)"), []int{10})
	require.NoError(t, err)
	assert.Equal(t, []int{4, 3}, []int{draws(10), draws(9)})
	var got [][2]int
	for _, e := range p.entries {
		sign := 1
		if e&1 != 0 {
			sign = -1
		}
		got = append(got, [2]int{int(e >> 1), sign})
	}
	assert.Equal(t, [][2]int{{8, 1}, {6, -1}, {2, 1}, {3, -1}, {7, 1}, {0, -1}, {9, -1}, {9, 1}, {9, 1}, {3, 1}, {2, -1},
		{7, -1}}, got)
}

// The matrix as NumPy makes it, from the lines that the documentation gives.
func TestProjectionInNumPy(t *testing.T) {
	python := os.Getenv("TFCONVRNN_PYTHON")
	if python == "" {
		python = "python3"
	}
	if err := exec.Command(python, "-c", "import numpy, scipy").Run(); err != nil {
		if os.Getenv("TFCONVRNN_PYTHON") != "" {
			t.Fatalf("TFCONVRNN_PYTHON=%s: %v", python, err)
		}
		t.Skipf("no Python with NumPy and SciPy (set TFCONVRNN_PYTHON): %v", err)
	}
	out, err := exec.Command(python, filepath.Join("testdata", "projection.py"), "2000", "30", "12345").Output()
	require.NoError(t, err)
	p, err := New(parse(t, "sparse(30,12345)"), []int{2000})
	require.NoError(t, err)
	src, dst := make([]float32, 2000), make([]float32, 30)
	for i := range src {
		src[i] = float32(i%17) - 8
	}
	p.Apply(dst, src)
	var text strings.Builder
	for _, v := range dst {
		fmt.Fprintf(&text, "%.5e\n", v)
	}
	assert.Equal(t, string(out), text.String())
}

func BenchmarkProjection(b *testing.B) {
	p, err := New(parse(b, "sparse(1000,1)"), []int{56, 56, 64})
	require.NoError(b, err)
	src, dst := make([]float32, 16*56*56*64), make([]float32, 16*1000)
	for b.Loop() {
		p.ApplyAll(dst, src)
	}
}
