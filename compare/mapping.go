package compare

import (
	"fmt"
	"math"

	"github.com/tfconvrnn/go/internal/parallel"
)

// Targets are responses [stimuli][neuroids], or whatever else is predicted.
type Targets [][]float64

// Mapping predicts the responses to some stimuli from the features of these and from
// features of and responses to others. Mappings are immutable.
type Mapping interface {
	// predict fits on the training stimuli of each split, and predicts the others.
	predict(g *Gram, targets Targets, splits []Split) ([]*fitted, error)
	// check refuses features or targets that the mapping is not for.
	check(g *Gram, targets Targets) error
	// String names the mapping as results do.
	String() string
}

// fitted is what one split comes to.
type fitted struct {
	prediction [][]float64 // [neuroids][test stimuli]
	iterations []int       // of each component of PLS
	alphas     []float64   // one, or one for each neuroid
}

// Fit says how well features predict responses.
type Fit struct {
	// Score holds the correlations of predicted and measured responses.
	Score
	// Alphas are the ridge parameters, [splits], one for all neuroids or one for each.
	Alphas [][]float64
	// Iterations are those of each component of PLS, [splits].
	Iterations [][]int

	predictions [][][]float64 // [splits][neuroids][test stimuli], if they are kept
}

// FitTargets fits a mapping on the training stimuli of each split, and correlates
// its predictions of the others with what was measured, for each neuroid. Errors wrap
// ErrConstant or ErrData.
func FitTargets(g *Gram, targets Targets, splits []Split, mapping Mapping) (*Fit, error) {
	return fitTargets(g, targets, splits, mapping, false)
}

func fitTargets(g *Gram, targets Targets, splits []Split, mapping Mapping, keep bool) (*Fit, error) {
	if err := checkTargets(targets, g.n); err != nil {
		return nil, err
	}
	if g.Constant() {
		return nil, fmt.Errorf("%w: %d features of %d stimuli", ErrConstant, g.features, g.n)
	}
	if err := mapping.check(g, targets); err != nil {
		return nil, err
	}
	fit := &Fit{}
	var raw [][]float64
	fits, err := mapping.predict(g, targets, splits)
	if err != nil {
		return nil, err
	}
	for i, f := range fits {
		raw = append(raw, correlations(f.prediction, targets, splits[i].Test))
		if keep {
			fit.predictions = append(fit.predictions, f.prediction)
		}
		if f.alphas != nil {
			fit.Alphas = append(fit.Alphas, f.alphas)
		}
		if f.iterations != nil {
			fit.Iterations = append(fit.Iterations, f.iterations)
		}
	}
	fit.Score = aggregate(raw)
	return fit, nil
}

// correlations returns Pearson's r for each neuroid.
func correlations(prediction [][]float64, targets Targets, test []int) []float64 {
	r := make([]float64, len(prediction))
	parallel.For(len(prediction), 1, func(j int) { r[j] = Pearson(prediction[j], targets.column(j, test)) })
	return r
}

func checkTargets(targets Targets, n int) error {
	if len(targets) != n || n == 0 || len(targets[0]) == 0 {
		return fmt.Errorf("%w: responses to %d stimuli, and features of %d", ErrData, len(targets), n)
	}
	for i, row := range targets {
		if len(row) != len(targets[0]) {
			return fmt.Errorf("%w: %d neuroids for stimulus %d, %d for the first", ErrData, len(row), i, len(targets[0]))
		}
		for j, v := range row {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return fmt.Errorf("%w: the response of neuroid %d to stimulus %d is %v", ErrData, j, i, v)
			}
		}
	}
	return nil
}

// column returns what a neuroid has for some stimuli.
func (t Targets) column(neuroid int, stimuli []int) []float64 {
	c := make([]float64, len(stimuli))
	for i, at := range stimuli {
		c[i] = t[at][neuroid]
	}
	return c
}

// centred returns responses to the training stimuli, [neuroids][length], less their
// means: of stimulus train[i] at place(i), and zeros elsewhere.
func (t Targets) centred(train []int, length int, place func(i int) int) (y []float64, means []float64) {
	q := len(t[0])
	y, means = make([]float64, q*length), make([]float64, q)
	for j := range q {
		c := t.column(j, train)
		means[j] = meanOf(c)
		for i, v := range c {
			y[j*length+place(i)] = v - means[j]
		}
	}
	return y, means
}
