package explorer

import (
	"crypto/rand"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// run is the response of a model to a picture, in a presentation. What is computed of it does not change.
type run struct {
	id           string
	model        Model
	shown        shown
	presentation tfconvrnn.Presentation
	// name is the picture's, and hash the SHA-256 of its 224×224 pixels. Path is where it lies for who has cloned this
	// project, if it is a built-in one, and else its name.
	name, path, hash string

	mu sync.Mutex
	// features holds so many timesteps of each layer as have says, from the first on, and all if it is whole.
	features *tfconvrnn.Features
	have     map[string]int
	whole    bool
	means    map[string][]float32 // of each channel over space, [timesteps, channels]
}

// times is the number of timesteps.
func (r *run) times() int { return r.shown.Times }

// layer returns the features of a layer that is computed at all timesteps.
func (r *run) layer(name string) (*tfconvrnn.LayerFeatures, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.whole && r.have[name] < r.times() && slices.Contains(r.model.layerNames(), name) {
		return nil, faultf(http.StatusConflict, "%s is being computed; ask again when it is there", name)
	}
	if r.features == nil {
		return nil, faultf(http.StatusNotFound, "there is no layer %q", name)
	}
	return r.features.Layer(name)
}

// computed notes that the run has a timestep of a layer, and returns the layer.
func (r *run) computed(f *tfconvrnn.Features, layer, timestep int) *tfconvrnn.LayerFeatures {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := &f.Layers[layer]
	r.features = f
	r.have[l.Name] = timestep + 1
	return l
}

// soFar returns a layer with the timesteps that are there.
func (r *run) soFar(name string) *tfconvrnn.LayerFeatures {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, err := r.features.Layer(name)
	if err != nil {
		return nil
	}
	n, part := r.have[name], *l
	part.Timesteps, part.Milliseconds, part.Driven = l.Timesteps[:n], l.Milliseconds[:n], l.Driven[:n]
	return &part
}

// finish notes that the run has everything.
func (r *run) finish(f *tfconvrnn.Features) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.features, r.whole = f, true
}

// all returns everything that was computed, when it is.
func (r *run) all() (*tfconvrnn.Features, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.whole {
		return nil, faultf(http.StatusConflict, "the run is being computed; ask again when it is done")
	}
	return r.features, nil
}

// runStore keeps runs within bounds of memory and time.
type runStore struct {
	limit  int64
	expiry time.Duration

	mu     sync.Mutex
	closed bool
	runs   map[string]*kept
	// taken counts the bytes of kept runs and of those that are being computed.
	taken int64
	sweep *time.Timer
}

// kept is a run with what the store knows of it.
type kept struct {
	*run
	bytes int64
	used  time.Time
	// busy says that it is being computed, and must stay.
	busy bool
}

func newRunStore(limit int64, expiry time.Duration) *runStore {
	return &runStore{limit: limit, expiry: expiry, runs: map[string]*kept{}}
}

// begin keeps a run of so many bytes that is going to be computed. The caller calls end.
func (s *runStore) begin(r *run, bytes int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes > s.limit {
		return faultf(http.StatusUnprocessableEntity,
			"the features of all layers would take %d MiB, and the server keeps %d MiB at most; choose a shorter presentation",
			bytes>>20, s.limit>>20)
	}
	for s.taken+bytes > s.limit {
		var oldest *kept
		for _, k := range s.runs {
			if !k.busy && (oldest == nil || k.used.Before(oldest.used)) {
				oldest = k
			}
		}
		if oldest == nil {
			return faultf(http.StatusServiceUnavailable,
				"the server's memory for runs is taken by others that are being computed; try again soon")
		}
		s.remove(oldest)
	}
	s.taken += bytes
	s.runs[r.id] = &kept{run: r, bytes: bytes, used: time.Now(), busy: true}
	return nil
}

// end goes on keeping a run that is computed, and forgets one that is not.
func (s *runStore) end(r *run, computed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.runs[r.id]
	if !ok {
		return
	}
	if !computed || s.closed {
		s.remove(k)
		return
	}
	k.busy, k.used = false, time.Now()
	if s.sweep == nil {
		s.sweep = time.AfterFunc(s.expiry, s.expire)
	}
}

// remove forgets a run.
func (s *runStore) remove(k *kept) {
	delete(s.runs, k.id)
	s.taken -= k.bytes
}

// get returns a kept run.
func (s *runStore) get(id string) (*run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.runs[id]
	if !ok || !k.busy && time.Since(k.used) > s.expiry {
		return nil, faultf(http.StatusGone,
			"the server has forgotten this run, to make place for others or because it was not used for long; run it again")
	}
	k.used = time.Now()
	return k.run, nil
}

// expire forgets the runs that were not used for long, and comes back as long as there are others.
func (s *runStore) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep = nil
	for _, k := range s.runs {
		if !k.busy && time.Since(k.used) >= s.expiry {
			s.remove(k)
		}
	}
	if len(s.runs) > 0 && !s.closed {
		s.sweep = time.AfterFunc(max(s.expiry/4, time.Second), s.expire)
	}
}

// close forgets all runs, and keeps none from now on.
func (s *runStore) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, k := range s.runs {
		if !k.busy {
			s.remove(k)
		}
	}
	if s.sweep != nil {
		s.sweep.Stop()
	}
}

// newID returns a name that nobody guesses.
func newID() string { return rand.Text() }
