package compare

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// BestOptions says among what BestOverTime chooses, and how.
type BestOptions struct {
	// FitOptions are those of the fits; Layers, Offsets and Matrix say what there is to choose from. SpanTime,
	// Reverse, Bootstrap and normalisations that need more than r and ρ cannot be had.
	FitOptions
	// Inner is the number of inner splits of each training set; 0 means 5.
	Inner int
	// NotNested chooses by the scores themselves, which are too high for that.
	NotNested bool
	// EachBin chooses for each bin of the responses; otherwise the bin is chosen too.
	EachBin bool
}

// Choice is a layer and a time, and in how many splits it was chosen.
type Choice struct {
	Layer         string
	Bin, Features Bin
	Splits        int
}

// Best is what was chosen, and how well it does.
type Best struct {
	// TimeScore is of what was chosen in most splits: its layer and times. Its score is
	//
	//	1/S Σ_s median_j r_j(k_s, s), k_s = argmax_k 1/S' Σ_i median_j r_j(k, i)
	//
	// where s are the S splits, k the layers and times to choose from, r_j(k, s) is the correlation of neuroid j on the
	// test stimuli of s of what was fitted on its training stimuli, and i are S' inner splits of the training stimuli of
	// s. So no stimulus that scores has taken part in the choice. The ceiling is the mean over splits of that of the
	// chosen bin.
	TimeScore
	// Choices are all that were chosen, the most frequent first.
	Choices []Choice
	// Nested is false where k is the same for all splits: that with the best score.
	Nested bool
	// NotNested is that best score, which is too high, since it was chosen on the stimuli that score.
	NotNested float64
}

// BestOverTime chooses the layer and time that explain responses best, one for all neuroids, which therefore should be
// of one region. Fits has the scores of all there was to choose from. Errors are those of FitOverTime.
func BestOverTime(ctx context.Context, f Features, r Responses, o BestOptions) ([]Best, *Fits, error) {
	if err := o.checkBest(); err != nil {
		return nil, nil, err
	}
	c, layers, err := newFits(ctx, f, r, o.FitOptions)
	if err != nil {
		return nil, nil, err
	}
	if !o.NotNested {
		n := &nesting{fitting: c}
		if err := n.split(o); err != nil {
			return nil, nil, err
		}
		c.score = n.fit
	}
	fits, err := c.run(ctx, layers)
	if err != nil {
		return nil, nil, err
	}
	var best []Best
	for _, bin := range c.k.bins() {
		var candidates []*TimeScore
		for i := range fits.Scores {
			if s := &fits.Scores[i]; s.Reason == "" && !math.IsNaN(s.Score.Center) && (!o.EachBin || s.Bin == bin) {
				candidates = append(candidates, s)
			}
		}
		if len(candidates) > 0 {
			best = append(best, c.choose(candidates, !o.NotNested))
		}
		if !o.EachBin {
			break
		}
	}
	return best, fits, nil
}

func (o *BestOptions) checkBest() error {
	switch {
	case o.SpanTime || o.Reverse || len(o.Bootstrap) > 0:
		return fmt.Errorf("%w: the best is chosen among fits of single times, not in reverse, and without a bootstrap",
			ErrOptions)
	case slices.Contains([]Normalisation{SquaredPerNeuroid, Corrected, CorrectedSquared}, o.Normalisation):
		return fmt.Errorf("%w: the best is normalised by r and ρ only, not by %s", ErrOptions, o.Normalisation)
	case o.Inner < 0:
		return fmt.Errorf("%w: %d inner splits", ErrOptions, o.Inner)
	}
	if _, isOneToOne := o.Mapping.(OneToOne); isOneToOne {
		return fmt.Errorf("%w: the best is chosen among mappings of all features", ErrOptions)
	}
	return nil
}

// nesting scores training sets by splits of their own.
type nesting struct {
	*fitting
	inner [][]Split // of each split
}

func (n *nesting) split(o BestOptions) error {
	count := o.Inner
	if count == 0 {
		count = 5
	}
	var strata []string
	if o.Stratify != "" {
		strata = pick(n.k.Labels(o.Stratify), n.k.stimuli)
	}
	for _, outer := range n.splits {
		s := o.Splits
		s.Count, s.numeric = count, o.Stratify != "" && n.k.numbered(o.Stratify)
		var own []string
		if strata != nil {
			own = pick(strata, outer.Train)
		}
		inner, err := s.Of(len(outer.Train), own)
		if err != nil {
			return fmt.Errorf("splitting the training stimuli of a split: %w", err)
		}
		for i := range inner {
			inner[i] = Split{Train: pick(outer.Train, inner[i].Train), Test: pick(outer.Train, inner[i].Test)}
		}
		n.inner = append(n.inner, inner)
	}
	return nil
}

// fit also scores the inner splits.
func (n *nesting) fit(layer string, g *Gram, p pair) (*TimeScore, error) {
	s, err := n.fitting.fit(layer, g, p)
	if err != nil || s.Reason != "" {
		return s, err
	}
	targets, err := n.k.average(p.bin)
	if err != nil {
		return nil, err
	}
	for _, inner := range n.inner {
		fit, err := n.mapped(g, targets, inner)
		if err != nil {
			return nil, err
		}
		s.inner = append(s.inner, fit.Center)
	}
	return s, nil
}

// choose picks a candidate for each split.
func (c *fitting) choose(candidates []*TimeScore, nested bool) Best {
	b := Best{Nested: nested}
	top := candidates[0]
	for _, s := range candidates {
		if s.Score.Center > top.Score.Center {
			top = s
		}
	}
	b.NotNested = top.Score.Center
	chosen := make([]*TimeScore, len(c.splits))
	var raw [][]float64
	var ceilings, errors []float64
	for k := range c.splits {
		if chosen[k] = top; nested {
			chosen[k] = candidates[0]
			for _, s := range candidates {
				if s.inner[k] > chosen[k].inner[k] || math.IsNaN(chosen[k].inner[k]) {
					chosen[k] = s
				}
			}
		}
		raw = append(raw, chosen[k].Score.Raw[k])
		ceilings, errors = append(ceilings, chosen[k].Ceiling.Center), append(errors, chosen[k].Ceiling.Error)
		b.count(chosen[k])
	}
	slices.SortStableFunc(b.Choices, func(x, y Choice) int { return y.Splits - x.Splits })
	most := chosen[slices.IndexFunc(chosen, func(s *TimeScore) bool {
		return s.Layer == b.Choices[0].Layer && s.Bin == b.Choices[0].Bin && s.Features == b.Choices[0].Features
	})]
	b.TimeScore = *most
	b.Score, b.Ceiling = aggregate(raw), Score{Center: meanOf(ceilings), Error: meanOf(errors)}
	b.Ceiled = c.o.Normalisation.Apply(b.Score.Center, b.Ceiling.Center)
	b.Alphas, b.EdgeAlphas, b.UndefinedSplits = nil, 0, 0
	if ridge, ok := c.o.Mapping.(Ridge); ok {
		for k, s := range chosen {
			b.EdgeAlphas += ridge.edges(s.Alphas[k])
		}
	}
	for _, values := range raw {
		if math.IsNaN(nanMedian(values)) {
			b.UndefinedSplits++
		}
	}
	return b
}

func (b *Best) count(s *TimeScore) {
	for i := range b.Choices {
		if o := &b.Choices[i]; o.Layer == s.Layer && o.Bin == s.Bin && o.Features == s.Features {
			o.Splits++
			return
		}
	}
	b.Choices = append(b.Choices, Choice{s.Layer, s.Bin, s.Features, 1})
}
