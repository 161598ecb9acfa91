package extraction

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The rate is that of the time in which somebody computed: a night between two bursts of
// work does not count, and two workers beside each other are twice as fast.
func TestRateLeavesPausesOut(t *testing.T) {
	dir := fastFolder(t)
	request := testRequest(writeStimuli(t, dir, 60, false), filepath.Join(dir, "x.zarr"), 2)
	request.ChunkStimuli = 2
	p := created(t, request)
	require.NoError(t, p.Begin(t.Context(), false))
	record := func(chunk int, begin, end float64) {
		text, err := json.Marshal(&ChunkRecord{Plan: p.Hash(), Chunk: chunk, Stimuli: 2, Seconds: end - begin})
		require.NoError(t, err)
		require.NoError(t, p.place.work.Put(t.Context(), recordName(chunk), text))
		at := time.Unix(1_700_000_000, 0).Add(time.Duration(end * float64(time.Second)))
		require.NoError(t, os.Chtimes(filepath.Join(p.place.work.String(), recordName(chunk)), at, at))
	}
	rate := func() float64 {
		s, err := p.Status(t.Context(), false)
		require.NoError(t, err)
		assert.InDelta(t, float64(s.Stimuli-s.StimuliDone)/max(s.StimuliPerSecond, 1e-9), s.SecondsLeft, 1e-6*s.SecondsLeft)
		return s.StimuliPerSecond
	}
	for i := range 5 {
		record(i, float64(i), float64(i+1))
	}
	assert.InDelta(t, 2, rate(), 1e-6)
	const night = 30_000
	for i := range 5 {
		record(10+i, night+float64(i), night+float64(i+1))
	}
	assert.InDelta(t, 2, rate(), 1e-6)
	for i := range 10 { // two workers, half a second apart
		record(20+i, 2*night+float64(i/2)+0.5*float64(i%2), 2*night+float64(i/2+1)+0.5*float64(i%2))
	}
	assert.InDelta(t, 40/(10+5.5), rate(), 1e-6)
	// A record of another plan is neither done nor fast.
	text, err := json.Marshal(&ChunkRecord{Plan: "other", Chunk: 7, Stimuli: 2, Seconds: 1e-3})
	require.NoError(t, err)
	require.NoError(t, p.place.work.Put(t.Context(), recordName(7), text))
	_, err = p.Record(t.Context(), 7)
	assert.ErrorIs(t, err, errCorrupt)
	assert.InDelta(t, 40/(10+5.5), rate(), 1e-6)
}

// Planning that is cancelled says so, whenever it happens, and leaves nothing.
func TestPlanningIsCancelled(t *testing.T) {
	dir := t.TempDir()
	table := writeStimuli(t, dir, 5*frameRows, false)
	for stop := -1; stop < 4; stop++ {
		ctx, cancel := context.WithCancel(t.Context())
		request := testRequest(table, filepath.Join(dir, "x.zarr"), 4)
		frames := 0
		request.Progress = func(int) {
			if frames == stop {
				cancel()
			}
			frames++
		}
		if stop < 0 {
			cancel()
		}
		name := filepath.Join(dir, "p.plan")
		assert.ErrorIs(t, Create(ctx, name, request, false), context.Canceled, "at frame %d", stop)
		assert.NoFileExists(t, name)
		left, err := filepath.Glob(filepath.Join(dir, ".*"))
		require.NoError(t, err)
		assert.Empty(t, left)
		cancel()
	}
}

// Missing leaves out what is written.
func TestMissing(t *testing.T) {
	dir := fastFolder(t)
	request := testRequest(writeStimuli(t, dir, 20, false), filepath.Join(dir, "x.zarr"), 2)
	request.ChunkStimuli = 2
	p := created(t, request)
	require.NoError(t, p.Begin(t.Context(), false))
	require.NoError(t, p.newWorker(WorkerOptions{}, fakeEngine(p, func() {})).Work(t.Context(), chunkRange(3, 5), nil))
	for _, c := range []struct {
		first, end int
		want       []int
	}{{0, 10, []int{0, 1, 2, 5, 6, 7, 8, 9}}, {2, 6, []int{2, 5}}, {3, 5, nil}, {8, 99, []int{8, 9}}} {
		got, err := p.Missing(t.Context(), c.first, c.end)
		require.NoError(t, err)
		assert.Equal(t, c.want, got)
	}
}
