package products

import (
	"math"

	"github.com/tfconvrnn/go/internal/parallel"
)

const (
	// pivotsAtOnce are the rows and columns that Invert takes together: as many as are multiplied at a time, since what is
	// added to is read and written for each of them.
	pivotsAtOnce = Depth
	// pivotsByRow are those of which a triangle is inverted row by row.
	pivotsByRow = 64
)

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
	negate(a, n)
	smallest = math.Inf(1)
	width := min(pivotsAtOnce, n)
	panel, whitened := make([]float64, n*width), make([]float64, n*width)
	factor, inverse, transposed := make([]float64, width*width), make([]float64, width*width), make([]float64, width*width)
	for from := 0; from < n; from += width {
		b := min(width, n-from)
		square := func(m []float64) Rows[float64] { return Rows[float64]{m, b, b, b} }
		tall := func(m []float64) Rows[float64] { return Rows[float64]{m, n, b, b} }
		for i := range b {
			copy(factor[i*b:], a[(from+i)*n+from:][:i+1])
		}
		clear(inverse)
		pivot := whiten(inverse, factor, b, b)
		smallest = min(smallest, pivot)
		if !(pivot > 0) {
			return pivot
		}
		transpose(transposed, b, inverse, b, b, b)
		column(panel, a, n, from, b, false)
		clearRows(whitened, n, b)
		AddLower(whitened, b, tall(panel), square(inverse))
		AddGram(a, tall(whitened))
		clearRows(panel, n, b)
		AddUpper(panel, b, tall(whitened), square(transposed))
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

// Whiten returns the inverse of the Cholesky factor of a symmetric positive definite matrix, [n, n] by rows, of which
// only the lower triangle is read, and which is lost: a lower triangle W with W A Wᵀ = 1 and A⁻¹ = Wᵀ W. The smallest
// pivot is that of Invert; where it is not positive, W is of no use.
func Whiten(a []float64, n int) (w []float64, smallest float64) {
	if n < 0 || len(a) != n*n {
		panic("products: a square matrix of another size")
	}
	negate(a, n)
	w = make([]float64, n*n)
	return w, whiten(w, a, n, n)
}

// negate changes the signs of the lower triangle.
func negate(a []float64, n int) {
	parallel.For(n, 64, func(i int) {
		for j, v := range a[i*n : i*n+i+1] {
			a[i*n+j] = -v
		}
	})
}

// whiten is Whiten of −A into zeros; rows of both begin stride apart.
func whiten(w, a []float64, n, stride int) (smallest float64) {
	if n <= pivotsByRow {
		return whitenRows(w, a, n, stride)
	}
	h := (n/2 + pivotsByRow - 1) / pivotsByRow * pivotsByRow
	rest := n - h
	if smallest = whiten(w, a, h, stride); !(smallest > 0) {
		return smallest
	}
	below, corner := a[h*stride:], h*stride+h
	first := Rows[float64]{w, h, h, stride}
	// −A is [−A₁ …; −B −A₂], and W [W₁ 0; −W₂ F W₁ W₂] of F = B W₁ᵀ, where W₂ whitens A₂ − F Fᵀ.
	f := make([]float64, rest*h)
	AddLower(f, h, Rows[float64]{below, rest, h, stride}, first)
	second := make([]float64, rest*rest)
	AddGram(second, Rows[float64]{f, rest, h, h})
	for i := range rest {
		for j, v := range second[i*rest : i*rest+i+1] {
			a[corner+i*stride+j] += v
		}
	}
	if smallest = min(smallest, whiten(w[corner:], a[corner:], rest, stride)); !(smallest > 0) {
		return smallest
	}
	turned, product := make([]float64, h*h), make([]float64, h*rest)
	transpose(turned, h, w, h, h, stride)
	AddProduct(product, rest, Rows[float64]{turned, h, h, h}, Rows[float64]{f, rest, h, h}) // −(F W₁)ᵀ
	AddProduct(w[h*stride:], stride, Rows[float64]{w[corner:], rest, rest, stride}, Rows[float64]{product, h, rest, rest})
	return smallest
}

// whitenRows is whiten for few rows.
func whitenRows(w, a []float64, n, stride int) (smallest float64) {
	factor, inverse := make([]float64, n*n), make([]float64, n*n)
	for i := range n {
		for j := range i + 1 {
			factor[i*n+j] = -a[i*stride+j]
		}
	}
	if smallest = cholesky(factor, n); !(smallest > 0) {
		return smallest
	}
	invertTriangle(inverse, factor, n)
	for i := range n {
		copy(w[i*stride:][:i+1], inverse[i*n:])
	}
	return smallest
}

// transpose fills to, [columns, rows], with from, [rows, columns].
func transpose(to []float64, toStride int, from []float64, rows, columns, fromStride int) {
	for i := range rows {
		for j, v := range from[i*fromStride:][:columns] {
			to[j*toStride+i] = v
		}
	}
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
		case i < from:
		case i < from+b:
			if !store {
				clear(row)
			}
		case store:
			for j, v := range row {
				a[i*n+from+j] = -v
			}
		default:
			copy(row, a[i*n+from:])
		}
	})
	// What is left of the diagonal lies across, so as many rows at a time as a cache line holds.
	const line = 8
	parallel.For((from+line-1)/line, 8, func(tile int) {
		first, end := tile*line, min((tile+1)*line, from)
		for j := range b {
			across := a[(from+j)*n+first : (from+j)*n+end]
			for i := range across {
				if store {
					across[i] = -panel[(first+i)*b+j]
				} else {
					panel[(first+i)*b+j] = across[i]
				}
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
