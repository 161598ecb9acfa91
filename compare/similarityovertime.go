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
	// Measure is the dissimilarity of responses, for RSA; CorrelationMeasure if "". FeatureMeasure is that of
	// features, CorrelationMeasure or EuclideanMeasure; if "" it is the same one, or, where responses have one
	// that needs repetitions or rates, EuclideanMeasure.
	Measure, FeatureMeasure Measure
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
	// Inference, if not nil, is over subjects, for RSA: scores are means over subjects of the similarity with each
	// one's dissimilarities, and have errors, intervals and probabilities; the noise ceiling is rsatoolbox's.
	Inference *InferenceOptions
	// Layers, Offsets, Matrix, Missing, Shared, Cache and Progress are those of FitOptions.
	Layers   []string
	Offsets  []float64
	Matrix   bool
	Missing  Missing
	Shared   bool
	Cache    *GramCache
	Progress func(done, of int64)
}

// alignment is one call of SimilarityOverTime.
type alignment struct {
	*fitting
	o     AlignmentOptions
	noted bool
	names []string // of the subjects
	bins  map[int]*binRDMs
	// models are the dissimilarities of all layers and windows that are compared with a bin, for inference.
	models map[int][]modelRDM
}

// SimilarityOverTime compares the features of each layer with the responses in each bin of
// time by their dissimilarities or by CKA; otherwise as FitOverTime. All neuroids are
// taken together. RSA is normalised by the upper noise ceiling and not squared; CKA has no ceiling.
func SimilarityOverTime(ctx context.Context, f Features, r Responses, o AlignmentOptions) (*Fits, error) {
	if err := o.check(r); err != nil {
		return nil, err
	}
	c, layers, err := newFitting(ctx, f, r, FitOptions{Layers: o.Layers, Offsets: o.Offsets, Matrix: o.Matrix,
		Missing: o.Missing, Shared: o.Shared, Subjects: o.Subjects, Cache: o.Cache, Progress: o.Progress})
	if err != nil {
		return nil, err
	}
	a := &alignment{fitting: c, o: o, bins: map[int]*binRDMs{}, models: map[int][]modelRDM{}}
	a.names = slices.Compact(slices.Sorted(slices.Values(c.subjects)))
	if o.Alignment == RSA && len(c.at) < 3 {
		return nil, fmt.Errorf("%w: dissimilarities of %d stimuli; at least 3 are compared", ErrData, len(c.at))
	}
	if o.Splits != nil {
		if err := c.split(*o.Splits, o.Stratify); err != nil {
			return nil, err
		}
	}
	if o.Inference != nil && len(a.names) < 2 {
		return nil, fmt.Errorf("%w: inference over %d subjects; it needs two", ErrData, len(a.names))
	}
	c.score = a.compare
	fits, err := c.run(ctx, layers)
	if err != nil || o.Inference == nil {
		return fits, err
	}
	return fits, a.infer(ctx)
}

// OfFeatures is the measure of features.
func (o *AlignmentOptions) OfFeatures() Measure {
	switch {
	case o.FeatureMeasure != "":
		return o.FeatureMeasure
	case o.Measure == CorrelationMeasure || o.Measure == "":
		return CorrelationMeasure
	}
	return EuclideanMeasure
}

// check refuses what cannot be computed, and sets defaults.
func (o *AlignmentOptions) check(r Responses) error {
	if o.Alignment == "" {
		o.Alignment = RSA
	}
	if o.Similarity == "" {
		o.Similarity = RankCorrelation
	}
	if o.Measure == "" {
		o.Measure = CorrelationMeasure
	}
	o.FeatureMeasure = o.OfFeatures()
	for _, c := range []struct {
		wrong bool
		why   string
	}{
		{!slices.Contains([]Alignment{RSA, UnbiasedCKA, BiasedCKAlignment}, o.Alignment),
			fmt.Sprintf("unknown alignment %q", o.Alignment)},
		{!slices.Contains(Measures(), o.Measure), fmt.Sprintf("unknown measure %q", o.Measure)},
		{o.FeatureMeasure != CorrelationMeasure && o.FeatureMeasure != EuclideanMeasure,
			fmt.Sprintf("features have no measure %q: no repetitions, and no rates", o.FeatureMeasure)},
		{o.Subjects != nil && len(o.Subjects) != len(r.Neuroids()), fmt.Sprintf("subjects of %d neuroids, and there are %d",
			len(o.Subjects), len(r.Neuroids()))},
		{o.Missing == PerNeuroid && o.Alignment == RSA && o.Measure != CorrelationMeasure && o.Measure != EuclideanMeasure,
			fmt.Sprintf("%s dissimilarities need all responses", o.Measure)},
		{o.Matrix && len(o.Offsets) > 1, "all times are compared with all, so that offsets are not needed"},
		{o.Inference != nil && (o.Alignment != RSA || o.Splits != nil), "inference is of dissimilarities of all stimuli"},
	} {
		if c.wrong {
			return fmt.Errorf("%w: %s", ErrOptions, c.why)
		}
	}
	return nil
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
	if a.o.Alignment != RSA {
		targets, err := a.k.average(p.bin)
		if err != nil {
			return nil, err
		}
		gram := GramOfTargets
		if a.o.Missing == PerNeuroid && targets.hasMissing() {
			gram = pairwiseGram
		}
		responses, err := gram(targets)
		if err != nil {
			return nil, err
		}
		return s, a.align(s, g, responses)
	}
	of, err := a.rdms(p.bin)
	if err != nil {
		return nil, err
	}
	model := CorrelationRDM
	if a.o.FeatureMeasure == EuclideanMeasure {
		model = EuclideanRDM
	}
	features := model(g)
	if a.o.Inference != nil {
		a.models[p.bin] = append(a.models[p.bin], modelRDM{features, layer, p})
		return s, nil
	}
	leftOut, err := a.similarity(s, features, of.responses)
	if err != nil {
		return nil, err
	}
	if leftOut > 0 && !a.noted {
		a.noted = true
		a.k.notes = append(a.k.notes,
			fmt.Sprintf("pairs of stimuli without a dissimilarity are left out: %d of layer %s at %v ms", leftOut, layer, s.Bin))
	}
	s.LowerCeiling, s.Ceiling.Center = of.lower, of.upper
	if math.IsNaN(s.Score.Center) {
		s.Reason = "the dissimilarities of the responses or of the features are undefined or all the same"
	}
	if !math.IsNaN(s.Ceiling.Center) {
		s.Normalisation = Ratio
		s.Ceiled = Ratio.Apply(s.Score.Center, s.Ceiling.Center)
	}
	return s, nil
}

// similarity compares dissimilarities of all stimuli, or of those that each split tests on. leftOut counts pairs of
// stimuli.
func (a *alignment) similarity(s *TimeScore, features, responses RDM) (leftOut int, err error) {
	if a.splits == nil {
		s.Score.Center, leftOut, err = CompareRDMs(features, responses, a.o.Similarity)
		return leftOut, err
	}
	score, leftOut, err := CrossValidatedRDMs(features, responses, a.splits, a.o.Similarity)
	return leftOut, s.takeSplits(score, err)
}

// align computes CKA of all stimuli, or of those that each split tests on.
func (a *alignment) align(s *TimeScore, g, responses *Gram) (err error) {
	biased := a.o.Alignment == BiasedCKAlignment
	switch {
	case a.splits != nil:
		return s.takeSplits(CrossValidatedCKA(g, responses, a.splits, biased))
	case biased:
		s.Score.Center, err = BiasedCKA(g, responses)
	default:
		s.Score.Center, err = CKA(g, responses)
	}
	return err
}

// takeSplits takes over a score of splits.
func (s *TimeScore) takeSplits(score *Score, err error) error {
	if err != nil {
		return err
	}
	s.Score = *score
	for _, values := range score.Raw {
		if math.IsNaN(values[0]) {
			s.UndefinedSplits++
		}
	}
	return nil
}

// FeaturesAt reads the features of some stimuli, by their positions, in a layer in a bin of time,
// [stimuli][features]: the mean over the layer's bins with which it overlaps. Where there are none of that
// time, or the layer is not driven, reason says so. Errors are the features' own or ctx's.
func FeaturesAt(ctx context.Context, f Features, layer int, stimuli []int, bin Bin) (rows [][]float32, reason string,
	err error) {
	about := f.Layers()[layer]
	w := windowOf(about, bin)
	if w.reason != "" {
		return nil, w.reason, nil
	}
	if err := roomFor(ctx, f, layer, len(stimuli)*about.Size); err != nil {
		return nil, "", err
	}
	bins := slices.DeleteFunc(upTo(len(w.weights)), func(b int) bool { return w.weights[b] == 0 })
	weights := pick(w.weights, bins)
	rows = make([][]float32, len(stimuli))
	return rows, "", eachRow(ctx, f, layer, stimuli, bins, func(i int, row []float32) error {
		rows[i] = slices.Clone(blended(row, about.Size, weights, 0, about.Size))
		return nil
	})
}

// Positions returns where stimuli are among those of features. The error is a
// *MissingFeaturesError, or wraps ErrData for features of a stimulus twice.
func Positions(f Features, stimuli []string) ([]int, error) {
	at, _, err := positions(f, stimuli)
	return at, err
}
