package compare

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// inFeatureOrder puts the stimuli into the order of the features.
func (c *fitting) inFeatureOrder() {
	order := upTo(len(c.at))
	slices.SortFunc(order, func(i, j int) int { return c.at[i] - c.at[j] })
	c.at, c.k.stimuli = pick(c.at, order), pick(c.k.stimuli, order)
}

// ceilPredictors computes the PredictorConsistency of each bin.
func (c *fitting) ceilPredictors(ctx context.Context) error {
	ids := pick(c.k.Stimuli(), c.k.stimuli)
	order := upTo(len(ids))
	inOrderOfIDs := textOrder(c.k.numbered(""))
	slices.SortFunc(order, func(i, j int) int { return inOrderOfIDs(ids[i], ids[j]) })
	for bin := range c.k.bins() {
		if err := ctx.Err(); err != nil {
			return err
		}
		trials, err := c.k.trials(bin)
		if err != nil {
			return err
		}
		c.ceilings = append(c.ceilings, nil)
		if len(trials) == 0 || len(trials[0]) < 2 {
			c.noteOnce(notRepeated)
			continue
		}
		trials, repetitions := firstOnes(pick(trials, order))
		if c.ceilings[bin], err = PredictorConsistency(trials, repetitions); err != nil {
			return err
		}
	}
	return nil
}

// firstOnes moves the repetitions that a stimulus has to the front, and counts them.
func firstOnes(trials Trials) (moved Trials, repetitions []int) {
	for _, stimulus := range trials {
		var there, missing [][]float64
		for _, row := range stimulus {
			if slices.ContainsFunc(row, func(v float64) bool { return !math.IsNaN(v) }) {
				there = append(there, row)
			} else {
				missing = append(missing, row)
			}
		}
		moved, repetitions = append(moved, append(there, missing...)), append(repetitions, len(there))
	}
	return moved, repetitions
}

// mostReversed bounds the features that PLS predicts at once, whose products with each other it needs.
const mostReversed = 6000

// reverse predicts the features of a window from the responses in a bin.
func (c *fitting) reverse(layer int, p pair, features []float32) (*TimeScore, error) {
	about := c.f.Layers()[layer]
	s := c.empty(about.Name, p)
	s.NeuroidIDs = nil // the targets are features
	if c.ceilings[p.bin] != nil {
		s.Ceiling.Center, s.Ceiling.Error = c.ceilings[p.bin].Center, c.ceilings[p.bin].Error
	}
	if s.Reason != "" {
		return s, nil
	}
	if _, isPLS := c.o.Mapping.(PLS); isPLS && about.Size > mostReversed {
		return nil, fmt.Errorf(
			"%w: PLS predicts at most %d features at once, and there are %d; take ridge, or reduce the features", ErrData,
			mostReversed, about.Size)
	}
	average, err := c.k.average(p.bin)
	if err != nil {
		return nil, err
	}
	g, err := GramOfTargets(average)
	if err != nil {
		return nil, err
	}
	if !vary(features, len(c.at)) {
		s.Reason = notDriven
		return s, nil
	}
	if pls, isPLS := c.o.Mapping.(PLS); isPLS && len(average[0]) < pls.components() {
		return nil, fmt.Errorf("%w: in reverse, PLS of %d components needs as many neuroids, not %d; take fewer, or ridge",
			ErrData, pls.components(), len(average[0]))
	}
	targets := make(Targets, len(c.at))
	for i := range targets {
		for _, v := range features[i*about.Size:][:about.Size] {
			targets[i] = append(targets[i], float64(v))
		}
	}
	fit, err := FitTargets(g, targets, c.splits, c.o.Mapping)
	if errors.Is(err, ErrConstant) {
		s.Reason = "the responses are the same to all stimuli"
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	s.Score, s.Alphas = fit.Score, fit.Alphas
	s.NeuroidIDs = make([]string, about.Size)
	for j := range s.NeuroidIDs {
		if s.NeuroidIDs[j] = about.Name + "." + strconv.Itoa(j); nowhere(fit.Raw, j) {
			s.Undefined = append(s.Undefined, s.NeuroidIDs[j])
		}
	}
	if len(c.o.Bootstrap) > 0 {
		if s.Score.Error, err = c.bootstrap(fit.Raw, fit, targets); err != nil {
			return nil, err
		}
	}
	if c.ceilings[p.bin] != nil {
		s.Ceiled = c.o.Normalisation.Apply(s.Score.Center, s.Ceiling.Center)
	}
	return s, nil
}
