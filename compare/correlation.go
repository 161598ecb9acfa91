package compare

import (
	"math"
	"slices"

	"github.com/tfconvrnn/go/internal/parallel"
)

// Pearson returns the correlation of two equally long vectors; NaN where one of them
// is constant, also where it is but for rounding:
//
//	r = Σ(a−ā)(b−b̄)/(‖a−ā‖‖b−b̄‖)
func Pearson(a, b []float64) float64 { return pearson(slices.Clone(a), slices.Clone(b)) }

// pearson is Pearson of vectors that it may change.
func pearson(a, b []float64) float64 {
	var na, nb float64
	both(len(a), func() { na = centre(a) }, func() { nb = centre(b) })
	if math.IsNaN(na) || math.IsNaN(nb) {
		return math.NaN()
	}
	r := 0.0
	for i := range a {
		r += a[i] / na * (b[i] / nb)
	}
	return max(-1, min(1, r))
}

// both does something to two vectors, at once if they are long.
func both(length int, one, other func()) {
	if length < 1<<16 {
		one()
		other()
		return
	}
	parallel.Both(one, other)
}

// relativeConstant is where SciPy warns of an input that is nearly constant.
const relativeConstant = 1.8e-12

// centred returns v less its mean, and the norm of that: NaN for constant input.
func centred(v []float64) ([]float64, float64) {
	c := slices.Clone(v)
	return c, centre(c)
}

// centre takes its mean off v, and returns the norm of the rest: NaN for constant input.
func centre(v []float64) float64 {
	mean := meanOf(v)
	sum, constant, first := 0.0, true, math.NaN()
	if len(v) > 0 {
		first = v[0]
	}
	for i, x := range v {
		constant = constant && x == first
		v[i] = x - mean
		sum += v[i] * v[i]
	}
	norm := math.Sqrt(sum)
	if constant || norm < relativeConstant*math.Abs(mean) {
		norm = math.NaN()
	}
	return norm
}

// Spearman returns the correlation of the ranks of two vectors.
func Spearman(a, b []float64) float64 { return pearson(ranksOf(a, b)) }

func ranksOf(a, b []float64) (ra, rb []float64) {
	both(len(a), func() { ra = Ranks(a) }, func() { rb = Ranks(b) })
	return ra, rb
}

// Ranks returns the ranks of values, from 1; equal values have the mean of theirs. The
// rank of NaN is NaN.
func Ranks(v []float64) []float64 {
	ranks := make([]float64, len(v))
	low, high, missing := math.Inf(1), math.Inf(-1), 0
	for i, x := range v {
		if math.IsNaN(x) {
			ranks[i] = x
			missing++
			continue
		}
		low, high = min(low, x), max(high, x)
	}
	// Many values are parted by size first: then each part is sorted in no time, and all cores sort.
	const inPart, mostParts = 16, 1 << 20
	parts := min(len(v)/inPart, mostParts)
	scale := float64(parts) / (high - low)
	if parts < 2 || !(scale > 0) || math.IsInf(scale, 0) {
		parts, scale = 1, 0
	}
	part := func(x float64) int { return min(int((x-low)*scale), parts-1) }
	if parts == 1 {
		part = func(float64) int { return 0 } // also of infinities
	}
	ends := make([]int32, parts+1)
	for _, x := range v {
		if !math.IsNaN(x) {
			ends[part(x)+1]++
		}
	}
	for i := range parts {
		ends[i+1] += ends[i]
	}
	places, next := make([]int32, len(v)-missing), slices.Clone(ends)
	for i, x := range v {
		if !math.IsNaN(x) {
			p := part(x)
			places[next[p]] = int32(i)
			next[p]++
		}
	}
	const together = 1 << 10 // parts
	parallel.For((parts+together-1)/together, 1, func(piece int) {
		var spare []ranked
		for p := piece * together; p < min(parts, (piece+1)*together); p++ {
			spare = rankPart(ranks, v, places[ends[p]:ends[p+1]], int(ends[p]), spare)
		}
	})
	return ranks
}

// ranked is a value and its place.
type ranked struct {
	value float64
	at    int32
}

// rankPart ranks the values at some places, before which so many come. It returns a buffer for the next ones.
func rankPart(ranks, v []float64, places []int32, before int, spare []ranked) []ranked {
	sorted := spare[:0]
	for _, at := range places {
		sorted = append(sorted, ranked{v[at], at})
	}
	const few = 32
	if len(sorted) > few {
		slices.SortFunc(sorted, func(a, b ranked) int { return compareFloats(a.value, b.value) })
	} else {
		for i := 1; i < len(sorted); i++ {
			e, k := sorted[i], i
			for ; k > 0 && sorted[k-1].value > e.value; k-- {
				sorted[k] = sorted[k-1]
			}
			sorted[k] = e
		}
	}
	for from := 0; from < len(sorted); {
		to := from + 1
		for to < len(sorted) && sorted[to].value == sorted[from].value {
			to++
		}
		for _, e := range sorted[from:to] {
			ranks[e.at] = float64(2*before+from+to+1) / 2
		}
		from = to
	}
	return sorted
}

// SpearmanBrown is the reliability of twice as much data as r is of: 2r/(1+r).
func SpearmanBrown(r float64) float64 { return 2 * r / (1 + r) }

func meanOf(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// present returns the values that are not NaN.
func present(v []float64) []float64 {
	return slices.DeleteFunc(slices.Clone(v), math.IsNaN)
}

// nanMedian is the median of the values that are not NaN; NaN if there are none.
func nanMedian(v []float64) float64 {
	p := present(v)
	if len(p) == 0 {
		return math.NaN()
	}
	slices.Sort(p)
	n := len(p)
	return (p[(n-1)/2] + p[n/2]) / 2
}

// nanMean is the mean of the values that are not NaN; NaN if there are none.
func nanMean(v []float64) float64 { return meanOf(present(v)) }

// deviation is the standard deviation with the given number of degrees of freedom
// taken off, of the values that are not NaN.
func deviation(v []float64, off int) float64 {
	p := present(v)
	mean, sum := meanOf(p), 0.0
	for _, x := range p {
		sum += (x - mean) * (x - mean)
	}
	return math.Sqrt(sum / float64(len(p)-off))
}

// Score is a number for each split and neuroid, and what they come to.
type Score struct {
	// Center is the mean over splits of the medians over neuroids; NaN is left out of
	// both.
	Center float64
	// Error is the standard deviation over splits (not over n−1) of the medians, divided by
	// the square root of the number of splits, those of NaN counted.
	Error float64
	// Raw is [splits][neuroids].
	Raw [][]float64
}

// aggregate makes a score of raw values.
func aggregate(raw [][]float64) Score {
	medians := make([]float64, len(raw))
	for i, values := range raw {
		medians[i] = nanMedian(values)
	}
	return Score{Center: nanMean(medians), Error: deviation(medians, 0) / math.Sqrt(float64(len(raw))), Raw: raw}
}
