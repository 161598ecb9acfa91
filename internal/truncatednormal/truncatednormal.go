// Package truncatednormal draws what TensorFlow's operation TruncatedNormal draws on a
// processor: normal numbers between −2 and 2, from the counter-based generator Philox
// 4×32 with 10 rounds (Salmon et al. 2011).
package truncatednormal

import "math"

// philox is the generator: a counter that is enciphered.
type philox struct {
	counter [4]uint32
	key     [2]uint32
}

func (p *philox) skip(n uint64) {
	low := uint64(p.counter[0]) | uint64(p.counter[1])<<32
	sum := low + n
	p.counter[0], p.counter[1] = uint32(sum), uint32(sum>>32)
	if sum < low {
		if p.counter[2]++; p.counter[2] == 0 {
			p.counter[3]++
		}
	}
}

// next returns 4 × 32 random bits.
func (p *philox) next() [4]uint32 {
	c, k := p.counter, p.key
	for range 10 {
		a, b := uint64(0xD2511F53)*uint64(c[0]), uint64(0xCD9E8D57)*uint64(c[2])
		c = [4]uint32{uint32(b>>32) ^ c[1] ^ k[0], uint32(b), uint32(a>>32) ^ c[3] ^ k[1], uint32(a)}
		k[0] += 0x9E3779B9
		k[1] += 0xBB67AE85
	}
	p.skip(1)
	return c
}

const (
	limit = 2
	// group is how many numbers are made together, and reserved how many draws are set
	// aside for each of them, since some are refused.
	group    = 4
	reserved = 256
)

// Float32s returns the first count numbers of TruncatedNormal with an operation seed and
// seed2 = 0.
func Float32s(seed uint64, count int) []float32 {
	values := make([]float32, 0, count+group)
	for at := uint64(0); len(values) < count; at++ {
		p := philox{key: [2]uint32{uint32(seed), uint32(seed >> 32)}}
		p.skip(at * group * reserved / 4)
		values = appendGroup(values, &p)
	}
	return values[:count]
}

// appendGroup draws pairs of normal numbers, and keeps those within the limit.
func appendGroup(values []float32, p *philox) []float32 {
	end := len(values) + group
	var draws [4]uint32
	used := 4
	draw := func() uint32 {
		if used == 4 {
			draws, used = p.next(), 0
		}
		used++
		return draws[used-1]
	}
	for {
		x, y := boxMuller(draw(), draw())
		for _, v := range [2]float32{x, y} {
			if v > -limit && v < limit {
				if values = append(values, v); len(values) == end {
					return values
				}
			}
		}
	}
}

// uniform makes a number of [0, 1) out of 23 of the bits.
func uniform(x uint32) float32 { return math.Float32frombits(x&0x7fffff|127<<23) - 1 }

func boxMuller(a, b uint32) (float32, float32) {
	u := max(uniform(a), 1e-7)
	angle := float32(2*math.Pi) * uniform(b)
	radius := float32(math.Sqrt(float64(-2 * float32(math.Log(float64(u))))))
	sin, cos := math.Sincos(float64(angle))
	return float32(sin) * radius, float32(cos) * radius
}
