package images_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/images"
)

// Files with unusual sampling factors that are cut short, damaged or endless are errors.
func TestUncommonJPEGErrors(t *testing.T) {
	for _, name := range []string{"y31c11.jpg", "cmyk-2-q75.jpg", "ycck-2-progressive-q75.jpg",
		"rgb-420-progressive.jpg"} {
		data, err := os.ReadFile("testdata/pillow/" + name)
		require.NoError(t, err)
		for length := 20; length < len(data); length += max(1, len(data)/40) {
			_, err := images.DecodeBytes(data[:length], name, images.Options{})
			require.ErrorIs(t, err, images.ErrUnreadable, "%s cut to %d bytes", name, length)
		}
		at := bytes.LastIndex(data, []byte{0xff, 0xda})
		scan := data[at : len(data)-2]
		endless := append([]byte(nil), data[:len(data)-2]...)
		for range 200 {
			endless = append(endless, scan...)
		}
		_, err = images.DecodeBytes(append(endless, 0xff, 0xd9), name, images.Options{})
		require.ErrorIs(t, err, images.ErrUnreadable, name)
	}
	data, err := os.ReadFile("testdata/pillow/y31c11.jpg")
	require.NoError(t, err)
	at := bytes.Index(data, []byte{0xff, 0xc0})
	for what, change := range map[string]func(d []byte){
		"fraction":  func(d []byte) { d[at+11], d[at+14] = 0x31, 0x21 },
		"precision": func(d []byte) { d[at+4] = 12 },
		"too large": func(d []byte) { d[at+5], d[at+7] = 0xff, 0xff },
		"no table":  func(d []byte) { d[at+12] = 3 },
		"two equal": func(d []byte) { d[at+13] = d[at+10] },
	} {
		damaged := append([]byte(nil), data...)
		change(damaged)
		picture, err := images.DecodeBytes(damaged, "p", images.Options{})
		require.Error(t, err, what)
		assert.Nil(t, picture)
	}
}
