package compare

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// BehaviourOptions says how BehaviourOverTime compares.
type BehaviourOptions struct {
	// Consistency is I2n if "".
	Consistency Consistency
	// Labels are the objects of the stimuli that a readout is fitted on; those of trials are not.
	Labels map[string]string
	// Layers are those to compare; none means all.
	Layers []string
	// Bins are the bins of time; none means those of the features.
	Bins []Bin
	// Progress is called after each readout, if it is not nil.
	Progress func(done, of int64)
}

// BehaviourTimeScore is the consistency of a layer's readout at one time with trials.
type BehaviourTimeScore struct {
	Layer string
	Bin   Bin
	// BehaviouralScore is empty where there is a Reason.
	*BehaviouralScore
	Reason string
	// Training and Test are numbers of stimuli.
	Training, Test int
}

// BehaviourOverTime fits a readout of the objects to the features of each layer at each time, of stimuli
// that have a label and are not in the trials, and compares what it chooses for those of the trials.
// Errors wrap ErrData, or are ctx's or the features'.
func BehaviourOverTime(ctx context.Context, f Features, trials []Trial, o BehaviourOptions) ([]BehaviourTimeScore, error) {
	if o.Consistency == "" {
		o.Consistency = I2n
	}
	layers, err := layersOf(f, o.Layers)
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
	var training []int
	var labels []string
	for i, id := range f.Stimuli() {
		if label := o.Labels[id]; label != "" && !inTrials[id] {
			training, labels = append(training, i), append(labels, label)
		}
	}
	if len(training) == 0 {
		return nil, fmt.Errorf("%w: no stimulus with features and a label is outside the trials, to fit the readout on", ErrData)
	}
	of := 0
	for _, l := range layers {
		of += len(binsOf(f.Layers()[l], o.Bins))
	}
	var scores []BehaviourTimeScore
	for _, layer := range layers {
		for _, bin := range binsOf(f.Layers()[layer], o.Bins) {
			s := BehaviourTimeScore{Layer: f.Layers()[layer].Name, Bin: bin, Training: len(training), Test: len(test)}
			s.BehaviouralScore, s.Reason, err = readOut(ctx, f, layer, bin, training, test, labels, humans, trials, o.Consistency)
			if err != nil {
				return nil, fmt.Errorf("layer %s, %v ms: %w", s.Layer, bin, err)
			}
			scores = append(scores, s)
			if o.Progress != nil {
				o.Progress(int64(len(scores)), int64(of))
			}
		}
	}
	if !slices.ContainsFunc(scores, func(s BehaviourTimeScore) bool { return s.Reason == "" }) {
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

func readOut(ctx context.Context, f Features, layer int, bin Bin, training, test []int, labels []string, humans *Choices, trials []Trial, kind Consistency) (*BehaviouralScore, string, error) {
	rows, reason, err := FeaturesAt(ctx, f, layer, slices.Concat(training, test), bin)
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
	readout, err := FitReadout(values[:len(training)], labels, ReadoutC)
	if err != nil {
		return nil, "", err
	}
	probabilities, err := readout.Probabilities(values[len(training):])
	if err != nil {
		return nil, "", err
	}
	choices, err := ModelChoices(humans.Images, humans.Labels, readout.Objects, probabilities)
	if err != nil {
		return nil, "", err
	}
	score, err := Behaviour(choices, trials, kind)
	return score, "", err
}

// OSTLayerScore is the OSTScore of a layer.
type OSTLayerScore struct {
	Layer string
	// OSTScore is empty where there is a Reason.
	*OSTScore
	// Bins were used; those in which the layer is not driven were not.
	Bins   []Bin
	Reason string
}

// OSTOverLayers computes the object solution times of each layer from its features in the bins of time
// that lie within from and to, in ms, and compares them with measured ones: as OST. Errors wrap ErrData or
// ErrSplits, or are ctx's or the features'.
func OSTOverLayers(ctx context.Context, f Features, measured *SolutionTimes, decoder OSTDecoder, layers []string, from, to float64) ([]OSTLayerScore, error) {
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
		s := OSTLayerScore{Layer: about.Name, Reason: fmt.Sprintf("no features within %g-%g ms of a driven layer", from, to)}
		var bins []OSTFeatures
		for _, b := range about.Bins {
			if b.Start < from || b.End > to {
				continue
			}
			rows, reason, err := FeaturesAt(ctx, f, layer, at, b)
			if err != nil {
				return nil, err
			}
			if reason == "" {
				bins, s.Bins = append(bins, OSTFeatures{Start: b.Start, Features: rows}), append(s.Bins, b)
			}
		}
		if len(bins) > 0 {
			if s.OSTScore, err = OST(ctx, bins, measured, decoder); err != nil {
				return nil, fmt.Errorf("layer %s: %w", about.Name, err)
			}
			s.Reason = ""
		}
		scores = append(scores, s)
	}
	if !slices.ContainsFunc(scores, func(s OSTLayerScore) bool { return s.Reason == "" }) {
		return scores, fmt.Errorf("%w: %s", ErrData, scores[0].Reason)
	}
	return scores, nil
}

// TimeMean is the mean over a layer's bins of time, of those that have a score.
type TimeMean struct {
	Layer         string
	Score, Ceiled float64
	Bins, Of      int
}

// Means are the means over time of each layer.
func (f *Fits) Means() []TimeMean {
	var means []TimeMean
	scores := map[string][][2]float64{}
	for _, s := range f.Scores {
		at := slices.IndexFunc(means, func(m TimeMean) bool { return m.Layer == s.Layer })
		if at < 0 {
			at = len(means)
			means = append(means, TimeMean{Layer: s.Layer})
		}
		means[at].Of++
		if !math.IsNaN(s.Score.Center) {
			means[at].Bins++
			scores[s.Layer] = append(scores[s.Layer], [2]float64{s.Score.Center, s.Ceiled})
		}
	}
	for i := range means {
		var score, ceiled []float64
		for _, v := range scores[means[i].Layer] {
			score, ceiled = append(score, v[0]), append(ceiled, v[1])
		}
		means[i].Score, means[i].Ceiled = nanMean(score), nanMean(ceiled)
	}
	return means
}
