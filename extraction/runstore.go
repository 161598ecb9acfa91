package extraction

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/disk"
	"github.com/tfconvrnn/go/internal/storage"
)

// attempts is how often chunks that turn out to be damaged are computed again.
const attempts = 3

// runStore writes a Zarr store: it plans, works and finishes in one process.
func (d *Draft) runStore(ctx context.Context, options RunOptions, compute newEngine) (*Result, error) {
	p, err := d.storePlan(ctx, options)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	s := &storeRun{plan: p, options: &options, result: &Result{
		Output: p.Output, Format: features.Zarr, Size: p.Size(), Layout: p.layout, Layers: p.Layers(), Stimuli: p.Stimuli,
	}}
	finished, err := s.run(ctx, compute)
	if errors.Is(err, ErrNoneReadable) {
		return nil, errors.Join(err, p.Discard(context.WithoutCancel(ctx)))
	}
	if err != nil {
		return nil, s.keep(context.WithoutCancel(ctx), err)
	}
	s.result.Skipped = finished.Skipped
	if p.grams != nil && !p.Grams.KeepFeatures {
		s.result.Size = p.matrixBytes
	}
	return s.result, p.Remove(ctx)
}

// storePlan returns the plan that is followed: a new one, or that of the interrupted run,
// after making sure that it is the same.
func (d *Draft) storePlan(ctx context.Context, options RunOptions) (p *Plan, err error) {
	name := PlanOf(d.recipe.Output)
	exists, err := Exists(ctx, name)
	if err != nil {
		return nil, err
	}
	if exists && options.Resume {
		return d.resumeStore(ctx, name, options)
	}
	if exists && !options.Replace {
		return nil, fmt.Errorf("%s: %w", d.recipe.Output, features.ErrUnfinished)
	}
	if err := d.publish(ctx, name); err != nil {
		return nil, err
	}
	if p, err = Open(ctx, name); err != nil {
		return nil, err
	}
	if err := p.Start(ctx, options); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Start makes what a new plan's workers write into, as Begin does with Replace, and makes sure
// that the disk has the room, except with ForceSize. After an error it removes the plan. It
// tells Warn and Note of other plans of the output, and of chunks that are there already. The
// other options do not count.
func (p *Plan) Start(ctx context.Context, options RunOptions) error {
	options = options.defaults()
	if err := p.Begin(ctx, options.Replace); err != nil {
		return errors.Join(err, p.Remove(context.WithoutCancel(ctx)))
	}
	for _, name := range p.Displaced() {
		options.Warn(fmt.Sprintf("%s was planned as %s before, the workers of which are refused from now on", p.Output, name))
	}
	status, err := p.Status(ctx, false)
	if err == nil && status.Done == 0 && !options.ForceSize && !storage.IsRemote(p.Output) {
		if err = CheckSpace(p.Output, p.Size()); err != nil {
			err = errors.Join(err, p.Discard(context.WithoutCancel(ctx)))
		}
	}
	if err == nil && status.Done > 0 {
		options.Note(fmt.Sprintf("%s: %d of %s are there already, of a plan of the same content", p.Output, status.Done,
			plural(status.Chunks, "chunk", "chunks")))
	}
	return err
}

// CheckSpace finds out whether the disk has the room for an output of so many bytes at a
// path. The error wraps features.ErrNoSpace.
func CheckSpace(output string, size int64) error {
	return disk.Check(filepath.Dir(filepath.Clean(output)), size)
}

// resumeStore goes on with an interrupted run.
func (d *Draft) resumeStore(ctx context.Context, name string, options RunOptions) (_ *Plan, err error) {
	before, err := Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			before.Close()
		}
	}()
	if err := d.finish(); err != nil {
		return nil, err
	}
	now, err := Open(ctx, d.file.Name())
	if err != nil {
		return nil, err
	}
	defer now.Close()
	if now.Hash() == before.Hash() {
		return before, before.Resume(ctx)
	}
	// What is computed is the same, but it is another plan.
	status, err := before.Status(ctx, false)
	if err != nil {
		return nil, err
	}
	chunks, err := now.Adopt(ctx, before, options.Warn)
	if err != nil {
		return nil, err
	}
	if err := CopyPlan(ctx, d.file.Name(), name); err != nil {
		return nil, err
	}
	plan, err := Open(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := plan.Resume(ctx); err != nil {
		plan.Close()
		return nil, err
	}
	options.Note(fmt.Sprintf(
		"%s: the stimuli or what becomes of those that cannot be read have changed since the interruption; "+
			"%d of %s that were finished are the same and stay",
		plan.Output, chunks, plural(status.Done, "chunk", "chunks")))
	before.Close()
	return plan, nil
}

// storeRun works through a plan.
type storeRun struct {
	plan    *Plan
	options *RunOptions
	result  *Result
	done    int
}

func (s *storeRun) run(ctx context.Context, compute newEngine) (finished *Finished, err error) {
	p := s.plan
	status, err := p.Status(ctx, false)
	if err != nil {
		return nil, err
	}
	s.result.Resumed, s.done = status.StimuliDone, status.StimuliDone
	work, reader, err := compute(p, s.done)
	if err != nil {
		return nil, err
	}
	worker := p.newWorker(s.options.worker(0), work)
	if reader != nil {
		defer func() {
			s.result.Noticed, s.result.InSession = reader.Noticed(), reader.inSession()
			err = errors.Join(err, reader.Close())
		}()
	}
	if s.done > 0 {
		s.options.Note("going on after " + plural(s.done, "stimulus", "stimuli"))
	}
	for attempt := 1; ; attempt++ {
		if err := s.work(ctx, worker); err != nil && !errors.Is(err, ErrSealed) {
			return nil, err
		}
		finishing := s.options.Stage("finish")
		finished, err = p.Finish(ctx, func(n int) {
			if made := int64(n - p.Chunks()); made > 0 {
				s.options.Multiplied(made, int64(p.matrices))
			}
		}, worker)
		finishing()
		var incomplete *IncompleteError
		if attempt == attempts || !errors.As(err, &incomplete) {
			return finished, err
		}
		s.options.Warn(fmt.Sprintf("%s: %s of the store had other bytes than were written; computing them again", p.Output,
			plural(len(incomplete.Corrupt), "chunk", "chunks")))
	}
}

func (s *storeRun) work(ctx context.Context, worker *Worker) error {
	missing, err := s.plan.Missing(ctx, 0, s.plan.Chunks())
	if err != nil {
		return err
	}
	s.options.Progress(s.done)
	return worker.Work(ctx, slices.Values(missing), func(chunk int, record *ChunkRecord) {
		if record == nil {
			return
		}
		s.done += record.Stimuli
		for _, f := range record.Failed {
			s.options.Skipped(f)
		}
		s.options.Progress(s.done)
	})
}

// keep leaves what is finished for a resumption, or nothing if nothing is.
func (s *storeRun) keep(ctx context.Context, why error) error {
	status, err := s.plan.Status(ctx, false)
	switch {
	case err == nil && status.Done == 0 && status.Sealed == nil:
		_ = s.plan.Discard(ctx)
	case err == nil:
		return &KeptError{why}
	}
	return why
}
