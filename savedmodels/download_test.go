package savedmodels

import (
	"bytes"
	"context"
	"crypto/md5"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/internal/bundle"
	"github.com/tfconvrnn/go/internal/checkpointserver"
	"github.com/tfconvrnn/go/internal/disk"
	"github.com/tfconvrnn/go/internal/fetchfile"
	"github.com/tfconvrnn/go/internal/weights"
	"github.com/tfconvrnn/go/internal/zoo"
)

// small are the models of the smallest checkpoints.
var small = []string{"timedecay_shallow", "simplernn_shallow", "rgc_intermediate", "timedecay_intermediate"}

const one = "timedecay_shallow"

// published holds the seeded checkpoints that tests serve.
var published string

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	os.Exit(func() int {
		var err error
		if published, err = os.MkdirTemp("", "published"); err != nil {
			panic(err)
		}
		defer os.RemoveAll(published)
		for _, model := range small {
			if err := checkpointserver.WriteSeeded(published, model, 1); err != nil {
				panic(err)
			}
		}
		return m.Run()
	}())
}

// place is where a test downloads to.
type place struct {
	store       *Store
	checkpoints string
	options     DownloadOptions
}

func newPlace(t *testing.T, from string, models ...string) *place {
	root := t.TempDir()
	store, err := Open(filepath.Join(root, "store"))
	require.NoError(t, err)
	p := &place{store: store, checkpoints: filepath.Join(root, "checkpoints")}
	p.options = DownloadOptions{
		Models: models, From: from, Checkpoints: p.checkpoints,
		fetch: fetchfile.Options{Pause: time.Millisecond, StallTimeout: 20 * time.Second, Tries: 4},
	}
	return p
}

func (p *place) download(t *testing.T) ([]Downloaded, error) {
	return p.store.Download(t.Context(), p.options)
}

// hashes holds the weights' hashes of the seeded models.
var hashes sync.Map

func seededHash(t testing.TB, model string) string {
	if sum, ok := hashes.Load(model); ok {
		return sum.(string)
	}
	variables := zoo.Lookup(model).Variables()
	sum, err := weights.SHA256(weights.Seeded(1, variables), variables)
	require.NoError(t, err)
	hashes.Store(model, sum)
	return sum
}

// requireWhole requires that whatever of the models is installed is whole and
// right, and returns the models whose checkpoint and SavedModel are there.
func (p *place) requireWhole(t testing.TB) (checkpoints, savedModels []string) {
	t.Helper()
	for _, model := range small {
		dir := filepath.Join(p.checkpoints, model)
		if _, err := os.Stat(filepath.Join(dir, indexName)); err == nil {
			_, _, err := verifyCheckpoint(context.Background(), model, dir, nil)
			require.NoError(t, err)
			checkpoints = append(checkpoints, model)
		}
	}
	list, err := p.store.List()
	require.NoError(t, err)
	for _, m := range list {
		require.NoError(t, m.Manifest.Verify(m.Dir))
		require.Equal(t, seededHash(t, m.Manifest.Model), m.Manifest.Weights.SHA256)
		savedModels = append(savedModels, m.Manifest.Model)
	}
	return checkpoints, savedModels
}

// requireNothing requires that nothing is installed, and nothing is left over but,
// where partial is true, what the next try goes on with.
func (p *place) requireNothing(t testing.TB, partial bool) {
	t.Helper()
	checkpoints, savedModels := p.requireWhole(t)
	require.Empty(t, checkpoints)
	require.Empty(t, savedModels)
	_ = filepath.WalkDir(p.checkpoints, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && filepath.Ext(path) != ".lock" {
			require.True(t, partial && strings.HasSuffix(filepath.Dir(path), partialSuffix), path)
		}
		return nil
	})
}

func read(t testing.TB, model, name string) []byte {
	data, err := os.ReadFile(filepath.Join(published, model, name))
	require.NoError(t, err)
	return data
}

func TestDownload(t *testing.T) {
	server := checkpointserver.New(published)
	defer server.Close()
	p := newPlace(t, server.URL, small...)
	var last DownloadProgress
	stages := map[string]bool{}
	p.options.Progress = func(now DownloadProgress) {
		assert.GreaterOrEqual(t, now.AllDone, last.AllDone)
		last = now
		stages[now.Stage] = true
	}
	results, err := p.download(t)
	require.NoError(t, err)
	require.Len(t, results, len(small))
	checkpoints, savedModels := p.requireWhole(t)
	assert.Equal(t, small, checkpoints)
	assert.ElementsMatch(t, small, savedModels)
	assert.Equal(t, last.AllTotal, last.AllDone)
	for _, stage := range []string{StageDownload, StageVerify, StageConvert, StageDone} {
		assert.True(t, stages[stage], stage)
	}
	for _, r := range results {
		assert.False(t, r.Already)
		assert.Empty(t, r.Notes)
		assert.Equal(t, filepath.Join(p.checkpoints, r.Model, CheckpointName), r.Prefix)
		assert.Equal(t, seededHash(t, r.Model), r.SavedModel.Manifest.Weights.SHA256)
	}
	// The lock file is one of sha256sum.
	command := exec.Command("sha256sum", "--check", "--quiet", LockFileName)
	command.Dir = p.checkpoints
	if output, err := command.CombinedOutput(); err != nil {
		if _, missing := exec.LookPath("sha256sum"); missing == nil {
			t.Errorf("%s", output)
		}
	}
	text, err := os.ReadFile(filepath.Join(p.checkpoints, LockFileName))
	require.NoError(t, err)
	assert.Equal(t, 2*len(small), strings.Count(string(text), "\n"))

	before := len(server.Requests())
	last = DownloadProgress{}
	results, err = p.download(t)
	require.NoError(t, err)
	for _, r := range results {
		assert.True(t, r.Already)
	}
	assert.Len(t, server.Requests(), before, "what is there is not asked for")
}

func TestDownloadFromDirectory(t *testing.T) {
	for _, from := range []string{published, "file://" + published} {
		p := newPlace(t, from, one)
		_, err := p.download(t)
		require.NoError(t, err)
		_, savedModels := p.requireWhole(t)
		assert.Equal(t, []string{one}, savedModels)
	}
	p := newPlace(t, published, "gru_shallow")
	_, err := p.download(t)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	p.requireNothing(t, false)
	_, err = newPlace(t, filepath.Join(published, "none"), one).download(t)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = newPlace(t, "ftp://example.org", one).download(t)
	assert.ErrorContains(t, err, "neither an http or https URL nor a directory")
}

func TestDiscardedCheckpoint(t *testing.T) {
	server := checkpointserver.New(published)
	defer server.Close()
	p := newPlace(t, server.URL, one)
	t.Setenv("TFCONVRNN_CACHE", filepath.Dir(p.checkpoints))
	p.options.DiscardCheckpoint = true
	for i := range 2 {
		results, err := p.download(t)
		require.NoError(t, err)
		assert.Empty(t, results[0].Prefix)
		assert.Equal(t, i > 0, results[0].Already)
		checkpoints, savedModels := p.requireWhole(t)
		assert.Empty(t, checkpoints)
		assert.Equal(t, []string{one}, savedModels)
		found, err := p.store.Get(t.Context(), Request{Model: one})
		require.NoError(t, err)
		assert.Equal(t, results[0].SavedModel.Dir, found.Dir)
	}
	data := 0
	for _, r := range server.Requests() {
		if strings.HasPrefix(r, "GET") && strings.Contains(r, ".data") {
			data++
		}
	}
	assert.Equal(t, 1, data)
	p.options.SkipConversion = true
	_, err := p.download(t)
	assert.ErrorContains(t, err, "cannot be discarded")
}

func TestDownloadOptions(t *testing.T) {
	for _, models := range [][]string{nil, {"nonesuch"}, {one, one}} {
		_, err := newPlace(t, published, models...).download(t)
		assert.ErrorIs(t, err, ErrUnknownModel)
	}
}

func TestNoSpace(t *testing.T) {
	server := checkpointserver.New(published)
	defer server.Close()
	p := newPlace(t, server.URL, one)
	var asked int64
	p.options.space = func(dir string, need int64) error {
		asked = max(asked, need)
		return fmt.Errorf("%w in %s", ErrNoSpace, dir)
	}
	_, err := p.download(t)
	assert.ErrorIs(t, err, ErrNoSpace)
	assert.Greater(t, asked, int64(2*len(read(t, one, dataName))), "checkpoint and SavedModel")
	p.requireNothing(t, false)
	for _, r := range server.Requests() {
		assert.True(t, strings.HasPrefix(r, "HEAD"), r)
	}
}

func TestLockFile(t *testing.T) {
	t.Parallel()
	other := t.TempDir()
	require.NoError(t, checkpointserver.WriteSeeded(other, one, 2))
	p := newPlace(t, published, one)
	lock := filepath.Join(t.TempDir(), "project", "my.lock")
	p.options.Lock = lock
	_, err := p.download(t)
	require.NoError(t, err)
	text, err := os.ReadFile(lock)
	require.NoError(t, err)

	// In another place with the same lock file, other weights are refused.
	q := newPlace(t, other, one)
	q.options.Lock = lock
	_, err = q.download(t)
	assert.ErrorIs(t, err, ErrLocked)
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		assert.ErrorContains(t, err, line[:64])
	}
	q.requireNothing(t, false)
	after, err := os.ReadFile(lock)
	require.NoError(t, err)
	assert.Equal(t, string(text), string(after))
	// They are also refused where the right ones are there already.
	p.options.From, p.options.Again = other, true
	_, err = p.download(t)
	assert.ErrorIs(t, err, ErrLocked)
	checkpoints, _ := p.requireWhole(t)
	assert.Equal(t, []string{one}, checkpoints, "the old one is still there")

	q.options.UpdateLock = true
	results, err := q.download(t)
	require.NoError(t, err)
	after, err = os.ReadFile(lock)
	require.NoError(t, err)
	assert.Contains(t, string(after), results[0].SHA256[dataName])
	assert.Equal(t, 2, strings.Count(string(after), "\n"))

	for _, bad := range []string{"x", "00  a", strings.Repeat("0", 64) + " a", strings.Repeat("0", 64) + "  a\n" + strings.Repeat("1", 64) + "  a"} {
		require.NoError(t, os.WriteFile(lock, []byte(bad), 0o644))
		_, err = q.download(t)
		assert.ErrorContains(t, err, "line", bad)
	}
	require.NoError(t, os.WriteFile(lock, []byte("# comment\r\n\n"+strings.Repeat("A", 64)+"  b\n"), 0o644))
	_, err = q.download(t)
	assert.NoError(t, err)
}

func TestDamagedCheckpointIsReplaced(t *testing.T) {
	p := newPlace(t, published, one)
	_, err := p.download(t)
	require.NoError(t, err)
	path := filepath.Join(p.checkpoints, one, dataName)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	data[12345] ^= 4
	require.NoError(t, os.WriteFile(path, data, 0o644))
	results, err := p.download(t)
	require.NoError(t, err)
	assert.False(t, results[0].Already)
	assert.Len(t, results[0].Notes, 1)
	checkpoints, _ := p.requireWhole(t)
	assert.Equal(t, []string{one}, checkpoints)
}

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
		{name: "drops the first ten connections at random bytes", fault: func(s *checkpointserver.Server) checkpointserver.Fault {
			return onData(10, s.Drop(func() int { return 512<<10 + random.IntN(1<<20) }))
		}},
		{name: "drops all connections", want: ErrDownload, message: "EOF", partial: true, fault: func(s *checkpointserver.Server) checkpointserver.Fault {
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
		{name: "declares too much", want: ErrDownload, message: "EOF", partial: true, fault: always(onData(forever, checkpointserver.Raw(int64(len(data))+5, data)))},
		{name: "declares too little", want: convert.ErrCorrupt, message: "the file ends here", fault: always(onData(forever, checkpointserver.Raw(1<<20, data)))},
		{name: "declares too little once", fault: always(onData(1, checkpointserver.Raw(1<<20, data)))},
		{name: "declares far too much", want: ErrDownload, message: "more than", fault: always(onData(forever, checkpointserver.Raw(1<<50, data[:100]))), partial: true},
		{name: "403", want: ErrDownload, message: "403", fault: always(checkpointserver.Status(403)), partial: true},
		{name: "404", want: ErrDownload, message: "which must be at <URL>/<model>/", fault: always(checkpointserver.Status(404)), partial: true},
		{name: "404 for the data", want: ErrDownload, message: "404", fault: always(onData(forever, checkpointserver.Status(404))), partial: true},
		{name: "500 thrice", fault: always(onData(3, checkpointserver.Status(500)))},
		{name: "500", want: ErrDownload, message: "500", fault: always(checkpointserver.Status(500)), partial: true},
		{name: "503 twice", fault: always(onIndex(2, checkpointserver.Status(503)))},
		{name: "429 twice", fault: always(onIndex(2, checkpointserver.Status(429)))},
		{name: "drips once", fault: always(onData(1, stall))},
		{name: "drips", want: ErrDownload, message: "fewer than 4096 bytes", fault: always(onData(forever, stall)), partial: true},
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
		{name: "flips a bit", want: convert.ErrCorrupt, message: "checksum", fault: always(onData(forever, checkpointserver.Body(flipped(data, 5<<20), "")))},
		{name: "flips a bit of the index", want: convert.ErrCorrupt, message: "index", fault: always(onIndex(forever, checkpointserver.Body(flipped(index, 100), "")))},
		{name: "an ETag that looks like an MD5 and is none", notes: 1, fault: always(onData(forever, func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			w.Header().Set("ETag", `"0123456789abcdef0123456789abcdef"`)
			return false
		}))},
		{name: "an HTML page", want: convert.ErrCorrupt, message: "not a good checkpoint file", fault: always(checkpointserver.Body([]byte("<html>Log in to the hotel's network</html>"), ""))},
		{name: "redirects", fault: always(redirect("/elsewhere"))},
		{name: "redirects without end", want: ErrDownload, message: "redirected 10 times", fault: always(redirect("")), partial: true},
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

func TestOneModelDoesNotKeepOthers(t *testing.T) {
	t.Parallel()
	server := checkpointserver.New(published)
	defer server.Close()
	p := newPlace(t, server.URL, one, "gru_shallow", "simplernn_shallow")
	results, err := p.download(t)
	assert.ErrorIs(t, err, ErrDownload)
	assert.ErrorContains(t, err, "gru_shallow: ")
	require.Len(t, results, 2)
	_, savedModels := p.requireWhole(t)
	assert.ElementsMatch(t, []string{one, "simplernn_shallow"}, savedModels)
}

func TestDownloadIsCancelled(t *testing.T) {
	server := checkpointserver.New(published)
	defer server.Close()
	p := newPlace(t, server.URL, one)
	var calls atomic.Int32
	for _, stage := range []string{StageDownload, StageVerify, StageConvert} {
		ctx, cancel := context.WithCancel(t.Context())
		p.options.Progress = func(now DownloadProgress) {
			if now.Stage == stage {
				calls.Add(1)
				cancel()
			}
		}
		_, err := p.store.Download(ctx, p.options)
		assert.ErrorIs(t, err, context.Canceled, stage)
		_, savedModels := p.requireWhole(t)
		assert.Empty(t, savedModels)
	}
	assert.GreaterOrEqual(t, calls.Load(), int32(3))
	p.options.Progress = nil
	_, err := p.download(t)
	require.NoError(t, err)
	resumed := false
	for _, r := range server.Requests() {
		resumed = resumed || strings.Contains(r, dataName+" bytes=")
	}
	assert.True(t, resumed)
}

// TestDownloadAtOnce has several downloads of the same models at once.
func TestDownloadAtOnce(t *testing.T) {
	t.Parallel()
	server := checkpointserver.New(published)
	defer server.Close()
	p := newPlace(t, server.URL, one, "simplernn_shallow")
	var group sync.WaitGroup
	var fresh atomic.Int32
	for range 4 {
		group.Go(func() {
			results, err := p.download(t)
			assert.NoError(t, err)
			for _, r := range results {
				if !r.Already {
					fresh.Add(1)
				}
			}
		})
	}
	group.Wait()
	assert.EqualValues(t, 2, fresh.Load())
	checkpoints, savedModels := p.requireWhole(t)
	assert.Len(t, checkpoints, 2)
	assert.Len(t, savedModels, 2)
}

// childEnv makes the test binary download: "<from>|<root>|<models, joined by commas>".
const childEnv = "TFCONVRNN_TEST_CHILD"

func child() int {
	parts := strings.Split(os.Getenv(childEnv), "|")
	from, root, models := parts[0], parts[1], strings.Split(parts[2], ",")
	store, err := Open(filepath.Join(root, "store"))
	if err == nil {
		_, err = store.Download(context.Background(), DownloadOptions{
			Models: models, From: from, Checkpoints: filepath.Join(root, "checkpoints"),
			fetch: fetchfile.Options{Pause: time.Millisecond},
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func startChild(t *testing.T, from, root string, models []string, environment ...string) *exec.Cmd {
	executable, err := os.Executable()
	require.NoError(t, err)
	command := exec.Command(executable)
	command.Env = append(append(os.Environ(), childEnv+"="+from+"|"+root+"|"+strings.Join(models, ",")), environment...)
	command.Stderr = os.Stderr
	require.NoError(t, command.Start())
	return command
}

// TestKilled kills 30 downloads of four models at random times: whatever is there
// is whole, and in the end a download completes.
func TestKilled(t *testing.T) {
	t.Parallel()
	const kills = 30
	server := checkpointserver.New(published)
	defer server.Close()
	server.BytesPerSecond = 32 << 20
	p := newPlace(t, server.URL, small...)
	root := filepath.Dir(p.checkpoints)
	random := rand.New(rand.NewPCG(30, 6))
	states := map[string]int{}
	for range kills {
		command := startChild(t, server.URL, root, small)
		time.Sleep(time.Duration(50+random.IntN(900)) * time.Millisecond)
		require.NoError(t, command.Process.Kill())
		_ = command.Wait()
		checkpoints, savedModels := p.requireWhole(t)
		states[fmt.Sprintf("%d checkpoints, %d SavedModels", len(checkpoints), len(savedModels))]++
		if len(savedModels) == len(small) { // begin anew
			require.NoError(t, os.RemoveAll(p.checkpoints))
			require.NoError(t, os.RemoveAll(p.store.dir))
		}
	}
	t.Logf("states after %d kills: %v", kills, states)
	server.BytesPerSecond = 0
	command := startChild(t, server.URL, root, small)
	require.NoError(t, command.Wait())
	checkpoints, savedModels := p.requireWhole(t)
	assert.Equal(t, small, checkpoints)
	assert.ElementsMatch(t, small, savedModels)
	entries, err := os.ReadDir(p.checkpoints)
	require.NoError(t, err)
	for _, e := range entries {
		assert.NotContains(t, e.Name(), partialSuffix)
	}
}

// Passwords and tokens in --from get into no error, note or file.
func TestSecretsOfAddresses(t *testing.T) {
	t.Parallel()
	server := checkpointserver.New(published)
	defer server.Close()
	place := newPlace(t, server.URL, one)
	secret := strings.Replace(server.URL, "http://", "http://hunter2:hunter2@", 1)
	place.options.From = secret
	results, err := place.store.Download(t.Context(), place.options)
	require.NoError(t, err)
	assert.NotContains(t, fmt.Sprintf("%+v", results), "hunter2")
	require.NoError(t, filepath.WalkDir(filepath.Dir(place.checkpoints), func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		assert.False(t, bytes.Contains(data, []byte("hunter2")), path)
		return err
	}))
	for _, from := range []string{
		secret + "/nothing-here", "ftp://user:hunter2@example.org/x", "https://user:hunter2%zz@example.org", "user:hunter2@example.org:/x",
		"http://hunter2@unknown.invalid",
	} {
		other := newPlace(t, from, one)
		_, err := other.store.Download(t.Context(), other.options)
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "hunter2", from)
	}
}

// TestProxy downloads through the proxy that the environment names.
func TestProxy(t *testing.T) {
	t.Parallel()
	var seen atomic.Int32
	files := checkpointserver.New(published)
	defer files.Close()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host == "weights.invalid" {
			seen.Add(1)
		}
		files.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	root := t.TempDir()
	command := startChild(t, "http://weights.invalid", root, []string{one}, "HTTP_PROXY="+proxy.URL, "http_proxy="+proxy.URL, "NO_PROXY=", "no_proxy=")
	require.NoError(t, command.Wait())
	assert.GreaterOrEqual(t, seen.Load(), int32(2))
}

// TestBitFlips flips a bit at each of 1,000 random offsets of a checkpoint.
func TestBitFlips(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	prefix := filepath.Join(dir, CheckpointName)
	data, index := read(t, one, dataName), read(t, one, indexName)
	require.NoError(t, os.WriteFile(filepath.Join(dir, dataName), data, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, indexName), index, 0o644))
	lock := weightsLock{}
	sums, _, err := hashFiles(t.Context(), dir)
	require.NoError(t, err)
	for name, sum := range sums {
		lock[name] = sum
	}
	f, err := os.OpenFile(filepath.Join(dir, dataName), os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	r, err := bundle.Open(prefix)
	require.NoError(t, err)
	defer r.Close()
	random := rand.New(rand.NewPCG(1000, 6))
	inIndex, byLock := 0, 0
	for range 1000 {
		// The index is a thousandth of the checkpoint: it gets a fifth of the flips.
		if random.IntN(5) == 0 {
			inIndex++
			flipped := append([]byte(nil), index...)
			flipped[random.IntN(len(index))] ^= 1 << random.IntN(8)
			require.NoError(t, os.WriteFile(filepath.Join(dir, indexName), flipped, 0o644))
			opened, err := bundle.ReadIndex(prefix)
			if err == nil {
				err = fits(one, prefix, opened)
			}
			if err == nil {
				// No checksum in the checkpoint covers these bytes, so only the lock
				// file tells that they changed.
				byLock++
				sums, _, hashErr := hashFiles(t.Context(), dir)
				require.NoError(t, hashErr)
				err = lock.check("weights.lock", weightsLock(sums))
			}
			require.Error(t, err)
			continue
		}
		offset := random.IntN(len(data))
		bit := byte(1) << random.IntN(8)
		_, err := f.WriteAt([]byte{data[offset] ^ bit}, int64(offset))
		require.NoError(t, err)
		found := false
		for _, e := range r.Entries() {
			if int64(offset) >= e.Offset && int64(offset) < e.Offset+e.Size {
				_, err := r.ReadFloat32(e.Name)
				require.ErrorIs(t, err, convert.ErrCorrupt, "offset %d", offset)
				found = true
			}
		}
		require.True(t, found, "offset %d belongs to no tensor", offset)
		_, err = f.WriteAt([]byte{data[offset]}, int64(offset))
		require.NoError(t, err)
	}
	t.Logf("%d flips in the index, %d of them in bytes that only the lock file covers; %d in the data", inIndex, byLock, 1000-inIndex)
	require.NoError(t, r.VerifyAll(t.Context(), nil))
	_, err = manifest.Read(dir)
	assert.ErrorIs(t, err, fs.ErrNotExist)
}
