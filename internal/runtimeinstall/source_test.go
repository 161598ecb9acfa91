package runtimeinstall

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// server serves data under /libtensorflow.whl; each request passes through
// before first, which may answer itself.
type server struct {
	*httptest.Server
	data     []byte
	tag      string
	requests atomic.Int32
	ranges   []string
	before   func(number int32, w http.ResponseWriter, r *http.Request) (answered bool)
}

func serve(t *testing.T, data []byte) *server {
	s := &server{data: data, tag: `"one"`}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		number := s.requests.Add(1)
		s.ranges = append(s.ranges, r.Header.Get("Range"))
		if s.tag != "" {
			w.Header().Set("ETag", s.tag)
		}
		if s.before != nil && s.before(number, w, r) {
			return
		}
		http.ServeContent(w, r, "libtensorflow.whl", time.Time{}, bytes.NewReader(s.data))
	}))
	t.Cleanup(s.Close)
	return s
}

// cut sends the first n bytes of the whole and drops the connection.
func (s *server) cut(w http.ResponseWriter, n int) {
	w.Header().Set("Content-Length", fmt.Sprint(len(s.data)))
	_, _ = w.Write(s.data[:n])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func (s *server) options() Options {
	return Options{URL: s.URL + "/libtensorflow.whl", SHA256: sumOf(s.data)}
}

func TestDownload(t *testing.T) {
	root := newCache(t)
	s := serve(t, goodWheel(t))
	o := s.options()
	var last, total int64
	o.Progress = func(stage string, d, n int64) {
		if stage == StageDownload {
			last, total = d, n
		}
	}
	result, err := Install(t.Context(), o)
	require.NoError(t, err)
	assert.Equal(t, "libtensorflow.whl", result.Manifest.Source)
	assert.True(t, result.Manifest.Verified)
	assert.Equal(t, int64(len(s.data)), last)
	assert.Equal(t, int64(len(s.data)), total)
	assert.Equal(t, []string{".lock", Version + "-cpu"}, names(t, root), "the archive is not kept")
	result, err = Install(t.Context(), s.options())
	require.NoError(t, err)
	assert.True(t, result.AlreadyInstalled)
	assert.EqualValues(t, 1, s.requests.Load())
}

func TestDownloadGoesOnAfterACut(t *testing.T) {
	newCache(t)
	s := serve(t, goodWheel(t))
	s.before = func(number int32, w http.ResponseWriter, _ *http.Request) bool {
		if number == 1 {
			s.cut(w, 1<<20)
		}
		return false
	}
	_, err := Install(t.Context(), s.options())
	require.NoError(t, err)
	require.Len(t, s.ranges, 2)
	assert.Regexp(t, `^bytes=[1-9]\d*-$`, s.ranges[1])
}

func TestDownloadGoesOnInALaterInstall(t *testing.T) {
	root := newCache(t)
	s := serve(t, goodWheel(t))
	o := s.options()
	ctx, cancel := context.WithCancel(t.Context())
	s.before = func(number int32, w http.ResponseWriter, r *http.Request) bool {
		if number != 1 {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(s.data)))
		_, _ = w.Write(s.data[:2<<20])
		w.(http.Flusher).Flush()
		time.Sleep(50 * time.Millisecond)
		cancel()
		<-r.Context().Done()
		return true
	}
	_, err := Install(ctx, o)
	assert.ErrorIs(t, err, context.Canceled)
	assert.Len(t, names(t, root), 3, "lock, part and tag")
	_, err = Install(t.Context(), o)
	require.NoError(t, err)
	assert.Regexp(t, `^bytes=[1-9]\d*-$`, s.ranges[1])
	assert.Equal(t, []string{".lock", Version + "-cpu"}, names(t, root))
}

func TestDownloadStartsAgain(t *testing.T) {
	for name, change := range map[string]func(s *server, w http.ResponseWriter) bool{
		"file changed": func(s *server, w http.ResponseWriter) bool {
			w.Header().Set("ETag", `"two"`)
			return false
		},
		"ranges ignored": func(s *server, w http.ResponseWriter) bool {
			_, _ = w.Write(s.data)
			return true
		},
		"wrong range": func(s *server, w http.ResponseWriter) bool {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 5-%d/%d", len(s.data)-1, len(s.data)))
			w.WriteHeader(http.StatusPartialContent)
			return true
		},
		"not satisfiable": func(s *server, w http.ResponseWriter) bool {
			w.Header().Set("Content-Range", "bytes */5")
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			newCache(t)
			s := serve(t, goodWheel(t))
			s.before = func(number int32, w http.ResponseWriter, _ *http.Request) bool {
				switch number {
				case 1:
					s.cut(w, 1<<20)
				case 2:
					return change(s, w)
				}
				return false
			}
			_, err := Install(t.Context(), s.options())
			require.NoError(t, err)
		})
	}
}

func TestDownloadWithoutTagIsNotContinued(t *testing.T) {
	for _, tag := range []string{"", `W/"weak"`} {
		newCache(t)
		s := serve(t, goodWheel(t))
		s.tag = tag
		s.before = func(number int32, w http.ResponseWriter, _ *http.Request) bool {
			if number == 1 {
				s.cut(w, 1<<20)
			}
			return false
		}
		_, err := Install(t.Context(), s.options())
		require.NoError(t, err)
		assert.Equal(t, []string{"", ""}, s.ranges)
	}
}

func TestCompleteDownloadIsNotRepeated(t *testing.T) {
	root := newCache(t)
	s := serve(t, goodWheel(t))
	_, err := download(t.Context(), s.options().URL, func() string {
		require.NoError(t, os.MkdirAll(root, 0o755))
		return root
	}(), func(int64, int64) {})
	require.NoError(t, err)
	_, err = Install(t.Context(), s.options())
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintf("bytes=%d-", len(s.data)), s.ranges[1])
}

func TestDownloadErrors(t *testing.T) {
	root := newCache(t)
	s := serve(t, goodWheel(t))
	s.before = func(_ int32, w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "no", http.StatusNotFound)
		return true
	}
	_, err := Install(t.Context(), s.options())
	assert.ErrorIs(t, err, ErrDownload)
	assert.ErrorContains(t, err, "404")
	assert.EqualValues(t, 1, s.requests.Load(), "asking again does not help")

	s.before = func(number int32, w http.ResponseWriter, _ *http.Request) bool {
		if number == 2 {
			http.Error(w, "later", http.StatusServiceUnavailable)
		}
		return number == 2
	}
	_, err = Install(t.Context(), s.options())
	require.NoError(t, err)

	s.before = func(_ int32, w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Length", fmt.Sprint(int64(3)<<30))
		w.WriteHeader(http.StatusOK)
		return true
	}
	o := s.options()
	o.Force = true
	_, err = Install(t.Context(), o)
	assert.ErrorIs(t, err, ErrDownload)
	assert.ErrorContains(t, err, "more than")

	// Wrong content is not kept for the next try.
	s.before = nil
	o.SHA256 = sumOf(nil)
	_, err = Install(t.Context(), o)
	assert.ErrorIs(t, err, ErrChecksum)
	assert.Equal(t, []string{".lock", Version + "-cpu"}, names(t, root))

	for _, bad := range []string{"ftp://a/b", "/a/b", "http://", "::", "file:///etc/passwd"} {
		_, err = Install(t.Context(), Options{URL: bad, SkipChecksum: true})
		assert.ErrorIs(t, err, ErrDownload, bad)
	}
}

func TestPasswordIsNotShown(t *testing.T) {
	newCache(t)
	s := serve(t, nil)
	s.before = func(_ int32, w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "no", http.StatusForbidden)
		return true
	}
	_, err := Install(t.Context(), Options{URL: "http://user:secret@" + s.Listener.Addr().String() + "/x",
		SkipChecksum: true})
	assert.ErrorIs(t, err, ErrDownload)
	assert.NotContains(t, err.Error(), "secret")
}

// fakePip puts a python3 into an otherwise empty PATH. Its pip is the shell
// script.
func fakePip(t *testing.T, script string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the fake pip is a shell script")
	}
	dir := t.TempDir()
	text := "#!/bin/sh\nPATH=/usr/bin:/bin\n" +
		`[ "$1 $2" = "-m pip" ] && shift 2` + "\n" +
		`if [ "$1" = --version ]; then echo "pip 99"; exit; fi` + "\n" +
		`for a; do case $a in --dest=*) dest=${a#--dest=};; esac; done` + "\n" + script + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "python3"), []byte(text), 0o755))
	t.Setenv("PATH", dir)
}

func TestPip(t *testing.T) {
	root := newCache(t)
	data := goodWheel(t)
	file := write(t, data)
	log := filepath.Join(t.TempDir(), "log")
	fakePip(t, fmt.Sprintf(`echo "$@" >%s; cp %s "$TMPDIR/x"; sleep 0.6; mv "$TMPDIR/x" "$dest/tensorflow_cpu.whl"`,
		log, file))
	var seen int64
	o := Options{wheel: &wheel{"tensorflow-cpu", "manylinux_2_27_x86_64", sumOf(data), int64(len(data)), ""},
		Progress: func(stage string, done, total int64) {
			if stage == StageDownload {
				seen = max(seen, done)
				assert.Equal(t, int64(len(data)), total)
			}
		}}
	result, err := Install(t.Context(), o)
	require.NoError(t, err)
	assert.Equal(t, "tensorflow_cpu.whl", result.Manifest.Source)
	assert.Equal(t, int64(len(data)), seen)
	arguments, err := os.ReadFile(log)
	require.NoError(t, err)
	assert.Contains(t,
		string(
			arguments), "download --no-deps --only-binary=:all: --implementation=cp --python-version=3.12 --abi=cp312 --platform=manylinux_2_27_x86_64 --dest=")
	assert.Contains(t, string(arguments), "tensorflow-cpu=="+Version)
	assert.Equal(t, []string{".lock", Version + "-cpu"}, names(t, root))
	t.Setenv("PATH", "")
	result, err = Install(t.Context(), o)
	require.NoError(t, err)
	assert.True(t, result.AlreadyInstalled, "without pip")
}

func TestPipFails(t *testing.T) {
	root := newCache(t)
	o := Options{wheel: &wheel{project: "tensorflow-cpu", sha256: sumOf(nil)}}
	fakePip(t, `echo "ERROR: No matching distribution found" >&2; echo "hint: new pip" >&2; exit 1`)
	_, err := Install(t.Context(), o)
	assert.ErrorIs(t, err, ErrPip)
	assert.ErrorContains(t, err, "No matching distribution found")

	fakePip(t, `true`)
	_, err = Install(t.Context(), o)
	assert.ErrorIs(t, err, ErrPip)
	assert.ErrorContains(t, err, "0 wheels")

	fakePip(t, fmt.Sprintf(`cp %s "$dest/a.whl"`, write(t, goodWheel(t))))
	_, err = Install(t.Context(), o)
	assert.ErrorIs(t, err, ErrChecksum)

	t.Setenv("PATH", t.TempDir())
	_, err = Install(t.Context(), o)
	assert.ErrorIs(t, err, ErrPip)
	assert.ErrorContains(t, err, "as a file or URL")
	assert.ErrorContains(t, err, "python3 -m pip")
	_, err = Install(t.Context(), Options{wheel: o.wheel, Python: "/nonexistent/python"})
	assert.ErrorIs(t, err, ErrPip)
	assert.Equal(t, []string{".lock"}, names(t, root))
}

func TestPipIsCancelled(t *testing.T) {
	root := newCache(t)
	fakePip(t, `exec sleep 60`)
	ctx, cancel := context.WithCancel(t.Context())
	start := time.Now()
	_, err := Install(ctx, Options{wheel: &wheel{project: "p", sha256: sumOf(nil)}, Progress: func(string, int64, int64) {
		cancel()
	}})
	assert.ErrorIs(t, err, context.Canceled)
	assert.Less(t, time.Since(start), 30*time.Second)
	assert.Equal(t, []string{".lock"}, names(t, root))
}

// The pinned wheels are complete entries, and the platforms that have a GPU
// build have a CPU build as well.
func TestPinnedWheels(t *testing.T) {
	for key, w := range wheels {
		assert.Len(t, w.sha256, 64, key)
		assert.NotEmpty(t, w.project, key)
		assert.NotEmpty(t, w.platform, key)
	}
	_, err := Options{platform: "linux/amd64", GPU: true}.pinned()
	assert.NoError(t, err)
}

// TestRealWheel installs the real wheel through pip.
func TestRealWheel(t *testing.T) {
	if os.Getenv("TFCONVRNN_TEST_DOWNLOAD") != "1" {
		t.Skip("downloads 270 MB; set TFCONVRNN_TEST_DOWNLOAD=1 to run it")
	}
	newCache(t)
	result, err := Install(t.Context(), Options{})
	require.NoError(t, err)
	assert.True(t, result.Manifest.Verified)
	_, err = Verify(t.Context(), result.Dir)
	require.NoError(t, err)
}
