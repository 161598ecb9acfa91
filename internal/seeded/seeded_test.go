package seeded_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/seeded"
)

func TestValuesMatchPublishedVectors(t *testing.T) {
	raw, err := os.ReadFile("../../testdata/golden/vectors.json")
	require.NoError(t, err)
	var vectors []struct {
		Model, Name string
		Shape       []int
		Trainable   bool
		Seed        uint64
		First       []float64
		Sum         float64
	}
	require.NoError(t, json.Unmarshal(raw, &vectors))
	require.NotEmpty(t, vectors)

	for _, v := range vectors {
		values := seeded.Values(v.Name, v.Shape, v.Trainable, v.Seed)
		require.GreaterOrEqual(t, len(values), len(v.First))
		for i, want := range v.First {
			// The vectors hold float32 values written out in full, so they must be equal.
			assert.Equal(t, want, float64(values[i]), "%s[%d], seed %d", v.Name, i, v.Seed)
		}
		var sum float64
		for _, x := range values {
			sum += float64(x)
		}
		assert.InDelta(t, v.Sum, sum, 1e-9*float64(len(values)), "sum of %s, seed %d", v.Name, v.Seed)
	}
}

func TestFillOfLargeVariableEqualsElementwise(t *testing.T) {
	const name = "tnn_model/conv10/pre_0/weights_basenet"
	shape := []int{3, 3, 512, 300} // several chunks, the last one shorter
	values := seeded.Values(name, shape, true, 7)
	mid := make([]float32, len(values))
	seeded.Fill(mid, name, shape, true, 7)
	assert.Equal(t, values, mid)

	// A prefix depends on the length only through half, so the same fan with one output channel
	// less gives the same first values.
	small := seeded.Values(name, []int{3, 3, 512, 1}, true, 7)
	assert.Equal(t, small, values[:len(small)])
	assert.NotEqual(t, values[:100], values[len(values)-100:])
	assert.NotEqual(t, seeded.Values(name, shape, true, 8)[:100], values[:100])
}

func TestRange(t *testing.T) {
	for _, test := range []struct {
		name         string
		shape        []int
		trainable    bool
		centre, half float64
	}{
		{"tnn_model/probs/softmax_beta", []int{1}, false, 1, 0},
		{"tnn_model/alpha/softmax_beta", []int{1}, false, 1, 0},
		{"tnn_model/normalize/softmax_beta", []int{1}, true, 1.25, 0.75},
		{"tnn_model/decoder_threshold", []int{1}, false, 0.9, 0},
		{"tnn_model/conv3/memory_decay", []int{1}, true, 0.4, 0.3},
		{"tnn_model/conv1/memory_decay", []int{1}, false, 0, 0},
		{"tnn_model/conv3/ConvLSTMCell/state/gamma", []int{8}, true, 1, 0.2},
		{"tnn_model/conv3/ConvLSTMCell/state/beta", []int{8}, true, 0, 0.1},
		{"tnn_model/imnetds/pre_1/bias", []int{1000}, true, 0, 0.1},
		{"tnn_model/conv6/ReciprocalGateCell/out/feedback_to_out_bias", []int{8}, true, 0, 0.1},
		{"tnn_model/conv4/ConvLSTMCell/peepholes/w_f_diag", []int{14, 14, 8}, true, 0, 0.1},
		{"tnn_model/imnetds/pre_1/weights", []int{2, 2, 3, 1000}, true, 0, 4},
		{"tnn_model/conv1/pre_0/weights_basenet", []int{1, 1, 3, 64}, true, 0, 1},
		{"tnn_model/conv4/post_1/residual_add_weights", []int{1, 1, 3, 4}, true, 0, 0.5},
		{"tnn_model/conv6/ReciprocalGateCell/out/feedback_to_out_weights", []int{1, 1, 15, 4}, true, 0, 0.1},
		{"tnn_model/conv6/ReciprocalGateCell/cell/tau/depthwise_weights", []int{2, 3, 64, 1}, true, 0, 0.5},
		{"tnn_model/conv5/post_0/weights", []int{1, 1, 6, 4}, true, 0, 0.5},
	} {
		centre, half := seeded.Range(test.name, test.shape, test.trainable)
		assert.Equal(t, test.centre, centre, test.name)
		assert.InDelta(t, test.half, half, 1e-15, test.name)
	}
}

func TestFillRefusesWrongLength(t *testing.T) {
	assert.PanicsWithValue(t, "seeded: destination of 3 elements for a/bias of shape [4]",
		func() { seeded.Fill(make([]float32, 3), "a/bias", []int{4}, true, 0) })
}

func BenchmarkFill(b *testing.B) {
	shape := []int{3, 3, 1024, 2048}
	dst := make([]float32, 3*3*1024*2048)
	b.SetBytes(int64(4 * len(dst)))
	for b.Loop() {
		seeded.Fill(dst, "tnn_model/conv10/ConvUGRNNCell/weights", shape, true, 1)
	}
}
