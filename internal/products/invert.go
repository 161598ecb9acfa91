package products

import (
	"math"

	"github.com/tfconvrnn/go/internal/parallel"
)

// pivotsAtOnce are the rows and columns that Invert takes together.
const pivotsAtOnce = 128

// Invert replaces a symmetric positive definite matrix, [n, n] by rows, of which only
// the lower triangle is read, by its inverse, whole. It takes n³ multiplications and
// additions, nearly all of them in AddGram, and does not depend on the number of cores.
//
// It returns the smallest pivot: what is left of a diagonal element when all rows
// before are known. The matrix's smallest eigenvalue is not larger, and rounding is as large as that of
// the largest eigenvalue. Where a pivot is not positive, a is lost.
func Invert(a []float64, n int) (smallest float64) {
	if n < 0 || len(a) != n*n {
		panic("products: a square matrix of another size")
	}
	// Blocks are swept (Gauss and Jordan) through −A, so that what is to be added to the
	// rest is a Gram matrix.
	parallel.For(n, 64, func(i int) {
		for j, v := range a[i*n : i*n+i+1] {
			a[i*n+j] = -v
		}
	})
	smallest = math.Inf(1)
	width := min(pivotsAtOnce, n)
	panel, whitened := make([]float64, n*width), make([]float64, n*width)
	factor, inverse, transposed := make([]float64, width*width), make([]float64, width*width), make([]float64, width*width)
	for from := 0; from < n; from += width {
		b := min(width, n-from)
		square := func(m []float64) Rows[float64] { return Rows[float64]{m, b, b, b} }
		tall := func(m []float64) Rows[float64] { return Rows[float64]{m, n, b, b} }
		for i := range b {
			for j := range i + 1 {
				factor[i*b+j] = -a[(from+i)*n+from+j]
			}
		}
		pivot := cholesky(factor, b)
		smallest = min(smallest, pivot)
		if !(pivot > 0) {
			return pivot
		}
		invertTriangle(inverse, factor, b)
		for i := range b {
			for j := range b {
				transposed[j*b+i] = inverse[i*b+j]
			}
		}
		column(panel, a, n, from, b, false)
		clearRows(whitened, n, b)
		AddProduct(whitened, b, tall(panel), square(inverse))
		AddGram(a, tall(whitened))
		clearRows(panel, n, b)
		AddProduct(panel, b, tall(whitened), square(transposed))
		column(panel, a, n, from, b, true)
		clear(factor)
		AddGram(factor, square(transposed))
		for i := range b {
			copy(a[(from+i)*n+from:], factor[i*b:i*b+i+1])
		}
	}
	Mirror(a, n)
	return smallest
}

// clearRows clears n rows of b numbers.
func clearRows(m []float64, n, b int) {
	parallel.For(n, 256, func(i int) { clear(m[i*b:][:b]) })
}

// column copies b columns of a matrix whose lower triangle is there into a panel,
// with zeros for the rows of the same numbers; or, to store them, back with the other sign.
func column(panel, a []float64, n, from, b int, store bool) {
	parallel.For(n, 64, func(i int) {
		row := panel[i*b:][:b]
		switch {
		case i >= from && i < from+b:
			if !store {
				clear(row)
			}
		case i >= from+b && store:
			for j, v := range row {
				a[i*n+from+j] = -v
			}
		case i >= from+b:
			copy(row, a[i*n+from:])
		case store:
			for j, v := range row {
				a[(from+j)*n+i] = -v
			}
		default:
			for j := range row {
				row[j] = a[(from+j)*n+i]
			}
		}
	})
}

// cholesky factors the lower triangle of a, [n, n], and returns the smallest pivot; it stops at
// one that is not positive.
func cholesky(a []float64, n int) (smallest float64) {
	smallest = math.Inf(1)
	for i := range n {
		row := a[i*n:][:i+1]
		for j := range i {
			other := a[j*n:][:j+1]
			row[j] = (row[j] - Dot(row[:j], other[:j])) / other[j]
		}
		pivot := row[i] - Dot(row[:i], row[:i])
		smallest = min(smallest, pivot)
		if !(pivot > 0) {
			return pivot
		}
		row[i] = math.Sqrt(pivot)
	}
	return smallest
}

// invertTriangle inverts a lower triangle.
func invertTriangle(inverse, l []float64, n int) {
	for i := range n {
		row := inverse[i*n:][:n]
		clear(row)
		for k, v := range l[i*n : i*n+i] {
			for j, w := range inverse[k*n : k*n+k+1] {
				row[j] -= v * w
			}
		}
		scale := 1 / l[i*n+i]
		for j := range i {
			row[j] *= scale
		}
		row[i] = scale
	}
}

// Dot is the inner product of vectors of one length. It has several sums, so that the processor
// works on them at once.
func Dot(a, b []float64) float64 {
	var s [4]float64
	b = b[:len(a)]
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s[0] += a[i] * b[i]
		s[1] += a[i+1] * b[i+1]
		s[2] += a[i+2] * b[i+2]
		s[3] += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s[0] += a[i] * b[i]
	}
	return s[0] + s[1] + (s[2] + s[3])
}
