package fetchfile_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/fetchfile"
)

// serve answers with data, after what before does; it records when requests came
// and which range they asked for.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	came   []time.Time
	ranges []string
}

func serve(t *testing.T, data []byte, before func(number int, w http.ResponseWriter, r *http.Request) (
	answered bool)) *server {
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.came = append(s.came, time.Now())
		s.ranges = append(s.ranges, r.Header.Get("Range"))
		number := len(s.came)
		s.mu.Unlock()
		if before != nil && before(number, w, r) {
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	t.Cleanup(s.Close)
	return s
}

func content(n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i * i >> 3)
	}
	return data
}

// cut sends the first n bytes and drops the connection.
func cut(w http.ResponseWriter, data []byte, n int) {
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	_, _ = w.Write(data[:n])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func TestManyDropsOfALargeFile(t *testing.T) {
	data := content(3 << 20)
	// More drops than tries are allowed in a row; each brings something.
	s := serve(t, data, func(_ int, w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("ETag", `"one"`)
		var from int
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil && from > 0 {
			if left := len(data) - from; left > 300<<10 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data)-1, len(data)))
				w.Header().Set("Content-Length", fmt.Sprint(left))
				w.WriteHeader(http.StatusPartialContent)
				_, _ = w.Write(data[from : from+300<<10])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			return false
		}
		cut(w, data, 300<<10)
		return true
	})
	part := filepath.Join(t.TempDir(), "part")
	file, err := fetchfile.Fetch(t.Context(), s.URL, part, fetchfile.Options{Tries: 3, Pause: time.Millisecond})
	require.NoError(t, err)
	assert.EqualValues(t, len(data), file.Size)
	got, err := os.ReadFile(part)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(data, got))
	assert.Greater(t, len(s.ranges), 8)
}

func TestDateInPlaceOfTag(t *testing.T) {
	data := content(1 << 20)
	modified := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	s := serve(t, data, func(number int, w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Last-Modified", modified.Format(http.TimeFormat))
		if number == 1 {
			w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
			cut(w, data, 500<<10)
		}
		assert.Equal(t, modified.Format(http.TimeFormat), r.Header.Get("If-Range"))
		http.ServeContent(w, r, "", modified, bytes.NewReader(data))
		return true
	})
	part := filepath.Join(t.TempDir(), "part")
	_, err := fetchfile.Fetch(t.Context(), s.URL, part, fetchfile.Options{Pause: time.Millisecond})
	require.NoError(t, err)
	got, err := os.ReadFile(part)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(data, got))
	assert.Regexp(t, `^bytes=[1-9]`, s.ranges[1])
}

// TestPausesGrow looks at the order of the pauses only, not at their length.
func TestPausesGrow(t *testing.T) {
	s := serve(t, nil, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	_, err := fetchfile.Fetch(t.Context(), s.URL, filepath.Join(t.TempDir(), "part"),
		fetchfile.Options{Tries: 5, Pause: 10 * time.Millisecond})
	var status *fetchfile.StatusError
	require.ErrorAs(t, err, &status)
	assert.Equal(t, http.StatusBadGateway, status.Code)
	assert.ErrorIs(t, err, fetchfile.ErrDownload)
	assert.ErrorContains(t, err, "5 tries")
	require.Len(t, s.came, 5)
	for i, least := range []time.Duration{5, 10, 20, 40} { // half of 10, 20, 40, 80
		assert.GreaterOrEqual(t, s.came[i+1].Sub(s.came[i]), least*time.Millisecond)
	}
}

func TestRetryAfter(t *testing.T) {
	s := serve(t, []byte("data"), func(number int, w http.ResponseWriter, _ *http.Request) bool {
		if number == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return number == 1
	})
	_, err := fetchfile.Fetch(t.Context(), s.URL, filepath.Join(t.TempDir(), "part"),
		fetchfile.Options{Pause: time.Millisecond})
	require.NoError(t, err)
	assert.GreaterOrEqual(t, s.came[1].Sub(s.came[0]), time.Second)
}

func TestCancelledWhileWaiting(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := serve(t, nil, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusBadGateway)
		cancel()
		return true
	})
	_, err := fetchfile.Fetch(ctx, s.URL, filepath.Join(t.TempDir(), "part"), fetchfile.Options{Pause: time.Hour})
	assert.ErrorIs(t, err, context.Canceled)
}

func TestLimit(t *testing.T) {
	s := serve(t, content(2000), nil)
	part := filepath.Join(t.TempDir(), "part")
	_, err := fetchfile.Fetch(t.Context(), s.URL, part, fetchfile.Options{Limit: 1999})
	assert.ErrorContains(t, err, "more than 1999")
	_, err = fetchfile.Fetch(t.Context(), s.URL, part, fetchfile.Options{Limit: 2000})
	assert.NoError(t, err)
	chunked := serve(t, nil, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		for range 100 { // without a length
			_, _ = w.Write(content(1000))
			w.(http.Flusher).Flush()
		}
		return true
	})
	_, err = fetchfile.Fetch(t.Context(), chunked.URL, part, fetchfile.Options{Limit: 5000})
	assert.ErrorContains(t, err, "more than 5000")
	_, err = os.Stat(part)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestStatedMD5(t *testing.T) {
	data := content(5000)
	sum := md5.Sum(data)
	for name, test := range map[string]struct {
		header, value string
		want          string
		fromETag      bool
	}{
		"Content-MD5":       {"Content-MD5", base64.StdEncoding.EncodeToString(sum[:]), hex.EncodeToString(sum[:]), false},
		"ETag of S3":        {"ETag", fmt.Sprintf("%q", hex.EncodeToString(sum[:])), hex.EncodeToString(sum[:]), true},
		"ETag of parts":     {"ETag", fmt.Sprintf("%q", hex.EncodeToString(sum[:])+"-3"), "", false},
		"ETag of its own":   {"ETag", `"abc"`, "", false},
		"broken Content-…5": {"Content-MD5", "?", "", false},
	} {
		s := serve(t, data, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set(test.header, test.value)
			return false
		})
		file, err := fetchfile.Fetch(t.Context(), s.URL, filepath.Join(t.TempDir(), "part"), fetchfile.Options{})
		require.NoError(t, err, name)
		assert.Equal(t, test.want, file.MD5, name)
		assert.Equal(t, test.fromETag, file.MD5FromETag, name)
		size, err := fetchfile.Size(t.Context(), s.URL, fetchfile.Options{})
		require.NoError(t, err)
		assert.EqualValues(t, 5000, size)
	}
}

func TestDiskErrorIsNotOfTheNetwork(t *testing.T) {
	s := serve(t, content(10), nil)
	_, err := fetchfile.Fetch(t.Context(), s.URL, filepath.Join(t.TempDir(), "none", "part"), fetchfile.Options{})
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.NotErrorIs(t, err, fetchfile.ErrDownload)
	assert.Len(t, s.came, 1)
}

func TestAddresses(t *testing.T) {
	for _, bad := range []string{"", "ftp://a/b", "/a/b", "http://", "::", "file:///etc/passwd"} {
		_, err := fetchfile.Fetch(t.Context(), bad, filepath.Join(t.TempDir(), "part"), fetchfile.Options{})
		assert.ErrorIs(t, err, fetchfile.ErrAddress, bad)
	}
}

// Nothing that may be secret in an address is in an error, whatever fails.
func TestErrorsHoldNoSecrets(t *testing.T) {
	refusing := serve(t, nil, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	redirecting := serve(t, nil, func(_ int, w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "http://hunter2:hunter2@127.0.0.1:1/x?token=hunter2", http.StatusFound)
		return true
	})
	malformed := serve(t, nil, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Location", "http://user:hunter2@[::1/%zz?token=hunter2")
		w.WriteHeader(http.StatusFound)
		return true
	})
	host := func(s *server) string { return strings.TrimPrefix(s.URL, "http://") }
	for _, address := range []string{
		"http://hunter2:hunter2@" + host(refusing) + "/x?token=hunter2#hunter2",
		"http://hunter2:hunter2@" + host(redirecting) + "/x?token=hunter2",
		"http://hunter2:hunter2@" + host(malformed) + "/x?token=hunter2",
		"http://hunter2:hunter2@127.0.0.1:1/x?token=hunter2",
		"http://hunter2:hunter2@unknown.invalid/x?token=hunter2",
		"ftp://user:hunter2@example.org/x",
		"http://user:hunter2@[::1/x",
		"http://user:hunter2%zz@example.org/x",
		"mailto:hunter2@example.org",
		"http://hunter2:hunter2@/x",
	} {
		options := fetchfile.Options{Tries: 1, Pause: time.Millisecond}
		_, err := fetchfile.Fetch(t.Context(), address, filepath.Join(t.TempDir(), "part"), options)
		require.ErrorIs(t, err, fetchfile.ErrDownload)
		assert.NotContains(t, err.Error(), "hunter2")
		_, err = fetchfile.Size(t.Context(), address, options)
		require.ErrorIs(t, err, fetchfile.ErrDownload)
		assert.NotContains(t, err.Error(), "hunter2")
	}
	assert.Equal(t, "https://xxxxx@example.org/a%20b?xxxxx", fetchfile.Redact("https://u:p@example.org/a%20b?c=d#e"))
	assert.Equal(t, "https://example.org/a", fetchfile.Redact("https://example.org/a"))
}
