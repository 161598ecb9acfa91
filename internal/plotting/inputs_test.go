package plotting

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
)

// borrowed hands out the same slice again and again, and counts.
type borrowed struct {
	buffer []float32
	reads  int
}

func (b *borrowed) row(stimulus int) ([]float32, error) {
	b.reads++
	for i := range b.buffer {
		b.buffer[i] = float32((i*7+stimulus*13)%29) - 9
	}
	return b.buffer, nil
}

func TestRowsAreReadOneAtATime(t *testing.T) {
	const stimuli = 3000
	reader := &borrowed{buffer: make([]float32, 4*8*8*16)}
	l := &Layer{Name: "conv1", Shape: []int{8, 8, 16}, Timesteps: []int{0, 1, 2, 3},
		Milliseconds: []float64{0, 10, 20, 30},
		Driven:       []bool{true, true, true, true}, rows: reader}
	s := &Source{path: "x", stimuli: make([]string, stimuli), layers: []*Layer{l}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Dynamics(t.Context(), s, Options{})
	require.NoError(t, err)
	runtime.ReadMemStats(&after)
	assert.Equal(t, stimuli, reader.reads)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20), "bytes; all rows together have 49 MB")
	reader.reads = 0
	f, err := RDMs(t.Context(), s, Options{MaxStimuli: 20})
	require.NoError(t, err)
	assert.Equal(t, 21, reader.reads)
	assert.Contains(t, f.Caption, "20 of 3000 stimuli, evenly spaced")
}

func TestCancelling(t *testing.T) {
	s := npz(t, madeUp(3), nil)
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	animation, err := Animate(ctx, s, Options{})
	require.NoError(t, err)
	cancel(stopped)
	for name, f := range figureKinds {
		_, err := f(ctx, s, Options{})
		assert.ErrorIs(t, err, stopped, name)
	}
	_, err = Animate(ctx, s, Options{})
	assert.ErrorIs(t, err, stopped)
	assert.ErrorIs(t, animation.WriteGIF(ctx, io.Discard, 72), stopped)
	assert.ErrorIs(t, NewPage(s, nil, []*Animation{animation}).Write(ctx, io.Discard, 72), stopped)
}

func TestUnsupportedInputs(t *testing.T) {
	dir := t.TempDir()
	layout := madeUp(2)
	text := filepath.Join(dir, "text.npz")
	require.NoError(t, os.WriteFile(text, []byte("hello"), 0o644))
	empty := filepath.Join(dir, "empty")
	require.NoError(t, os.Mkdir(empty, 0o755))
	nothing := *layout
	nothing.Streamed = layout.Streamed[3:]
	for name, c := range map[string]struct {
		path    string
		err     error
		message string
	}{
		"missing":      {filepath.Join(dir, "none.npz"), os.ErrNotExist, "none.npz"},
		"text":         {text, features.ErrFormat, "no output of features"},
		"empty folder": {empty, features.ErrFormat, "no output of features"},
		"no layers": {write(t, filepath.Join(dir, "l.npz"), features.NPZ, &nothing, features.Options{}, nil),
			ErrUnsupported, "no layer"},
		"no zarr layers": {write(t, filepath.Join(dir, "l.zarr"), features.Zarr, &nothing, features.Options{}, nil),
			ErrUnsupported, "no layer"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(c.path)
			require.ErrorIs(t, err, c.err)
			assert.ErrorContains(t, err, c.message)
		})
	}
}

func TestDamagedZarr(t *testing.T) {
	layout := madeUp(4)
	edit := func(name string, change func(m map[string]any)) func(t *testing.T, root string) {
		return func(t *testing.T, root string) {
			path := filepath.Join(root, name)
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			var m map[string]any
			require.NoError(t, json.Unmarshal(text, &m))
			change(m)
			text, err = json.Marshal(m)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, text, 0o644))
		}
	}
	set := func(name, key string, value any) func(t *testing.T, root string) {
		return edit(name, func(m map[string]any) { m[key] = value })
	}
	remove := func(name string) func(t *testing.T, root string) {
		return func(t *testing.T, root string) { require.NoError(t, os.RemoveAll(filepath.Join(root, name))) }
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, root string)
		err    error
	}{
		"chunk missing": {remove("conv9/1.0.0.0.0"), features.ErrFormat},
		"chunk cut": {func(t *testing.T, root string) {
			require.NoError(t, os.Truncate(filepath.Join(root, "conv9/0.0.0.0.0"), 100))
		}, features.ErrFormat},
		"chunk empty": {func(t *testing.T, root string) {
			require.NoError(t, os.Truncate(filepath.Join(root, "conv9/0.0.0.0.0"), 0))
		}, features.ErrFormat},
		"no JSON": {func(t *testing.T, root string) {
			require.NoError(t, os.Truncate(filepath.Join(root, "conv9/.zarray"), 10))
		}, features.ErrFormat},
		"order":      {set("conv9/.zarray", "order", "F"), features.ErrFormat},
		"version":    {set("conv9/.zarray", "zarr_format", 3), features.ErrFormat},
		"compressor": {set("conv9/.zarray", "compressor", map[string]any{"id": "blosc"}), features.ErrFormat},
		"filter": {set("conv9/.zarray", "filters", []any{map[string]any{"id": "delta", "elementsize": 4}}),
			features.ErrFormat},
		"filter size": {set("conv9/.zarray", "filters", []any{map[string]any{"id": "shuffle", "elementsize": 3}}),
			features.ErrFormat},
		"type":     {set("conv9/.zarray", "dtype", "<c8"), features.ErrFormat},
		"integers": {set("conv9/.zarray", "dtype", "<i4"), features.ErrDataType},
		"chunks":   {set("conv9/.zarray", "chunks", []int{2, 5, 4, 2, 6}), features.ErrFormat},
		"negative": {set("conv9/.zarray", "shape", []int{-4, 5, 4, 4, 6}), features.ErrFormat},
		"zero":     {set("conv9/.zarray", "chunks", []int{0, 5, 4, 4, 6}), features.ErrFormat},
		"rank":     {set("conv9/.zarray", "shape", []int{4}), features.ErrFormat},
		"overflow": {edit("conv9/.zarray", func(m map[string]any) {
			m["shape"], m["chunks"] = []int{4, 1 << 40, 1 << 40, 4, 6}, []int{2, 1 << 40, 1 << 40, 4, 6}
		}), features.ErrFormat},
		"larger than it": {edit("conv9/.zarray", func(m map[string]any) {
			m["shape"], m["chunks"] = []int{4, 5, 4, 4, 1 << 20}, []int{2, 5, 4, 4, 1 << 20}
		}), features.ErrFormat},
		"more timesteps": {edit("conv9/.zarray", func(m map[string]any) {
			m["shape"], m["chunks"] = []int{4, 10, 4, 4, 3}, []int{2, 10, 4, 4, 3}
		}), features.ErrFormat},
		"more stimuli": {set("conv9/.zarray", "shape", []int{1 << 40, 5, 4, 4, 6}), features.ErrFormat},
		"no timesteps": {remove("conv9_timestep"), features.ErrFormat},
		"text timesteps": {edit("conv9/.zattrs", func(m map[string]any) {
			m["_ARRAY_DIMENSIONS"] = []string{"presentation", "stimulus_id", "a", "b", "c"}
		}), features.ErrDataType},
		"falling": {edit("conv9/.zattrs", func(m map[string]any) {
			m["_ARRAY_DIMENSIONS"] = []string{"presentation", "conv9_driven", "a", "b", "c"}
		}), features.ErrFormat},
		"attributes": {func(t *testing.T, root string) {
			require.NoError(t, os.WriteFile(filepath.Join(root, ".zattrs"), []byte("]"), 0o644))
		}, features.ErrFormat},
		"wide characters": {set("stimulus_id/.zarray", "dtype", "<U99999999"), features.ErrFormat},
	} {
		t.Run(name, func(t *testing.T) {
			root := write(t, filepath.Join(t.TempDir(), "x.zarr"), features.Zarr, layout, features.Options{ChunkRows: 2}, nil)
			c.damage(t, root)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			s, err := Open(root)
			if err == nil {
				defer s.Close()
				_, err = Dynamics(t.Context(), s, Options{})
				require.Error(t, err)
				_, rdmErr := RDMs(t.Context(), s, Options{})
				require.ErrorIs(t, rdmErr, c.err)
			}
			runtime.ReadMemStats(&after)
			require.ErrorIs(t, err, c.err)
			assert.ErrorContains(t, err, root)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20), "bytes for a few KB of input")
		})
	}
}

// TestMutatedInputs changes bytes of outputs at random: errors are fine, panics are
// not.
func TestMutatedInputs(t *testing.T) {
	layout := madeUp(3)
	layout.Streamed[2].RowShape = []int{3, 20}
	layout.Streamed = layout.Streamed[:3]
	dir := t.TempDir()
	archive := write(t, filepath.Join(dir, "x.npz"), features.NPZ, layout, features.Options{}, nil)
	store := write(t, filepath.Join(dir, "x.zarr"), features.Zarr, layout, features.Options{ChunkRows: 2}, nil)
	files := map[string]string{archive: archive}
	require.NoError(t, filepath.WalkDir(store, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files[path] = store
		}
		return err
	}))
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	random := rand.New(rand.NewPCG(1, 2))
	failed := 0
	for range 200 {
		name := names[random.IntN(len(names))]
		original, err := os.ReadFile(name)
		require.NoError(t, err)
		changed := bytes.Clone(original)
		for range 1 + random.IntN(3) {
			changed[random.IntN(len(changed))] = byte(random.IntN(256))
		}
		if random.IntN(4) == 0 {
			changed = changed[:random.IntN(len(changed))]
		}
		require.NoError(t, os.WriteFile(name, changed, 0o644))
		s, err := Open(files[name])
		if err == nil {
			for _, f := range figureKinds {
				if figure, drawErr := f(t.Context(), s, Options{}); drawErr != nil {
					err = drawErr
				} else {
					_ = figure.WriteSVG(io.Discard)
				}
			}
			s.Close()
		}
		if err != nil {
			failed++
		}
		require.NoError(t, os.WriteFile(name, original, 0o644))
	}
	assert.Positive(t, failed)
	_, err := Open(archive)
	assert.NoError(t, err)
}
