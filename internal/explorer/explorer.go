// Package explorer is a page on which one shows a picture to models and watches their layers respond in time, and the
// HTTP handlers behind it.
//
//	page := explorer.New(engine, explorer.Options{})
//	http.Handle("/", page)
//	defer page.Close()
//
// The page is served at /, everything else under /explorer/. All files are embedded, and the page asks for nothing from
// another address. It holds under the policy
//
//	default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'
//
// and names files relative to itself, so that it may lie below a path of a proxy.
//
// A picture, a model and a presentation make a run. Its features stay in the memory of this process, since those of one
// picture take up to 100 MB, and the page asks for what it draws. Where several processes answer, all requests of one
// page have to reach the same one.
package explorer

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Defaults of Options.
const (
	DefaultMemory          = 1 << 30
	DefaultMaxPictureBytes = 64 << 20
	DefaultExpiry          = time.Hour
)

// Options of an Explorer. The zero value takes the defaults.
type Options struct {
	// Memory is the most bytes that the features of all kept runs take together, DefaultMemory if 0. The run that
	// was not used for longest makes place for a new one.
	Memory int64
	// Expiry is how long a run that nobody uses is kept, DefaultExpiry if 0.
	Expiry time.Duration
	// MaxPictureBytes is the size of the largest picture file, DefaultMaxPictureBytes if 0.
	MaxPictureBytes int64
	// Logger gets errors that are no user's fault, slog.Default() if nil.
	Logger *slog.Logger
}

// Explorer serves the page and what it asks for. It is safe for concurrent use.
type Explorer struct {
	engine  Engine
	options Options
	runs    *runStore
	pages   *files
	mux     *http.ServeMux
	// decoding holds a token of each picture that is being decoded.
	decoding chan struct{}
}

// New returns the handler of a page for the models of an engine. The caller closes it.
func New(engine Engine, options Options) *Explorer {
	if options.Memory == 0 {
		options.Memory = DefaultMemory
	}
	if options.Expiry == 0 {
		options.Expiry = DefaultExpiry
	}
	if options.MaxPictureBytes == 0 {
		options.MaxPictureBytes = DefaultMaxPictureBytes
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	x := &Explorer{
		engine: engine, options: options, runs: newRunStore(options.Memory, options.Expiry), pages: embeddedFiles(),
		mux: http.NewServeMux(), decoding: make(chan struct{}, decodedAtOnce),
	}
	for pattern, handle := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /{$}":                              x.pages.index,
		"GET /explorer/page/{file...}":          x.pages.file,
		"GET /explorer/pictures/{file}":         x.pages.picture,
		"GET /explorer/models":                  x.describe,
		"POST /explorer/preview":                x.preview,
		"POST /explorer/respond":                x.respond,
		"GET /explorer/runs/{run}/maps":         x.maps,
		"GET /explorer/runs/{run}/unit":         x.unit,
		"GET /explorer/runs/{run}/similarity":   x.similarity,
		"GET /explorer/runs/{run}/recipe":       x.recipe,
		"GET /explorer/runs/{run}/features.npz": x.npz,
	} {
		x.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := handle(w, r); err != nil {
				x.refuse(w, r, err)
			}
		})
	}
	return x
}

// ServeHTTP answers a request.
func (x *Explorer) ServeHTTP(w http.ResponseWriter, r *http.Request) { x.mux.ServeHTTP(w, r) }

// Close forgets all runs. It is idempotent. Requests in progress end by themselves.
func (x *Explorer) Close() { x.runs.close() }

// A fault is an error with the status of the answer that says it.
type fault struct {
	status int
	error
}

func (f *fault) Unwrap() error { return f.error }

func faultf(status int, format string, arguments ...any) error {
	return &fault{status, fmt.Errorf(format, arguments...)}
}

// errorText returns what a user reads of an error, and the status. What is no user's fault is logged and not shown,
// because it may name files of this machine.
func (x *Explorer) errorText(r *http.Request, err error) (text string, status int) {
	var known *fault
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &known):
		return known.Error(), known.status
	case errors.As(err, &large):
		return fmt.Sprintf("the picture has more than %d MiB", large.Limit>>20), http.StatusRequestEntityTooLarge
	case errors.Is(err, ErrBusy):
		return err.Error(), http.StatusServiceUnavailable
	case errors.Is(err, savedmodels.ErrUnknownModel), errors.Is(err, tfconvrnn.ErrUnknownLayer):
		return err.Error(), http.StatusNotFound
	case errors.Is(err, tfconvrnn.ErrPresentation), errors.Is(err, tfconvrnn.ErrImages),
		errors.Is(err, tfconvrnn.ErrOption),
		errors.Is(err, tfconvrnn.ErrUnreadable):
		return err.Error(), http.StatusUnprocessableEntity
	case errors.Is(err, features.ErrNoSpace):
		return "the server's disk is full", http.StatusInsufficientStorage
	case r.Context().Err() != nil:
		return "the request was given up", 499
	}
	x.options.Logger.ErrorContext(r.Context(), "explorer", "path", r.URL.Path, "error", err)
	return "this could not be computed; the log of the server says why", http.StatusInternalServerError
}

// refuse answers with an error.
func (x *Explorer) refuse(w http.ResponseWriter, r *http.Request, err error) {
	text, status := x.errorText(r, err)
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "2")
	}
	w.Header().Del("Content-Disposition")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text})
}

// writeJSON answers with a value.
func writeJSON(w http.ResponseWriter, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(text) // a client that is gone needs no answer
	return nil
}
