// Package evaluation measures how well a model classifies a labelled set of
// pictures: top-1 and top-5 accuracy of its decoder and of the readout at every
// timestep, with confidence intervals, in total and for each class.
//
//	set, err := evaluation.Request{Images: "val"}.Find(ctx)
//	report, err := evaluation.Evaluate(ctx, model, set, evaluation.ModelOptions{})
//
// What is found of each picture can be kept in a file from which a later run goes
// on (Options.Records). Nothing here needs the command line.
package evaluation

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/tfconvrnn/go/internal/imagenet"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Errors that callers can test for with errors.Is.
var (
	// ErrSet means a set of labelled pictures that cannot be used.
	ErrSet = errors.New("unusable set of labelled pictures")
	// ErrOrder means a file that is no order of the classes.
	ErrOrder = errors.New("unusable order of classes")
	// ErrRecords means a file that holds no records, or those of another evaluation.
	ErrRecords = errors.New("unusable file of records")
	// ErrMissing means pictures of a list that are not there.
	ErrMissing = errors.New("labelled pictures are missing")
	// ErrPrediction means that a model's output is not made of finite numbers, or that
	// a predictor gave another number of them.
	ErrPrediction = errors.New("unusable prediction")
)

// A Prediction is what a model says of a picture.
type Prediction struct {
	// Logits are the decoded ones, [1000].
	Logits []float32
	// Readout is [timesteps, 1000] in C order.
	Readout []float32
	// Driven says whether the image can have reached the timestep of the readout that
	// the decoder took.
	Driven bool
	// Failed is why the picture could not be read, or nil.
	Failed error
}

// A Predictor runs a model. The number and the meaning of its timesteps do not
// change.
type Predictor interface {
	// Timesteps describes the timesteps of Prediction.Readout.
	Timesteps() []Timestep
	// Describe says which model this is and how pictures are shown to it: text that
	// is the same if and only if the predictions would be.
	Describe() string
	// Predict calls sink for each picture, in order. The prediction is valid until
	// sink returns.
	Predict(ctx context.Context, pictures iter.Seq[Picture], sink func(Prediction) error) error
}

// Timestep is a timestep of the readout.
type Timestep struct {
	Timestep     int `json:"timestep"`
	Milliseconds int `json:"milliseconds"`
	// Driven says whether the image can have reached the readout.
	Driven bool `json:"driven"`
}

// DecodedDriven says whether the image can have reached the timestep of the readout,
// [timesteps, 1000], that a decoder (last, max_conf or thresh) took the logits from.
func DecodedDriven(decoder string, timesteps []Timestep, readout, logits []float32) bool {
	first := len(timesteps) - 1
	if decoder != "last" {
		first = tfconvrnn.FirstDecodedTimestep
	}
	all, none := true, true
	for _, t := range timesteps {
		if t.Timestep >= first {
			all, none = all && t.Driven, none && !t.Driven
		}
	}
	if all || none {
		return all && !none
	}
	for i, t := range timesteps {
		if t.Timestep >= first && slices.Equal(readout[i*imagenet.Classes:(i+1)*imagenet.Classes], logits) {
			return t.Driven
		}
	}
	return false
}

// Options steer an evaluation; the zero value is the default.
type Options struct {
	// Records is a file to which every picture's result is written, and from which
	// those that are there already are taken, if the picture has still the same
	// contents and could be read. None is kept if it is empty.
	Records string
	// Progress, if not nil, is called with the pictures done and those there are.
	Progress func(done, total int)
}

// Proportion is a number of successes, with the 95 % interval of Wilson (1927):
//
//	(p + z²/2n ± z·√(p(1-p)/n + z²/4n²)) / (1 + z²/n), p = Correct/Images, z = 1.96
type Proportion struct {
	Correct int `json:"correct"`
	Images  int `json:"images"`
	// Percent, Low and High are in percent; NaN becomes 0 where there are no images.
	Percent float64 `json:"percent"`
	Low     float64 `json:"low"`
	High    float64 `json:"high"`
}

// NewProportion computes the proportion and its interval.
func NewProportion(correct, images int) Proportion {
	if images == 0 {
		return Proportion{High: 100}
	}
	const z = 1.959963984540054
	n, p := float64(images), float64(correct)/float64(images)
	centre := p + z*z/(2*n)
	half := z * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	scale := 100 / (1 + z*z/n)
	return Proportion{correct, images, 100 * p, max(0, scale*(centre-half)), min(100, scale*(centre+half))}
}

// Accuracy is top-1 and top-5 accuracy.
type Accuracy struct {
	Top1 Proportion `json:"top1"`
	Top5 Proportion `json:"top5"`
}

// TimestepAccuracy is the accuracy of the readout at a timestep.
type TimestepAccuracy struct {
	Timestep
	Accuracy
}

// ClassAccuracy is the accuracy of the decoder for the pictures of a class.
type ClassAccuracy struct {
	// Index is the model's output.
	Index int `json:"index"`
	imagenet.Class
	Accuracy
}

// Result is the outcome of an evaluation.
type Result struct {
	Images int `json:"images"`
	// Failed are the pictures that could not be read, which count for nothing.
	Failed []FailedPicture `json:"failed,omitempty"`
	// Present is the number of classes that the set has pictures of, and Among that of
	// the classes among which the likeliest is chosen.
	Present int `json:"classes_present"`
	Among   int `json:"chosen_among"`
	// Decoded is the accuracy of the model's decoder. It is the zero value, and OverTime
	// is empty, if no picture could be read.
	Decoded Accuracy `json:"decoded,omitzero"`
	// Undriven is how many of Images were decoded from a timestep of the readout that
	// no image can have reached.
	Undriven int `json:"decoded_not_driven,omitempty"`
	// OverTime is that of the readout at each timestep.
	OverTime []TimestepAccuracy `json:"over_time,omitempty"`
	// Classes are those that there are pictures of, by index, even if none of a class
	// could be read.
	Classes []ClassAccuracy `json:"-"`
	// Order names the assumed order of the outputs.
	Order string `json:"class_order"`
	// AtChance says that top-1 accuracy cannot be told from that of guessing.
	AtChance bool `json:"at_chance"`
	// Reordered is the top-1 accuracy in percent if each class had the output that
	// fits it best, no two the same. Far above Decoded.Top1, it says that the order
	// is another one. It is too high where there are few pictures of each class,
	// and 0 where there are fewer than 5 on average.
	Reordered float64 `json:"top1_percent_if_reordered,omitempty"`
	// Resumed is how many of Images an earlier run had done, Changed how many pictures
	// were run again because they have other contents now, and Retried how many because
	// they could not be read then.
	Resumed int `json:"resumed,omitempty"`
	Changed int `json:"changed,omitempty"`
	Retried int `json:"retried,omitempty"`
}

// Chance is the top-1 accuracy of guessing, in percent.
func (r *Result) Chance() float64 { return 100 / float64(r.Among) }

// FailedPicture is a picture that could not be read.
type FailedPicture struct {
	ID    string `json:"id"`
	Error string `json:"error"`
}

type counter struct{ top1, top5, images int }

func (c *counter) add(rank int) {
	c.images++
	if rank < 1 {
		c.top1++
	}
	if rank < 5 {
		c.top5++
	}
}

func (c *counter) accuracy() Accuracy {
	return Accuracy{NewProportion(c.top1, c.images), NewProportion(c.top5, c.images)}
}

func summarize(set *Set, timesteps []Timestep, records []*record) *Result {
	result := &Result{Order: set.Order.Name, Present: len(set.Present()), Among: set.among()}
	var decoded counter
	overTime := make([]counter, len(timesteps))
	classes := make([]counter, imagenet.Classes)
	var there [imagenet.Classes]bool
	confusions := map[[2]int]int{} // label, output
	for i, r := range records {
		there[set.Pictures[i].Label] = true
		if r.failed != "" {
			result.Failed = append(result.Failed, FailedPicture{r.id, r.failed})
			continue
		}
		label := set.Pictures[i].Label
		decoded.add(r.rank)
		if !r.driven {
			result.Undriven++
		}
		classes[label].add(r.rank)
		for t, rank := range r.ranks {
			overTime[t].add(rank)
		}
		confusions[[2]int{label, r.predicted}]++
	}
	result.Images = decoded.images
	present := 0
	for label := range classes {
		if there[label] {
			result.Classes = append(result.Classes, ClassAccuracy{label, set.Order.Class(label), classes[label].accuracy()})
		}
		if classes[label].images > 0 {
			present++
		}
	}
	if result.Images == 0 {
		return result
	}
	result.Decoded = decoded.accuracy()
	for t := range timesteps {
		result.OverTime = append(result.OverTime, TimestepAccuracy{timesteps[t], overTime[t].accuracy()})
	}
	result.AtChance = result.Decoded.Top1.Low <= result.Chance()
	if result.Images >= 5*present && present > 1 {
		result.Reordered = 100 * float64(reordered(confusions)) / float64(result.Images)
	}
	return result
}

// reordered assigns outputs to classes, the most frequent pairs first, and returns
// how many pictures then get their class's output.
func reordered(confusions map[[2]int]int) int {
	pairs := make([][2]int, 0, len(confusions))
	for pair := range confusions {
		pairs = append(pairs, pair)
	}
	slices.SortFunc(pairs, func(a, b [2]int) int {
		if confusions[a] != confusions[b] {
			return confusions[b] - confusions[a]
		}
		return slices.Compare(a[:], b[:])
	})
	var classTaken, outputTaken [imagenet.Classes]bool
	correct := 0
	for _, pair := range pairs {
		if !classTaken[pair[0]] && !outputTaken[pair[1]] {
			classTaken[pair[0]], outputTaken[pair[1]] = true, true
			correct += confusions[pair]
		}
	}
	return correct
}

// OrderDoubtful says whether another order of classes would explain an accuracy at chance level.
func (r *Result) OrderDoubtful() bool {
	return r.AtChance && r.Reordered > 10 && r.Reordered > 2*r.Decoded.Top1.High
}

// Verdict says in words how the accuracy compares with guessing; it is empty where
// that needs no words.
func (r *Result) Verdict() string {
	if r.Images == 0 {
		return "no picture could be read"
	}
	if !r.AtChance {
		return ""
	}
	text := fmt.Sprintf("top-1 accuracy is at chance level (%.1f %%) under the assumed order of classes (%s)", r.Chance(),
		r.Order)
	if r.Decoded.Top1.High > max(5, 1.5*r.Chance()) {
		text += fmt.Sprintf("; with so few pictures (%d) more cannot be told", r.Images)
	}
	if r.OrderDoubtful() {
		text += fmt.Sprintf("; in another order it would be up to %.0f %%, so the order is probably wrong", r.Reordered)
	}
	return text
}
