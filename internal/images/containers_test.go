package images_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/images"
)

func pillowFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "pillow", name))
	require.NoError(t, err)
	return data
}

// What the conversion to 8 bits changes is said.
func TestNoticesOfConversions(t *testing.T) {
	for name, notice := range map[string]string{
		"tiff-int8-le.tif":           "negative 8-bit values",
		"tiff-i2-be.tif":             "16-bit values from -96 to 410 are clipped",
		"tiff-i4-le.tif":             "32-bit values from -96 to 410 are clipped",
		"tiff-u4-le.tif":             "clipped",
		"tiff-f4-le.tif":             "cut to whole levels",
		"case-tif-int16.tif":         "clipped",
		"tiff-pages.tif":             "several pages",
		"tiff-rgb-strips-le-1-1.tif": "",
		"tiff-12-bit-le.tif":         "",
		"tiff-lab-le.tif":            "",
	} {
		picture, err := images.DecodeBytes(pillowFile(t, name), name, images.Options{})
		require.NoError(t, err)
		if notice == "" {
			assert.Empty(t, picture.Notice, name)
		} else {
			assert.Contains(t, picture.Notice, notice, name)
		}
	}
}

// A frame beyond the screen enlarges the picture from then on, as in Pillow.
func TestGrowingAnimationEqualsPillow(t *testing.T) {
	for name, sizes := range map[string][]int{
		"gif-animation-grows.gif":             {10, 9, 14, 13, 24, 13},
		"gif-animation-grows-transparent.gif": {10, 9, 14, 13, 14, 16},
		"gif-animation-grows-first.gif":       {10, 9, 14, 13},
		"gif-animation-grows-background.gif":  {10, 9, 14, 13, 14, 16},
		"gif-animation-no-trailer.gif":        {10, 9, 10, 9},
	} {
		animation, err := images.OpenAnimation(filepath.Join("testdata", "pillow", name))
		require.NoError(t, err, name)
		require.Equal(t, len(sizes)/2, animation.Len(), name)
		for i, frame := range animation.Frames() {
			require.Equal(t, sizes[2*i:2*i+2], []int{frame.Width, frame.Height}, "%s, frame %d", name, i)
			requirePixels(t, fmt.Sprintf("pillow/%s.%d.png", name, i), frame, 0)
		}
		require.Equal(t, sizes[len(sizes)-2:], []int{animation.Width, animation.Height})
	}
}

// Hostile directories cost neither memory nor time.
func TestHostileTIFF(t *testing.T) {
	entry := func(data []byte, tag uint16) []byte {
		entries := data[binary.LittleEndian.Uint32(data[4:])+2:]
		for binary.LittleEndian.Uint16(entries) != tag {
			entries = entries[12:]
		}
		return entries[:12]
	}
	set := func(tag uint16, at int, value uint32) func([]byte) {
		return func(data []byte) { binary.LittleEndian.PutUint32(entry(data, tag)[at:], value) }
	}
	for name, c := range map[string]struct {
		file   string
		change func([]byte)
	}{
		"samples":        {"tiff-rgb-strips-le-1-1.tif", set(277, 8, 65535)},
		"no samples":     {"tiff-rgb-strips-le-1-1.tif", set(277, 8, 0)},
		"bits":           {"tiff-bits-1-black-le.tif", set(258, 8, 0)},
		"many offsets":   {"tiff-rgb-strips-le-5-1.tif", set(273, 4, 1<<31)},
		"offsets beyond": {"tiff-rgb-strips-le-5-1.tif", set(273, 8, 1<<31)},
		"no rows":        {"tiff-rgb-strips-le-5-1.tif", set(278, 8, 0)},
		"tiles of 0":     {"tiff-rgb-tiles-le-5-1.tif", set(322, 8, 0)},
		"large tiles": {"tiff-rgb-tiles-le-8-2.tif", func(data []byte) {
			set(322, 8, 1<<15)(data)
			set(323, 8, 1<<15)(data)
		}},
		"tiny tiles": {"tiff-rgb-tiles-le-8-2.tif", func(data []byte) { set(322, 8, 1)(data); set(323, 8, 1)(data) }},
		"huge": {"tiff-rgb-strips-le-50000-1.tif", func(data []byte) {
			set(256, 8, 30000)(data)
			set(257, 8, 5000)(data)
		}},
		"other JPEG size": {"tiff-jpeg-ycbcr-95-2.tif", func(data []byte) { set(256, 8, 47)(data) }},
	} {
		data := pillowFile(t, c.file)
		c.change(data)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := images.DecodeBytes(data, "stimulus.tif", images.Options{})
		runtime.ReadMemStats(&after)
		require.ErrorIs(t, err, images.ErrUnreadable, name)
		assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20), "bytes allocated for %s: %v", name, err)
	}

	// A directory that comes after itself is not walked for ever.
	data := pillowFile(t, "tiff-rgb-strips-le-1-1.tif")
	at := binary.LittleEndian.Uint32(data[4:])
	next := at + 2 + 12*uint32(binary.LittleEndian.Uint16(data[at:]))
	binary.LittleEndian.PutUint32(data[next:], at)
	_, err := images.DecodeBytes(data, "loop.tif", images.Options{})
	require.NoError(t, err)
}

// Files cut anywhere are errors, or pictures where only what follows the pixels is
// missing; never a panic.
func TestCutContainers(t *testing.T) {
	for _, name := range []string{
		"tiff-rgb-tiles-planar-be-5-2.tif", "tiff-rgb-strips-le-50000-2.tif", "tiff-rgb-strips-be-32773-1.tif",
		"tiff-jpeg-tables.tif",
		"tiff-fax-group3-2d-strips-0.tif", "tiff-fax-group4-1.tif", "tiff-bigtiff-tiles-be.tif", "tiff-ycbcr-4x2.tif",
		"bmp-rle8-absolute.bmp", "bmp-rle4.bmp", "bmp-os2-4-colours.bmp", "bmp-16-565.bmp", "gif-frame-larger-offset.gif",
	} {
		data := pillowFile(t, name)
		whole, err := images.DecodeBytes(data, name, images.Options{})
		require.NoError(t, err)
		for length := range data {
			picture, err := images.DecodeBytes(data[:length], name, images.Options{})
			if err == nil {
				require.True(t, bytes.Equal(whole.Pix, picture.Pix), "%s cut to %d of %d bytes", name, length, len(data))
			}
		}
		_, err = images.DecodeBytes(data[:len(data)/3], name, images.Options{})
		require.ErrorIs(t, err, images.ErrUnreadable, name)
	}
}

// Alpha and unused high bits are told of in every container.
func TestAlphaAndDepthOfContainers(t *testing.T) {
	for name, transparent := range map[string]bool{
		"tiff-rgb-unassociated-le.tif": true, "tiff-rgb-associated-be.tif": true, "tiff-rgb-missing-le.tif": true,
		"tiff-grey-unassociated-le.tif": true, "tiff-palette-alpha-be.tif": true, "tiff-rgb16-unassociated-be.tif": true,
		"tiff-rgb-unspecified-le.tif": false, "tiff-cmyk-extra-le.tif": false, "tiff-5-channels-planar-le.tif": false,
		"bmp-32-bgra-108.bmp": true, "bmp-32-abgr-56.bmp": true, "bmp-32-bgrx-56.bmp": false, "bmp-32.bmp": false,
		"gif-transparent-first.gif": true, "gif-frame-larger-transparent.gif": true, "gif-offset.gif": false,
	} {
		picture, err := images.DecodeBytes(pillowFile(t, name), name, images.Options{})
		require.NoError(t, err)
		assert.Equal(t, transparent, picture.Transparent, name)
	}
	for name, bits := range map[string]int{
		"tiff-rgb16-le-5-2.tif": 16, "tiff-grey16-be-1-1.tif": 16, "tiff-rgb-strips-le-1-1.tif": 0, "tiff-i2-le.tif": 0,
	} {
		picture, err := images.DecodeBytes(pillowFile(t, name), name, images.Options{})
		require.NoError(t, err)
		assert.Equal(t, bits, picture.Bits, name)
	}
}
