package compare

import (
	"fmt"
	"math"
	"slices"

	"github.com/tfconvrnn/go/internal/numpyrandom"
)

// NoiseCorrection has the parts of a noise-corrected correlation of one halving of the
// repetitions and one split, for each neuroid:
//
//	Corrected = R/√(PredictionReliability · ResponseReliability)
//
// as the authors of the ConvRNNs compute it. Reliabilities are correlations between
// the halves, corrected by 2r/(1+r). A negative product gives NaN.
type NoiseCorrection struct {
	R, PredictionReliability, ResponseReliability, Corrected []float64
}

// NoiseCorrected fits a mapping to the average over all repetitions and to those over
// two halves of them, and corrects the correlation of the first for how reliable both
// the responses and the predictions are. For an odd number of repetitions the second
// half has one more. The error wraps ErrData.
func NoiseCorrected(g *Gram, trials Trials, split Split, mapping Mapping, halving Split) (*NoiseCorrection, error) {
	if err := trials.check(); err != nil {
		return nil, err
	}
	whole, splits := trials.Average(), []Split{split}
	r, err := predictedCorrelations(g, whole, splits, mapping)
	if err != nil {
		return nil, err
	}
	corrections, err := reliabilities(g, [2]Targets{trials.average(halving.Train), trials.average(halving.Test)}, splits,
		mapping, r)
	if err != nil {
		return nil, err
	}
	return corrections[0], nil
}

// predicted returns predictions [splits][neuroids][test stimuli].
func predicted(g *Gram, targets Targets, splits []Split, mapping Mapping) (predictions [][][]float64, err error) {
	if err := checkTargets(targets, g.n); err != nil {
		return nil, err
	}
	if err := mapping.check(g, targets); err != nil {
		return nil, err
	}
	fits, err := mapping.predict(g, targets, splits)
	for _, f := range fits {
		predictions = append(predictions, f.prediction)
	}
	return predictions, err
}

// predictedCorrelations returns those of predictions and responses, [splits][neuroids].
func predictedCorrelations(g *Gram, targets Targets, splits []Split, mapping Mapping) (r [][]float64, err error) {
	predictions, err := predicted(g, targets, splits, mapping)
	for k, p := range predictions {
		r = append(r, correlations(p, targets, splits[k].Test))
	}
	return r, err
}

// reliabilities corrects the correlations r [splits][neuroids] by those of two halves.
func reliabilities(g *Gram, halves [2]Targets, splits []Split, mapping Mapping, r [][]float64) ([]*NoiseCorrection,
	error) {
	var predictions [2][][][]float64
	for i, half := range halves {
		var err error
		if predictions[i], err = predicted(g, half, splits, mapping); err != nil {
			return nil, err
		}
	}
	corrections := make([]*NoiseCorrection, len(splits))
	for k, split := range splits {
		c := &NoiseCorrection{R: r[k]}
		for j := range r[k] {
			x := SpearmanBrown(Pearson(predictions[0][k][j], predictions[1][k][j]))
			y := SpearmanBrown(Pearson(halves[0].column(j, split.Test), halves[1].column(j, split.Test)))
			c.PredictionReliability, c.ResponseReliability = append(c.PredictionReliability, x), append(c.ResponseReliability, y)
			c.Corrected = append(c.Corrected, r[k][j]/math.Sqrt(x*y))
		}
		corrections[k] = c
	}
	return corrections, nil
}

// HalveRepetitions shuffles repetitions (RandomState(seed)) and halves them; an odd one
// goes to the second half.
func HalveRepetitions(repetitions int, seed uint32) Split {
	p := numpyrandom.NewState(seed).Permutation(repetitions)
	return Split{Train: p[:repetitions/2], Test: p[repetitions/2:]}
}

// firstHalving is the seed of the first halving, as of brainmodel_utils.
const firstHalving = 1234

// correct computes the noise-corrected score: the median over neuroids of the mean over halvings and
// splits. The ceiling of a split and neuroid is the mean over halvings of √(ρ_xx ρ_yy).
func (c *fitting) correct(s *TimeScore, g *Gram, p pair, whole Targets) error {
	trials, err := c.k.trials(p.bin)
	if err != nil {
		return err
	}
	s.Ceiling, s.Ceiled = Score{Center: math.NaN(), Error: math.NaN()}, math.NaN()
	if len(trials) == 0 || len(trials[0]) < 2 {
		return nil
	}
	halvings := c.o.Halvings
	if halvings == 0 {
		halvings = 10
	}
	q := len(whole[0])
	r, err := predictedCorrelations(g, whole, c.splits, c.o.Mapping)
	if err != nil {
		return err
	}
	each := make([][][]float64, len(c.splits)) // √(ρ_xx ρ_yy), [splits][neuroids][halvings]
	for k := range each {
		each[k] = make([][]float64, q)
	}
	values, undefined := make([][]float64, q), 0 // of all halvings and splits
	for h := range halvings {
		half := HalveRepetitions(len(trials[0]), uint32(firstHalving+h))
		halves := [2]Targets{trials.average(half.Train), trials.average(half.Test)}
		if err := c.whole(halves); err != nil {
			return err
		}
		corrections, err := reliabilities(g, halves, c.splits, c.o.Mapping, r)
		if err != nil {
			return fmt.Errorf("half of the repetitions: %w", err)
		}
		for k, n := range corrections {
			for j, v := range n.Corrected {
				each[k][j] = append(each[k][j], math.Sqrt(n.PredictionReliability[j]*n.ResponseReliability[j]))
				if math.IsNaN(v) {
					undefined++
				}
				if c.o.Normalisation == CorrectedSquared {
					v *= v
				}
				values[j] = append(values[j], v)
			}
		}
	}
	ceilings := make([][]float64, len(c.splits))
	for k := range each {
		for _, list := range each[k] {
			ceilings[k] = append(ceilings[k], nanMean(list))
		}
	}
	if undefined > 0 {
		c.k.notes = append(c.k.notes,
			fmt.Sprintf("layer %s at %v ms: %d of %d corrections are undefined, since a reliability is negative or a prediction constant; they are left out",
				s.Layer, s.Bin, undefined, q*halvings*len(c.splits)))
	}
	var means []float64
	for _, list := range values {
		means = append(means, nanMean(list))
	}
	s.Ceiling, s.Ceiled = aggregate(inOrder(ceilings, c.order)), nanMedian(means)
	return nil
}

// whole refuses halves of the repetitions in one of which a neuroid has no response to a stimulus.
func (c *fitting) whole(halves [2]Targets) error {
	for _, half := range halves {
		for i, row := range half {
			if j := slices.IndexFunc(row, math.IsNaN); j >= 0 {
				return fmt.Errorf("%w: neuroid %s lacks stimulus %s in a half of the repetitions, which corrections need", ErrData,
					c.k.Neuroids()[c.k.neuroids[j]], c.k.Stimuli()[c.k.stimuli[i]])
			}
		}
	}
	return nil
}
