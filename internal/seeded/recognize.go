package seeded

import (
	"hash/fnv"
	"math"
	"slices"
)

// A Recognizer finds out from the values of a model's variables whether [Fill] made them,
// whatever the seed. All values of a variable lie on a grid of 2^24 points, far coarser than
// float32 is near 0: values from elsewhere miss it. The zero value is ready to use.
type Recognizer struct {
	missed  bool
	telling int // values that lie on the grid, and would hardly do so by chance
	// The beginning of a variable with telling values, by which the seed is found.
	name string
	grid []uint64
}

const (
	steps = 1 << 24 // of the grid
	// head is the number of values of a variable that are looked at.
	head = 4096
	// enough is the number of telling values without which nothing is concluded. One value
	// lies on the grid by chance with a probability of at most 1/8.
	enough = 64
	// seeds is the number of seeds that are tried, from 0: more than dates written as numbers.
	seeds = 1 << 27
)

// Add looks at a variable; the arguments are those of [Values].
func (r *Recognizer) Add(values []float32, name string, shape []int, trainable bool) {
	centre, half := Range(name, shape, trainable)
	if centre != 0 || half == 0 || r.missed {
		return // float32 is no finer than the grid there
	}
	var grid []uint64
	telling := 0
	for _, v := range values[:min(len(values), head)] {
		k := math.Round((float64(v)/half + 1) / 2 * steps)
		if k < 0 || k >= steps || float32(float64(half*(2*(k/steps)-1))) != v {
			r.missed = true
			return
		}
		grid = append(grid, uint64(k))
		if v != 0 && math.Abs(float64(v)) < half/8 {
			telling++
		}
	}
	if r.telling += telling; telling > 0 && len(grid) > len(r.grid) {
		r.name, r.grid = name, grid
	}
}

// Untrained says whether all variables hold values that a seed makes.
func (r *Recognizer) Untrained() bool { return !r.missed && r.telling >= enough }

// Seed searches for the seed. It is false where the values are not a seed's, or where the
// seed is none of the first 134 million. It takes up to a second.
func (r *Recognizer) Seed() (uint64, bool) {
	if !r.Untrained() {
		return 0, false
	}
	h := fnv.New64a()
	h.Write([]byte(r.name))
	name := h.Sum64()
	for seed := range uint64(seeds) {
		state := mix(name + seed*gamma)
		at := slices.IndexFunc(r.grid, func(k uint64) bool {
			state += gamma
			return mix(state)>>40 != k
		})
		if at < 0 {
			return seed, true
		}
	}
	return 0, false
}
