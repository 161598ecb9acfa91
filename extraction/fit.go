package extraction

import (
	"context"
	"errors"
	"slices"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// fit chooses the batch where GPUs compute and nobody gave one. It computes the first batch and
// keeps nothing of it: one that finds no memory is halved, once, before anything is planned or written.
func (d *Draft) fit(ctx context.Context, model *tfconvrnn.Model, options RunOptions) error {
	r := &d.recipe
	x, err := model.Plan(append(r.extractOptions(),
		tfconvrnn.OnError(func(int, tfconvrnn.Stimulus, error) error { return nil }), // the run will say so
		tfconvrnn.OnHalved(func(_, to int, err error) {
			options.Halved(to, err)
		}))...)
	if err != nil || deviceKind(x.Provenance().Device) == "cpu" || x.BatchSize() < 2 {
		return err
	}
	first, err := d.firstRecords(x.BatchSize())
	if err != nil {
		return err
	}
	reader, err := r.newReader(ctx, WorkerOptions{FFmpeg: options.FFmpeg})
	if err != nil {
		return err
	}
	err = x.Stream(ctx, reader.Stimuli(slices.Values(first)), func(*tfconvrnn.Batch) error { return nil })
	r.BatchSize, d.halvedFrom = x.BatchSize(), x.Provenance().BatchHalvedFrom
	return errors.Join(err, reader.Close())
}

// firstRecords returns the first n stimuli, or all.
func (d *Draft) firstRecords(n int) (list []*stimuli.Record, err error) {
	enough := errors.New("these are enough")
	err = d.reread(d.written, func(records []stimuli.Record) error {
		for i := range records {
			if list = append(list, &records[i]); len(list) == n {
				return enough
			}
		}
		return nil
	})
	if errors.Is(err, enough) {
		err = nil
	}
	return list, err
}

// newReader returns the reader of the recipe's stimuli, which the caller closes.
func (r *Recipe) newReader(ctx context.Context, options WorkerOptions) (*stimuli.Reader, error) {
	var visible []bool
	if r.Presentation.TimestepsPerFrame() > 0 {
		visible = stimuli.VisibleFrames(r.Presentation, r.MaxFrames)
	}
	return stimuli.NewReader(ctx, stimuli.Options{
		Visible:       visible,
		Preprocessing: r.Preprocessing, MaxFrames: r.MaxFrames, FramesPerSecond: r.FramesPerSecond, FFmpeg: options.FFmpeg,
		Warn: options.Warn, Note: options.Note,
	}, r.Set.Arrays)
}

// onGPU returns the options by which a GPU makes features smaller before it copies them, and the layers that it
// reduces.
func (p *Plan) onGPU() (options []tfconvrnn.ExtractOption, reduced []string) {
	for _, l := range p.contents.Layers {
		switch {
		case l.reduction.IsNone():
		case l.Selection != nil:
			continue
		case l.reduction.IsAverage():
			options, reduced = append(options, tfconvrnn.Average(l.Name)), append(reduced, l.Name)
		case l.reduction.PoolSize() > 0:
			options = append(options, tfconvrnn.Pool(l.reduction.PoolSize(), l.Name))
			reduced = append(reduced, l.Name)
		default:
			continue
		}
		if p.contents.DataType == features.Float16 {
			options = append(options, tfconvrnn.AsFloat16(l.Name))
		}
	}
	return options, reduced
}
