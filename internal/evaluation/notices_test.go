package evaluation

import (
	"image"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// Pictures are prepared as in extractions, and what may surprise about them is told.
func TestPredictorNoticesPictures(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clear.png")
	file, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, png.Encode(file, image.NewNRGBA(image.Rect(0, 0, 224, 224))))
	require.NoError(t, file.Close())

	var warned, noted []string
	p := ModelPredictor{preprocessing: tfconvrnn.Preprocessing{Alpha: "composite:#010203"}}
	p.Notices.Warn = func(message string) { warned = append(warned, message) }
	p.Notices.Note = func(message string) { noted = append(noted, message) }
	pixels, err := p.read(path)
	require.NoError(t, err)
	assert.Equal(t, []uint8{1, 2, 3}, pixels[:3])
	assert.Empty(t, warned)
	require.Len(t, noted, 2)
	assert.Contains(t, noted[0], "composited with #010203")
	assert.Contains(t, noted[1], "is 224×224 already and is taken as it is")

	p.preprocessing = tfconvrnn.Preprocessing{}
	pixels, err = p.read(path)
	require.NoError(t, err)
	assert.Equal(t, []uint8{0, 0, 0}, pixels[:3])
	require.Len(t, warned, 1)
	assert.Contains(t, warned[0], "their alpha is dropped")
}
