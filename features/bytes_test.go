package features

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// numcodecs before 0.16 reads no frame that does not say how long its content is.
func TestZarrFramesSayTheirLength(t *testing.T) {
	check := func(name string, frame []byte) int {
		var header zstd.Header
		require.NoError(t, header.Decode(frame), name)
		require.True(t, header.HasFCS, "%s: no content size", name)
		decoder, err := zstd.NewReader(nil)
		require.NoError(t, err)
		defer decoder.Close()
		content, err := decoder.DecodeAll(frame, nil)
		require.NoError(t, err, name)
		require.EqualValues(t, len(content), header.FrameContentSize, name)
		return len(content)
	}
	layout := sample(6)
	store := filepath.Join(t.TempDir(), "x.zarr")
	writeAll(t, store, Zarr, layout, 5, Options{ChunkRows: 4})
	small, large := 0, 0
	require.NoError(t, filepath.WalkDir(store, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			return err
		}
		frame, err := os.ReadFile(path)
		require.NoError(t, err)
		if check(path, frame) < tinyChunk {
			small++
		} else {
			large++
		}
		return nil
	}))
	require.Greater(t, small, 8)
	require.Positive(t, large)

	// Chunks and columns that workers encode are the same code.
	parts, err := NewZarrStore(layout, Options{ChunkRows: 1})
	require.NoError(t, err)
	chunk := parts.NewChunk(3)
	require.NoError(t, chunk.Append([]float32{1}))
	frame, err := chunk.Encode(nil)
	require.NoError(t, err)
	require.Equal(t, 1, check("mask", frame))
	_, frame, err = parts.Column(2, 0, layout.Columns[2].Values)
	require.NoError(t, err)
	require.Equal(t, 8*6, check("count", frame))

	// From 256 bytes on the bytes are what they have always been.
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false))
	require.NoError(t, err)
	defer encoder.Close()
	for _, size := range []int{1, 255, 256, 257, 1023, 1024, 1025, 65536 + 255, 65536 + 256, 1 << 20} {
		raw := bytes.Repeat([]byte("presentation"), size/12+1)[:size]
		got := parts.compress(raw, nil)
		require.Equal(t, size, check("content", got))
		require.Equal(t, size >= 256, bytes.Equal(encoder.EncodeAll(raw, nil), got), "%d bytes", size)
	}
}

// What lies beyond U+FFFF takes two units of UTF-16. Octave needs the dimensions to count
// them, SciPy as many characters as the dimensions say.
func TestMATTextBeyondTheBasicPlane(t *testing.T) {
	layout := sample(6)
	layout.Columns[0].Values = []string{"😀.png", "😁.png", "𠮷", "a\U0010FFFFb", "Käse", ""}
	layout.Attributes[0].Value = "𠮷野家"
	out := filepath.Join(t.TempDir(), "x.mat")
	writeAll(t, out, MATLAB, layout, 6, Options{})
	content, err := os.ReadFile(filepath.Join(out, "conv9.mat"))
	require.NoError(t, err)
	require.NotContains(t, string(content), "\xfd\xff", "a replacement character")
	for _, text := range append(layout.Columns[0].Values.([]string)[:5], layout.Attributes[0].Value) {
		units := utf16.Encode([]rune(text))
		var want []byte
		for _, u := range append(units, make([]uint16, len(units)-len([]rune(text)))...) {
			want = binary.LittleEndian.AppendUint16(want, u)
		}
		at := bytes.Index(content, want)
		require.Positive(t, at, text)
		require.Equal(t, uint32(miUTF16), binary.LittleEndian.Uint32(content[at-8:]), text)
		require.EqualValues(t, len(want), binary.LittleEndian.Uint32(content[at-4:]), text)
	}
	var b bytes.Buffer
	matText(&b, "", "𠮷a")
	require.Equal(t, []byte{5, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0}, b.Bytes()[24:40], "one row of three units")
}
