package extraction

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// RunOptions may be left empty: then nothing is replaced, and nobody is told.
type RunOptions struct {
	// Replace discards an interrupted run and replaces an output when the new one is complete.
	Replace bool
	// Resume goes on with an interrupted run, if there is one. It must be the same extraction,
	// but stimuli that are not computed may have changed; see features.ResumeMismatchError.
	Resume bool
	// ForceSize writes even if the disk does not seem to have the room.
	ForceSize bool
	// Warn is called with what the user should know, Note with what is merely good to know.
	Warn, Note func(message string)
	// Progress is called with the number of stimuli that are finished, first with those of
	// an interrupted run. Skipped is called for each that could not be read, where that is let pass.
	Progress func(stimuli int)
	Skipped  func(FailedStimulus)
	// Multiplied is called with the number of Gram matrices that are there, of an output of them.
	Multiplied func(done, of int64)
	// Halved is called when a chosen batch finds no memory on a GPU and batches of so many stimuli are computed
	// instead; err wraps tfconvrnn.ErrMemory. Without it Warn is told.
	Halved func(to int, err error)
	// Trace is called at the end of every stage of every batch, with the number of its first
	// stimulus in the whole; see tfconvrnn.Trace. Stage is called at the beginning of what
	// belongs to no batch, and what it returns at the end.
	Trace func(tfconvrnn.Span)
	Stage func(name string) (end func())
	// FFmpeg is the program that reads videos; see stimuli.Options.
	FFmpeg string
	// Writer, if not nil, takes the rows instead of a file of the request's format, which must not be Zarr. Nothing is
	// written then, and nothing resumed.
	Writer features.Writer
}

// defaults fills in what is nil, except Trace, which costs time.
func (o RunOptions) defaults() RunOptions {
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if o.Note == nil {
		o.Note = func(string) {}
	}
	if o.Progress == nil {
		o.Progress = func(int) {}
	}
	if o.Skipped == nil {
		o.Skipped = func(FailedStimulus) {}
	}
	if o.Multiplied == nil {
		o.Multiplied = func(int64, int64) {}
	}
	if o.Halved == nil {
		warn := o.Warn
		o.Halved = func(to int, err error) { warn(fmt.Sprintf("%v; it goes on with %d at once", err, to)) }
	}
	if o.Stage == nil {
		o.Stage = func(string) func() { return func() {} }
	}
	return o
}

// worker returns the options of an engine whose first stimulus has a number.
func (o *RunOptions) worker(first int) WorkerOptions {
	w := WorkerOptions{Warn: o.Warn, Note: o.Note, FFmpeg: o.FFmpeg}
	if o.Trace != nil {
		w.Trace = func(s tfconvrnn.Span) {
			s.First += first
			o.Trace(s)
		}
	}
	return w
}

// Result is what Run made.
type Result struct {
	Output string
	Format features.Format
	// Size is the bytes of the output; for Zarr, which compresses, the most.
	Size   int64
	Layout *features.Layout
	Layers []LayerReduction
	// Stimuli is their number, Resumed that of those from before an interruption.
	Stimuli, Resumed int
	// Skipped are the stimuli that could not be read by this run, or for Zarr by any, up to
	// MaxSkipped.
	Skipped []FailedStimulus
	// Noticed is how many pictures were of a kind that may surprise, by the kind.
	Noticed map[string]int
	// Elapsed is the time of computing and writing, InSession that during which TensorFlow
	// was running.
	Elapsed, InSession time.Duration
}

// KeptError is an error of a run of which something is finished: Resume goes on with it.
type KeptError struct{ Err error }

// Error is that of Err.
func (e *KeptError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *KeptError) Unwrap() error { return e.Err }

// Run extracts what a request says into one output, in any format, in this process. The
// bytes are the same as those that any number of workers compute of a plan. An interrupted run leaves
// what is finished, beside the place of the output, or nothing if nothing is. Errors are those of
// Prepare, of tfconvrnn.Load and of features.Create; ErrNoneReadable; a *KeptError around
// that which interrupted it.
func Run(ctx context.Context, request *Request, options RunOptions) (*Result, error) {
	d, err := Prepare(ctx, request)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	model := request.Loaded
	if model == nil {
		if options.Resume && d.recipe.Threads == 0 {
			d.recipe.Threads = d.Interrupted(ctx).Threads
		}
		if model, err = d.recipe.Load(ctx); err != nil {
			return nil, err
		}
		defer model.Close()
	}
	return d.Run(ctx, model, options)
}

// Interrupted is what an interrupted run chose, which decides the last bits: one that goes on
// with it on another machine must choose the same. 0 where there is none.
type Interrupted struct {
	BatchSize int `json:"batch_size"`
	Threads   int `json:"threads"`
	// BatchHalvedFrom is as in tfconvrnn.Provenance.
	BatchHalvedFrom int `json:"batch_halved_from"`
	// ChunkStimuli is that of a Zarr store.
	ChunkStimuli int `json:"-"`
}

// Interrupted tells what an interrupted run of the same output chose.
func (d *Draft) Interrupted(ctx context.Context) (before Interrupted) {
	if d.recipe.Format == features.Zarr {
		if p, err := Open(ctx, PlanOf(d.recipe.Output)); err == nil {
			defer p.Close()
			return Interrupted{p.BatchSize, p.Threads, p.Provenance.BatchHalvedFrom, p.ZarrChunkRows}
		}
		return before
	}
	if text, err := features.ReadIdentity(d.recipe.Output); err == nil {
		_ = json.Unmarshal(text, &before) // what is wrong with it comes up when it is compared
	}
	before.BatchSize, before.Threads = max(before.BatchSize, 0), max(before.Threads, 0)
	return before
}

// Run computes and writes what is prepared, with a model, which stays the caller's and must be
// loaded with the recipe's LoadOptions. It can be called once. See the function Run.
func (d *Draft) Run(ctx context.Context, model *tfconvrnn.Model, options RunOptions) (*Result, error) {
	options = options.defaults()
	if err := d.begin(ctx, model, options); err != nil {
		return nil, err
	}
	begun := time.Now()
	run := d.runFile
	if d.recipe.Format == features.Zarr {
		if options.Writer != nil {
			return nil, fmt.Errorf("%w: a writer in the place of a Zarr store", tfconvrnn.ErrOption)
		}
		run = d.runStore
	}
	result, err := run(ctx, options, func(p *Plan, first int) (engine, *reading, error) {
		return p.newEngine(ctx, model, options.worker(first))
	})
	if err != nil {
		return nil, err
	}
	result.Elapsed = time.Since(begun)
	return result, nil
}

// begin settles what the model tells, and the batch.
func (d *Draft) begin(ctx context.Context, model *tfconvrnn.Model, options RunOptions) error {
	if options.Resume {
		// What nobody asked for is as it was.
		before := d.Interrupted(ctx)
		if d.recipe.BatchSize == 0 {
			d.recipe.BatchSize, d.halvedFrom = before.BatchSize, before.BatchHalvedFrom
		}
		if d.request.ChunkStimuli == 0 && before.ChunkStimuli > 0 {
			request := *d.request
			request.ChunkStimuli = before.ChunkStimuli
			d.request = &request
		}
	}
	if d.recipe.BatchSize == 0 && !d.request.Sketch {
		if err := d.fit(ctx, model, options); err != nil {
			return err
		}
	}
	return d.complete(model)
}

// newEngine makes an engine that begins with a stimulus, and its reader, which is nil for a
// simulated one.
type newEngine func(p *Plan, first int) (engine, *reading, error)

// checkpointInterval is how much of the computing a crash costs at most.
const checkpointInterval = 3 * time.Second

// plan returns the plan of an output that is written from its first row to its last. The
// draft stays open.
func (d *Draft) plan() (*Plan, error) {
	reader, err := d.written.reader()
	if err != nil {
		return nil, err
	}
	p := &Plan{Recipe: d.recipe, name: d.file.Name(), file: reader, contents: d.content, layout: d.layout}
	p.count()
	return p, nil
}

// runFile writes an output other than Zarr. After an error what is finished can be
// resumed; if nothing is, nothing is left.
func (d *Draft) runFile(ctx context.Context, options RunOptions, compute newEngine) (_ *Result, err error) {
	p, err := d.plan()
	if err != nil {
		return nil, err
	}
	defer p.Close()
	writer := options.Writer
	if writer == nil {
		if writer, err = d.create(p, options); err != nil {
			return nil, err
		}
	}
	defer writer.Abort() // no effect after Finish and Suspend
	f := &fileRun{plan: p, writer: writer, options: &options, resumed: writer.Resumed(), result: &Result{
		Output: p.Output, Format: p.Format, Size: d.size, Layout: p.layout, Layers: d.content.Layers, Stimuli: p.Stimuli,
		Resumed: writer.Resumed(),
	}}
	if f.resumed > 0 {
		options.Note("going on after " + plural(f.resumed, "stimulus", "stimuli"))
	}
	written, err := f.stream(ctx, compute)
	if n := len(f.result.Skipped); n > 0 && n == written { // not even worth keeping
		if err == nil {
			err = fmt.Errorf("%s: %w of %d", p.Output, ErrNoneReadable, written)
		}
		written = 0
	}
	if err == nil {
		finished := options.Stage("finish")
		err = writer.Finish(ctx)
		finished()
	}
	if err != nil && written > 0 {
		if suspendErr := writer.Suspend(); suspendErr == nil {
			err = &KeptError{err}
		}
	}
	return f.result, err
}

// create makes the file that rows go into, or goes on with it.
func (d *Draft) create(p *Plan, options RunOptions) (features.Writer, error) {
	identity := newIdentity(p.Provenance, p.OnError, d.content.Columns[0].Values.([]string), d.content.Hashes.([]string))
	return features.Create(p.Output, p.Format, p.layout, features.Options{
		Force: options.Replace, ForceSize: options.ForceSize, Resume: options.Resume, CheckpointInterval: checkpointInterval,
		Identity: identity, Accept: func(before json.RawMessage, rows int) (int, []features.Difference, error) {
			return identity.Accept(before, rows, options.Warn)
		},
		Fill: map[string]float32{"valid": 1}, // a run that did not skip had no faults
	})
}

// fileRun writes rows in their order.
type fileRun struct {
	plan         *Plan
	writer       features.Writer
	options      *RunOptions
	result       *Result
	row, resumed int
	buffer       []float32 // the beginning of a row
	names        *recordReader
}

// stream computes from the batch on in which the first stimulus lies that is not written:
// the same batches give the same bits. It returns how many are written then.
func (f *fileRun) stream(ctx context.Context, compute newEngine) (written int, err error) {
	p := f.plan
	if f.resumed == p.Stimuli {
		return f.resumed, nil
	}
	f.row = f.resumed / p.BatchSize * p.BatchSize
	f.options.Progress(f.row)
	work, reader, err := compute(p, f.row)
	if err != nil {
		return f.resumed, err
	}
	if reader != nil {
		defer func() {
			f.result.Noticed, f.result.InSession = reader.Noticed(), reader.inSession()
			err = errors.Join(err, reader.Close())
		}()
	}
	f.names = p.records()
	sizes := make([]int, len(p.layout.Streamed))
	for i, s := range p.layout.Streamed {
		sizes[i] = 1
		for _, n := range s.RowShape {
			sizes[i] *= n
		}
	}
	stop, first := errors.New("no more is wanted"), f.row
	var failed error
	records := func(yield func(*stimuli.Record) bool) {
		failed = p.records().each(ctx, first, p.Stimuli, func(r *stimuli.Record) error {
			if record := *r; !yield(&record) {
				return stop
			}
			return nil
		})
	}
	err = work(ctx, records, rowSink{
		add: func(array int, part []float32) error { return f.add(array, part, sizes[array]) },
		end: func(fault error) error { return f.end(ctx, fault) },
	})
	if err == nil && !errors.Is(failed, stop) {
		err = failed
	}
	return max(f.resumed, f.row), err
}

// add writes a row when it is whole.
func (f *fileRun) add(array int, part []float32, size int) error {
	if f.row < f.resumed {
		return nil
	}
	if len(f.buffer) == 0 && len(part) == size {
		return f.writer.WriteRows(array, f.row, part)
	}
	if f.buffer = append(f.buffer, part...); len(f.buffer) < size {
		return nil
	}
	err := f.writer.WriteRows(array, f.row, f.buffer)
	f.buffer = f.buffer[:0]
	return err
}

func (f *fileRun) end(ctx context.Context, fault error) error {
	row := f.row
	f.row++
	if row < f.resumed {
		return nil
	}
	if fault != nil {
		failed := FailedStimulus{Row: row, Error: oneLine(fault)}
		if err := f.names.each(ctx, row, row+1, func(r *stimuli.Record) error {
			failed.Stimulus = r.ID
			return nil
		}); err != nil {
			return err
		}
		f.result.Skipped = append(f.result.Skipped, failed)
		f.options.Skipped(failed)
	}
	f.options.Progress(f.row)
	return nil
}

func plural(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", several)
}
