package console

import (
	"io"
	"sync"
)

// A CheckedWriter remembers that something could not be written, for the many prints
// whose errors nobody looks at. It is safe for concurrent use if what it writes to is.
type CheckedWriter struct {
	to io.Writer

	mu    sync.Mutex
	first error
}

// NewCheckedWriter returns a writer to another.
func NewCheckedWriter(to io.Writer) *CheckedWriter { return &CheckedWriter{to: to} }

// Write implements io.Writer.
func (w *CheckedWriter) Write(data []byte) (int, error) {
	n, err := w.to.Write(data)
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.first == nil {
			w.first = err
		}
	}
	return n, err
}

// Err returns the first error of writing.
func (w *CheckedWriter) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.first
}
