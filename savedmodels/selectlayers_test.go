package savedmodels

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSelectLayers(t *testing.T) {
	model, err := Lookup("ugrnn_intermediate")
	require.NoError(t, err)
	var all []string
	for _, l := range model.Layers {
		all = append(all, l.Name)
	}
	it, err := model.AreaLayers("IT")
	require.NoError(t, err)
	for _, c := range []struct{ layers, areas, want []string }{
		{nil, nil, []string{"imnetds"}},
		{[]string{"all"}, []string{"V4"}, all},
		{[]string{"conv9", "conv3", "conv9"}, nil, []string{"conv9", "conv3"}},
		{[]string{it[0]}, []string{"it"}, it},
	} {
		selected, err := model.SelectLayers(c.layers, c.areas)
		require.NoError(t, err)
		assert.Equal(t, c.want, selected)
	}
	_, err = model.SelectLayers([]string{"conv99"}, nil)
	assert.ErrorIs(t, err, ErrUnknownLayer)
	_, err = model.SelectLayers(nil, []string{"V1"})
	assert.ErrorIs(t, err, ErrUnknownLayer)
}
