package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/syndtr/goleveldb/leveldb/comparer"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/table"
	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/internal/tfpb"
)

// content is all that a bundle holds, as a program sees it.
type content struct {
	entries []Entry
	values  map[string][]uint32
}

// examine opens a bundle and reads everything in it.
func examine(prefix string) (content, error) {
	r, err := Open(prefix)
	if err != nil {
		return content{}, err
	}
	defer r.Close()
	if err := r.VerifyAll(context.Background(), nil); err != nil {
		return content{}, err
	}
	c := content{entries: r.Entries(), values: map[string][]uint32{}}
	for _, e := range r.Entries() {
		values, err := r.ReadFloat32(e.Name)
		if errors.Is(err, ErrUnsupported) {
			continue // VerifyAll has seen it
		} else if err != nil {
			return content{}, err
		}
		bits := make([]uint32, len(values))
		for i, v := range values {
			bits[i] = math.Float32bits(v)
		}
		c.values[e.Name] = bits
	}
	return c, nil
}

// victim is a copy of a bundle that a test damages.
type victim struct {
	prefix, index, data   string
	indexBytes, dataBytes []byte
}

func newVictim(t testing.TB, prefix string) *victim {
	t.Helper()
	v := &victim{prefix: filepath.Join(t.TempDir(), "x")}
	v.index, v.data = indexPath(v.prefix), dataPath(v.prefix, 0, 1)
	copyFile(t, indexPath(prefix), v.index)
	copyFile(t, dataPath(prefix, 0, 1), v.data)
	var err error
	v.indexBytes, err = os.ReadFile(v.index)
	require.NoError(t, err)
	v.dataBytes, err = os.ReadFile(v.data)
	require.NoError(t, err)
	return v
}

// with examines the bundle with one of its files replaced, and restores it.
func (v *victim) with(t testing.TB, path string, damaged []byte) (content, error) {
	t.Helper()
	intact := v.indexBytes
	if path == v.data {
		intact = v.dataBytes
	}
	replace(t, path, damaged)
	c, err := examine(v.prefix)
	replace(t, path, intact)
	return c, err
}

// replace writes a new file in place of one. File systems that flush a file that was truncated and
// written again would make that slow.
func replace(t testing.TB, path string, data []byte) {
	t.Helper()
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, data, 0o666))
}

var small = []string{"testdata/dtypes", "testdata/partitioned", "testdata/saver", "testdata/strings",
	"testdata/escaped"}

func TestTruncationAtEveryByte(t *testing.T) {
	for _, prefix := range small {
		v := newVictim(t, prefix)
		for n := range v.indexBytes {
			_, err := v.with(t, v.index, v.indexBytes[:n])
			require.ErrorIs(t, err, ErrCorrupt, "%s.index cut to %d bytes", prefix, n)
			require.ErrorContains(t, err, v.index)
		}
		for n := range v.dataBytes {
			_, err := v.with(t, v.data, v.dataBytes[:n])
			require.ErrorIs(t, err, ErrCorrupt, "data of %s cut to %d bytes", prefix, n)
			require.ErrorContains(t, err, fmt.Sprintf("%s is corrupt at byte %d: the file ends here", v.data, n))
		}
	}
}

func TestTruncationOfLargeCheckpoint(t *testing.T) {
	v := newVictim(t, golden)
	// Ever shorter, so that the file need not be written again.
	for i := 64; i > 0; i-- {
		n := int64(i*len(v.dataBytes)/64 - 1)
		require.NoError(t, os.Truncate(v.data, n))
		_, err := Open(v.prefix)
		require.ErrorIs(t, err, ErrCorrupt)
		require.ErrorContains(t, err, fmt.Sprintf("corrupt at byte %d: the file ends here", n))
	}
	replace(t, v.data, v.dataBytes)

	// A file that shrinks while it is open.
	r := open(t, v.prefix)
	require.NoError(t, os.Truncate(v.data, 1<<20))
	assert.ErrorIs(t, r.VerifyAll(context.Background(), nil), ErrCorrupt)
}

// TestBitFlips flips single bits. Each flip must be found, unless the bundle reads as before.
func TestBitFlips(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 14))
	harmless := 0
	const flips = 1000
	for _, prefix := range small {
		v := newVictim(t, prefix)
		want, err := examine(prefix)
		require.NoError(t, err)
		for range flips {
			path, intact := v.index, v.indexBytes
			if random.IntN(2) == 0 {
				path, intact = v.data, v.dataBytes
			}
			damaged := bytes.Clone(intact)
			bit := random.IntN(8 * len(damaged))
			damaged[bit/8] ^= 1 << (bit % 8)
			got, err := v.with(t, path, damaged)
			if err != nil {
				require.ErrorIs(t, err, ErrCorrupt, "bit %d of %s of %s", bit, path, prefix)
				require.ErrorContains(t, err, path)
				continue
			}
			harmless++
			require.Equal(t, want, got, "bit %d of %s of %s changes what is read", bit, path, prefix)
		}
	}
	t.Logf("%d of %d flips change nothing that is read", harmless, flips*len(small))
}

func TestBitFlipsInLargeCheckpoint(t *testing.T) {
	v := newVictim(t, golden)
	r := open(t, v.prefix)
	f, err := os.OpenFile(v.data, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	random := rand.New(rand.NewPCG(1, 2))
	entries := r.Entries()
	for range 100 {
		e := entries[random.IntN(len(entries))]
		at := e.Offset + random.Int64N(e.Size)
		_, err := f.WriteAt([]byte{v.dataBytes[at] ^ 1<<random.IntN(8)}, at)
		require.NoError(t, err)
		_, err = r.ReadFloat32(e.Name)
		require.ErrorIs(t, err, ErrCorrupt)
		var c *CorruptError
		require.ErrorAs(t, err, &c)
		assert.Equal(t, CorruptError{File: v.data, Offset: e.Offset, Reason: c.Reason}, *c)
		assert.Contains(t, c.Reason, fmt.Sprintf("the checksum of tensor %q", e.Name))
		_, err = f.WriteAt(v.dataBytes[at:at+1], at)
		require.NoError(t, err)
	}
	require.NoError(t, r.VerifyAll(context.Background(), nil))
}

// anyOrder lets a table writer take keys as they come.
type anyOrder struct{ comparer.Comparer }

func (anyOrder) Compare(a, b []byte) int           { return -1 }
func (anyOrder) Separator(dst, a, b []byte) []byte { return nil }
func (anyOrder) Successor(dst, b []byte) []byte    { return []byte{0xff} }

type pair struct {
	key   string
	value any // proto.Message or []byte
}

func makeIndex(t testing.TB, compression opt.Compression, pairs ...pair) []byte {
	t.Helper()
	var b bytes.Buffer
	w := table.NewWriter(&b, &opt.Options{Compression: compression, Comparer: anyOrder{comparer.DefaultComparer}})
	for _, p := range pairs {
		value, ok := p.value.([]byte)
		if !ok {
			var err error
			value, err = proto.Marshal(p.value.(proto.Message))
			require.NoError(t, err)
		}
		require.NoError(t, w.Append([]byte(p.key), value))
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func shape(dims ...int64) *tfpb.TensorShapeProto {
	s := &tfpb.TensorShapeProto{}
	for _, d := range dims {
		s.Dim = append(s.Dim, &tfpb.TensorShapeProto_Dim{Size: d})
	}
	return s
}

func extent(bounds ...int64) *tfpb.TensorSliceProto {
	s := &tfpb.TensorSliceProto{}
	for i := 0; i < len(bounds); i += 2 {
		e := &tfpb.TensorSliceProto_Extent{Start: bounds[i]}
		if bounds[i+1] >= 0 {
			e.HasLength = &tfpb.TensorSliceProto_Extent_Length{Length: bounds[i+1]}
		}
		s.Extent = append(s.Extent, e)
	}
	return s
}

var header = pair{"", &tfpb.BundleHeaderProto{NumShards: 1, Version: &tfpb.VersionDef{Producer: 1}}}

const float = tfpb.DataType_DT_FLOAT

// TestMalformedIndexes has indexes whose checksums are right but whose content is not. The data file
// has 64 bytes.
func TestMalformedIndexes(t *testing.T) {
	data := make([]byte, 64)
	crc := func(n int) uint32 { return Mask(crc32.Checksum(data[:n], castagnoli)) }
	entry := func(e *tfpb.BundleEntryProto) []pair { return []pair{header, {"t", e}} }
	head := func(h *tfpb.BundleHeaderProto) []pair {
		return []pair{{"", h}, {"t", &tfpb.BundleEntryProto{Dtype: float, Shape: shape(), Size: 4, Crc32C: crc(4)}}}
	}
	part := func(at int64, dims ...int64) *tfpb.BundleEntryProto {
		n, _ := elements(dims)
		return &tfpb.BundleEntryProto{Dtype: float, Shape: shape(dims...), Offset: at, Size: 4 * n, Crc32C: crc(int(4 * n))}
	}
	parent := func(specs ...*tfpb.TensorSliceProto) pair {
		return pair{"t", &tfpb.BundleEntryProto{Dtype: float, Shape: shape(4, 2), Slices: specs}}
	}
	slice := func(spec *tfpb.TensorSliceProto, e *tfpb.BundleEntryProto) pair { return pair{sliceKey("t", spec), e} }
	top, bottom := extent(0, 2, 0, -1), extent(2, 2, 0, -1)
	var rank255 []int64
	for range 255 {
		rank255 = append(rank255, 1)
	}
	manySlices := make([]*tfpb.TensorSliceProto, maxSlices+1)
	for i := range manySlices {
		manySlices[i] = top
	}

	for _, test := range []struct {
		name   string
		pairs  []pair
		target error
		says   string
	}{
		{"intact", entry(part(0, 4)), nil, ""},
		{"intact slices", []pair{header, slice(top, part(0, 2, 2)), slice(bottom, part(16, 2, 2)), parent(top, bottom)},
			nil, ""},
		{"no header", []pair{{"t", part(0, 4)}}, ErrCorrupt, "no header"},
		{"empty", nil, ErrCorrupt, "header is missing"},
		{"header is garbage", []pair{{"", []byte{0xff}}}, ErrCorrupt, "bad header"},
		{"entry is garbage", []pair{header, {"t", []byte{0xff}}}, ErrCorrupt, "bad entry"},
		{"duplicate key", []pair{header, {"t", part(0, 4)}, {"t", part(16, 4)}}, ErrCorrupt, `"t" occurs twice`},
		{"out of order", []pair{header, {"u", part(0, 4)}, {"t", part(16, 4)}}, ErrCorrupt, "out of order"},
		{"no shards", head(&tfpb.BundleHeaderProto{}), ErrCorrupt, "0 data shards"},
		{"negative shards", head(&tfpb.BundleHeaderProto{NumShards: -1}), ErrCorrupt, "-1 data shards"},
		{"absurd shards", head(&tfpb.BundleHeaderProto{NumShards: math.MaxInt32}), ErrNotFound, "data-00000-of-2147483647"},
		{"big-endian", head(&tfpb.BundleHeaderProto{NumShards: 1, Endianness: 1}), ErrUnsupported, "big-endian"},
		{"unknown byte order", head(&tfpb.BundleHeaderProto{NumShards: 1, Endianness: 7}), ErrCorrupt, "byte order 7"},
		{"later version", head(&tfpb.BundleHeaderProto{NumShards: 1, Version: &tfpb.VersionDef{Producer: 2}}), ErrUnsupported,
			"version 2"},
		{"for later readers",
			head(&tfpb.BundleHeaderProto{NumShards: 1, Version: &tfpb.VersionDef{Producer: 1, MinConsumer: 2}}), ErrUnsupported,
			"from version 2"},
		{"not for this reader",
			head(&tfpb.BundleHeaderProto{NumShards: 1, Version: &tfpb.VersionDef{Producer: 1, BadConsumers: []int32{1}}}),
			ErrUnsupported, "this program reads version 1"},

		{"shard out of range", entry(&tfpb.BundleEntryProto{Dtype: float, Shape: shape(), Size: 4, ShardId: 1}), ErrCorrupt,
			"data shard 1 of 1"},
		{"negative shard", entry(&tfpb.BundleEntryProto{Dtype: float, Shape: shape(), Size: 4, ShardId: -1}), ErrCorrupt,
			"data shard -1 of 1"},
		{"no type", entry(&tfpb.BundleEntryProto{Shape: shape(), Size: 4}), ErrCorrupt, "data type 0"},
		{"negative type", entry(&tfpb.BundleEntryProto{Dtype: -1, Shape: shape(), Size: 4}), ErrCorrupt, "data type -1"},
		{"negative dimension", entry(&tfpb.BundleEntryProto{Dtype: float, Shape: shape(-1), Size: 4}), ErrCorrupt,
			"impossible shape [-1]"},
		{"two negative dimensions", entry(&tfpb.BundleEntryProto{Dtype: float, Shape: shape(-1, -1), Size: 4}), ErrCorrupt,
			"impossible shape"},
		{"overflowing shape", entry(&tfpb.BundleEntryProto{Dtype: float, Shape: shape(1<<32, 1<<32), Size: 0}), ErrCorrupt,
			"impossible shape"},
		{"overflowing bytes", entry(&tfpb.BundleEntryProto{Dtype: float, Shape: shape(1<<62, 1), Size: 0}), ErrCorrupt,
			"0 bytes for shape"},
		{"rank 255", entry(&tfpb.BundleEntryProto{Dtype: float, Shape: shape(rank255...), Size: 4}), ErrCorrupt, "rank 255"},
		{"unknown rank", entry(&tfpb.BundleEntryProto{Dtype: float, Shape: &tfpb.TensorShapeProto{UnknownRank: true}}),
			ErrCorrupt, "unknown rank"},
		{"size is not that of the shape", entry(&tfpb.BundleEntryProto{Dtype: float, Shape: shape(4), Size: 12}), ErrCorrupt,
			"12 bytes for shape [4]"},
		{"size is no multiple", entry(&tfpb.BundleEntryProto{Dtype: float, Shape: shape(4), Size: 17}), ErrCorrupt,
			"17 bytes for shape [4]"},
		{"larger than the file", entry(&tfpb.BundleEntryProto{Dtype: float, Shape: shape(1 << 40), Size: 1 << 42}),
			ErrCorrupt, "the file ends here"},
		{"unknown type larger than the file", entry(&tfpb.BundleEntryProto{Dtype: 99, Shape: shape(1 << 40), Size: 1 << 42}),
			ErrCorrupt, "the file ends here"},
		{"strings without bytes", entry(&tfpb.BundleEntryProto{Dtype: 7, Shape: shape(1 << 40)}), ErrCorrupt,
			"more strings than bytes"},
		{"strings of garbage", entry(&tfpb.BundleEntryProto{Dtype: 7, Shape: shape(30), Size: 64}), ErrCorrupt,
			"strings' lengths"},
		{"a variant", entry(&tfpb.BundleEntryProto{Dtype: 21, Shape: shape(), Size: 4}), ErrUnsupported, "DT_VARIANT"},
		{"negative size", entry(&tfpb.BundleEntryProto{Dtype: float, Shape: shape(0), Size: -4}), ErrCorrupt, "-4 bytes"},
		{"negative offset", entry(&tfpb.BundleEntryProto{Dtype: float, Shape: shape(), Size: 4, Offset: -4}), ErrCorrupt,
			"at byte -4"},
		{"offset at the end", entry(&tfpb.BundleEntryProto{Dtype: float, Shape: shape(), Size: 4, Offset: 61}), ErrCorrupt,
			"4 bytes at byte 61"},
		{"overflowing offset", entry(&tfpb.BundleEntryProto{Dtype: float, Shape: shape(), Size: 4, Offset: math.MaxInt64}),
			ErrCorrupt, "the file ends here"},
		{"wrong checksum", entry(&tfpb.BundleEntryProto{Dtype: float, Shape: shape(), Size: 4, Crc32C: 1}), ErrCorrupt,
			"should be 00000001"},
		{"overlap", []pair{header, {"t", part(0, 4)}, {"u", part(12, 4)}}, ErrCorrupt, `"t" and "u" overlap`},
		{"same bytes", []pair{header, {"t", part(0, 4)}, {"u", part(0, 4)}}, ErrCorrupt, "overlap"},
		{"long key", []pair{header, {strings.Repeat("k", maxKeyLength+1), part(0, 4)}}, ErrCorrupt, "a key of 4097 bytes"},
		{"large entry", []pair{header, {"t", make([]byte, maxEntrySize+1)}}, ErrCorrupt, "262145 bytes"},

		{"slice missing", []pair{header, slice(top, part(0, 2, 2)), parent(top, bottom)}, ErrCorrupt, "is missing"},
		{"slices that leave something out", []pair{header, slice(top, part(0, 2, 2)), parent(top)}, ErrCorrupt,
			"leave 4 elements"},
		{"slices that overlap", []pair{header, slice(top, part(0, 2, 2)), slice(extent(1, 2, 0, -1), part(16, 2, 2)),
			parent(top, extent(1, 2, 0, -1))}, ErrCorrupt, "overlaps another"},
		{"a slice twice", []pair{header, slice(top, part(0, 2, 2)), parent(top, top)}, ErrCorrupt, "is missing"},
		{"slice outside", []pair{header, parent(extent(3, 2, 0, -1))}, ErrCorrupt, "does not fit"},
		{"slice of another rank", []pair{header, parent(extent(0, 2))}, ErrCorrupt, "does not fit"},
		{"slice of overflowing extent", []pair{header, parent(extent(math.MaxInt64, math.MaxInt64, 0, -1))}, ErrCorrupt,
			"does not fit"},
		{"slice of negative start", []pair{header, parent(extent(-1, 2, 0, -1))}, ErrCorrupt, "does not fit"},
		{"empty slice", []pair{header, parent(extent(0, 0, 0, -1))}, ErrCorrupt, "does not fit"},
		{"slice with start but no length", []pair{header, parent(extent(2, -1, 0, -1))}, ErrCorrupt, "does not fit"},
		{"slice of another shape", []pair{header, slice(top, part(0, 4)), parent(top, bottom)}, ErrCorrupt, "has shape [4]"},
		{"slice of another type",
			[]pair{header, slice(top, &tfpb.BundleEntryProto{Dtype: 3, Shape: shape(2, 2), Size: 16, Crc32C: crc(16)}),
				parent(top, bottom)}, ErrCorrupt, "is of type DT_INT32"},
		{"slice of nothing", []pair{header, slice(top, part(0, 2, 2))}, ErrCorrupt, "belongs to no tensor"},
		{"slices and bytes", []pair{header, {"t", &tfpb.BundleEntryProto{Dtype: float, Shape: shape(4, 2), Size: 32,
			Slices: []*tfpb.TensorSliceProto{top}}}}, ErrCorrupt, "bytes of its own"},
		{"absurd number of slices", []pair{header, parent(manySlices...)}, ErrCorrupt, "1025 slices"},
		{"large shape in slices", []pair{header, {"t", &tfpb.BundleEntryProto{Dtype: float, Shape: shape(1<<40, 2),
			Slices: []*tfpb.TensorSliceProto{top}}}, slice(top, part(0, 2, 2))}, ErrCorrupt, ""},
	} {
		for _, compression := range []opt.Compression{opt.NoCompression, opt.SnappyCompression} {
			t.Run(fmt.Sprint(test.name, " ", compression), func(t *testing.T) {
				prefix := filepath.Join(t.TempDir(), "x")
				require.NoError(t, os.WriteFile(dataPath(prefix, 0, 1), data, 0o666))
				slices.SortStableFunc(test.pairs, func(a, b pair) int {
					if test.name == "out of order" {
						return 0
					}
					return strings.Compare(a.key, b.key)
				})
				require.NoError(t, os.WriteFile(indexPath(prefix), makeIndex(t, compression, test.pairs...), 0o666))
				before := allocated()
				_, err := examine(prefix)
				assert.Less(t, allocated()-before, uint64(32<<20), "bytes allocated")
				require.ErrorIs(t, err, test.target)
				if test.target != nil {
					assert.ErrorContains(t, err, test.says)
				}
			})
		}
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
