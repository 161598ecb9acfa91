package compare

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/tfconvrnn/go/internal/parallel"
)

// RDM is a representational dissimilarity matrix: the dissimilarities of all pairs of
// Stimuli stimuli, of the upper triangle row by row. Undefined ones are NaN.
type RDM struct {
	Stimuli int
	Values  []float64
}

// At returns the dissimilarity of two stimuli, 0 of one with itself.
func (r RDM) At(i, j int) float64 {
	switch {
	case i == j:
		return 0
	case i > j:
		i, j = j, i
	}
	return r.Values[i*(2*r.Stimuli-i-1)/2+j-i-1]
}

func newRDM(n int, of func(i, j int) float64) RDM {
	r := RDM{n, make([]float64, n*(n-1)/2)}
	parallel.For(n, 8, func(i int) {
		row := r.Values[i*(2*n-i-1)/2:]
		for j := i + 1; j < n; j++ {
			row[j-i-1] = of(i, j)
		}
	})
	return r
}

// CorrelationRDM has 1 − r, r the correlation of two stimuli's features over features.
// It is NaN where a stimulus has the same value of all features.
func CorrelationRDM(g *Gram) RDM {
	k, p := g.matrix(), float64(g.features)
	norms := make([]float64, g.n)
	for i := range norms {
		own := k[i*g.n+i]
		square := own - g.sums[i]*g.sums[i]/p
		// Of constant features rounding leaves a little.
		if norms[i] = math.Sqrt(square); !(square > own*1e-13) {
			norms[i] = math.NaN()
		}
	}
	return newRDM(g.n, func(i, j int) float64 {
		r := (k[i*g.n+j] - g.sums[i]*g.sums[j]/p) / (norms[i] * norms[j])
		return 1 - max(-1, min(1, r))
	})
}

// EuclideanRDM has ‖a − b‖²/C of C features: squared and per feature, as rsatoolbox.
func EuclideanRDM(g *Gram) RDM {
	k, p := g.matrix(), float64(g.features)
	return newRDM(g.n, func(i, j int) float64 { return max(0, k[i*g.n+i]+k[j*g.n+j]-2*k[i*g.n+j]) / p })
}

// PoissonRDM has (λ'_a − λ'_b)(ln λ'_a − ln λ'_b)/C, λ' = (λ + 0.1)/1.1, of rates, which
// must not be negative. The error wraps ErrData.
func PoissonRDM(rates Targets) (RDM, error) {
	if err := checkTargets(rates, len(rates)); err != nil {
		return RDM{}, err
	}
	prior, logarithm := make([][]float64, len(rates)), make([][]float64, len(rates))
	for i, row := range rates {
		for j, v := range row {
			if v < 0 {
				return RDM{}, fmt.Errorf("%w: the rate of neuroid %d for stimulus %d is %v", ErrData, j, i, v)
			}
			v = (v + 0.1) / 1.1
			prior[i], logarithm[i] = append(prior[i], v), append(logarithm[i], math.Log(v))
		}
	}
	return newRDM(len(rates), func(a, b int) float64 {
		sum := 0.0
		for c := range prior[a] {
			sum += (prior[a][c] - prior[b][c]) * (logarithm[a][c] - logarithm[b][c])
		}
		return sum / float64(len(prior[a]))
	}), nil
}

// MahalanobisRDM has (a−b)ᵀP(a−b)/C, P the inverse of the noise covariance, [C, C]. The
// error wraps ErrData.
func MahalanobisRDM(responses Targets, precision *mat.Dense) (RDM, error) {
	if err := checkPrecision(responses, precision); err != nil {
		return RDM{}, err
	}
	x := mat.NewDense(len(responses), len(responses[0]), nil)
	for i, row := range responses {
		x.SetRow(i, row)
	}
	return symmetricRDM(x, x, precision), nil
}

func checkPrecision(responses Targets, precision *mat.Dense) error {
	if err := checkTargets(responses, len(responses)); err != nil {
		return err
	}
	if r, c := precision.Dims(); r != len(responses[0]) || c != r {
		return fmt.Errorf("%w: a precision of %d×%d, and %d neuroids", ErrData, r, c, len(responses[0]))
	}
	return nil
}

// symmetricRDM is κ_aa + κ_bb − κ_ab − κ_ba over C, κ = A P Bᵀ.
func symmetricRDM(a, b, precision *mat.Dense) RDM {
	var ap, k mat.Dense
	ap.Mul(a, precision)
	k.Mul(&ap, b.T())
	n, c := a.Dims()
	return newRDM(n, func(i, j int) float64 {
		return (k.At(i, i) + k.At(j, j) - k.At(i, j) - k.At(j, i)) / float64(c)
	})
}

// CrossnobisRDM is the crossvalidated MahalanobisRDM: each repetition is compared with
// the mean of the others, and the mean is taken. It is unbiased, and may be negative. The
// error wraps ErrData.
func CrossnobisRDM(trials Trials, precision *mat.Dense) (RDM, error) {
	if err := trials.check(); err != nil {
		return RDM{}, err
	}
	count := len(trials[0])
	sum := RDM{len(trials), make([]float64, len(trials)*(len(trials)-1)/2)}
	for test := range count {
		var others []int
		for r := range count {
			if r != test {
				others = append(others, r)
			}
		}
		one, other := trials.average(others), trials.average([]int{test})
		if err := checkPrecision(one, precision); err != nil {
			return RDM{}, err
		}
		if err := checkPrecision(other, precision); err != nil {
			return RDM{}, err
		}
		a, b := mat.NewDense(len(one), len(one[0]), nil), mat.NewDense(len(one), len(one[0]), nil)
		for i := range one {
			a.SetRow(i, one[i])
			b.SetRow(i, other[i])
		}
		for i, v := range symmetricRDM(a, b, precision).Values {
			sum.Values[i] += v / float64(count)
		}
	}
	return sum, nil
}

// NoiseCovariance is the covariance of neuroids over repetitions, [C, C], shrunk towards its diagonal
// as rsatoolbox does (shrinkage_diag). Its degrees of freedom are rsatoolbox's too:
// (stimuli − 1)·repetitions. The error wraps ErrData.
func NoiseCovariance(trials Trials) (*mat.Dense, error) {
	if err := trials.check(); err != nil {
		return nil, err
	}
	mean := trials.Average()
	q := len(trials[0][0])
	count := len(trials) * len(trials[0])
	residuals := make([][]float64, 0, count)
	for i, stimulus := range trials {
		for _, row := range stimulus {
			residual := make([]float64, q)
			for j, v := range row {
				if math.IsNaN(v) {
					return nil, fmt.Errorf("%w: neuroid %d lacks a repetition of stimulus %d; a covariance needs all", ErrData, j, i)
				}
				residual[j] = v - mean[i][j]
			}
			residuals = append(residuals, residual)
		}
	}
	if err := checkTargets(residuals, count); err != nil {
		return nil, err
	}
	dof := float64((len(trials) - 1) * len(trials[0]))
	covariance, squares := mat.NewDense(q, q, nil), mat.NewDense(q, q, nil)
	for _, r := range residuals {
		for j := range q {
			for k := range q {
				p := r[j] * r[k]
				covariance.Set(j, k, covariance.At(j, k)+p)
				squares.Set(j, k, squares.At(j, k)+p*p)
			}
		}
	}
	deviations := make([]float64, q)
	covariance.Scale(1/dof, covariance)
	for j := range q {
		deviations[j] = math.Sqrt(covariance.At(j, j))
	}
	numerator, denominator := 0.0, 0.0
	for j := range q {
		for k := range q {
			if j != k {
				s := deviations[j] * deviations[k]
				a := covariance.At(j, k) * dof / s / float64(count-1)
				numerator += float64(count) / (dof * dof) * (squares.At(j, k)/(s*s)/float64(count-1) - a*a)
				denominator += a * a
			}
		}
	}
	shrinkage := max(0, min(1, numerator/denominator))
	for j := range q {
		for k := range q {
			if j != k {
				covariance.Set(j, k, covariance.At(j, k)*(1-shrinkage))
			}
		}
	}
	return covariance, nil
}

// Precision inverts a covariance. The error wraps ErrData where it is singular.
func Precision(covariance *mat.Dense) (*mat.Dense, error) {
	var inverse mat.Dense
	if err := inverse.Inverse(covariance); err != nil {
		return nil, fmt.Errorf("%w: the noise covariance: %w", ErrData, err)
	}
	return &inverse, nil
}
