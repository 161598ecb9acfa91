package compare

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/tfconvrnn/go/internal/parallel"
	"github.com/tfconvrnn/go/internal/products"
)

// Ridge is ridge regression with a free intercept:
//
//	min ‖Y − XB − 1bᵀ‖² + α‖B‖²
//
// With one alpha it is scikit-learn's Ridge. Of several, one is chosen by leaving out
// each training stimulus once (RidgeCV), or by Folds (himalaya's RidgeCV).
type Ridge struct {
	// Alphas are α, or those to choose from, in order: of equally good ones the first is
	// taken. None means 1.
	Alphas []float64
	// PerNeuroid chooses α for each neuroid by itself.
	PerNeuroid bool
	// Folds, if not 0, is the number of consecutive parts of the training stimuli which
	// are left out in turn, instead of single stimuli.
	Folds int
}

// BrainScoreAlphas are the 99 alphas from which Brain-Score chooses.
func BrainScoreAlphas() []float64 {
	alphas := []float64{0.01, 0.1, 0.5, 1}
	for i := range 4 {
		alphas = append(alphas, 10+22.5*float64(i))
	}
	for _, low := range []float64{1e2, 1e3, 1e4, 1e5} {
		for i := range 18 {
			alphas = append(alphas, low+low/2*float64(i))
		}
	}
	for i := range 19 {
		alphas = append(alphas, 1e6+5e5*float64(i))
	}
	return alphas
}

func (r Ridge) alphas() []float64 {
	if len(r.Alphas) == 0 {
		return []float64{1}
	}
	return r.Alphas
}

// String names the mapping.
func (r Ridge) String() string {
	alphas := r.alphas()
	name := fmt.Sprintf("ridge(alpha=%g)", alphas[0])
	if len(alphas) > 1 {
		name = fmt.Sprintf("ridge(%d alphas from %g to %g", len(alphas), alphas[0], alphas[len(alphas)-1])
		if name += ", leave-one-out"; r.Folds > 0 {
			name = fmt.Sprintf("%s, %d folds", name[:len(name)-len(", leave-one-out")], r.Folds)
		}
		if r.PerNeuroid {
			name += ", for each neuroid"
		}
		name += ")"
	}
	return name
}

func (r Ridge) check(*Gram, Targets) error {
	for _, alpha := range r.alphas() {
		if !(alpha > 0) || math.IsInf(alpha, 0) {
			return fmt.Errorf("%w: alpha %v", ErrData, alpha)
		}
	}
	if r.Folds == 1 || r.Folds < 0 {
		return fmt.Errorf("%w: %d folds", ErrData, r.Folds)
	}
	return nil
}

func (r Ridge) predict(g *Gram, targets Targets, split Split) (*fitted, error) {
	alphas := r.alphas()
	if len(alphas) == 1 {
		p, err := solveRidge(g, targets, split, alphas[0])
		return &fitted{prediction: p, alphas: alphas}, err
	}
	whole, err := newSpectrum(g, targets, split)
	if err != nil {
		return nil, err
	}
	errors := make([][]float64, len(alphas)) // mean squares, [alphas][neuroids]
	if r.Folds == 0 {
		for a, alpha := range alphas {
			errors[a] = whole.leaveOneOut(alpha)
		}
	} else if err := r.foldErrors(g, targets, split, errors); err != nil {
		return nil, err
	}
	f := &fitted{}
	q := len(targets[0])
	if r.PerNeuroid {
		chosen := make([]int, q)
		for j := range q {
			scores := make([]float64, len(alphas))
			for a := range alphas {
				scores[a] = -errors[a][j]
			}
			chosen[j] = r.best(scores)
			f.alphas = append(f.alphas, alphas[chosen[j]])
		}
		f.prediction = whole.predict(f.alphas)
		return f, nil
	}
	scores := make([]float64, len(alphas))
	for a := range alphas {
		scores[a] = -meanOf(errors[a])
	}
	f.alphas = []float64{alphas[r.best(scores)]}
	f.prediction = whole.predict(slices.Repeat(f.alphas, q))
	return f, nil
}

// best returns the index of the best score, of equal ones the first; with folds, larger
// alphas are favoured by as little as himalaya does.
func (r Ridge) best(scores []float64) int {
	best := 0
	for a := range scores {
		if r.Folds > 0 {
			scores[a] += 1e-10 * math.Log(r.alphas()[a])
		}
		if scores[a] > scores[best] || math.IsNaN(scores[best]) {
			best = a
		}
	}
	return best
}

func (r Ridge) foldErrors(g *Gram, targets Targets, split Split, errors [][]float64) error {
	folds, err := Splits{Count: r.Folds, Folds: true, InOrder: true}.Of(len(split.Train), nil)
	if err != nil {
		return err
	}
	q := len(targets[0])
	pick := func(at []int) []int {
		list := make([]int, len(at))
		for i, j := range at {
			list[i] = split.Train[j]
		}
		return list
	}
	for a := range errors {
		errors[a] = make([]float64, q)
	}
	for _, fold := range folds {
		inner := Split{Train: pick(fold.Train), Test: pick(fold.Test)}
		s, err := newSpectrum(g, targets, inner)
		if err != nil {
			return err
		}
		for a, alpha := range r.alphas() {
			for j, p := range s.predict(slices.Repeat([]float64{alpha}, q)) {
				sum := 0.0
				for i, v := range p {
					d := v - targets[inner.Test[i]][j]
					sum += d * d
				}
				errors[a][j] += sum / float64(len(p)) / float64(len(folds))
			}
		}
	}
	return nil
}

// solveRidge is K_test (K + αI)⁻¹ (Y − ȳ) + ȳ.
func solveRidge(g *Gram, targets Targets, split Split, alpha float64) ([][]float64, error) {
	n, q := len(split.Train), len(targets[0])
	k := g.centred(split.Train, split.Train)
	for i := range n {
		k[i*n+i] += alpha
	}
	y, means := targets.centred(split.Train, n, func(i int) int { return i })
	var factor mat.Cholesky
	if !factor.Factorize(mat.NewSymDense(n, k)) {
		return nil, fmt.Errorf("%w: alpha %g is too small for these features", ErrData, alpha)
	}
	var solved mat.Dense
	if err := factor.SolveTo(&solved, mat.NewDense(q, n, y).T()); err != nil {
		if _, ill := err.(mat.Condition); !ill {
			return nil, err
		}
	}
	coefficients := make([]float64, q*n)
	for j := range q {
		for i := range n {
			coefficients[j*n+i] = solved.At(i, j)
		}
	}
	return predictions(g.centred(split.Test, split.Train), coefficients, means, len(split.Test), n), nil
}

// predictions is coefficients [q, n] times K of the test stimuli [tests, n], and the
// means.
func predictions(k, coefficients, means []float64, tests, n int) [][]float64 {
	q := len(means)
	flat := make([]float64, q*tests)
	products.AddProduct(flat, tests, products.Rows[float64]{Data: coefficients, Count: q, Columns: n, Stride: n}, products.Rows[float64]{Data: k, Count: tests, Columns: n, Stride: n})
	predicted := make([][]float64, q)
	for j := range predicted {
		predicted[j] = flat[j*tests:][:tests]
		for i := range predicted[j] {
			predicted[j][i] += means[j]
		}
	}
	return predicted
}

// Linear is ordinary least squares with an intercept; of the many solutions with more
// features than stimuli it is the smallest, as scikit-learn's LinearRegression.
type Linear struct{}

// String names the mapping.
func (Linear) String() string { return "linear" }

func (Linear) check(*Gram, Targets) error { return nil }

func (Linear) predict(g *Gram, targets Targets, split Split) (*fitted, error) {
	s, err := newSpectrum(g, targets, split)
	if err != nil {
		return nil, err
	}
	for k, v := range s.values {
		if v == 0 {
			s.values[k] = math.Inf(1) // its part of the prediction is 0
		}
	}
	return &fitted{prediction: s.predict(make([]float64, s.q))}, nil
}

// spectrum is K = QΛQᵀ of centred training features, with which any α is cheap.
type spectrum struct {
	n, q, tests int
	values      []float64 // Λ
	vectors     []float64 // Q, [n, n]
	rotated     []float64 // YᵀQ, [q, n]
	y, means    []float64 // Yᵀ, centred
	test        []float64 // K of the test stimuli, centred, times Q: [tests, n]
}

func newSpectrum(g *Gram, targets Targets, split Split) (*spectrum, error) {
	s := &spectrum{n: len(split.Train), q: len(targets[0]), tests: len(split.Test)}
	var eigen mat.EigenSym
	if !eigen.Factorize(mat.NewSymDense(s.n, g.centred(split.Train, split.Train)), true) {
		return nil, fmt.Errorf("%w: no eigenvalues of the features were found", ErrData)
	}
	s.values = eigen.Values(nil)
	for i, v := range s.values {
		if v < 1e-12*s.values[s.n-1] {
			s.values[i] = 0
		}
	}
	var vectors mat.Dense
	eigen.VectorsTo(&vectors)
	s.vectors = vectors.RawMatrix().Data
	transposed := mat.DenseCopyOf(vectors.T()).RawMatrix().Data
	qt := products.Rows[float64]{Data: transposed, Count: s.n, Columns: s.n, Stride: s.n}
	s.y, s.means = targets.centred(split.Train, s.n, func(i int) int { return i })
	s.rotated = make([]float64, s.q*s.n)
	products.AddProduct(s.rotated, s.n, products.Rows[float64]{Data: s.y, Count: s.q, Columns: s.n, Stride: s.n}, qt)
	s.test = make([]float64, s.tests*s.n)
	products.AddProduct(s.test, s.n, products.Rows[float64]{Data: g.centred(split.Test, split.Train), Count: s.tests, Columns: s.n, Stride: s.n}, qt)
	return s, nil
}

// predict uses one α for each neuroid.
func (s *spectrum) predict(alphas []float64) [][]float64 {
	scaled := make([]float64, s.q*s.n)
	for j, alpha := range alphas {
		for k, v := range s.rotated[j*s.n:][:s.n] {
			scaled[j*s.n+k] = v / (s.values[k] + alpha)
		}
	}
	return predictions(s.test, scaled, s.means, s.tests, s.n)
}

// leaveOneOut returns the mean square of the errors that each training stimulus's
// responses are predicted with when it is left out, for each neuroid:
//
//	e = D/g, D = Q(Λ+α)⁻¹Qᵀ(Y−ȳ), g_i = Σ_k Q_ik²/(λ_k+α) − 1/(nα)
//
// The second term of g is there because the intercept is free.
func (s *spectrum) leaveOneOut(alpha float64) []float64 {
	inverse := make([]float64, s.n)
	for k, v := range s.values {
		inverse[k] = 1 / (v + alpha)
	}
	diagonal := make([]float64, s.n)
	parallel.For(s.n, 16, func(i int) {
		sum := 0.0
		for k, v := range s.vectors[i*s.n:][:s.n] {
			sum += v * v * inverse[k]
		}
		diagonal[i] = sum - 1/(float64(s.n)*alpha)
	})
	scaled := make([]float64, s.q*s.n)
	for j := range s.q {
		for k, v := range s.rotated[j*s.n:][:s.n] {
			scaled[j*s.n+k] = v * inverse[k]
		}
	}
	d := make([]float64, s.q*s.n)
	products.AddProduct(d, s.n, products.Rows[float64]{Data: scaled, Count: s.q, Columns: s.n, Stride: s.n}, products.Rows[float64]{Data: s.vectors, Count: s.n, Columns: s.n, Stride: s.n})
	errors := make([]float64, s.q)
	for j := range errors {
		for i, v := range d[j*s.n:][:s.n] {
			e := v / diagonal[i]
			errors[j] += e * e / float64(s.n)
		}
	}
	return errors
}
