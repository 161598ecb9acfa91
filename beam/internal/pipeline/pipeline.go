// Package pipeline is the extraction of a plan as an Apache Beam pipeline:
//
//	plan ── chunks ── reshuffle ── extract ─┬─ chunks written ── seal
//	                                        └─ failures ─────── file
//
// A worker process loads the model once, for whatever number of bundles it works on,
// and writes whole chunks into the plan's store. Whoever computes a chunk writes the
// same bytes, so it does no harm if a runner tries a bundle again, or twice at once.
package pipeline

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/log"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

func init() {
	register.DoFn3x1[context.Context, []byte, func(int), error](&chunksFn{})
	register.DoFn4x1[context.Context, int, func(int), func(Failure), error](&extractFn{})
	register.DoFn3x1[context.Context, []byte, func(*int) bool, error](&sealFn{})
	register.DoFn3x1[context.Context, []byte, func(*Failure) bool, error](&writeFn{})
	register.Emitter1[int]()
	register.Emitter1[Failure]()
	register.Iter1[int]()
	register.Iter1[Failure]()
	beam.RegisterType(reflect.TypeFor[Failure]())
}

// Options say where the plan is and how workers compute.
type Options struct {
	// Plan is the plan's path or URL, the same on every worker.
	Plan string
	Load
	// Attempts is how often a chunk is tried within a bundle. Not every runner tries a
	// bundle again: Prism fails the job.
	Attempts int
	// Failures is the path or URL of a file for what could not be computed, one JSON
	// object a line; "" for none.
	Failures string
}

// Load says how a worker loads the model, where that may differ from the plan. Zero
// values leave it as planned.
type Load struct {
	Store, Weights, Device string
	// Concurrency is the number of chunks that a worker process computes at once.
	Concurrency int
}

// Failure is a stimulus that could not be read, or a chunk that could not be computed.
type Failure struct {
	// Row is the stimulus's; -1 for the chunk as a whole.
	Row      int    `json:"row"`
	Chunk    int    `json:"chunk"`
	Stimulus string `json:"stimulus,omitempty"`
	Error    string `json:"error"`
}

// Namespace is that of the counters.
const Namespace = "tfconvrnn"

// The names of the counters.
const (
	CountChunks     = "chunks"     // written, or found written
	CountStimuli    = "stimuli"    // in them
	CountFailures   = "failures"   // stimuli that could not be read, and chunks
	CountRetries    = "retries"    // of chunks within bundles
	CountSealed     = "sealed"     // 1 if the store is complete and sealed
	CountIncomplete = "incomplete" // 1 if it is not
)

var (
	chunks     = beam.NewCounter(Namespace, CountChunks)
	stimulus   = beam.NewCounter(Namespace, CountStimuli)
	failures   = beam.NewCounter(Namespace, CountFailures)
	retries    = beam.NewCounter(Namespace, CountRetries)
	sealed     = beam.NewCounter(Namespace, CountSealed)
	incomplete = beam.NewCounter(Namespace, CountIncomplete)
	duration   = beam.NewDistribution(Namespace, "chunk_ms")
)

// Build adds the extraction to a pipeline and returns the failures.
func Build(s beam.Scope, o Options) beam.PCollection {
	s = s.Scope("tfconvrnn")
	planned := beam.ParDo(s.Scope("plan"), &chunksFn{Plan: o.Plan}, beam.Impulse(s))
	// Otherwise a runner may leave all chunks to the worker that has read the plan.
	planned = beam.Reshuffle(s, planned)
	written, failed := beam.ParDo2(s.Scope("extract"), &extractFn{Plan: o.Plan, Load: o.Load,
		Attempts: max(o.Attempts, 1)}, planned)
	beam.ParDo0(s.Scope("seal"), &sealFn{Plan: o.Plan}, beam.Impulse(s), beam.SideInput{Input: written})
	if o.Failures != "" {
		beam.ParDo0(s.Scope("failures"), &writeFn{Path: o.Failures}, beam.Impulse(s), beam.SideInput{Input: failed})
	}
	return failed
}

// chunksFn lists the chunks of a plan.
type chunksFn struct {
	Plan string
}

func (f *chunksFn) ProcessElement(ctx context.Context, _ []byte, emit func(int)) error {
	plan, err := extraction.Open(ctx, f.Plan)
	if err != nil {
		return err
	}
	defer plan.Close()
	if err := plan.Ready(ctx); errors.Is(err, extraction.ErrSealed) {
		return nil // nothing to do
	} else if err != nil {
		return err
	}
	for chunk := range plan.Chunks() {
		emit(chunk)
	}
	return nil
}

// extractFn computes chunks.
type extractFn struct {
	Plan string
	Load
	Attempts int

	model *sharedModel
}

// Setup loads the model, unless this process has it. A runner may hold many
// instances.
func (f *extractFn) Setup(ctx context.Context) (err error) {
	f.model, err = acquire(ctx, f.Plan, f.Load)
	return err
}

// Teardown lets go of the model. The Go SDK (2.77) does not promise to call it; Close
// does what is left.
func (f *extractFn) Teardown() error {
	model := f.model
	f.model = nil
	return model.release()
}

// ProcessElement computes one chunk, unless it is written. What fails is tried again;
// what would always fail goes to the failures; other errors are the runner's, which
// may have workers that do better.
func (f *extractFn) ProcessElement(ctx context.Context, chunk int, written func(int), failed func(Failure)) error {
	for attempt := 1; ; attempt++ {
		begun := time.Now()
		record, err := f.model.chunk(ctx, chunk)
		var panicked *PanicError
		switch {
		case err == nil:
			chunks.Inc(ctx, 1)
			stimulus.Inc(ctx, int64(record.Stimuli))
			duration.Update(ctx, time.Since(begun).Milliseconds())
			for _, s := range record.Failed {
				failures.Inc(ctx, 1)
				failed(Failure{Row: s.Row, Chunk: chunk, Stimulus: s.Stimulus, Error: s.Error})
			}
			written(chunk)
			return nil
		case ctx.Err() != nil || errors.Is(err, extraction.ErrModel) || errors.Is(err, extraction.ErrSealed) ||
			errors.Is(err, extraction.ErrNotBegun) || errors.Is(err, extraction.ErrOtherPlan):
			return err
		case isUnreadable(err) || attempt >= f.Attempts && errors.As(err, &panicked):
			log.Errorf(ctx, "chunk %d: %v", chunk, err)
			failures.Inc(ctx, 1)
			failed(Failure{Row: -1, Chunk: chunk, Error: err.Error()})
			return nil
		case attempt >= f.Attempts:
			return fmt.Errorf("chunk %d: %w", chunk, err)
		}
		log.Warnf(ctx, "chunk %d, attempt %d: %v", chunk, attempt, err)
		retries.Inc(ctx, 1)
	}
}

// isUnreadable tells whether a chunk fails because a stimulus cannot be read, anywhere.
func isUnreadable(err error) bool {
	return (errors.Is(err, tfconvrnn.ErrUnreadable) || errors.Is(err, tfconvrnn.ErrImages) ||
		errors.Is(err, stimuli.ErrInput)) && stimuli.IsStimulusFault(err)
}

// sealFn verifies and seals the store when all chunks have been through.
type sealFn struct {
	Plan string
}

func (f *sealFn) ProcessElement(ctx context.Context, _ []byte, _ func(*int) bool) error {
	plan, err := extraction.Open(ctx, f.Plan)
	if err != nil {
		return err
	}
	defer plan.Close()
	finished, err := plan.Finish(ctx, nil)
	if errors.Is(err, extraction.ErrIncomplete) {
		// No failure of the pipeline: it has other outputs, which say why.
		log.Errorf(ctx, "%v", err)
		incomplete.Inc(ctx, 1)
		return nil
	}
	if err != nil {
		return err
	}
	log.Infof(ctx, "%s is sealed: manifest %s", plan.Output, finished.Manifest)
	sealed.Inc(ctx, 1)
	return nil
}

// writeFn writes the failures, in the order of the stimuli.
type writeFn struct {
	Path string
}

func (f *writeFn) ProcessElement(ctx context.Context, _ []byte, next func(*Failure) bool) (err error) {
	var list []Failure
	for failure := (Failure{}); next(&failure); {
		list = append(list, failure)
	}
	slices.SortFunc(list, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(a.Chunk, b.Chunk), cmp.Compare(a.Row, b.Row))
	})
	files, err := filesystem.New(ctx, f.Path)
	if err != nil {
		return err
	}
	defer files.Close()
	file, err := files.OpenWrite(ctx, f.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	buffered := bufio.NewWriter(file)
	encoder := json.NewEncoder(buffered)
	encoder.SetEscapeHTML(false)
	for _, failure := range list {
		if err := encoder.Encode(failure); err != nil {
			return err
		}
	}
	return buffered.Flush()
}
