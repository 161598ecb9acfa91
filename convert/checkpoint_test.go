package convert

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/zoo"
)

func TestWriteCheckpoint(t *testing.T) {
	const model = "timedecay_shallow"
	source, err := Seeded(model, 3)
	require.NoError(t, err)
	defer source.Close()
	assert.Equal(t, "seed 3 (untrained)", source.String())
	prefix := filepath.Join(t.TempDir(), "model.ckpt")
	var last, total int64
	require.NoError(t, WriteCheckpoint(t.Context(), model, source, prefix, func(done, all int64) {
		last, total = max(last, done), all
	}))
	assert.Equal(t, total, last)
	assert.Positive(t, total)
	written, err := Checkpoint(model, prefix)
	require.NoError(t, err)
	defer written.Close()
	for _, v := range zoo.Lookup(model).Variables() {
		want, err := source.Variable(v.Name, v.Shape)
		require.NoError(t, err)
		got, err := written.Variable(v.Name, v.Shape)
		require.NoError(t, err)
		assert.True(t, assert.ObjectsAreEqual(want, got), v.Name)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, WriteCheckpoint(ended, model, source, prefix, nil), context.Canceled)
	assert.ErrorIs(t, WriteCheckpoint(t.Context(), "nobody", source, prefix, nil), ErrUnknownModel)
	_, err = Checkpoint(model, filepath.Join(t.TempDir(), "none"))
	assert.ErrorIs(t, err, ErrNotFound)
}
