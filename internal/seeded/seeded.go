// Package seeded makes the values of untrained model variables from a seed.
//
// The values depend on nothing but the variable's name, shape and role and the seed, so that any
// implementation of the same few lines makes the same model. With all arithmetic modulo 2^64:
//
//	h     = FNV-1a-64(name)
//	state = mix(h + seed·0x9E3779B97F4A7C15)
//	u[i]  = (mix(state + (i+1)·0x9E3779B97F4A7C15) >> 40) · 2^-24        in [0, 1)
//	v[i]  = float32(centre + half·(2·u[i] - 1))                          in float64
//
// for the elements i = 0, 1, … in C order, where mix is the finaliser of SplitMix64 (Steele, Lea and
// Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014). centre and half follow from
// the variable's last path component; see [Range].
package seeded

import (
	"fmt"
	"hash/fnv"
	"math"
	"strings"

	"github.com/tfconvrnn/go/internal/parallel"
)

const gamma = 0x9E3779B97F4A7C15 // SplitMix64's increment: 2^64 divided by the golden ratio

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// Range returns the centre and the half width of the interval [centre-half, centre+half) that the
// values of a variable are drawn from. The name carries its scopes, as in
// "tnn_model/conv4/ConvGRUCell/gates/weights".
func Range(name string, shape []int, trainable bool) (centre, half float64) {
	components := strings.Split(name, "/")
	last := components[len(components)-1]
	within := func(scope string) bool {
		for _, c := range components[:len(components)-1] {
			if c == scope {
				return true
			}
		}
		return false
	}

	switch {
	case last == "softmax_beta" && (within("probs") || within("alpha")):
		return 1, 0
	case last == "softmax_beta" && within("normalize"):
		return 1.25, 0.75
	case last == "decoder_threshold":
		return 0.9, 0
	case last == "memory_decay" && trainable:
		return 0.4, 0.3
	case last == "memory_decay":
		return 0, 0
	case last == "gamma":
		return 1, 0.2
	case last == "beta", last == "bias", strings.HasSuffix(last, "_bias"),
		last == "w_f_diag", last == "w_i_diag", last == "w_o_diag":
		return 0, 0.1
	}

	fan := 1.0
	for i, d := range shape {
		// A depthwise kernel sums over its window only; any other over its input channels too.
		if (last == "depthwise_weights" && i < 2) || (last != "depthwise_weights" && i < len(shape)-1) {
			fan *= float64(d)
		}
	}
	gain := 0.5
	switch {
	case within("imnetds"):
		gain = 64
	case last == "weights_basenet":
		gain = 1
	case last == "residual_add_weights":
		gain = 0.25
	case last == "feedback_to_out_weights":
		gain = 0.05
	}
	return 0, math.Sqrt(3 * gain / fan)
}

// Values returns the values of the variable called name (with its scopes) in C order. The product of
// shape must be a size that the caller is willing to hold in memory. Values panics if a dimension is
// negative.
func Values(name string, shape []int, trainable bool, seed uint64) []float32 {
	n := 1
	for _, d := range shape {
		n *= d
	}
	values := make([]float32, n)
	Fill(values, name, shape, trainable, seed)
	return values
}

// chunk is the number of elements that are worth a goroutine of their own.
const chunk = 1 << 18

// Fill is [Values] into dst, whose length must be the product of shape: it panics otherwise, since
// only a mistake in the calling code can make them differ. It uses all processors for large
// variables and is safe for concurrent use with different destinations.
func Fill(dst []float32, name string, shape []int, trainable bool, seed uint64) {
	n := 1
	for _, d := range shape {
		n *= d
	}
	if n != len(dst) {
		panic(fmt.Sprintf("seeded: destination of %d elements for %s of shape %v", len(dst), name, shape))
	}

	h := fnv.New64a()
	h.Write([]byte(name))
	state := mix(h.Sum64() + seed*gamma)
	centre, half := Range(name, shape, trainable)

	parallel.For((len(dst)+chunk-1)/chunk, 1, func(i int) {
		from := i * chunk
		fill(dst[from:min(from+chunk, len(dst))], state+uint64(from)*gamma, centre, half)
	})
}

func fill(dst []float32, state uint64, centre, half float64) {
	for i := range dst {
		state += gamma
		u := float64(mix(state)>>40) * 0x1p-24
		// The conversion keeps the compiler from fusing product and sum, which rounds differently.
		dst[i] = float32(centre + float64(half*(2*u-1)))
	}
}
