package evaluation

import (
	"context"
	"fmt"
	"iter"
	"math"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/tfconvrnn/go/internal/disk"
	"github.com/tfconvrnn/go/internal/imagenet"
)

// record is what is kept of a picture.
type record struct {
	id        string
	hash      string // SHA-256 of the file, "" if unknown
	failed    string
	predicted int
	rank      int   // of the label in the decoded logits, from 0
	ranks     []int // in the readout at each timestep
	driven    bool
}

// Run evaluates a model on a set. Errors wrap ErrSet, ErrRecords or ErrPrediction, or
// come from the predictor; after them the records hold what was done.
func Run(ctx context.Context, set *Set, predictor Predictor, o Options) (*Result, error) {
	if len(set.Pictures) == 0 {
		return nil, fmt.Errorf("%w: it has no pictures", ErrSet)
	}
	r := &run{set: set, times: len(predictor.Timesteps()), records: make([]*record, len(set.Pictures)),
		hashes: make([]string, len(set.Pictures))}
	if r.progress = o.Progress; r.progress == nil {
		r.progress = func(int, int) {}
	}
	if o.Records != "" {
		var err error
		if r.file, err = openRecords(o.Records, set, predictor); err != nil {
			return nil, err
		}
		defer r.file.close()
		if err := r.resume(ctx); err != nil {
			return nil, err
		}
	}
	for i := range r.records {
		if r.records[i] == nil {
			r.missing = append(r.missing, i)
		}
	}
	r.progress(r.resumed, len(r.records))
	if len(r.missing) > 0 {
		if err := predictor.Predict(ctx, r.pictures(), r.take); err != nil {
			return nil, err
		}
		if r.next < len(r.missing) {
			return nil, fmt.Errorf("%w: %d predictions for %d pictures", ErrPrediction, r.next, len(r.missing))
		}
	}
	if r.file != nil {
		if err := r.file.close(); err != nil {
			return nil, err
		}
	}
	result := summarize(set, predictor.Timesteps(), r.records)
	result.Resumed, result.Changed, result.Retried = r.resumed, r.changed, r.retried
	return result, nil
}

// run is an evaluation in progress.
type run struct {
	set      *Set
	times    int
	progress func(done, total int)
	file     *recordFile // nil if none is kept
	records  []*record   // of each picture, nil for those to do
	hashes   []string    // of the files, where records are kept
	missing  []int       // pictures to do
	next     int         // how many of missing are done

	resumed, changed, retried int
}

// resume takes what the records hold of pictures that have the same contents still.
func (r *run) resume(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, p := range r.set.Pictures {
		if one := r.file.done[p.ID]; one != nil && one.failed == "" {
			group.Go(func() error {
				if err := context.Cause(ctx); err != nil {
					return err
				}
				r.hashes[i] = hashOf(p)
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, p := range r.set.Pictures {
		switch one := r.file.done[p.ID]; {
		case one == nil:
		case one.failed != "":
			r.retried++
		case one.hash == "" || one.hash != r.hashes[i]:
			r.changed++
		default:
			r.records[i] = one
			r.resumed++
		}
	}
	return nil
}

// hashOf returns the hash of a picture's file. It returns "", which matches no record,
// if the file cannot be read.
func hashOf(p Picture) string {
	hash, err := disk.SHA256(context.Background(), p.File)
	if err != nil {
		return ""
	}
	return hash
}

// pictures returns those to do.
func (r *run) pictures() iter.Seq[Picture] {
	return func(yield func(Picture) bool) {
		for _, i := range r.missing {
			if r.file != nil {
				r.hashes[i] = hashOf(r.set.Pictures[i])
			}
			if !yield(r.set.Pictures[i]) {
				return
			}
		}
	}
}

// take records the prediction of the next picture.
func (r *run) take(p Prediction) error {
	if r.next == len(r.missing) {
		return fmt.Errorf("%w: more predictions than pictures", ErrPrediction)
	}
	i := r.missing[r.next]
	one, err := newRecord(r.set, r.set.Pictures[i], p, r.times)
	if err != nil {
		return err
	}
	one.hash = r.hashes[i]
	if r.file != nil {
		if err := r.file.add(one, r.set.Pictures[i]); err != nil {
			return err
		}
	}
	r.records[i] = one
	r.next++
	r.progress(r.resumed+r.next, len(r.records))
	return nil
}

func newRecord(set *Set, picture Picture, p Prediction, times int) (*record, error) {
	r := &record{id: picture.ID, driven: p.Driven}
	if p.Failed != nil {
		r.failed = p.Failed.Error()
		return r, nil
	}
	if len(p.Logits) != imagenet.Classes || len(p.Readout) != times*imagenet.Classes {
		return nil, fmt.Errorf("%w: %s: %d logits and a readout of %d values", ErrPrediction, picture.ID, len(p.Logits),
			len(p.Readout))
	}
	if err := CheckFinite(p.Logits, p.Readout); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrPrediction, picture.ID, err)
	}
	r.rank = rank(p.Logits, picture.Label, set.Among)
	r.predicted = likeliest(p.Logits, set.Among)
	for t := range times {
		r.ranks = append(r.ranks, rank(p.Readout[t*imagenet.Classes:(t+1)*imagenet.Classes], picture.Label, set.Among))
	}
	return r, nil
}

// CheckFinite returns an error that says where logits, [1000], or a readout,
// [timesteps, 1000], are not finite.
func CheckFinite(logits, readout []float32) error {
	finite := func(v float32) bool { return !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) }
	for output, v := range logits {
		if !finite(v) {
			return fmt.Errorf("the decoded logit of output %d is %g", output, v)
		}
	}
	for i, v := range readout {
		if !finite(v) {
			return fmt.Errorf("output %d of the readout at timestep %d is %g", i%imagenet.Classes, i/imagenet.Classes, v)
		}
	}
	return nil
}

// rank is the number of outputs before the label's when they are sorted from the
// largest down, equal ones by their index: of all outputs, or of those of among.
func rank(values []float32, label int, among []int) int {
	before := 0
	count := func(i int) {
		if v := values[i]; v > values[label] || v == values[label] && i < label {
			before++
		}
	}
	if among == nil {
		for i := range values {
			count(i)
		}
	}
	for _, i := range among {
		count(i)
	}
	return before
}

// likeliest is the output of the largest value, the first of equal ones.
func likeliest(values []float32, among []int) int {
	if among == nil {
		return slices.Index(values, slices.Max(values))
	}
	best := among[0]
	for _, i := range among {
		if values[i] > values[best] {
			best = i
		}
	}
	return best
}
