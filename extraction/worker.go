package extraction

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/parallel"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

var (
	// ErrModel means that the model that is loaded here would not compute what the plan
	// says: another version, other weights, another kind of device.
	ErrModel = errors.New("the model differs from the plan's")
	// ErrSealed means that the store is finished.
	ErrSealed = errors.New("the store is sealed")
	// ErrNotBegun means that the folders of an unfinished store are not there.
	ErrNotBegun = errors.New("the unfinished store is gone")
	// ErrOtherPlan means that the output is another plan's.
	ErrOtherPlan = errors.New("the output belongs to another plan")

	errBegunAnew = errors.New("the unfinished store was discarded and begun anew meanwhile; start again")
)

// OtherPlanError says that chunks of another plan are written for the same output.
type OtherPlanError struct {
	// Output is the store's path or URL, Plan the other plan's, Hash its hash.
	Output, Plan, Hash string
	// Chunks is the number of its chunks, Written that of those that are computed.
	Chunks, Written int
}

// Error says whose chunks they are.
func (e *OtherPlanError) Error() string {
	return fmt.Sprintf("%s: %v: %d of %d chunks of %s (hash %.12s) are computed", e.Output, ErrOtherPlan, e.Written,
		e.Chunks, e.Plan, e.Hash)
}

// Unwrap returns ErrOtherPlan.
func (e *OtherPlanError) Unwrap() error { return ErrOtherPlan }

// ChunkRecord says that a chunk is written, and what its files are.
type ChunkRecord struct {
	// Plan is the hash of the plan that the chunk is of: records of others do not count.
	Plan    string       `json:"plan"`
	Chunk   int          `json:"chunk"`
	Stimuli int          `json:"stimuli"`
	Files   []FileRecord `json:"files"`
	// Failed are the stimuli that could not be read, where that is let pass.
	Failed []FailedStimulus `json:"failed,omitempty"`
	// Seconds and Worker are for the curious; nothing depends on them.
	Seconds float64 `json:"seconds"`
	Worker  string  `json:"worker,omitempty"`
}

// FileRecord is a file of the store.
type FileRecord struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

func newFileRecord(name string, content []byte) FileRecord {
	sum := sha256.Sum256(content)
	return FileRecord{Name: name, Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])}
}

// FailedStimulus is one that could not be read.
type FailedStimulus struct {
	Row      int    `json:"row"`
	Stimulus string `json:"stimulus"`
	Error    string `json:"error"`
}

// maxRecordBytes bounds a record: its failures are up to a chunk's stimuli.
const maxRecordBytes = 64 << 20

const recordPrefix = "chunks-"

// recordName is where the record of a chunk lies: a thousand in a folder.
func recordName(chunk int) string {
	return fmt.Sprintf("%s%07d/%09d.json", recordPrefix, chunk/1000, chunk)
}

// recordChunk is the opposite.
func recordChunk(name string) (int, bool) {
	var group, chunk int
	if n, err := fmt.Sscanf(name, recordPrefix+"%07d/%09d.json", &group, &chunk); n != 2 || err != nil ||
		recordName(chunk) != name {
		return 0, false
	}
	return chunk, true
}

// Worker computes chunks of a plan. It must not be used concurrently; several workers
// of one model may. The caller closes it.
type Worker struct {
	plan    *Plan
	compute engine
	close   func() error
	rows    *recordReader
	written recordSums
	name    string
	warn    func(string)
}

// WorkerOptions may be left empty.
type WorkerOptions struct {
	// Name is recorded with each chunk; the default is the host's and the process's.
	Name string
	// Warn is called with what the user should know. May be nil.
	Warn func(message string)
	// Note is the same for what is merely good to know. May be nil.
	Note func(message string)
	// Trace is called at the end of every stage of every batch; see tfconvrnn.Trace.
	Trace func(tfconvrnn.Span)
	// FFmpeg is the program that reads videos; see stimuli.Options.
	FFmpeg string
}

// NewWorker returns a worker that computes with a model, which stays the caller's and
// must be loaded with the plan's LoadOptions. The error wraps ErrModel where it is not
// the plan's.
func (p *Plan) NewWorker(ctx context.Context, model *tfconvrnn.Model, options WorkerOptions) (*Worker, error) {
	if p.store == nil {
		return nil, fmt.Errorf("%w: only Zarr is computed in chunks, not %s", tfconvrnn.ErrOption, p.Format)
	}
	compute, reader, err := p.newEngine(ctx, model, options)
	if err != nil {
		return nil, err
	}
	w := p.newWorker(options, compute)
	w.close = reader.Close
	return w, nil
}

func (p *Plan) newWorker(options WorkerOptions, compute engine) *Worker {
	w := &Worker{plan: p, compute: compute, close: func() error {
		return nil
	}, rows: p.records(), written: recordSums{}, name: options.Name, warn: options.Warn}
	if w.name == "" {
		host, _ := os.Hostname()
		w.name = fmt.Sprintf("%s %d", host, os.Getpid())
	}
	if w.warn == nil {
		w.warn = func(string) {}
	}
	return w
}

// Close lets go of the stimuli's files. It is idempotent.
func (w *Worker) Close() error { return w.close() }

// Done tells whether a chunk is recorded as written.
func (p *Plan) Done(ctx context.Context, chunk int) (bool, error) {
	_, err := p.place.work.Stat(ctx, recordName(chunk))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Record returns the record of a chunk; an error that wraps fs.ErrNotExist if it is
// not written.
func (p *Plan) Record(ctx context.Context, chunk int) (*ChunkRecord, error) {
	text, err := p.place.work.Get(ctx, recordName(chunk), maxRecordBytes)
	if err != nil {
		return nil, err
	}
	r := &ChunkRecord{}
	if err := json.Unmarshal(text, r); err != nil || r.Chunk != chunk || r.Plan != p.hash {
		return nil, fmt.Errorf("record of chunk %d: %w", chunk, errCorrupt)
	}
	return r, nil
}

// Progress is called, one call at a time, when a chunk is there: computed by this worker, with its record,
// or with nil if it was there already.
type Progress func(chunk int, record *ChunkRecord)

// Chunk computes a chunk and writes it, unless it is there. What it writes is the same
// whoever does it and how often.
func (w *Worker) Chunk(ctx context.Context, chunk int) (record *ChunkRecord, err error) {
	err = w.Work(ctx, slices.Values([]int{chunk}), func(_ int, r *ChunkRecord) { record = r })
	if err == nil && record == nil {
		record, err = w.plan.Record(ctx, chunk)
	}
	return record, err
}

// Work computes those of the chunks that are not there, and writes them, reading
// ahead. It is fastest in rising order. A context that is done, or an error, ends it;
// chunks that were written by then stay.
func (w *Worker) Work(ctx context.Context, chunks iter.Seq[int], progress Progress) error {
	var mu sync.Mutex
	report := func(chunk int, record *ChunkRecord) {
		mu.Lock()
		defer mu.Unlock()
		if progress != nil {
			progress(chunk, record)
		}
	}
	if err := w.plan.Ready(ctx); err != nil {
		return err
	}
	next, stop := iter.Pull(chunks)
	defer stop()
	for more := true; more; {
		var err error
		if more, err = w.stream(ctx, next, report); err != nil {
			return w.explain(ctx, err)
		}
	}
	return nil
}

// Ready tells, by a nil, whether chunks can be written: ErrSealed if all are there and sealed,
// ErrOtherPlan if another plan has taken the output, ErrNotBegun if Begin has not been
// called.
func (p *Plan) Ready(ctx context.Context) error {
	if p.grams != nil {
		if err := p.readyAt(ctx, p.grams); err != nil {
			return err
		}
	}
	return p.readyAt(ctx, p.place)
}

func (p *Plan) readyAt(ctx context.Context, at *place) error {
	if begun, err := at.begun(ctx); err != nil || begun {
		return err
	}
	claims, err := at.claims(ctx)
	if err != nil {
		return err
	}
	for _, c := range claims {
		if c.Plan != p.hash {
			return fmt.Errorf("%s: %w: it was planned again as %s (hash %.12s), and this is %s (hash %.12s); what that plan says is computed by its own workers",
				p.Output, ErrOtherPlan, c.Name, c.Plan, p.name, p.hash)
		}
	}
	seal, err := readSeal(ctx, at.final)
	switch {
	case err == nil && seal.Plan == p.hash:
		return fmt.Errorf("%s: %w", p.Output, ErrSealed)
	case err == nil:
		return fmt.Errorf("%s: %w: it is sealed with the hash %.12s, and %s has the hash %.12s", p.Output, ErrOtherPlan,
			seal.Plan, p.name, p.hash)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return fmt.Errorf("%s: %w", at.chunks, ErrNotBegun)
}

// explain says what it means that folders have gone.
func (w *Worker) explain(ctx context.Context, err error) error {
	if errors.Is(err, fs.ErrNotExist) && context.Cause(ctx) == nil {
		if ready := w.plan.Ready(ctx); ready != nil {
			return ready
		}
		return fmt.Errorf("%s: %w (%w)", w.plan.Output, errBegunAnew, err)
	}
	return features.DiskError(err)
}

// stream computes chunks as one stream, so that the next stimuli are read while
// others are computed. It ends, with more, after the last chunk of the plan: its last
// batch may be short, and none may follow it.
func (w *Worker) stream(ctx context.Context, next func() (int, bool), progress Progress) (more bool, err error) {
	p := w.plan
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan int, 1<<10) // chunks under way
	var failed error
	more = true
	records := func(yield func(*stimuli.Record) bool) {
		for {
			chunk, ok := next()
			if !ok {
				more = false
				return
			}
			if chunk < 0 || chunk >= p.Chunks() {
				failed = fmt.Errorf("%w: chunk %d of %d", tfconvrnn.ErrOption, chunk, p.Chunks())
				return
			}
			// The output may have become another plan's since the chunk before.
			if begun, err := p.place.begun(ctx); err != nil || !begun {
				if failed = err; err == nil {
					failed = fmt.Errorf("%s: %w", p.place.chunks, fs.ErrNotExist)
				}
				return
			}
			done, err := p.Done(ctx, chunk)
			if err != nil {
				failed = err
				return
			}
			if done {
				progress(chunk, nil)
				continue
			}
			queue <- chunk
			first, end := p.Rows(chunk)
			stopped := false
			failed = w.rows.each(ctx, first, end, func(r *stimuli.Record) error {
				record := *r
				if !yield(&record) {
					stopped = true
					return context.Canceled
				}
				return nil
			})
			if stopped {
				failed = nil
			}
			if stopped || failed != nil || chunk == p.Chunks()-1 {
				return
			}
		}
	}
	c := newChunkBuffer(p)
	add := func(array int, part []float32) error {
		if c.chunk < 0 {
			c.begin(<-queue)
		}
		return c.add(array, part)
	}
	err = w.compute(ctx, records, rowSink{add, func(fault error) error {
		if err := c.finishRow(ctx, fault); err != nil || c.rows < c.end-c.first {
			return err
		}
		record, err := w.write(ctx, c)
		if err != nil {
			return err
		}
		progress(c.chunk, record)
		c.chunk = -1
		return nil
	}})
	if err == nil {
		err = failed
	}
	if err == nil && (c.chunk >= 0 || len(queue) > 0) {
		err = errors.New("extraction: the engine passed too few rows")
	}
	return more, err
}

// chunkBuffer collects the rows of a chunk, the number of which is -1 before the first.
type chunkBuffer struct {
	plan              *Plan
	chunk, first, end int
	rows              int
	arrays            []*features.ZarrChunk
	// files are the contents of the files of each array, encoded as soon as they are full.
	files  [][][]byte
	failed []FailedStimulus
	begun  time.Time
}

func newChunkBuffer(p *Plan) *chunkBuffer {
	c := &chunkBuffer{plan: p, chunk: -1, begun: time.Now(), files: make([][][]byte, len(p.layout.Streamed))}
	for i := range p.layout.Streamed {
		c.arrays = append(c.arrays, p.store.NewChunk(i))
	}
	return c
}

func (c *chunkBuffer) begin(chunk int) {
	c.chunk, c.rows, c.failed = chunk, 0, nil
	c.first, c.end = c.plan.Rows(chunk)
	for i := range c.files {
		c.files[i] = c.files[i][:0]
	}
}

func (c *chunkBuffer) add(array int, part []float32) error { return c.arrays[array].Append(part) }

// finishRow ends the row of every array.
func (c *chunkBuffer) finishRow(ctx context.Context, fault error) error {
	if fault != nil {
		c.failed = append(c.failed, FailedStimulus{Row: c.first + c.rows, Error: oneLine(fault)})
	}
	c.rows++
	if c.rows%c.plan.store.ChunkRows() != 0 && c.rows < c.end-c.first {
		return nil
	}
	return parallel.Each(ctx, c.plan.parallel, len(c.arrays), func(_ context.Context, i int) (err error) {
		n := len(c.files[i])
		files := slices.Grow(c.files[i], 1)[:n+1]
		files[n], err = c.arrays[i].Encode(files[n][:0]) // into the memory of an earlier chunk's
		c.files[i] = files
		return err
	})
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// write writes the files of a chunk, and then its record.
func (w *Worker) write(ctx context.Context, c *chunkBuffer) (*ChunkRecord, error) {
	p := w.plan
	record := &ChunkRecord{Plan: p.hash, Chunk: c.chunk, Stimuli: c.rows, Failed: c.failed, Worker: w.name,
		Seconds: time.Since(c.begun).Seconds()}
	c.begun = time.Now()
	for i := range record.Failed {
		f := &record.Failed[i]
		if err := p.records().each(ctx, f.Row, f.Row+1, func(r *stimuli.Record) error {
			f.Stimulus = r.ID
			return nil
		}); err != nil {
			return nil, err
		}
	}
	other, err := p.Record(ctx, c.chunk)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errCorrupt) {
		return nil, err
	}
	var contents [][]byte
	for array, files := range c.files {
		for i, content := range files {
			contents = append(contents, content)
			record.Files = append(record.Files, FileRecord{Name: p.store.ChunkName(array, c.first/p.store.ChunkRows()+i)})
		}
	}
	// In parallel, since most of the time each waits for the disk.
	err = parallel.Each(ctx, p.parallel, len(contents), func(ctx context.Context, i int) error {
		f := &record.Files[i]
		if *f = newFileRecord(f.Name, contents[i]); other != nil {
			return nil // another worker was faster
		}
		return p.place.chunks.Put(ctx, f.Name, contents[i])
	})
	if err != nil {
		return nil, err
	}
	if other != nil {
		if !slices.Equal(other.Files, record.Files) {
			w.warn(fmt.Sprintf(
				"chunk %d: %s and %s computed different bytes, as machines with different processors may; the first stay", c.chunk,
				other.Worker, w.name))
		}
		return other, nil
	}
	text, err := json.Marshal(record)
	if err != nil {
		return nil, err
	}
	if err := p.place.work.Put(ctx, recordName(c.chunk), text); err != nil {
		return nil, err
	}
	if p.place.remote {
		// There are no folders that could be gone: what was written after another plan
		// took the output would lie there for ever.
		if begun, err := p.place.begun(ctx); err != nil {
			return nil, err
		} else if !begun {
			return nil, errors.Join(p.place.withdraw(ctx, record), fmt.Errorf("%s: %w", p.place.chunks, fs.ErrNotExist))
		}
	}
	w.written[c.chunk] = record.sum()
	return record, nil
}

// Missing returns those chunks of a shard, from the first to before end, that are not
// written, in order.
func (p *Plan) Missing(ctx context.Context, first, end int) ([]int, error) {
	done, _, err := p.done(ctx)
	var list []int
	for chunk := max(first, 0); chunk < min(end, len(done)); chunk++ {
		if !done[chunk] {
			list = append(list, chunk)
		}
	}
	return list, err
}
