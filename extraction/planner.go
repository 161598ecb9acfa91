package extraction

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"hash"
	"hash/maphash"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/internal/parallel"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/stimuli"
)

// noHash stands for a hash where contents are not read.
var noHash = strings.Repeat("0", 2*sha256.Size)

// planner finds the stimuli of a request and writes them down.
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
	return &pass{frames: frames, widths: make([]int, 2), contents: map[string]string{}, sum: sha256.New(),
		cells: sha256.New()}, err
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
		// The fingerprint of the set is in the provenance of outputs, so this stays as it is.
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

// collect writes all stimuli into the file, or into another in its place, which it returns,
// also with an error.
func (p *planner) collect(ctx context.Context, file *atomicfile.File) (*atomicfile.File, *pass, *stimuli.Summary,
	error) {
	options := p.request.Inputs
	if p.request.Shown != nil {
		info, err := savedmodels.Lookup(p.recipe.Model)
		if err == nil {
			err = options.ShowAs(*p.request.Shown, info)
		}
		if err != nil {
			return file, nil, nil, err
		}
	}
	options.Preprocessing, options.MaxFrames, options.FramesPerSecond = p.recipe.Preprocessing, p.recipe.MaxFrames,
		p.recipe.FramesPerSecond
	options.AllowMissing = p.recipe.OnError == Skip
	var err error
	if p.scanner, err = stimuli.NewScanner(ctx, options); err != nil {
		return file, nil, nil, err
	}
	defer p.scanner.Close()
	encoder, err := newEncoder()
	if err != nil {
		return file, nil, nil, err
	}
	defer encoder.Close()
	p.seed = maphash.MakeSeed()
	written, err := newPass(file)
	if err != nil {
		return file, nil, nil, err
	}
	summary, err := p.scan(ctx, encoder, written)
	if err != nil {
		return file, nil, nil, err
	}
	renamed, err := p.distinguish(written, summary)
	if err == nil && len(renamed) > 0 {
		before := file
		if file, written, err = p.rewrite(before, written, renamed, encoder); err != nil {
			return before, nil, nil, err
		}
		before.Abort()
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	return file, written, summary, err
}

func newEncoder() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)))
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
	if p.request.Sketch {
		for i := range f.found {
			f.records[i] = f.found[i].Record
			f.records[i].SHA256 = noHash
			if f.err = p.scanner.Check(ctx, &f.found[i]); f.err != nil {
				return
			}
		}
	} else if f.err = parallel.Each(ctx, readers, len(f.found), func(ctx context.Context, i int) error {
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

// reader reads the records that a pass has written.
func (p *pass) reader() (*planReader, error) {
	f := p.frames
	if err := f.w.Flush(); err != nil {
		return nil, err
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxFrameBytes), zstd.WithDecoderConcurrency(0))
	if err != nil {
		return nil, err
	}
	r := &planReader{name: f.file.Name(), at: f.file, decoder: decoder, close: func() error { return nil }}
	for i := range f.rows {
		end := f.end
		if i+2 < len(f.offsets) {
			end = f.offsets[i+2]
		}
		r.frames = append(r.frames, planFrame{f.offsets[i+1], uint32(end - f.offsets[i+1])})
	}
	return r, nil
}

// reread passes the records that a pass has written.
func (p *planner) reread(written *pass, each func([]stimuli.Record) error) error {
	reader, err := written.reader()
	if err != nil {
		return err
	}
	defer reader.Close()
	for i, rows := range written.frames.rows {
		records, err := reader.records(i, rows)
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
func (p *planner) rewrite(before *atomicfile.File, old *pass, renamed map[int]string, encoder *zstd.Encoder) (
	_ *atomicfile.File, _ *pass, err error) {
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
