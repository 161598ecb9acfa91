package compare

import (
	"fmt"
	"math"
	"slices"

	"github.com/tfconvrnn/go/internal/numpyrandom"
)

// Choices are rates at which objects are taken for others, [images][objects]: that of
// choosing object c when it is offered beside the image's own. NaN is where there is
// none, as for the image's own object.
type Choices struct {
	// Images are ids, all different, and Labels their objects, of Objects.
	Images, Labels, Objects []string
	Rates                   [][]float64
}

// ModelChoices returns the rates of a model that gives the objects of an image the
// probabilities [images][objects]: f_ic = p_ic/(p_ic + p_io), o the image's own. The
// error wraps ErrData.
func ModelChoices(images, labels, objects []string, probabilities [][]float64) (*Choices, error) {
	if len(images) != len(labels) || len(images) != len(probabilities) {
		return nil, fmt.Errorf("%w: %d images, %d labels, %d rows of probabilities", ErrData, len(images), len(labels),
			len(probabilities))
	}
	c := &Choices{Images: images, Labels: labels, Objects: objects}
	for i, label := range labels {
		own := slices.Index(objects, label)
		if own < 0 || len(probabilities[i]) != len(objects) {
			return nil, fmt.Errorf("%w: image %s is of %q, and there are %d probabilities of the objects %v", ErrData, images[i],
				label, len(probabilities[i]), objects)
		}
		row := make([]float64, len(objects))
		for k, p := range probabilities[i] {
			row[k] = p / (p + probabilities[i][own])
		}
		row[own] = math.NaN()
		c.Rates = append(c.Rates, row)
	}
	return c, nil
}

// Trial is one choice between two objects, the image's own (Sample) and a Distractor.
type Trial struct{ Image, Sample, Distractor, Choice string }

// HumanChoices returns the rates of trials: of those of an image that offered an
// object beside its own, the part in which that was chosen. Images and objects are
// sorted.
func HumanChoices(trials []Trial) *Choices {
	c := &Choices{}
	label := map[string]string{}
	for _, t := range trials {
		label[t.Image] = t.Sample
		c.Objects = append(c.Objects, t.Sample, t.Distractor)
	}
	for image := range label {
		c.Images = append(c.Images, image)
	}
	slices.Sort(c.Images)
	slices.Sort(c.Objects)
	c.Objects = slices.Compact(c.Objects)
	place := map[string]int{}
	counts := make([][]float64, len(c.Images))
	for i, image := range c.Images {
		place[image] = i
		c.Labels = append(c.Labels, label[image])
		c.Rates, counts[i] = append(c.Rates, make([]float64, len(c.Objects))), make([]float64, len(c.Objects))
	}
	for _, t := range trials {
		i := place[t.Image]
		distractor, _ := slices.BinarySearch(c.Objects, t.Distractor)
		counts[i][distractor]++
		if t.Choice == t.Distractor {
			c.Rates[i][distractor]++
		}
	}
	for i, row := range c.Rates {
		for k := range row {
			row[k] /= counts[i][k] // NaN for none
		}
	}
	return c
}

// Consistency is one of the behavioural signatures of Rajalingham et al. 2018.
type Consistency string

// The consistencies: per image, or per image and distractor; normalised ones have the mean
// over the images of an object taken off.
const (
	I1  Consistency = "i1"
	I1n Consistency = "i1n"
	I2  Consistency = "i2"
	I2n Consistency = "i2n"
)

func (c Consistency) normalised() bool { return c == I1n || c == I2n }
func (c Consistency) collapsed() bool  { return c == I1 || c == I1n }

// largestDPrime bounds d′.
const largestDPrime = 5

// probit is the inverse of the normal distribution function.
func probit(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }

// DPrimes returns how well each image's object is told from each other, [images][objects],
// or from all ([images][1]) for I1 and I1n:
//
//	d′_ic = z(1 − f_ic) − z(F(c→o)), within ±5
//
// where z is the inverse normal distribution function and F(c→o) the mean over the images of object c of the rate of o.
func (c *Choices) DPrimes(kind Consistency) [][]float64 {
	falseAlarms := make([][]float64, len(c.Objects)) // of [from c][to o]
	for from, object := range c.Objects {
		falseAlarms[from] = make([]float64, len(c.Objects))
		for to := range c.Objects {
			var rates []float64
			for i, label := range c.Labels {
				if label == object {
					rates = append(rates, c.Rates[i][to])
				}
			}
			falseAlarms[from][to] = nanMean(rates)
		}
	}
	d := make([][]float64, len(c.Images))
	for i, label := range c.Labels {
		own := slices.Index(c.Objects, label)
		for k, rate := range c.Rates[i] {
			d[i] = append(d[i], max(-largestDPrime, min(largestDPrime, probit(1-rate)-probit(falseAlarms[k][own]))))
		}
	}
	if kind.normalised() {
		for _, object := range c.Objects {
			for k := range c.Objects {
				var same []float64
				for i, label := range c.Labels {
					if label == object {
						same = append(same, d[i][k])
					}
				}
				mean := nanMean(same)
				for i, label := range c.Labels {
					if label == object {
						d[i][k] -= mean
					}
				}
			}
		}
	}
	if kind.collapsed() {
		for i := range d {
			d[i] = []float64{nanMean(d[i])}
		}
	}
	return d
}

// BehaviouralScore is a consistency of a model with trials.
type BehaviouralScore struct {
	// Score, Ceiling and Ceiled are means over two repetitions, Error and CeilingError their standard
	// deviations; Raw and CeilingRaw have the repetitions.
	Score, Error, Ceiling, CeilingError, Ceiled float64
	Raw, CeilingRaw                             []float64
}

// repetitionsOfHalves is how often Brain-Score shuffles the trials.
const repetitionsOfHalves = 2

// Behaviour correlates a model's choices with those of trials. Twice the trials are
// shuffled (RandomState(0)); their first half is compared with the model, and, for the
// ceiling, with the second half. Ceiled is the mean of r/√ceiling. The error wraps
// ErrData where images of trials are not the model's.
func Behaviour(model *Choices, trials []Trial, kind Consistency) (*BehaviouralScore, error) {
	if !slices.Contains([]Consistency{I1, I1n, I2, I2n}, kind) {
		return nil, fmt.Errorf("%w: there is no consistency %q", ErrData, kind)
	}
	known := map[string]bool{}
	for _, image := range model.Images {
		known[image] = true
	}
	for _, t := range trials {
		if !known[t.Image] || !slices.Contains(model.Objects, t.Distractor) {
			return nil, fmt.Errorf("%w: a trial of image %q with distractor %q, of which the model has no choice", ErrData,
				t.Image, t.Distractor)
		}
	}
	predicted := model.DPrimes(kind)
	s := &BehaviouralScore{}
	random := numpyrandom.NewState(0)
	var ceiled []float64
	for range repetitionsOfHalves {
		order := slices.Clone(trials)
		random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		one, other := HumanChoices(order[:len(order)/2]), HumanChoices(order[len(order)/2:])
		measured := one.DPrimes(kind)
		r := correlated(one, measured, model, predicted, kind)
		c := correlated(one, measured, other, other.DPrimes(kind), kind)
		s.Raw, s.CeilingRaw = append(s.Raw, r), append(s.CeilingRaw, c)
		ceiled = append(ceiled, Root.Apply(r, c))
	}
	s.Score, s.Error = meanOf(s.Raw), deviation(s.Raw, 0)
	s.Ceiling, s.CeilingError = meanOf(s.CeilingRaw), deviation(s.CeilingRaw, 0)
	s.Ceiled = meanOf(ceiled)
	return s, nil
}

// correlated is Pearson's r of the entries of two sets of d′ that both have.
func correlated(a *Choices, da [][]float64, b *Choices, db [][]float64, kind Consistency) float64 {
	row, column := map[string]int{}, map[string]int{}
	for i, image := range b.Images {
		row[image] = i
	}
	for k, object := range b.Objects {
		column[object] = k
	}
	var x, y []float64
	for i, image := range a.Images {
		at, ok := row[image]
		if !ok {
			continue
		}
		for k, v := range da[i] {
			to := 0
			if !kind.collapsed() {
				if to, ok = column[a.Objects[k]]; !ok {
					continue
				}
			}
			if w := db[at][to]; !math.IsNaN(v) && !math.IsNaN(w) {
				x, y = append(x, v), append(y, w)
			}
		}
	}
	return Pearson(x, y)
}
