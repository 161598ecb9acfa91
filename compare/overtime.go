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
	// Offset is by how many ms features are earlier than the responses they are compared with.
	Offset float64
	// Matrix fits every bin of the features to every bin of the responses, instead of those of
	// the same time.
	Matrix bool
	// Missing says what is done about missing responses; "" means RefuseMissing.
	Missing Missing
	// Shared leaves out stimuli without features; otherwise they are an error.
	Shared bool
	// Normalisation is Squared if "".
	Normalisation Normalisation
	// Progress is called after each fit, if it is not nil.
	Progress func(done, of int64)
}

// TimeScore is how well a layer's features of one bin of time explain responses in one.
type TimeScore struct {
	Layer string
	// Bin is that of the responses, Features that of the features. Both are empty without time.
	Bin, Features Bin
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
}

// Fits is what FitOverTime finds.
type Fits struct {
	Scores []TimeScore
	// Notes say what was left out.
	Notes []string
}

// fitting is one call of FitOverTime or SimilarityOverTime.
type fitting struct {
	o        FitOptions
	f        Features
	k        *kept
	at       []int // of the stimuli among the features
	splits   []Split
	ceilings []*Score
	order    []int // of the neuroids by their ids
	result   *Fits
	done, of int
	score    func(layer string, g *Gram, p pair) (*TimeScore, error)
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
	if _, isRidge := o.Mapping.(Ridge); o.Missing == PerNeuroid && !isRidge {
		return nil, fmt.Errorf("%w: only ridge can fit each neuroid on its own stimuli", ErrData)
	}
	c, layers, err := newFitting(ctx, f, r, o)
	if err != nil {
		return nil, err
	}
	if err := c.split(o.Splits, o.Stratify); err != nil {
		return nil, err
	}
	if err := c.ceil(ctx); err != nil {
		return nil, err
	}
	c.score = c.fit
	return c.run(ctx, layers)
}

// newFitting sorts out which stimuli and neuroids are compared.
func newFitting(ctx context.Context, f Features, r Responses, o FitOptions) (c *fitting, layers []int, err error) {
	if layers, err = layersOf(f, o.Layers); err != nil {
		return nil, nil, err
	}
	c = &fitting{o: o, f: f, k: keepAll(r), result: &Fits{}, of: len(layers) * max(len(r.Bins()), 1)}
	if _, err := c.k.among(f, o.Shared); err != nil {
		return nil, nil, err
	}
	if err := c.k.complete(ctx, o.Missing); err != nil {
		return nil, nil, err
	}
	if c.at, _, err = positions(f, pick(r.Stimuli(), c.k.stimuli)); err != nil {
		return nil, nil, err
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
			return fmt.Errorf("%w: the stimuli have no coordinate %s to stratify by", ErrSplits, stratify)
		}
		strata = pick(all, c.k.stimuli)
	}
	c.splits, err = s.Of(len(c.k.stimuli), strata)
	return err
}

// run scores all layers.
func (c *fitting) run(ctx context.Context, layers []int) (*Fits, error) {
	for _, layer := range layers {
		if err := c.layer(ctx, layer); err != nil {
			return nil, err
		}
	}
	c.result.Notes = c.k.notes
	if !slices.ContainsFunc(c.result.Scores, func(s TimeScore) bool { return s.Reason == "" }) {
		return c.result, fmt.Errorf("%w: no bin has a score: %s", ErrData, c.result.Scores[0].Reason)
	}
	return c.result, nil
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
			if bin == 0 {
				c.k.notes = append(c.k.notes, "no ceiling: no stimulus was repeated")
			}
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
	gram   int // which of the layer's, -1 for none
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
	add := func(w window, bin int) {
		p := pair{window: w, bin: bin, gram: -1}
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
			add(w, bin)
		}
	}
	if len(windows) > 0 {
		return pairs, weights
	}
	for bin, b := range bins {
		switch target := (Bin{b.Start - c.o.Offset, b.End - c.o.Offset}); {
		case len(c.k.Bins()) == 0 && len(layer.Bins) > 1:
			add(window{reason: fmt.Sprintf("the responses have no time, and the features have %d bins", len(layer.Bins))}, bin)
		case len(c.k.Bins()) == 0 && len(layer.Bins) == 1:
			add(windowOf(layer, layer.Bins[0]), bin)
		default:
			add(windowOf(layer, target), bin)
		}
	}
	return pairs, weights
}

func (c *fitting) layer(ctx context.Context, at int) error {
	layer := c.f.Layers()[at]
	pairs, weights := c.pairs(layer)
	scores := make([]TimeScore, len(pairs))
	most := max(mostGrams/(len(c.at)*len(c.at)), 1)
	for first := 0; first == 0 || first < len(weights); first += most {
		last := min(first+most, len(weights))
		var grams []*Gram
		if last > first {
			var err error
			if grams, err = Grams(ctx, c.f, at, c.at, weights[first:last]); err != nil {
				return err
			}
		}
		for i, p := range pairs {
			if p.gram < 0 && first > 0 || p.gram >= 0 && (p.gram < first || p.gram >= last) {
				continue
			}
			var g *Gram
			if p.gram >= 0 {
				g = grams[p.gram-first]
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			score, err := c.score(layer.Name, g, p)
			if err != nil {
				return fmt.Errorf("layer %s, %v ms: %w", layer.Name, c.k.bins()[p.bin], err)
			}
			scores[i] = *score
			c.done++
			if c.o.Progress != nil {
				c.o.Progress(int64(c.done), int64(max(c.of, c.done)))
			}
		}
	}
	c.result.Scores = append(c.result.Scores, scores...)
	return nil
}

// fit fits one window of features to one bin of responses.
func (c *fitting) fit(layer string, g *Gram, p pair) (*TimeScore, error) {
	s := c.empty(layer, p)
	ceiling := c.ceilings[p.bin]
	if ceiling != nil {
		s.Ceiling = aggregate(inOrder(ceiling.Raw, c.order))
	}
	if s.Reason != "" {
		return s, nil
	}
	targets, err := c.k.average(p.bin)
	if err != nil {
		return nil, err
	}
	fit, err := c.mapped(g, targets)
	if errors.Is(err, ErrConstant) {
		s.Reason = notDriven
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	raw := inOrder(fit.Raw, c.order)
	for j, id := range s.NeuroidIDs {
		undefined := nowhere(raw, j)
		if ceiling != nil {
			undefined = undefined || nowhere(s.Ceiling.Raw, j)
		}
		if !undefined {
			continue
		}
		s.Undefined = append(s.Undefined, id)
		for _, values := range slices.Concat(raw, s.Ceiling.Raw) {
			values[j] = math.NaN()
		}
	}
	s.Score = aggregate(raw)
	if ceiling != nil {
		s.Ceiling = aggregate(s.Ceiling.Raw)
		s.Ceiled = c.o.Normalisation.Apply(s.Score.Center, s.Ceiling.Center)
	}
	for _, values := range raw {
		if math.IsNaN(nanMedian(values)) {
			s.UndefinedSplits++
		}
	}
	s.Alphas = fit.Alphas
	if ridge, ok := c.o.Mapping.(Ridge); ok {
		for i, alphas := range s.Alphas {
			if len(alphas) > 1 {
				s.Alphas[i] = pick(alphas, c.order)
			}
			for _, alpha := range alphas {
				if n := len(ridge.Alphas); n > 1 && (alpha == ridge.Alphas[0] || alpha == ridge.Alphas[n-1]) {
					s.EdgeAlphas++
				}
			}
		}
	}
	return s, nil
}

// empty is a score of nothing yet.
func (c *fitting) empty(layer string, p pair) *TimeScore {
	s := &TimeScore{
		Layer: layer, Bin: c.k.bins()[p.bin], Features: p.window.bin, Normalisation: c.o.Normalisation, Stimuli: len(c.at), Reason: p.window.reason,
		Score: Score{Center: math.NaN(), Error: math.NaN()}, Ceiled: math.NaN(), LowerCeiling: math.NaN(),
	}
	s.Ceiling = s.Score
	s.NeuroidIDs = pick(pick(c.k.Neuroids(), c.k.neuroids), c.order)
	return s
}

// inOrder copies raw scores with the neuroids in another order.
func inOrder(raw [][]float64, order []int) [][]float64 {
	var ordered [][]float64
	for _, values := range raw {
		ordered = append(ordered, pick(values, order))
	}
	return ordered
}

// nowhere tells whether a neuroid is NaN in all splits.
func nowhere(raw [][]float64, j int) bool {
	return !slices.ContainsFunc(raw, func(values []float64) bool { return !math.IsNaN(values[j]) })
}

// mapped fits all neuroids together, or, where some lack stimuli, those that lack the same ones.
func (c *fitting) mapped(g *Gram, targets Targets) (*Fit, error) {
	if c.o.Missing != PerNeuroid {
		return FitTargets(g, targets, c.splits, c.o.Mapping)
	}
	groups := map[string][]int{}
	var patterns []string
	for j := range targets[0] {
		pattern := make([]byte, len(targets))
		for i := range targets {
			if math.IsNaN(targets[i][j]) {
				pattern[i] = 1
			}
		}
		key := string(pattern)
		if groups[key] == nil {
			patterns = append(patterns, key)
		}
		groups[key] = append(groups[key], j)
	}
	all := &Fit{}
	for range c.splits {
		all.Raw = append(all.Raw, make([]float64, len(targets[0])))
		all.Alphas = append(all.Alphas, make([]float64, len(targets[0])))
	}
	for _, pattern := range patterns {
		there := func(stimuli []int) []int {
			return slices.DeleteFunc(slices.Clone(stimuli), func(i int) bool { return pattern[i] != 0 })
		}
		var splits []Split
		for _, split := range c.splits {
			splits = append(splits, Split{Train: there(split.Train), Test: there(split.Test)})
		}
		var part Targets
		for i := range targets {
			values := pick(targets[i], groups[pattern])
			if pattern[i] != 0 {
				clear(values) // in no split
			}
			part = append(part, values)
		}
		fit, err := FitTargets(g, part, splits, c.o.Mapping)
		if err != nil {
			return nil, err
		}
		for s := range c.splits {
			for i, j := range groups[pattern] {
				all.Raw[s][j] = fit.Raw[s][i]
				all.Alphas[s][j] = fit.Alphas[s][min(i, len(fit.Alphas[s])-1)]
			}
		}
	}
	all.Score = aggregate(all.Raw)
	return all, nil
}

// CeilingOverTime returns the ceiling of the responses in each bin of time: their InternalConsistency, or
// the median over neuroids of their NoiseCeiling. Errors wrap ErrData, or are ctx's or the responses'.
func CeilingOverTime(ctx context.Context, r Responses, noise bool) ([]TimeScore, error) {
	k := keepAll(r)
	var scores []TimeScore
	for bin, b := range k.bins() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		trials, err := k.trials(bin)
		if err != nil {
			return nil, err
		}
		nothing := Score{Center: math.NaN(), Error: math.NaN()}
		s := TimeScore{Bin: b, Features: b, Score: nothing, Ceiling: nothing, Ceiled: math.NaN(), LowerCeiling: math.NaN(), NeuroidIDs: r.Neuroids(), Stimuli: len(trials)}
		if len(trials) == 0 || len(trials[0]) < 2 {
			return nil, fmt.Errorf("%w: no stimulus was repeated", ErrData)
		}
		if noise {
			values, err := NoiseCeiling(trials)
			if err != nil {
				return nil, err
			}
			s.Ceiling.Raw = [][]float64{values}
			s.Ceiling.Center = nanMedian(values)
		} else {
			ceiling, err := InternalConsistency(trials)
			if err != nil {
				return nil, err
			}
			s.Ceiling = *ceiling
		}
		for j, id := range s.NeuroidIDs {
			if nowhere(s.Ceiling.Raw, j) {
				s.Undefined = append(s.Undefined, id)
			}
		}
		scores = append(scores, s)
	}
	return scores, nil
}
