package bundle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/golang/snappy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
)

// rawBlock appends a block with a right checksum and returns its handle.
func rawBlock(file *bytes.Buffer, kind byte, content []byte) []byte {
	at := file.Len()
	stored := append(bytes.Clone(content), kind)
	file.Write(stored)
	file.Write(binary.LittleEndian.AppendUint32(nil, Mask(crc32.Checksum(stored, castagnoli))))
	return binary.AppendUvarint(binary.AppendUvarint(nil, uint64(at)), uint64(len(content)))
}

func rawFooter(file *bytes.Buffer, meta, index []byte) []byte {
	footer := append(bytes.Clone(meta), index...)
	footer = append(footer, make([]byte, tableFooterSize-len(tableMagic)-len(footer))...)
	file.Write(append(footer, tableMagic...))
	return file.Bytes()
}

func rawEntry(key string, value []byte) []byte {
	b := append([]byte{0}, binary.AppendUvarint(binary.AppendUvarint(nil, uint64(len(key))), uint64(len(value)))...)
	return append(append(b, key...), value...)
}

// TestMalformedTables has tables that goleveldb by itself would allocate for, or panic at, before it
// found the fault.
func TestMalformedTables(t *testing.T) {
	noEntries := []byte{0, 0, 0, 0, 1, 0, 0, 0}
	restart := noEntries
	uvarints := func(v ...uint64) (b []byte) {
		for _, x := range v {
			b = binary.AppendUvarint(b, x)
		}
		return b
	}
	value, err := proto.Marshal(header.value.(proto.Message))
	require.NoError(t, err)
	good := append(rawEntry("", value), restart...)
	// build makes a table of one data block; change may replace its parts.
	build := func(kind byte, data, index []byte, change func(meta, index []byte) ([]byte, []byte)) []byte {
		var file bytes.Buffer
		handle := rawBlock(&file, kind, data)
		meta := rawBlock(&file, 0, noEntries)
		if index == nil {
			index = append(rawEntry("z", handle), restart...)
		}
		at := rawBlock(&file, 0, index)
		if change != nil {
			meta, at = change(meta, at)
		}
		return rawFooter(&file, meta, at)
	}
	bomb := append(uvarints(0xffffffff), make([]byte, 20)...)
	handles := func(h ...[]byte) []byte {
		var b []byte
		for i, x := range h {
			b = append(b, rawEntry(string(rune('a'+i)), x)...)
		}
		return append(b, restart...)
	}
	firstBlock := uvarints(0, uint64(len(good)))

	for name, test := range map[string]struct {
		table []byte
		says  string
	}{
		"intact":         {build(0, good, nil, nil), ""},
		"intact, Snappy": {build(1, snappy.Encode(nil, good), nil, nil), ""},
		"huge index block": {build(0, good, nil, func(m, i []byte) ([]byte, []byte) {
			return m, uvarints(0, 1<<50)
		}), "is declared"},
		"overflowing index block": {build(0, good, nil, func(m, i []byte) ([]byte, []byte) {
			return m, uvarints(8, math.MaxUint64)
		}), "is declared"},
		"index block past the end": {build(0, good, nil, func(m, i []byte) ([]byte, []byte) {
			return m, uvarints(1<<60, 8)
		}), "is declared"},
		"huge metaindex block": {build(0, good, nil, func(m, i []byte) ([]byte, []byte) {
			return uvarints(0, 1<<40), i
		}), "is declared"},
		"huge data block":            {build(0, good, handles(uvarints(0, 1<<45)), nil), "is declared"},
		"one data block many times":  {build(0, good, handles(firstBlock, firstBlock), nil), "overlap"},
		"bad data block handle":      {build(0, good, handles([]byte{0xff}), nil), "bad block handle"},
		"data block handle too long": {build(0, good, handles(append(bytes.Clone(firstBlock), 1)), nil), "bad block handle"},
		"index entry past its block": {build(0, good, append([]byte{0, 100, 100}, restart...), nil), "bad entry"},
		"index entry shares nothing": {build(0, good, append([]byte{9, 1, 1, 1, 1}, restart...), nil), "bad entry"},
		"index entry cut short":      {build(0, good, append([]byte{0}, restart...), nil), "bad entry"},
		"index entry overflows": {build(0, good, append(uvarints(0, math.MaxUint64, math.MaxUint64), restart...), nil),
			"bad entry"},
		"Snappy bomb":         {build(1, bomb, nil, nil), "Snappy"},
		"Snappy garbage":      {build(1, []byte{40, 0xff, 0xff}, nil, nil), "corrupt"},
		"unknown compression": {build(9, good, nil, nil), "compression 9"},
		"block of 0 bytes":    {build(0, nil, nil, nil), "a block of 0 bytes"},
		"absurd restarts": {build(0, append(rawEntry("", value), 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff), nil, nil),
			"restart"},
		"no restarts":               {build(0, append(rawEntry("", value), 0, 0, 0, 0), nil, nil), "restart"},
		"restart past the end":      {build(0, append(rawEntry("", value), 0xff, 0, 0, 0, 1, 0, 0, 0), nil, nil), "restart"},
		"data entry past its block": {build(0, append([]byte{0, 100, 100}, restart...), nil, nil), "corrupt"},
		"data entry shares nothing": {build(0, append([]byte{9, 1, 1, 1, 1}, restart...), nil, nil), "corrupt"},
		"data entry overflows": {build(0, append(uvarints(math.MaxUint64, math.MaxUint64, math.MaxUint64), restart...),
			nil, nil), "corrupt"},
		"footer only": {rawFooter(&bytes.Buffer{}, uvarints(0, 0), uvarints(0, 0)), "is declared"},
		"no handles":  {rawFooter(&bytes.Buffer{}, bytes.Repeat([]byte{0xff}, 40), nil), "bad block handle"},
		"nothing":     {nil, "ends after 0 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			prefix := filepath.Join(t.TempDir(), "x")
			require.NoError(t, os.WriteFile(indexPath(prefix), test.table, 0o666))
			before := allocated()
			c, err := examine(prefix)
			assert.Less(t, allocated()-before, uint64(8<<20), "bytes allocated")
			if test.says == "" {
				require.NoError(t, err)
				assert.Empty(t, c.entries)
				return
			}
			require.ErrorIs(t, err, ErrCorrupt)
			assert.ErrorContains(t, err, test.says)
		})
	}
}

func TestIndexOfAbsurdSize(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "x")
	f, err := os.Create(indexPath(prefix))
	require.NoError(t, err)
	require.NoError(t, f.Truncate(1<<40)) // sparse
	require.NoError(t, f.Close())
	before := allocated()
	_, err = Open(prefix)
	require.ErrorIs(t, err, ErrCorrupt)
	assert.ErrorContains(t, err, "more than 16 MiB")
	assert.Less(t, allocated()-before, uint64(256<<20))
}

// repair recomputes the checksums of a table's blocks, as far as it can be read, so that mutations get
// past them.
func repair(index []byte) []byte {
	index = bytes.Clone(index)
	if len(index) < tableFooterSize {
		return index
	}
	fix := func(offset, size uint64) []byte {
		end := uint64(len(index) - tableFooterSize)
		if offset > end || size > end-offset || end-offset-size < tableTrailerSize {
			return nil
		}
		binary.LittleEndian.PutUint32(index[offset+size+1:], Mask(crc32.Checksum(index[offset:offset+size+1], castagnoli)))
		return index[offset : offset+size]
	}
	footer := index[len(index)-tableFooterSize:]
	copy(footer[tableFooterSize-len(tableMagic):], tableMagic)
	offset, size, n := handle(footer)
	fix(offset, size)
	offset, size, _ = handle(footer[n:])
	if block := fix(offset, size); len(block) > 3 {
		// The first entry's handle is enough: the fixtures have one data block.
		length := int(block[1])
		if 3+length < len(block) {
			offset, size, _ := handle(block[3+length:])
			fix(offset, size)
		}
	}
	return index
}

// TestMutationsPastTheChecksums changes bytes of the index and repairs the table's checksums, as
// somebody would who means harm. Nothing is asked but that nothing panics or is allocated without
// bound, and that errors are of the right kind.
func TestMutationsPastTheChecksums(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 7))
	for _, prefix := range small {
		v := newVictim(t, prefix)
		require.Equal(t, v.indexBytes, repair(v.indexBytes), "an intact table needs no repair")
		for range 1500 {
			damaged := bytes.Clone(v.indexBytes)
			for range 1 + random.IntN(3) {
				damaged[random.IntN(len(damaged))] = byte(random.IntN(256))
			}
			before := allocated()
			_, err := v.with(t, v.index, repair(damaged))
			require.Less(t, allocated()-before, uint64(64<<20))
			checkKind(t, err)
		}
	}
}

func checkKind(t testing.TB, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrUnsupported) {
		t.Fatalf("unexpected kind of error: %v", err)
	}
}

// FuzzReader makes progress with -fuzzminimizetime 10x: reading files is not deterministic enough for
// the fuzzer's default of minimising for a minute.
func FuzzReader(f *testing.F) {
	for _, prefix := range small {
		v := newVictim(f, prefix)
		f.Add(v.indexBytes, v.dataBytes)
	}
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, index, data []byte) {
		prefix := filepath.Join(t.TempDir(), "x")
		require.NoError(t, os.WriteFile(dataPath(prefix, 0, 1), data, 0o666))
		for _, bytes := range [][]byte{index, repair(index)} {
			require.NoError(t, os.WriteFile(indexPath(prefix), bytes, 0o666))
			c, err := examine(prefix)
			checkKind(t, err)
			if err != nil {
				continue
			}
			var total int64
			for _, e := range c.entries {
				total += e.Size
			}
			require.LessOrEqual(t, total, int64(len(data)), "tensors cannot hold more than the file")
		}
	})
}

func FuzzSliceKeyOrder(f *testing.F) {
	f.Add(int64(0), int64(-1))
	f.Add(int64(1<<55), int64(1<<55-1))
	f.Fuzz(func(t *testing.T, a, b int64) {
		x, y := appendSigned(nil, a), appendSigned(nil, b)
		want := 0
		if a < b {
			want = -1
		} else if a > b {
			want = 1
		}
		require.Equal(t, want, bytes.Compare(x, y), "the code keeps the order of %d and %d", a, b)
	})
}

func TestEntriesAreSorted(t *testing.T) {
	r := open(t, golden)
	names := map[string]bool{}
	var list []string
	for _, e := range r.Entries() {
		names[e.Name] = true
		list = append(list, e.Name)
	}
	assert.Equal(t, slices.Sorted(maps.Keys(names)), list)
}
