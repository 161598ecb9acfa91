package tfconvrnn

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/tfconvrnn/go/internal/libtf"
)

// OnHalved is called when batches whose size was chosen, because BatchSize did not give it, do
// not fit into the memory of their device: the extraction begins again with half of it, once. err wraps
// ErrMemory. The features are those of the smaller batches, and Provenance says so.
func OnHalved(tell func(from, to int, err error)) ExtractOption {
	return func(o *extractOptions) { o.onHalved = tell }
}

// BatchSize is the number of stimuli computed together. One that was chosen is halved by the first stream that
// finds no memory for it.
func (x *Extraction) BatchSize() int {
	if from := x.halvedFrom(); from > 0 {
		return from / 2
	}
	return x.options.batchSize
}

// halvedFrom returns the number of stimuli that were too many, 0 if none were.
func (x *Extraction) halvedFrom() int {
	if x.halved == nil {
		return 0
	}
	return int(x.halved.Load())
}

// streamChosen is stream with batches of a chosen size. If the first finds no memory it begins again with half of it.
func (x *Extraction) streamChosen(ctx context.Context, stimuli iter.Seq[Stimulus], sink func(*Batch) error) error {
	if x.halved == nil || x.BatchSize() < 2 || x.halvedFrom() > 0 {
		return x.stream(ctx, stimuli, sink)
	}
	next, stop := iter.Pull(stimuli)
	defer stop()
	again := &replay{next: next}
	first := *x
	first.options.onError = again.once(x.options.onError)
	err := first.stream(ctx, again.all, func(b *Batch) error {
		again.begun.Store(true)
		return sink(b)
	})
	from := min(x.options.batchSize, len(again.kept)) // there may be fewer stimuli
	if again.begun.Load() || from < 2 || !errors.Is(err, ErrMemory) {
		return err
	}
	again.begun.Store(true)
	if x.halved.CompareAndSwap(0, int64(from)) && x.options.onHalved != nil {
		x.options.onHalved(from, x.BatchSize(), err)
	}
	return first.stream(ctx, again.all, sink)
}

// A replay keeps the stimuli that were read until a batch was put out, so that the stream can begin again.
type replay struct {
	next  func() (Stimulus, bool)
	begun atomic.Bool
	kept  []Stimulus
	asked map[int]error // what was said of stimuli that cannot be read
}

func (r *replay) all(yield func(Stimulus) bool) {
	for _, s := range r.kept {
		if !yield(s) {
			return
		}
	}
	for {
		s, ok := r.next()
		if !ok {
			return
		}
		if r.begun.Load() {
			r.kept = nil
		} else {
			r.kept = append(r.kept, s)
		}
		if !yield(s) {
			return
		}
	}
}

// once asks only once about each of the stimuli that are kept.
func (r *replay) once(decide func(int, Stimulus, error) error) func(int, Stimulus, error) error {
	if decide == nil {
		return nil
	}
	r.asked = map[int]error{}
	return func(index int, s Stimulus, err error) error {
		answer, ok := r.asked[index]
		if !ok {
			if answer = decide(index, s, err); !r.begun.Load() {
				r.asked[index] = answer
			}
		}
		return answer
	}
}

// simulatedBatchEnv is the most stimuli that a simulated GPU has memory for.
const simulatedBatchEnv = "TFCONVRNN_SIMULATED_GPU_BATCH"

// simulatedMemory is the error of a simulated GPU that has no memory for so many stimuli.
func (m *Model) simulatedMemory(stimuli int) error {
	if len(m.gpu.numbers) == 0 || simulatedGPUs() == 0 {
		return nil
	}
	if most, err := strconv.Atoi(os.Getenv(simulatedBatchEnv)); err == nil && stimuli > most {
		return fmt.Errorf("%s is %d: %w", simulatedBatchEnv, most, libtf.ErrResourceExhausted)
	}
	return nil
}
