package tfconvrnn

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/savedmodels"
)

func TestPresentationJSON(t *testing.T) {
	info, err := savedmodels.Lookup("ugrnn_intermediate")
	require.NoError(t, err)
	grey, err := ColorBlank(0.5, 0.25, 1)
	require.NoError(t, err)
	pixels := make([]uint8, imageValues)
	floats := make([]float32, imageValues)
	for i := range pixels {
		pixels[i], floats[i] = uint8(i*7), float32(i%100)/100
	}
	for _, p := range []Presentation{
		Default(), Neural(), Custom(20, 6), Constant(14), Episodes(30, Episode{2, 4}, Episode{9, 12}), Sequence(20, 3),
		Custom(20, 6).WithBlank(grey), Neural().WithBlank(ImageBlank("image(a.png)", &Image{bytes: pixels})),
		Neural().WithBlank(ImageBlank("image(b)", &Image{floats: floats})),
	} {
		p, err := p.Resolve(info)
		require.NoError(t, err)
		text, err := json.Marshal(p)
		require.NoError(t, err)
		var q Presentation
		require.NoError(t, json.Unmarshal(text, &q))
		assert.Equal(t, p.String(), q.String())
		assert.Equal(t, p.Schedule(5), q.Schedule(5))
		a, b := make([]float32, imageValues), make([]float32, imageValues)
		require.NoError(t, p.blank.normalizeInto(a))
		require.NoError(t, q.blank.normalizeInto(b))
		assert.Equal(t, a, b)
	}
	for _, text := range []string{`[]`, `{"blank":{"rgb":[2,0,0]}}`, `{"blank":{"bytes":"AAAA"}}`} {
		var p Presentation
		assert.ErrorIs(t, json.Unmarshal([]byte(text), &p), ErrPresentation, text)
	}
}
