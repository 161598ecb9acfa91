package compare

import (
	"math"
	"slices"
	"sync"

	"github.com/tfconvrnn/go/internal/parallel"
	"github.com/tfconvrnn/go/internal/products"
)

// leaveOut fits ridge regression without some of the stimuli, for all splits from one
// inverse for each α. With K centred over all stimuli, C = K + αI and the intercept free,
//
//	M = C⁻¹ − 11ᵀ/(nα)
//
// is 0 in the direction of the intercept. What is fitted without the stimuli S has the errors
//
//	y_S − ŷ_S = M_SS⁻¹ (M Y)_S
//
// at them, and as its own M that of the others, M − M_S M_SS⁻¹ M_Sᵀ; from that, leaving out
// one stimulus i more, the error at it is (M Y)_i/M_ii.
type leaveOut struct {
	g       *Gram
	targets Targets
	splits  []Split
	stimuli []int  // those of any split, ascending
	out     []fold // what each split does not train on
	y       []float64
	means   []float64 // of rows of K
	mean    float64   // of K
	usual   float64   // the mean of the diagonal of K, centred
	size    float64   // √Σ of its squares
	work    []float64
	spare   sync.Pool // *[]float64, for what a split needs meanwhile
}

// fold is stimuli to leave out, by their places among leaveOut.stimuli, and which of these are
// predicted, by their places in out.
type fold struct{ out, test []int }

func newLeaveOut(g *Gram, targets Targets, splits []Split) *leaveOut {
	l := &leaveOut{g: g, targets: targets, splits: splits}
	for _, s := range splits {
		l.stimuli = slices.Concat(l.stimuli, s.Train, s.Test)
		slices.Sort(l.stimuli)
		l.stimuli = slices.Compact(l.stimuli)
	}
	n := len(l.stimuli)
	for _, s := range splits {
		l.out = append(l.out, l.without(s.Train, s.Test))
	}
	l.y, _ = targets.centred(l.stimuli, n, func(i int) int { return i })
	l.means = make([]float64, n)
	k := g.matrix()
	parallel.For(n, 16, func(i int) {
		for _, j := range l.stimuli {
			l.means[i] += k[l.stimuli[i]*g.n+j] / float64(n)
		}
	})
	l.mean = meanOf(l.means)
	trace, squares := make([]float64, n), make([]float64, n)
	parallel.For(n, 16, func(i int) {
		row := k[l.stimuli[i]*g.n:]
		for j, at := range l.stimuli {
			v := row[at] - l.means[i] - l.means[j] + l.mean
			squares[i] += v * v
			if i == j {
				trace[i] = v
			}
		}
	})
	l.usual, l.size = meanOf(trace), math.Sqrt(meanOf(squares)*float64(n))
	return l
}

// places are those of stimuli among l.stimuli.
func (l *leaveOut) places(stimuli []int) []int {
	places := make([]int, len(stimuli))
	for i, at := range stimuli {
		places[i], _ = slices.BinarySearch(l.stimuli, at)
	}
	return places
}

// without is the fold of all stimuli but those to train on.
func (l *leaveOut) without(train, test []int) fold {
	trained := make([]bool, len(l.stimuli))
	for _, at := range l.places(train) {
		trained[at] = true
	}
	var f fold
	for i := range l.stimuli {
		if !trained[i] {
			f.out = append(f.out, i)
		}
	}
	for _, at := range l.places(test) {
		place, _ := slices.BinarySearch(f.out, at)
		f.test = append(f.test, place)
	}
	return f
}

// folds are count consecutive parts of each split's training stimuli, one after the other.
func (l *leaveOut) folds(count int) (all []fold, err error) {
	for _, s := range l.splits {
		folds, err := Splits{Count: count, Folds: true, InOrder: true}.Of(len(s.Train), nil)
		if err != nil {
			return nil, err
		}
		for _, f := range folds {
			all = append(all, l.without(pick(s.Train, f.Train), pick(s.Train, f.Test)))
		}
	}
	return all, nil
}

// ridgeInverse is M for one α. It is valid until the next one is made.
type ridgeInverse struct {
	*leaveOut
	n, q  int
	m, my []float64 // M + less·11ᵀ; (M Y)ᵀ, [q, n]
	less  float64
}

// worstCondition is how many times larger K may be than the smallest pivot of C, so that rounding, which
// is as large as K's, counts for 1e-6 of the errors at most.
const worstCondition = 1e10

// inverse returns M; or false where α is too small for features of fewer dimensions than
// stimuli.
func (l *leaveOut) inverse(alpha float64) (*ridgeInverse, bool) {
	n, q := len(l.stimuli), len(l.targets[0])
	k := l.g.matrix()
	if l.work == nil {
		l.work = make([]float64, n*n)
	}
	// Along the intercept the eigenvalue would be α alone; it is made one of the usual size.
	parallel.For(n, 16, func(i int) {
		row, from := l.work[i*n:][:i+1], k[l.stimuli[i]*l.g.n:]
		add := l.mean - l.means[i] + l.usual/float64(n)
		for j, at := range l.stimuli[:i+1] {
			row[j] = from[at] - l.means[j] + add
		}
		row[i] += alpha
	})
	pivot := products.Invert(l.work, n)
	if !(pivot*worstCondition > l.size) {
		return nil, false
	}
	r := &ridgeInverse{leaveOut: l, n: n, q: q, m: l.work, my: make([]float64, q*n),
		less: 1 / (float64(n) * (alpha + l.usual))}
	// The targets' means are 0, so what is along the intercept makes no difference.
	products.AddProduct(r.my, n, products.Rows[float64]{Data: l.y, Count: q, Columns: n, Stride: n},
		products.Rows[float64]{Data: r.m, Count: n, Columns: n, Stride: n})
	return r, true
}

// removed is what is left out, and what its errors are. With W that whitens M_SS the inverse is WᵀW.
type removed struct {
	fold
	whitening []float64 // W, [S, S]
	whitened  []float64 // W (M Y)_S, [q, S]
	errors    []float64 // of what is left out, [q, S]
}

func (r *ridgeInverse) remove(f fold) *removed {
	h := len(f.out)
	block, my, turned := make([]float64, h*h), make([]float64, r.q*h), make([]float64, h*h)
	for i, at := range f.out {
		for j, other := range f.out[:i+1] {
			block[i*h+j] = r.m[at*r.n+other] - r.less
		}
	}
	x := &removed{fold: f, whitened: make([]float64, r.q*h), errors: make([]float64, r.q*h)}
	x.whitening, _ = products.Whiten(block, h)
	for i := range h {
		for j, v := range x.whitening[i*h:][:i+1] {
			turned[j*h+i] = v
		}
	}
	for j := range r.q {
		for i, at := range f.out {
			my[j*h+i] = r.my[j*r.n+at]
		}
	}
	products.AddLower(x.whitened, h, products.Rows[float64]{Data: my, Count: r.q, Columns: h, Stride: h},
		products.Rows[float64]{Data: x.whitening, Count: h, Columns: h, Stride: h})
	products.AddUpper(x.errors, h, products.Rows[float64]{Data: x.whitened, Count: r.q, Columns: h, Stride: h},
		products.Rows[float64]{Data: turned, Count: h, Columns: h, Stride: h})
	return x
}

// predictions are those of a split's test stimuli, [q][test].
func (r *ridgeInverse) predictions(x *removed, split Split) [][]float64 {
	all := make([][]float64, r.q)
	for j := range all {
		all[j] = make([]float64, len(x.test))
		for i, place := range x.test {
			all[j][i] = r.targets[split.Test[i]][j] - x.errors[j*len(x.out)+place]
		}
	}
	return all
}

// foldErrors returns the mean squares of the errors at the folds' test stimuli, count folds for each
// split: [splits][q].
func (r *ridgeInverse) foldErrors(folds []fold, count int) [][]float64 {
	each := make([][]float64, len(folds))
	parallel.For(len(folds), 1, func(i int) {
		x := r.remove(folds[i])
		each[i] = make([]float64, r.q)
		for j := range r.q {
			for _, place := range x.test {
				e := x.errors[j*len(x.out)+place]
				each[i][j] += e * e / float64(len(x.test))
			}
		}
	})
	all := make([][]float64, len(r.splits))
	for s := range all {
		all[s] = make([]float64, r.q)
		for _, squares := range each[s*count:][:count] {
			for j, v := range squares {
				all[s][j] += v / float64(count)
			}
		}
	}
	return all
}

// room returns a buffer, of any content.
func (l *leaveOut) room(n int) *[]float64 {
	if buffer, _ := l.spare.Get().(*[]float64); buffer != nil && cap(*buffer) >= n {
		*buffer = (*buffer)[:n]
		return buffer
	}
	buffer := make([]float64, n)
	return &buffer
}

// columns copies columns of M into rows of them. M is symmetric, so rows are read, as many of their
// numbers at a time as stay in a cache while they are written.
func (r *ridgeInverse) columns(to []float64, out []int) {
	const some = 64
	h := len(out)
	for from := 0; from < r.n; from += some {
		end := min(from+some, r.n)
		for j, at := range out {
			for i, v := range r.m[at*r.n+from : at*r.n+end] {
				to[(from+i)*h+j] = v - r.less
			}
		}
	}
}

// leaveOneMore returns the mean squares of the errors at each other stimulus when it is left out too, [q].
func (r *ridgeInverse) leaveOneMore(x *removed) []float64 {
	n, h := r.n, len(x.out)
	columns, whitened := r.room(n*h), r.room(n*h) // M_S, M_S Wᵀ
	defer r.spare.Put(columns)
	defer r.spare.Put(whitened)
	clear(*whitened)
	r.columns(*columns, x.out)
	products.AddLower(*whitened, h, products.Rows[float64]{Data: *columns, Count: n, Columns: h, Stride: h},
		products.Rows[float64]{Data: x.whitening, Count: h, Columns: h, Stride: h})
	scales := make([]float64, n) // of the others' errors
	for i := range n {
		row := (*whitened)[i*h:][:h]
		scales[i] = 1 / (r.m[i*n+i] - r.less - dot(row, row))
	}
	for _, at := range x.out {
		scales[at] = 0
	}
	squares := make([]float64, r.q)
	const atOnce = 256 // neuroids
	for from := 0; from < r.q; from += atOnce {
		to := min(from+atOnce, r.q)
		taken, errors := slices.Clone(x.whitened[from*h:to*h]), r.room((to-from)*n)
		d := *errors
		copy(d, r.my[from*n:to*n])
		for i := range taken {
			taken[i] = -taken[i]
		}
		products.AddProduct(d, n, products.Rows[float64]{Data: taken, Count: to - from, Columns: h, Stride: h},
			products.Rows[float64]{Data: *whitened, Count: n, Columns: h, Stride: h})
		for j := range to - from {
			row := d[j*n:][:n]
			for i, scale := range scales {
				row[i] *= scale
			}
			squares[from+j] = dot(row, row) / float64(n-h)
		}
		r.spare.Put(errors)
	}
	return squares
}
