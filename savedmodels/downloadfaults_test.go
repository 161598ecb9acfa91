package savedmodels

import (
	"context"
	"crypto/md5"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/internal/checkpointserver"
	"github.com/tfconvrnn/go/internal/disk"
	"github.com/tfconvrnn/go/internal/fetchfile"
)

// TestFaults has the server misbehave in every way. After each there is a correct
// model, or a clear error and no half-installed one, and the next try, of a good
// server, succeeds.
func TestFaults(t *testing.T) {
	t.Parallel()
	data, index := read(t, one, dataName), read(t, one, indexName)
	flipped := func(content []byte, at int) []byte {
		content = append([]byte(nil), content...)
		content[at] ^= 0x10
		return content
	}
	random := &lockedRandom{random: rand.New(rand.NewPCG(1, 6))}
	always := func(fault checkpointserver.Fault) func(*checkpointserver.Server) checkpointserver.Fault {
		return func(*checkpointserver.Server) checkpointserver.Fault { return fault }
	}
	const forever = 1 << 30
	onData := checkpointserver.Times
	onIndex := func(n int, fault checkpointserver.Fault) checkpointserver.Fault {
		return func(w http.ResponseWriter, r *http.Request, number int) bool {
			return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, ".index") && number <= n && fault(w, r, number)
		}
	}
	stall := func(w http.ResponseWriter, r *http.Request, _ int) bool {
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		for i := range 100 { // a byte now and then
			if _, err := w.Write(data[i : i+1]); err != nil || r.Context().Err() != nil {
				break
			}
			w.(http.Flusher).Flush()
			time.Sleep(50 * time.Millisecond)
		}
		return true
	}
	redirect := func(to string) checkpointserver.Fault {
		return func(w http.ResponseWriter, r *http.Request, _ int) bool {
			if strings.HasPrefix(r.URL.Path, "/elsewhere/") {
				r.URL.Path = strings.TrimPrefix(r.URL.Path, "/elsewhere")
				return false
			}
			http.Redirect(w, r, to+r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}
	}
	tests := []struct {
		name  string
		fault func(*checkpointserver.Server) checkpointserver.Fault
		// want is the error; nil if the model must be had.
		want    error
		message string
		notes   int
		partial bool // whether something may be left to go on with
	}{
		{name: "drops the first ten connections at random bytes",
			fault: func(s *checkpointserver.Server) checkpointserver.Fault {
				return onData(10, s.Drop(func() int { return 512<<10 + random.IntN(1<<20) }))
			}},
		{name: "drops all connections", want: ErrDownload, message: "EOF", partial: true,
			fault: func(s *checkpointserver.Server) checkpointserver.Fault {
				return onData(forever, s.Drop(func() int { return random.IntN(1 << 10) }))
			}},
		{name: "drops and ignores ranges", fault: func(s *checkpointserver.Server) checkpointserver.Fault {
			drop := s.Drop(func() int { return 1 << 20 })
			return onData(forever, func(w http.ResponseWriter, r *http.Request, number int) bool {
				s.IgnoreRange(w, r, number)
				return number == 1 && drop(w, r, number)
			})
		}},
		{name: "drops without an ETag", fault: func(s *checkpointserver.Server) checkpointserver.Fault {
			s.NoETag = true
			return onData(1, checkpointserver.Raw(int64(len(data)), data[:1<<20]))
		}},
		{name: "declares too much", want: ErrDownload, message: "EOF", partial: true,
			fault: always(onData(forever, checkpointserver.Raw(int64(len(data))+5, data)))},
		{name: "declares too little", want: convert.ErrCorrupt, message: "the file ends here",
			fault: always(onData(forever, checkpointserver.Raw(1<<20, data)))},
		{name: "declares too little once", fault: always(onData(1, checkpointserver.Raw(1<<20, data)))},
		{name: "declares far too much", want: ErrDownload, message: "more than",
			fault: always(onData(forever, checkpointserver.Raw(1<<50, data[:100]))), partial: true},
		{name: "403", want: ErrDownload, message: "403", fault: always(checkpointserver.Status(403)), partial: true},
		{name: "404", want: ErrDownload, message: "which must be at <URL>/<model>/",
			fault: always(checkpointserver.Status(404)), partial: true},
		{name: "404 for the data", want: ErrDownload, message: "404",
			fault: always(onData(forever, checkpointserver.Status(404))), partial: true},
		{name: "500 thrice", fault: always(onData(3, checkpointserver.Status(500)))},
		{name: "500", want: ErrDownload, message: "500", fault: always(checkpointserver.Status(500)), partial: true},
		{name: "503 twice", fault: always(onIndex(2, checkpointserver.Status(503)))},
		{name: "429 twice", fault: always(onIndex(2, checkpointserver.Status(429)))},
		{name: "drips once", fault: always(onData(1, stall))},
		{name: "drips", want: ErrDownload, message: "fewer than 4096 bytes", fault: always(onData(forever, stall)),
			partial: true},
		{name: "index of another model", want: convert.ErrMismatch, message: "it is the checkpoint of simplernn_shallow",
			fault: always(onIndex(forever, checkpointserver.Body(read(t, "simplernn_shallow", indexName), "")))},
		{name: "data of another model", want: convert.ErrCorrupt, message: "checksum",
			fault: always(onData(forever, checkpointserver.Body(read(t, "simplernn_shallow", dataName)[:len(data)], "")))},
		{name: "flips a bit once", fault: always(onData(1, checkpointserver.Body(flipped(data, 9<<20), "")))},
		{name: "flips a bit under the right ETag once", fault: func(s *checkpointserver.Server) checkpointserver.Fault {
			return onData(1, func(w http.ResponseWriter, r *http.Request, n int) bool {
				tag := fmt.Sprintf("%q", md5Of(data))
				return checkpointserver.Body(flipped(data, 9<<20), tag)(w, r, n)
			})
		}},
		{name: "flips a bit", want: convert.ErrCorrupt, message: "checksum",
			fault: always(onData(forever, checkpointserver.Body(flipped(data, 5<<20), "")))},
		{name: "flips a bit of the index", want: convert.ErrCorrupt, message: "index",
			fault: always(onIndex(forever, checkpointserver.Body(flipped(index, 100), "")))},
		{name: "an ETag that looks like an MD5 and is none", notes: 1,
			fault: always(onData(forever, func(w http.ResponseWriter, _ *http.Request, _ int) bool {
				w.Header().Set("ETag", `"0123456789abcdef0123456789abcdef"`)
				return false
			}))},
		{name: "an HTML page", want: convert.ErrCorrupt, message: "not a good checkpoint file",
			fault: always(checkpointserver.Body([]byte("<html>Log in to the hotel's network</html>"), ""))},
		{name: "redirects", fault: always(redirect("/elsewhere"))},
		{name: "redirects without end", want: ErrDownload, message: "redirected 10 times", fault: always(redirect("")),
			partial: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := checkpointserver.New(published)
			defer server.Close()
			server.Fault = test.fault(server)
			p := newPlace(t, server.URL, one)
			patience := p.options.fetch.StallTimeout
			if strings.HasPrefix(test.name, "drips") {
				p.options.fetch.StallTimeout = 700 * time.Millisecond
			}
			results, err := p.download(t)
			p.options.fetch.StallTimeout = patience
			if test.want == nil {
				require.NoError(t, err)
				checkpoints, savedModels := p.requireWhole(t)
				assert.Equal(t, []string{one}, checkpoints)
				assert.Equal(t, []string{one}, savedModels)
				assert.Len(t, results[0].Notes, test.notes)
				return
			}
			require.ErrorIs(t, err, test.want)
			assert.ErrorContains(t, err, test.message)
			assert.ErrorContains(t, err, one)
			p.requireNothing(t, test.partial)
			good := checkpointserver.New(published)
			defer good.Close()
			p.options.From = good.URL
			_, err = p.download(t)
			require.NoError(t, err)
			_, savedModels := p.requireWhole(t)
			assert.Equal(t, []string{one}, savedModels)
		})
	}
}

// lockedRandom is for several goroutines.
type lockedRandom struct {
	mu     sync.Mutex
	random *rand.Rand
}

func (r *lockedRandom) IntN(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.random.IntN(n)
}

func md5Of(data []byte) string {
	dir, err := os.MkdirTemp("", "md5")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "data")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		panic(err)
	}
	sum, err := disk.Hash(context.Background(), path, md5.New(), nil)
	if err != nil {
		panic(err)
	}
	return sum
}

func TestUntrustedCertificate(t *testing.T) {
	server := checkpointserver.NewTLS(published)
	defer server.Close()
	p := newPlace(t, server.URL, one)
	_, err := p.download(t)
	assert.ErrorIs(t, err, ErrDownload)
	assert.ErrorContains(t, err, "certificate")
	p.requireNothing(t, true)
	assert.Empty(t, server.Requests())
}

func TestRedirectFromHTTPSIsNotFollowedToHTTP(t *testing.T) {
	plain := checkpointserver.New(published)
	defer plain.Close()
	server := checkpointserver.NewTLS(published)
	defer server.Close()
	server.Fault = func(w http.ResponseWriter, r *http.Request, _ int) bool {
		http.Redirect(w, r, plain.URL+r.URL.Path, http.StatusFound)
		return true
	}
	p := newPlace(t, server.URL, one)
	client := fetchfile.Client()
	client.Transport = server.Client().Transport
	p.options.fetch.Client = client
	_, err := p.download(t)
	assert.ErrorContains(t, err, "from https to http")
	assert.Empty(t, plain.Requests())
	server.Fault = nil
	_, err = p.download(t)
	assert.NoError(t, err)
}
