package weights_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/bundle"
	"github.com/tfconvrnn/go/internal/tfpb"
	"github.com/tfconvrnn/go/internal/weights"
)

const golden = "../../testdata/golden/timedecay_shallow/model.ckpt"

func variablesOf(t testing.TB, model string) []weights.Variable {
	raw, err := os.ReadFile("../../testdata/spec/variables.json")
	require.NoError(t, err)
	var all map[string][]weights.Variable
	require.NoError(t, json.Unmarshal(raw, &all))
	require.Len(t, all, 20)
	require.NotEmpty(t, all[model])
	return all[model]
}

// The checkpoint was written by TensorFlow's Saver from weights made elsewhere: see the README of
// testdata/golden/timedecay_shallow.
func TestCheckpointByTensorFlowHoldsSeededValues(t *testing.T) {
	expected := variablesOf(t, "timedecay_shallow")
	checkpoint, err := weights.OpenCheckpoint(golden, expected)
	require.NoError(t, err)
	defer checkpoint.Close()
	assert.Equal(t, weights.Origin{Kind: "checkpoint", Path: golden}, checkpoint.Describe())

	seeded := weights.Seeded(1, expected)
	defer seeded.Close()
	assert.Equal(t, weights.Origin{Kind: "seeded", Seed: 1, Untrained: true}, seeded.Describe())

	for _, v := range expected {
		want, err := seeded.Variable(v.Name, v.Shape)
		require.NoError(t, err)
		got, err := checkpoint.Variable(v.Name, v.Shape)
		require.NoError(t, err)
		require.Len(t, got, len(want))
		for i := range want {
			if math.Float32bits(want[i]) != math.Float32bits(got[i]) {
				t.Fatalf("%s[%d] is %v in the checkpoint, %v by seed", v.Name, i, got[i], want[i])
			}
		}
	}

	fromCheckpoint, err := weights.SHA256(checkpoint, expected)
	require.NoError(t, err)
	fromSeed, err := weights.SHA256(seeded, expected)
	require.NoError(t, err)
	assert.Equal(t, fromCheckpoint, fromSeed)
	other, err := weights.SHA256(weights.Seeded(2, expected), expected)
	require.NoError(t, err)
	assert.NotEqual(t, fromSeed, other)
	assert.Len(t, other, 64)
}

func TestSlotsAreSkipped(t *testing.T) {
	r, err := bundle.Open(golden)
	require.NoError(t, err)
	defer r.Close()
	expected := map[string]bool{}
	for _, v := range variablesOf(t, "timedecay_shallow") {
		expected[v.Name] = true
	}
	slots := 0
	for _, e := range r.Entries() {
		if !expected[e.Name] {
			slots++
		}
	}
	require.Positive(t, slots, "the fixture has slots and global_step, which OpenCheckpoint must have skipped")
}

func TestWriteCheckpointRoundTrip(t *testing.T) {
	expected := variablesOf(t, "timedecay_shallow")
	prefix := filepath.Join(t.TempDir(), "model.ckpt")
	source := weights.Seeded(5, expected)
	require.NoError(t, weights.WriteCheckpoint(prefix, source, expected))

	again, err := weights.OpenCheckpoint(prefix, expected)
	require.NoError(t, err)
	defer again.Close()
	want, err := weights.SHA256(source, expected)
	require.NoError(t, err)
	got, err := weights.SHA256(again, expected)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

// TestTensorFlowReadsSeededCheckpoint has TensorFlow itself read what WriteCheckpoint wrote.
func TestTensorFlowReadsSeededCheckpoint(t *testing.T) {
	python := os.Getenv("TFCONVRNN_TF_PYTHON")
	if python == "" {
		t.Skip("set TFCONVRNN_TF_PYTHON to a Python that can import tensorflow to run this test")
	}
	expected := variablesOf(t, "timedecay_shallow")
	source := weights.Seeded(3, expected)
	prefix := filepath.Join(t.TempDir(), "model.ckpt")
	require.NoError(t, weights.WriteCheckpoint(prefix, source, expected))
	var stderr bytes.Buffer
	cmd := exec.Command(python, "../../scripts/check_checkpoint_tf.py", prefix)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())

	digests := map[string]string{}
	for line := range bytes.Lines(out) {
		var v struct {
			Name, SHA256 string
		}
		require.NoError(t, json.Unmarshal(line, &v))
		digests[v.Name] = v.SHA256
	}
	require.Len(t, digests, len(expected))
	for _, v := range expected {
		values, err := source.Variable(v.Name, v.Shape)
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprintf("%x", weights.DigestOf(values)), digests[v.Name], v.Name)
	}
}

var small = []weights.Variable{
	{Name: "m/a/weights", Shape: []int{2, 3}, Trainable: true},
	{Name: "m/a/bias", Shape: []int{3}, Trainable: true},
	{Name: "m/b/bias", Shape: []int{4}, Trainable: true},
}

func TestMismatchListsEverything(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "x.ckpt")
	w, err := bundle.Create(prefix)
	require.NoError(t, err)
	defer w.Abort()
	require.NoError(t, w.Add("m/a/weights", []int64{3, 2}, make([]float32, 6)))
	require.NoError(t, w.AddRaw("m/b/bias", tfpb.DataType_DT_BOOL, []int64{4}, make([]byte, 4)))
	for _, extra := range []string{"m/c/bias", "m/c/bias/Momentum", "m/d/Momentum",
		"m/a/weights/ExponentialMovingAverage"} {
		require.NoError(t, w.Add(extra, []int64{1}, make([]float32, 1)))
	}
	for _, skipped := range []string{
		"m/a/weights/Momentum", "m/a/bias/Adam", "m/a/bias/Adam_1", "m/a/bias/RMSProp_2", "train/m/b/bias/Momentum_1",
		"beta1_power",
	} {
		require.NoError(t, w.Add(skipped, []int64{1}, make([]float32, 1)))
	}
	require.NoError(t, w.AddRaw("global_step", tfpb.DataType_DT_INT64, nil, make([]byte, 8)))
	require.NoError(t, w.Finish())

	_, err = weights.OpenCheckpoint(prefix, small)
	require.ErrorIs(t, err, weights.ErrMismatch)
	var mismatch *weights.MismatchError
	require.ErrorAs(t, err, &mismatch)
	assert.Equal(t, "checkpoint does not fit the model: "+prefix+" (is it the checkpoint of another model?): "+
		"1 missing: m/a/bias [3]; "+
		"3 unknown to the model: m/a/weights/ExponentialMovingAverage [1], m/c/bias [1], m/d/Momentum [1]; "+
		"1 of another shape: m/a/weights [3,2] instead of [2,3]; "+
		"1 of a type that cannot be used: m/b/bias DT_BOOL", err.Error())
	assert.Len(t, mismatch.Found, 5)
	assert.False(t, mismatch.Fits(small))
}

func TestMismatchTellsTheRightModel(t *testing.T) {
	_, err := weights.OpenCheckpoint(golden, variablesOf(t, "gru_shallow"))
	var mismatch *weights.MismatchError
	require.ErrorAs(t, err, &mismatch)
	assert.True(t, mismatch.Fits(variablesOf(t, "timedecay_shallow")))
	assert.False(t, mismatch.Fits(variablesOf(t, "gru_shallow")))
	assert.False(t, mismatch.Fits(variablesOf(t, "timedecay_intermediate")))
}

func TestUnknownVariables(t *testing.T) {
	expected := variablesOf(t, "timedecay_shallow")
	checkpoint, err := weights.OpenCheckpoint(golden, expected)
	require.NoError(t, err)
	for _, src := range []weights.Source{weights.Seeded(1, expected), checkpoint} {
		_, err := src.Variable("tnn_model/conv1/pre_0/nonsense", []int{64})
		assert.ErrorIs(t, err, weights.ErrUnknownVariable)
		_, err = src.Variable("tnn_model/conv1/pre_0/bias", []int{65})
		assert.ErrorIs(t, err, weights.ErrUnknownVariable)
		_, err = src.Variable("global_step", nil)
		assert.ErrorIs(t, err, weights.ErrUnknownVariable)
		assert.NoError(t, src.Close())
		assert.NoError(t, src.Close())
	}
	_, err = checkpoint.Variable("tnn_model/conv1/pre_0/bias", []int{64})
	assert.ErrorIs(t, err, os.ErrClosed)

	_, err = weights.OpenCheckpoint(filepath.Join(t.TempDir(), "model.ckpt"), expected)
	assert.ErrorIs(t, err, bundle.ErrNotFound)
}

func TestHashIsDefinedByNamesShapesAndValues(t *testing.T) {
	variables := small[:2]
	digests := map[string]weights.Digest{
		"m/a/weights": weights.DigestOf([]float32{0, 1, 2, 3, 4, 5}),
		"m/a/bias":    weights.DigestOf([]float32{-1, 0.5, 7}),
	}
	sum, err := weights.Combine(digests, variables)
	require.NoError(t, err)
	// Computed with Python's hashlib from the definition.
	assert.Equal(t, "1a8e28469f1fba8fdb894978002b7d2b8a54145fe4b8ccbf23bfd51bde9d6b99", sum)

	reversed, err := weights.Combine(digests, []weights.Variable{variables[1], variables[0]})
	require.NoError(t, err)
	assert.Equal(t, sum, reversed)

	_, err = weights.Combine(digests, small)
	assert.ErrorContains(t, err, "m/b/bias")

	h := weights.Hashing(weights.Seeded(1, small))
	_, err = h.Variable("m/a/bias", []int{3})
	require.NoError(t, err)
	_, err = h.SHA256(small)
	assert.ErrorContains(t, err, "2 variables have not been read: m/a/weights, m/b/bias")
}

func TestWriteCheckpointLeavesNothingAfterAnError(t *testing.T) {
	dir := t.TempDir()
	err := weights.WriteCheckpoint(filepath.Join(dir, "x.ckpt"), weights.Seeded(1, small[:1]), small)
	require.ErrorIs(t, err, weights.ErrUnknownVariable)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left)
}
