package compare

import (
	"fmt"
	"math"
	"slices"
)

// Similarity is a way to compare two dissimilarity matrices.
type Similarity string

// The similarities, by rsatoolbox's names.
const (
	// Cosine is xᵀy/(‖x‖‖y‖).
	Cosine Similarity = "cosine"
	// Correlation is that of x and y less their means.
	Correlation Similarity = "corr"
	// RankCorrelation is Spearman's: that of the ranks.
	RankCorrelation Similarity = "spearman"
	// RhoA is Spearman's under random breaking of ties: 12 c(rank x)ᵀc(rank y)/(m³ − m).
	RhoA Similarity = "rho-a"
	// TauA is Kendall's: (concordant − discordant)/(m(m−1)/2).
	TauA Similarity = "tau-a"
	// TauB is Kendall's over √(pairs untied in x · pairs untied in y).
	TauB Similarity = "tau-b"
	// WhitenedCosine is the cosine of the matrices G = −½HDH, H = I − 1/n: for squared
	// distances the linear CKA of the patterns.
	WhitenedCosine Similarity = "cosine_cov"
	// WhitenedCorrelation is that after taking the means off x and y.
	WhitenedCorrelation Similarity = "corr_cov"
)

// Similarities lists them all.
func Similarities() []Similarity {
	return []Similarity{Cosine, Correlation, RankCorrelation, RhoA, TauA, TauB, WhitenedCosine, WhitenedCorrelation}
}

// CompareRDMs returns the similarity of two dissimilarity matrices of the same stimuli.
// Pairs of which either is NaN are left out, and counted; the whitened similarities need all
// of them, and are NaN then. The error wraps ErrData.
func CompareRDMs(a, b RDM, s Similarity) (similarity float64, leftOut int, err error) {
	if a.Stimuli != b.Stimuli || len(a.Values) != len(b.Values) {
		return 0, 0, fmt.Errorf("%w: dissimilarities of %d and of %d stimuli", ErrData, a.Stimuli, b.Stimuli)
	}
	if !slices.Contains(Similarities(), s) {
		return 0, 0, fmt.Errorf("%w: there is no similarity %q; there are %v", ErrData, s, Similarities())
	}
	x, y := a.Values, b.Values
	if slices.ContainsFunc(x, math.IsNaN) || slices.ContainsFunc(y, math.IsNaN) {
		x, y = nil, nil
		for i, v := range a.Values {
			if !math.IsNaN(v) && !math.IsNaN(b.Values[i]) {
				x, y = append(x, v), append(y, b.Values[i])
			}
		}
	}
	if leftOut = len(a.Values) - len(x); leftOut > 0 && (s == WhitenedCosine || s == WhitenedCorrelation) {
		return math.NaN(), leftOut, nil
	}
	return similar(x, y, a.Stimuli, s), leftOut, nil
}

func similar(x, y []float64, n int, s Similarity) float64 {
	switch s {
	case Cosine:
		return cosine(x, y)
	case Correlation:
		return Pearson(x, y)
	case RankCorrelation, RhoA:
		rx, ry := ranksOf(x, y)
		if s == RankCorrelation {
			return pearson(rx, ry)
		}
		m := float64(len(x))
		cx, _ := centred(rx)
		cy, _ := centred(ry)
		return 12 * dot(cx, cy) / (m*m*m - m)
	case TauA, TauB:
		return kendall(x, y, s)
	}
	if s == WhitenedCorrelation {
		x, _ = centred(x)
		y, _ = centred(y)
	}
	return cosine(doubleCentred(x, n), doubleCentred(y, n))
}

func cosine(x, y []float64) float64 { return dot(x, y) / math.Sqrt(dot(x, x)*dot(y, y)) }

// doubleCentred returns all entries of −½HDH.
func doubleCentred(x []float64, n int) []float64 {
	d := RDM{n, x}
	means, all := make([]float64, n), 0.0
	for i := range n {
		for j := range n {
			means[i] += d.At(i, j) / float64(n)
		}
		all += means[i] / float64(n)
	}
	g := make([]float64, n*n)
	for i := range n {
		for j := range n {
			g[i*n+j] = -(d.At(i, j) - means[i] - means[j] + all) / 2
		}
	}
	return g
}

// kendall counts the pairs that are in other orders in x and in y by merge sort
// (Knight).
func kendall(x, y []float64, s Similarity) float64 {
	n := len(x)
	order := upTo(n)
	slices.SortFunc(order, func(i, j int) int {
		if c := compareFloats(x[i], x[j]); c != 0 {
			return c
		}
		return compareFloats(y[i], y[j])
	})
	pairs := func(count int) float64 { return float64(count) * float64(count-1) / 2 }
	tied := func(same func(i, j int) bool) (sum float64) {
		for from := 0; from < n; {
			to := from + 1
			for to < n && same(order[from], order[to]) {
				to++
			}
			sum += pairs(to - from)
			from = to
		}
		return sum
	}
	tiedX := tied(func(i, j int) bool { return x[i] == x[j] })
	tiedBoth := tied(func(i, j int) bool { return x[i] == x[j] && y[i] == y[j] })
	values := make([]float64, n)
	for i, at := range order {
		values[i] = y[at]
	}
	discordant := inversions(values, make([]float64, n))
	slices.SortFunc(order, func(i, j int) int { return compareFloats(y[i], y[j]) })
	tiedY := tied(func(i, j int) bool { return y[i] == y[j] })
	all := pairs(n)
	difference := all - tiedX - tiedY + tiedBoth - 2*discordant
	if s == TauA {
		return difference / all
	}
	return difference / math.Sqrt((all-tiedX)*(all-tiedY))
}

func compareFloats(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// inversions sorts values, and counts the pairs that were in the wrong order.
func inversions(values, spare []float64) (count float64) {
	n := len(values)
	if n < 2 {
		return 0
	}
	half := n / 2
	count = inversions(values[:half], spare[:half]) + inversions(values[half:], spare[half:])
	i, j := 0, half
	for k := range spare {
		if j == n || i < half && values[i] <= values[j] {
			spare[k] = values[i]
			i++
		} else {
			spare[k] = values[j]
			count += float64(half - i)
			j++
		}
	}
	copy(values, spare)
	return count
}

// RSANoiseCeiling is what a model that knew the subjects' common dissimilarities would be
// at most as similar to the subjects' as (upper: the subject is part of the pool), and at
// least (lower: it is not). Matrices are pooled as rsatoolbox does for each similarity.
// The upper bound depends on the number of subjects. The error wraps ErrData.
func RSANoiseCeiling(subjects []RDM, s Similarity) (lower, upper float64, err error) {
	return noiseCeiling(subjects, s, func(r RDM) RDM { return prepared(r, s) })
}

// BrainScoreRSACeiling is RSANoiseCeiling with Spearman's correlation and pools that are
// plain means.
func BrainScoreRSACeiling(subjects []RDM) (lower, upper float64, err error) {
	return noiseCeiling(subjects, RankCorrelation, func(r RDM) RDM { return r })
}

func noiseCeiling(subjects []RDM, s Similarity, prepare func(RDM) RDM) (lower, upper float64, err error) {
	if len(subjects) < 2 {
		return 0, 0, fmt.Errorf("%w: a noise ceiling over %d subjects", ErrData, len(subjects))
	}
	ready := alike(subjects, prepare)
	for i, r := range subjects {
		for pass, pool := range []RDM{pooled(ready, -1), pooled(ready, i)} {
			similarity, _, err := CompareRDMs(r, pool, s)
			if err != nil {
				return 0, 0, err
			}
			if pass == 0 {
				upper += similarity / float64(len(subjects))
			} else {
				lower += similarity / float64(len(subjects))
			}
		}
	}
	return lower, upper, nil
}

// alike prepares matrices for a pool, by the pairs that all of them have. The others are NaN in all.
func alike(rdms []RDM, prepare func(RDM) RDM) []RDM {
	ready := make([]RDM, len(rdms))
	if !slices.ContainsFunc(rdms, RDM.hasMissing) {
		for i, r := range rdms {
			ready[i] = prepare(r)
		}
		return ready
	}
	var kept []int
	for i := range rdms[0].Values {
		if !slices.ContainsFunc(rdms, func(r RDM) bool { return math.IsNaN(r.Values[i]) }) {
			kept = append(kept, i)
		}
	}
	for i, r := range rdms {
		ready[i] = RDM{r.Stimuli, slices.Repeat([]float64{math.NaN()}, len(r.Values))}
		if len(kept) == 0 {
			continue
		}
		for k, v := range prepare(RDM{r.Stimuli, pick(r.Values, kept)}).Values {
			ready[i].Values[kept[k]] = v
		}
	}
	return ready
}

func (r RDM) hasMissing() bool { return slices.ContainsFunc(r.Values, math.IsNaN) }

// pooled is the mean of matrices, except one.
func pooled(rdms []RDM, except int) RDM {
	mean := RDM{rdms[0].Stimuli, make([]float64, len(rdms[0].Values))}
	count := 0
	for i, r := range rdms {
		if i == except {
			continue
		}
		count++
		for k := range mean.Values {
			mean.Values[k] += r.Values[k]
		}
	}
	for k := range mean.Values {
		mean.Values[k] /= float64(count)
	}
	return mean
}

// prepared makes matrices alike before they are pooled.
func prepared(r RDM, s Similarity) RDM {
	values := slices.Clone(r.Values)
	switch s {
	case Cosine, WhitenedCosine:
		size := math.Sqrt(dot(values, values) / float64(len(values)))
		for i := range values {
			values[i] /= size
		}
	case Correlation, WhitenedCorrelation:
		spread := deviation(values, 0)
		least := slices.Min(values)
		for i := range values {
			values[i] = (values[i] - least) / spread
		}
	default:
		values = Ranks(values)
	}
	return RDM{r.Stimuli, values}
}
