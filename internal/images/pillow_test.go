package images_test

import (
	"encoding/json"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/images"
)

// pillowCase is an entry of testdata/cases.json, written by
// testdata/generate.py with Pillow 13.0.0.
type pillowCase struct {
	Kind, File, Expected, Upright, Filter, Name string
	Tolerance, Orientation, Width, Height       int
	Frames                                      []string
	Delays                                      []int
}

func pillowCases(t testing.TB, kind string) []pillowCase {
	t.Helper()
	data, err := os.ReadFile("testdata/cases.json")
	require.NoError(t, err)
	var all, chosen []pillowCase
	require.NoError(t, json.Unmarshal(data, &all))
	for _, c := range all {
		if c.Kind == kind {
			chosen = append(chosen, c)
		}
	}
	require.NotEmpty(t, chosen)
	return chosen
}

// readPNG reads an expected picture, an RGB PNG, without the package under test.
func readPNG(t testing.TB, name string) (width, height int, pix []uint8) {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", name))
	require.NoError(t, err)
	defer file.Close()
	img, err := png.Decode(file)
	require.NoError(t, err)
	rgba, ok := img.(*image.RGBA)
	require.True(t, ok, "%s is a %T", name, img)
	for i := 0; i < len(rgba.Pix); i += 4 {
		pix = append(pix, rgba.Pix[i:i+3]...)
	}
	return rgba.Rect.Dx(), rgba.Rect.Dy(), pix
}

func largestDifference(a, b []uint8) int {
	largest := 0
	for i := range a {
		largest = max(largest, int(a[i])-int(b[i]), int(b[i])-int(a[i]))
	}
	return largest
}

func requirePixels(t testing.TB, expected string, picture *images.Picture, tolerance int) {
	t.Helper()
	width, height, pix := readPNG(t, expected)
	require.Equal(t, []int{width, height}, []int{picture.Width, picture.Height})
	require.Len(t, picture.Pix, len(pix))
	difference := largestDifference(pix, picture.Pix)
	if testing.Verbose() && difference > 0 {
		t.Logf("largest difference from Pillow: %d grey levels", difference)
	}
	require.LessOrEqual(t, difference, tolerance, "grey levels of difference from Pillow")
}

// pillowTolerances are the largest differences from Pillow, in grey levels, by patterns of files' names, of which the
// first that fits holds; other files are equal. The standard library's inverse cosine transform differs from libjpeg's
// by one level of luma or chroma here and there, and chroma is amplified by up to 1.77, and more in L*a*b*.
var pillowTolerances = []struct {
	pattern string
	levels  int
}{
	{"cmyk-[12]*.jpg", 0}, {"cmyk-420*.jpg", 0}, {"ycck-[12]*.jpg", 0}, {"ycck-420*.jpg", 0}, {"rgb-420*.jpg", 0},
	{"y11c22*.jpg", 0}, {"y31c11*.jpg", 0}, {"cb12cr11*.jpg", 0}, {"go54997*.jpg", 0}, {"420-progressive-restart*.jpg", 0},
	{"*.jpg", 3}, {"*.jfif", 3}, {"*.jpe", 3},
	{"*LAB-jpeg.tif", 5}, {"*jpeg*.tif", 3}, {"*lab*.tif", 1}, {"*LAB*.tif", 1}, {"*[yY][cC]b[cC]r*.tif", 1},
}

func pillowTolerance(t testing.TB, name string) int {
	t.Helper()
	for _, kind := range pillowTolerances {
		fits, err := filepath.Match(kind.pattern, name)
		require.NoError(t, err)
		if fits {
			return kind.levels
		}
	}
	return 0
}

// TestPillow reads every file of testdata/pillow, which the scripts testdata/generate_*.py write, and compares it with
// what Pillow makes of it, FILE.expected.png; or the error holds what FILE.refused says.
func TestPillow(t *testing.T) {
	entries, err := os.ReadDir("testdata/pillow")
	require.NoError(t, err)
	count := 0
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasSuffix(name, ".expected.png") || strings.HasSuffix(name, ".refused") ||
			strings.HasPrefix(name, "gif-animation") {
			continue
		}
		count++
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata/pillow", name)
			assert.Contains(t, images.Extensions(), filepath.Ext(name))
			picture, err := images.Open(path, images.Options{})
			if refused, missing := os.ReadFile(path + ".refused"); missing == nil {
				require.ErrorIs(t, err, images.ErrUnreadable)
				require.ErrorContains(t, err, strings.TrimSpace(string(refused)))
				if strings.Contains(err.Error(), "not supported") {
					require.ErrorContains(t, err, "PNG", "the remedy")
				}
				return
			}
			require.NoError(t, err)
			requirePixels(t, filepath.Join("pillow", name+".expected.png"), picture, pillowTolerance(t, name))
			// Of TIFF see TestNoticesOfConversions.
			if !strings.HasPrefix(name, "fault-") && name != "maxval-above.pgm" && filepath.Ext(name) != ".tif" {
				assert.Empty(t, picture.Notice)
			}
		})
	}
	require.Greater(t, count, 700)
}

func TestDecodeEqualsPillow(t *testing.T) {
	for _, c := range pillowCases(t, "decode") {
		t.Run(filepath.Base(c.File), func(t *testing.T) {
			path := filepath.Join("testdata", c.File)
			stored, err := images.Open(path, images.Options{})
			require.NoError(t, err)
			requirePixels(t, c.Expected, stored, c.Tolerance)
			assert.Equal(t, c.Orientation, stored.Orientation)
			format := map[string]string{
				".png": images.PNG, ".jpg": images.JPEG, ".gif": images.GIF,
				".webp": images.WebP, ".bmp": images.BMP, ".tif": images.TIFF,
			}[filepath.Ext(c.File)]
			assert.Equal(t, format, stored.Format)

			upright, err := images.Open(path, images.Options{ApplyOrientation: true})
			require.NoError(t, err)
			assert.Equal(t, 1, upright.Orientation)
			assert.Equal(t, format, upright.Format)
			if c.Upright == "" {
				assert.Equal(t, stored, upright)
			} else {
				requirePixels(t, c.Upright, upright, c.Tolerance)
			}
		})
	}
}

func TestAnimationEqualsPillow(t *testing.T) {
	for _, c := range pillowCases(t, "animation") {
		t.Run(filepath.Base(c.File), func(t *testing.T) {
			path := filepath.Join("testdata", c.File)
			animation, err := images.OpenAnimation(path)
			require.NoError(t, err)
			require.Equal(t, len(c.Frames), animation.Len())
			for i, delay := range c.Delays {
				assert.Equal(t, time.Duration(delay)*time.Millisecond, animation.Delays[i])
			}
			for range 2 { // frames can be gone through again
				count := 0
				for i, frame := range animation.Frames() {
					require.Equal(t, count, i)
					requirePixels(t, c.Frames[i], frame, 0)
					clear(frame.Pix) // the caller's: must not show in later frames
					count++
				}
				require.Equal(t, len(c.Frames), count)
			}
			still, err := images.Open(path, images.Options{})
			require.NoError(t, err)
			requirePixels(t, c.Frames[0], still, 0)
		})
	}
}

func TestResizeEqualsPillow(t *testing.T) {
	for _, c := range pillowCases(t, "resize") {
		t.Run(strings.TrimSuffix(filepath.Base(c.Expected), ".png"), func(t *testing.T) {
			source, err := images.Open(filepath.Join("testdata", c.File), images.Options{})
			require.NoError(t, err)
			filter, err := images.ParseFilter(c.Filter)
			require.NoError(t, err)
			resized, err := source.Resize(c.Width, c.Height, filter)
			require.NoError(t, err)
			requirePixels(t, c.Expected, resized, 0)
		})
	}
}

func TestPreprocessingEqualsPillow(t *testing.T) {
	for _, c := range pillowCases(t, "preprocess") {
		t.Run(filepath.Base(c.File)+" "+c.Name, func(t *testing.T) {
			picture, err := images.Open(filepath.Join("testdata", c.File), images.Options{})
			require.NoError(t, err)
			preprocessing, err := images.ParsePreprocessing(c.Name)
			require.NoError(t, err)
			assert.Equal(t, c.Name, preprocessing.String())
			pixels, err := preprocessing.Apply(picture)
			require.NoError(t, err)
			tolerance := 0
			if picture.Format == images.JPEG {
				tolerance = 2 // what is left of the decoders' difference
			}
			requirePixels(t, c.Expected, &images.Picture{Width: 224, Height: 224, Pix: pixels}, tolerance)
		})
	}
}

// The reference outputs of the models were computed on these.
func TestPreprocessingEqualsGoldenImages(t *testing.T) {
	npy, err := os.ReadFile("../../testdata/golden/images.npy")
	require.NoError(t, err)
	const size = 224 * 224 * 3
	require.Equal(t, "\x93NUMPY\x01\x00", string(npy[:8]))
	require.Contains(t, string(npy[:128]), "'|u1'")
	require.Contains(t, string(npy[:128]), "(2, 224, 224, 3)")
	golden := npy[len(npy)-2*size:]
	for i, name := range []string{"astronaut.png", "chelsea.png"} {
		picture, err := images.Open("../../testdata/pictures/"+name, images.Options{})
		require.NoError(t, err)
		pixels, err := images.DefaultPreprocessing().Apply(picture)
		require.NoError(t, err)
		assert.Zero(t, largestDifference(golden[i*size:(i+1)*size], pixels), name)
	}
}
