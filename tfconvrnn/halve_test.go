package tfconvrnn

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// chosen plans as if the size of the batch had been chosen.
func chosen(t *testing.T, m *Model, size int, options ...ExtractOption) *Extraction {
	t.Helper()
	x, err := m.Plan(options...)
	require.NoError(t, err)
	require.NotNil(t, x.halved)
	x.options.batchSize = size
	return x
}

// TestChosenBatchIsHalved has simulated GPUs find no memory: once, a batch that was chosen is halved, and what comes
// out is what half of it gives.
func TestChosenBatchIsHalved(t *testing.T) {
	t.Setenv(simulatedEnv, "1")
	model := loadTest(t, "timedecay_shallow", WithDevice("gpu"))
	stimuli := testStimuli(t, 7)
	request := append(slices.Clone(early), Logits())
	want, err := model.Extract(t.Context(), stimuli, append(slices.Clone(request), BatchSize(3))...)
	require.NoError(t, err)

	t.Setenv(simulatedBatchEnv, "3")
	_, err = model.Extract(t.Context(), stimuli, append(slices.Clone(request), BatchSize(6))...)
	require.ErrorIs(t, err, ErrMemory, "a batch that was given is not halved")
	require.ErrorContains(t, err, "gpu:0 cannot compute 6 stimuli at once")

	var told []int
	tell := OnHalved(func(from, to int, err error) {
		assert.ErrorIs(t, err, ErrMemory)
		told = append(told, from, to)
	})
	x := chosen(t, model, 6, append(slices.Clone(request), tell)...)
	got, err := x.Extract(t.Context(), stimuli)
	require.NoError(t, err)
	require.Equal(t, []int{6, 3}, told)
	require.Equal(t, 3, x.BatchSize())
	require.Equal(t, 3, got.Provenance.BatchSize)
	require.Equal(t, 6, got.Provenance.BatchHalvedFrom)
	require.Zero(t, want.Provenance.BatchHalvedFrom)
	require.Empty(t, difference(want, got), "the features are those of the smaller batches")
	again, err := x.Extract(t.Context(), stimuli)
	require.NoError(t, err)
	require.Empty(t, difference(want, again))
	require.Len(t, told, 2, "it is known by now")

	few := chosen(t, model, 64, append(slices.Clone(request), tell)...)
	got, err = few.Extract(t.Context(), stimuli[:6])
	require.NoError(t, err)
	require.Equal(t, 6, got.Provenance.BatchHalvedFrom, "of as many as there are")
	require.Equal(t, 3, got.Provenance.BatchSize)

	_, err = chosen(t, model, 7, append(slices.Clone(request), OnError(func(int, Stimulus, error) error {
		return nil
	}))...).Extract(t.Context(), append(slices.Clone(stimuli), broken()))
	require.NoError(t, err)
	t.Setenv(simulatedBatchEnv, "1")
	_, err = chosen(t, model, 6, request...).Extract(t.Context(), stimuli)
	require.ErrorIs(t, err, ErrMemory, "it is halved once")
	require.ErrorContains(t, err, "cannot compute 3 stimuli at once")
}

// TestHalvingAsksOnce has stimuli that cannot be read in the batch that finds no memory.
func TestHalvingAsksOnce(t *testing.T) {
	t.Setenv(simulatedEnv, "1")
	t.Setenv(simulatedBatchEnv, "2")
	model := loadTest(t, "timedecay_shallow", WithDevice("gpu"))
	stimuli := testStimuli(t, 6)
	stimuli[1] = broken()
	asked := map[int]int{}
	x := chosen(t, model, 4, append(slices.Clone(early), OnError(func(i int, _ Stimulus, err error) error {
		asked[i]++
		return nil
	}))...)
	features, err := x.Extract(t.Context(), stimuli)
	require.NoError(t, err)
	require.Equal(t, map[int]int{1: 1}, asked)
	require.Error(t, features.Failed[1])
	require.Equal(t, 2, x.BatchSize())

	stop := errors.New("no more of this")
	x = chosen(t, model, 4, append(slices.Clone(early), OnError(func(int, Stimulus, error) error { return stop }))...)
	_, err = x.Extract(t.Context(), stimuli)
	require.ErrorIs(t, err, stop)

	ctx, cancel := context.WithCancelCause(t.Context())
	x = chosen(t, model, 4, append(slices.Clone(early), OnHalved(func(int, int, error) { cancel(errTest) }))...)
	_, err = x.Extract(ctx, testStimuli(t, 6))
	require.ErrorIs(t, err, errTest, "a context that is done ends it")
}
