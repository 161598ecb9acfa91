package extraction

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/storage"
	"github.com/tfconvrnn/go/stimuli"
)

// FuzzPlan opens plan files with made-up recipes and stimuli, as a worker would that
// was given one by a stranger: errors, no panic, and no allocation beyond what
// maxFrameBytes lets a file ask for.
func FuzzPlan(f *testing.F) {
	dir := f.TempDir()
	name := filepath.Join(dir, "seed.plan")
	require.NoError(f, Create(f.Context(), name, testRequest(writeStimuli(f, dir, 9, true), filepath.Join(dir, "x.zarr"),
		4), false))
	seed, err := openPlan(f.Context(), name)
	require.NoError(f, err)
	records, err := seed.frame(0)
	require.NoError(f, err)
	recipe, err := seed.frame(1)
	require.NoError(f, err)
	require.NoError(f, seed.Close())
	f.Add(recipe, records)
	// What a fuzzer takes long to find: numbers of other sizes.
	var fields map[string]any
	require.NoError(f, json.Unmarshal(recipe, &fields))
	for key, value := range fields {
		if _, ok := value.(float64); !ok {
			continue
		}
		for _, n := range []int64{-1, 0, 1 << 31, 1 << 40, math.MaxInt64} {
			fields[key] = n
			text, err := json.Marshal(fields)
			require.NoError(f, err)
			f.Add(text, records)
		}
		fields[key] = value
	}
	for _, width := range []int64{-1, 1 << 31, 1 << 40, math.MaxInt64} {
		fields["columns"].([]any)[0].(map[string]any)["width"] = width
		text, err := json.Marshal(fields)
		require.NoError(f, err)
		f.Add(text, records)
	}
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, recipe, records []byte) {
		var r Recipe
		if json.Unmarshal(recipe, &r) == nil && storage.IsRemote(r.Output) {
			t.Skip("would reach for the network")
		}
		name := filepath.Join(t.TempDir(), "fuzz.plan")
		file, err := os.Create(name)
		require.NoError(t, err)
		defer file.Close()
		w, err := newFrameWriter(file)
		require.NoError(t, err)
		require.NoError(t, w.frame(encoder.EncodeAll(records, nil), len(records)))
		require.NoError(t, w.finish(recipe, encoder))

		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		p, err := Open(t.Context(), name)
		if err == nil {
			defer p.Close()
			first, end := p.Rows(p.Chunks() - 1)
			assert.Less(t, first, end)
			assert.Equal(t, p.Stimuli, end)
			assert.GreaterOrEqual(t, p.Size(), int64(0))
			_, end, err = p.Shard(1, 2)
			assert.NoError(t, err)
			assert.Equal(t, p.Chunks(), end)
			_ = p.records().each(t.Context(), 0, min(p.Stimuli, frameRows), func(*stimuli.Record) error { return nil })
			_, _ = p.LoadOptions()
		}
		runtime.ReadMemStats(&after)
		assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4*maxFrameBytes))
	})
}
