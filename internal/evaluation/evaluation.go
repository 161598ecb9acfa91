// Package evaluation measures how well a model classifies a labelled set of
// pictures: top-1 and top-5 accuracy of its decoder and of the readout at every
// timestep, with confidence intervals, in total and for each class.
//
//	set, err := evaluation.Folders("val", evaluation.WordNetOrder())
//	result, err := evaluation.Run(ctx, set, evaluation.ModelPredictor(model, preprocessing, options...), evaluation.Options{})
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
)

// Errors that callers can test for with errors.Is.
var (
	// ErrSet means a set of labelled pictures that cannot be used.
	ErrSet = errors.New("unusable set of labelled pictures")
	// ErrOrder means an order of classes that is none.
	ErrOrder = errors.New("unusable order of classes")
	// ErrRecords means a file of records that belongs to another evaluation, or is
	// none.
	ErrRecords = errors.New("unusable file of records")
)

// Chance is the top-1 accuracy of guessing.
const Chance = 1.0 / imagenet.Classes

// A Prediction is what a model says of a picture.
type Prediction struct {
	// Logits are the decoded ones, [1000].
	Logits []float32
	// Readout is [timesteps, 1000] in C order.
	Readout []float32
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

// Options steer an evaluation; the zero value is the default.
type Options struct {
	// Records is a file to which every picture's result is written, and from which
	// those that are there already are taken. None is kept if it is empty.
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
	// Decoded is the accuracy of the model's decoder.
	Decoded Accuracy `json:"decoded"`
	// OverTime is that of the readout at each timestep.
	OverTime []TimestepAccuracy `json:"over_time"`
	// Classes are those that there are pictures of, by index.
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
	// Resumed is how many of Images an earlier run had done.
	Resumed int `json:"resumed,omitempty"`
}

// FailedPicture is a picture that could not be read.
type FailedPicture struct {
	ID    string `json:"id"`
	Error string `json:"error"`
}

// record is what is kept of a picture.
type record struct {
	id        string
	failed    string
	predicted int
	rank      int   // of the label in the decoded logits, from 0
	ranks     []int // in the readout at each timestep
}

// Run evaluates a model on a set. Errors wrap ErrSet or ErrRecords, or come from the
// predictor; after them the records hold what was done.
func Run(ctx context.Context, set *Set, predictor Predictor, o Options) (*Result, error) {
	if len(set.Pictures) == 0 {
		return nil, fmt.Errorf("%w: it has no pictures", ErrSet)
	}
	times := len(predictor.Timesteps())
	records := make([]*record, len(set.Pictures))
	resumed := 0
	var file *recordFile
	if o.Records != "" {
		var err error
		if file, err = openRecords(o.Records, set, predictor); err != nil {
			return nil, err
		}
		defer file.close()
		for i, p := range set.Pictures {
			if records[i] = file.done[p.ID]; records[i] != nil {
				resumed++
			}
		}
	}
	var missing []int
	for i := range records {
		if records[i] == nil {
			missing = append(missing, i)
		}
	}
	done := resumed
	if o.Progress != nil {
		o.Progress(done, len(records))
	}
	if len(missing) > 0 {
		next := 0
		pictures := func(yield func(Picture) bool) {
			for _, i := range missing {
				if !yield(set.Pictures[i]) {
					return
				}
			}
		}
		err := predictor.Predict(ctx, pictures, func(p Prediction) error {
			if next == len(missing) {
				return fmt.Errorf("%w: more predictions than pictures", ErrSet)
			}
			picture := set.Pictures[missing[next]]
			r, err := newRecord(picture, p, times)
			if err != nil {
				return err
			}
			if file != nil {
				if err := file.add(r, picture); err != nil {
					return err
				}
			}
			records[missing[next]] = r
			next++
			done++
			if o.Progress != nil {
				o.Progress(done, len(records))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if next < len(missing) {
			return nil, fmt.Errorf("%w: %d predictions for %d pictures", ErrSet, next, len(missing))
		}
	}
	if file != nil {
		if err := file.close(); err != nil {
			return nil, err
		}
	}
	result := summarize(set, predictor.Timesteps(), records)
	result.Resumed = resumed
	return result, nil
}

func newRecord(picture Picture, p Prediction, times int) (*record, error) {
	r := &record{id: picture.ID}
	if p.Failed != nil {
		r.failed = p.Failed.Error()
		return r, nil
	}
	if len(p.Logits) != imagenet.Classes || len(p.Readout) != times*imagenet.Classes {
		return nil, fmt.Errorf("%w: %s: %d logits and a readout of %d values", ErrSet, picture.ID, len(p.Logits), len(p.Readout))
	}
	r.rank = rank(p.Logits, picture.Label)
	r.predicted = slices.Index(p.Logits, slices.Max(p.Logits))
	if r.predicted < 0 {
		return nil, fmt.Errorf("%w: %s: the logits hold NaN", ErrSet, picture.ID)
	}
	for t := range times {
		r.ranks = append(r.ranks, rank(p.Readout[t*imagenet.Classes:(t+1)*imagenet.Classes], picture.Label))
	}
	return r, nil
}

// rank is the number of outputs before the label's when they are sorted from the
// largest down, equal ones by their index.
func rank(values []float32, label int) int {
	before := 0
	for i, v := range values {
		if v > values[label] || v == values[label] && i < label {
			before++
		}
	}
	return before
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
	result := &Result{Order: set.Order.Name}
	var decoded counter
	overTime := make([]counter, len(timesteps))
	classes := make([]counter, imagenet.Classes)
	confusions := map[[2]int]int{} // label, output
	for i, r := range records {
		if r.failed != "" {
			result.Failed = append(result.Failed, FailedPicture{r.id, r.failed})
			continue
		}
		label := set.Pictures[i].Label
		decoded.add(r.rank)
		classes[label].add(r.rank)
		for t, rank := range r.ranks {
			overTime[t].add(rank)
		}
		confusions[[2]int{label, r.predicted}]++
	}
	result.Images = decoded.images
	result.Decoded = decoded.accuracy()
	for t := range timesteps {
		result.OverTime = append(result.OverTime, TimestepAccuracy{timesteps[t], overTime[t].accuracy()})
	}
	present := 0
	for label := range classes {
		if classes[label].images > 0 {
			present++
			result.Classes = append(result.Classes, ClassAccuracy{label, set.Order.Class(label), classes[label].accuracy()})
		}
	}
	result.AtChance = result.Images > 0 && result.Decoded.Top1.Low <= 100*Chance
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

// Verdict says in words how the accuracy compares with guessing; it is empty where
// that needs no words.
func (r *Result) Verdict() string {
	if r.Images == 0 {
		return "no picture could be read"
	}
	if !r.AtChance {
		return ""
	}
	text := fmt.Sprintf("top-1 accuracy is at chance level (%.1f %%) under the assumed order of classes (%s)", 100*Chance, r.Order)
	if r.Decoded.Top1.High > 5 {
		text += fmt.Sprintf("; with so few pictures (%d) more cannot be told", r.Images)
	}
	if r.Reordered > 10 && r.Reordered > 2*r.Decoded.Top1.High {
		text += fmt.Sprintf("; in another order it would be up to %.0f %%, so the order is probably wrong (--class-order)", r.Reordered)
	}
	return text
}
