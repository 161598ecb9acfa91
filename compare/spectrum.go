package compare

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/tfconvrnn/go/internal/parallel"
	"github.com/tfconvrnn/go/internal/products"
)

// Linear is ordinary least squares with an intercept; of the many solutions with more
// features than stimuli it is the smallest, as scikit-learn's LinearRegression.
type Linear struct{}

// String names the mapping.
func (Linear) String() string { return "linear" }

func (Linear) check(*Gram, Targets) error { return nil }

func (Linear) predict(g *Gram, targets Targets, splits []Split) ([]*fitted, error) {
	var fits []*fitted
	for _, split := range splits {
		s, err := newSpectrum(g, targets, split)
		if err != nil {
			return nil, err
		}
		for k, v := range s.values {
			if v == 0 {
				s.values[k] = math.Inf(1) // its part of the prediction is 0
			}
		}
		fits = append(fits, &fitted{prediction: s.predict(make([]float64, s.q))})
	}
	return fits, nil
}

// predictions is coefficients [q, n] times K of the test stimuli [tests, n], and the
// means.
func predictions(k, coefficients, means []float64, tests, n int) [][]float64 {
	q := len(means)
	flat := make([]float64, q*tests)
	products.AddProduct(flat, tests, products.Rows[float64]{Data: coefficients, Count: q, Columns: n, Stride: n},
		products.Rows[float64]{Data: k, Count: tests, Columns: n, Stride: n})
	predicted := make([][]float64, q)
	for j := range predicted {
		predicted[j] = flat[j*tests:][:tests]
		for i := range predicted[j] {
			predicted[j][i] += means[j]
		}
	}
	return predicted
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
	products.AddProduct(s.test, s.n, products.Rows[float64]{Data: g.centred(split.Test, split.Train), Count: s.tests,
		Columns: s.n, Stride: s.n}, qt)
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
	products.AddProduct(d, s.n, products.Rows[float64]{Data: scaled, Count: s.q, Columns: s.n, Stride: s.n},
		products.Rows[float64]{Data: s.vectors, Count: s.n, Columns: s.n, Stride: s.n})
	errors := make([]float64, s.q)
	for j := range errors {
		for i, v := range d[j*s.n:][:s.n] {
			e := v / diagonal[i]
			errors[j] += e * e / float64(s.n)
		}
	}
	return errors
}
