package compare

import (
	"context"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/tfconvrnn/go/internal/numpyrandom"
)

// RSAInference says how sure similarities of models with subjects' dissimilarities are,
// as rsatoolbox does.
type RSAInference struct {
	// Means are of the models; Variances are of the means, and NoiseVariance is of the
	// lower noise ceiling.
	Means, Variances []float64
	// Ceiling is the lower and the upper noise ceiling.
	Ceiling [2]float64
	// PairVariances are of the differences of models' means, [models][models]; NoiseDifferences of
	// those from the lower noise ceiling.
	PairVariances    [][]float64
	NoiseDifferences []float64
	// DegreesOfFreedom are those of t.
	DegreesOfFreedom float64
}

// FixedInference is over subjects that were drawn, and stimuli that were not.
// evaluations are [models][subjects]. The error wraps ErrData.
func FixedInference(evaluations [][]float64, lower, upper float64) (*RSAInference, error) {
	if len(evaluations) == 0 || len(evaluations[0]) < 2 {
		return nil, fmt.Errorf("%w: inference needs two subjects", ErrData)
	}
	subjects := float64(len(evaluations[0]))
	variance := func(values []float64) float64 {
		d := deviation(values, 0)
		return d * d / subjects * subjects / (subjects - 1)
	}
	r := &RSAInference{Ceiling: [2]float64{lower, upper}, DegreesOfFreedom: subjects - 1}
	for _, own := range evaluations {
		r.Means, r.Variances = append(r.Means, meanOf(own)), append(r.Variances, variance(own))
		// The ceiling is one number for all subjects, so the differences from it vary as the
		// model does.
		r.NoiseDifferences = append(r.NoiseDifferences, variance(own))
		row := make([]float64, len(evaluations))
		for k, other := range evaluations {
			difference := make([]float64, len(own))
			for i := range own {
				difference[i] = own[i] - other[i]
			}
			row[k] = variance(difference)
		}
		r.PairVariances = append(r.PairVariances, row)
	}
	return r, nil
}

// AgainstZero returns one-sided probabilities that means of 0 give as large ones.
func (r *RSAInference) AgainstZero() []float64 {
	p := make([]float64, len(r.Means))
	for i, mean := range r.Means {
		p[i] = 1 - r.t().CDF(mean/math.Sqrt(r.Variances[i]))
	}
	return p
}

// AgainstCeiling returns two-sided probabilities of as large differences from the lower
// noise ceiling.
func (r *RSAInference) AgainstCeiling() []float64 {
	p := make([]float64, len(r.Means))
	for i, mean := range r.Means {
		p[i] = r.twoSided((mean - r.Ceiling[0]) / math.Sqrt(r.NoiseDifferences[i]))
	}
	return p
}

// BetweenModels returns two-sided probabilities of as large differences, [models][models].
func (r *RSAInference) BetweenModels() [][]float64 {
	p := make([][]float64, len(r.Means))
	for i := range p {
		for k := range p {
			if i == k {
				p[i] = append(p[i], 1)
			} else {
				p[i] = append(p[i], r.twoSided((r.Means[i]-r.Means[k])/math.Sqrt(r.PairVariances[i][k])))
			}
		}
	}
	return p
}

// Interval returns the confidence interval of each mean, for a level such as 0.95.
func (r *RSAInference) Interval(level float64) (low, high []float64) {
	t := r.t().Quantile((1 + level) / 2)
	for i, mean := range r.Means {
		e := t * math.Sqrt(r.Variances[i])
		low, high = append(low, mean-e), append(high, mean+e)
	}
	return low, high
}

func (r *RSAInference) t() distuv.StudentsT {
	return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: r.DegreesOfFreedom}
}

func (r *RSAInference) twoSided(t float64) float64 { return 2 * r.t().CDF(-math.Abs(t)) }

// BootstrapKind says what a bootstrap of similarities draws.
type BootstrapKind string

// The bootstraps.
const (
	BootstrapStimuli  BootstrapKind = "stimuli"
	BootstrapSubjects BootstrapKind = "subjects"
	BootstrapBoth     BootstrapKind = "both"
	// BootstrapDual corrects that over both for counting some of the variance twice; it is
	// what its authors recommend.
	BootstrapDual BootstrapKind = "dual"
)

// fewestForBootstrap is the number of stimuli below which samples are mostly undefined.
const fewestForBootstrap = 10

// BootstrapInference draws samples of subjects and stimuli, with the seed of NumPy's
// RandomState, and infers from the variances over them. The sample of a stimulus that is
// drawn twice has no dissimilarity with itself. Samples with fewer than 3 distinct stimuli are NaN.
// The error wraps ErrData, also for fewer than 10 stimuli, or is that of ctx, which ends it between two samples.
func BootstrapInference(ctx context.Context, models, subjects []RDM, s Similarity, kind BootstrapKind, samples int,
	seed uint32) (*RSAInference, error) {
	if len(models) == 0 || len(subjects) < 2 || samples < 2 || subjects[0].Stimuli < fewestForBootstrap {
		return nil, fmt.Errorf(
			"%w: a bootstrap of %d models, %d subjects, %d samples; it needs two subjects, %d stimuli and two samples", ErrData,
			len(models), len(subjects), samples, fewestForBootstrap)
	}
	n, count := subjects[0].Stimuli, len(subjects)
	random := numpyrandom.NewState(seed)
	draw := func(n int) []int {
		list := make([]int, n)
		for i := range list {
			list[i] = random.Intn(n)
		}
		slices.Sort(list)
		return list
	}
	everyone, everything := upTo(count), upTo(n)
	samplesOf := map[BootstrapKind][][]float64{}
	for range samples {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		who, what := everyone, everything
		if kind != BootstrapStimuli {
			who = draw(count)
		}
		if kind != BootstrapSubjects {
			what = draw(n)
		}
		for part, choice := range map[BootstrapKind][2][]int{BootstrapBoth: {who, what}, BootstrapSubjects: {who, everything},
			BootstrapStimuli: {everyone, what}} {
			if part != kind && kind != BootstrapDual {
				continue
			}
			values, err := sample(models, subjects, s, choice[0], choice[1])
			if err != nil {
				return nil, err
			}
			samplesOf[part] = append(samplesOf[part], values)
		}
	}
	return inferred(samplesOf, kind, len(models), count, n)
}

// sample evaluates the models, the lower and the upper noise ceiling on drawn subjects
// and stimuli.
func sample(models, subjects []RDM, s Similarity, who, what []int) ([]float64, error) {
	values := slices.Repeat([]float64{math.NaN()}, len(models)+2)
	if len(slices.Compact(slices.Clone(what))) < 3 {
		return values, nil
	}
	var drawn []RDM
	for _, i := range who {
		drawn = append(drawn, subset(subjects[i], what))
	}
	for m, model := range models {
		model = subset(model, what)
		sum := 0.0
		for _, r := range drawn {
			v, _, err := CompareRDMs(model, r, s)
			if err != nil {
				return nil, err
			}
			sum += v
		}
		values[m] = sum / float64(len(drawn))
	}
	lower, upper, err := drawnCeiling(drawn, who, s)
	values[len(models)], values[len(models)+1] = lower, upper
	return values, err
}

// subset is the dissimilarities of drawn stimuli; of one with itself there is none.
func subset(r RDM, stimuli []int) RDM {
	return newRDM(len(stimuli), func(i, j int) float64 {
		if stimuli[i] == stimuli[j] {
			return math.NaN()
		}
		return r.At(stimuli[i], stimuli[j])
	})
}

// drawnCeiling leaves out all copies of a subject that was drawn several times.
func drawnCeiling(drawn []RDM, who []int, s Similarity) (lower, upper float64, err error) {
	ready := alike(drawn, func(r RDM) RDM { return prepared(r, s) })
	all := pooled(ready, -1)
	counted := 0
	for i, r := range drawn {
		v, _, err := CompareRDMs(r, all, s)
		if err != nil {
			return 0, 0, err
		}
		upper += v / float64(len(drawn))
		var others []RDM
		for k := range ready {
			if who[k] != who[i] {
				others = append(others, ready[k])
			}
		}
		if len(others) == 0 {
			continue
		}
		counted++
		if v, _, err = CompareRDMs(r, pooled(others, -1), s); err != nil {
			return 0, 0, err
		}
		lower += v
	}
	return lower / float64(counted), upper, nil
}

// inferred makes means and variances of samples [samples][models, lower, upper ceiling].
func inferred(samplesOf map[BootstrapKind][][]float64, kind BootstrapKind, models, subjects, stimuli int) (
	*RSAInference, error) {
	s, n := float64(subjects), float64(stimuli)
	parts := []BootstrapKind{kind}
	if kind == BootstrapDual {
		parts = []BootstrapKind{BootstrapBoth, BootstrapSubjects, BootstrapStimuli}
	}
	of := func(part BootstrapKind, value func([]float64) float64) []float64 {
		var values []float64
		for _, row := range samplesOf[part] {
			values = append(values, value(row))
		}
		return values
	}
	variance := func(value func([]float64) float64) float64 {
		v := func(part BootstrapKind) float64 { d := deviation(of(part, value), 1); return d * d }
		switch kind {
		case BootstrapStimuli:
			return v(kind) * n / (n - 1)
		case BootstrapSubjects:
			return v(kind) * s / (s - 1)
		case BootstrapBoth:
			return v(kind) * min(s, n) / (min(s, n) - 1)
		}
		return DualVariance(v(BootstrapBoth), v(BootstrapSubjects), v(BootstrapStimuli), subjects, stimuli)
	}
	at := func(k int) func([]float64) float64 { return func(row []float64) float64 { return row[k] } }
	// The mean over all parts of each sample.
	mean := func(value func([]float64) float64) float64 {
		means := make([]float64, len(samplesOf[parts[0]]))
		for i := range means {
			var values []float64
			for _, part := range parts {
				values = append(values, value(samplesOf[part][i]))
			}
			means[i] = nanMean(values)
		}
		return nanMean(means)
	}
	r := &RSAInference{DegreesOfFreedom: map[BootstrapKind]float64{BootstrapStimuli: n - 1,
		BootstrapSubjects: s - 1}[kind]}
	if r.DegreesOfFreedom == 0 {
		r.DegreesOfFreedom = min(s, n) - 1
	}
	r.Ceiling = [2]float64{mean(at(models)), mean(at(models + 1))}
	for m := range models {
		r.Means, r.Variances = append(r.Means, mean(at(m))), append(r.Variances, variance(at(m)))
		difference := func(v []float64) float64 { return v[m] - v[models] }
		if kind == BootstrapSubjects { // the ceiling counts as fixed, as in rsatoolbox
			difference = at(m)
		}
		r.NoiseDifferences = append(r.NoiseDifferences, variance(difference))
		var row []float64
		for k := range models {
			row = append(row, variance(func(v []float64) float64 { return v[m] - v[k] }))
		}
		r.PairVariances = append(r.PairVariances, row)
	}
	return r, nil
}

// DualVariance combines the variances of bootstraps over both, subjects and stimuli:
//
//	v = S/(S−1) v₁ + n/(n−1) v₂ − Sn/((S−1)(n−1)) (v₀ − v₁ − v₂)
//
// at least either corrected single one, and at most v₀.
func DualVariance(both, overSubjects, overStimuli float64, subjects, stimuli int) float64 {
	s, n := float64(subjects), float64(stimuli)
	one, two := s/(s-1)*overSubjects, n/(n-1)*overStimuli
	v := one + two - s*n/((s-1)*(n-1))*(both-overSubjects-overStimuli)
	return min(max(v, one, two), both)
}
