package compare

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// InferenceOptions say how sure similarities of dissimilarities are inferred to be.
type InferenceOptions struct {
	// Bootstrap says what is drawn; "" draws nothing (FixedInference).
	Bootstrap BootstrapKind
	// Samples is the number of draws; 0 means 1,000. Seed is that of NumPy's RandomState.
	Samples int
	Seed    uint32
}

// ScoreInference is how sure a score is. Probabilities are not corrected for the number of tests.
type ScoreInference struct {
	// Low and High are the ends of the 95 % interval.
	Low, High float64
	// AgainstZero is the one-sided probability that a score of 0 gives as large a one; AgainstCeiling the two-sided
	// one of as large a difference from the lower noise ceiling.
	AgainstZero, AgainstCeiling float64
	// Subjects have the similarity with each, in the order of their sorted names; nil for bootstraps.
	Subjects []float64
}

// Difference is one between two scores of a bin.
type Difference struct {
	Bin Bin
	// Layers are those compared, of features of the times Features.
	Layers   [2]string
	Features [2]Bin
	// Difference is the first less the second, P the two-sided probability of as large a one.
	Difference, P float64
}

// modelRDM are the dissimilarities of features.
type modelRDM struct {
	rdm   RDM
	layer string
	at    pair
}

func nan() float64 { return math.NaN() }

// infer completes the scores of each bin together, so that they can be told apart.
func (a *alignment) infer(ctx context.Context) error {
	o := *a.o.Inference
	if o.Samples == 0 {
		o.Samples = 1000
	}
	for bin := range a.k.bins() {
		if err := ctx.Err(); err != nil {
			return err
		}
		models := a.models[bin]
		if len(models) == 0 {
			continue
		}
		of, err := a.rdms(bin)
		if err != nil {
			return err
		}
		var rdms []RDM
		evaluations := make([][]float64, len(models))
		for m, model := range models {
			rdms = append(rdms, model.rdm)
			for _, subject := range of.subjects {
				v, _, err := CompareRDMs(model.rdm, subject, a.o.Similarity)
				if err != nil {
					return err
				}
				evaluations[m] = append(evaluations[m], v)
			}
		}
		var result *RSAInference
		if o.Bootstrap == "" {
			result, err = FixedInference(evaluations, of.lower, of.upper)
		} else {
			result, err = BootstrapInference(ctx, rdms, of.subjects, a.o.Similarity, o.Bootstrap, o.Samples, o.Seed)
			clear(evaluations)
		}
		if err != nil {
			return fmt.Errorf("%v ms: %w", a.k.bins()[bin], err)
		}
		a.takeInference(models, result, evaluations)
	}
	return nil
}

// takeInference completes the scores of one bin.
func (a *alignment) takeInference(models []modelRDM, r *RSAInference, evaluations [][]float64) {
	low, high := r.Interval(0.95)
	zero, ceiling, between := r.AgainstZero(), r.AgainstCeiling(), r.BetweenModels()
	for m, model := range models {
		bin := a.k.bins()[model.at.bin]
		at := slices.IndexFunc(a.result.Scores, func(s TimeScore) bool {
			return s.Layer == model.layer && s.Bin == bin && s.Features == model.at.window.bin
		})
		s := &a.result.Scores[at]
		s.Score = Score{Center: r.Means[m], Error: math.Sqrt(r.Variances[m])}
		s.LowerCeiling, s.Ceiling.Center, s.Normalisation = r.Ceiling[0], r.Ceiling[1], Ratio
		s.Ceiled = Ratio.Apply(s.Score.Center, s.Ceiling.Center)
		s.Inference = &ScoreInference{Low: low[m], High: high[m], AgainstZero: zero[m], AgainstCeiling: ceiling[m],
			Subjects: evaluations[m]}
		for k := m + 1; k < len(models); k++ {
			a.result.Differences = append(a.result.Differences,
				Difference{Bin: bin, Layers: [2]string{model.layer, models[k].layer},
					Features: [2]Bin{model.at.window.bin, models[k].at.window.bin}, Difference: r.Means[m] - r.Means[k],
					P: between[m][k]})
		}
	}
}
