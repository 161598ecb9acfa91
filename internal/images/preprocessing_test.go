package images_test

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/images"
)

func TestParsePreprocessing(t *testing.T) {
	for name, canonical := range map[string]string{
		"":                          "resize256-crop224:bilinear+keep224",
		"resize256-crop224+keep224": "resize256-crop224:bilinear+keep224",
		"warp224+keep224":           "warp224:bilinear",
		"crop224 + upright":         "crop224+upright",
		"resize256-crop224:bicubic+composite(white)+upright+keep224": "resize256-crop224:bicubic+keep224+upright+composite(#ffffff)",
		"degrees(8,10)+upright": "degrees(8,10)+resize256-crop224:bilinear+upright",
		"degrees(8,10)+torchvision256-crop224+keep224+composite(#0A0b0c)": "degrees(8,10)+torchvision256-crop224:bilinear+keep224+composite(#0a0b0c)",
		"none+composite(grey)":                "none+composite(#808080)",
		"resize256-crop224":                   "resize256-crop224:bilinear",
		" resize0224-crop224:lanczos":         "resize224-crop224:lanczos",
		"torchvision232-crop224":              "torchvision232-crop224:bilinear",
		"warp224":                             "warp224:bilinear",
		"warp224:box":                         "warp224:box",
		"crop224":                             "crop224",
		"none":                                "none",
		"degrees(8,10)":                       "degrees(8,10)+resize256-crop224:bilinear",
		"degrees(8, 10.50) + warp224:hamming": "degrees(8,10.5)+warp224:hamming",
		"degrees(2.5,1e1)+none":               "degrees(2.5,10)+none",
	} {
		p, err := images.ParsePreprocessing(name)
		require.NoError(t, err, name)
		assert.Equal(t, canonical, p.String())
		again, err := images.ParsePreprocessing(canonical)
		require.NoError(t, err)
		assert.Equal(t, p, again)

		text, err := json.Marshal(map[string]any{"preprocessing": p})
		require.NoError(t, err)
		assert.JSONEq(t, `{"preprocessing":"`+canonical+`"}`, string(text))
		var decoded map[string]images.Preprocessing
		require.NoError(t, json.Unmarshal(text, &decoded))
		assert.Equal(t, p, decoded["preprocessing"])
	}
	assert.Equal(t, "resize256-crop224:bilinear+keep224", images.Preprocessing{}.String())
}

func TestParsePreprocessingErrors(t *testing.T) {
	for name, hint := range map[string]string{
		"squash":                      "use resize256-crop224",
		"resize256":                   "use resize256-crop224",
		"resize256-crop200":           "use resize256-crop224",
		"resize223-crop224":           "224 to 30000",
		"resize0-crop224":             "shorter side to 0",
		"resize30001-crop224":         "224 to 30000",
		"resize9999999-crop224":       "use resize256-crop224",
		"warp224:cubic":               "nearest, box, hamming",
		"warp224:":                    "filter",
		"none:bilinear":               "no filter",
		"crop224:bilinear":            "no filter",
		"degrees(8)":                  "degrees(8,10)",
		"degrees(8,x)+none":           "numbers",
		"degrees(8,0)+none":           "above 0",
		"degrees(0,0)+none":           "above 0",
		"degrees(-8,8)+none":          "above 0",
		"degrees(NaN,8)+none":         "above 0",
		"degrees(8,Inf)+none":         "above 0",
		"degrees(8,1000)+none":        "up to 360",
		"degrees(8,10)+":              "",
		"warp224+degrees(8,10)":       "degrees(STIMULUS,FIELD)",
		"degrees(8,10)+degrees(8,10)": "use resize256-crop224",
		"warp224+upright+upright":     "upright twice",
		"warp224+composite(red)":      "#rrggbb",
		"warp224+composite(#12345)":   "#rrggbb",
		"warp224+composite(white":     "should be keep224",
		"warp224+sideways":            "should be keep224",
	} {
		_, err := images.ParsePreprocessing(name)
		require.ErrorIs(t, err, images.ErrPreprocessing, name)
		assert.ErrorContains(t, err, hint)
	}
	for _, p := range []images.Preprocessing{
		{Fit: 77}, {Fit: -1}, {Filter: 6}, {Filter: -1}, {Shorter: 100}, {StimulusDegrees: 3}, {FieldDegrees: math.NaN()},
	} {
		require.ErrorIs(t, p.Validate(), images.ErrPreprocessing)
		_, err := p.Apply(&images.Picture{Width: 1, Height: 1, Pix: make([]uint8, 3)})
		require.ErrorIs(t, err, images.ErrPreprocessing)
		_, err = p.MarshalText()
		require.ErrorIs(t, err, images.ErrPreprocessing)
		assert.NotEmpty(t, p.String())
	}
	var p images.Preprocessing
	require.ErrorIs(t, p.UnmarshalText([]byte("squash")), images.ErrPreprocessing)
	_, err := images.ParseFilter("Filter(9)")
	require.ErrorIs(t, err, images.ErrPreprocessing)
	assert.Equal(t, "Filter(9)", images.Filter(9).String())
}

func blank(width, height int) *images.Picture {
	return &images.Picture{Width: width, Height: height, Pix: make([]uint8, 3*width*height), Orientation: 1}
}

func TestApplyErrors(t *testing.T) {
	for _, c := range []struct {
		name          string
		width, height int
		hint          string
	}{
		{"none", 225, 224, "225×224"},
		{"none", 223, 223, "resize256-crop224"},
		{"crop224", 223, 500, "too small"},
		{"crop224", 500, 223, "too small"},
		{"degrees(360,0.001)+warp224", 10, 10, "leaves nothing"},
	} {
		p, err := images.ParsePreprocessing(c.name)
		require.NoError(t, err)
		_, err = p.Apply(blank(c.width, c.height))
		require.ErrorIs(t, err, images.ErrSize, c.name)
		assert.ErrorContains(t, err, c.hint)
	}
	p := images.DefaultPreprocessing()
	for _, picture := range []*images.Picture{nil, {}, {Width: 2, Height: 2, Pix: make([]uint8, 11)}} {
		_, err := p.Apply(picture)
		require.ErrorIs(t, err, images.ErrSize)
	}
	require.ErrorIs(t, p.ApplyTo(make([]uint8, 5), blank(3, 3)), images.ErrPreprocessing)

	p, err := images.ParsePreprocessing("degrees(0.0001,360)")
	require.NoError(t, err)
	_, err = p.Apply(blank(100, 100))
	require.ErrorIs(t, err, images.ErrTooLarge)

	_, err = blank(3, 3).Resize(0, 5, images.Box)
	require.ErrorIs(t, err, images.ErrPreprocessing)
	_, err = blank(3, 3).Resize(images.MaxSide+1, 5, images.Box)
	require.ErrorIs(t, err, images.ErrTooLarge)
}

// The longest pictures go through without their resized form, of 256×7,680,000
// pixels, ever existing.
func TestApplyToExtremeSizes(t *testing.T) {
	for _, filter := range []string{"bilinear", "lanczos", "nearest"} {
		p, err := images.ParsePreprocessing("resize256-crop224:" + filter)
		require.NoError(t, err)
		for _, picture := range []*images.Picture{blank(1, images.MaxSide), blank(images.MaxSide, 1)} {
			for i := range picture.Pix {
				picture.Pix[i] = 200
			}
			pixels, err := p.Apply(picture)
			require.NoError(t, err)
			for _, v := range pixels {
				require.EqualValues(t, 200, v)
			}
		}
	}
}

func TestApplyLeavesThePictureAlone(t *testing.T) {
	picture, err := images.Open("testdata/preprocess/224x224.png", images.Options{})
	require.NoError(t, err)
	before := append([]uint8(nil), picture.Pix...)
	for _, name := range []string{"none", "crop224", "warp224", "resize224-crop224", "degrees(3,3)+none"} {
		p, err := images.ParsePreprocessing(name)
		require.NoError(t, err)
		pixels, err := p.Apply(picture)
		require.NoError(t, err)
		assert.Equal(t, before, pixels, "a picture of 224×224 comes out of %s as it is", name)
		clear(pixels)
		require.Equal(t, before, picture.Pix)
	}
}

// A picture that is 224×224 already is taken as it is, unless the name says that all are resized.
func TestKeep224(t *testing.T) {
	picture := blank(224, 224)
	for i := range picture.Pix {
		picture.Pix[i] = uint8(i * 7)
	}
	for name, kept := range map[string]bool{
		"": true, "resize256-crop224+keep224": true, "torchvision300-crop224:lanczos+keep224": true, "warp224": true,
		"crop224": true,
		"none":    true, "resize256-crop224": false, "degrees(8,8)+resize256-crop224": false, "resize224-crop224": true,
	} {
		p, err := images.ParsePreprocessing(name)
		require.NoError(t, err)
		pixels, err := p.Apply(picture)
		require.NoError(t, err)
		assert.Equal(t, kept, bytes.Equal(picture.Pix, pixels), name)
	}
	pixels, err := images.Preprocessing{}.Apply(picture)
	require.NoError(t, err)
	assert.Equal(t, picture.Pix, pixels, "the zero value is the default")
	// Other sizes are prepared as before.
	for _, size := range [][2]int{{225, 224}, {224, 225}, {448, 448}, {10, 10}} {
		published, err := images.ParsePreprocessing("resize256-crop224")
		require.NoError(t, err)
		want, err := published.Apply(blank(size[0], size[1]))
		require.NoError(t, err)
		got, err := images.DefaultPreprocessing().Apply(blank(size[0], size[1]))
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
}

func TestNoticesAreCounted(t *testing.T) {
	var warned, noted []string
	n := images.Notices{
		Warn: func(message string) { warned = append(warned, message) },
		Note: func(message string) { noted = append(noted, message) },
	}
	clear, dark, plain := blank(224, 224), blank(30, 20), blank(30, 20)
	clear.Transparent, dark.Bits = true, 10
	how := images.DefaultPreprocessing()
	for range 2 { // a picture that is read again counts once
		n.Picture("clear.png", clear, how)
		n.Picture("dark.png", dark, how)
		n.Picture("plain.png", plain, how)
		n.Picture("other.png", dark, how)
	}
	require.Len(t, warned, 2)
	assert.Contains(t, warned[0], "clear.png has pixels that are not opaque; their alpha is dropped")
	assert.Contains(t, warned[1], "dark.png has 16 bits a channel of which only the lower 10 are used")
	require.Len(t, noted, 1)
	assert.Contains(t, noted[0], "clear.png is 224×224 already and is taken as it is")
	assert.Equal(t, map[string]int{"transparent": 1, "unused_bits": 2, "kept_224": 1}, n.Counts())
	n.Close()
	n.Close()
	assert.Nil(t, n.Counts())
	require.Len(t, warned, 3)
	assert.Contains(t, warned[2], "in all, 2 pictures have 16 bits of which the highest are not used")
	assert.Len(t, noted, 1)

	warned, noted = nil, nil
	how.Always, how.Background = true, &[3]uint8{255, 255, 255}
	n.Picture("clear.png", clear, how)
	require.Len(t, warned, 1)
	assert.Contains(t, warned[0], "resized and cropped all the same")
	require.Len(t, noted, 1)
	assert.Contains(t, noted[0], "composited with #ffffff")
}
