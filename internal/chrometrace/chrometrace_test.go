package chrometrace

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOverlappingSpansGetTracks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trace.json")
	require.NoError(t, os.WriteFile(path, []byte("older"), 0o600))
	w, err := Create(path, "test")
	require.NoError(t, err)
	at := func(ms int) time.Time { return w.begun.Add(time.Duration(ms) * time.Millisecond) }
	w.Span("queue", "a", at(0), at(10), nil)
	w.Span("queue", "b", at(5), at(20), map[string]any{"first": 8})
	w.Span("queue", "c", at(10), at(25), nil)
	w.Span("queue", "d", at(24), at(26), nil)
	w.Nested("run", "inner", at(2), at(4), nil)
	w.Nested("run", "outer", at(1), at(5), nil)
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "older", string(before), "it appears when it is whole")
	require.NoError(t, w.Close())
	require.NoError(t, w.Close())
	w.Span("queue", "late", at(30), at(31), nil)

	events := read(t, path)
	threads := map[string]int{}
	for _, e := range events {
		if e.Phase == "X" {
			threads[e.Name] = e.Thread
			assert.NotEqual(t, "late", e.Name)
		}
	}
	assert.Equal(t, threads["a"], threads["c"])
	assert.Equal(t, threads["b"], threads["d"])
	assert.NotEqual(t, threads["a"], threads["b"])
	assert.Equal(t, threads["inner"], threads["outer"])
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o644), info.Mode())
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, left, 1)
}

func TestConcurrentSpans(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trace.json")
	w, err := Create(path, "test")
	require.NoError(t, err)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 100 {
				begin := time.Now()
				time.Sleep(10 * time.Microsecond)
				w.Span("work", "step", begin, time.Now(), nil)
			}
		})
	}
	group.Wait()
	require.NoError(t, w.Close())
	count := 0
	for _, e := range read(t, path) {
		if e.Phase == "X" {
			count++
		}
	}
	assert.Equal(t, 800, count)
}

func TestUnwritable(t *testing.T) {
	_, err := Create(filepath.Join(t.TempDir(), "missing", "trace.json"), "test")
	assert.Error(t, err)
	_, err = Create(t.TempDir(), "test")
	assert.ErrorContains(t, err, "not a regular file")
	_, err = Create(os.DevNull, "test")
	assert.Error(t, err)
	// What makes a span unwritable shows at the end, and leaves nothing.
	dir := t.TempDir()
	w, err := Create(filepath.Join(dir, "trace.json"), "test")
	require.NoError(t, err)
	w.Span("a", "b", time.Now(), time.Now(), map[string]any{"f": func() {}})
	assert.ErrorContains(t, w.Close(), "trace.json")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left)
}

func read(t *testing.T, path string) []Event {
	t.Helper()
	events, err := Read(path)
	require.NoError(t, err)
	return events
}

func TestReadRefuses(t *testing.T) {
	const named = `{"name":"thread_name","ph":"M","pid":1,"tid":1,"args":{"name":"x"}},`
	for text, want := range map[string]string{
		`[`: "unexpected end",
		`[{"name":"a","ph":"X","pid":1,"tid":1,"ts":0,"dur":1}]`: "no name",
		`[` + named +
			`{"name":"a","ph":"X","pid":1,"tid":1,"ts":0}]`: "lacks",
		`[` + named +
			`{"name":"a","ph":"X","tid":1,"ts":0,"dur":1}]`: "lacks",
		`[` + named +
			`{"name":"a","ph":"X","pid":1,"tid":1,"ts":0,"dur":-1}]`: "negative",
		`[` + named +
			`{"name":"a","ph":"X","pid":1,"tid":1,"ts":0,"dur":9},{"name":"b","ph":"X","pid":1,"tid":1,"ts":5,"dur":9}]`: "overlap",
	} {
		path := filepath.Join(t.TempDir(), "trace.json")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		_, err := Read(path)
		assert.ErrorContains(t, err, want)
	}
}
