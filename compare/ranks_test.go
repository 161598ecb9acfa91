package compare_test

import (
	"math"
	"math/rand/v2"
	"sort"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tfconvrnn/go/compare"
)

// Ranks of many values, which are parted before they are sorted, are those of the definition.
func TestRanksOfMany(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for name, value := range map[string]func() float64{
		"normal": r.NormFloat64, "ties": func() float64 { return float64(r.IntN(7)) }, "equal": func() float64 { return 3 },
		"skewed": func() float64 { return math.Exp(30 * r.NormFloat64()) }, "tiny": func() float64 {
			return 1 + 1e-15*r.NormFloat64()
		},
		"infinite": func() float64 { return 1 / float64(r.IntN(3)) }, "huge": func() float64 {
			return 1e308 * (2*r.Float64() - 1)
		},
		"missing": func() float64 {
			if r.IntN(3) == 0 {
				return math.NaN()
			}
			return r.Float64()
		},
	} {
		for _, n := range []int{0, 1, 9, 2048, 30_000} {
			v := make([]float64, n)
			var sorted []float64
			for i := range v {
				if v[i] = value(); !math.IsNaN(v[i]) {
					sorted = append(sorted, v[i])
				}
			}
			sort.Float64s(sorted)
			want := make([]float64, n)
			for i, x := range v {
				first := sort.SearchFloat64s(sorted, x)
				last := sort.Search(len(sorted), func(k int) bool { return sorted[k] > x })
				if want[i] = float64(first+last+1) / 2; math.IsNaN(x) {
					want[i] = x
				}
			}
			got := compare.Ranks(v)
			for i := range want {
				if want[i] != got[i] && !(math.IsNaN(want[i]) && math.IsNaN(got[i])) {
					assert.Equal(t, want[i], got[i], "%s, %d of %d", name, i, n)
					break
				}
			}
		}
	}
}
