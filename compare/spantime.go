package compare

import (
	"context"
	"errors"
	"fmt"
)

// mostSpanning bounds the rows of the Gram matrix of all bins, which takes 8 bytes × rows².
const mostSpanning = 40000

// span fits a layer by one mapping for all bins.
func (c *fitting) span(ctx context.Context, at int) error {
	layer := c.f.Layers()[at]
	pairs, weights := c.pairs(layer)
	var used []pair
	var targets []Targets
	var blocks [][]float64
	for _, p := range pairs {
		if p.gram < 0 {
			continue
		}
		average, err := c.k.average(p.bin)
		if err != nil {
			return err
		}
		used, targets, blocks = append(used, p), append(targets, average), append(blocks, weights[p.gram])
	}
	scores := make([]*TimeScore, len(pairs))
	for i, p := range pairs {
		if scores[i] = c.empty(layer.Name, p); c.ceilings[p.bin] != nil {
			scores[i].Ceiling = aggregate(inOrder(c.ceilings[p.bin].Raw, c.order))
		}
	}
	if len(used) > 0 {
		g, err := spanningGram(ctx, c.f, at, c.at, blocks)
		if err != nil {
			return err
		}
		fits, err := FitSpanningTime(g, targets, c.splits, c.o.Mapping)
		if err != nil && !errors.Is(err, ErrConstant) {
			return fmt.Errorf("layer %s: %w", layer.Name, err)
		}
		next := 0
		for i, p := range pairs {
			if p.gram < 0 {
				continue
			}
			if err != nil {
				scores[i].Reason = notDriven
				continue
			}
			if err := c.complete(scores[i], &fits[next], targets[next], c.ceilings[p.bin]); err != nil {
				return err
			}
			next++
		}
	}
	for _, s := range scores {
		c.result.Scores = append(c.result.Scores, *s)
		c.progressed()
	}
	return nil
}

// spanningGram is the Gram matrix of the features of all bins, one bin after the other. The error
// wraps ErrData where it would not fit into memory.
func spanningGram(ctx context.Context, f Features, at int, stimuli []int, weights [][]float64) (*Gram, error) {
	about, n := f.Layers()[at], len(stimuli)
	rows := n * len(weights)
	if rows > mostSpanning {
		return nil, fmt.Errorf(
			"%w: %d bins of %d stimuli are %d rows for one mapping, and at most %d fit into memory; take fewer bins", ErrData,
			len(weights), n, rows, mostSpanning)
	}
	g := NewGram(rows)
	width := min(max(mostShelved/rows, 1), about.Size)
	for from := 0; from < about.Size; from += width {
		to := min(from+width, about.Size)
		block := make([]float32, rows*(to-from))
		for i, stimulus := range stimuli {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			row, err := f.Row(at, stimulus)
			if err != nil {
				return nil, err
			}
			if len(row) != max(len(about.Bins), 1)*about.Size {
				return nil, fmt.Errorf("%w: %d values of layer %s", ErrData, len(row), about.Name)
			}
			for b, w := range weights {
				copy(block[(b*n+i)*(to-from):], blended(row, about.Size, w, from, to))
			}
		}
		if err := g.Add(block, to-from, to-from); err != nil {
			return nil, named(err, f, at, stimuli)
		}
	}
	return g, nil
}
