package tfconvrnn

import (
	"errors"
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const astronaut = "../testdata/pictures/astronaut.png"

func normalized(t testing.TB, img *Image) []float32 {
	loaded, err := img.loaded()
	require.NoError(t, err)
	dst := make([]float32, imageValues)
	loaded.normalizeInto(dst)
	return dst
}

func TestArraysAreChecked(t *testing.T) {
	for _, n := range []int{0, 1, 3, imageValues - 1, imageValues + 1, 2*imageValues - 3} {
		_, err := FromUint8(make([]uint8, n))
		assert.ErrorIs(t, err, ErrImages, n)
		_, err = FromFloat32(make([]float32, n))
		assert.ErrorIs(t, err, ErrImages, n)
	}
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1e-30, -1, 255.0001, 1e30} {
		pixels := make([]float32, 2*imageValues)
		pixels[imageValues+(7*ImageSize+5)*3+2] = float32(v)
		_, err := FromFloat32(pixels)
		require.ErrorIs(t, err, ErrImages, v)
		assert.ErrorContains(t, err, "image 1")
		assert.ErrorContains(t, err, "row 7, column 5, channel 2")
	}
	stimuli, err := FromUint8(make([]uint8, 3*imageValues))
	require.NoError(t, err)
	require.Len(t, stimuli, 3)
	assert.Equal(t, "2", stimuli[2].ID)
}

func TestNormalization(t *testing.T) {
	bytes := make([]uint8, imageValues)
	unit, wide := make([]float32, imageValues), make([]float32, imageValues)
	for i := range bytes {
		bytes[i] = uint8(i * 7)
		unit[i], wide[i] = float32(bytes[i])/255, float32(bytes[i])
	}
	fromBytes, err := FromUint8(bytes)
	require.NoError(t, err)
	fromUnit, err := FromFloat32(unit)
	require.NoError(t, err)
	fromWide, err := FromFloat32(wide)
	require.NoError(t, err)
	want := normalized(t, fromBytes[0].Frames[0])
	assert.Equal(t, want, normalized(t, fromUnit[0].Frames[0]), "0 … 1")
	assert.Equal(t, want, normalized(t, fromWide[0].Frames[0]), "0 … 255")
	assert.Equal(t, float32(252), wide[36], "what was passed is left as it is")
	mean, deviation := []float64{0.485, 0.456, 0.406}, []float64{0.229, 0.224, 0.225}
	for _, i := range []int{0, 1, 2, 3001, 99998} {
		assert.InDelta(t, (float64(bytes[i])/255-mean[i%3])/deviation[i%3], want[i], 1e-6)
	}
	// All values at most 1 are taken as they are, even where they mean black bytes.
	dark := make([]float32, imageValues)
	dark[0] = 1
	stimuli, err := FromFloat32(dark)
	require.NoError(t, err)
	assert.InDelta(t, (1-0.485)/0.229, normalized(t, stimuli[0].Frames[0])[0], 1e-6)
	// One value above 1 anywhere scales all images of the array, as in the published code.
	two := make([]float32, 2*imageValues)
	two[0], two[imageValues] = 1, 255
	stimuli, err = FromFloat32(two)
	require.NoError(t, err)
	assert.InDelta(t, (1/255.-0.485)/0.229, normalized(t, stimuli[0].Frames[0])[0], 1e-6)
}

func TestFilesAndImages(t *testing.T) {
	stimuli, err := ReadImages(astronaut)
	require.NoError(t, err)
	require.Len(t, stimuli, 1)
	assert.Equal(t, "astronaut.png", stimuli[0].ID)
	lazy, err := FileImage(astronaut, Preprocessing{})
	require.NoError(t, err)
	assert.Equal(t, normalized(t, stimuli[0].Frames[0]), normalized(t, lazy))

	_, err = ReadImages(astronaut, filepath.Join(t.TempDir(), "nowhere.png"))
	assert.ErrorIs(t, err, os.ErrNotExist)
	broken := filepath.Join(t.TempDir(), "broken.png")
	require.NoError(t, os.WriteFile(broken, []byte("\x89PNG\r\n\x1a\n"), 0o644))
	_, err = ReadImages(broken)
	assert.ErrorIs(t, err, ErrUnreadable)
	assert.ErrorContains(t, err, broken)
	_, err = ReadImagesAs(Preprocessing{Name: "stretch"}, astronaut)
	assert.ErrorIs(t, err, ErrOption)
	_, err = FileImage(astronaut, Preprocessing{Name: "stretch"})
	assert.ErrorIs(t, err, ErrOption)

	grey := image.NewGray(image.Rect(0, 0, 300, 500))
	for i := range grey.Pix {
		grey.Pix[i] = 77
	}
	img, err := NewImage(grey, Preprocessing{})
	require.NoError(t, err)
	pixels, err := img.Pixels()
	require.NoError(t, err)
	require.Len(t, pixels, imageValues)
	for i, v := range pixels {
		require.InDelta(t, 77/255., v, 0.003, "value %d", i)
	}
	for _, bad := range []image.Image{nil, image.NewGray(image.Rectangle{}), image.NewUniform(color.White)} {
		_, err := NewImage(bad, Preprocessing{})
		assert.ErrorIs(t, err, ErrImages, "%T", bad)
	}
	_, err = NewImage(grey, Preprocessing{Name: "none"})
	assert.ErrorIs(t, err, ErrImages, "it is not 224×224")

	failing := LazyImage(func() ([]uint8, error) { return nil, errors.New("gone") })
	_, err = failing.Pixels()
	assert.ErrorContains(t, err, "gone")
	short := LazyImage(func() ([]uint8, error) { return make([]uint8, 5), nil })
	_, err = short.Pixels()
	assert.ErrorIs(t, err, ErrImages)
}

func TestBlanks(t *testing.T) {
	dst := make([]float32, imageValues)
	require.NoError(t, PublishedBlank().normalizeInto(dst))
	for _, v := range dst {
		require.Equal(t, float32(0.5), v)
	}
	grey, err := ColorBlank(0.5, 0.25, 1)
	require.NoError(t, err)
	require.NoError(t, grey.normalizeInto(dst))
	assert.InDeltaSlice(t, []float64{(0.5 - 0.485) / 0.229, (0.25 - 0.456) / 0.224, (1 - 0.406) / 0.225},
		toFloat64(dst[:3]), 1e-6)
	assert.Equal(t, dst[:3], dst[imageValues-3:])
	assert.Equal(t, "rgb(0.5,0.25,1)", grey.String())
	assert.Equal(t, "published", PublishedBlank().String())
	for _, rgb := range [][3]float64{{-0.1, 0, 0}, {0, 1.1, 0}, {0, 0, math.NaN()}, {math.Inf(1), 0, 0}} {
		_, err := ColorBlank(rgb[0], rgb[1], rgb[2])
		assert.ErrorIs(t, err, ErrPresentation, "%v", rgb)
	}
	bad := ImageBlank("mine", LazyImage(func() ([]uint8, error) { return nil, errors.New("gone") }))
	assert.ErrorContains(t, bad.normalizeInto(dst), "mine")
}

func toFloat64(values []float32) []float64 {
	result := make([]float64, len(values))
	for i, v := range values {
		result[i] = float64(v)
	}
	return result
}

func TestPreprocessingNames(t *testing.T) {
	assert.Equal(t, DefaultPreprocessing, Preprocessing{}.String())
	assert.Equal(t, DefaultPreprocessing+"+upright", Preprocessing{ApplyOrientation: true}.String())
	for _, p := range []Preprocessing{
		{Name: "no such"}, {Alpha: "white"}, {Alpha: "composite:red"}, {Name: "none+composite(black)", Alpha: "drop"},
		{Name: "none+composite(black)", Alpha: "composite:white"},
	} {
		_, err := p.Canonical()
		assert.ErrorIs(t, err, ErrOption)
	}
	// What is recorded can be read back.
	for _, name := range []string{"", "warp224:box", "none", "crop224", "degrees(8,10)",
		"torchvision256-crop224+keep224"} {
		for _, upright := range []bool{false, true} {
			for _, alpha := range []string{"", "drop", "composite:black", "composite:#fFe001"} {
				p := Preprocessing{Name: name, ApplyOrientation: upright, Alpha: alpha}
				want, err := p.Canonical()
				require.NoError(t, err)
				got, err := Preprocessing{Name: p.String()}.Canonical()
				require.NoError(t, err, p.String())
				assert.Equal(t, want, got)
				assert.Equal(t, p.String(), got.String())
				assert.Equal(t, upright, got.ApplyOrientation)
			}
		}
	}
	assert.Equal(t, "none+upright+composite(#ffffff)", Preprocessing{Name: "none", ApplyOrientation: true,
		Alpha: "composite:white"}.String())
}

func TestBlankHash(t *testing.T) {
	hash := func(b Blank) string {
		h, err := b.SHA256()
		require.NoError(t, err)
		return h
	}
	gray, err := ColorBlank(0.5, 0.5, 0.5)
	require.NoError(t, err)
	pixels := make([]uint8, imageValues)
	black, err := FromUint8(pixels)
	require.NoError(t, err)
	color, err := ColorBlank(0, 0, 0)
	require.NoError(t, err)
	assert.Len(t, hash(PublishedBlank()), 64)
	assert.NotEqual(t, hash(PublishedBlank()), hash(gray))
	assert.Equal(t, hash(color), hash(ImageBlank("any", black[0].Frames[0])), "what is shown counts, not its name")
	assert.NotEqual(t, hash(ImageBlank("any", black[0].Frames[0])), hash(gray))
	broken := errors.New("broken")
	_, err = ImageBlank("x", LazyImage(func() ([]uint8, error) { return nil, broken })).SHA256()
	assert.ErrorIs(t, err, broken)
}
