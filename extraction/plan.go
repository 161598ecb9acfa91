package extraction

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/stimuli"
)

// Plan is a plan file that is open. It is safe for concurrent use. The caller closes
// it.
type Plan struct {
	Recipe
	name        string
	file        *planReader
	contents    *outputContent
	layout      *features.Layout
	store       *features.ZarrStore
	starts      []int  // first stimulus of each frame, and the number of all
	place       *place // of the store
	grams       *place // of Gram matrices; nil without
	matrices    int
	matrixBytes int64
	hash        string
	parallel    int // files of the store that are encoded and written, or verified, at once
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
			p.closePlaces()
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
	if p.Format == "" { // of a plan that an earlier version made
		p.Format = features.Zarr
	}
	if len(p.FrameRows) != len(file.frames)-1 {
		return nil, file.bad("%d frames, not %d", len(file.frames)-1, len(p.FrameRows))
	}
	p.count()
	if p.contents, err = p.content(); err != nil {
		return nil, file.bad("%v", err)
	}
	if p.layout, err = p.contents.Layout(features.Zarr); err != nil {
		return nil, file.bad("%v", err)
	}
	if p.store, err = features.NewZarrStore(p.layout, features.Options{ChunkRows: p.ZarrChunkRows}); err != nil {
		return nil, file.bad("%v", err)
	}
	identity := &Identity{Provenance: p.Provenance, OnError: p.OnError, Stimuli: p.Stimuli}
	if p.hash, err = p.Recipe.hash(identity); err != nil {
		return nil, err
	}
	if p.matrices, p.matrixBytes, err = p.checkGrams(p.layout); err == nil {
		err = p.gramsInFolder()
	}
	if err != nil {
		return nil, file.bad("%v", err)
	}
	if p.place, err = newPlace(ctx, p.FeaturesOutput(), p.hash); err == nil && p.Grams != nil {
		p.grams, err = newPlace(ctx, p.Output, p.hash)
	}
	return p, err
}

// count fills in the first stimulus of each frame.
func (p *Plan) count() {
	first := 0
	for _, n := range p.FrameRows {
		p.starts = append(p.starts, first)
		first += n
	}
	p.starts = append(p.starts, first)
}

// Close closes the plan file and the connection to the output. It is idempotent.
func (p *Plan) Close() error {
	return errors.Join(p.file.Close(), p.closePlaces())
}

func (p *Plan) closePlaces() (err error) {
	for _, at := range []*place{p.place, p.grams} {
		if at != nil {
			err = errors.Join(err, at.close())
		}
	}
	return err
}

// Hash identifies what the plan computes: plans of equal hashes give stores of equal
// bytes, wherever the stimuli and the output lie.
func (p *Plan) Hash() string { return p.hash }

// Chunks is the number of chunks, which workers compute and write whole.
func (p *Plan) Chunks() int { return (p.Stimuli + p.ChunkStimuli - 1) / p.ChunkStimuli }

// Rows are the stimuli of a chunk: from the first to before end.
func (p *Plan) Rows(chunk int) (first, end int) {
	return chunk * p.ChunkStimuli, min((chunk+1)*p.ChunkStimuli, p.Stimuli)
}

// Size is the most bytes that the store takes, with Gram matrices of it.
func (p *Plan) Size() int64 { return p.store.Size() + p.matrixBytes }

// Layers are those of the store, and how they are reduced.
func (p *Plan) Layers() []LayerReduction { return p.contents.Layers }

// Layout describes the store.
func (p *Plan) Layout() *features.Layout { return p.layout }

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
