package tfconvrnn

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBuiltInPicture(t *testing.T) {
	picture := builtInPicture()
	require.Len(t, picture, imageValues)
	var sum, squares float64
	for _, v := range picture {
		sum += float64(v)
		squares += float64(v) * float64(v)
	}
	n := float64(len(picture))
	assert.Greater(t, math.Sqrt(squares/n-sum/n*sum/n), 30.0, "it has contrast")
	hash := sha256.Sum256(picture)
	assert.Equal(t, "81b5b8315e5f200e3698aeeb80dce94f889941cc874a383412ba8e52c8014a92", hex.EncodeToString(hash[:]),
		"recorded activations would be void")
}

func TestActivations(t *testing.T) {
	requireRuntime(t)
	m, err := Load("timedecay_shallow", WithWeights("seeded:1"), WithStore(t.TempDir()))
	require.NoError(t, err)
	defer m.Close()
	_, err = m.CheckActivations(t.Context())
	assert.ErrorIs(t, err, ErrNotRecorded)
	require.NoError(t, m.RecordActivations(t.Context()))
	check, err := m.CheckActivations(t.Context())
	require.NoError(t, err)
	assert.Less(t, check.Worst, 1e-5)
	assert.NotEmpty(t, check.RecordedWith)
	require.NoError(t, m.manifest.Verify(m.Dir()), "the record is beside the files that are hashed")

	path := filepath.Join(m.Dir(), ActivationsName)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Less(t, len(data), 300_000)
	change := func(change func(a *activations)) error {
		var a activations
		require.NoError(t, json.Unmarshal(data, &a))
		change(&a)
		changed, err := json.Marshal(a)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, changed, 0o644))
		_, err = m.CheckActivations(t.Context())
		return err
	}
	assert.NoError(t, change(func(*activations) {}))
	err = change(func(a *activations) { a.Layers[3].Samples[9][5] += float32(0.01 * a.Layers[3].RMS[9]) })
	assert.ErrorIs(t, err, ErrActivations)
	assert.ErrorContains(t, err, "conv4 at timestep 9")
	assert.ErrorIs(t, change(func(a *activations) { a.Layers = a.Layers[1:] }), ErrActivations)
	assert.ErrorIs(t, change(func(a *activations) { a.Layers[0].Mean = nil }), ErrActivations)
	assert.ErrorIs(t, change(func(a *activations) { a.Layers[0].Samples[0] = nil }), ErrActivations)
	assert.ErrorIs(t, change(func(a *activations) { a.Files = nil }), ErrModified)
	require.NoError(t, os.WriteFile(path, data[:100], 0o644))
	_, err = m.CheckActivations(t.Context())
	assert.ErrorIs(t, err, ErrModified)
	require.NoError(t, m.RecordActivations(t.Context()))
	_, err = m.CheckActivations(t.Context())
	assert.NoError(t, err)
}

func TestLoadSavedModel(t *testing.T) {
	requireRuntime(t)
	byName, err := Load("timedecay_shallow", WithWeights("seeded:1"), WithStore(t.TempDir()))
	require.NoError(t, err)
	defer byName.Close()
	m, err := LoadSavedModel(t.Context(), byName.Dir(), WithVerification())
	require.NoError(t, err)
	defer m.Close()
	assert.Equal(t, byName.Info(), m.Info())
	assert.True(t, m.Untrained())
	_, err = LoadSavedModel(t.Context(), t.TempDir())
	assert.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(filepath.Join(byName.Dir(), "saved_model.pb"), []byte("x"), 0o644))
	_, err = LoadSavedModel(t.Context(), byName.Dir(), WithVerification())
	assert.ErrorIs(t, err, ErrModified)
	_, err = LoadSavedModel(t.Context(), byName.Dir(), WithTimes(0), WithThreads(-1))
	assert.ErrorIs(t, err, ErrOption)
}
