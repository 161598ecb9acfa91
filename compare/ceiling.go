package compare

import (
	"fmt"
	"math"
	"slices"

	"github.com/tfconvrnn/go/internal/numpyrandom"
	"github.com/tfconvrnn/go/internal/parallel"
)

// Trials are responses to repeated presentations, [stimuli][repetitions][neuroids]. NaN
// is a repetition that a neuroid lacks.
type Trials [][][]float64

// average returns the mean over some repetitions that are not NaN, [stimuli][neuroids].
func (t Trials) average(repetitions []int) Targets {
	targets := make(Targets, len(t))
	for i, stimulus := range t {
		row := make([]float64, len(stimulus[0]))
		for j := range row {
			sum, count := 0.0, 0
			for _, r := range repetitions {
				if v := stimulus[r][j]; !math.IsNaN(v) {
					sum += v
					count++
				}
			}
			row[j] = sum / float64(count) // NaN for none
		}
		targets[i] = row
	}
	return targets
}

// Average returns the mean over the repetitions that are not NaN; NaN where there is
// none.
func (t Trials) Average() Targets {
	if len(t) == 0 {
		return nil
	}
	return t.average(upTo(len(t[0])))
}

func upTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

func (t Trials) check() error {
	if len(t) < 2 || len(t[0]) < 2 {
		return fmt.Errorf("%w: two stimuli and two repetitions are needed", ErrData)
	}
	for i, stimulus := range t {
		if len(stimulus) != len(t[0]) {
			return fmt.Errorf("%w: %d repetitions of stimulus %d, %d of the first; those that were not presented are NaN",
				ErrData, len(stimulus), i, len(t[0]))
		}
		for _, row := range stimulus {
			if len(row) != len(t[0][0]) {
				return fmt.Errorf("%w: stimulus %d has %d neuroids, the first %d", ErrData, i, len(row), len(t[0][0]))
			}
		}
	}
	return nil
}

// InternalConsistency is Brain-Score's ceiling: the repetitions, the same ones of all
// stimuli, are halved 10 times (seed 1), the averages over each half are correlated
// over stimuli for each neuroid, and the correlation r becomes 2r/(1+r), that of all
// repetitions (Spearman and Brown). NaN repetitions are left out of averages; a neuroid
// of which a stimulus has none in a half is NaN in that split. The error wraps ErrData.
func InternalConsistency(trials Trials) (*Score, error) {
	if err := trials.check(); err != nil {
		return nil, err
	}
	halves, err := Splits{TrainFraction: 0.5}.Of(len(trials[0]), nil)
	if err != nil {
		return nil, err
	}
	all := upTo(len(trials))
	var raw [][]float64
	for _, half := range halves {
		one, other := trials.average(half.Train), trials.average(half.Test)
		r := make([]float64, len(trials[0][0]))
		parallel.For(len(r), 4, func(j int) { r[j] = SpearmanBrown(Pearson(one.column(j, all), other.column(j, all))) })
		raw = append(raw, r)
	}
	score := aggregate(raw)
	return &score, nil
}

// fewestStimuli is what PredictorConsistency needs.
const fewestStimuli = 10

// PredictorConsistency is the ceiling of reverse predictivity: every stimulus has its
// own halves of the repetitions, in 10 splits (default_rng(0)); otherwise as
// InternalConsistency. The stimuli must be in the order of their ids. repetitions are
// how many each stimulus has, its first ones; stimuli with fewer than two are left out, and with
// fewer than 10 stimuli left the score is NaN.
func PredictorConsistency(trials Trials, repetitions []int) (*Score, error) {
	if err := trials.check(); err != nil {
		return nil, err
	}
	if len(repetitions) != len(trials) {
		return nil, fmt.Errorf("%w: repetitions of %d stimuli, and %d stimuli", ErrData, len(repetitions), len(trials))
	}
	random := numpyrandom.NewGenerator(0)
	var raw [][]float64
	for range 10 {
		var one, other Targets
		for i, stimulus := range trials {
			count := repetitions[i]
			if count < 2 || count > len(stimulus) {
				continue
			}
			p := random.Permutation(count)
			each := Trials{stimulus}
			one = append(one, each.average(p[:count/2])[0])
			other = append(other, each.average(p[count/2:])[0])
		}
		r := slices.Repeat([]float64{math.NaN()}, len(trials[0][0]))
		if len(one) >= fewestStimuli {
			all := upTo(len(one))
			for j := range r {
				r[j] = SpearmanBrown(Pearson(one.column(j, all), other.column(j, all)))
			}
		}
		raw = append(raw, r)
	}
	score := aggregate(raw)
	return &score, nil
}

// NoiseCeiling is the part of the variance of averaged responses that is of the
// stimulus, for each neuroid, as the Natural Scenes Dataset's authors estimate it:
//
//	ncsnr = √max(0, 1 − σ²)/σ, ceiling = ncsnr²/(ncsnr² + 1/R)
//
// where σ² is the mean over stimuli of the variance (with R−1) over R repetitions of
// responses that were z-scored over all trials. Where stimuli have been repeated different
// numbers of times, 1/R is the mean over them. The error wraps ErrData.
func NoiseCeiling(trials Trials) ([]float64, error) {
	if err := trials.check(); err != nil {
		return nil, err
	}
	ceilings := make([]float64, len(trials[0][0]))
	for j := range ceilings {
		var all []float64
		within, count := 0.0, 0
		var counts []int // R
		for _, stimulus := range trials {
			var own []float64
			for _, row := range stimulus {
				own = append(own, row[j])
			}
			all = append(all, own...)
			if n := len(present(own)); n > 0 {
				counts = append(counts, n)
			}
			if len(present(own)) > 1 {
				d := deviation(own, 1)
				within += d * d
				count++
			}
		}
		spread := deviation(all, 0)
		noise := within / float64(count) / (spread * spread)
		signal := max(0, 1-noise)
		if noise == 0 { // all repetitions are the same
			ceilings[j] = 1
			continue
		}
		ceilings[j] = signal / noise / (signal/noise + meanInverse(counts))
	}
	return ceilings, nil
}

// meanInverse is the mean of 1/n.
func meanInverse(counts []int) float64 {
	if len(counts) > 0 && slices.Min(counts) == slices.Max(counts) {
		return 1 / float64(counts[0]) // to the last digit
	}
	sum := 0.0
	for _, n := range counts {
		sum += 1 / float64(n)
	}
	return sum / float64(len(counts))
}
