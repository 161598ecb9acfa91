package serving

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// job is a request that waits or is computed. The engine's lock guards what changes.
type job struct {
	plan    *plan
	stimuli []tfconvrnn.Stimulus
	result  *result
	came    time.Time
	// taken and finished count stimuli; gone says that nobody waits for it any more.
	taken, finished int
	gone            bool
	err             error
	done            chan struct{} // closed when it is finished or err is set
	began           time.Time     // of its first run
	// report, if not nil, is called in the run with what the result holds so far.
	report report
}

// report is told that a result, of one stimulus, holds a layer's timestep, both by their places.
// What was reported does not change any more.
type report func(so *result, layer, timestep int)

// part is some stimuli of a job.
type part struct {
	job      *job
	from, to int
}

// queue holds jobs that may run together, in the order in which they came.
type queue struct {
	jobs []*job
	// ran is when the last run began, ended when it ended; expected is how many images may
	// come again at once: those of the last run and those that waited at its end. 0 if the
	// last run was not shared.
	ran, ended time.Time
	expected   int
	running    int
}

func (q *queue) images() int {
	n := 0
	for _, j := range q.jobs {
		n += len(j.stimuli) - j.taken
	}
	return n
}

// engine runs jobs. See the package's description for the rules.
type engine struct {
	options *Options
	metrics *metrics
	// devices has the places of the devices that are free, each of which computes a run.
	devices chan int

	mu     sync.Mutex
	queues map[string]*queue
	models map[string]time.Time // when each model's last run began
	// places is the number of images that wait or are being prepared, bytes what requests
	// and results take.
	places   int
	bytes    int64
	rate     float64 // images per second, of late
	number   int     // of the next image, in traces
	stopping bool
	wake     chan struct{}
	group    sync.WaitGroup
	stop     chan struct{}
}

func newEngine(options *Options, m *metrics) *engine {
	e := &engine{
		options: options, metrics: m, devices: make(chan int, options.AtOnce), queues: map[string]*queue{},
		models: map[string]time.Time{}, wake: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	for device := range options.AtOnce {
		e.devices <- device
	}
	e.group.Go(e.schedule)
	return e
}

// close ends the engine when what was submitted is computed. Nothing may be submitted then.
func (e *engine) close() {
	e.mu.Lock()
	if !e.stopping {
		e.stopping = true
		close(e.stop)
	}
	e.mu.Unlock()
	e.group.Wait()
}

// ticket is a request's share of the service's room. Release is idempotent.
type ticket struct {
	engine *engine
	places int
	bytes  int64
	// copies is how often results are in memory while they are written.
	copies int64
}

// full says whether a request has to be refused whatever it is.
func (e *engine) full() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.places >= e.options.MaxQueue {
		return e.busy(e.places)
	}
	return nil
}

// busy is the error where so many images wait. The caller holds the lock.
func (e *engine) busy(waiting int) error {
	after := time.Second
	if e.rate > 0 {
		after = time.Duration(float64(waiting) / e.rate * float64(time.Second))
	}
	return &BusyError{RetryAfter: min(max(after, time.Second), time.Minute)}
}

// reserve takes room for bytes.
func (t *ticket) reserve(bytes int64) error {
	e := t.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if t.bytes+bytes > e.options.MaxMemory {
		return t.tooLarge(t.bytes + bytes)
	}
	if e.bytes+bytes > e.options.MaxMemory {
		return e.busy(e.places)
	}
	e.bytes += bytes
	t.bytes += bytes
	return nil
}

// tooLarge is the error of a request that takes so many bytes.
func (t *ticket) tooLarge(bytes int64) error {
	return fmt.Errorf("%w: it and its results take %d MB, and the service has %d MB for all; ask for fewer images, layers or timesteps, or reduce them",
		ErrTooLarge, bytes>>20, t.engine.options.MaxMemory>>20)
}

// enter takes places for images.
func (t *ticket) enter(images int) error {
	e := t.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if images > e.options.MaxQueue {
		return fmt.Errorf("%w: %d images, and a request may have %d", ErrTooLarge, images, e.options.MaxQueue)
	}
	if e.places+images > e.options.MaxQueue {
		return e.busy(e.places)
	}
	e.places += images
	t.places += images
	return nil
}

func (t *ticket) release() {
	e := t.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	e.places -= t.places
	e.bytes -= t.bytes
	t.places, t.bytes = 0, 0
}

// compute waits for the results of stimuli for which the ticket holds places, which become
// free as runs begin. When ctx is done before that, the job leaves.
func (e *engine) compute(ctx context.Context, t *ticket, p *plan, stimuli []tfconvrnn.Stimulus) (*result, error) {
	return e.computeReporting(ctx, t, p, stimuli, nil)
}

// computeReporting is compute that reports what is computed meanwhile, of a plan for batches of one
// stimulus without reductions.
func (e *engine) computeReporting(ctx context.Context, t *ticket, p *plan, stimuli []tfconvrnn.Stimulus, tell report) (
	*result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	j := &job{plan: p, stimuli: stimuli, came: time.Now(), done: make(chan struct{}), report: tell}
	e.mu.Lock()
	t.places -= len(stimuli) // now the job's
	q := e.queues[p.key]
	if q == nil {
		e.forget()
		q = &queue{}
		e.queues[p.key] = q
	}
	q.jobs = append(q.jobs, j)
	e.mu.Unlock()
	e.signal()
	select {
	case <-j.done:
	case <-ctx.Done():
		e.leave(j, ctx.Err())
		<-j.done
	}
	if j.err != nil {
		return nil, j.err
	}
	return j.result, nil
}

// leave takes a job that nobody waits for from its queue.
func (e *engine) leave(j *job, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fail(j, err)
}

// fail ends a job with an error, unless it has ended. The caller holds the lock.
func (e *engine) fail(j *job, err error) {
	if j.gone || j.finished == len(j.stimuli) {
		return
	}
	j.gone, j.err = true, err
	if q := e.queues[j.plan.key]; q != nil {
		for i, other := range q.jobs {
			if other == j {
				q.jobs = append(q.jobs[:i:i], q.jobs[i+1:]...)
				e.places -= len(j.stimuli) - j.taken
				break
			}
		}
	}
	close(j.done)
}

// forget drops queues that are not in use, when there are many. The caller holds the lock.
func (e *engine) forget() {
	const many = 256
	if len(e.queues) < many {
		return
	}
	for key, q := range e.queues {
		if len(q.jobs) == 0 && q.running == 0 {
			delete(e.queues, key)
		}
	}
}

func (e *engine) signal() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// schedule begins runs until the engine stops and nothing waits.
func (e *engine) schedule() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		q, _, wait, left := e.next(time.Now(), false)
		if q == nil {
			stop := e.stop
			if left {
				stop = nil // there is something to do still
			} else if e.ended() {
				return
			}
			timer.Reset(wait)
			select {
			case <-e.wake:
			case <-timer.C:
			case <-stop:
			}
			continue
		}
		device := <-e.devices
		// Others may have come, or all have left, meanwhile.
		q, parts, _, _ := e.next(time.Now(), true)
		if q == nil {
			e.devices <- device
			continue
		}
		e.group.Go(func() { e.run(q, parts, device) })
	}
}

func (e *engine) ended() bool {
	select {
	case <-e.stop:
		return true
	default:
		return false
	}
}

// next finds the queue whose turn it is, and takes the parts of its run if take is set. Without
// one it says how long to wait for one at most, and whether anything is left.
func (e *engine) next(now time.Time, take bool) (_ *queue, parts []part, wait time.Duration, left bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var best *queue
	var bestModel, bestQueue time.Time
	wait = time.Hour
	for _, q := range e.queues {
		if len(q.jobs) == 0 {
			continue
		}
		left = true
		first := q.jobs[0]
		if remaining := e.remaining(q, now); remaining > 0 {
			wait = min(wait, remaining)
			continue
		}
		since := later(first.came, q.ran)
		model := later(first.came, e.models[first.plan.served.name])
		if best == nil || model.Before(bestModel) || model.Equal(bestModel) && since.Before(bestQueue) {
			best, bestModel, bestQueue = q, model, since
		}
	}
	if best == nil {
		return nil, nil, wait, left
	}
	if take {
		parts = e.take(best, now)
	}
	return best, parts, 0, true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// remaining is how long a queue's next run waits for others to join. The caller holds the lock.
func (e *engine) remaining(q *queue, now time.Time) time.Duration {
	images := q.images()
	if e.stopping || q.expected == 0 || images >= min(q.expected, q.jobs[0].plan.batch) {
		return 0
	}
	// Where half of them make a good batch, it is computed while the other half comes: two groups take turns, and
	// nothing stands still while answers are written and requests are read.
	if images >= goodBatch && 2*images >= q.expected {
		return 0
	}
	return e.options.MaxDelay - now.Sub(later(q.jobs[0].came, q.ended))
}

// goodBatch is where larger batches gain little more on a processor.
const goodBatch = 8

// take removes the parts of a run from their queue. The caller holds the lock.
func (e *engine) take(q *queue, now time.Time) (parts []part) {
	room := q.jobs[0].plan.batch
	for len(q.jobs) > 0 && room > 0 {
		j := q.jobs[0]
		n := min(room, len(j.stimuli)-j.taken)
		if j.taken == 0 {
			j.began = now
			e.metrics.waited(now.Sub(j.came))
		}
		parts = append(parts, part{j, j.taken, j.taken + n})
		j.taken += n
		room -= n
		e.places -= n
		if j.taken == len(j.stimuli) {
			q.jobs = q.jobs[1:]
		}
	}
	q.ran = now
	q.running++
	e.models[parts[0].job.plan.served.name] = now
	return parts
}
