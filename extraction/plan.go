package extraction

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/maphash"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/internal/storage"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// ErrExists means that there is a plan of this name, or an output, already.
var ErrExists = errors.New("plan exists")

// Request says what to plan.
type Request struct {
	// Recipe holds what the caller decides: all but BatchSize, if that is to be
	// chosen, and what follows the chunks, which the planner fills in.
	Recipe
	// Inputs are the stimuli. Preprocessing and how sequences are read are also part
	// of the recipe.
	Inputs stimuli.Options
	// Orientation is recorded where stimuli are pictures; BlankSHA256 is that of the
	// blank's file.
	Orientation, BlankSHA256 string
	// Model is the model, which need not have a session.
	Model *tfconvrnn.Model
	// Settle is called when all stimuli are known and may change what of the recipe
	// depends on them. May be nil.
	Settle func(set *stimuli.Summary, r *Recipe) error
	// ChunkStimuli is the number of stimuli in a chunk of the store; 0 chooses. It is
	// rounded to whole batches.
	ChunkStimuli int
	// Progress is called with the number of stimuli that are planned. May be nil.
	Progress func(stimuli int)
}

// Create plans an extraction and writes the plan file, which is a path or a URL. It
// holds neither all stimuli in memory nor makes anything but the file. The errors are
// those of the stimuli and of the options; ErrExists unless replace is set.
func Create(ctx context.Context, name string, request *Request, replace bool) (err error) {
	if exists, err := Exists(ctx, name); err != nil {
		return err
	} else if exists && !replace {
		return fmt.Errorf("%s: %w", name, ErrExists)
	}
	folder := os.TempDir()
	if !storage.IsRemote(name) {
		folder = filepath.Dir(name)
	}
	file, err := atomicfile.CreateIn(folder, name)
	if err != nil {
		return err
	}
	defer func() { file.Abort() }() // no effect after Commit
	p := &planner{request: request, recipe: request.Recipe}
	if file, err = p.write(ctx, file); err != nil {
		return features.DiskError(err)
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return publishPlan(ctx, file, name)
}

// planner makes a plan.
type planner struct {
	request *Request
	recipe  Recipe

	scanner *stimuli.Scanner
	ids     []uint64 // hashes of the ids
	seed    maphash.Seed
}

// pass is one writing of all stimuli.
type pass struct {
	frames    *frameWriter
	widths    []int // of the texts of id, path and further columns
	count     int
	hashWidth int
	contents  map[string]string // nil if there are too many
	sum       hash.Hash         // of ids and contents
	cells     hash.Hash         // of paths and further columns
	line      []byte
}

func newPass(file *atomicfile.File) (*pass, error) {
	frames, err := newFrameWriter(file.File)
	return &pass{frames: frames, widths: make([]int, 2), contents: map[string]string{}, sum: sha256.New(), cells: sha256.New()}, err
}

// add takes the records of a frame into account and writes it.
func (p *pass) add(f *frame) error {
	for i := range f.records {
		r := &f.records[i]
		widen := func(column int, text string) {
			p.widths[column] = max(p.widths[column], utf8.RuneCountInString(text))
		}
		widen(0, r.ID)
		widen(1, r.Path)
		for c, cell := range r.Cells {
			if c+2 == len(p.widths) {
				p.widths = append(p.widths, 0)
			}
			widen(c+2, cell)
		}
		p.hashWidth = max(p.hashWidth, len(r.SHA256))
		if p.count++; p.count > maxContents {
			p.contents = nil
		} else {
			p.contents[r.ID] = r.SHA256
		}
		// As stimuli.Set.Fingerprint.
		p.line = append(append(append(strconv.AppendQuote(p.line[:0], r.ID), ' '), r.SHA256...), '\n')
		p.sum.Write(p.line)
		p.line = strconv.AppendQuote(p.line[:0], r.Path)
		for _, cell := range r.Cells {
			p.line = strconv.AppendQuote(append(p.line, ' '), cell)
		}
		p.cells.Write(append(p.line, '\n'))
	}
	p.frames.rows = append(p.frames.rows, len(f.records))
	return p.frames.frame(f.compressed, f.size)
}

// frame is some consecutive stimuli on their way into the plan.
type frame struct {
	found      []stimuli.Found
	records    []stimuli.Record
	compressed []byte
	size       int
	err        error
	done       chan struct{}
}

func newFrame(rows int) *frame {
	return &frame{found: make([]stimuli.Found, 0, rows), done: make(chan struct{})}
}

// encode makes the bytes of a frame.
func (f *frame) encode(encoder *zstd.Encoder) {
	var text bytes.Buffer
	lines := json.NewEncoder(&text)
	lines.SetEscapeHTML(false)
	for i := range f.records {
		if f.err = lines.Encode(&f.records[i]); f.err != nil {
			return
		}
	}
	f.compressed, f.size = encoder.EncodeAll(text.Bytes(), make([]byte, 0, text.Len()/8)), text.Len()
}

// write fills the file, or another in its place, which it returns, and completes the
// recipe.
func (p *planner) write(ctx context.Context, file *atomicfile.File) (_ *atomicfile.File, err error) {
	options := p.request.Inputs
	options.Preprocessing, options.MaxFrames, options.FramesPerSecond = p.recipe.Preprocessing, p.recipe.MaxFrames, p.recipe.FramesPerSecond
	options.AllowMissing = p.recipe.OnError == "skip"
	if p.scanner, err = stimuli.NewScanner(ctx, options); err != nil {
		return file, err
	}
	defer p.scanner.Close()
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)))
	if err != nil {
		return file, err
	}
	defer encoder.Close()
	p.seed = maphash.MakeSeed()
	written, err := newPass(file)
	if err != nil {
		return file, err
	}
	summary, err := p.scan(ctx, encoder, written)
	if err != nil {
		return file, err
	}
	renamed, err := p.distinguish(written, summary)
	if err != nil {
		return file, err
	}
	if len(renamed) > 0 {
		before := file
		if file, written, err = p.rewrite(before, written, renamed, encoder); err != nil {
			return before, err
		}
		before.Abort()
	}
	if err := p.settle(summary, written); err != nil {
		return file, err
	}
	text, err := json.Marshal(&p.recipe)
	if err != nil {
		return file, err
	}
	if len(text) > maxFrameBytes {
		return file, fmt.Errorf("%w: the recipe has %d bytes", ErrPlan, len(text))
	}
	return file, written.frames.finish(text, encoder)
}

// scan writes all stimuli as they are found. Frames are hashed and compressed several
// at a time, and written in their order.
func (p *planner) scan(ctx context.Context, encoder *zstd.Encoder, written *pass) (*stimuli.Summary, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	workers := runtime.GOMAXPROCS(0)
	work, ordered := make(chan *frame), make(chan *frame, 2*workers)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for f := range work {
				p.prepare(ctx, f, encoder)
				close(f.done)
			}
		})
	}
	finished := make(chan error, 1)
	go func() {
		for f := range ordered {
			<-f.done
			err := f.err
			if err == nil {
				err = written.add(f)
			}
			if err != nil {
				cancel(err)
				finished <- err
				return
			}
			if p.request.Progress != nil {
				p.request.Progress(written.count)
			}
		}
		finished <- nil
	}()
	next, size := newFrame(0), 0
	send := func() error {
		f := next
		next, size = newFrame(frameRows), 0
		select {
		case ordered <- f:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		select {
		case work <- f:
			return nil
		case <-ctx.Done():
			f.err = context.Cause(ctx)
			close(f.done)
			return f.err
		}
	}
	summary, err := p.scanner.Scan(ctx, func(f stimuli.Found) error {
		p.ids = append(p.ids, maphash.String(p.seed, f.ID))
		next.found = append(next.found, f)
		size += sizeOf(&f.Record)
		if len(next.found) == frameRows || size > frameBytes {
			return send()
		}
		return nil
	})
	if err == nil && len(next.found) > 0 {
		err = send()
	}
	close(work)
	close(ordered)
	group.Wait()
	// What made the writing end is why the scanning did.
	if second := <-finished; second != nil && (err == nil || errors.Is(err, context.Cause(ctx))) {
		err = second
	}
	return summary, err
}

// sizeOf is about the size of a record in the plan.
func sizeOf(r *stimuli.Record) int {
	size := 200 + len(r.ID) + len(r.Path) + len(r.Picture)
	for _, cell := range r.Cells {
		size += len(cell) + 3
	}
	if r.Sequence != nil {
		for _, name := range r.Sequence.Paths {
			size += 2*len(name) + 50
		}
	}
	return size
}

// prepare hashes the contents of a frame's stimuli, of which several are read at once.
func (p *planner) prepare(ctx context.Context, f *frame, encoder *zstd.Encoder) {
	const readers = 8
	f.records = make([]stimuli.Record, len(f.found))
	if f.err = inParallel(ctx, readers, len(f.found), func(ctx context.Context, i int) error {
		sum, err := p.scanner.Hash(ctx, &f.found[i])
		f.records[i] = f.found[i].Record
		f.records[i].SHA256 = sum
		return err
	}); f.err != nil {
		return
	}
	f.found = nil
	f.encode(encoder)
}

// inParallel calls work for 0 … n-1, several at once; the first error ends it.
func inParallel(ctx context.Context, workers, n int, work func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	var mu sync.Mutex
	next := 0
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, next <= n && ctx.Err() == nil
	}
	for range min(workers, n) {
		group.Go(func() {
			for i, ok := take(); ok; i, ok = take() {
				if err := work(ctx, i); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// distinguish returns new ids for stimuli whose ids are equal to others', by their
// positions. It looks at stimuli again only if there are any.
func (p *planner) distinguish(written *pass, summary *stimuli.Summary) (map[int]string, error) {
	slices.Sort(p.ids)
	suspects := map[uint64]bool{}
	for i := 1; i < len(p.ids); i++ {
		if p.ids[i] == p.ids[i-1] {
			suspects[p.ids[i]] = true
		}
	}
	if len(suspects) == 0 {
		p.ids = nil
		return nil, nil
	}
	for {
		var records []stimuli.Record
		var positions []int
		position := 0
		if err := p.reread(written, func(list []stimuli.Record) error {
			for _, r := range list {
				if suspects[maphash.String(p.seed, r.ID)] {
					records, positions = append(records, r), append(positions, position)
				}
				position++
			}
			return nil
		}); err != nil {
			return nil, err
		}
		before := make([]string, len(records))
		for i := range records {
			before[i] = records[i].ID
		}
		if err := stimuli.Distinguish(records, summary.Arrays); err != nil {
			return nil, err
		}
		// A new id may be that of a stimulus that was not looked at.
		again := false
		renamed := map[int]string{}
		for i := range records {
			if records[i].ID == before[i] {
				continue
			}
			renamed[positions[i]] = records[i].ID
			h := maphash.String(p.seed, records[i].ID)
			if _, taken := slices.BinarySearch(p.ids, h); taken && !suspects[h] {
				suspects[h], again = true, true
			}
		}
		if !again {
			p.ids = nil
			return renamed, nil
		}
	}
}

// reread passes the records that a pass has written.
func (p *planner) reread(written *pass, each func([]stimuli.Record) error) error {
	if err := written.frames.w.Flush(); err != nil {
		return err
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxFrameBytes))
	if err != nil {
		return err
	}
	defer decoder.Close()
	f := written.frames
	reader := &planReader{name: f.file.Name(), at: f.file, decoder: decoder}
	for i := range f.rows {
		end := f.end
		if i+2 < len(f.offsets) {
			end = f.offsets[i+2]
		}
		reader.frames = append(reader.frames, planFrame{f.offsets[i+1], uint32(end - f.offsets[i+1])})
		records, err := reader.records(i, f.rows[i])
		if err != nil {
			return err
		}
		if err := each(records); err != nil {
			return err
		}
	}
	return nil
}

// rewrite writes all stimuli again, some with new ids.
func (p *planner) rewrite(before *atomicfile.File, old *pass, renamed map[int]string, encoder *zstd.Encoder) (_ *atomicfile.File, _ *pass, err error) {
	file, err := before.Another()
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			file.Abort()
		}
	}()
	written, err := newPass(file)
	if err != nil {
		return nil, nil, err
	}
	position := 0
	err = p.reread(old, func(records []stimuli.Record) error {
		for i := range records {
			if id, ok := renamed[position]; ok {
				records[i].ID = id
			}
			position++
		}
		f := &frame{records: records}
		if f.encode(encoder); f.err != nil {
			return f.err
		}
		return written.add(f)
	})
	return file, written, err
}

// settle completes the recipe.
func (p *planner) settle(summary *stimuli.Summary, written *pass) error {
	r := &p.recipe
	r.Stimuli, r.Set, r.HashWidth, r.FrameRows = written.count, *summary, written.hashWidth, written.frames.rows
	r.ColumnsSHA256 = hex.EncodeToString(written.cells.Sum(nil))
	r.Columns = []PlannedColumn{
		{"stimulus_id", stimuli.TextColumn, written.widths[0]}, {"stimulus_path", stimuli.TextColumn, written.widths[1]},
	}
	for i, name := range summary.Columns {
		r.Columns = append(r.Columns, PlannedColumn{name, summary.Kinds[i], written.widths[2+i]})
	}
	if p.request.Settle != nil {
		if err := p.request.Settle(summary, r); err != nil {
			return err
		}
	}
	about := &Provenance{Inputs: summary.Inputs, DataType: r.DataType, StimuliSHA256: hex.EncodeToString(written.sum.Sum(nil)), BlankSHA256: p.request.BlankSHA256}
	if summary.Pictures {
		about.ExifOrientation = p.request.Orientation
	}
	if p.request.Model != nil {
		x, err := p.request.Model.Plan(r.extractOptions()...)
		if err != nil {
			return err
		}
		r.BatchSize, r.Threads = x.BatchSize(), p.request.Model.Threads()
		about.Provenance = x.Provenance()
	} else { // the simulation's
		r.BatchSize = max(r.BatchSize, 1)
		r.Threads = max(r.Threads, 1)
		about.BatchSize, about.Threads = r.BatchSize, r.Threads
	}
	r.Provenance = about
	content, err := r.content()
	if err != nil {
		return err
	}
	about.Reductions = ReductionNames(content.Layers)
	layout, err := content.Layout(features.Zarr)
	if err != nil {
		return err
	}
	r.settleChunks(layout.ZarrChunkRows(), p.request.ChunkStimuli)
	return r.check()
}

// Plan is a plan file that is open. It is safe for concurrent use. The caller closes
// it.
type Plan struct {
	Recipe
	name     string
	file     *planReader
	contents *Content
	layout   *features.Layout
	store    *features.ZarrStore
	starts   []int // first stimulus of each frame, and the number of all
	place    *place
	hash     string
	parallel int // files of the store that are encoded and written, or verified, at once
}

// Open opens a plan by its path or URL. Errors wrap ErrPlan or fs.ErrNotExist.
func Open(ctx context.Context, name string) (_ *Plan, err error) {
	file, err := openPlan(ctx, name)
	if err != nil {
		return nil, err
	}
	p := &Plan{name: name, file: file, parallel: 2 * runtime.GOMAXPROCS(0)}
	defer func() {
		if err != nil {
			file.Close()
			if p.place != nil {
				p.place.close()
			}
		}
	}()
	text, err := file.frame(len(file.frames) - 1)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &p.Recipe); err != nil {
		return nil, file.bad("%v", err)
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(p.FrameRows) != len(file.frames)-1 {
		return nil, file.bad("%d frames, not %d", len(file.frames)-1, len(p.FrameRows))
	}
	first := 0
	for _, n := range p.FrameRows {
		p.starts = append(p.starts, first)
		first += n
	}
	p.starts = append(p.starts, first)
	if p.contents, err = p.content(); err != nil {
		return nil, file.bad("%v", err)
	}
	if p.layout, err = p.contents.Layout(features.Zarr); err != nil {
		return nil, file.bad("%v", err)
	}
	if p.store, err = features.NewZarrStore(p.layout, features.Options{ChunkRows: p.ZarrChunkRows}); err != nil {
		return nil, file.bad("%v", err)
	}
	if p.hash, err = p.Recipe.hash(&Identity{Provenance: p.Provenance, OnError: p.OnError, Stimuli: p.Stimuli}); err != nil {
		return nil, err
	}
	p.place, err = newPlace(ctx, p.Output, p.hash)
	return p, err
}

// Close closes the plan file and the connection to the output. It is idempotent.
func (p *Plan) Close() error { return errors.Join(p.file.Close(), p.place.close()) }

// Name is the plan file's.
func (p *Plan) Name() string { return p.name }

// Hash identifies what the plan computes: plans of equal hashes give stores of equal
// bytes, wherever the stimuli and the output lie.
func (p *Plan) Hash() string { return p.hash }

// Chunks is the number of chunks, which workers compute and write whole.
func (p *Plan) Chunks() int { return (p.Stimuli + p.ChunkStimuli - 1) / p.ChunkStimuli }

// Rows are the stimuli of a chunk: from the first to before end.
func (p *Plan) Rows(chunk int) (first, end int) {
	return chunk * p.ChunkStimuli, min((chunk+1)*p.ChunkStimuli, p.Stimuli)
}

// Size is the most bytes that the store takes.
func (p *Plan) Size() int64 { return p.store.Size() }

// Layers are those of the store, and how they are reduced.
func (p *Plan) Layers() []LayerReduction { return p.contents.Layers }

// Layout describes the store.
func (p *Plan) Layout() *features.Layout { return p.layout }

// Shard returns the chunks of shard index of count: from the first to before end.
func (p *Plan) Shard(index, count int) (first, end int, err error) {
	if count < 1 || index < 0 || index >= count {
		return 0, 0, fmt.Errorf("%w: shard %d/%d; the first of %d is 0/%d", tfconvrnn.ErrOption, index, count, max(count, 1), max(count, 1))
	}
	chunks := int64(p.Chunks())
	return int(chunks * int64(index) / int64(count)), int(chunks * int64(index+1) / int64(count)), nil
}

// recordReader reads stimuli, and holds one frame of them. It must not be used
// concurrently.
type recordReader struct {
	plan    *Plan
	frame   int // -1 for none
	records []stimuli.Record
}

func (p *Plan) records() *recordReader { return &recordReader{plan: p, frame: -1} }

// each passes stimuli from the first to before end. A record is valid until the next.
func (r *recordReader) each(ctx context.Context, first, end int, each func(*stimuli.Record) error) error {
	for at := first; at < end; at++ {
		if r.frame < 0 || at < r.plan.starts[r.frame] || at >= r.plan.starts[r.frame+1] {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			i, exact := slices.BinarySearch(r.plan.starts, at)
			if !exact {
				i--
			}
			records, err := r.plan.file.records(i, r.plan.FrameRows[i])
			if err != nil {
				return err
			}
			r.frame, r.records = i, records
		}
		if err := each(&r.records[at-r.plan.starts[r.frame]]); err != nil {
			return err
		}
	}
	return nil
}
