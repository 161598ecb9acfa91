package tfconvrnn

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/savedmodels"
)

// What a GPU makes smaller, a processor makes as small.
func TestSmallerFeatures(t *testing.T) {
	model := loadTest(t, "timedecay_shallow")
	extract := func(options ...ExtractOption) *Features {
		f, err := model.Extract(context.Background(), goldenStimuli(t)[:1], append([]ExtractOption{
			Layers("conv5", "conv4"), Window(100, 110)}, options...)...)
		require.NoError(t, err)
		return f
	}
	whole, smaller := extract(), extract(Pool(2, "conv5"), AsFloat16("conv5", "conv4"))
	assert.Equal(t, []int{2, 2, 512}, smaller.Layers[0].Shape)
	assert.Equal(t, roundToFloat16(whole.Layers[1].Data), smaller.Layers[1].Data)
	assert.NotEqual(t, whole.Layers[1].Data, smaller.Layers[1].Data)
	// Of a map of 4×4, the second field is rows 0 and 1 of columns 2 and 3.
	var sum float64
	for _, position := range []int{2, 3, 6, 7} {
		sum += float64(whole.Layers[0].Data[position*512+9])
	}
	assert.InDelta(t, sum/4, smaller.Layers[0].Data[512+9], 1e-3*max(1, sum))
}

func TestImpossibleSmallerFeatures(t *testing.T) {
	info, err := savedmodels.Lookup("timedecay_shallow")
	require.NoError(t, err)
	for says, options := range map[string][]ExtractOption{
		"conv4 is averaged, which is not extracted": {Layers("conv5"), Pool(2, "conv4")},
		"no positions":                               {Layers("imnetds"), Pool(2, "imnetds")},
		"averaged twice":                             {Layers("conv5"), Pool(2, "conv5"), Average("conv5")},
		"units of layer conv5 are selected":          {Layers("conv5"), Pool(2, "conv5"), SelectUnits("conv5=center")},
		"5×5 fields of a map that has 4×4":           {Layers("conv5"), Pool(5, "conv5")},
		"pool(0)":                                    {Layers("conv5"), Pool(0, "conv5")},
		"rounded to float16, which is not extracted": {Layers("conv5"), AsFloat16("conv4")},
	} {
		_, _, err := Outputs(info, options...)
		require.ErrorIs(t, err, ErrOption, says)
		assert.ErrorContains(t, err, says)
	}
}

// The weights of fields, by which a GPU pools, are those of the pools of a processor, also where fields overlap.
func TestFieldWeights(t *testing.T) {
	info, err := savedmodels.Lookup("timedecay_shallow")
	require.NoError(t, err)
	_, outputs, err := Outputs(info, Layers("conv4"), Pool(3, "conv4")) // 7×7
	require.NoError(t, err)
	weights := fieldWeights(outputs[0].pool, []int{7, 7, 256})
	require.Len(t, weights, 9*49)
	for f := range 9 {
		var sum float64
		for p, w := range weights[f*49:][:49] {
			row, column := p/7, p%7
			inside := row >= f/3*7/3 && row < (f/3*7+7+2)/3 && column >= f%3*7/3 && column < (f%3*7+7+2)/3
			assert.Equal(t, inside, w != 0, "field %d, position %d", f, p)
			sum += w
		}
		assert.InDelta(t, 1, sum, 1e-12, f)
	}
}
