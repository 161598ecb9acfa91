package extraction

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// WorkOptions may be left empty.
type WorkOptions struct {
	WorkerOptions
	// Load loads the plan's model, with its LoadOptions and further ones, once there is something
	// to compute. nil is Recipe.Load.
	Load func(ctx context.Context) (*tfconvrnn.Model, error)
	// Progress is called, one call at a time, with the number of stimuli that are there, and that
	// were missing when the work began. Skipped is called for each that could not be read.
	Progress func(done, missing int)
	Skipped  func(FailedStimulus)
	// Multiplied is called with the number of Gram matrices of the shard that are there, and that it has.
	Multiplied func(done, of int64)
}

// Worked is what Work did.
type Worked struct {
	// Chunks is the number of those of the shard, Computed and Stimuli what this worker computed.
	Chunks   int `json:"chunks"`
	Computed int `json:"computed"`
	Stimuli  int `json:"stimuli"`
	// Skipped is the number of stimuli that could not be read.
	Skipped int `json:"skipped,omitempty"`
	// Sealed says that the store is complete, so that nothing was left to do.
	Sealed bool `json:"sealed,omitempty"`
	// Awaited is the number of chunks of other shards that must be there before Gram matrices are made, Matrices that of
	// those that this worker made, and MatricesMissing of those that nobody has made yet.
	Awaited         int           `json:"chunks_awaited,omitempty"`
	Matrices        int           `json:"matrices,omitempty"`
	MatricesMissing int           `json:"matrices_missing,omitempty"`
	Elapsed         time.Duration `json:"-"`
}

// Work computes the chunks of shard index of count that are not there yet; the whole plan is shard 0 of
// 1. Any number may do so at once, also of the same shard. A worker of the whole plan begins
// anywhere, so that several of them meet late. Of a plan of Gram matrices the worker that finds all chunks there seals
// the features, and then makes the shard's matrices; called again, the others make theirs. Errors are those of Shard,
// Ready, Load, Worker.Work and Finish, but it is none that the output is sealed.
func (p *Plan) Work(ctx context.Context, index, count int, o WorkOptions) (*Worked, error) {
	first, end, err := p.Shard(index, count)
	if err != nil {
		return nil, err
	}
	worked, begun := &Worked{Chunks: end - first}, time.Now()
	var chunks []int
	if err = p.Ready(ctx); err == nil {
		if chunks, err = p.Missing(ctx, first, end); err == nil && len(chunks) > 0 {
			err = p.Ready(ctx) // else their records may have gone because all is sealed
		}
	}
	if n := len(chunks); err == nil && n > 0 {
		if count == 1 {
			start := rand.IntN(n)
			chunks = slices.Concat(chunks[start:], chunks[:start])
		}
		begun = time.Now()
		err = p.work(ctx, chunks, o, worked)
	}
	if errors.Is(err, ErrSealed) { // perhaps by somebody else, meanwhile
		worked.Sealed, err = p.grams == nil, nil
	}
	if err == nil && p.grams != nil {
		err = p.workGrams(ctx, index, count, o, worked)
	}
	worked.Elapsed = time.Since(begun)
	return worked, err
}

func (p *Plan) work(ctx context.Context, chunks []int, o WorkOptions, worked *Worked) error {
	if o.Load == nil {
		o.Load = func(ctx context.Context) (*tfconvrnn.Model, error) { return p.Load(ctx) }
	}
	model, err := o.Load(ctx)
	if err != nil {
		return err
	}
	defer model.Close()
	worker, err := p.NewWorker(ctx, model, o.WorkerOptions)
	if err != nil {
		return err
	}
	defer worker.Close()
	done, missing := 0, 0
	for _, chunk := range chunks {
		first, end := p.Rows(chunk)
		missing += end - first
	}
	return worker.Work(ctx, slices.Values(chunks), func(chunk int, record *ChunkRecord) {
		first, end := p.Rows(chunk)
		done += end - first
		if record != nil {
			worked.Computed, worked.Stimuli, worked.Skipped = worked.Computed+1, worked.Stimuli+record.Stimuli,
				worked.Skipped+len(record.Failed)
			for _, f := range record.Failed {
				if o.Skipped != nil {
					o.Skipped(f)
				}
			}
		}
		if o.Progress != nil {
			o.Progress(done, missing)
		}
	})
}
