package explorer

import (
	"cmp"
	"math"
	"slices"

	"github.com/tfconvrnn/go/internal/imagenet"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// layerSummary is a layer's response over time, for every timestep from 0 on, as far as it is computed.
type layerSummary struct {
	Layer string `json:"layer"`
	// Mean and Deviation are the mean and the standard deviation over all units.
	Mean      []float64 `json:"mean"`
	Deviation []float64 `json:"deviation"`
	// Least and Greatest are those of all units at all timesteps.
	Least    float32 `json:"least"`
	Greatest float32 `json:"greatest"`
}

// add takes in the next timestep.
func (s *layerSummary) add(l *tfconvrnn.LayerFeatures, timestep int) {
	values := at(l, timestep)
	if timestep == 0 {
		s.Least, s.Greatest = values[0], values[0]
	}
	var sum, squares float64
	for _, v := range values {
		sum += float64(v)
		squares += float64(v) * float64(v)
		s.Least, s.Greatest = min(s.Least, v), max(s.Greatest, v)
	}
	n := float64(len(values))
	s.Mean = append(s.Mean, sum/n)
	s.Deviation = append(s.Deviation, math.Sqrt(max(0, squares/n-sum/n*(sum/n))))
}

// at returns a layer's values at a timestep of the only stimulus; all timesteps are there.
func at(l *tfconvrnn.LayerFeatures, timestep int) []float32 {
	return l.Data[timestep*l.Size() : (timestep+1)*l.Size()]
}

// channelMeans returns the mean of each channel of a layer over space, [timesteps, channels].
func (r *run) channelMeans(l *tfconvrnn.LayerFeatures) []float32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m, ok := r.means[l.Name]; ok {
		return m
	}
	channels := l.Shape[len(l.Shape)-1]
	places := l.Size() / channels
	m := make([]float32, len(l.Timesteps)*channels)
	sums := make([]float64, channels)
	for t := range l.Timesteps {
		clear(sums)
		values := at(l, t)
		for i := 0; i < len(values); i += channels {
			for c, v := range values[i : i+channels] {
				sums[c] += float64(v)
			}
		}
		for c, v := range sums {
			m[t*channels+c] = float32(v / float64(places))
		}
	}
	if r.means == nil {
		r.means = map[string][]float32{}
	}
	r.means[l.Name] = m
	return m
}

// class is an ImageNet class with its probability, the softmax of the readout.
type class struct {
	Index       int     `json:"index"`
	Probability float64 `json:"probability"`
}

// classCurve is a class over time.
type classCurve struct {
	Index         int       `json:"index"`
	Name          string    `json:"name"`
	Names         string    `json:"names"`
	WordNetID     string    `json:"wordnet_id"`
	Probabilities []float64 `json:"probabilities"`
}

// classSummary is what the readout says over time.
type classSummary struct {
	// Top are the five likeliest classes at each timestep.
	Top [][]class `json:"top"`
	// Curves are the classes that are among them at any timestep, those with the greatest probability first.
	Curves []classCurve `json:"curves"`
}

const topClasses = 5

func softmax(logits []float32) []float64 {
	largest, sum := float64(slices.Max(logits)), 0.0
	p := make([]float64, len(logits))
	for i, v := range logits {
		p[i] = math.Exp(float64(v) - largest)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

// top returns the likeliest classes, the lower index first where they are equal.
func top(p []float64) []class {
	list := make([]class, len(p))
	for i, v := range p {
		list[i] = class{i, v}
	}
	slices.SortStableFunc(list, func(a, b class) int { return cmp.Compare(b.Probability, a.Probability) })
	return list[:min(topClasses, len(list))]
}

func classesOverTime(readout *tfconvrnn.LayerFeatures) classSummary {
	var s classSummary
	all := make([][]float64, len(readout.Timesteps))
	greatest := map[int]float64{}
	for t := range readout.Timesteps {
		all[t] = softmax(at(readout, t))
		s.Top = append(s.Top, top(all[t]))
		for _, c := range s.Top[t] {
			// What comes before the picture says nothing about it, and is not what one looks for.
			p := c.Probability
			if !readout.Driven[t] {
				p = 0
			}
			greatest[c.Index] = max(greatest[c.Index], p)
		}
	}
	for index := range greatest {
		name := imagenet.At(index)
		curve := classCurve{Index: index, Name: name.Name(), Names: name.Names, WordNetID: name.WordNetID}
		for t := range all {
			curve.Probabilities = append(curve.Probabilities, all[t][index])
		}
		s.Curves = append(s.Curves, curve)
	}
	slices.SortFunc(s.Curves, func(a, b classCurve) int {
		return cmp.Or(cmp.Compare(greatest[b.Index], greatest[a.Index]), a.Index-b.Index)
	})
	return s
}

// decision is what the model's decoder makes of the readout.
type decision struct {
	Decoder string `json:"decoder"`
	// Timestep is the one that the decoder takes, nil if the presentation is too short for it.
	Timestep *int `json:"timestep"`
	// Driven says whether the picture can have reached the readout by then.
	Driven bool `json:"driven"`
	// Confidence is the decoder's own at that timestep, 0 for one that looks at none; Threshold is what it waits for,
	// and Reached says whether it came. Without a threshold Reached is false.
	Confidence float64 `json:"confidence,omitempty"`
	Threshold  float64 `json:"threshold,omitempty"`
	Reached    bool    `json:"reached"`
	// Classes are the likeliest by the decoded logits, with Names.
	Classes []class  `json:"classes"`
	Names   []string `json:"names"`
}

// decide says when and what a model's decoder chooses. The logits are those that the graph decoded, nil if there are
// none.
func decide(m *Model, readout *tfconvrnn.LayerFeatures, logits []float32) (decision, error) {
	d := decision{Decoder: m.Decoder.Decoder, Classes: []class{}, Names: []string{}}
	if logits == nil {
		return d, nil
	}
	first, size := tfconvrnn.FirstDecodedTimestep, readout.Size()
	t := len(readout.Timesteps) - 1
	var err error
	switch m.Decoder.Decoder {
	case "max_conf":
		_, t, err = tfconvrnn.DecodeMaxConfidence(readout.Data[first*size:], m.Decoder.Beta)
		t += first
	case "thresh":
		d.Threshold = float64(m.Decoder.Threshold)
		_, t, err = tfconvrnn.DecodeThreshold(readout.Data[first*size:], m.Decoder.Beta, m.Decoder.Threshold)
		t += first
	}
	if err != nil {
		return d, err
	}
	if m.Decoder.Decoder != "last" {
		scaled := make([]float32, size)
		for i, v := range at(readout, t) {
			scaled[i] = m.Decoder.Beta * v
		}
		d.Confidence = slices.Max(softmax(scaled))
		// The decoder rounds to float32.
		d.Reached = d.Threshold > 0 && float32(d.Confidence) >= m.Decoder.Threshold
	}
	d.Timestep, d.Driven = &t, readout.Driven[t]
	for _, c := range top(softmax(logits)) {
		d.Classes, d.Names = append(d.Classes, c), append(d.Names, imagenet.At(c.Index).Name())
	}
	return d, nil
}
