package compare

import (
	"fmt"
	"math"
	"slices"
)

// DropTrials leaves out trials without a choice, and keeps the others of the same images; of behaviour only.
const DropTrials Missing = "drop-trials"

// Complete returns the solution times of the images that have all that is needed: a label and a threshold. A time
// that is missing says that an image is not solved. What lacks them is an error that wraps ErrMissing, or, with
// DropStimuli, left out; note says so then. There are no neuroids, so other policies wrap ErrOptions.
func (m *SolutionTimes) Complete(policy Missing) (whole *SolutionTimes, note string, err error) {
	lacking := func(i int) bool { return m.Labels[i] == "" || math.IsNaN(m.Thresholds[i]) }
	whole, left := m.without(lacking)
	switch {
	case policy != RefuseMissing && policy != DropStimuli && policy != "":
		return nil, "", fmt.Errorf("%w: solution times are of images, so that what is missing is refused, or %s", ErrOptions,
			DropStimuli)
	case len(left) == 0:
		return m, "", nil
	case policy != DropStimuli:
		return nil, "", fmt.Errorf("%w: %d of %d images lack a label or the behavioural threshold: %s", ErrMissing, len(left),
			len(m.Images), shortList(left))
	case len(whole.Images) == 0:
		return nil, "", fmt.Errorf("%w: all %d images lack a label or the behavioural threshold", ErrData, len(m.Images))
	}
	return whole, fmt.Sprintf("%d of %d images left out, which lack a label or the behavioural threshold: %s", len(left),
		len(m.Images), shortList(left)), nil
}

// Among returns the solution times of images that there are features of; note says how many are left out, if some are.
func (m *SolutionTimes) Among(f Features) (shared *SolutionTimes, note string) {
	there := setOf(f.Stimuli())
	shared, left := m.without(func(i int) bool { return !there[m.Images[i]] })
	if len(left) == 0 {
		return m, ""
	}
	return shared, fmt.Sprintf("%d of %d images left out: there are no features of them, such as %s", len(left),
		len(m.Images), left[0])
}

func (m *SolutionTimes) without(out func(i int) bool) (rest *SolutionTimes, left []string) {
	rest = &SolutionTimes{}
	for i, id := range m.Images {
		if out(i) {
			left = append(left, id)
			continue
		}
		rest.Images, rest.Labels = append(rest.Images, id), append(rest.Labels, m.Labels[i])
		rest.Times, rest.Thresholds = append(rest.Times, m.Times[i]), append(rest.Thresholds, m.Thresholds[i])
	}
	return rest, left
}

// CompleteTrials returns the trials of which each has a choice. Those without are an error that wraps ErrMissing, or
// left out: with DropTrials alone, with DropStimuli with all of their images; note says so then. There are no neuroids,
// so other policies wrap ErrOptions.
func CompleteTrials(trials []Trial, policy Missing) (whole []Trial, note string, err error) {
	lacking := map[string]int{} // trials of each image
	count := 0
	for _, t := range trials {
		if t.Choice == "" {
			lacking[t.Image]++
			count++
		}
	}
	switch {
	case !slices.Contains([]Missing{"", RefuseMissing, DropStimuli, DropTrials}, policy):
		return nil, "", fmt.Errorf("%w: behaviour is of trials, so that what is missing is refused, or %s or %s", ErrOptions,
			DropStimuli, DropTrials)
	case count == 0:
		return trials, "", nil
	case policy != DropStimuli && policy != DropTrials:
		return nil, "", fmt.Errorf("%w: %d of %d trials, of %d images, are without a choice", ErrMissing, count, len(trials),
			len(lacking))
	}
	for _, t := range trials {
		if t.Choice != "" && (policy == DropTrials || lacking[t.Image] == 0) {
			whole = append(whole, t)
		}
	}
	if len(whole) == 0 {
		return nil, "", fmt.Errorf("%w: no trial is left with %s", ErrData, policy)
	}
	return whole, fmt.Sprintf("%d of %d trials left out, of which %d are without a choice", len(trials)-len(whole),
		len(trials), count), nil
}

// TrialsAmong returns the trials of images that there are features of; note says how many are left out, if some are.
func TrialsAmong(f Features, trials []Trial) (shared []Trial, note string) {
	there := setOf(f.Stimuli())
	for _, t := range trials {
		if there[t.Image] {
			shared = append(shared, t)
		}
	}
	if left := len(trials) - len(shared); left > 0 {
		note = fmt.Sprintf("%d of %d trials left out: there are no features of their images", left, len(trials))
	}
	return shared, note
}

func setOf(ids []string) map[string]bool {
	set := make(map[string]bool, len(ids))
	for _, id := range ids {
		set[id] = true
	}
	return set
}

// PairwiseRDM has the dissimilarities of responses of which some are NaN: that of two stimuli is over the neuroids that
// have responses to both, and NaN where they are fewer than two, or have one response to all. The measure is
// CorrelationMeasure or EuclideanMeasure, of which the others cannot be had pair by pair: the error wraps ErrOptions.
func PairwiseRDM(responses Targets, m Measure) (RDM, error) {
	if m != CorrelationMeasure && m != EuclideanMeasure {
		return RDM{}, fmt.Errorf("%w: %s dissimilarities need all responses", ErrOptions, m)
	}
	return newRDM(len(responses), func(i, j int) float64 {
		var a, b []float64
		square := 0.0
		for k, x := range responses[i] {
			if y := responses[j][k]; !math.IsNaN(x) && !math.IsNaN(y) {
				a, b = append(a, x), append(b, y)
				square += (x - y) * (x - y)
			}
		}
		switch {
		case len(a) < 2:
			return math.NaN()
		case m == EuclideanMeasure:
			return square / float64(len(a))
		}
		return 1 - Pearson(a, b)
	}), nil
}

// pairwiseGram has the products of responses of which some are NaN: that of two stimuli is the mean over the neuroids
// that have responses to both, times the number of all. The error wraps ErrData where two stimuli share none.
func pairwiseGram(responses Targets) (*Gram, error) {
	n := len(responses)
	g := NewGram(n)
	g.features = len(responses[0])
	for i, row := range responses {
		g.varies = g.varies || !slices.Equal(row, responses[0])
		for j := range i + 1 {
			sum, count := 0.0, 0.0
			for k, x := range row {
				if v := x * responses[j][k]; !math.IsNaN(v) {
					sum += v
					count++
				}
			}
			if count == 0 {
				return nil, fmt.Errorf("%w: no neuroid has responses to both of two stimuli, so that their product cannot be had; drop stimuli or neuroids",
					ErrData)
			}
			g.k[i*n+j] = sum / count * float64(g.features)
		}
		g.sums[i] = nanMean(row) * float64(g.features)
	}
	return g, nil
}

// hasMissing tells whether some response is NaN.
func (t Targets) hasMissing() bool {
	return slices.ContainsFunc(t, func(row []float64) bool { return slices.ContainsFunc(row, math.IsNaN) })
}
