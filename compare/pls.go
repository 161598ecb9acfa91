package compare

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/tfconvrnn/go/internal/parallel"
	"github.com/tfconvrnn/go/internal/products"
)

// PLS is partial least squares regression with so many components, as scikit-learn's
// PLSRegression(n_components, scale=False) computes it: NIPALS, of which an iteration
// here works on Gram matrices, with the same steps and so the same numbers of
// iterations. All neuroids are fitted together: the components depend on which there
// are.
type PLS struct {
	// Components is their number; 0 means 25.
	Components int
}

// The constants of scikit-learn.
const (
	plsIterations = 500
	plsTolerance  = 1e-6
	epsilon       = 2.220446049250313e-16
)

func (p PLS) components() int {
	if p.Components == 0 {
		return 25
	}
	return p.Components
}

// String names the mapping.
func (p PLS) String() string { return fmt.Sprintf("pls(%d)", p.components()) }

func (p PLS) check(g *Gram, _ Targets) error {
	if p.Components < 0 {
		return fmt.Errorf("%w: PLS with %d components", ErrData, p.Components)
	}
	if g.features < p.components() {
		return fmt.Errorf("%w: %d features are too few for PLS with %d components", ErrData, g.features, p.components())
	}
	return nil
}

// nipals is a fit in progress. Vectors over stimuli have a place for every stimulus,
// which is 0 for those that are not trained on; so the Gram matrix of all splits is one.
type nipals struct {
	g       *Gram
	train   []int
	n, q    int
	y, ky   []float64   // [q, n], of the targets as far as they are deflated: Yᵀ, (KY)ᵀ
	unit    [][]float64 // û of the components so far
	u       [][]float64
	started []float64 // y at the beginning
	least   float64   // ‖Xᵀu‖²/‖u‖², below which it is rounding
}

func (p PLS) predict(g *Gram, targets Targets, splits []Split) ([]*fitted, error) {
	fits := make([]*fitted, len(splits))
	g.matrix()
	parallel.For(len(splits), 1, func(i int) { fits[i] = p.fit(g, targets, splits[i]) })
	return fits, nil
}

func (p PLS) fit(g *Gram, targets Targets, split Split) *fitted {
	s := &nipals{g: g, train: split.Train, n: g.n, q: len(targets[0])}
	var means []float64
	s.y, means = targets.centred(split.Train, s.n, func(i int) int { return split.Train[i] })
	s.started = slices.Clone(s.y)
	s.ky = make([]float64, s.q*s.n)
	products.AddProduct(s.ky, s.n, s.rows(s.y), g.rows())
	for j := range s.q {
		s.centre(s.ky[j*s.n:][:s.n])
	}
	s.least = g.rounding(split.Train)
	f := &fitted{}
	for range p.components() {
		iterations, ok := s.component()
		if !ok {
			break
		}
		f.iterations = append(f.iterations, iterations)
	}
	f.prediction = s.prediction(means, split.Test)
	return f
}

func (s *nipals) rows(m []float64) products.Rows[float64] {
	return products.Rows[float64]{Data: m, Count: len(m) / s.n, Columns: s.n, Stride: s.n}
}

// centre makes v that of centred training features: K_c v = H K v for v of mean 0.
func (s *nipals) centre(v []float64) {
	sum := 0.0
	for _, i := range s.train {
		sum += v[i]
	}
	mean := sum / float64(len(s.train))
	at := 0
	sorted := s.sorted()
	for i := range v {
		if at < len(sorted) && sorted[at] == i {
			v[i] -= mean
			at++
		} else {
			v[i] = 0
		}
	}
}

func (s *nipals) sorted() []int {
	if !slices.IsSorted(s.train) {
		s.train = slices.Sorted(slices.Values(s.train))
	}
	return s.train
}

// start returns the first column of Y that is not 0, and sets those to 0 that nearly
// are.
func (s *nipals) start() int {
	first := -1
	for j := range s.q {
		column := s.y[j*s.n:][:s.n]
		largest := 0.0
		for _, v := range column {
			largest = max(largest, math.Abs(v))
		}
		if largest < 10*epsilon {
			clear(column)
			clear(s.ky[j*s.n:][:s.n])
			largest = 0
		}
		if first < 0 && largest > epsilon {
			first = j
		}
	}
	return first
}

// component finds one more component, and takes it off. It returns the number of
// iterations, or false where nothing is left to explain.
func (s *nipals) component() (iterations int, ok bool) {
	first := s.start()
	if first < 0 {
		return 0, false
	}
	m, norms := make([]float64, s.q*s.q), make([]float64, s.q*s.q) // YᵀKY, (KY)ᵀKY
	products.AddProduct(m, s.q, s.rows(s.y), s.rows(s.ky))
	products.AddGram(norms, s.rows(s.ky))
	products.Mirror(norms, s.q)
	b := make([]float64, s.q) // u = Y b
	b[first] = 1
	var before []float64 // M b / s of the iteration before
	var scale float64
	for iterations = 1; ; iterations++ {
		mb := timesSquare(m, b)
		scale = math.Sqrt(dot(b, mb)) // ‖Xᵀu‖
		if !(scale > 0) {
			return 0, false // u is of no feature
		}
		tt := dot(b, timesSquare(norms, b)) / (scale * scale)
		difference := math.Inf(1)
		if before != nil {
			difference = 2 - 2*dot(b, before)/scale
		}
		for j := range mb {
			mb[j] /= scale
		}
		before = mb
		if difference < plsTolerance || s.q == 1 || iterations == plsIterations {
			break
		}
		c := make([]float64, s.q)
		for j := range c {
			c[j] = mb[j] / tt
		}
		size := dot(c, c) + epsilon
		for j := range c {
			c[j] /= size
		}
		b = c
	}
	return iterations, s.deflate(b, scale)
}

// deflate takes the component of u = Yb off the targets and the features, or returns false where the features have no
// more dimensions: scikit-learn goes on then, with what rounding left of them.
func (s *nipals) deflate(b []float64, scale float64) bool {
	u, t := make([]float64, s.n), make([]float64, s.n)
	for j, weight := range b {
		if weight == 0 {
			continue
		}
		weight /= scale
		for i, v := range s.y[j*s.n:][:s.n] {
			u[i] += weight * v
		}
		for i, v := range s.ky[j*s.n:][:s.n] {
			t[i] += weight * v
		}
	}
	if dot(u, u)*s.least > 1 { // ‖Xᵀu‖ is 1
		return false
	}
	norm := math.Sqrt(dot(t, t))
	for i := range t {
		t[i] /= norm
	}
	kt := s.project(s.g.times(s.project(slices.Clone(t), false)), true)
	parallel.For(s.q, 8, func(j int) {
		y, ky := s.y[j*s.n:][:s.n], s.ky[j*s.n:][:s.n]
		explained := dot(t, y)
		for i := range y {
			y[i] -= explained * t[i]
			ky[i] -= explained * kt[i]
		}
		along := dot(t, ky)
		for i := range ky {
			ky[i] -= along * t[i]
		}
	})
	s.unit, s.u = append(s.unit, t), append(s.u, u)
	return true
}

// project takes the earlier components out of a vector, after centring it if need be.
func (s *nipals) project(v []float64, centre bool) []float64 {
	if centre {
		s.centre(v)
	}
	for _, unit := range s.unit {
		along := dot(unit, v)
		for i := range v {
			v[i] -= along * unit[i]
		}
	}
	return v
}

// prediction is K U (TᵀKU)⁻¹ TᵀY and the means, for the stimuli to test on.
func (s *nipals) prediction(means []float64, test []int) [][]float64 {
	predicted := make([][]float64, s.q)
	for j := range predicted {
		predicted[j] = slices.Repeat([]float64{means[j]}, len(test))
	}
	count := len(s.u)
	if count == 0 {
		return predicted
	}
	flatU, flatT := slices.Concat(s.u...), slices.Concat(s.unit...)
	ku := make([]float64, count*s.n)
	products.AddProduct(ku, s.n, s.rows(flatU), s.g.rows())
	for k := range count { // the features of all stimuli are centred by the training means
		row := ku[k*s.n:][:s.n]
		sum := 0.0
		for _, i := range s.train {
			sum += row[i]
		}
		for i := range row {
			row[i] -= sum / float64(len(s.train))
		}
	}
	inner, right := make([]float64, count*count), make([]float64, count*s.q)
	products.AddProduct(inner, count, s.rows(flatT), s.rows(ku))
	products.AddProduct(right, s.q, s.rows(flatT), s.rows(s.started))
	var weights mat.Dense
	// An ill-conditioned system is solved as well as it can be, as by scikit-learn's
	// pseudo-inverse.
	_ = weights.Solve(mat.NewDense(count, count, inner), mat.NewDense(count, s.q, right))
	for j := range predicted {
		for i, at := range test {
			for k := range count {
				predicted[j][i] += ku[k*s.n+at] * weights.At(k, j)
			}
		}
	}
	return predicted
}

func timesSquare(m, v []float64) []float64 {
	result := make([]float64, len(v))
	for i := range v {
		result[i] = dot(m[i*len(v):][:len(v)], v)
	}
	return result
}
