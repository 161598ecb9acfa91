package extraction

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"time"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// engine computes stimuli in batches of the plan's size, of which only the last may be
// smaller, and passes the rows of each to a rowSink.
type engine func(ctx context.Context, records iter.Seq[*stimuli.Record], rows rowSink) error

// rowSink takes the rows of one stimulus after the other.
type rowSink struct {
	// add takes a part of the row of a streamed array of the layout, one array after the
	// other, the parts in order; it is valid until add returns.
	add func(array int, part []float32) error
	// end is called after the rows of each stimulus, with why it could not be read.
	end func(failed error) error
}

// reading is what an engine reads its stimuli with, and how long it computed.
type reading struct {
	*stimuli.Reader
	inSession func() time.Duration
}

// newEngine returns an engine that computes with a model, and the reader of its stimuli,
// which the caller closes. The error wraps ErrModel where the model is not the plan's.
func (p *Plan) newEngine(ctx context.Context, model *tfconvrnn.Model, options WorkerOptions) (engine, *reading, error) {
	extract := p.extractOptions()
	if p.OnError == Skip {
		extract = append(extract, tfconvrnn.OnError(func(_ int, _ tfconvrnn.Stimulus, err error) error {
			if stimuli.IsStimulusFault(err) {
				return nil
			}
			return err
		}))
	}
	if options.Trace != nil {
		extract = append(extract, tfconvrnn.Trace(options.Trace))
	}
	x, err := model.Plan(extract...)
	if err != nil {
		return nil, nil, err
	}
	here := x.Provenance()
	var reduced []string
	if deviceKind(here.Device) != "cpu" {
		var smaller []tfconvrnn.ExtractOption
		smaller, reduced = p.onGPU()
		if x, err = model.Plan(append(extract, smaller...)...); err != nil {
			return nil, nil, err
		}
	}
	if err := p.checkModel(here); err != nil {
		return nil, nil, err
	}
	planned := p.Provenance.Processor
	if deviceKind(here.Device) == "cpu" && here.Processor != planned && options.Warn != nil {
		options.Warn(fmt.Sprintf(
			"this processor is %s, the plan was made on %s: the last bits of what they compute may differ",
			here.Processor, planned))
	}
	writer, err := newRowWriter(p.contents, reduced)
	if err != nil {
		return nil, nil, err
	}
	reader, err := p.newReader(ctx, options)
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, records iter.Seq[*stimuli.Record], rows rowSink) error {
		return x.Stream(ctx, reader.Stimuli(records), func(b *tfconvrnn.Batch) error {
			for i := range b.Stimuli {
				err := writer.Parts(b, i, rows.add)
				if err == nil {
					err = rows.end(b.Failed[i])
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}, &reading{reader, func() time.Duration { return x.Statistics().InSession }}, nil
}

// checkModel compares what a model computes with the plan.
func (p *Plan) checkModel(here tfconvrnn.Provenance) error {
	planned := p.Provenance.Provenance
	planned.Device, here.Device = deviceKind(planned.Device), deviceKind(here.Device)
	here.PrecisionError = planned.PrecisionError // measured once, by the plan
	here.BatchHalvedFrom = planned.BatchHalvedFrom
	here.Processor = planned.Processor // NewWorker warns of others
	if here.Device != "cpu" {
		here.OneDNN = planned.OneDNN
	}
	if reflect.DeepEqual(planned, here) {
		return nil
	}
	before, err := json.Marshal(planned)
	if err != nil {
		return err
	}
	now, err := json.Marshal(here)
	if err != nil {
		return err
	}
	differences, err := features.Compare(before, now)
	if err != nil || len(differences) == 0 {
		return err
	}
	var parts []string
	for _, d := range differences {
		parts = append(parts, fmt.Sprintf("%s is %s in the plan, %s here", d.Field, d.Before, d.Now))
	}
	return fmt.Errorf("%s: %w: %s; use the same on all machines, or plan anew", p.name, ErrModel,
		strings.Join(parts, "; "))
}
