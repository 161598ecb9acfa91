package products_test

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"

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

func BenchmarkGram(b *testing.B) {
	const n, p = 3200, 2048
	a := products.Rows[float32]{Data: random(rand.New(rand.NewPCG(1, 1)), n*p), Count: n, Columns: p, Stride: p}
	c := make([]float64, n*n)
	for b.Loop() {
		products.AddGram(c, a)
	}
	b.ReportMetric(float64(n)*n*p*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
