package compare

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// fit fits one window of features to one bin of responses.
func (c *fitting) fit(layer string, g *Gram, p pair) (*TimeScore, error) {
	s := c.empty(layer, p)
	ceiling := c.ceilings[p.bin]
	if ceiling != nil {
		s.Ceiling = aggregate(inOrder(ceiling.Raw, c.order))
	}
	if s.Reason != "" {
		return s, nil
	}
	targets, err := c.k.average(p.bin)
	if err != nil {
		return nil, err
	}
	fit, err := c.mapped(g, targets, c.splits)
	if errors.Is(err, ErrConstant) {
		s.Reason = notDriven
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	if err := c.complete(s, fit, targets, ceiling); err != nil {
		return nil, err
	}
	switch c.o.Normalisation {
	case Corrected, CorrectedSquared:
		if s.Reason != "" {
			break
		}
		err = c.correct(s, g, p, targets)
	}
	return s, err
}

// complete takes over what was fitted.
func (c *fitting) complete(s *TimeScore, fit *Fit, targets Targets, ceiling *Score) error {
	raw := inOrder(fit.Raw, c.order)
	if ceiling != nil && math.IsNaN(ceiling.Center) {
		ceiling, s.Ceiling = nil, Score{Center: math.NaN(), Error: math.NaN()}
		c.noteOnce(fmt.Sprintf("no ceiling at %v ms: "+noCeiling, s.Bin))
	}
	for j, id := range s.NeuroidIDs {
		undefined := nowhere(raw, j)
		if ceiling != nil {
			undefined = undefined || nowhere(s.Ceiling.Raw, j)
		}
		if !undefined {
			continue
		}
		s.Undefined = append(s.Undefined, id)
		for _, values := range slices.Concat(raw, s.Ceiling.Raw) {
			values[j] = math.NaN()
		}
	}
	if s.Score = aggregate(raw); math.IsNaN(s.Score.Center) {
		s.Reason = "no neuroid has a score: responses or predictions are constant"
		return nil
	}
	if ceiling != nil {
		s.Ceiling = aggregate(s.Ceiling.Raw)
		s.Ceiled = c.o.Normalisation.Apply(s.Score.Center, s.Ceiling.Center)
		if c.o.Normalisation == SquaredPerNeuroid {
			s.Ceiled = ceiledPerNeuroid(raw, s.Ceiling.Raw)
		}
	}
	for _, values := range raw {
		if math.IsNaN(nanMedian(values)) {
			s.UndefinedSplits++
		}
	}
	if len(c.o.Bootstrap) > 0 {
		var err error
		if s.Score.Error, err = c.bootstrap(raw, fit, targets); err != nil {
			return err
		}
	}
	c.takeAlphas(s, fit)
	c.noteComponents(s, fit)
	return nil
}

// noteOnce adds a note that layers may have in common.
func (c *fitting) noteOnce(note string) {
	if !slices.Contains(c.k.notes, note) {
		c.k.notes = append(c.k.notes, note)
	}
}

// noCeiling says why there is none though stimuli were repeated.
const noCeiling = "each neuroid is constant, or has a stimulus without a repetition in a half"

// ceiledPerNeuroid is the mean over neuroids of r²/ρ, each being the mean over splits.
func ceiledPerNeuroid(raw, ceiling [][]float64) float64 {
	mean := func(rows [][]float64, j int) float64 {
		var values []float64
		for _, row := range rows {
			values = append(values, row[j])
		}
		return nanMean(values)
	}
	var ceiled []float64
	for j := range raw[0] {
		ceiled = append(ceiled, Squared.Apply(mean(raw, j), mean(ceiling, j)))
	}
	return nanMean(ceiled)
}

// noteComponents says where PLS found fewer components than were asked for.
func (c *fitting) noteComponents(s *TimeScore, fit *Fit) {
	pls, ok := c.o.Mapping.(PLS)
	if !ok || len(fit.Iterations) == 0 {
		return
	}
	fewest := pls.components()
	for _, iterations := range fit.Iterations {
		fewest = min(fewest, len(iterations))
	}
	if fewest < pls.components() {
		c.noteOnce(fmt.Sprintf("layer %s at %v ms: PLS stopped after %d of %d components, with nothing left to explain or to explain it by",
			s.Layer, s.Bin, fewest, pls.components()))
	}
}

// takeAlphas takes over the ridge parameters.
func (c *fitting) takeAlphas(s *TimeScore, fit *Fit) {
	s.Alphas = fit.Alphas
	ridge, ok := c.o.Mapping.(Ridge)
	if !ok {
		return
	}
	for i, alphas := range s.Alphas {
		if len(alphas) > 1 {
			s.Alphas[i] = pick(alphas, c.order)
		}
		s.EdgeAlphas += ridge.edges(alphas)
	}
}

// edges counts the alphas that are the first or the last of those to choose from.
func (r Ridge) edges(alphas []float64) (count int) {
	for _, alpha := range alphas {
		if n := len(r.Alphas); n > 1 && (alpha == r.Alphas[0] || alpha == r.Alphas[n-1]) {
			count++
		}
	}
	return count
}

// empty is a score of nothing yet.
func (c *fitting) empty(layer string, p pair) *TimeScore {
	s := &TimeScore{
		Layer: layer, Bin: c.k.bins()[p.bin], Features: p.window.bin, Offset: p.offset, Normalisation: c.o.Normalisation,
		Stimuli: len(c.at), Reason: p.window.reason,
		Score: Score{Center: math.NaN(), Error: math.NaN()}, Ceiled: math.NaN(), LowerCeiling: math.NaN(),
	}
	s.Ceiling = s.Score
	s.NeuroidIDs = pick(pick(c.k.Neuroids(), c.k.neuroids), c.order)
	return s
}

// inOrder copies raw scores with the neuroids in another order.
func inOrder(raw [][]float64, order []int) [][]float64 {
	var ordered [][]float64
	for _, values := range raw {
		ordered = append(ordered, pick(values, order))
	}
	return ordered
}

// nowhere tells whether a neuroid is NaN in all splits.
func nowhere(raw [][]float64, j int) bool {
	return !slices.ContainsFunc(raw, func(values []float64) bool { return !math.IsNaN(values[j]) })
}

// mapped fits all neuroids together, or, where some lack stimuli, those that lack the same ones.
func (c *fitting) mapped(g *Gram, targets Targets, splits []Split) (*Fit, error) {
	if c.o.Missing != PerNeuroid {
		return fitTargets(g, targets, splits, c.o.Mapping, slices.Contains(c.o.Bootstrap, OverStimuli))
	}
	groups := map[string][]int{}
	var patterns []string
	for j := range targets[0] {
		pattern := make([]byte, len(targets))
		for i := range targets {
			if math.IsNaN(targets[i][j]) {
				pattern[i] = 1
			}
		}
		key := string(pattern)
		if groups[key] == nil {
			patterns = append(patterns, key)
		}
		groups[key] = append(groups[key], j)
	}
	all := &Fit{}
	for range splits {
		all.Raw = append(all.Raw, make([]float64, len(targets[0])))
		all.Alphas = append(all.Alphas, make([]float64, len(targets[0])))
	}
	for _, pattern := range patterns {
		there := func(stimuli []int) []int {
			return slices.DeleteFunc(slices.Clone(stimuli), func(i int) bool { return pattern[i] != 0 })
		}
		var own []Split
		fewest := len(targets)
		for _, split := range splits {
			own = append(own, Split{Train: there(split.Train), Test: there(split.Test)})
			fewest = min(fewest, len(own[len(own)-1].Train))
		}
		if fewest < c.fewestTrained() {
			for _, j := range groups[pattern] {
				for s := range splits {
					all.Raw[s][j], all.Alphas[s][j] = math.NaN(), math.NaN()
				}
				c.noteOnce(fmt.Sprintf("neuroid %s has responses to too few stimuli for a fit: a split trains on %d",
					c.k.Neuroids()[c.k.neuroids[j]], fewest))
			}
			continue
		}
		var part Targets
		for i := range targets {
			values := pick(targets[i], groups[pattern])
			if pattern[i] != 0 {
				clear(values) // in no split
			}
			part = append(part, values)
		}
		fit, err := FitTargets(g, part, own, c.o.Mapping)
		if err != nil {
			return nil, err
		}
		for s := range splits {
			for i, j := range groups[pattern] {
				all.Raw[s][j] = fit.Raw[s][i]
				all.Alphas[s][j] = fit.Alphas[s][min(i, len(fit.Alphas[s])-1)]
			}
		}
	}
	all.Score = aggregate(all.Raw)
	return all, nil
}

// fewestTrained is how many stimuli a fit needs to train on.
func (c *fitting) fewestTrained() int {
	if ridge, ok := c.o.Mapping.(Ridge); ok {
		return max(2, ridge.Folds)
	}
	return 2
}
