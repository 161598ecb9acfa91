package savedmodels

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
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

	"github.com/tfconvrnn/go/internal/checkpointserver"
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
	assert.ErrorIs(t, err, ErrDownloadOptions)
	assert.ErrorContains(t, err, "cannot be discarded")
}

func TestDownloadOptions(t *testing.T) {
	for _, models := range [][]string{nil, {one, one}} {
		_, err := newPlace(t, published, models...).download(t)
		assert.ErrorIs(t, err, ErrDownloadOptions)
	}
	_, err := newPlace(t, published, "nonesuch").download(t)
	assert.ErrorIs(t, err, ErrUnknownModel)
	p := newPlace(t, published, one)
	p.options.Parallel = -1
	_, err = p.download(t)
	assert.ErrorIs(t, err, ErrDownloadOptions)
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

	for _, bad := range []string{"x", "00  a", strings.Repeat("0", 64) + " a", strings.Repeat("0", 64) + "  a\n" +
		strings.Repeat("1", 64) + "  a"} {
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
	require.NoError(t, filepath.WalkDir(filepath.Dir(place.checkpoints),
		func(path string, entry os.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(path)
			assert.False(t, bytes.Contains(data, []byte("hunter2")), path)
			return err
		}))
	for _, from := range []string{
		secret + "/nothing-here", "ftp://user:hunter2@example.org/x", "https://user:hunter2%zz@example.org",
		"user:hunter2@example.org:/x",
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
	command := startChild(t, "http://weights.invalid", root, []string{one}, "HTTP_PROXY="+proxy.URL, "http_proxy="+
		proxy.URL, "NO_PROXY=", "no_proxy=")
	require.NoError(t, command.Wait())
	assert.GreaterOrEqual(t, seen.Load(), int32(2))
}
