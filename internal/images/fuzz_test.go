package images_test

import (
	"image"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/images"
)

// FuzzPreprocessing requires that a preprocessing that is accepted is written as
// one that reads the same, and makes 224×224 pixels or an error of any picture.
func FuzzPreprocessing(f *testing.F) {
	for _, name := range []string{
		"", "resize256-crop224", "resize256-crop224:bilinear", "warp224:lanczos", "crop224", "none", "degrees(8,10)",
		"degrees(8,10)+warp224", "+upright", "warp224+upright+composite(#010203)", "resize256-crop224:box+keep224",
		"degrees(8,10)+keep224", "degrees(0,0)", "degrees(1e300,1e-300)", "resize99999999999-crop224", "resize1-crop224",
	} {
		f.Add(name, 300, 200)
		f.Add(name, 1, 1)
		f.Add(name, 2000, 3)
	}
	f.Fuzz(func(t *testing.T, name string, width, height int) {
		p, err := images.ParsePreprocessing(name)
		if err != nil {
			require.ErrorIs(t, err, images.ErrPreprocessing)
			return
		}
		again, err := images.ParsePreprocessing(p.String())
		require.NoError(t, err, "%q is written as %q", name, p)
		require.Equal(t, p.String(), again.String())
		if width < 1 || height < 1 || width > 1<<12 || height > 1<<12 || width*height > 1<<20 {
			return
		}
		picture, err := images.FromImage(image.NewNRGBA(image.Rect(0, 0, width, height)), images.Options{})
		require.NoError(t, err)
		if pixels, err := p.Apply(picture); err == nil {
			require.Len(t, pixels, 224*224*3)
		}
	})
}
