package compare

import (
	"fmt"
	"math"
	"slices"

	"github.com/tfconvrnn/go/internal/products"
)

// OneToOne predicts each neuroid by one feature, as NeuronToNeuron. It needs the features themselves:
// it is a Mapping for FitOverTime only.
type OneToOne struct{}

// String names the mapping.
func (OneToOne) String() string { return "neuron to neuron" }

func (OneToOne) check(*Gram, Targets) error {
	return fmt.Errorf("%w: matching neuroids with features needs the features, not their products", ErrOptions)
}

func (o OneToOne) predict(g *Gram, targets Targets, _ []Split) ([]*fitted, error) {
	return nil, o.check(g, targets)
}

// match matches the features of a window with the neuroids in a bin.
func (c *fitting) match(layer int, p pair, features []float32) (*TimeScore, error) {
	s := c.empty(c.f.Layers()[layer].Name, p)
	ceiling := c.ceilings[p.bin]
	if ceiling != nil {
		s.Ceiling = aggregate(inOrder(ceiling.Raw, c.order))
	}
	if s.Reason != "" {
		return s, nil
	}
	if !vary(features, len(c.at)) {
		s.Reason = notDriven
		return s, nil
	}
	targets, err := c.k.average(p.bin)
	if err != nil {
		return nil, err
	}
	fit, err := NeuronToNeuron(features, targets, c.splits)
	if err != nil {
		return nil, err
	}
	return s, c.complete(s, fit, targets, ceiling)
}

// vary tells whether some of the features of n stimuli differ.
func vary(features []float32, n int) bool {
	size := len(features) / n
	return slices.ContainsFunc(upTo(n), func(i int) bool {
		return !slices.Equal(features[i*size:][:size], features[:size])
	})
}

// NeuronToNeuron predicts each neuroid by the one feature with which it is correlated most
// on the training stimuli, and correlates it with that on the others. features are
// [stimuli, p] in C order. The error wraps ErrData.
func NeuronToNeuron(features []float32, targets Targets, splits []Split) (*Fit, error) {
	n := len(targets)
	if err := checkTargets(targets, n); err != nil {
		return nil, err
	}
	if len(features)%n != 0 || len(features) == 0 {
		return nil, fmt.Errorf("%w: %d values are not features of %d stimuli", ErrData, len(features), n)
	}
	p := len(features) / n
	var raw [][]float64
	for _, split := range splits {
		r := slices.Repeat([]float64{math.NaN()}, len(targets[0]))
		for j, f := range mostCorrelated(features, p, targets, split.Train) {
			if f >= 0 {
				chosen := make([]float64, len(split.Test))
				for i, at := range split.Test {
					chosen[i] = float64(features[at*p+f])
				}
				r[j] = Pearson(chosen, targets.column(j, split.Test))
			}
		}
		raw = append(raw, r)
	}
	return &Fit{Score: aggregate(raw)}, nil
}

// matchedBlock is how many features are correlated with the neuroids at once.
const matchedBlock = 512

// mostCorrelated returns the feature with the largest correlation with each neuroid, -1 where
// there is none.
func mostCorrelated(features []float32, p int, targets Targets, train []int) []int {
	q, n := len(targets[0]), len(train)
	unit := func(to, values []float64) bool { // of length 1 about their mean
		c, norm := centred(values)
		for i, v := range c {
			to[i] = v / norm
		}
		return !math.IsNaN(norm)
	}
	y, defined := make([]float64, q*n), make([]bool, q)
	best, largest := make([]int, q), slices.Repeat([]float64{math.Inf(-1)}, q)
	for j := range q {
		best[j] = -1
		if defined[j] = unit(y[j*n:][:n], targets.column(j, train)); !defined[j] {
			clear(y[j*n:][:n])
		}
	}
	for from := 0; from < p; from += matchedBlock {
		count := min(matchedBlock, p-from)
		x, varies, column := make([]float64, count*n), make([]bool, count), make([]float64, n)
		for f := range count {
			for i, at := range train {
				column[i] = float64(features[at*p+from+f])
			}
			if varies[f] = unit(x[f*n:][:n], column); !varies[f] {
				clear(x[f*n:][:n])
			}
		}
		r := make([]float64, q*count)
		products.AddProduct(r, count, products.Rows[float64]{Data: y, Count: q, Columns: n, Stride: n},
			products.Rows[float64]{Data: x, Count: count, Columns: n, Stride: n})
		for j := range q {
			for f := range count {
				if v := r[j*count+f]; defined[j] && varies[f] && v > largest[j] {
					best[j], largest[j] = from+f, v
				}
			}
		}
	}
	return best
}
