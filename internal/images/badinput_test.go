package images_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/images"
)

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "pictures", name))
	require.NoError(t, err)
	return data
}

// sized returns the start of a picture file that declares a size.
func sized(t testing.TB, format string, width, height uint32) []byte {
	t.Helper()
	switch format {
	case images.PNG:
		data := fixture(t, "rgb.png")
		binary.BigEndian.PutUint32(data[16:], width)
		binary.BigEndian.PutUint32(data[20:], height)
		binary.BigEndian.PutUint32(data[29:], crc32.ChecksumIEEE(data[12:29]))
		return data
	case images.JPEG:
		data := fixture(t, "444-64x48.jpg")
		at := bytes.Index(data, []byte{0xff, 0xc0})
		binary.BigEndian.PutUint16(data[at+5:], uint16(height))
		binary.BigEndian.PutUint16(data[at+7:], uint16(width))
		return data
	case images.GIF:
		data := fixture(t, "keep.gif")
		binary.LittleEndian.PutUint16(data[6:], uint16(width))
		binary.LittleEndian.PutUint16(data[8:], uint16(height))
		return data
	case images.BMP:
		data := fixture(t, "rgb.bmp")
		binary.LittleEndian.PutUint32(data[18:], width)
		binary.LittleEndian.PutUint32(data[22:], height)
		return data
	case images.TIFF:
		data := fixture(t, "rgb-raw.tif")
		entries := data[binary.LittleEndian.Uint32(data[4:])+2:]
		for ; binary.LittleEndian.Uint16(entries) <= 0x101; entries = entries[12:] {
			binary.LittleEndian.PutUint16(entries[2:], 4)
			switch binary.LittleEndian.Uint16(entries) {
			case 0x100:
				binary.LittleEndian.PutUint32(entries[8:], width)
			case 0x101:
				binary.LittleEndian.PutUint32(entries[8:], height)
			}
		}
		return data
	}
	require.FailNow(t, "no such format", format)
	return nil
}

func TestDecodeChecksSizes(t *testing.T) {
	for _, c := range []struct {
		format        string
		width, height uint32
		target        error
	}{
		{images.PNG, 0, 5, images.ErrUnreadable},
		{images.PNG, 5, 0, images.ErrUnreadable},
		{images.PNG, 60_000, 60_000, images.ErrTooLarge},
		{images.PNG, 60_000, 1, images.ErrTooLarge},
		{images.PNG, 1, 30_001, images.ErrTooLarge},
		{images.PNG, 20_000, 20_000, images.ErrTooLarge},
		{images.PNG, 13_000, 13_000, images.ErrUnreadable},
		{images.PNG, 1 << 31, 1 << 31, images.ErrUnreadable},
		{images.JPEG, 0, 5, images.ErrUnreadable},
		{images.JPEG, 5, 0, images.ErrUnreadable},
		{images.JPEG, 60_000, 60_000, images.ErrTooLarge},
		{images.JPEG, 13_000, 13_000, images.ErrUnreadable},
		{images.GIF, 60_000, 60_000, images.ErrTooLarge},
		{images.GIF, 13_000, 13_000, images.ErrUnreadable},
		{images.BMP, 0, 5, images.ErrUnreadable},
		{images.BMP, 60_000, 60_000, images.ErrTooLarge},
		{images.BMP, 13_000, 13_000, images.ErrUnreadable},
		{images.BMP, 1 << 31, 1 << 31, images.ErrUnreadable},
		{images.TIFF, 0, 5, images.ErrUnreadable},
		{images.TIFF, 60_000, 60_000, images.ErrTooLarge},
		{images.TIFF, 13_000, 13_000, images.ErrUnreadable},
	} {
		data := sized(t, c.format, c.width, c.height)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		picture, err := images.DecodeBytes(data, "stimulus.xyz", images.Options{})
		runtime.ReadMemStats(&after)
		require.Nil(t, picture)
		require.ErrorIs(t, err, c.target, "%s %d×%d", c.format, c.width, c.height)
		assert.Contains(t, err.Error(), "stimulus.xyz")
		assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20), "bytes allocated for %v", err)
	}
}

func TestWebPTooLarge(t *testing.T) {
	data := fixture(t, "lossless.webp")
	at := bytes.Index(data, []byte("VP8L")) + 9
	binary.LittleEndian.PutUint32(data[at:], 16382|16382<<14)
	_, err := images.DecodeBytes(data, "large.webp", images.Options{})
	require.ErrorIs(t, err, images.ErrTooLarge)
	assert.Contains(t, err.Error(), "16383×16383")
}

func TestUnsupportedFormats(t *testing.T) {
	for content, hint := range map[string]string{
		"just text":                                        "PNG, JPEG, GIF, WebP, BMP, TIFF, PNM",
		"\x00\x00\x00\x1cftypavif\x00\x00":                 `this is AVIF: convert it first, with ImageMagick for example: magick "odd.bin" "odd.png"`,
		"\x00\x00\x00\x1cftypheic\x00\x00":                 "this is HEIF: convert",
		"\x00\x00\x00\x1cftypmif1\x00\x00\x00\x00mif1avif": "this is AVIF",
		"\x00\x00\x00\x1cftypisom\x00\x00":                 "video",
		"\x00\x00\x00\x0cjP  \r\n\x87\n":                   "JPEG 2000",
		"\x00\x00\x00\x0cJXL \r\n\x87\n":                   "JPEG XL: convert",
		"\xff\x0a\x00\x00":                                 "JPEG XL",
		"%PDF-1.7":                                         "PDF",
		"8BPS":                                             "Photoshop",
		"\x93NUMPY\x01\x00":                                "NumPy array: save it with the ending .npy",
		"\x89HDF\r\n\x1a\n":                                "HDF5",
		"PK\x03\x04":                                       "unpack it first",
		"\x00\x00\x01\x00":                                 "Windows icon",
		"P7\nWIDTH 3":                                      "PAM",
		"\n <svg xmlns='http://example.org'>":              "SVG: convert",
		"<?xml version='1.0'?><svg>":                       "SVG",
		"<!DOCTYPE html><html>":                            "a download that failed",
		"R":                                                "supported are",
	} {
		_, err := images.Decode(strings.NewReader(content), "odd.bin", images.Options{})
		require.ErrorIs(t, err, images.ErrUnsupportedFormat, "%q", content)
		assert.ErrorContains(t, err, "odd.bin")
		assert.ErrorContains(t, err, hint)
	}
}

func TestNotFetched(t *testing.T) {
	for content, remedy := range map[string]string{
		"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n": "git lfs pull",
		"/annex/objects/MD5E-s2--0a.png\n":                                          "datalad get odd.png",
		"../.git/annex/objects/0a/1b/MD5E-s2--0a.png/MD5E-s2--0a.png":               "git annex get odd.png",
	} {
		_, err := images.Decode(strings.NewReader(content), "set/odd.png", images.Options{})
		require.ErrorIs(t, err, images.ErrNotFetched, content)
		require.ErrorIs(t, err, images.ErrUnreadable)
		assert.ErrorContains(t, err, "set/odd.png")
		assert.ErrorContains(t, err, remedy)
	}
	link := filepath.Join(t.TempDir(), "face.png")
	require.NoError(t, os.Symlink("../.git/annex/objects/0a/1b/KEY/KEY", link))
	_, err := images.Open(link, images.Options{})
	require.ErrorIs(t, err, images.ErrNotFetched)
	require.ErrorIs(t, err, fs.ErrNotExist)
	assert.ErrorContains(t, err, "datalad get face.png")
}

func TestUnreadable(t *testing.T) {
	t.Run("empty", func(t *testing.T) {
		_, err := images.Decode(strings.NewReader(""), "empty.png", images.Options{})
		require.ErrorIs(t, err, images.ErrUnreadable)
		assert.ErrorContains(t, err, "empty.png")
	})
	t.Run("missing", func(t *testing.T) {
		_, err := images.Open(filepath.Join(t.TempDir(), "missing.png"), images.Options{})
		require.ErrorIs(t, err, fs.ErrNotExist)
		_, err = images.OpenAnimation(filepath.Join(t.TempDir(), "missing.gif"))
		require.ErrorIs(t, err, fs.ErrNotExist)
	})
	t.Run("folder", func(t *testing.T) {
		_, err := images.Open(t.TempDir(), images.Options{})
		require.Error(t, err)
	})
	t.Run("reader fails", func(t *testing.T) {
		broken := errors.New("broken pipe")
		_, err := images.Decode(iotest.ErrReader(broken), "pipe", images.Options{})
		require.ErrorIs(t, err, broken)
		_, err = images.DecodeAnimation(iotest.ErrReader(broken), "pipe")
		require.ErrorIs(t, err, broken)
	})
	t.Run("truncated", func(t *testing.T) {
		for _, name := range []string{
			"rgb.png", "420-61x47.jpg", "progressive.jpg", "lossy-61x47.webp", "lossless.webp", "rgba.bmp", "rgb-lzw.tif",
		} {
			data := fixture(t, name)
			last := len(data) - 1
			if filepath.Ext(name) == ".png" {
				last -= 40 // without its end and checksums it can be read
			}
			for _, length := range []int{last, len(data) * 3 / 4, len(data) / 2, len(data) / 4, 20, 13} {
				_, err := images.DecodeBytes(data[:length], name, images.Options{})
				require.ErrorIs(t, err, images.ErrUnreadable, "%s cut to %d bytes", name, length)
				assert.ErrorContains(t, err, name)
			}
		}
		data := fixture(t, "keep.gif")
		_, err := images.DecodeBytes(data[:200], "cut.gif", images.Options{})
		require.ErrorIs(t, err, images.ErrUnreadable)
		_, err = images.DecodeAnimation(bytes.NewReader(data[:len(data)-10]), "cut.gif")
		require.ErrorIs(t, err, images.ErrUnreadable)
		assert.ErrorContains(t, err, "cut.gif")
	})
	t.Run("variants", func(t *testing.T) {
		_, err := images.Open("testdata/pillow/tiff-refused-f8.tif", images.Options{})
		require.ErrorIs(t, err, images.ErrUnreadable)
		assert.ErrorContains(t, err, "save it as an RGB PNG")
	})
}

// Every bit of a small file flipped in turn, in every format: an error or a
// picture, but neither a panic nor a picture that contradicts itself.
func TestFlippedBits(t *testing.T) {
	for _, name := range []string{
		"1x1.png", "grey-4bit.png", "420-4x7.jpg", "exif-6.png", "exif-3.jpg", "keep.gif", "lossy-2x5.webp",
		"lossy-alpha.webp",
		"bilevel.bmp", "palette.tif", "grey-lzw.tif", "bilevel-group4-white-is-zero.tif",
	} {
		data := fixture(t, name)
		step := max(1, len(data)/150)
		for i := 0; i < len(data); i += step {
			for bit := range 8 {
				data[i] ^= 1 << bit
				decodeAnything(t, data)
				data[i] ^= 1 << bit
			}
		}
	}
}

func decodeAnything(t testing.TB, data []byte) {
	t.Helper()
	picture, err := images.DecodeBytes(data, "any", images.Options{ApplyOrientation: true})
	if err != nil {
		require.Nil(t, picture)
		known := errors.Is(err, images.ErrUnreadable) || errors.Is(err, images.ErrTooLarge) ||
			errors.Is(err, images.ErrUnsupportedFormat)
		require.True(t, known, "%v", err)
		return
	}
	require.Len(t, picture.Pix, 3*picture.Width*picture.Height)
	require.Equal(t, 1, picture.Orientation)
}

func TestOrientationOutOfRange(t *testing.T) {
	picture, err := images.Open("testdata/pictures/exif-9.jpg", images.Options{})
	require.NoError(t, err)
	assert.Equal(t, 1, picture.Orientation)
}

func TestAnimationErrors(t *testing.T) {
	_, err := images.OpenAnimation("testdata/pictures/rgb.png")
	require.ErrorIs(t, err, images.ErrUnsupportedFormat)
	assert.ErrorContains(t, err, "this is PNG")

	_, err = images.DecodeAnimation(bytes.NewReader(sized(t, images.GIF, 60_000, 60_000)), "large.gif")
	require.ErrorIs(t, err, images.ErrTooLarge)

	// Many frames that each declare a large area but hold nothing.
	data := fixture(t, "keep.gif")
	data = binary.LittleEndian.AppendUint16(data[:6:6], 4000)
	data = binary.LittleEndian.AppendUint16(data, 4000)
	data = append(data, 0x80, 0, 0, 0, 0, 0, 255, 255, 255)
	frame := binary.LittleEndian.AppendUint16([]byte{',', 0, 0, 0, 0}, 4000)
	frame = append(binary.LittleEndian.AppendUint16(frame, 4000), 0, 2, 1, 0x2c, 0)
	few, many := bytes.Repeat(frame, 3), bytes.Repeat(frame, 30)
	_, err = images.DecodeAnimation(bytes.NewReader(append(data[:len(data):len(data)], few...)), "few.gif")
	require.ErrorIs(t, err, images.ErrUnreadable)
	assert.ErrorContains(t, err, "cannot hold")
	_, err = images.DecodeAnimation(bytes.NewReader(append(data, many...)), "many.gif")
	require.ErrorIs(t, err, images.ErrTooLarge)
	assert.ErrorContains(t, err, "frames together")
}

func TestAnimationIterationStops(t *testing.T) {
	animation, err := images.OpenAnimation("testdata/pictures/keep.gif")
	require.NoError(t, err)
	count := 0
	for range animation.Frames() {
		count++
		break
	}
	assert.Equal(t, 1, count)
}

func TestFromImage(t *testing.T) {
	colours := []color.NRGBA{{255, 10, 20, 255}, {30, 200, 40, 255}, {90, 80, 70, 0}, {1, 2, 3, 255}}
	rect := image.Rect(-1, 2, 1, 4)
	nrgba := image.NewNRGBA(rect)
	for i, c := range colours {
		nrgba.SetNRGBA(rect.Min.X+i%2, rect.Min.Y+i/2, c)
	}
	expected := []uint8{255, 10, 20, 30, 200, 40, 90, 80, 70, 1, 2, 3}
	for _, img := range []image.Image{nrgba, struct{ image.Image }{nrgba}} {
		picture, err := images.FromImage(img, images.Options{})
		require.NoError(t, err)
		assert.Equal(t, &images.Picture{Width: 2, Height: 2, Pix: expected, Orientation: 1, Transparent: true}, picture)
	}
	rgba := image.NewRGBA(image.Rect(0, 0, 1, 1))
	rgba.Pix = []uint8{50, 100, 20, 100}
	picture, err := images.FromImage(rgba, images.Options{})
	require.NoError(t, err)
	assert.Equal(t, []uint8{127, 255, 51}, picture.Pix, "premultiplied colour is divided by alpha")

	// Parts of an image are those of the whole.
	whole := image.NewYCbCr(image.Rect(0, 0, 9, 7), image.YCbCrSubsampleRatio444)
	for i := range whole.Y {
		whole.Y[i], whole.Cb[i], whole.Cr[i] = uint8(3*i), uint8(200-i), uint8(90+i)
	}
	all, err := images.FromImage(whole, images.Options{})
	require.NoError(t, err)
	part, err := images.FromImage(whole.SubImage(image.Rect(3, 2, 8, 6)), images.Options{})
	require.NoError(t, err)
	for y := range part.Height {
		start := 3 * ((y+2)*9 + 3)
		assert.Equal(t, all.Pix[start:start+15], part.Pix[15*y:15*(y+1)])
	}
	for _, ratio := range []image.YCbCrSubsampleRatio{
		image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio420, image.YCbCrSubsampleRatio440,
		image.YCbCrSubsampleRatio411, image.YCbCrSubsampleRatio410,
	} {
		img := image.NewYCbCr(image.Rect(1, 1, 8, 8), ratio)
		picture, err := images.FromImage(img, images.Options{})
		require.NoError(t, err)
		assert.Len(t, picture.Pix, 7*7*3)
	}

	_, err = images.FromImage(image.NewUniform(color.White), images.Options{})
	require.ErrorIs(t, err, images.ErrTooLarge)
	_, err = images.FromImage(image.NewGray(image.Rectangle{}), images.Options{})
	require.ErrorIs(t, err, images.ErrUnreadable)
}

func TestConcurrentUse(t *testing.T) {
	data := fixture(t, "420-61x47.jpg")
	preprocessing := images.DefaultPreprocessing()
	first, err := images.DecodeBytes(data, "p", images.Options{})
	require.NoError(t, err)
	expected, err := preprocessing.Apply(first)
	require.NoError(t, err)
	animation, err := images.OpenAnimation("testdata/pictures/previous.gif")
	require.NoError(t, err)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			picture, err := images.Decode(bytes.NewReader(data), "p", images.Options{})
			if assert.NoError(t, err) {
				pixels, err := preprocessing.Apply(picture)
				assert.NoError(t, err)
				assert.True(t, bytes.Equal(expected, pixels))
			}
			for _, frame := range animation.Frames() {
				pixels, err := preprocessing.Apply(frame)
				assert.NoError(t, err)
				assert.Len(t, pixels, len(expected))
			}
		})
	}
	group.Wait()
}

func FuzzDecode(f *testing.F) {
	for _, name := range []string{
		"1x1.png", "rgba-16bit.png", "exif-6.png", "palette-2bit-trns.png", "420-5x2.jpg", "exif-6.jpg", "xmp-8.jpg",
		"cmyk-no-adobe.jpg", "progressive.jpg", "keep.gif", "previous-first.gif", "background-transparent.gif",
		"lossy-2x5.webp", "lossless-alpha.webp", "exif-3.webp", "palette.bmp", "cmyk.tif", "orientation-6.tif",
		"bilevel-group4-black-is-zero.tif",
	} {
		f.Add(fixture(f, name))
	}
	for _, name := range []string{
		"cmyk-420-5x2.jpg", "cmyk-2-progressive-q20.jpg", "ycck-420-2x3.jpg", "rgb-420.jpg", "420-progressive-restart.jpg",
		"y31c11.jpg",
		"fault-text-checksum-before.png", "fault-extra-rows.png", "fault-palette-odd.png", "interlaced-3-2bit.png",
		"interlaced-6-16bit.png",
		"plain.ppm", "plain.pbm", "mode-1.pbm", "maxval-1023.ppm", "comments.pgm", "plain-maxval-100.pgm",
		"animated.webp", "animated-alpha.webp", "animated-smaller-frame.webp", "lossy-alpha-q40.webp",
	} {
		f.Add(pillowFile(f, name))
	}
	for _, kind := range []string{"*.tif", "*.bmp", "*.gif"} {
		names, err := filepath.Glob(filepath.Join("testdata", "pillow", kind))
		require.NoError(f, err)
		require.NotEmpty(f, names)
		for _, name := range names {
			f.Add(pillowFile(f, filepath.Base(name)))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		decodeAnything(t, data)
		animation, err := images.DecodeAnimation(bytes.NewReader(data), "any")
		if err != nil {
			require.Nil(t, animation)
			return
		}
		require.Positive(t, animation.Len())
		require.Len(t, animation.Delays, animation.Len())
		for i, frame := range animation.Frames() {
			require.Len(t, frame.Pix, 3*frame.Width*frame.Height)
			require.LessOrEqual(t, frame.Width, animation.Width)
			require.LessOrEqual(t, frame.Height, animation.Height)
			if i == 3 {
				break
			}
		}
	})
}

// The checksum behind a strip tells damage that leaves its length as it was.
func TestDamagedDeflateInTIFF(t *testing.T) {
	for _, name := range []string{"grey-adobe-deflate.tif", "rgb-adobe-deflate.tif"} {
		data := fixture(t, name)
		_, err := images.DecodeBytes(data, name, images.Options{})
		require.NoError(t, err)
		start := bytes.IndexByte(data, 0x78) // the first byte of every zlib stream
		rest := bytes.NewReader(data[start:])
		unpacker, err := zlib.NewReader(rest)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, unpacker)
		require.NoError(t, err)
		data[len(data)-rest.Len()-1] ^= 1
		_, err = images.DecodeBytes(data, name, images.Options{})
		assert.ErrorIs(t, err, zlib.ErrChecksum, name)
	}
}
