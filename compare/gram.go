package compare

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/tfconvrnn/go/internal/parallel"
	"github.com/tfconvrnn/go/internal/products"
)

// ErrData means features or recordings that cannot be compared: of unequal lengths,
// with NaN where there must be none, or too few.
var ErrData = errors.New("unusable data")

// ErrConstant means features that are the same for all stimuli, as those of a layer
// that the images have not reached yet.
var ErrConstant = errors.New("the features do not depend on the stimulus")

// Gram is the products of all pairs of stimuli, K = X Xᵀ, of features X [stimuli,
// features]. Fits, dissimilarities and CKA need nothing else of the features, so they
// are read once, block by block, and are never in memory whole. It may be used by
// several goroutines once all blocks are added.
type Gram struct {
	n, features int
	k           []float64 // [n, n]; above the diagonal only once complete
	complete    sync.Once
	sums        []float64 // of each stimulus's features
	varies      bool      // whether some feature differs between stimuli
}

// NewGram returns the Gram matrix of n stimuli without features.
func NewGram(n int) *Gram { return &Gram{n: n, k: make([]float64, n*n), sums: make([]float64, n)} }

// GramOf returns the Gram matrix of features [n, p] in C order.
func GramOf(features []float32, n int) (*Gram, error) {
	g := NewGram(n)
	if n < 1 || len(features)%n != 0 {
		return nil, fmt.Errorf("%w: %d values are not features of %d stimuli", ErrData, len(features), n)
	}
	return g, g.Add(features, len(features)/n, len(features)/n)
}

// Add adds features: of every stimulus count of them, whose rows begin stride apart.
// The sums are float64. The error wraps ErrData where there are too few values, or NaN or infinities among them.
func (g *Gram) Add(features []float32, count, stride int) error {
	if count < 0 || stride < count || len(features) < (g.n-1)*stride+count {
		return fmt.Errorf("%w: %d values are not %d features of %d stimuli", ErrData, len(features), count, g.n)
	}
	parallel.For(g.n, 64, func(i int) {
		for _, v := range features[i*stride:][:count] {
			g.sums[i] += float64(v)
		}
	})
	for i, sum := range g.sums {
		row := features[i*stride:][:count]
		if math.IsNaN(sum) || math.IsInf(sum, 0) { // sums of finite float32 are
			j := slices.IndexFunc(row, func(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) })
			return &notFinite{g.features + j, i, row[j]}
		}
		g.varies = g.varies || !slices.Equal(row, features[:count])
	}
	products.AddGram(g.k, products.Rows[float32]{Data: features, Count: g.n, Columns: count, Stride: stride})
	g.features += count
	return nil
}

// GramOfTargets returns the Gram matrix of responses [stimuli][neuroids]. The error wraps
// ErrData where some are NaN.
func GramOfTargets(targets Targets) (*Gram, error) {
	g := NewGram(len(targets))
	if err := checkTargets(targets, g.n); err != nil {
		return nil, err
	}
	g.features = len(targets[0])
	flat := slices.Concat(targets...)
	for i, row := range targets {
		for _, v := range row {
			g.sums[i] += v
		}
		g.varies = g.varies || !slices.Equal(row, targets[0])
	}
	products.AddGram(g.k, products.Rows[float64]{Data: flat, Count: g.n, Columns: g.features, Stride: g.features})
	return g, nil
}

// Stimuli is the number of stimuli.
func (g *Gram) Stimuli() int { return g.n }

// Features is the number of features that were added.
func (g *Gram) Features() int { return g.features }

// Constant tells whether all stimuli have the same features, as those of a layer that
// the image has not reached yet.
func (g *Gram) Constant() bool { return !g.varies }

// matrix returns K, [n, n] by rows.
func (g *Gram) matrix() []float64 {
	g.complete.Do(func() { products.Mirror(g.k, g.n) })
	return g.k
}

// rows returns K, or some of its rows, as a factor of products.
func (g *Gram) rows() products.Rows[float64] {
	return products.Rows[float64]{Data: g.matrix(), Count: g.n, Columns: g.n, Stride: g.n}
}

// times returns K v.
func (g *Gram) times(v []float64) []float64 {
	k, result := g.matrix(), make([]float64, g.n)
	parallel.For(g.n, 64, func(i int) { result[i] = dot(k[i*g.n:][:g.n], v) })
	return result
}

// centred returns K of some stimuli, centred by the means over others, as if the
// features had been: the rows are those of rows, the columns of train. It also returns
// how K of the training stimuli itself is centred.
func (g *Gram) centred(rows, train []int) []float64 {
	k := g.matrix()
	n := float64(len(train))
	means := func(list []int) []float64 {
		m := make([]float64, len(list))
		parallel.For(len(list), 16, func(i int) {
			sum := 0.0
			for _, j := range train {
				sum += k[list[i]*g.n+j]
			}
			m[i] = sum / n
		})
		return m
	}
	ofRows, ofTrain := means(rows), means(train)
	all := meanOf(ofTrain)
	c := make([]float64, len(rows)*len(train))
	parallel.For(len(rows), 16, func(i int) {
		row := c[i*len(train):][:len(train)]
		for j, at := range train {
			row[j] = k[rows[i]*g.n+at] - ofRows[i] - ofTrain[j] + all
		}
	})
	return c
}

// dot is the inner product of vectors of one length.
func dot(a, b []float64) float64 { return products.Dot(a, b) }

// rounding is a bound on the eigenvalues of K of centred training features below which they say nothing: float32 leaves
// 1e-14 of the sum of all, and float64 less of what K was before it was centred.
func (g *Gram) rounding(train []int) float64 {
	k, whole, all := g.matrix(), 0.0, 0.0
	for _, i := range train {
		whole += k[i*g.n+i]
		for _, j := range train {
			all += k[i*g.n+j]
		}
	}
	return 1e-13*(whole-all/float64(len(train))) + 2e-15*whole
}
