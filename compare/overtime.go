package compare

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// FitOptions says how FitOverTime fits. The zero value is Brain-Score's PLS without strata.
type FitOptions struct {
	// Mapping is PLS{} if nil.
	Mapping Mapping
	Splits  Splits
	// Stratify names a coordinate of the stimuli whose values all parts of a split have in the same
	// proportions; "" for none.
	Stratify string
	// Layers are those to fit; none means all.
	Layers []string
	// Offsets are by how many ms features are earlier than the responses they are compared with; none
	// means 0. All are tried, and each has its scores.
	Offsets []float64
	// Matrix fits every bin of the features to every bin of the responses, instead of those of
	// the same time.
	Matrix bool
	// Missing says what is done about missing responses; "" means RefuseMissing.
	Missing Missing
	// Shared leaves out stimuli without features; otherwise they are an error.
	Shared bool
	// Normalisation is Squared if "".
	Normalisation Normalisation
	// Halvings is how many of the repetitions Corrected and CorrectedSquared take; 0 means 10.
	Halvings int
	// SpanTime fits one mapping for all bins (FitSpanningTime).
	SpanTime bool
	// Reverse predicts features from responses. The splits are in the order of the features' stimuli, and
	// the ceiling is PredictorConsistency.
	Reverse bool
	// Bootstrap draws anew from these for the error, which otherwise is that over splits. Subjects are
	// those of the neuroids, for OverSubjects.
	Bootstrap []Resample
	Subjects  []string
	// Cache keeps Gram matrices; nil for none.
	Cache *GramCache
	// Progress is called after each fit, if it is not nil.
	Progress func(done, of int64)
}

// TimeScore is how well a layer's features of one bin of time explain responses in one.
type TimeScore struct {
	Layer string
	// Bin is that of the responses, Features that of the features. Both are empty without time.
	Bin, Features Bin
	// Offset is that of FitOptions.Offsets; NaN where there is one for all.
	Offset float64
	// Score is the correlation r, of splits × neuroids, in the order of NeuroidIDs. It is NaN where
	// there is a Reason.
	Score Score
	// Ceiling is that of the responses in the bin: their internal consistency. It is NaN if no stimulus was
	// repeated.
	Ceiling Score
	// LowerCeiling is that of dissimilarities, whose upper one Ceiling is.
	LowerCeiling float64
	// Ceiled is Score normalised by the ceiling.
	Ceiled        float64
	Normalisation Normalisation
	// NeuroidIDs are sorted; Undefined are those of them without a score or ceiling in any
	// split, which are left out of both.
	NeuroidIDs, Undefined []string
	// UndefinedSplits is the number of splits without a score, which are left out of the mean.
	UndefinedSplits int
	// Alphas are the ridge parameters, [splits], one or one for each of NeuroidIDs; EdgeAlphas is how many
	// of them are the first or the last of those to choose from.
	Alphas     [][]float64
	EdgeAlphas int
	// Stimuli is how many were compared.
	Stimuli int
	// Reason says why there is no score, such as that the layer is not driven.
	Reason string
	// Inference is there if it was asked for.
	Inference *ScoreInference

	inner []float64 // scores of each split's training set, where a choice is nested
}

// Fits is what FitOverTime finds.
type Fits struct {
	Scores []TimeScore
	// Differences are between scores of the same bin, if inference was asked for.
	Differences []Difference
	// Notes say what was left out.
	Notes []string
}

// fitting is one call of FitOverTime or SimilarityOverTime.
type fitting struct {
	o        FitOptions
	f        Features
	k        *kept
	subjects []string // of the neuroids that are compared, nil if they are not known
	at       []int    // of the stimuli among the features
	splits   []Split
	ceilings []*Score
	order    []int // of the neuroids by their ids
	result   *Fits
	done, of int
	score    func(layer string, g *Gram, p pair) (*TimeScore, error)
	// direct is for what needs the features themselves, [stimuli][features], and no Gram matrices; it has none of a pair
	// with a reason.
	direct func(layer int, p pair, features []float32) (*TimeScore, error)
}

// FitOverTime fits the features of each layer to the responses in each bin of time, with
// the same splits, and normalises by each bin's ceiling. Features of a bin are the mean over the
// bins that it overlaps with, by overlap. Where a layer is not driven yet, or there are no features, the
// score is NaN, and says why. Errors wrap ErrData, ErrMissing, ErrNoLayer
// or ErrSplits, or are ctx's, the features' or the responses'.
func FitOverTime(ctx context.Context, f Features, r Responses, o FitOptions) (*Fits, error) {
	if o.Mapping == nil {
		o.Mapping = PLS{}
	}
	if o.Normalisation == "" {
		o.Normalisation = Squared
	}
	c, layers, err := newFits(ctx, f, r, o)
	if err != nil {
		return nil, err
	}
	if o.SpanTime {
		for _, layer := range layers {
			if err := c.span(ctx, layer); err != nil {
				return nil, err
			}
		}
		return c.finished()
	}
	return c.run(ctx, layers)
}

// newFits prepares fits: their splits and ceilings.
func newFits(ctx context.Context, f Features, r Responses, o FitOptions) (c *fitting, layers []int, err error) {
	if err := o.check(r); err != nil {
		return nil, nil, err
	}
	if c, layers, err = newFitting(ctx, f, r, o); err != nil {
		return nil, nil, err
	}
	if o.Reverse {
		c.inFeatureOrder()
	}
	if err := c.split(o.Splits, o.Stratify); err != nil {
		return nil, nil, err
	}
	if o.Reverse {
		err = c.ceilPredictors(ctx)
	} else {
		err = c.ceil(ctx)
	}
	c.score = c.fit
	switch o.Mapping.(type) {
	case OneToOne:
		c.direct = c.match
	default:
		if o.Reverse {
			c.direct = c.reverse
		}
	}
	return c, layers, err
}

// newFitting sorts out which stimuli and neuroids are compared.
func newFitting(ctx context.Context, f Features, r Responses, o FitOptions) (c *fitting, layers []int, err error) {
	if layers, err = layersOf(f, o.Layers); err != nil {
		return nil, nil, err
	}
	c = &fitting{o: o, f: f, k: keepAll(r), result: &Fits{},
		of: len(layers) * max(len(r.Bins()), 1) * max(len(o.Offsets), 1)}
	if _, err := c.k.among(f, o.Shared); err != nil {
		return nil, nil, err
	}
	if err := c.k.complete(ctx, o.Missing); err != nil {
		return nil, nil, err
	}
	if len(c.k.stimuli) < 2 {
		return nil, nil, fmt.Errorf("%w: responses to %d stimulus; at least 2 are compared", ErrData, len(c.k.stimuli))
	}
	if c.at, _, err = positions(f, pick(r.Stimuli(), c.k.stimuli)); err != nil {
		return nil, nil, err
	}
	if o.Subjects != nil {
		c.subjects = pick(o.Subjects, c.k.neuroids)
	}
	names := pick(r.Neuroids(), c.k.neuroids)
	c.order = upTo(len(names))
	slices.SortStableFunc(c.order, func(i, j int) int { return strings.Compare(names[i], names[j]) })
	return c, layers, nil
}

// split divides the stimuli.
func (c *fitting) split(s Splits, stratify string) (err error) {
	var strata []string
	if stratify != "" {
		all := c.k.Labels(stratify)
		if all == nil {
			return fmt.Errorf("%w: the stimuli have no coordinate %s to stratify by", ErrStrata, stratify)
		}
		strata = pick(all, c.k.stimuli)
		s.numeric = c.k.numbered(stratify)
	}
	if c.splits, err = s.Of(len(c.k.stimuli), strata); err != nil {
		return err
	}
	fewest := len(c.k.stimuli)
	for _, split := range c.splits {
		fewest = min(fewest, len(split.Test))
	}
	switch {
	case fewest < 2:
		return fmt.Errorf("%w: of %d stimuli a split tests on %d, and a correlation needs 2", ErrSplits, len(c.k.stimuli),
			fewest)
	case fewest < fewTested:
		c.k.notes = append(c.k.notes, fmt.Sprintf("splits test on %d stimuli only, of which a correlation says little",
			fewest))
	}
	return nil
}

// fewTested is the number of test stimuli below which it is said.
const fewTested = 8

// run scores all layers.
func (c *fitting) run(ctx context.Context, layers []int) (*Fits, error) {
	var wanted []Wanted
	var lists [][]pair
	var scores [][]TimeScore
	for _, layer := range layers {
		pairs, weights := c.pairs(c.f.Layers()[layer])
		wanted, lists = append(wanted, Wanted{layer, weights}), append(lists, pairs)
		scores = append(scores, make([]TimeScore, len(pairs)))
	}
	// score scores those pairs of one of the layers that need the same features.
	score := func(w, gram int, of func(p pair) (*TimeScore, error)) error {
		for i, p := range lists[w] {
			if p.gram != gram {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			score, err := of(p)
			if err != nil {
				return fmt.Errorf("layer %s, %v ms: %w", c.f.Layers()[layers[w]].Name, c.k.bins()[p.bin], err)
			}
			scores[w][i] = *score
			c.progressed()
		}
		return nil
	}
	compute := c.byProducts
	if c.direct != nil {
		compute = c.byFeatures
	}
	if err := compute(ctx, wanted, score); err != nil {
		return nil, err
	}
	c.result.Scores = slices.Concat(scores...)
	return c.finished()
}

// scorer scores the pairs of one of the wanted layers that need one of its matrices, or none, -1.
type scorer func(w, gram int, of func(p pair) (*TimeScore, error)) error

// byProducts scores by Gram matrices.
func (c *fitting) byProducts(ctx context.Context, wanted []Wanted, score scorer) error {
	by := func(w int, g *Gram) func(p pair) (*TimeScore, error) {
		return func(p pair) (*TimeScore, error) { return c.score(c.f.Layers()[wanted[w].Layer].Name, g, p) }
	}
	for w := range wanted {
		if err := score(w, -1, by(w, nil)); err != nil {
			return err
		}
	}
	return c.o.Cache.EachGram(ctx, c.f, c.at, wanted, func(w, i int, g *Gram) error { return score(w, i, by(w, g)) })
}

// byFeatures scores by the features themselves.
func (c *fitting) byFeatures(ctx context.Context, wanted []Wanted, score scorer) error {
	by := func(w int, features []float32) func(p pair) (*TimeScore, error) {
		return func(p pair) (*TimeScore, error) { return c.direct(wanted[w].Layer, p, features) }
	}
	for w := range wanted {
		if err := score(w, -1, by(w, nil)); err != nil {
			return err
		}
	}
	return eachWindow(ctx, c.f, c.at, wanted, func(w, i int, features []float32) error {
		return score(w, i, by(w, features))
	})
}

// finished returns the result, which must have a score.
func (c *fitting) finished() (*Fits, error) {
	c.noteUndefined()
	c.result.Notes = c.k.notes
	if !slices.ContainsFunc(c.result.Scores, func(s TimeScore) bool { return s.Reason == "" }) {
		return c.result, fmt.Errorf("%w: no bin has a score: %s", ErrData, c.result.Scores[0].Reason)
	}
	return c.result, nil
}

// noteUndefined names the neuroids that some score leaves out.
func (c *fitting) noteUndefined() {
	var names []string
	for _, s := range c.result.Scores {
		for _, id := range s.Undefined {
			if s.Reason == "" && !slices.Contains(names, id) {
				names = append(names, id)
			}
		}
	}
	if len(names) > 0 {
		c.k.notes = append(c.k.notes,
			fmt.Sprintf("%d of %d neuroids without a score or ceiling at some time, since their responses or predictions are constant or lack repetitions, are left out of both: %s",
				len(names), max(len(c.k.neuroids), len(names)), shortList(names)))
	}
}

// ErrNoLayer means a layer that the features do not have.
var ErrNoLayer = errors.New("no such layer")

// layersOf returns the positions of layers. The error wraps ErrNoLayer.
func layersOf(f Features, names []string) ([]int, error) {
	var all []string
	for _, l := range f.Layers() {
		all = append(all, l.Name)
	}
	if len(names) == 0 {
		return upTo(len(all)), nil
	}
	var list []int
	for _, name := range names {
		at := slices.Index(all, name)
		if at < 0 {
			return nil, fmt.Errorf("%w: %q; there are %s", ErrNoLayer, name, shortList(all))
		}
		list = append(list, at)
	}
	return list, nil
}

const notRepeated = "no ceiling: no stimulus was repeated"

// ceil computes the ceiling of each bin.
func (c *fitting) ceil(ctx context.Context) error {
	for bin := range c.k.bins() {
		if err := ctx.Err(); err != nil {
			return err
		}
		trials, err := c.k.trials(bin)
		if err != nil {
			return err
		}
		if len(trials) == 0 || len(trials[0]) < 2 {
			c.noteOnce(notRepeated)
			c.ceilings = append(c.ceilings, nil)
			continue
		}
		ceiling, err := InternalConsistency(trials)
		if err != nil {
			return err
		}
		c.ceilings = append(c.ceilings, ceiling)
	}
	return nil
}

// pair is one fit: of a window of features to a bin of responses.
type pair struct {
	window window
	bin    int
	offset float64 // NaN for none of several
	gram   int     // which of the layer's, -1 for none
}

// pairs lists the fits of a layer, and the weights of the features that they need.
func (c *fitting) pairs(layer FeatureLayer) (pairs []pair, weights [][]float64) {
	var windows []window
	bins := c.k.bins()
	if c.o.Matrix {
		for _, b := range layer.Bins {
			windows = append(windows, windowOf(layer, b))
		}
	}
	add := func(w window, bin int, offset float64) {
		p := pair{window: w, bin: bin, offset: offset, gram: -1}
		if w.reason == "" {
			p.gram = slices.IndexFunc(weights, func(other []float64) bool { return slices.Equal(other, w.weights) })
			if p.gram < 0 {
				p.gram = len(weights)
				weights = append(weights, w.weights)
			}
		}
		pairs = append(pairs, p)
	}
	for _, w := range windows {
		for bin := range bins {
			add(w, bin, math.NaN())
		}
	}
	if len(windows) > 0 {
		return pairs, weights
	}
	offsets := c.o.Offsets
	if len(offsets) == 0 {
		offsets = []float64{0}
	}
	for _, offset := range offsets {
		of := offset
		if len(offsets) == 1 {
			of = math.NaN()
		}
		for bin, b := range bins {
			switch target := (Bin{b.Start - offset, b.End - offset}); {
			case len(c.k.Bins()) == 0 && len(layer.Bins) > 1:
				add(window{reason: fmt.Sprintf("the responses have no time, and the features have %d bins", len(layer.Bins))},
					bin, of)
			case len(c.k.Bins()) == 0 && len(layer.Bins) == 1:
				add(windowOf(layer, layer.Bins[0]), bin, of)
			default:
				add(windowOf(layer, target), bin, of)
			}
		}
	}
	return pairs, weights
}

func (c *fitting) progressed() {
	c.done++
	if c.o.Progress != nil {
		c.o.Progress(int64(c.done), int64(max(c.of, c.done)))
	}
}
