package serving

import (
	"log/slog"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// Each device of the models computes a run, and all give what one of them gives.
func TestSeveralDevices(t *testing.T) {
	loaded(t)
	t.Setenv("TFCONVRNN_SIMULATED_GPUS", "2")
	model, err := tfconvrnn.Load(testModel, tfconvrnn.WithWeights("seeded:1"), tfconvrnn.WithStore(t.TempDir()),
		tfconvrnn.WithDevices(tfconvrnn.GPU(0), tfconvrnn.GPU(1)))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, model.Close()) })
	var mu sync.Mutex
	used := map[int]int{}
	s, err := New([]string{testModel}, Options{AtOnce: 2, MaxBatch: 1, Log: slog.New(slog.DiscardHandler),
		Trace: func(span tfconvrnn.Span) {
			if span.Stage == tfconvrnn.StageSession {
				mu.Lock()
				used[span.Session]++
				mu.Unlock()
			}
		}})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	require.NoError(t, s.Add(t.Context(), model))
	p := readoutPlan(t, s, "conv5")
	pixels := randomPixels(1, 3)
	stimuli, err := tfconvrnn.FromUint8(pixels)
	require.NoError(t, err)
	want, err := model.Extract(t.Context(), stimuli, tfconvrnn.Layers("conv5"), tfconvrnn.Logits(), tfconvrnn.BatchSize(1),
		tfconvrnn.OnDevice(1))
	require.NoError(t, err)
	// Two devices are held, so that as many runs begin when they are free.
	first, second := held(s), held(s)
	var waiting []func() (*result, error)
	for range 6 {
		waiting = append(waiting, computing(t.Context(), t, s, p, pixels))
	}
	eventuallyWaiting(t, s, 6)
	first()
	second()
	for _, wait := range waiting {
		r, err := wait()
		require.NoError(t, err)
		assert.Equal(t, want.Layers[0].Data, r.layers[0])
		assert.Equal(t, want.Logits, r.logits)
	}
	mu.Lock()
	assert.Equal(t, 6, used[0]+used[1])
	assert.Positive(t, used[0])
	assert.Positive(t, used[1])
	mu.Unlock()

	require.ErrorIs(t, emptyService(t, Options{AtOnce: 3}).Add(t.Context(), model), tfconvrnn.ErrOption)
	_, err = model.Plan(tfconvrnn.OnDevice(2))
	require.ErrorIs(t, err, tfconvrnn.ErrOption)
}
