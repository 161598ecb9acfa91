package compare

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
)

// BehaviourOptions says how BehaviourOverTime compares.
type BehaviourOptions struct {
	// Consistencies are computed of each readout; none means I2n.
	Consistencies []Consistency
	// Labels are the objects of the stimuli that a readout is fitted on; those of trials are not.
	Labels map[string]string
	// Classes, if not nil, are those of each object, by their place among the features, which are logits: no readout
	// is fitted, and the probability of an object is the mean over its classes of the softmax of all features.
	Classes map[string][]int
	// Layers are those to compare; none means all.
	Layers []string
	// Bins are the bins of time; none means those of the features.
	Bins []Bin
	// Progress is called after each readout, if it is not nil.
	Progress func(done, of int64)
}

// BehaviourTimeScore is the consistency of a layer's readout at one time with trials.
type BehaviourTimeScore struct {
	Layer       string
	Bin         Bin
	Consistency Consistency
	// BehaviouralScore is empty where nothing could be compared. Reason says so, or why the score is NaN.
	*BehaviouralScore
	Reason string
	// Training and Test are numbers of stimuli; Correct is the part of the latter whose object is the likeliest.
	Training, Test int
	Correct        float64
	// Points are the d′ of all trials and of the model, of images, or images and distractors.
	Points *Points
}

// BehaviourOverTime fits a readout of the objects to the features of each layer at each time, of stimuli
// that have a label and are not in the trials, and compares what it chooses for those of the trials.
// Errors wrap ErrData, or are ctx's or the features'.
func BehaviourOverTime(ctx context.Context, f Features, trials []Trial, o BehaviourOptions) ([]BehaviourTimeScore,
	error) {
	if len(o.Consistencies) == 0 {
		o.Consistencies = []Consistency{I2n}
	}
	layers, err := layersOf(f, o.Layers)
	if err == nil {
		trials, _, err = CompleteTrials(trials, RefuseMissing)
	}
	if err != nil {
		return nil, err
	}
	humans := HumanChoices(trials)
	test, _, err := positions(f, humans.Images)
	if err != nil {
		return nil, err
	}
	inTrials := map[string]bool{}
	for _, image := range humans.Images {
		inTrials[image] = true
	}
	b := &behaving{f: f, o: o, humans: humans, trials: trials, test: test}
	for i, id := range f.Stimuli() {
		if label := o.Labels[id]; label != "" && !inTrials[id] && o.Classes == nil {
			b.training, b.labels = append(b.training, i), append(b.labels, label)
		}
	}
	if len(b.training) == 0 && o.Classes == nil {
		return nil, fmt.Errorf("%w: no stimulus with features and a label is outside the trials, to fit the readout on",
			ErrData)
	}
	of := 0
	for _, l := range layers {
		of += len(binsOf(f.Layers()[l], o.Bins))
	}
	var scores []BehaviourTimeScore
	done := 0
	for _, layer := range layers {
		for _, bin := range binsOf(f.Layers()[layer], o.Bins) {
			some, err := b.score(ctx, layer, bin)
			if err != nil {
				return nil, fmt.Errorf("layer %s, %v ms: %w", f.Layers()[layer].Name, bin, err)
			}
			scores = append(scores, some...)
			if done++; o.Progress != nil {
				o.Progress(int64(done), int64(of))
			}
		}
	}
	if !slices.ContainsFunc(scores, func(s BehaviourTimeScore) bool { return s.BehaviouralScore != nil }) {
		return scores, fmt.Errorf("%w: no bin has a score: %s", ErrData, scores[0].Reason)
	}
	return scores, nil
}

func binsOf(layer FeatureLayer, asked []Bin) []Bin {
	switch {
	case len(asked) > 0:
		return asked
	case len(layer.Bins) > 0:
		return layer.Bins
	}
	return []Bin{{}}
}

// behaving is one call of BehaviourOverTime.
type behaving struct {
	f              Features
	o              BehaviourOptions
	humans         *Choices
	trials         []Trial
	training, test []int
	labels         []string
}

// score scores one layer and bin by each consistency.
func (b *behaving) score(ctx context.Context, layer int, bin Bin) ([]BehaviourTimeScore, error) {
	base := BehaviourTimeScore{Layer: b.f.Layers()[layer].Name, Bin: bin, Training: len(b.training), Test: len(b.test)}
	model, reason, err := b.choices(ctx, layer, bin)
	if err != nil {
		return nil, err
	}
	var scores []BehaviourTimeScore
	for _, kind := range b.o.Consistencies {
		s := base
		s.Consistency, s.Reason = kind, reason
		if reason == "" {
			if s.BehaviouralScore, err = Behaviour(model, b.trials, kind); err != nil {
				return nil, err
			}
			s.Correct, s.Points = model.correct(), dPrimePoints(b.humans, model, kind)
			if math.IsNaN(s.Score) {
				s.Reason = "the d′ of the model or of a half of the trials are all the same, or fewer than two"
			}
		}
		scores = append(scores, s)
	}
	return scores, nil
}

// choices are those of the readout, or of logits.
func (b *behaving) choices(ctx context.Context, layer int, bin Bin) (*Choices, string, error) {
	rows, reason, err := FeaturesAt(ctx, b.f, layer, slices.Concat(b.training, b.test), bin)
	if err != nil || reason != "" {
		return nil, reason, err
	}
	values := make([][]float64, len(rows))
	varies := false
	for i, row := range rows {
		varies = varies || !slices.Equal(row, rows[0])
		for _, v := range row {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return nil, "", fmt.Errorf("%w: a feature is %v", ErrData, v)
			}
			values[i] = append(values[i], float64(v))
		}
	}
	if !varies {
		return nil, notDriven, nil
	}
	if b.o.Classes != nil {
		objects, probabilities, err := ObjectProbabilities(values, b.o.Classes)
		if err != nil {
			return nil, "", err
		}
		c, err := ModelChoices(b.humans.Images, b.humans.Labels, objects, probabilities)
		return c, "", err
	}
	readout, err := FitReadout(values[:len(b.training)], b.labels, ReadoutC)
	if err != nil {
		return nil, "", err
	}
	probabilities, err := readout.Probabilities(values[len(b.training):])
	if err != nil {
		return nil, "", err
	}
	c, err := ModelChoices(b.humans.Images, b.humans.Labels, readout.Objects, probabilities)
	return c, "", err
}

// ObjectProbabilities are those of objects from logits [images][classes]: the mean over the classes of each
// of the softmax. Objects are sorted. The error wraps ErrData.
func ObjectProbabilities(logits [][]float64, classes map[string][]int) (objects []string, probabilities [][]float64,
	err error) {
	objects = slices.Sorted(maps.Keys(classes))
	for _, row := range logits {
		p := slices.Clone(row)
		softmax(p)
		var each []float64
		for _, object := range objects {
			sum := 0.0
			for _, class := range classes[object] {
				if class < 0 || class >= len(p) {
					return nil, nil, fmt.Errorf("%w: class %d of object %s, and there are logits of %d classes", ErrData, class,
						object, len(p))
				}
				sum += p[class]
			}
			if len(classes[object]) == 0 {
				return nil, nil, fmt.Errorf("%w: object %s has no classes", ErrData, object)
			}
			each = append(each, sum/float64(len(classes[object])))
		}
		probabilities = append(probabilities, each)
	}
	return objects, probabilities, nil
}

// correct is the part of the images whose own object is chosen before each other.
func (c *Choices) correct() float64 {
	right := 0
	for _, row := range c.Rates {
		if !slices.ContainsFunc(row, func(rate float64) bool { return rate >= 0.5 }) {
			right++
		}
	}
	return float64(right) / float64(len(c.Rates))
}

// dPrimePoints are the d′ of people and of a model, where both have one.
func dPrimePoints(humans, model *Choices, kind Consistency) *Points {
	row, column := map[string]int{}, map[string]int{}
	for i, image := range model.Images {
		row[image] = i
	}
	for k, object := range model.Objects {
		column[object] = k
	}
	measured, predicted := humans.DPrimes(kind), model.DPrimes(kind)
	p := &Points{}
	for i, image := range humans.Images {
		at, ok := row[image]
		if !ok {
			continue
		}
		for k, v := range measured[i] {
			id, to := image, 0
			if !kind.collapsed() {
				object := humans.Objects[k]
				if to, ok = column[object]; !ok {
					continue
				}
				id += "/" + object
			}
			if w := predicted[at][to]; !math.IsNaN(v) && !math.IsNaN(w) {
				p.IDs, p.Measured, p.Predicted = append(p.IDs, id), append(p.Measured, Number(v)), append(p.Predicted, Number(w))
			}
		}
	}
	return p
}

// OSTLayerScore is the OSTScore of a layer.
type OSTLayerScore struct {
	Layer string
	// OSTScore is empty where nothing could be compared. Reason says so, or why the score is NaN.
	*OSTScore
	// Bins were used. Notes say of which of them the layer is not driven, and whether some are missing.
	Bins   []Bin
	Notes  []string
	Reason string
}

// OSTOverLayers computes the object solution times of each layer from its features in the bins of time
// that lie within from and to, in ms, and compares them with measured ones: as OST. As in Brain-Score all bins count,
// also those in which the layer is not driven; a layer that is driven in none has a Reason. Errors wrap ErrData or
// ErrSplits, or are ctx's or the features'.
func OSTOverLayers(ctx context.Context, f Features, measured *SolutionTimes, decoder OSTDecoder, layers []string, from,
	to float64) ([]OSTLayerScore, error) {
	at, _, err := positions(f, measured.Images)
	if err != nil {
		return nil, err
	}
	chosen, err := layersOf(f, layers)
	if err != nil {
		return nil, err
	}
	var scores []OSTLayerScore
	for _, layer := range chosen {
		about := f.Layers()[layer]
		s := OSTLayerScore{Layer: about.Name}
		undriven := 0
		var within []int
		for i, b := range about.Bins {
			if b.Start < from || b.End > to {
				continue
			}
			within, s.Bins = append(within, i), append(s.Bins, b)
			if about.Driven != nil && !about.Driven[i] {
				undriven++
			}
		}
		if undriven == len(within) {
			s.Bins, s.Reason = nil, fmt.Sprintf("no features within %g-%g ms of a driven layer", from, to)
			scores = append(scores, s)
			continue
		}
		if undriven > 0 {
			s.Notes = append(s.Notes, fmt.Sprintf("%d of %d bins count, as in Brain-Score, before the stimulus has reached it",
				undriven, len(within)))
		}
		if first := s.Bins[0].Start; first > from && !math.IsInf(from, 0) {
			s.Notes = append(s.Notes, fmt.Sprintf("no features of %g-%g ms, where Brain-Score has some of all layers", from,
				first))
		}
		bins, err := ostFeatures(ctx, f, layer, at, within)
		if err != nil {
			return nil, err
		}
		if s.OSTScore, err = OST(ctx, bins, measured, decoder); err != nil {
			return nil, fmt.Errorf("layer %s: %w", about.Name, err)
		}
		if math.IsNaN(s.Score) {
			s.Reason = "in no split two images and more are solved by both, at times that differ"
		}
		scores = append(scores, s)
	}
	if !slices.ContainsFunc(scores, func(s OSTLayerScore) bool { return s.OSTScore != nil }) {
		return scores, fmt.Errorf("%w: %s", ErrData, scores[0].Reason)
	}
	return scores, nil
}

// ostFeatures reads some bins of a layer.
func ostFeatures(ctx context.Context, f Features, layer int, at, within []int) ([]OSTFeatures, error) {
	about := f.Layers()[layer]
	bins := make([]OSTFeatures, len(within))
	for i, b := range within {
		bins[i] = OSTFeatures{Start: about.Bins[b].Start, Features: make([][]float32, len(at))}
	}
	if err := roomFor(ctx, f, layer, len(at)*len(within)*about.Size); err != nil {
		return nil, err
	}
	return bins, eachRow(ctx, f, layer, at, within, func(k int, row []float32) error {
		for i := range bins {
			bins[i].Features[k] = slices.Clone(row[i*about.Size:][:about.Size])
		}
		return nil
	})
}

// TimeMean is the mean over a layer's bins of time, of those that have a score.
type TimeMean struct {
	Layer string
	// Offset is NaN where there is one for all.
	Offset        float64
	Score, Ceiled float64
	Bins, Of      int
}

// Means are the means over time of each layer and offset.
func (f *Fits) Means() []TimeMean {
	var means []TimeMean
	scores := map[int][][2]float64{}
	for _, s := range f.Scores {
		at := slices.IndexFunc(means, func(m TimeMean) bool {
			return m.Layer == s.Layer && (m.Offset == s.Offset || math.IsNaN(m.Offset) && math.IsNaN(s.Offset))
		})
		if at < 0 {
			at = len(means)
			means = append(means, TimeMean{Layer: s.Layer, Offset: s.Offset})
		}
		means[at].Of++
		if !math.IsNaN(s.Score.Center) {
			means[at].Bins++
			scores[at] = append(scores[at], [2]float64{s.Score.Center, s.Ceiled})
		}
	}
	for i := range means {
		var score, ceiled []float64
		for _, v := range scores[i] {
			score, ceiled = append(score, v[0]), append(ceiled, v[1])
		}
		means[i].Score, means[i].Ceiled = nanMean(score), nanMean(ceiled)
	}
	return means
}
