package products_test

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/products"
)

func random(r *rand.Rand, n int) []float32 {
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(r.NormFloat64())
	}
	return values
}

func TestProductsOfAllShapes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 60 {
		n, m, depth := 1+r.IntN(230), 1+r.IntN(90), 1+r.IntN(600)
		stride := depth + r.IntN(3)
		a := products.Rows[float32]{Data: random(r, n*stride), Count: n, Columns: depth, Stride: stride}
		b := products.Rows[float32]{Data: random(r, m*depth), Count: m, Columns: depth, Stride: depth}
		dot := func(x, y []float32) (sum float64) {
			for i, v := range x {
				sum += float64(v) * float64(y[i])
			}
			return sum
		}
		c := make([]float64, n*m)
		for i := range c {
			c[i] = float64(i)
		}
		products.AddProduct(c, m, a, b)
		gram := make([]float64, n*n)
		products.AddGram(gram, a)
		products.Mirror(gram, n)
		for i := range n {
			x := a.Data[i*stride:][:depth]
			for j := range m {
				assert.InDelta(t, float64(i*m+j)+dot(x, b.Data[j*depth:][:depth]), c[i*m+j], 1e-10*float64(i*m+j+depth))
			}
			for j := range n {
				assert.InDelta(t, dot(x, a.Data[j*stride:][:depth]), gram[i*n+j], 1e-11*float64(depth))
			}
		}
	}
}

func TestTrianglesTakePartOnly(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for _, n := range []int{1, 23, 24, 25, 255, 256, 257, 600} {
		rows := 1 + r.IntN(300)
		a := products.Rows[float32]{Data: random(r, rows*n), Count: rows, Columns: n, Stride: n}
		below, above := random(r, n*n), random(r, n*n)
		for i := range n {
			for j := range n {
				if j > i {
					below[i*n+j] = 0
				} else if j < i {
					above[i*n+j] = 0
				}
			}
		}
		square := func(data []float32) products.Rows[float32] {
			return products.Rows[float32]{Data: data, Count: n, Columns: n, Stride: n}
		}
		want, got := make([]float64, rows*n), make([]float64, rows*n)
		products.AddProduct(want, n, a, square(below))
		products.AddLower(got, n, a, square(below))
		assert.InDeltaSlice(t, want, got, 1e-11*float64(n))
		clear(want)
		clear(got)
		products.AddProduct(want, n, a, square(above))
		products.AddUpper(got, n, a, square(above))
		assert.InDeltaSlice(t, want, got, 1e-11*float64(n))
	}
}

func TestProductsDoNotDependOnCores(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	a := products.Rows[float32]{Data: random(r, 500*300), Count: 500, Columns: 300, Stride: 300}
	gram := func(cores int) []float64 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
		c := make([]float64, 500*500)
		products.AddGram(c, a)
		return c
	}
	assert.Equal(t, gram(1), gram(4))
}

func TestWrongShapesPanic(t *testing.T) {
	a := products.Rows[float64]{Data: make([]float64, 5), Count: 2, Columns: 3, Stride: 3}
	assert.Panics(t, func() { products.AddGram(make([]float64, 4), a) })
	a.Data = make([]float64, 6)
	assert.Panics(t, func() { products.AddGram(make([]float64, 3), a) })
}

// spd returns a positive definite matrix of a condition of about 1e6.
func spd(n int) []float64 {
	r := rand.New(rand.NewPCG(3, uint64(n)))
	a := products.Rows[float32]{Data: random(r, n*2*n), Count: n, Columns: 2 * n, Stride: 2 * n}
	for i := range n {
		scale := float32(math.Pow(10, -3*float64(i)/float64(n)))
		for j := range 2 * n {
			a.Data[i*2*n+j] *= scale
		}
	}
	c := make([]float64, n*n)
	products.AddGram(c, a)
	products.Mirror(c, n)
	return c
}

func TestInvert(t *testing.T) {
	for _, n := range []int{1, 2, 7, 63, 64, 65, 128, 129, 255, 256, 257, 300, 600} {
		a := spd(n)
		inverse := slices.Clone(a)
		for i := range n { // the upper triangle is not read
			for j := i + 1; j < n; j++ {
				inverse[i*n+j] = math.NaN()
			}
		}
		assert.Positive(t, products.Invert(inverse, n))
		rows := func(m []float64) products.Rows[float64] {
			return products.Rows[float64]{Data: m, Count: n, Columns: n, Stride: n}
		}
		identity := make([]float64, n*n)
		products.AddProduct(identity, n, rows(inverse), rows(a))
		for i := range n {
			for j := range n {
				assert.Equal(t, inverse[i*n+j], inverse[j*n+i])
				want := 0.0
				if i == j {
					want = 1
				}
				assert.InDelta(t, want, identity[i*n+j], 1e-9)
			}
		}
	}
}

func TestWhiten(t *testing.T) {
	for _, n := range []int{1, 7, 64, 65, 130, 320, 385} {
		a := spd(n)
		lower := slices.Clone(a)
		for i := range n { // the upper triangle is not read
			for j := i + 1; j < n; j++ {
				lower[i*n+j] = math.NaN()
			}
		}
		w, pivot := products.Whiten(lower, n)
		assert.Positive(t, pivot)
		rows := func(m []float64) products.Rows[float64] {
			return products.Rows[float64]{Data: m, Count: n, Columns: n, Stride: n}
		}
		half, identity := make([]float64, n*n), make([]float64, n*n) // W A, W A Wᵀ
		products.AddProduct(half, n, rows(w), rows(a))
		products.AddProduct(identity, n, rows(half), rows(w))
		for i := range n {
			for j := range n {
				want := 0.0
				if i == j {
					want = 1
				}
				require.InDelta(t, want, identity[i*n+j], 1e-9)
				if j > i {
					require.Zero(t, w[i*n+j])
				}
			}
		}
	}
}

func TestInvertDoesNotDependOnCores(t *testing.T) {
	inverse := func(cores int) []float64 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
		a := spd(400)
		products.Invert(a, 400)
		return a
	}
	assert.Equal(t, inverse(1), inverse(4))
}

func TestInvertRefusesWhatIsNotPositive(t *testing.T) {
	a := spd(200)
	a[150*200+150] = -1
	assert.Negative(t, products.Invert(a, 200))
	assert.Panics(t, func() { products.Invert(make([]float64, 5), 2) })
	for _, at := range []int{3, 70, 150, 199} {
		b := spd(200)
		b[at*200+at] = -1
		_, pivot := products.Whiten(b, 200)
		assert.Negative(t, pivot)
	}
	assert.Panics(t, func() { products.Whiten(make([]float64, 5), 2) })
}

func BenchmarkInvert(b *testing.B) {
	const n = 3200
	made := spd(n)
	for b.Loop() {
		products.Invert(slices.Clone(made), n)
	}
	b.ReportMetric(float64(n)*n*n*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}

func BenchmarkGram(b *testing.B) {
	const n, p = 3200, 2048
	a := products.Rows[float32]{Data: random(rand.New(rand.NewPCG(1, 1)), n*p), Count: n, Columns: p, Stride: p}
	c := make([]float64, n*n)
	for b.Loop() {
		products.AddGram(c, a)
	}
	b.ReportMetric(float64(n)*n*p*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
