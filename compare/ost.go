package compare

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/tfconvrnn/go/internal/numpyrandom"
	"github.com/tfconvrnn/go/internal/truncatednormal"
)

// OSTCeiling is the consistency of the measured object solution times, by which
// Brain-Score divides.
const OSTCeiling = 0.79

// SolutionTimes are when primates' neural populations solve each image: a decoder on
// them is as good as behaviour (Kar et al. 2019).
type SolutionTimes struct {
	Images, Labels []string
	// Times are in ms; NaN for images that are not solved.
	Times []float64
	// Thresholds are behavioural d′ (I1), which are to be reached.
	Thresholds []float64
}

// OSTFeatures are features of the images of SolutionTimes, in their order, in one time
// bin.
type OSTFeatures struct {
	// Start is where the bin begins, in ms.
	Start float64
	// Features are [images][features].
	Features [][]float32
}

// OSTScore says how well a model's solution times are correlated with the measured ones.
type OSTScore struct {
	// Score is the mean of Raw, Spearman's correlation of each split; NaN splits are left
	// out. Ceiled is Score/0.79.
	Score, Error, Ceiled float64
	Raw                  []float64
	// Predicted are the model's times in ms, [splits][test images], NaN for not solved.
	Predicted [][]float64
	Splits    []Split
	// Solved is the part of the images with a measured time that the model solves, per
	// split.
	Solved []float64
}

// OSTDecoder decodes objects for OST.
type OSTDecoder int

const (
	// BrainScoreOSTDecoder is Brain-Score's: softmax regression by 40 epochs of Adam in float32,
	// from a fixed start. It does not converge, so scores depend on the start.
	BrainScoreOSTDecoder OSTDecoder = iota
	// ConvergedOSTDecoder is the optimum of the same loss: a Readout with C = 1/(0.463 n).
	ConvergedOSTDecoder
)

// OST computes the object solution times of a model and correlates them with measured
// ones: 10 splits with a tenth of the images to test on (seed 1). For each bin in
// ascending order a decoder is fitted on the training images; an image is solved in the
// first bin in which its d′ (I1 over the test images) reaches its threshold, at the
// time where the line from the highest earlier d′ crosses it. Every object must occur
// among the test images of every split. Errors wrap ErrData, ErrSplits or ctx's.
func OST(ctx context.Context, bins []OSTFeatures, measured *SolutionTimes, decoder OSTDecoder) (*OSTScore, error) {
	n := len(measured.Images)
	if len(measured.Labels) != n || len(measured.Times) != n || len(measured.Thresholds) != n {
		return nil, fmt.Errorf("%w: solution times of %d images with %d labels, %d times, %d thresholds", ErrData, n,
			len(measured.Labels), len(measured.Times), len(measured.Thresholds))
	}
	if _, _, err := measured.Complete(RefuseMissing); err != nil {
		return nil, err
	}
	for i, bin := range bins {
		if len(bin.Features) != n || i > 0 && bin.Start <= bins[i-1].Start {
			return nil, fmt.Errorf("%w: bin %d has %d images and begins at %v ms; there are %d, and bins ascend", ErrData, i,
				len(bin.Features), bin.Start, n)
		}
	}
	splits, err := Splits{TestFraction: 0.1}.Of(n, nil)
	if err != nil {
		return nil, err
	}
	s := &OSTScore{Splits: splits}
	for _, split := range splits {
		// Brain-Score takes the images of a split in the order of the set; batches and the
		// order of the objects depend on it.
		slices.Sort(split.Train)
		slices.Sort(split.Test)
		predicted, err := predictTimes(ctx, bins, measured, split, decoder)
		if err != nil {
			return nil, err
		}
		s.Predicted = append(s.Predicted, predicted)
		var x, y []float64
		solvable := 0
		for i, at := range split.Test {
			if !math.IsNaN(measured.Times[at]) {
				if solvable++; !math.IsNaN(predicted[i]) {
					x, y = append(x, predicted[i]), append(y, measured.Times[at])
				}
			}
		}
		r := math.NaN()
		if len(x) > 1 {
			r = Spearman(x, y)
		}
		s.Raw = append(s.Raw, r)
		s.Solved = append(s.Solved, float64(len(x))/float64(solvable))
	}
	s.Score, s.Error = nanMean(s.Raw), deviation(s.Raw, 0)/math.Sqrt(float64(len(s.Raw)))
	s.Ceiled = Ratio.Apply(s.Score, OSTCeiling)
	return s, nil
}

// crossing is a bin's start and a d′ there.
type crossing struct {
	at, d float64
	seen  bool
}

func predictTimes(ctx context.Context, bins []OSTFeatures, measured *SolutionTimes, split Split, decoder OSTDecoder) (
	[]float64, error) {
	labels := func(list []int) []string {
		l := make([]string, len(list))
		for i, at := range list {
			l[i] = measured.Labels[at]
		}
		return l
	}
	trained, tested := labels(split.Train), labels(split.Test)
	for _, object := range firstAppearances(trained) {
		if !slices.Contains(tested, object) {
			return nil, fmt.Errorf("%w: no %q is among the %d images that a split tests on; solution times need more images",
				ErrData, object, len(tested))
		}
	}
	last, hit := make([]crossing, len(split.Test)), make([]crossing, len(split.Test))
	solved := 0
	for _, bin := range bins {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		d, err := binDPrimes(bin, trained, tested, split, decoder)
		if err != nil {
			return nil, err
		}
		for i, at := range split.Test {
			switch {
			case hit[i].seen:
			case d[i] >= measured.Thresholds[at]:
				hit[i] = crossing{bin.Start, d[i], true}
				solved++
			case !last[i].seen || d[i] > last[i].d:
				if !math.IsNaN(d[i]) {
					last[i] = crossing{bin.Start, d[i], true}
				}
			}
		}
		if solved == len(hit) {
			break
		}
	}
	times := make([]float64, len(hit))
	for i, h := range hit {
		switch l := last[i]; {
		case !h.seen:
			times[i] = math.NaN()
		case !l.seen:
			times[i] = h.at
		default:
			times[i] = l.at + (measured.Thresholds[split.Test[i]]-l.d)*(h.at-l.at)/(h.d-l.d)
		}
	}
	return times, nil
}

func binDPrimes(bin OSTFeatures, trained, tested []string, split Split, decoder OSTDecoder) ([]float64, error) {
	pick := func(list []int) [][]float64 {
		rows := make([][]float64, len(list))
		for i, at := range list {
			for _, v := range bin.Features[at] {
				rows[i] = append(rows[i], float64(v))
			}
		}
		return rows
	}
	train, test := pick(split.Train), pick(split.Test)
	var objects []string
	var probabilities [][]float64
	if decoder == ConvergedOSTDecoder {
		r, err := FitReadout(train, trained, 1/(adamPenalty*float64(len(train))))
		if err != nil {
			return nil, err
		}
		objects = r.Objects
		if probabilities, err = r.Probabilities(test); err != nil {
			return nil, err
		}
	} else {
		a := fitAdam(train, trained)
		objects, probabilities = a.objects, a.probabilities(test)
	}
	names := make([]string, len(tested))
	for i := range names {
		names[i] = fmt.Sprint(i)
	}
	choices, err := ModelChoices(names, tested, objects, probabilities)
	if err != nil {
		return nil, err
	}
	var d []float64
	for _, row := range choices.DPrimes(I1) {
		d = append(d, row[0])
	}
	return d, nil
}

// The constants of Brain-Score's decoder.
const (
	adamRate    = 1e-4
	adamEpochs  = 40
	adamBatch   = 64
	adamPenalty = 0.463
	adamSeed    = 87654321
	adamEnough  = 1e-4
)

// adam is a softmax regression in float32.
type adam struct {
	objects  []string
	mean, sd []float64
	weights  []float32 // [features, objects]
	bias     []float32
}

func fitAdam(features [][]float64, labels []string) *adam {
	a := &adam{objects: firstAppearances(labels)}
	a.mean, a.sd = standard(features)
	p, k, n := len(a.mean), len(a.objects), len(features)
	own := make([]int, n)
	for i, label := range labels {
		own[i] = slices.Index(a.objects, label)
	}
	x := a.scaled(features)
	a.weights = truncatednormal.Float32s(adamSeed, p*k)
	scale := float32(math.Sqrt(1/float64(p)) / 0.87962566103423978)
	for i := range a.weights {
		a.weights[i] *= scale
	}
	a.bias = slices.Repeat([]float32{1}, k)
	parameters, gradient := len(a.weights)+k, make([]float32, len(a.weights)+k)
	first, second := make([]float32, parameters), make([]float32, parameters)
	random := numpyrandom.NewState(0)
	power1, power2 := float32(1), float32(1)
	for range adamEpochs {
		order := random.Permutation(n)
		last := float32(0)
		for from := 0; from < n; from += adamBatch {
			last = a.gradients(x, own, order[from:min(n, from+adamBatch)], gradient)
			power1, power2 = power1*0.9, power2*0.999
			rate := float32(adamRate) * float32(math.Sqrt(float64(1-power2))) / (1 - power1)
			for i, g := range gradient {
				first[i] += (g - first[i]) * (1 - 0.9)
				second[i] += (g*g - second[i]) * (1 - 0.999)
				step := rate * first[i] / (float32(math.Sqrt(float64(second[i]))) + 1e-8)
				if i < len(a.weights) {
					a.weights[i] -= step
				} else {
					a.bias[i-len(a.weights)] -= step
				}
			}
		}
		if last < adamEnough {
			break
		}
	}
	return a
}

// gradients fills those of a batch, and returns its cross-entropy.
func (a *adam) gradients(x [][]float32, own, batch []int, gradient []float32) (loss float32) {
	k := len(a.objects)
	penalty := float32(adamPenalty)
	for i, w := range a.weights {
		gradient[i] = penalty * w
	}
	for i, b := range a.bias {
		gradient[len(a.weights)+i] = penalty * b
	}
	share := 1 / float32(len(batch))
	row := make([]float64, k)
	for _, at := range batch {
		a.logits(x[at], row)
		of, largest := row[own[at]], slices.Max(row)
		loss += float32(softmax(row)+largest-of) * share
		row[own[at]]--
		for f, v := range x[at] {
			for o, e := range row {
				gradient[f*k+o] += v * float32(e) * share
			}
		}
		for o, e := range row {
			gradient[len(a.weights)+o] += float32(e) * share
		}
	}
	return loss
}

func (a *adam) logits(x []float32, row []float64) {
	k := len(row)
	sums := slices.Clone(a.bias)
	for f, v := range x {
		for o, w := range a.weights[f*k:][:k] {
			sums[o] += v * w
		}
	}
	for o, v := range sums {
		row[o] = float64(v)
	}
}

func (a *adam) scaled(features [][]float64) [][]float32 {
	x := make([][]float32, len(features))
	for i, row := range features {
		for f, v := range row {
			x[i] = append(x[i], float32((v-a.mean[f])/a.sd[f]))
		}
	}
	return x
}

func (a *adam) probabilities(features [][]float64) [][]float64 {
	var p [][]float64
	for _, x := range a.scaled(features) {
		row := make([]float64, len(a.objects))
		a.logits(x, row)
		softmax(row)
		p = append(p, row)
	}
	return p
}
