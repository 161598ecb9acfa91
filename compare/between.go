package compare

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// BetweenOptions say how BetweenLayers compares. The zero value compares by Brain-Score's RSA.
type BetweenOptions struct {
	// Alignment is RSA if "". Measure is CorrelationMeasure, if "", or EuclideanMeasure; Similarity is RankCorrelation if
	// "". Both are for RSA.
	Alignment  Alignment
	Measure    Measure
	Similarity Similarity
	// Layers are those to compare; none means all.
	Layers []string
	// Bins are the times; none means all bins of the layers. Features of a bin are the mean over those it overlaps with.
	Bins []Bin
	// Cache and Progress are those of FitOptions.
	Cache    *GramCache
	Progress func(done, of int64)
}

// LayerSimilarity is how alike two layers' features represent the stimuli at a time.
type LayerSimilarity struct {
	Layers     [2]string
	Bin        Bin
	Similarity float64
	// LeftOut counts the pairs of stimuli without a dissimilarity.
	LeftOut int
	// Reason says why there is no similarity.
	Reason  string
	Stimuli int
}

// BetweenLayers compares every two layers, at the same time, by their dissimilarities of stimuli or by CKA: no
// responses are needed. Errors wrap ErrOptions, ErrNoLayer or ErrData, or are ctx's or the features'.
func BetweenLayers(ctx context.Context, f Features, o BetweenOptions) ([]LayerSimilarity, error) {
	a := AlignmentOptions{Alignment: o.Alignment, Measure: o.Measure, Similarity: o.Similarity}
	if err := a.check(noResponses{}); err != nil {
		return nil, err
	}
	if a.Measure != a.FeatureMeasure {
		return nil, fmt.Errorf("%w: features have no measure %q: no repetitions, and no rates", ErrOptions, a.Measure)
	}
	at, err := layersOf(f, o.Layers)
	if err != nil {
		return nil, err
	}
	if len(at) < 2 {
		return nil, fmt.Errorf("%w: one layer only; at least 2 are compared with each other", ErrOptions)
	}
	b := &between{f: f, o: a, layers: at, stimuli: upTo(len(f.Stimuli())), cache: o.Cache}
	if len(b.stimuli) < 4 {
		return nil, fmt.Errorf("%w: %d stimuli; at least 4 are compared", ErrData, len(b.stimuli))
	}
	bins := o.Bins
	if len(bins) == 0 {
		bins = BinsWithin(f, nil, nil)
	}
	if err := b.keep(ctx, bins); err != nil {
		return nil, err
	}
	var all []LayerSimilarity
	for done, bin := range bins {
		similarities, err := b.at(ctx, bin)
		if err != nil {
			return nil, err
		}
		all = append(all, similarities...)
		if o.Progress != nil {
			o.Progress(int64(done+1), int64(len(bins)))
		}
	}
	return all, nil
}

// BinsWithin are the bins of all layers, ascending, that lie between from and to, of which nil is no bound; one without
// time where no layer has time.
func BinsWithin(f Features, from, to *float64) (bins []Bin) {
	timeless := true
	for _, l := range f.Layers() {
		for _, bin := range l.Bins {
			timeless = false
			if !slices.Contains(bins, bin) && (from == nil || bin.Start >= *from) && (to == nil || bin.End <= *to) {
				bins = append(bins, bin)
			}
		}
	}
	if timeless {
		return []Bin{{}}
	}
	slices.SortFunc(bins, func(x, y Bin) int { return compareFloats(x.Start, y.Start) })
	return bins
}

// noResponses are none.
type noResponses struct{}

func (noResponses) Stimuli() []string            { return nil }
func (noResponses) Neuroids() []string           { return nil }
func (noResponses) Bins() []Bin                  { return nil }
func (noResponses) Average(int) (Targets, error) { return nil, nil }
func (noResponses) Trials(int) (Trials, error)   { return nil, nil }
func (noResponses) Labels(string) []string       { return nil }

type between struct {
	f       Features
	o       AlignmentOptions
	layers  []int
	stimuli []int
	cache   *GramCache
}

// keep has the cache make all matrices: features are read once for all times.
func (b *between) keep(ctx context.Context, bins []Bin) error {
	if id, ok := b.f.(Identified); b.cache == nil || !ok || id.Identity() == "" {
		return nil // nothing is kept
	}
	var wanted []Wanted
	for _, layer := range b.layers {
		want := Wanted{Layer: layer}
		for _, bin := range bins {
			if w := windowOf(b.f.Layers()[layer], bin); w.reason == "" &&
				!slices.ContainsFunc(want.Weights, func(o []float64) bool { return slices.Equal(o, w.weights) }) {
				want.Weights = append(want.Weights, w.weights)
			}
		}
		wanted = append(wanted, want)
	}
	return b.cache.EachGram(ctx, b.f, b.stimuli, wanted, func(int, int, *Gram) error { return nil })
}

// represented is a layer at a time: its dissimilarities, or, for CKA, its Gram matrix.
type represented struct {
	name   string
	reason string
	rdm    RDM
	gram   *Gram
}

// at compares all layers in one bin.
func (b *between) at(ctx context.Context, bin Bin) ([]LayerSimilarity, error) {
	var all []represented
	var wanted []Wanted
	for _, i := range b.layers {
		about := b.f.Layers()[i]
		want, w := Wanted{Layer: i}, windowOf(about, bin)
		if w.reason == "" {
			want.Weights = [][]float64{w.weights}
		}
		all, wanted = append(all, represented{name: about.Name, reason: w.reason}), append(wanted, want)
	}
	if err := b.cache.EachGram(ctx, b.f, b.stimuli, wanted, func(w, _ int, g *Gram) error {
		b.represent(&all[w], g)
		return nil
	}); err != nil {
		return nil, err
	}
	var list []LayerSimilarity
	for i, one := range all {
		for _, other := range all[i+1:] {
			s := LayerSimilarity{Layers: [2]string{one.name, other.name}, Bin: bin, Similarity: math.NaN(),
				Stimuli: len(b.stimuli)}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if err := b.compare(&s, one, other); err != nil {
				return nil, err
			}
			list = append(list, s)
		}
	}
	return list, nil
}

func (b *between) represent(r *represented, g *Gram) {
	switch {
	case g.Constant():
		r.reason = notDriven
	case b.o.Alignment != RSA:
		r.gram = g
	case b.o.Measure == EuclideanMeasure:
		r.rdm = EuclideanRDM(g)
	default:
		r.rdm = CorrelationRDM(g)
	}
}

func (b *between) compare(s *LayerSimilarity, one, other represented) (err error) {
	for _, r := range []represented{one, other} {
		if r.reason != "" {
			s.Reason = fmt.Sprintf("layer %s: %s", r.name, r.reason)
			return nil
		}
	}
	switch b.o.Alignment {
	case UnbiasedCKA:
		s.Similarity, err = CKA(one.gram, other.gram)
	case BiasedCKAlignment:
		s.Similarity, err = BiasedCKA(one.gram, other.gram)
	default:
		s.Similarity, s.LeftOut, err = CompareRDMs(one.rdm, other.rdm, b.o.Similarity)
	}
	if err == nil && math.IsNaN(s.Similarity) {
		s.Reason = "the dissimilarities of a layer are undefined or all the same"
	}
	return err
}

// AddBetween takes over similarities of layers.
func (r *Result) AddBetween(similarities []LayerSimilarity) {
	for _, s := range similarities {
		row := undefinedScore(s.Layers[0], s.Reason)
		row.OtherLayer, row.Score, row.Stimuli = s.Layers[1], Number(s.Similarity), s.Stimuli
		row.setBin(s.Bin)
		r.Scores = append(r.Scores, row)
		if s.LeftOut > 0 {
			r.Note("pairs of stimuli without a dissimilarity are left out: %d of layers %s and %s at %v ms", s.LeftOut,
				s.Layers[0], s.Layers[1], s.Bin)
		}
	}
}

// Between tells whether the scores are similarities between layers.
func (r *Result) Between() bool { return len(r.Scores) > 0 && r.Scores[0].OtherLayer != "" }

// Symmetric returns a result whose similarities between layers stand in both orders, and are 1 of a layer with itself;
// others are returned as they are.
func (r *Result) Symmetric() *Result {
	if !r.Between() {
		return r
	}
	whole := *r
	whole.Scores = nil
	own := map[string]bool{}
	for _, s := range r.Scores {
		for _, name := range []string{s.Layer, s.OtherLayer} {
			if key := fmt.Sprint(name, s.TimeBinStart.text(), s.TimeBinEnd.text()); !own[key] && s.Reason == "" {
				own[key] = true
				same := s
				same.Layer, same.OtherLayer, same.Score = name, name, 1
				whole.Scores = append(whole.Scores, same)
			}
		}
		mirrored := s
		mirrored.Layer, mirrored.OtherLayer = s.OtherLayer, s.Layer
		whole.Scores = append(whole.Scores, s, mirrored)
	}
	return &whole
}
