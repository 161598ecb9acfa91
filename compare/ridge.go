package compare

import (
	"fmt"
	"math"
	"slices"

	"github.com/tfconvrnn/go/internal/parallel"
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

func (r Ridge) predict(g *Gram, targets Targets, splits []Split) ([]*fitted, error) {
	fits, err := r.fromInverses(g, targets, splits, largeRidge)
	if fits != nil || err != nil {
		return fits, err
	}
	for _, split := range splits {
		f, err := r.fromSpectrum(g, targets, split)
		if err != nil {
			return nil, err
		}
		fits = append(fits, f)
	}
	return fits, nil
}

// largeRidge is the number of stimuli from which on not all alphas are tried one by one.
const largeRidge = 1500

// fromInverses fits all splits by the inverses that they share. It returns nil where some alpha is too
// small for the features' rounding.
func (r Ridge) fromInverses(g *Gram, targets Targets, splits []Split, large int) ([]*fitted, error) {
	alphas := r.alphas()
	l := newLeaveOut(g, targets, splits)
	q, folds := len(targets[0]), []fold(nil)
	if len(alphas) > 1 && r.Folds > 0 {
		var err error
		if folds, err = l.folds(r.Folds); err != nil {
			return nil, err
		}
	}
	best := make([]choice, len(splits)*q)
	evaluate := func(a int) (losses []float64, ok bool) {
		inverse, ok := l.inverse(alphas[a])
		if !ok {
			return nil, false
		}
		squares, predicted := make([][]float64, len(splits)), make([][][]float64, len(splits))
		parallel.For(len(splits), 1, func(s int) {
			x := inverse.remove(l.out[s])
			predicted[s] = inverse.predictions(x, splits[s])
			if len(alphas) > 1 && r.Folds == 0 {
				squares[s] = inverse.leaveOneMore(x)
			}
		})
		if folds != nil {
			squares = inverse.foldErrors(folds, r.Folds)
		}
		for s := range splits {
			of := r.losses(squares[s], q, alphas[a])
			if r.PerNeuroid {
				losses = append(losses, of...)
			} else {
				losses = append(losses, of[0])
			}
			for j, loss := range of {
				best[s*q+j].offer(a, loss, predicted[s][j])
			}
		}
		return losses, true
	}
	if !searchAlphas(alphas, len(l.stimuli) >= large, evaluate) {
		return nil, nil
	}
	fits := make([]*fitted, len(splits))
	for s := range fits {
		fits[s] = &fitted{}
		for j, c := range best[s*q:][:q] {
			fits[s].prediction = append(fits[s].prediction, c.prediction)
			if j == 0 || r.PerNeuroid && len(alphas) > 1 {
				fits[s].alphas = append(fits[s].alphas, alphas[c.alpha])
			}
		}
	}
	return fits, nil
}

// losses are what the alphas are compared by, for each of q neuroids: the mean squares of its errors, or
// their mean. With folds, larger alphas are favoured by as little as himalaya does.
func (r Ridge) losses(squares []float64, q int, alpha float64) []float64 {
	if squares == nil { // there is one alpha
		return make([]float64, q)
	}
	losses := slices.Clone(squares)
	if !r.PerNeuroid {
		losses = slices.Repeat([]float64{meanOf(squares)}, q)
	}
	if r.Folds > 0 {
		for j := range losses {
			losses[j] -= 1e-10 * math.Log(alpha)
		}
	}
	return losses
}

// choice is the best alpha so far; of equally good ones it is the first.
type choice struct {
	alpha      int
	loss       float64
	prediction []float64
}

func (c *choice) offer(alpha int, loss float64, prediction []float64) {
	if c.prediction == nil || loss < c.loss || loss == c.loss && alpha < c.alpha || math.IsNaN(c.loss) &&
		!math.IsNaN(loss) {
		*c = choice{alpha, loss, prediction}
	}
}

// fromSpectrum fits one split by its eigenvalues, which holds for the smallest alphas too.
func (r Ridge) fromSpectrum(g *Gram, targets Targets, split Split) (*fitted, error) {
	alphas := r.alphas()
	whole, err := newSpectrum(g, targets, split)
	if err != nil {
		return nil, err
	}
	q := len(targets[0])
	squares := make([][]float64, len(alphas)) // [alphas][neuroids]
	switch {
	case len(alphas) == 1:
	case r.Folds > 0:
		if err := r.foldErrors(g, targets, split, squares); err != nil {
			return nil, err
		}
	default:
		for a, alpha := range alphas {
			squares[a] = whole.leaveOneOut(alpha)
		}
	}
	best := make([]choice, q)
	for a, alpha := range alphas {
		for j, loss := range r.losses(squares[a], q, alpha) {
			best[j].offer(a, loss, []float64{})
		}
	}
	f, chosen := &fitted{}, make([]float64, q)
	for j, c := range best {
		chosen[j] = alphas[c.alpha]
	}
	f.prediction = whole.predict(chosen)
	if f.alphas = chosen; !r.PerNeuroid || len(alphas) == 1 {
		f.alphas = chosen[:1]
	}
	return f, nil
}

// foldErrors are the mean squares of the errors of each alpha by the spectra of each fold.
func (r Ridge) foldErrors(g *Gram, targets Targets, split Split, squares [][]float64) error {
	folds, err := Splits{Count: r.Folds, Folds: true, InOrder: true}.Of(len(split.Train), nil)
	if err != nil {
		return err
	}
	q := len(targets[0])
	for a := range squares {
		squares[a] = make([]float64, q)
	}
	for _, fold := range folds {
		inner := Split{Train: pick(split.Train, fold.Train), Test: pick(split.Train, fold.Test)}
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
				squares[a][j] += sum / float64(len(p)) / float64(len(folds))
			}
		}
	}
	return nil
}
