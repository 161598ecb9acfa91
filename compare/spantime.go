package compare

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tfconvrnn/go/internal/products"
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
	p, err := inPasses(ctx, f)
	if err != nil {
		return nil, err
	}
	bins := slices.DeleteFunc(upTo(max(len(about.Bins), 1)), func(b int) bool {
		return !slices.ContainsFunc(weights, func(w []float64) bool { return w[b] != 0 })
	})
	passes := spans(about.Size, rows, p)
	g := NewGram(rows)
	for number, parts := range passes {
		from, to := parts[0].from, parts[len(parts)-1].to
		block := make([]float32, rows*(to-from))
		visit := func(i int, row []float32) error {
			for b, w := range weights {
				copy(block[(b*n+i)*(to-from):], blended(row, about.Size, pick(w, bins), from, to))
			}
			return nil
		}
		if p == nil {
			err = eachRow(ctx, f, at, stimuli, bins, visit)
		} else {
			pass := Pass{Layers: []LayerBins{{at, bins}}, Number: number + 1, Of: len(passes)}
			err = visitPlaces(ctx, p, pass, stimuli, func(_, i int, row []float32) error { return visit(i, row) })
		}
		if err != nil {
			return nil, err
		}
		for _, some := range parts {
			if err := g.Add(block[some.from-from:], some.columns(), to-from); err != nil {
				return nil, named(err, f, at, stimuli)
			}
		}
	}
	return g, nil
}

// spans divides features of so many rows into those that are in memory at once, and these into those that are
// multiplied at once. Those of features in passes are others, as there is room for more or less, but the sums are the
// same.
func spans(size, rows int, p Passing) (list [][]part) {
	width := min(max(mostShelved/rows, 1), size)
	step, most := width, width
	if p != nil {
		most = p.Room() / rows
		step = max(most/products.Depth, 1) * products.Depth
	}
	columns := 0
	for first := 0; first < size; first += width {
		end := min(first+width, size)
		for from := first; from < end; from += step {
			some := part{from: from, to: min(from+step, end)}
			if columns += some.columns(); len(list) == 0 || columns > most {
				list, columns = append(list, nil), some.columns()
			}
			list[len(list)-1] = append(list[len(list)-1], some)
		}
	}
	return list
}
