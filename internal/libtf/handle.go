package libtf

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

// handle owns one C object. It is apart from the object's Go face so that a
// cleanup of the face can free it, and it counts the calls in progress so that
// a concurrent Close cannot pull the object from under them.
type handle struct {
	pointer unsafe.Pointer
	free    func(unsafe.Pointer) error
	live    *atomic.Int64

	mu     sync.Mutex
	calls  int
	closed bool
	freed  chan struct{}
	err    error // of free; read after freed is closed
}

func newHandle(pointer unsafe.Pointer, live *atomic.Int64, free func(unsafe.Pointer) error) *handle {
	live.Add(1)
	return &handle{pointer: pointer, free: free, live: live, freed: make(chan struct{})}
}

// acquire keeps the object alive until release. It fails once closed.
func (h *handle) acquire() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrClosed
	}
	h.calls++
	return nil
}

func (h *handle) release() {
	h.mu.Lock()
	h.calls--
	last := h.closed && h.calls == 0
	h.mu.Unlock()
	if last {
		h.destroy()
	}
}

// close frees the object now or when the last call in progress ends. Only the
// first close has an effect.
func (h *handle) close() {
	h.mu.Lock()
	first := !h.closed
	h.closed = true
	idle := h.calls == 0
	h.mu.Unlock()
	if first && idle {
		h.destroy()
	}
}

// wait returns the error of freeing the object, once that is done.
func (h *handle) wait() error {
	<-h.freed
	return h.err
}

func (h *handle) destroy() {
	h.err = h.free(h.pointer)
	h.live.Add(-1)
	close(h.freed)
}

var live struct{ tensors, graphs, sessions atomic.Int64 }

// ObjectCounts says how many C objects exist.
type ObjectCounts struct{ Tensors, Graphs, Sessions int64 }

// LiveObjects returns the number of objects that were made and not yet freed,
// for tests that look for leaks. It may be called at any time.
func LiveObjects() ObjectCounts {
	return ObjectCounts{live.tensors.Load(), live.graphs.Load(), live.sessions.Load()}
}
