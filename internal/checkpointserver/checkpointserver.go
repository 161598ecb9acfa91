// Package checkpointserver is for tests: a real HTTP server that serves seeded
// checkpoints laid out like the published ones, with the headers of S3, and
// misbehaves on demand.
package checkpointserver

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tfconvrnn/go/internal/weights"
	"github.com/tfconvrnn/go/internal/zoo"
)

// WriteSeeded writes a model's seeded checkpoint to <dir>/<model>/model.ckpt.*.
func WriteSeeded(dir, model string, seed uint64) error {
	m := zoo.Lookup(model)
	if m == nil {
		return fmt.Errorf("unknown model %q", model)
	}
	if err := os.MkdirAll(filepath.Join(dir, model), 0o755); err != nil {
		return err
	}
	variables := m.Variables()
	return weights.WriteCheckpoint(filepath.Join(dir, model, "model.ckpt"), weights.Seeded(seed, variables), variables)
}

// A Fault answers a request in place of the server, or changes how it is answered
// and returns false. number counts the requests for the file from 1 on.
type Fault func(w http.ResponseWriter, r *http.Request, number int) (answered bool)

// Server serves the files below Dir. Fault must not be set while requests come.
type Server struct {
	*httptest.Server
	Dir string
	// Fault, if not nil, sees each request first.
	Fault Fault
	// NoETag leaves the ETag out.
	NoETag bool
	// BytesPerSecond limits each answer, if it is not 0.
	BytesPerSecond int

	mu     sync.Mutex
	counts map[string]int
	log    []string
	sums   map[string]string
}

// New starts a server of the files below dir. The caller closes it.
func New(dir string) *Server {
	s := &Server{Dir: dir, counts: map[string]int{}, sums: map[string]string{}}
	s.Server = httptest.NewServer(s)
	return s
}

// NewTLS is New with a certificate that nobody trusts.
func NewTLS(dir string) *Server {
	s := &Server{Dir: dir, counts: map[string]int{}, sums: map[string]string{}}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of refused handshakes
	s.StartTLS()
	return s
}

// Requests returns the requests so far, as "GET /model/file bytes=5-".
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.log...)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if r.Method == http.MethodGet {
		s.counts[r.URL.Path]++
	}
	number := s.counts[r.URL.Path]
	s.log = append(s.log, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+r.Header.Get("Range")))
	s.mu.Unlock()
	if s.Fault != nil && s.Fault(w, r, number) {
		return
	}
	path := s.path(r)
	f, err := os.Open(path)
	if err != nil {
		http.Error(w, "NoSuchKey", http.StatusNotFound)
		return
	}
	defer f.Close()
	if !s.NoETag && w.Header().Get("ETag") == "" {
		w.Header().Set("ETag", `"`+s.md5(path)+`"`)
	}
	w.Header().Set("Content-Type", "binary/octet-stream")
	if s.BytesPerSecond > 0 {
		w = &slowWriter{w, s.BytesPerSecond}
	}
	http.ServeContent(w, r, "", time.Time{}, f)
}

func (s *Server) path(r *http.Request) string {
	return filepath.Join(s.Dir, filepath.Clean(filepath.FromSlash("/"+r.URL.Path)))
}

func (s *Server) md5(path string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sums[path] == "" {
		f, err := os.Open(path)
		if err != nil {
			return ""
		}
		defer f.Close()
		h := md5.New()
		if _, err := io.Copy(h, f); err != nil {
			return ""
		}
		s.sums[path] = hex.EncodeToString(h.Sum(nil))
	}
	return s.sums[path]
}

type slowWriter struct {
	http.ResponseWriter
	bytesPerSecond int
}

func (w *slowWriter) Write(p []byte) (int, error) {
	const step = 64 << 10
	done := 0
	for done < len(p) {
		n, err := w.ResponseWriter.Write(p[done:min(len(p), done+step)])
		done += n
		if err != nil {
			return done, err
		}
		time.Sleep(time.Duration(float64(n) / float64(w.bytesPerSecond) * float64(time.Second)))
	}
	return done, nil
}

// IsData says whether a request gets a checkpoint's data.
func IsData(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.URL.Path, ".data-")
}

// Times makes a fault of the data happen in the first n requests only.
func Times(n int, fault Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, number int) bool {
		return IsData(r) && number <= n && fault(w, r, number)
	}
}

// Status answers with a status.
func Status(code int) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		http.Error(w, http.StatusText(code), code)
		return true
	}
}

// Drop lets n bytes of each answer pass and drops the connection; n is called for
// each.
func (s *Server) Drop(n func() int) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ int) bool {
		w.Header().Set("ETag", `"`+s.md5(s.path(r))+`"`)
		s.serve(&droppingWriter{w, n()}, r)
		return true
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	f, err := os.Open(s.path(r))
	if err != nil {
		http.Error(w, "NoSuchKey", http.StatusNotFound)
		return
	}
	defer f.Close()
	http.ServeContent(w, r, "", time.Time{}, f)
}

type droppingWriter struct {
	http.ResponseWriter
	left int
}

func (w *droppingWriter) Write(p []byte) (int, error) {
	if len(p) <= w.left {
		w.left -= len(p)
		return w.ResponseWriter.Write(p)
	}
	_, _ = w.ResponseWriter.Write(p[:w.left])
	w.ResponseWriter.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// IgnoreRange answers with the whole file whatever was asked for.
func (s *Server) IgnoreRange(_ http.ResponseWriter, r *http.Request, _ int) bool {
	r.Header.Del("Range")
	return false
}

// Raw answers over the bare connection: a length that is declared, and what is
// sent.
func Raw(declared int64, body []byte) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		conn, buffer, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		fmt.Fprintf(buffer, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", declared)
		_, err = buffer.Write(body)
		_ = errors.Join(err, buffer.Flush())
		return true
	}
}

// Body answers with other content, under an ETag, if it is not empty.
func Body(content []byte, tag string) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ int) bool {
		if tag != "" {
			w.Header().Set("ETag", tag)
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = w.Write(content)
		return true
	}
}
