package compare

import (
	"fmt"
	"math"
	"slices"
)

// Measure is a dissimilarity of responses or features, by rsatoolbox's name.
type Measure string

// The measures: CorrelationRDM, EuclideanRDM, MahalanobisRDM and CrossnobisRDM with the Precision of the
// NoiseCovariance of the repetitions, PoissonRDM.
const (
	CorrelationMeasure Measure = "correlation"
	EuclideanMeasure   Measure = "euclidean"
	MahalanobisMeasure Measure = "mahalanobis"
	CrossnobisMeasure  Measure = "crossnobis"
	PoissonMeasure     Measure = "poisson"
)

// Measures are all measures of responses.
func Measures() []Measure {
	return []Measure{CorrelationMeasure, EuclideanMeasure, MahalanobisMeasure, CrossnobisMeasure, PoissonMeasure}
}

// responseRDM returns the dissimilarities of averaged responses, or of the presentations, to all
// stimuli. The error wraps ErrData.
func responseRDM(m Measure, average Targets, trials func() (Trials, error)) (RDM, error) {
	switch m {
	case PoissonMeasure:
		return PoissonRDM(average)
	case MahalanobisMeasure, CrossnobisMeasure:
		each, err := trials()
		if err != nil {
			return RDM{}, err
		}
		covariance, err := NoiseCovariance(each)
		if err != nil {
			return RDM{}, fmt.Errorf("%s: the noise of the repetitions: %w", m, err)
		}
		precision, err := Precision(covariance)
		if err != nil {
			return RDM{}, fmt.Errorf("%s: %w", m, err)
		}
		if m == CrossnobisMeasure {
			return CrossnobisRDM(each, precision)
		}
		return MahalanobisRDM(average, precision)
	}
	g, err := GramOfTargets(average)
	if err != nil {
		return RDM{}, err
	}
	if m == EuclideanMeasure {
		return EuclideanRDM(g), nil
	}
	return CorrelationRDM(g), nil
}

// binRDMs are the dissimilarities of the responses in a bin: of all neuroids, and of each subject's.
type binRDMs struct {
	responses    RDM
	subjects     []RDM
	lower, upper float64 // the noise ceiling over subjects, NaN for fewer than two
}

// mostRDMs bounds the dissimilarities of responses that are kept, in values.
const mostRDMs = 64 << 20

// rdms returns the dissimilarities in a bin.
func (a *alignment) rdms(bin int) (*binRDMs, error) {
	if known := a.bins[bin]; known != nil {
		return known, nil
	}
	average, err := a.k.average(bin)
	if err != nil {
		return nil, err
	}
	of := func(neuroids []int) (RDM, error) {
		part := average
		if neuroids != nil {
			part = nil
			for _, row := range average {
				part = append(part, pick(row, neuroids))
			}
		}
		if a.o.Missing == PerNeuroid && part.hasMissing() {
			return PairwiseRDM(part, a.o.Measure)
		}
		return responseRDM(a.o.Measure, part, func() (Trials, error) { return a.trialsOf(bin, neuroids) })
	}
	b := &binRDMs{lower: nan(), upper: nan()}
	if b.responses, err = of(nil); err != nil {
		return nil, err
	}
	if len(a.names) > 1 {
		for _, name := range a.names {
			var own []int
			for j, subject := range a.subjects {
				if subject == name {
					own = append(own, j)
				}
			}
			rdm, err := of(own)
			if err != nil {
				return nil, fmt.Errorf("subject %s: %w", name, err)
			}
			if !slices.ContainsFunc(rdm.Values, isNumber) {
				if a.o.Inference != nil {
					return nil, fmt.Errorf("%w: subject %s has no dissimilarities of stimuli", ErrData, name)
				}
				a.noteOnce(fmt.Sprintf("subject %s is left out of the noise ceiling: it has no dissimilarities of stimuli", name))
				continue
			}
			b.subjects = append(b.subjects, rdm)
		}
		a.notePairs(b.subjects)
		ceiling := RSANoiseCeiling
		if a.o.Similarity == RankCorrelation && a.o.Inference == nil {
			ceiling = func(subjects []RDM, _ Similarity) (float64, float64, error) { return BrainScoreRSACeiling(subjects) }
		}
		if len(b.subjects) > 1 {
			if b.lower, b.upper, err = ceiling(b.subjects, a.o.Similarity); err != nil {
				return nil, err
			}
		}
	}
	if a.o.Inference == nil {
		b.subjects = nil // no longer needed
	}
	if (len(a.bins)+1)*(len(b.subjects)+1)*len(b.responses.Values) > mostRDMs {
		clear(a.bins)
	}
	a.bins[bin] = b
	return b, nil
}

func isNumber(v float64) bool { return !math.IsNaN(v) }

// notePairs says how many pairs of stimuli some subject has no dissimilarity of.
func (a *alignment) notePairs(subjects []RDM) {
	if len(subjects) < 2 {
		return
	}
	missing := 0
	for i := range subjects[0].Values {
		if slices.ContainsFunc(subjects, func(r RDM) bool { return math.IsNaN(r.Values[i]) }) {
			missing++
		}
	}
	if missing > 0 {
		a.noteOnce(fmt.Sprintf(
			"%d of %d pairs of stimuli are left out of the noise ceiling: some subject has no dissimilarity of them", missing,
			len(subjects[0].Values)))
	}
}

// trialsOf returns the presentations of some of the neuroids, nil for all.
func (a *alignment) trialsOf(bin int, neuroids []int) (Trials, error) {
	all, err := a.k.trials(bin)
	if err != nil || neuroids == nil {
		return all, err
	}
	trials := make(Trials, len(all))
	for i, stimulus := range all {
		for _, row := range stimulus {
			trials[i] = append(trials[i], pick(row, neuroids))
		}
	}
	return trials, nil
}
