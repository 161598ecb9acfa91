// Package products multiplies float64 matrices stored by rows, C += A Bᵀ, on all
// cores: the shape of Gram matrices. It does so at over half of a processor's peak,
// ten times as fast as gonum, and inverts matrices by such products.
package products

import (
	"sync"

	"github.com/tfconvrnn/go/internal/parallel"
)

const (
	rowsInBlock    = 8
	columnsInBlock = 24
	depthInBlock   = Depth
	// rowsAtOnce are the rows of A that stay in the second-level cache meanwhile.
	rowsAtOnce = 192
	// fewBlocks of so many rows do not keep all cores at work.
	fewBlocks = 8
)

// Depth is how many columns of A and B are worked on at a time: a panel of B then takes 48 kB, about a first-level
// cache. Sums over parts of the columns, one after the other, are the same to the last bit where the parts are
// multiples of it.
const Depth = 256

// Number is the type of the factors.
type Number interface{ float32 | float64 }

// Rows is a matrix: Count rows of Columns numbers, which begin Stride apart in Data.
type Rows[T Number] struct {
	Data                   []T
	Count, Columns, Stride int
}

func (r Rows[T]) check(name string) {
	if r.Count < 0 || r.Columns < 0 || r.Stride < r.Columns || r.Count > 0 &&
		len(r.Data) < (r.Count-1)*r.Stride+r.Columns {
		panic("products: " + name + " is too short for its shape")
	}
}

// AddGram adds A Aᵀ to c, which is [A.Count, A.Count] by rows; only its lower triangle
// and the blocks of the diagonal are touched. Sums are float64. It uses all cores; the
// result does not depend on their number.
func AddGram[T Number](c []float64, a Rows[T]) { add(c, a.Count, a, a, gram) }

// Mirror copies the lower triangle of a square matrix to the upper one.
func Mirror(c []float64, n int) {
	const tile = 32 // of columns and rows, so that both stay in the cache
	parallel.For((n+tile-1)/tile, 1, func(block int) {
		first, end := block*tile, min((block+1)*tile, n)
		for across := 0; across < end; across += tile {
			for i := first; i < end; i++ {
				for j := across; j < min(across+tile, i); j++ {
					c[j*n+i] = c[i*n+j]
				}
			}
		}
	})
}

// AddProduct adds A Bᵀ to c, whose rows of B.Count numbers begin stride apart. A and B
// have equal numbers of columns.
func AddProduct[T, U Number](c []float64, stride int, a Rows[T], b Rows[U]) {
	add(c, stride, a, b, whole)
}

// AddLower is AddProduct with a square lower triangular B, in half the time: what is above the diagonal of B is taken
// for 0, and is to be 0.
func AddLower[T, U Number](c []float64, stride int, a Rows[T], b Rows[U]) {
	add(c, stride, a, b, lower)
}

// AddUpper is AddLower with an upper triangular B.
func AddUpper[T, U Number](c []float64, stride int, a Rows[T], b Rows[U]) {
	add(c, stride, a, b, upper)
}

// shape is what need not be computed: above the diagonal of the result (gram), or of B (lower), or below it (upper).
type shape int

const (
	whole shape = iota
	gram
	lower
	upper
)

// deep returns where in a block of depth, from which B's columns begin, a panel of B from column on is not 0.
func (s shape) deep(from, depth, column int) (start, end int) {
	switch s {
	case lower:
		return 0, max(min(depth, column+columnsInBlock-from), 0)
	case upper:
		return min(max(column-from, 0), depth), depth
	}
	return 0, depth
}

func add[T, U Number](c []float64, stride int, a Rows[T], b Rows[U], s shape) {
	a.check("A")
	b.check("B")
	if a.Columns != b.Columns || stride < b.Count || a.Count > 0 && len(c) < (a.Count-1)*stride+b.Count ||
		s > gram && b.Count != b.Columns {
		panic("products: shapes do not fit")
	}
	panels := (b.Count + columnsInBlock - 1) / columnsInBlock
	bufferA, bufferB := buffers.Get().(*[]float64), buffers.Get().(*[]float64)
	defer buffers.Put(bufferA)
	defer buffers.Put(bufferB)
	packedA := room(bufferA, (a.Count+rowsInBlock-1)/rowsInBlock*rowsInBlock*min(depthInBlock, a.Columns))
	packedB := room(bufferB, panels*columnsInBlock*min(depthInBlock, a.Columns))
	for from := 0; from < a.Columns; from += depthInBlock {
		to := min(from+depthInBlock, a.Columns)
		parallel.For((a.Count+rowsInBlock-1)/rowsInBlock, 1, func(i int) { pack(packedA, a, i, rowsInBlock, from, to) })
		parallel.For(panels, 1, func(i int) { pack(packedB, b, i, columnsInBlock, from, to) })
		depth := to - from
		blocks := (a.Count + rowsAtOnce - 1) / rowsAtOnce
		parts := 1 // of the panels, where rows are few
		if s != gram && blocks < fewBlocks {
			parts = min(fewBlocks, panels)
		}
		parallel.For(blocks*parts, 1, func(done int) {
			block := blocks - 1 - done/parts // of a triangle the longest rows first, so that all cores end at once
			first, end := block*rowsAtOnce, min((block+1)*rowsAtOnce, a.Count)
			for panel := done % parts * panels / parts; panel < (done%parts+1)*panels/parts; panel++ {
				column := panel * columnsInBlock
				if s == gram && column >= end {
					break
				}
				start := first
				if s == gram { // blocks above the diagonal
					start = max(first, column/rowsInBlock*rowsInBlock)
				}
				k, deep := s.deep(from, depth, column)
				if k >= deep {
					continue
				}
				rows(packedA[start*depth+k*rowsInBlock:], end-start, rowsInBlock*depth, packedB[column*depth+k*columnsInBlock:],
					min(columnsInBlock, b.Count-column), deep-k, c[start*stride+column:], stride)
			}
		})
	}
}

// buffers are those that rows are packed into, which would cost more to clear than to fill.
var buffers = sync.Pool{New: func() any { return new([]float64) }}

func room(buffer *[]float64, n int) []float64 {
	if cap(*buffer) < n {
		*buffer = make([]float64, n)
	}
	return (*buffer)[:n]
}
