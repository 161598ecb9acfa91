package features

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The .npy and .npz files in testdata come from testdata/make_fixtures.py
// (NumPy 2.4.6). The arrays hold 0, 1, … 23 in shape (4, 3, 2).

func counting(from, to int) []float32 {
	var v []float32
	for i := from; i < to; i++ {
		v = append(v, float32(i))
	}
	return v
}

func open(t *testing.T, path, name string) *Array {
	t.Helper()
	f, err := OpenArrays(path)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	a, err := f.Array(name)
	require.NoError(t, err)
	return a
}

func fixture(name string) string { return filepath.Join("testdata", name) }

func TestReadFloats(t *testing.T) {
	for _, name := range []string{"little_f2", "little_f4", "big_f4", "little_f8", "big_f8",
		"version_1", "version_2", "version_3", "fortran"} {
		a := open(t, fixture(name+".npy"), "")
		assert.Equal(t, []int{4, 3, 2}, a.Info().Shape, name)
		for _, rows := range [][2]int{{0, 4}, {1, 2}, {3, 1}, {0, 0}, {4, 0}} {
			got, err := a.Float32s(rows[0], rows[1])
			require.NoError(t, err, name)
			assert.Equal(t, len(got), rows[1]*6, name)
			assert.Equal(t, counting(6*rows[0], 6*(rows[0]+rows[1])), append([]float32(nil), got...), "%s %v", name, rows)
		}
		wide, err := a.Float64s(3, 1)
		require.NoError(t, err)
		assert.Equal(t, []float64{18, 19, 20, 21, 22, 23}, wide)
		_, err = a.Uint8s(0, 1)
		assert.ErrorIs(t, err, ErrDataType)
	}
}

func TestReadOtherTypes(t *testing.T) {
	a := open(t, fixture("u1.npy"), "")
	pixels, err := a.Uint8s(1, 1)
	require.NoError(t, err)
	assert.Equal(t, []byte{6, 7, 8, 9, 10, 11}, pixels)
	_, err = a.Float32s(0, 1)
	assert.ErrorIs(t, err, ErrDataType)
	assert.NoError(t, a.CheckRank(3))
	assert.ErrorIs(t, a.CheckRank(4), ErrRank)

	for name, want := range map[string][]int64{"little_i8": {6, 7, 8, 9, 10, 11}, "big_i2": {6, 7, 8, 9, 10, 11},
		"u1": {6, 7, 8, 9, 10, 11}, "bool": {1, 1, 1, 1, 1, 1}} {
		got, err := open(t, fixture(name+".npy"), "").Int64s(1, 1)
		require.NoError(t, err)
		assert.Equal(t, want, got, name)
	}
	for name, want := range map[string][]string{"text": {"astronaut", "Käse", "", "🙂x"},
		"big_text": {"astronaut", "寿司"}, "bytes": {"ab", "c"}} {
		got, err := open(t, fixture(name+".npy"), "").Strings(0, len(want))
		require.NoError(t, err)
		assert.Equal(t, want, got, name)
	}
	scalar, err := open(t, fixture("scalar.npy"), "").Float32s(0, 1)
	require.NoError(t, err)
	assert.Equal(t, []float32{7}, scalar)
	empty := open(t, fixture("empty.npy"), "")
	assert.Equal(t, []int{0, 5}, empty.Info().Shape)
	none, err := empty.Float32s(0, 0)
	require.NoError(t, err)
	assert.Empty(t, none)

	for _, name := range []string{"complex", "structured"} {
		a := open(t, fixture(name+".npy"), "")
		assert.Equal(t, InvalidType, a.Info().DataType)
		_, err := a.Float32s(0, 1)
		assert.ErrorIs(t, err, ErrDataType)
	}
}

func TestReadNPZ(t *testing.T) {
	for _, file := range []string{"stored.npz", "deflated.npz"} {
		a := open(t, fixture(file), "conv9")
		// Forward, backward, with gaps, and over the whole.
		for _, rows := range [][2]int{{0, 2}, {2, 2}, {1, 1}, {3, 1}, {0, 4}, {4, 0}} {
			got, err := a.Float32s(rows[0], rows[1])
			require.NoError(t, err, "%s %v", file, rows)
			assert.Equal(t, counting(6*rows[0], 6*(rows[0]+rows[1])), append([]float32(nil), got...), "%s %v", file, rows)
		}
		for _, rows := range [][2]int{{-1, 1}, {0, 5}, {4, 1}, {0, -1}, {math.MaxInt, 1}, {1, math.MaxInt}} {
			_, err := a.Float32s(rows[0], rows[1])
			assert.ErrorIs(t, err, ErrRange, "%v", rows)
		}
	}
	f, err := OpenArrays(fixture("stored.npz"))
	require.NoError(t, err)
	assert.Equal(t, []string{"conv9", "conv9/timesteps", "pixels"}, f.Names())
	_, err = f.Array("conv8")
	assert.ErrorIs(t, err, ErrNoArray)
	assert.ErrorContains(t, err, "conv9/timesteps")
	_, err = f.Array("")
	assert.ErrorIs(t, err, ErrNoArray)
	a, err := f.Array("pixels")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, f.Close())
	_, err = a.Uint8s(0, 1)
	assert.ErrorIs(t, err, ErrClosed)

	_, err = open(t, fixture("deflated.npz"), "fortran").Float32s(0, 1)
	assert.ErrorIs(t, err, ErrFortranOrder)

	info := a.Info()
	assert.Equal(t, Info{Name: "pixels", DataType: Uint8, Descr: "|u1", ElementSize: 1, Shape: []int{4, 3, 2}}, info)
	assert.Equal(t, 24, info.Elements())
}

// npyBytes makes an .npy with the given header text.
func npyBytes(header string, data int) []byte {
	b := append([]byte(npyMagic), 1, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func TestReadRefusesBadNPY(t *testing.T) {
	good := "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n"
	cases := map[string][]byte{
		"empty file":  {},
		"other file":  []byte("GIF89a and so on"),
		"magic only":  []byte(npyMagic),
		"version 4":   append([]byte(npyMagic), 4, 0, 1, 0, 0, 0),
		"header cut":  npyBytes(good, 24)[:20],
		"data cut":    npyBytes(good, 23),
		"huge header": append(append([]byte(npyMagic), 2, 0), 0xff, 0xff, 0xff, 0x7f),
		"huge shape":  npyBytes("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000000000), }", 24),
		"overflowing shape": npyBytes("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4), }",
			24),
		"overflow with zero": npyBytes("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4294967296, 4294967296, 4), }",
			24),
		"negative shape":   npyBytes("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 3), }", 24),
		"number too long":  npyBytes("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 3), }", 24),
		"no shape":         npyBytes("{'descr': '<f4', 'fortran_order': False, }", 24),
		"shape twice":      npyBytes("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'shape': (2,)}", 24),
		"unknown key":      npyBytes("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': (2,)}", 24),
		"bad type":         npyBytes("{'descr': 'f', 'fortran_order': False, 'shape': (2,)}", 24),
		"bad bool":         npyBytes("{'descr': '<f4', 'fortran_order': 1, 'shape': (2,)}", 24),
		"not a dictionary": npyBytes("[1, 2]", 24),
		"unclosed":         npyBytes("{'descr': '<f4", 24),
		"trailing text":    npyBytes("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x", 24),
		"65 dimensions": npyBytes("{'descr': '<f4', 'fortran_order': False, 'shape': ("+strings.Repeat("1,", 65)+
			")}", 24),
		"zip cut": []byte("PK\x03\x04 and no more"),
	}
	for name, content := range cases {
		path := filepath.Join(t.TempDir(), "bad.npy")
		require.NoError(t, os.WriteFile(path, content, 0o600))
		_, err := OpenArrays(path)
		assert.ErrorIs(t, err, ErrFormat, name)
		assert.ErrorContains(t, err, path, name)
	}
	_, err := OpenArrays(t.TempDir())
	assert.ErrorIs(t, err, ErrFormat)
	_, err = OpenArrays(filepath.Join(t.TempDir(), "absent"))
	assert.ErrorIs(t, err, os.ErrNotExist)
	// Elements without a size would make any count fit.
	path := filepath.Join(t.TempDir(), "zero.npy")
	require.NoError(t, os.WriteFile(path, npyBytes("{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000000,)}",
		0), 0o600))
	_, err = open(t, path, "").Strings(0, 1000000000000)
	assert.ErrorIs(t, err, ErrDataType)
}

func TestReadRefusesDamagedNPZ(t *testing.T) {
	for _, file := range []string{"stored.npz", "deflated.npz"} {
		original, err := os.ReadFile(fixture(file))
		require.NoError(t, err)
		z, err := zip.NewReader(bytes.NewReader(original), int64(len(original)))
		require.NoError(t, err)
		offset, err := z.File[0].DataOffset()
		require.NoError(t, err)
		at := offset + int64(z.File[0].CompressedSize64) - 3
		damaged := bytes.Clone(original)
		damaged[at] ^= 0x40
		path := filepath.Join(t.TempDir(), file)
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		a := open(t, path, "conv9")
		_, err = a.Float32s(0, 4)
		assert.ErrorIs(t, err, ErrFormat, file)
		// In parts, too, the damage comes to light.
		_, err1 := a.Float32s(0, 2)
		_, err2 := a.Float32s(2, 2)
		if err1 == nil {
			assert.ErrorIs(t, err2, ErrFormat, file)
		}

		require.NoError(t, os.WriteFile(path, original[:len(original)/2], 0o600))
		_, err = OpenArrays(path)
		assert.ErrorIs(t, err, ErrFormat)
	}
}

// A deflated entry that declares more than deflate can expand to is refused
// before anything is allocated.
func TestReadRefusesZipBomb(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bomb.npz")
	file, err := os.Create(path)
	require.NoError(t, err)
	z := zip.NewWriter(file)
	w, err := z.CreateRaw(&zip.FileHeader{Name: "x.npy", Method: zip.Deflate, CompressedSize64: 100,
		UncompressedSize64: 1 << 40})
	require.NoError(t, err)
	_, err = w.Write(make([]byte, 100))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	require.NoError(t, file.Close())
	f, err := OpenArrays(path)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.Array("x")
	assert.ErrorIs(t, err, ErrFormat)
	_, err = f.Array("")
	assert.Error(t, err)
}

func TestFloat16(t *testing.T) {
	for h := range 1 << 16 {
		v := Float32FromFloat16(uint16(h))
		if v != v {
			back := Float16FromFloat32(v)
			assert.True(t, back&0x7c00 == 0x7c00 && back&0x3ff != 0)
			continue
		}
		require.Equal(t, uint16(h), Float16FromFloat32(v))
		// Halfway between neighbours goes to the even one, beyond it to the nearer.
		if h&0x7fff >= 0x7bff {
			continue
		}
		next := Float32FromFloat16(uint16(h + 1))
		middle := (v + next) / 2
		require.Equal(t, uint16(h+h&1), Float16FromFloat32(middle), "%04x", h)
		require.Equal(t, uint16(h), Float16FromFloat32(math.Nextafter32(middle, v)), "%04x", h)
		require.Equal(t, uint16(h+1), Float16FromFloat32(math.Nextafter32(middle, next)), "%04x", h)
	}
	for v, want := range map[float32]uint16{65504: 0x7bff, 65519.996: 0x7bff, 65520: 0x7c00, 1e9: 0x7c00, -1e9: 0xfc00,
		float32(math.Inf(1)): 0x7c00, 1e-30: 0, 2.9802322e-08: 0} {
		assert.Equal(t, want, Float16FromFloat32(v), "%v", v)
	}
}

// memory is a source without a file.
type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

func FuzzReadArrays(f *testing.F) {
	entries, err := os.ReadDir("testdata")
	require.NoError(f, err)
	for _, entry := range entries {
		if ext := filepath.Ext(entry.Name()); ext == ".npy" || ext == ".npz" {
			content, err := os.ReadFile(fixture(entry.Name()))
			require.NoError(f, err)
			f.Add(content)
		}
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := newFile("fuzz", memory{bytes.NewReader(content)}, int64(len(content)))
		if err != nil {
			return
		}
		defer file.Close()
		for _, name := range file.Names() {
			a, err := file.Array(name)
			require.NoError(t, err)
			info := a.Info()
			if size, ok := byteSize(info.Shape, info.ElementSize); !ok || size > int64(len(content))*maxDeflateRatio+64 {
				t.Fatalf("shape %v was believed of %d bytes", info.Shape, len(content))
			}
			rows := min(info.Rows(), 10)
			if info.RowElements() > 1<<20 {
				continue
			}
			a.Uint8s(0, rows)
			a.Float32s(info.Rows()-rows, rows)
			a.Float64s(0, rows)
			a.Int64s(0, rows)
			a.Strings(0, rows)
		}
	})
}

func TestDataTypeAsText(t *testing.T) {
	for d := Bool; d <= Bytes; d++ {
		parsed, err := ParseDataType(d.String())
		require.NoError(t, err)
		assert.Equal(t, d, parsed)
	}
	for _, text := range []string{"", "invalid", "float", "Float32"} {
		_, err := ParseDataType(text)
		assert.ErrorIs(t, err, ErrDataType, text)
	}
	text, err := json.Marshal([]DataType{InvalidType, Float16})
	require.NoError(t, err)
	assert.Equal(t, `["","float16"]`, string(text))
	var read []DataType
	require.NoError(t, json.Unmarshal(text, &read))
	assert.Equal(t, []DataType{InvalidType, Float16}, read)
}
