package tfconvrnn

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/savedmodels"
)

// Verify records what a model computes, compares it the next time, and tells faults one by one.
func TestVerify(t *testing.T) {
	requireRuntime(t)
	const name = "timedecay_shallow"
	store, err := savedmodels.Open(t.TempDir())
	require.NoError(t, err)
	found, err := store.Get(t.Context(), savedmodels.Request{Model: name, Weights: savedmodels.Seeded(1)})
	require.NoError(t, err)
	verify := func(change func(*VerifyOptions)) Verification {
		t.Helper()
		o := VerifyOptions{Models: []string{name}, Checkpoints: t.TempDir()}
		change(&o)
		results, err := Verify(t.Context(), store, o)
		require.NoError(t, err)
		require.Len(t, results, 1)
		return results[0]
	}
	v := verify(func(o *VerifyOptions) { o.ChecksumsOnly = true })
	assert.Equal(t, Verification{Model: name, What: VerifiedSavedModel, Dir: found.Dir}, v)
	v = verify(func(*VerifyOptions) {})
	assert.NoError(t, v.Err)
	assert.Equal(t, ActivationsRecorded, v.Activations)
	v = verify(func(*VerifyOptions) {})
	assert.NoError(t, v.Err)
	assert.Equal(t, ActivationsCompared, v.Activations)
	assert.Less(t, v.Check.Worst, 1e-5)
	v = verify(func(o *VerifyOptions) { o.Models = []string{"gru_shallow"} })
	assert.ErrorIs(t, v.Err, savedmodels.ErrNoWeights)

	missing := errors.New("no runtime")
	_, err = Verify(t.Context(), store, VerifyOptions{Checkpoints: t.TempDir(), Runtime: func() error { return missing }})
	assert.ErrorIs(t, err, missing)
	_, err = Verify(t.Context(), store, VerifyOptions{Models: []string{"nonesuch"}})
	assert.ErrorIs(t, err, savedmodels.ErrUnknownModel)

	require.NoError(t, os.WriteFile(filepath.Join(found.Dir, "saved_model.pb"), nil, 0o666))
	v = verify(func(*VerifyOptions) {})
	assert.ErrorIs(t, v.Err, ErrModified)
	assert.Empty(t, v.Activations)
}
