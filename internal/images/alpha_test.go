package images_test

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/images"
)

func TestTransparent(t *testing.T) {
	for name, transparent := range map[string]bool{
		"mode-RGBA.png": true, "mode-LA.png": true, "transparency-RGB.png": true, "transparency-L.png": true,
		"palette-4bit-transparency.png": true, "interlaced-4-16bit.png": true, "lossy-alpha-q40.webp": true,
		"lossless-alpha.webp": true, "animated-smaller-frame.webp": true, "animated-alpha.webp": true,
		"mode-RGB.png": false, "palette-4bit.png": false, "lossless-q40.webp": false, "444-q75.jpg": false,
		"cmyk-2-q75.jpg": false, "mode-RGB.ppm": false,
	} {
		picture, err := images.Open(filepath.Join("testdata", "pillow", name), images.Options{})
		require.NoError(t, err)
		assert.Equal(t, transparent, picture.Transparent, name)
	}
	for name, transparent := range map[string]bool{"transparent.gif": true, "palette.gif": false,
		"first-frame-smaller.gif": false} {
		picture, err := images.Open(filepath.Join("testdata", "pictures", name), images.Options{})
		require.NoError(t, err)
		assert.Equal(t, transparent, picture.Transparent, name)
	}
}

// The alpha channel decides how much of the background is seen, and the same whatever the format is.
func TestBackground(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 4, 1))
	for x, c := range []color.NRGBA{{200, 100, 50, 255}, {200, 100, 50, 0}, {200, 100, 50, 128}, {0, 0, 0, 51}} {
		img.SetNRGBA(x, 0, c)
	}
	var file bytes.Buffer
	require.NoError(t, png.Encode(&file, img))
	expected := []uint8{
		200, 100, 50, 255, 255, 255,
		227, 177, 152, // (v·128 + 255·127) / 255, rounded
		204, 204, 204,
	}
	options := images.Options{Background: &[3]uint8{255, 255, 255}}
	picture, err := images.DecodeBytes(file.Bytes(), "p", options)
	require.NoError(t, err)
	assert.Equal(t, expected, picture.Pix)
	assert.True(t, picture.Transparent)
	picture, err = images.FromImage(img, options)
	require.NoError(t, err)
	assert.Equal(t, expected, picture.Pix)
	picture, err = images.DecodeBytes(file.Bytes(), "p", images.Options{})
	require.NoError(t, err)
	assert.Equal(t, []uint8{200, 100, 50, 200, 100, 50, 200, 100, 50, 0, 0, 0}, picture.Pix, "dropped")

	data, err := os.ReadFile("testdata/pictures/transparent.gif")
	require.NoError(t, err)
	stored, err := images.DecodeBytes(data, "p", images.Options{})
	require.NoError(t, err)
	composited, err := images.DecodeBytes(data, "p", images.Options{Background: &[3]uint8{1, 2, 255}})
	require.NoError(t, err)
	changed := 0
	for i := 0; i < len(stored.Pix); i += 3 {
		if !bytes.Equal(stored.Pix[i:i+3], composited.Pix[i:i+3]) {
			require.Equal(t, []uint8{1, 2, 255}, composited.Pix[i:i+3])
			require.Equal(t, []uint8{10, 20, 230}, stored.Pix[i:i+3], "the colour of the transparent index")
			changed++
		}
	}
	assert.Positive(t, changed)
}

func TestBits(t *testing.T) {
	for name, bits := range map[string]int{
		"grey16-10bit.png": 10, "grey16-full.png": 16, "interlaced-2-16bit.png": 16, "mode-L.png": 0, "grey16.pgm": 16,
		"mode-L.pgm": 0,
	} {
		picture, err := images.Open(filepath.Join("testdata", "pillow", name), images.Options{})
		require.NoError(t, err)
		assert.Equal(t, bits, picture.Bits, name)
	}
}

// What is passed over is said.
func TestNotices(t *testing.T) {
	for name, notice := range map[string]string{
		"fault-no-end.png":               "its end (IEND) is missing",
		"fault-half-end.png":             "its end (IEND) is missing",
		"fault-end-checksum.png":         `wrong checksum of its chunk "IEND"`,
		"fault-text-checksum-before.png": `wrong checksum of its chunk "tEXt"`,
		"fault-text-checksum-after.png":  `wrong checksum of its chunk "tEXt"`,
		"fault-data-checksum.png":        `wrong checksum of its chunk "IDAT"`,
		"fault-extra-rows.png":           "more pixels than its header says",
		"fault-no-adler.png":             "the checksum of its pixels is missing",
		"fault-two-headers.png":          `a second chunk "IHDR"`,
		"maxval-above.pgm":               "values above the largest that it declares, 70, are cut off",
		"fault-palette-odd.png":          "too many in its palette",
	} {
		picture, err := images.Open(filepath.Join("testdata", "pillow", name), images.Options{})
		require.NoError(t, err)
		assert.Contains(t, picture.Notice, notice, name)
	}
}

func TestAnimated(t *testing.T) {
	for name, animated := range map[string]bool{
		"pillow/animated.webp": true, "pillow/animated-smaller-frame.webp": true, "pillow/animated.png": true,
		"pillow/animated-default.png": true, "pictures/keep.gif": true, "pictures/palette.gif": false,
		"pillow/lossy-q40.webp": false, "pillow/mode-RGB.png": false,
	} {
		picture, err := images.Open(filepath.Join("testdata", name), images.Options{})
		require.NoError(t, err)
		assert.Equal(t, animated, picture.Animated, name)
	}
}
