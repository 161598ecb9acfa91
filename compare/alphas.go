package compare

import (
	"cmp"
	"math"
	"slices"

	"github.com/tfconvrnn/go/internal/parallel"
)

// searchAlphas evaluates alphas until the one with the smallest loss is known for each of
// several things that are fitted: all of them, or, if they are many and each is costly, only those that
// can be the best. It returns false as soon as one cannot be evaluated.
//
// A loss is a smooth function of ln α: a mean of squares of ratios of sums of α/(λ+α). So those not evaluated are
// interpolated by polynomials through the eight next that were; how much the polynomials through seven of them
// differ tells how far they can be trusted. An alpha is left out only where that is, ten times over, too little
// to make it the best of any.

func searchAlphas(alphas []float64, few bool, evaluate func(a int) (losses []float64, ok bool)) bool {
	s := &alphaSearch{order: upTo(len(alphas))}
	slices.SortStableFunc(s.order, func(i, j int) int { return cmp.Compare(alphas[i], alphas[j]) })
	s.order = slices.CompactFunc(s.order, func(i, j int) bool { return alphas[i] == alphas[j] }) // the first of equal ones
	for _, a := range s.order {
		s.at = append(s.at, math.Log(alphas[a]))
	}
	s.losses = make([][]float64, len(s.order))
	do := func(place int) (ok bool) {
		s.losses[place], ok = evaluate(s.order[place])
		return ok
	}
	if !few {
		for place := range s.order {
			if !do(place) {
				return false
			}
		}
		return true
	}
	for _, place := range s.first() {
		if !do(place) {
			return false
		}
	}
	for place := s.next(); place >= 0; place = s.next() {
		if !do(place) {
			return false
		}
	}
	return true
}

const (
	interpolated = 8
	doubted      = 10
)

// alphaSearch has the alphas in ascending order.
type alphaSearch struct {
	order  []int // in the order that they were given in
	at     []float64
	losses [][]float64 // nil of those not evaluated
}

// first returns about one alpha in a power of ten, and both ends.
func (s *alphaSearch) first() (places []int) {
	last := len(s.at) - 1
	for place := 0; ; {
		places = append(places, place)
		if place == last {
			return places
		}
		next := place + 1
		for next < last && s.at[next+1]-s.at[place] < 2.5 {
			next++
		}
		place = next
	}
}

// estimate is how the loss at an alpha is interpolated.
type estimate struct {
	place, gap int
	nodes      []int
	weights    [][]float64 // of all nodes, of all but the first, of all but the last
}

// next returns the alpha which most of what is fitted needs to know, or -1.
func (s *alphaSearch) next() int {
	estimates := s.estimates()
	targets := len(s.losses[0])
	lowest := make([]int, targets)
	parallel.For(targets, 64, func(t int) {
		best := math.Inf(1)
		for _, losses := range s.losses {
			if losses != nil {
				best = min(best, losses[t])
			}
		}
		values, doubts := make([]float64, len(estimates)), make([]float64, len(s.at))
		for i, e := range estimates {
			var v [3]float64
			for k, weights := range e.weights {
				for m, w := range weights {
					v[k] += w * s.losses[e.nodes[m]][t]
				}
			}
			values[i] = v[0]
			doubts[e.gap] = max(doubts[e.gap], math.Abs(v[0]-v[1]), math.Abs(v[0]-v[2]))
		}
		lowest[t] = -1
		least := best
		for i, e := range estimates {
			if bound := values[i] - doubted*doubts[e.gap]; bound <= least {
				lowest[t], least = e.place, bound
			}
		}
	})
	votes := make([]int, len(s.at))
	chosen := -1
	for _, place := range lowest {
		if place >= 0 {
			votes[place]++
			if chosen < 0 || votes[place] > votes[chosen] {
				chosen = place
			}
		}
	}
	return chosen
}

// estimates are those of all alphas that are not evaluated.
func (s *alphaSearch) estimates() (list []estimate) {
	var known []int
	for place, losses := range s.losses {
		if losses != nil {
			known = append(known, place)
		}
	}
	for place, losses := range s.losses {
		if losses != nil {
			continue
		}
		gap, _ := slices.BinarySearch(known, place)
		from := max(min(gap-interpolated/2, len(known)-interpolated), 0)
		e := estimate{place: place, gap: gap, nodes: known[from:min(from+interpolated, len(known))]}
		m := len(e.nodes)
		for _, leave := range []int{-1, 0, m - 1} {
			e.weights = append(e.weights, s.lagrange(e.nodes, leave, s.at[place]))
		}
		list = append(list, e)
	}
	return list
}

// lagrange returns the weights of the polynomial through nodes, all but one of them, at t.
func (s *alphaSearch) lagrange(nodes []int, leave int, t float64) []float64 {
	weights := make([]float64, len(nodes))
	for i, node := range nodes {
		if i == leave {
			continue
		}
		weights[i] = 1
		for k, other := range nodes {
			if k != i && k != leave {
				weights[i] *= (t - s.at[other]) / (s.at[node] - s.at[other])
			}
		}
	}
	return weights
}
