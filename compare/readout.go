package compare

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize"
)

// Readout is a multinomial logistic regression on z-scored features, Brain-Score's
// decoder of objects:
//
//	min ½‖W‖² + C Σ cross-entropy, the intercept free
//
// to its optimum. It is immutable.
type Readout struct {
	// Objects are the classes, in the order of their first appearance.
	Objects    []string
	mean, sd   []float64
	weights    []float64 // [features+1, objects]; the last row is the intercept
	Iterations int
}

// ReadoutC is Brain-Score's C.
const ReadoutC = 1e-3

// FitReadout fits a readout of features [images][features]. The error wraps ErrData.
func FitReadout(features [][]float64, labels []string, c float64) (*Readout, error) {
	if err := checkTargets(features, len(labels)); err != nil {
		return nil, err
	}
	r := &Readout{Objects: firstAppearances(labels)}
	if len(r.Objects) < 2 || !(c > 0) {
		return nil, fmt.Errorf("%w: a readout of %d objects with C = %v", ErrData, len(r.Objects), c)
	}
	r.mean, r.sd = standard(features)
	x := r.scaled(features)
	n, p := x.Dims()
	k := len(r.Objects)
	own := make([]int, n)
	for i, label := range labels {
		own[i] = slices.Index(r.Objects, label)
	}
	problem := optimize.Problem{
		Func: func(w []float64) float64 {
			loss, _ := logisticLoss(x, own, w, k, c, nil)
			return loss
		},
		Grad: func(gradient, w []float64) { logisticLoss(x, own, w, k, c, gradient) },
	}
	result, err := optimize.Minimize(problem, make([]float64, p*k), &optimize.Settings{GradientThreshold: 1e-9,
		MajorIterations: 2000}, &optimize.LBFGS{Store: 30})
	if result == nil {
		return nil, fmt.Errorf("%w: %w", ErrData, err)
	}
	// Near the optimum a step may not improve what rounding leaves of the loss: then it is
	// reached.
	gradient := make([]float64, p*k)
	logisticLoss(x, own, result.X, k, c, gradient)
	if largest := slices.Max(absolute(gradient)); largest > 1e-5 {
		return nil, fmt.Errorf("%w: the readout did not converge: a gradient of %.3g is left", ErrData, largest)
	}
	r.weights, r.Iterations = result.X, result.MajorIterations
	return r, nil
}

func absolute(v []float64) []float64 {
	a := make([]float64, len(v))
	for i, x := range v {
		a[i] = math.Abs(x)
	}
	return a
}

func firstAppearances(labels []string) []string {
	var objects []string
	for _, label := range labels {
		if !slices.Contains(objects, label) {
			objects = append(objects, label)
		}
	}
	return objects
}

// standard returns means and standard deviations, of which 0 becomes 1.
func standard(features [][]float64) (mean, sd []float64) {
	for f := range features[0] {
		column := Targets(features).column(f, upTo(len(features)))
		s := deviation(column, 0)
		if s == 0 {
			s = 1
		}
		mean, sd = append(mean, meanOf(column)), append(sd, s)
	}
	return mean, sd
}

// scaled returns z-scored features with a column of ones.
func (r *Readout) scaled(features [][]float64) *mat.Dense {
	x := mat.NewDense(len(features), len(r.mean)+1, nil)
	for i, row := range features {
		for f, v := range row {
			x.Set(i, f, (v-r.mean[f])/r.sd[f])
		}
		x.Set(i, len(row), 1)
	}
	return x
}

// logisticLoss returns the loss, and fills its gradient if that is not nil.
func logisticLoss(x *mat.Dense, own []int, w []float64, k int, c float64, gradient []float64) (float64, *mat.Dense) {
	n, p := x.Dims()
	logits := mat.NewDense(n, k, nil)
	logits.Mul(x, mat.NewDense(p, k, w))
	loss := 0.0
	for i := range n {
		row := logits.RawRowView(i)
		of := row[own[i]]
		largest := slices.Max(row)
		loss += c * (softmax(row) + largest - of)
		row[own[i]]--
	}
	free := (p - 1) * k // the intercept is not penalised
	loss += dot(w[:free], w[:free]) / 2
	if gradient != nil {
		g := mat.NewDense(p, k, gradient)
		g.Mul(x.T(), logits)
		g.Scale(c, g)
		for i := range free {
			gradient[i] += w[i]
		}
	}
	return loss, logits
}

// softmax replaces logits by probabilities, and returns ln Σ exp(logit − largest).
func softmax(row []float64) float64 {
	largest, sum := slices.Max(row), 0.0
	for i, v := range row {
		row[i] = math.Exp(v - largest)
		sum += row[i]
	}
	for i := range row {
		row[i] /= sum
	}
	return math.Log(sum)
}

// Probabilities returns those of the objects for each image, [images][objects]. The
// error wraps ErrData.
func (r *Readout) Probabilities(features [][]float64) ([][]float64, error) {
	if err := checkTargets(features, len(features)); err != nil {
		return nil, err
	}
	if len(features[0]) != len(r.mean) {
		return nil, fmt.Errorf("%w: %d features, and the readout is of %d", ErrData, len(features[0]), len(r.mean))
	}
	var logits mat.Dense
	logits.Mul(r.scaled(features), mat.NewDense(len(r.mean)+1, len(r.Objects), r.weights))
	probabilities := make([][]float64, len(features))
	for i := range probabilities {
		probabilities[i] = mat.Row(nil, i, &logits)
		softmax(probabilities[i])
	}
	return probabilities, nil
}
