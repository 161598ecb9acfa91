// Package numpyrandom draws the random numbers that NumPy draws, so that splits and
// bootstraps are those of the published Python packages: RandomState (MT19937, "legacy")
// and default_rng (PCG64 seeded by SeedSequence). Generators must not be used
// concurrently.
package numpyrandom

import "math/bits"

// source gives 32 random bits at a time.
type source interface{ next32() uint32 }

// interval draws from 0 … limit as NumPy's random_interval does: draws are cut to as
// many bits as limit has, until one is not above it. Nothing is drawn for 0.
func interval(s source, limit int) int {
	if limit == 0 {
		return 0
	}
	mask := uint32(1)<<bits.Len32(uint32(limit)) - 1
	for {
		if v := s.next32() & mask; v <= uint32(limit) {
			return int(v)
		}
	}
}

func shuffle(s source, n int, swap func(i, j int)) {
	for i := n - 1; i > 0; i-- {
		swap(i, interval(s, i))
	}
}

func permutation(s source, n int) []int {
	p := make([]int, n)
	for i := range p {
		p[i] = i
	}
	shuffle(s, n, func(i, j int) { p[i], p[j] = p[j], p[i] })
	return p
}

// State is numpy.random.RandomState.
type State struct {
	key [mtWords]uint32
	pos int
}

const (
	mtWords = 624
	mtShift = 397
)

// NewState returns RandomState(seed).
func NewState(seed uint32) *State {
	s := &State{pos: mtWords}
	s.key[0] = seed
	for i := uint32(1); i < mtWords; i++ {
		s.key[i] = 1812433253*(s.key[i-1]^s.key[i-1]>>30) + i
	}
	return s
}

func (s *State) next32() uint32 {
	if s.pos == mtWords {
		for i := range s.key {
			y := s.key[i]&0x80000000 | s.key[(i+1)%mtWords]&0x7fffffff
			s.key[i] = s.key[(i+mtShift)%mtWords] ^ y>>1
			if y&1 != 0 {
				s.key[i] ^= 0x9908b0df
			}
		}
		s.pos = 0
	}
	y := s.key[s.pos]
	s.pos++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// Intn is randint(0, n) for 0 < n ≤ 2³¹.
func (s *State) Intn(n int) int { return interval(s, n-1) }

// Permutation is permutation(n).
func (s *State) Permutation(n int) []int { return permutation(s, n) }

// Choose is choice(n, k, replace=False).
func (s *State) Choose(n, k int) []int { return permutation(s, n)[:k] }

// Shuffle is shuffle of n things.
func (s *State) Shuffle(n int, swap func(i, j int)) { shuffle(s, n, swap) }

// Generator is numpy.random.default_rng.
type Generator struct {
	high, low       uint64 // state
	incHigh, incLow uint64
	kept            uint32 // the other half of the last 64 bits
	have            bool
}

// NewGenerator returns default_rng(seed).
func NewGenerator(seed uint32) *Generator {
	words := seedSequence(seed)
	g := &Generator{incHigh: words[2]<<1 | words[3]>>63, incLow: words[3]<<1 | 1}
	g.step()
	var carry uint64
	g.low, carry = bits.Add64(g.low, words[1], 0)
	g.high, _ = bits.Add64(g.high, words[0], carry)
	g.step()
	return g
}

// seedSequence is SeedSequence(seed).generate_state(4, uint64).
func seedSequence(seed uint32) (words [4]uint64) {
	var pool [4]uint32
	hash := uint32(0x43b0d7e5)
	mixed := func(v uint32) uint32 {
		v ^= hash
		hash *= 0x931e8875
		v *= hash
		return v ^ v>>16
	}
	pool[0] = mixed(seed)
	for i := range pool[1:] {
		pool[i+1] = mixed(0)
	}
	for from := range pool {
		for to := range pool {
			if from != to {
				v := 0xca01f9dd*pool[to] - 0x4973f715*mixed(pool[from])
				pool[to] = v ^ v>>16
			}
		}
	}
	hash = 0x8b51f9dd
	for i := range 8 {
		v := pool[i%4] ^ hash
		hash *= 0x58f38ded
		v *= hash
		words[i/2] |= uint64(v^v>>16) << (32 * (i % 2))
	}
	return words
}

func (g *Generator) step() {
	const multiplierHigh, multiplierLow = 2549297995355413924, 4865540595714422341
	high, low := bits.Mul64(g.low, multiplierLow)
	high += g.high*multiplierLow + g.low*multiplierHigh
	var carry uint64
	g.low, carry = bits.Add64(low, g.incLow, 0)
	g.high, _ = bits.Add64(high, g.incHigh, carry)
}

// Uint64 is bit_generator.random_raw().
func (g *Generator) Uint64() uint64 {
	g.step()
	return bits.RotateLeft64(g.high^g.low, -int(g.high>>58))
}

func (g *Generator) next32() uint32 {
	if g.have {
		g.have = false
		return g.kept
	}
	v := g.Uint64()
	g.kept, g.have = uint32(v>>32), true
	return uint32(v)
}

// Intn is integers(0, n) for 0 < n ≤ 2³¹, by Lemire's method.
func (g *Generator) Intn(n int) int {
	if n == 1 {
		return 0
	}
	width := uint32(n)
	product := uint64(g.next32()) * uint64(width)
	if uint32(product) < width {
		for threshold := -width % width; uint32(product) < threshold; {
			product = uint64(g.next32()) * uint64(width)
		}
	}
	return int(product >> 32)
}

// Permutation is permutation(n).
func (g *Generator) Permutation(n int) []int { return permutation(g, n) }
