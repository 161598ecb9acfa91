package compare

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// Alignment is a way to compare features with responses that fits nothing.
type Alignment string

// The alignments.
const (
	// RSA compares dissimilarities of stimuli.
	RSA Alignment = "rsa"
	// UnbiasedCKA and BiasedCKAlignment are CKA and BiasedCKA.
	UnbiasedCKA       Alignment = "cka"
	BiasedCKAlignment Alignment = "cka-biased"
)

// AlignmentOptions says how SimilarityOverTime compares. The zero value is Brain-Score's RSA.
type AlignmentOptions struct {
	// Alignment is RSA if "".
	Alignment Alignment
	// Euclidean takes EuclideanRDM instead of CorrelationRDM, for RSA.
	Euclidean bool
	// Similarity is RankCorrelation if "", for RSA.
	Similarity Similarity
	// Subjects are those of the neuroids, in the order of the responses. Of two and more, RSA's noise
	// ceiling is computed: with their plain mean for RankCorrelation, as Brain-Score does.
	Subjects []string
	// Splits, if not nil, scores the test stimuli of each split, such as Splits{TestFraction: 0.9}, of
	// Brain-Score's rdm_cv and cka_cv; the score is their mean. Stratify is that of FitOptions. The noise ceiling
	// is that of all stimuli.
	Splits   *Splits
	Stratify string
	// Layers, Offset, Matrix, Missing, Shared and Progress are those of FitOptions.
	Layers   []string
	Offset   float64
	Matrix   bool
	Missing  Missing
	Shared   bool
	Progress func(done, of int64)
}

// alignment is one call of SimilarityOverTime.
type alignment struct {
	*fitting
	o        AlignmentOptions
	subjects []string // of the neuroids that are compared
	noted    bool
}

// SimilarityOverTime compares the features of each layer with the responses in each bin of
// time by their dissimilarities or by CKA; otherwise as FitOverTime. All neuroids are
// taken together. RSA is normalised by the upper noise ceiling and not squared; CKA has no ceiling.
func SimilarityOverTime(ctx context.Context, f Features, r Responses, o AlignmentOptions) (*Fits, error) {
	if o.Alignment == "" {
		o.Alignment = RSA
	}
	if o.Similarity == "" {
		o.Similarity = RankCorrelation
	}
	if !slices.Contains([]Alignment{RSA, UnbiasedCKA, BiasedCKAlignment}, o.Alignment) {
		return nil, fmt.Errorf("%w: unknown alignment %q", ErrData, o.Alignment)
	}
	if o.Subjects != nil && len(o.Subjects) != len(r.Neuroids()) {
		return nil, fmt.Errorf("%w: subjects of %d neuroids, and there are %d", ErrData, len(o.Subjects), len(r.Neuroids()))
	}
	if o.Missing == PerNeuroid {
		return nil, fmt.Errorf("%w: only ridge can fit each neuroid on its own stimuli", ErrData)
	}
	c, layers, err := newFitting(ctx, f, r, FitOptions{Layers: o.Layers, Offset: o.Offset, Matrix: o.Matrix, Missing: o.Missing, Shared: o.Shared, Progress: o.Progress})
	if err != nil {
		return nil, err
	}
	a := &alignment{fitting: c, o: o}
	if o.Splits != nil {
		if err := c.split(*o.Splits, o.Stratify); err != nil {
			return nil, err
		}
	}
	if o.Subjects != nil {
		a.subjects = pick(o.Subjects, c.k.neuroids)
	}
	c.score = a.compare
	return c.run(ctx, layers)
}

func (a *alignment) rdm(g *Gram) RDM {
	if a.o.Euclidean {
		return EuclideanRDM(g)
	}
	return CorrelationRDM(g)
}

// compare compares one window of features with one bin of responses.
func (a *alignment) compare(layer string, g *Gram, p pair) (*TimeScore, error) {
	s := a.empty(layer, p)
	if s.Reason != "" {
		return s, nil
	}
	if g.Constant() {
		s.Reason = notDriven
		return s, nil
	}
	targets, err := a.k.average(p.bin)
	if err != nil {
		return nil, err
	}
	responses, err := GramOfTargets(targets)
	if err != nil {
		return nil, err
	}
	leftOut, err := a.similarity(s, g, responses)
	if err != nil || a.o.Alignment != RSA {
		return s, err
	}
	if leftOut > 0 && !a.noted {
		a.noted = true
		a.k.notes = append(a.k.notes, fmt.Sprintf("pairs of stimuli without a dissimilarity are left out: %d of layer %s at %v ms", leftOut, layer, s.Bin))
	}
	if s.LowerCeiling, s.Ceiling.Center, err = a.noiseCeiling(targets); err != nil {
		return nil, err
	}
	if !math.IsNaN(s.Ceiling.Center) {
		s.Normalisation = Ratio
		s.Ceiled = Ratio.Apply(s.Score.Center, s.Ceiling.Center)
	}
	return s, nil
}

// similarity compares all stimuli, or those that each split tests on. leftOut counts pairs of stimuli.
func (a *alignment) similarity(s *TimeScore, g, responses *Gram) (leftOut int, err error) {
	biased := a.o.Alignment == BiasedCKAlignment
	switch {
	case a.splits == nil && a.o.Alignment == RSA:
		s.Score.Center, leftOut, err = CompareRDMs(a.rdm(g), a.rdm(responses), a.o.Similarity)
		return leftOut, err
	case a.splits == nil && biased:
		s.Score.Center, err = BiasedCKA(g, responses)
		return 0, err
	case a.splits == nil:
		s.Score.Center, err = CKA(g, responses)
		return 0, err
	}
	var score *Score
	if a.o.Alignment == RSA {
		score, leftOut, err = CrossValidatedRDMs(a.rdm(g), a.rdm(responses), a.splits, a.o.Similarity)
	} else {
		score, err = CrossValidatedCKA(g, responses, a.splits, biased)
	}
	if err != nil {
		return 0, err
	}
	s.Score = *score
	for _, values := range score.Raw {
		if math.IsNaN(values[0]) {
			s.UndefinedSplits++
		}
	}
	return leftOut, nil
}

// noiseCeiling is that over subjects; NaN for fewer than two.
func (a *alignment) noiseCeiling(targets Targets) (lower, upper float64, err error) {
	names := slices.Compact(slices.Sorted(slices.Values(a.subjects)))
	if len(names) < 2 {
		return math.NaN(), math.NaN(), nil
	}
	var rdms []RDM
	for _, name := range names {
		var own []int
		for j, subject := range a.subjects {
			if subject == name {
				own = append(own, j)
			}
		}
		var part Targets
		for _, responses := range targets {
			part = append(part, pick(responses, own))
		}
		g, err := GramOfTargets(part)
		if err != nil {
			return 0, 0, err
		}
		rdms = append(rdms, a.rdm(g))
	}
	if a.o.Similarity == RankCorrelation {
		return BrainScoreRSACeiling(rdms)
	}
	return RSANoiseCeiling(rdms, a.o.Similarity)
}

// FeaturesAt reads the features of some stimuli, by their positions, in a layer in a bin of time,
// [stimuli][features]: the mean over the layer's bins with which it overlaps. Where there are none of that
// time, or the layer is not driven, reason says so. Errors are the features' own or ctx's.
func FeaturesAt(ctx context.Context, f Features, layer int, stimuli []int, bin Bin) (rows [][]float32, reason string, err error) {
	about := f.Layers()[layer]
	w := windowOf(about, bin)
	if w.reason != "" {
		return nil, w.reason, nil
	}
	for _, stimulus := range stimuli {
		if err := ctx.Err(); err != nil {
			return nil, "", err
		}
		row, err := f.Row(layer, stimulus)
		if err != nil {
			return nil, "", err
		}
		if len(row) != max(len(about.Bins), 1)*about.Size {
			return nil, "", fmt.Errorf("%w: %d values of layer %s", ErrData, len(row), about.Name)
		}
		rows = append(rows, slices.Clone(blended(row, about.Size, w.weights, 0, about.Size)))
	}
	return rows, "", nil
}

// Positions returns where stimuli are among those of features. The error is a
// *MissingFeaturesError, or wraps ErrData for features of a stimulus twice.
func Positions(f Features, stimuli []string) ([]int, error) {
	at, _, err := positions(f, stimuli)
	return at, err
}
