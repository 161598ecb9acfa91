package images_test

import (
	"bytes"
	"image"
	"image/jpeg"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/images"
)

// photograph is a JPEG of 1000×1000 pixels, a typical stimulus, and its pixels.
func photograph(b *testing.B) ([]byte, *images.Picture) {
	b.Helper()
	source, err := images.Open("../../testdata/pictures/coffee.png", images.Options{})
	require.NoError(b, err)
	picture, err := source.Resize(1000, 1000, images.Bicubic)
	require.NoError(b, err)
	img := image.NewRGBA(image.Rect(0, 0, 1000, 1000))
	for i := range 1000 * 1000 {
		copy(img.Pix[4*i:], picture.Pix[3*i:3*i+3])
		img.Pix[4*i+3] = 255
	}
	var buffer bytes.Buffer
	require.NoError(b, jpeg.Encode(&buffer, img, &jpeg.Options{Quality: 90}))
	return buffer.Bytes(), picture
}

// BenchmarkDecodeAndApply is what a stimulus costs before the model sees it.
func BenchmarkDecodeAndApply(b *testing.B) {
	data, _ := photograph(b)
	preprocessing := images.DefaultPreprocessing()
	pixels := make([]uint8, 224*224*3)
	for b.Loop() {
		picture, err := images.DecodeBytes(data, "photograph.jpg", images.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := preprocessing.ApplyTo(pixels, picture); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	jpegData, _ := photograph(b)
	pngData, err := os.ReadFile("../../testdata/pictures/astronaut.png")
	require.NoError(b, err)
	for _, c := range []struct {
		name string
		data []byte
	}{{"jpeg-1000x1000", jpegData}, {"png-512x512", pngData}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := images.DecodeBytes(c.data, c.name, images.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkApply(b *testing.B) {
	_, picture := photograph(b)
	for _, name := range []string{
		"resize256-crop224:bilinear", "resize256-crop224:bicubic", "resize256-crop224:lanczos",
		"resize256-crop224:nearest", "warp224:bilinear",
	} {
		preprocessing, err := images.ParsePreprocessing(name)
		require.NoError(b, err)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := preprocessing.Apply(picture); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
