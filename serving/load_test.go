package serving

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// readoutPlan is a plan of the readout.
func readoutPlan(t testing.TB, s *Service, layers ...string) *plan {
	model, err := s.model(testModel, "")
	require.NoError(t, err)
	p, err := model.plan(wish{layers: layers, logits: true}, s.options.MaxBatch)
	require.NoError(t, err)
	return p
}

// computing begins to compute images, and returns what waits for the result.
func computing(ctx context.Context, t testing.TB, s *Service, p *plan, pixels []uint8) func() (*result, error) {
	stimuli, err := tfconvrnn.FromUint8(pixels)
	require.NoError(t, err)
	ticket := &ticket{engine: s.engine, copies: 1}
	require.NoError(t, ticket.enter(len(stimuli)))
	var r *result
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer ticket.release()
		r, err = s.engine.compute(ctx, ticket, p, stimuli)
	}()
	return func() (*result, error) {
		<-done
		return r, err
	}
}

// held keeps the engine from beginning runs until the returned function is called.
func held(s *Service) (free func()) {
	device := <-s.engine.devices
	return sync.OnceFunc(func() { s.engine.devices <- device })
}

// eventually waits until images wait in the engine.
func eventuallyWaiting(t testing.TB, s *Service, images int) {
	require.Eventually(t, func() bool {
		s.engine.mu.Lock()
		defer s.engine.mu.Unlock()
		waiting := 0
		for _, q := range s.engine.queues {
			waiting += q.images()
		}
		return waiting == images
	}, 20*time.Second, time.Millisecond)
}

// A request of more images than the library would choose to compute together is one run all the same.
func TestLargeRequestIsOneRun(t *testing.T) {
	s, _ := newTestService(t, Options{})
	r, err := computing(t.Context(), t, s, readoutPlan(t, s, "conv5"), randomPixels(20, 1))()
	require.NoError(t, err)
	assert.Equal(t, []int{20}, r.batches)
}

// Requests that wait are computed together, in the order in which they came, and each gets what
// Extract gives of a batch of these images in this order, to the last bit.
func TestBatchesAcrossRequests(t *testing.T) {
	s, _ := newTestService(t, Options{MaxBatch: 4})
	p := readoutPlan(t, s, "conv5")
	pixels := randomPixels(7, 5)
	free := held(s)
	first := computing(t.Context(), t, s, p, pixels[:3*imageValues])
	eventuallyWaiting(t, s, 3)
	second := computing(t.Context(), t, s, p, pixels[3*imageValues:])
	eventuallyWaiting(t, s, 7)
	free()
	one, err := first()
	require.NoError(t, err)
	two, err := second()
	require.NoError(t, err)
	assert.Equal(t, []int{4}, one.batches)
	assert.Equal(t, []int{4, 3}, two.batches)
	together := extracted(t, pixels[:4*imageValues], tfconvrnn.Layers("conv5"), tfconvrnn.Logits())
	rest := extracted(t, pixels[4*imageValues:], tfconvrnn.Layers("conv5"), tfconvrnn.Logits())
	assert.Equal(t, slices.Concat(together.Layers[0].Data, rest.Layers[0].Data),
		slices.Concat(one.layers[0], two.layers[0]))
	assert.Equal(t, slices.Concat(together.Logits, rest.Logits), slices.Concat(one.logits, two.logits))
}

// More combinations of layers than are kept are computed with all layers, and are the same.
func TestManyCombinations(t *testing.T) {
	s, _ := newTestService(t, Options{})
	model, err := s.model(testModel, "")
	require.NoError(t, err)
	for i := range maxCombinations {
		model.combinations[string(rune('a'+i))] = true
	}
	pixels := randomPixels(2, 6)
	p := readoutPlan(t, s, "conv4", "conv2")
	require.NotSame(t, p.asked, p.computed)
	r, err := computing(t.Context(), t, s, p, pixels)()
	require.NoError(t, err)
	want := extracted(t, pixels, tfconvrnn.Layers("conv4", "conv2"), tfconvrnn.Logits())
	for i := range want.Layers {
		assert.Equal(t, want.Layers[i].Data, r.layers[i], want.Layers[i].Name)
	}
	assert.Equal(t, want.Logits, r.logits)
	assert.Len(t, model.combinations, maxCombinations)
}

// A client that leaves before its run begins frees its place, and is not computed.
func TestLeavesTheQueue(t *testing.T) {
	s, _ := newTestService(t, Options{MaxQueue: 2})
	p := readoutPlan(t, s, "imnetds")
	free := held(s)
	defer free()
	ctx, cancel := context.WithCancel(t.Context())
	leaving := computing(ctx, t, s, p, randomPixels(1, 2))
	staying := computing(t.Context(), t, s, p, randomPixels(1, 3))
	eventuallyWaiting(t, s, 2)
	err := s.engine.full()
	var refused *BusyError
	require.ErrorAs(t, err, &refused)
	assert.GreaterOrEqual(t, refused.RetryAfter, time.Second)
	cancel()
	_, err = leaving()
	require.ErrorIs(t, err, context.Canceled)
	eventuallyWaiting(t, s, 1)
	require.NoError(t, s.engine.full())
	before := s.engine.number
	free()
	r, err := staying()
	require.NoError(t, err)
	assert.Equal(t, []int{1}, r.batches)
	assert.Equal(t, before+1, s.engine.number, "only the one that stayed was computed")
}

// Two models take turns: the one whose requests are many does not keep the other waiting.
func TestModelsTakeTurns(t *testing.T) {
	options := Options{MaxBatch: 1}.withDefaults()
	e := &engine{options: &options, metrics: newMetrics(), queues: map[string]*queue{}, models: map[string]time.Time{}}
	begin := time.Now()
	add := func(model, key string, came time.Duration) {
		p := &plan{served: &served{name: model}, key: key, batch: 1}
		j := &job{plan: p, stimuli: make([]tfconvrnn.Stimulus, 1), came: begin.Add(came), done: make(chan struct{})}
		if e.queues[key] == nil {
			e.queues[key] = &queue{}
		}
		e.queues[key].jobs = append(e.queues[key].jobs, j)
		e.places++
	}
	for i := range 4 {
		add("a", "a1", time.Duration(i))
		add("a", "a2", time.Duration(i))
	}
	add("b", "b", 10)
	add("b", "b", 11)
	var order []string
	for i := range 10 {
		_, parts, _, left := e.next(begin.Add(time.Duration(20+i)*time.Millisecond), true)
		require.True(t, left)
		require.Len(t, parts, 1)
		order = append(order, parts[0].job.plan.key)
	}
	assert.Equal(t, "b", order[1])
	assert.Equal(t, "b", order[3])
	assert.Equal(t, 4, count(order, "a1"))
	assert.NotEqual(t, order[0], order[2], "the two kinds of requests of a model take turns too")
	_, parts, _, left := e.next(begin, true)
	assert.Nil(t, parts)
	assert.False(t, left)
	assert.Zero(t, e.places)
}

func count(list []string, what string) (n int) {
	for _, item := range list {
		if item == what {
			n++
		}
	}
	return n
}

// A run waits for others only where the one before was shared, until as many images wait as
// were there then, or half of them where that is a good batch, and no longer than MaxDelay.
func TestWaitsForOthers(t *testing.T) {
	options := Options{MaxDelay: time.Second}.withDefaults()
	e := &engine{options: &options, queues: map[string]*queue{}}
	now := time.Now()
	q := &queue{jobs: []*job{{plan: &plan{batch: 8}, stimuli: make([]tfconvrnn.Stimulus, 2), came: now}}}
	assert.Zero(t, e.remaining(q, now))
	q.expected, q.ended = 3, now.Add(-time.Minute)
	assert.Equal(t, time.Second, e.remaining(q, now))
	assert.LessOrEqual(t, e.remaining(q, now.Add(time.Second)), time.Duration(0))
	q.expected = 2
	assert.Zero(t, e.remaining(q, now))
	q.expected = 100
	q.jobs[0].stimuli = make([]tfconvrnn.Stimulus, 8) // a whole batch
	assert.Zero(t, e.remaining(q, now))
	// Half of many is enough; half of few is not.
	q.jobs[0].plan.batch, q.expected = 16, 16
	assert.Zero(t, e.remaining(q, now))
	q.expected = 17
	assert.Equal(t, time.Second, e.remaining(q, now))
	q.jobs[0].stimuli, q.expected = q.jobs[0].stimuli[:7], 14
	assert.Equal(t, time.Second, e.remaining(q, now))
	q.jobs[0].stimuli = q.jobs[0].stimuli[:2]
	e.stopping = true
	assert.Zero(t, e.remaining(q, now))
}

// With many times too much load, requests are refused at once with 429 and when to come again,
// and those that are taken get what is right.
func TestOverload(t *testing.T) {
	s, url := newTestService(t, Options{MaxQueue: 4, MaxBatch: 4})
	pixels := randomPixels(1, 8)
	want := extracted(t, pixels, tfconvrnn.Layers("imnetds"))
	body := []byte(`{"inputs":[` + imagesJSON(pixels) + `],"outputs":[{"name":"imnetds"}]}`)
	var served, refused atomic.Int64
	var clients sync.WaitGroup
	stop := time.Now().Add(3 * time.Second)
	for range 40 {
		clients.Go(func() {
			for time.Now().Before(stop) {
				response, err := http.Post(url+inferPath, "application/json", newReader(body))
				if !assert.NoError(t, err) {
					return
				}
				a := decodeAnswer(t, response)
				switch response.StatusCode {
				case http.StatusOK:
					served.Add(1)
					values, _ := outputOf[float32](t, a, "imnetds")
					assert.InDeltaSlice(t, toFloat64(want.Layers[0].Data), toFloat64(values), 1e-3)
				case http.StatusTooManyRequests:
					refused.Add(1)
					assert.NotEmpty(t, response.Header.Get("Retry-After"))
				default:
					assert.Fail(t, "status", "%d %s", response.StatusCode, a.Error)
				}
			}
		})
	}
	clients.Wait()
	assert.Positive(t, served.Load())
	assert.Positive(t, refused.Load())
	// An answer is read before its handler has given its room back.
	assert.Eventually(t, func() bool {
		s.engine.mu.Lock()
		defer s.engine.mu.Unlock()
		return s.engine.places == 0 && s.engine.bytes == 0
	}, 20*time.Second, time.Millisecond)
}

// A service that stops answers what it has accepted, and refuses the rest.
func TestStops(t *testing.T) {
	s, _ := newTestService(t, Options{})
	p := readoutPlan(t, s, "imnetds")
	done, err := s.accept()
	require.NoError(t, err)
	wait := computing(t.Context(), t, s, p, randomPixels(2, 9))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Stop(ctx), context.DeadlineExceeded)
	_, err = s.accept()
	require.ErrorIs(t, err, ErrStopping)
	require.ErrorIs(t, s.Ready(), ErrStopping)
	done()
	require.NoError(t, s.Close())
	_, err = wait()
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

// A panic in a request is a 500 that names the log's entry; the service lives.
func TestPanics(t *testing.T) {
	log := &logRecorder{}
	s, _ := newTestService(t, Options{Log: log.logger()})
	handler := s.measured("test", func(http.ResponseWriter, *http.Request) error { panic("a fault") })
	w := record(handler, "GET", "/", nil)
	assert.Equal(t, http.StatusInternalServerError, w.Code)
	id := log.attribute("panic", "id")
	require.NotEmpty(t, id)
	assert.Contains(t, w.Body.String(), id)
	assert.NotContains(t, w.Body.String(), "a fault")

	p := readoutPlan(t, s, "imnetds")
	broken := *p
	broken.layers = []plannedLayer{{source: 99, LayerOutput: tfconvrnn.LayerOutput{Timesteps: []int{0}}}}
	_, err := computing(t.Context(), t, s, &broken, randomPixels(1, 1))()
	var panicked *panicError
	require.True(t, errors.As(err, &panicked), err)
	_, err = computing(t.Context(), t, s, p, randomPixels(1, 1))()
	require.NoError(t, err)
}
