package serving

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// run computes parts of jobs together on a device. Its next run begins as soon as this one's results are
// there; they are copied and reduced meanwhile.
func (e *engine) run(q *queue, parts []part, device int) {
	freed := false
	free := func() {
		if !freed {
			freed = true
			e.devices <- device
		}
	}
	begin := time.Now()
	var stimuli []tfconvrnn.Stimulus
	e.mu.Lock()
	for _, p := range parts {
		stimuli = append(stimuli, p.job.stimuli[p.from:p.to]...)
		if p.job.result == nil && !p.job.gone {
			p.job.result = p.job.plan.newResult(len(p.job.stimuli))
		}
	}
	first := e.number
	e.number += len(stimuli)
	e.mu.Unlock()
	err := e.stream(parts, stimuli, first, device, func() {
		e.over(q, parts, len(stimuli), time.Since(begin))
		free()
	})
	if err != nil {
		e.over(q, parts, 0, time.Since(begin))
	}
	free()
	e.finish(q, parts, len(stimuli), err)
	e.signal()
}

// stream runs the stimuli and hands the results out. Computed is called when they are there.
func (e *engine) stream(parts []part, stimuli []tfconvrnn.Stimulus, first, device int, computed func()) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = e.panicked(cause)
		}
	}()
	x, err := e.extraction(parts, first, device)
	if err != nil {
		return err
	}
	return x.Stream(context.Background(), slices.Values(stimuli), func(b *tfconvrnn.Batch) error {
		computed()
		defer e.metrics.time("copy")()
		item := 0
		var buffer []float32
		for _, part := range parts {
			for i := part.from; i < part.to; i++ {
				var err error
				if part.job.result != nil {
					if buffer, err = part.job.result.take(b, item, i, buffer); err != nil {
						return err
					}
				}
				item++
			}
		}
		return nil
	})
}

// extraction is what a run computes, with what watches it, on a device.
func (e *engine) extraction(parts []part, first, device int) (*tfconvrnn.Extraction, error) {
	j := parts[0].job
	var watching []tfconvrnn.ExtractOption
	if e.options.Trace != nil {
		watching = append(watching, tfconvrnn.Trace(func(s tfconvrnn.Span) {
			s.First += first
			e.options.Trace(s)
		}))
	}
	if j.report != nil && j.result != nil {
		watching = append(watching, tfconvrnn.AsComputed(func(b *tfconvrnn.Batch, layer, timestep int) {
			defer func() {
				if cause := recover(); cause != nil {
					e.panicked(cause)
				}
			}()
			if i, t, err := j.result.takeTimestep(b, layer, timestep); err == nil && i >= 0 {
				j.report(j.result, i, t)
			}
		}))
	}
	if e.options.AtOnce > 1 {
		watching = append(watching, tfconvrnn.OnDevice(device))
	}
	if watching == nil {
		return j.plan.computed, nil
	}
	return j.plan.served.model.Plan(append(slices.Clone(j.plan.options), watching...)...)
}

// over notes that a run is over and what may come again.
func (e *engine) over(q *queue, parts []part, images int, took time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	q.ended = time.Now()
	q.expected = 0
	if waiting := q.images(); images > 0 && (len(parts) > 1 || waiting > 0) {
		q.expected = images + waiting
	}
	if images == 0 {
		return
	}
	rate := float64(images) / took.Seconds()
	if e.rate == 0 {
		e.rate = rate
	}
	e.rate += (rate - e.rate) / 8
	e.metrics.ran(parts[0].job.plan.served.name, images, took)
}

// finish hands results or an error to the jobs.
func (e *engine) finish(q *queue, parts []part, images int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	q.running--
	for _, p := range parts {
		if err != nil {
			e.fail(p.job, err)
			continue
		}
		if p.job.gone {
			continue
		}
		p.job.result.batches = append(p.job.result.batches, images)
		if p.job.finished += p.to - p.from; p.job.finished == len(p.job.stimuli) {
			close(p.job.done)
		}
	}
}

// panicked reports a panic under a number that the client is told.
func (e *engine) panicked(cause any) error {
	id := rand.Text()[:12]
	e.metrics.panics.Inc()
	e.options.Log.Error("panic", "id", id, "cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
	return &panicError{id, cause}
}
