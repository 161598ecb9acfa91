package compare

import (
	"fmt"
	"slices"
)

// Bin is a span of time in ms, from Start to before End.
type Bin struct{ Start, End float64 }

// String is as in "70-80".
func (b Bin) String() string { return fmt.Sprintf("%g-%g", b.Start, b.End) }

// TimestepBins are the bins of a model's timesteps, of 10 ms from the onset of the
// stimulus.
func TimestepBins(timesteps ...int) []Bin {
	var bins []Bin
	for _, t := range timesteps {
		bins = append(bins, Bin{float64(10 * t), float64(10*t + 10)})
	}
	return bins
}

// AlignBins returns the weights with which source bins make up the target: each bin's
// overlap with the target over the bin's length. Features of the target are the mean
// with these weights. The error wraps ErrData where the target begins before the first
// bin or ends after the last.
func AlignBins(source []Bin, target Bin) ([]float64, error) {
	if len(source) == 0 || !(target.Start < target.End) {
		return nil, fmt.Errorf("%w: no time bin %v can be made of %d bins", ErrData, target, len(source))
	}
	first, last := source[0].Start, source[0].End
	for _, b := range source {
		if !(b.Start < b.End) {
			return nil, fmt.Errorf("%w: time bin %v", ErrData, b)
		}
		first, last = min(first, b.Start), max(last, b.End)
	}
	if target.Start < first || target.End > last {
		return nil, fmt.Errorf("%w: time bin %v is not within %g-%g", ErrData, target, first, last)
	}
	weights, sum := make([]float64, len(source)), 0.0
	for i, b := range source {
		weights[i] = max(0, min(b.End, target.End)-max(b.Start, target.Start)) / (b.End - b.Start)
		sum += weights[i]
	}
	if sum == 0 {
		return nil, fmt.Errorf("%w: no source bin overlaps with %v", ErrData, target)
	}
	return weights, nil
}

// Blend returns the mean of features with weights, in float32 as the features: values
// of bins whose weight is 0 are not looked at.
func Blend(bins [][]float32, weights []float64) []float32 {
	var sums []float64
	total := 0.0
	for b, w := range weights {
		if w == 0 {
			continue
		}
		if sums == nil {
			sums = make([]float64, len(bins[b]))
		}
		for i, v := range bins[b] {
			sums[i] += w * float64(v)
		}
		total += w
	}
	blend := make([]float32, len(sums))
	for i, s := range sums {
		blend[i] = float32(s / total)
	}
	return blend
}

// FitSpanningTime fits one mapping for all bins: the training rows are all pairs of
// bins and training stimuli, and the correlations are of each bin by itself. g is of
// bins × stimuli rows, the bins one after the other; targets are those of each bin.
// Errors wrap ErrConstant or ErrData.
func FitSpanningTime(g *Gram, targets []Targets, splits []Split, mapping Mapping) ([]Fit, error) {
	all := slices.Concat(targets...)
	if err := checkTargets(all, g.n); err != nil {
		return nil, err
	}
	if g.Constant() {
		return nil, fmt.Errorf("%w: %d features", ErrConstant, g.features)
	}
	if err := mapping.check(g, all); err != nil {
		return nil, err
	}
	n := g.n / len(targets)
	spanning := make([]Split, len(splits))
	for s, split := range splits {
		whole := &spanning[s]
		for b := range targets {
			for _, i := range split.Train {
				whole.Train = append(whole.Train, b*n+i)
			}
			for _, i := range split.Test {
				whole.Test = append(whole.Test, b*n+i)
			}
		}
	}
	predicted, err := mapping.predict(g, all, spanning)
	if err != nil {
		return nil, err
	}
	raw := make([][][]float64, len(targets))
	for s, f := range predicted {
		for b := range targets {
			part := make([][]float64, len(f.prediction))
			for j, p := range f.prediction {
				part[j] = p[b*len(splits[s].Test):][:len(splits[s].Test)]
			}
			raw[b] = append(raw[b], correlations(part, targets[b], splits[s].Test))
		}
	}
	fits := make([]Fit, len(targets))
	for b := range fits {
		fits[b].Score = aggregate(raw[b])
	}
	return fits, nil
}
