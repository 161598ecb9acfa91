package tfconvrnn

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestBatchUpTo chooses batches larger than usual where they are asked for and there is memory for them.
func TestBatchUpTo(t *testing.T) {
	model := loadTest(t, "timedecay_shallow")
	for _, of := range []struct {
		options []ExtractOption
		want    int
	}{
		{nil, largestChosenBatch},
		{[]ExtractOption{BatchUpTo(20)}, 20},
		{[]ExtractOption{BatchUpTo(2)}, 2},
		{[]ExtractOption{BatchUpTo(0)}, largestChosenBatch},
		{[]ExtractOption{BatchUpTo(20), BatchSize(3)}, 3},
	} {
		x, err := model.Plan(append(of.options, Layers("imnetds"))...)
		require.NoError(t, err)
		assert.Equal(t, of.want, x.BatchSize())
	}
	x, err := model.Plan(BatchUpTo(maxBatchSize))
	require.NoError(t, err)
	assert.Less(t, x.BatchSize(), maxBatchSize, "there is no memory for all layers of so many")
	for _, n := range []int{-1, maxBatchSize + 1} {
		_, err := model.Plan(BatchUpTo(n))
		require.ErrorIs(t, err, ErrOption)
	}
}
