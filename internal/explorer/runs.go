package explorer

import (
	"crypto/rand"
	"net/http"
	"sync"
	"time"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// run is the response of a model to a picture, in a presentation. Its features do not change.
type run struct {
	id           string
	model        Model
	shown        shown
	presentation tfconvrnn.Presentation
	// name is the picture's, and hash the SHA-256 of its 224×224 pixels. Path is where it lies for who has cloned this
	// project, if it is a built-in one, and else its name.
	name, path, hash string
	features         *tfconvrnn.Features

	mu    sync.Mutex
	means map[string][]float32 // of each channel over space, [timesteps, channels]
}

// times is the number of timesteps.
func (r *run) times() int { return r.shown.Times }

// layer returns the features of a layer.
func (r *run) layer(name string) (*tfconvrnn.LayerFeatures, error) { return r.features.Layer(name) }

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
}

func newRunStore(limit int64, expiry time.Duration) *runStore {
	return &runStore{limit: limit, expiry: expiry, runs: map[string]*kept{}}
}

// reserve makes place for a run of so many bytes. The caller passes the run to put, or calls release.
func (s *runStore) reserve(bytes int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes > s.limit {
		return faultf(http.StatusUnprocessableEntity, "the features of all layers would take %d MiB, and the server keeps %d MiB at most; choose a shorter presentation",
			bytes>>20, s.limit>>20)
	}
	for s.taken+bytes > s.limit {
		var oldest *kept
		for _, k := range s.runs {
			if oldest == nil || k.used.Before(oldest.used) {
				oldest = k
			}
		}
		if oldest == nil {
			return faultf(http.StatusServiceUnavailable, "the server's memory for runs is taken by others that are being computed; try again soon")
		}
		s.remove(oldest)
	}
	s.taken += bytes
	return nil
}

// release gives a reservation back.
func (s *runStore) release(bytes int64) {
	s.mu.Lock()
	s.taken -= bytes
	s.mu.Unlock()
}

// remove forgets a run.
func (s *runStore) remove(k *kept) {
	delete(s.runs, k.id)
	s.taken -= k.bytes
}

// put keeps a run in its reservation.
func (s *runStore) put(r *run, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.taken -= bytes
		return
	}
	s.runs[r.id] = &kept{run: r, bytes: bytes, used: time.Now()}
	if s.sweep == nil {
		s.sweep = time.AfterFunc(s.expiry, s.expire)
	}
}

// get returns a kept run.
func (s *runStore) get(id string) (*run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.runs[id]
	if !ok || time.Since(k.used) > s.expiry {
		return nil, faultf(http.StatusGone, "the server has forgotten this run, to make place for others or because it was not used for long; run it again")
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
		if time.Since(k.used) >= s.expiry {
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
		s.remove(k)
	}
	if s.sweep != nil {
		s.sweep.Stop()
	}
}

// newID returns a name that nobody guesses.
func newID() string { return rand.Text() }
