package tfconvrnn

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/savedmodels"
)

func TestParseUnits(t *testing.T) {
	for text, want := range map[string]Units{
		"center":                  {Center: true},
		" ( 3 , 4 ) ":             {Position: &[2]int{3, 4}},
		"channels(0,3,8-10)":      {Channels: []int{0, 3, 8, 9, 10}},
		"center+channels(7)":      {Center: true, Channels: []int{7}},
		"channels(5)+(0,1)":       {Position: &[2]int{0, 1}, Channels: []int{5}},
		"center+channels(9,7,8)":  {Center: true, Channels: []int{9, 7, 8}},
		"channels(000000003-003)": {Channels: []int{3}},
	} {
		got, err := ParseUnits(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
		again, err := ParseUnits(got.String())
		require.NoError(t, err, got.String())
		assert.Equal(t, want, again, text)
	}
	for _, text := range []string{
		"", "middle", "center+center", "center+(1,1)", "(1)", "(-1,0)", "(9999999999,1)", "channels()", "channels(1,)",
		"channels(3-1)",
		"channels(1)+channels(2)", "channels(0-99999999999999999999)", "channels(0-65536)", "channels(0-60000,0-60000)",
		"channels(1--2)",
	} {
		_, err := ParseUnits(text)
		assert.ErrorIs(t, err, ErrOption, "%q", text)
	}
}

func TestUnitsOfLayers(t *testing.T) {
	info, err := savedmodels.Lookup("timedecay_shallow")
	require.NoError(t, err)
	_, outputs, err := Outputs(info, Layers("conv4", "conv5", "imnetds"),
		SelectUnits("conv4=channels(2,0)", "imnetds=channels(999)"),
		Select("conv5", Units{Center: true}))
	require.NoError(t, err)
	assert.Equal(t, []int{7, 7, 2}, outputs[0].Shape)
	assert.Equal(t, []int{512}, outputs[1].Shape)
	assert.Equal(t, 2, *outputs[1].Selection.Row)
	assert.Equal(t, []int{1}, outputs[2].Shape)
	// Values that are their own numbers.
	values := make([]float32, 4*4*512)
	for i := range values {
		values[i] = float32(i)
	}
	center := outputs[1].Selection.of(values)
	assert.Len(t, center, 512)
	assert.EqualValues(t, (2*4+2)*512, center[0])
	some := (&Selection{Map: []int{4, 4, 512}, Channels: []int{2, 0}}).of(values)
	assert.Equal(t, []float32{2, 0, 514, 512}, some[:4])
	assert.Len(t, some, 32)

	for _, selections := range [][]string{
		{"center"}, {"conv3=center"}, {"conv9=center"}, {"conv5=center", "conv5=channels(1)"}, {"imnetds=center"},
		{"conv5=(4,0)"}, {"conv5=(0,4)"},
		{"conv5=channels(512)"}, {"conv5=channels(1,1)"}, {"=center"}, {"conv5,=center"},
	} {
		_, _, err := Outputs(info, Layers("conv4", "conv5", "imnetds"), SelectUnits(selections...))
		assert.ErrorIs(t, err, ErrOption, "%v", selections)
	}
	for _, units := range []Units{{Center: true, Position: &[2]int{}}, {Position: &[2]int{-1, 0}}, {Channels: []int{-1}},
		{Channels: []int{}}} {
		_, _, err := Outputs(info, Layers("conv5"), Select("conv5", units))
		assert.ErrorIs(t, err, ErrOption, "%+v", units)
	}
}
