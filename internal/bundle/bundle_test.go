package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/tfpb"
)

const golden = "../../testdata/golden/timedecay_shallow/model.ckpt"

func open(t testing.TB, prefix string) *Reader {
	t.Helper()
	r, err := Open(prefix)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	return r
}

func read(t testing.TB, r *Reader, name string) []float32 {
	t.Helper()
	values, err := r.ReadFloat32(name)
	require.NoError(t, err)
	return values
}

// ramp is 0, 1, 2, …, as in testdata/generate.py.
func ramp(n int) []float32 {
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(i)
	}
	return values
}

func TestReadsTypesWrittenByTensorFlow(t *testing.T) {
	r := open(t, "testdata/dtypes")
	inf := float32(math.Inf(1))
	exact := []float32{0, 1, -1, 0.5, 3.140625, -65504, 0x1p-24, 0x1p-14, inf, -inf}
	assert.Equal(t, exact, read(t, r, "float32"))
	assert.Equal(t, append(exact, 1.0/3), read(t, r, "float64"))
	assert.Equal(t, exact, read(t, r, "float16"))
	rounded := append([]float32{}, exact...)
	rounded[5] = -65536 // bfloat16 has 8 bits of precision
	assert.Equal(t, rounded, read(t, r, "bfloat16"))
	assert.Equal(t, []float32{0, 1, -1, 1 << 24, 1 << 24, -(1 << 62)}, read(t, r, "int64"))
	assert.Equal(t, []float32{12345}, read(t, r, "scalar"))
	assert.Empty(t, read(t, r, "empty"))
	assert.Equal(t, ramp(24), read(t, r, "rank3"))

	for _, name := range []string{"int32", "bool", "complex128"} {
		_, err := r.ReadFloat32(name)
		assert.ErrorIs(t, err, ErrUnsupported, name)
	}
	_, err := r.ReadFloat32("nonsense")
	assert.ErrorIs(t, err, ErrNoTensor)
	assert.ErrorContains(t, err, `"nonsense" in testdata/dtypes`)
	assert.ErrorContains(t, r.ReadInto("rank3", make([]float32, 23)), "does not fit 23 elements")

	require.NoError(t, r.VerifyAll(context.Background(), nil))
	e, ok := r.Entry("rank3")
	require.True(t, ok)
	assert.Equal(t, []int64{2, 3, 4}, e.Shape)
	assert.EqualValues(t, 96, e.Size)
	assert.Equal(t, tfpb.DataType_DT_FLOAT, e.DataType)
	_, ok = r.Entry("")
	assert.False(t, ok, "the header is not a tensor")
}

func TestReadsPartitionedVariables(t *testing.T) {
	for _, test := range []struct {
		prefix, name string
		shape        []int64
		slices       int
	}{
		{"partitioned", "rows", []int64{7, 4}, 3},
		{"partitioned", "columns", []int64{3, 200}, 3},
		{"partitioned", "grid", []int64{4, 5, 6}, 4},
		{"partitioned", "whole", []int64{5}, 0},
		{"escaped", "odd\xff\x00", []int64{3, 2}, 2},
		{"saver", "scope/kernel", []int64{10, 2}, 3},
		{"sharded", "a", []int64{3}, 0},
		{"sharded", "b", []int64{2, 2}, 0},
		{"sharded", "s", []int64{4, 2}, 2},
	} {
		r := open(t, "testdata/"+test.prefix)
		e, ok := r.Entry(test.name)
		require.True(t, ok, test.name)
		assert.Equal(t, test.shape, e.Shape)
		assert.Equal(t, test.slices, e.Slices)
		assert.Equal(t, 4*e.Elements(), e.Size)
		assert.Equal(t, ramp(int(e.Elements())), read(t, r, test.name), test.name)
		require.NoError(t, r.VerifyAll(context.Background(), nil))
	}
	var names []string
	for _, e := range open(t, "testdata/partitioned").Entries() {
		names = append(names, e.Name)
	}
	assert.Equal(t, []string{"columns", "grid", "rows", "whole"}, names)
}

func TestVerifyAllOfStrings(t *testing.T) {
	r := open(t, "testdata/strings")
	var last int64
	require.NoError(t, r.VerifyAll(context.Background(), func(done, total int64) {
		assert.Greater(t, done, last)
		assert.LessOrEqual(t, done, total)
		last = done
	}))
	info, err := os.Stat("testdata/strings.data-00000-of-00001")
	require.NoError(t, err)
	assert.Equal(t, info.Size(), last)
	_, err = r.ReadFloat32("vector")
	assert.ErrorIs(t, err, ErrUnsupported)
}

func TestVerifyAllStopsWithItsContext(t *testing.T) {
	r := open(t, golden)
	ctx, cancel := context.WithCancel(context.Background())
	calls := 0
	err := r.VerifyAll(ctx, func(done, total int64) {
		calls++
		cancel()
	})
	assert.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, 1, calls)
	assert.NoError(t, r.VerifyAll(context.Background(), nil))
}

func TestConcurrentReads(t *testing.T) {
	r := open(t, golden)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, e := range r.Entries() {
				if _, err := r.ReadFloat32(e.Name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestClose(t *testing.T) {
	r, err := Open("testdata/dtypes")
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
	_, err = r.ReadFloat32("float32")
	assert.ErrorIs(t, err, os.ErrClosed)
	assert.NotErrorIs(t, err, ErrCorrupt)
}

func TestMissingFiles(t *testing.T) {
	dir := t.TempDir()
	check := func(prefix, message string) {
		t.Helper()
		_, err := Open(prefix)
		require.ErrorIs(t, err, ErrNotFound)
		assert.ErrorIs(t, err, fs.ErrNotExist)
		assert.ErrorContains(t, err, message)
	}
	check(filepath.Join(dir, "model.ckpt"), filepath.Join(dir, "model.ckpt.index"))
	check(dir, "is a directory, give the files' common prefix")
	check("testdata/dtypes.index", "leave out the ending")
	check("testdata/dtypes.data-00000-of-00001", "leave out the ending")
	check("testdata/v1", "old V1 format")

	copyFile(t, "testdata/sharded.index", filepath.Join(dir, "s.index"))
	copyFile(t, "testdata/sharded.data-00000-of-00002", filepath.Join(dir, "s.data-00000-of-00002"))
	check(filepath.Join(dir, "s"), "s.data-00001-of-00002, to which")
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, data, 0o666))
}

func TestHalfToFloat32(t *testing.T) {
	for h, want := range map[uint16]uint32{
		0x0000: 0, 0x8000: 0x80000000, 0x3c00: 0x3f800000, 0xc000: 0xc0000000, 0x7bff: 0x477fe000,
		0x0001: 0x33800000, 0x8001: 0xb3800000, 0x03ff: 0x387fc000, 0x0400: 0x38800000,
		0x7c00: 0x7f800000, 0xfc00: 0xff800000, 0x7e00: 0x7fc00000,
	} {
		assert.Equal(t, want, math.Float32bits(halfToFloat32(h)), "%04x", h)
	}
}

// The examples are those of ordered_code.cc's comment and of tables around its length changes.
func TestOrderedCode(t *testing.T) {
	for v, want := range map[int64]string{
		0: "80", 63: "bf", 64: "c040", -1: "7f", -64: "40", -65: "3fbf", 0x1fff: "dfff", 0x2000: "e02000",
		0x424242: "f0424242", -0x800: "3800",
		1 << 54: "ff40000000000000", 1 << 55: "ff8080000000000000",
		math.MaxInt64: "ffc07fffffffffffffff", math.MinInt64: "003f8000000000000000",
	} {
		assert.Equal(t, want, hex.EncodeToString(appendSigned(nil, v)), "%d", v)
	}
	assert.Equal(t, "00", hex.EncodeToString(appendNumber(nil, 0)))
	assert.Equal(t, "020100", hex.EncodeToString(appendNumber(nil, 256)))
	assert.Equal(t, "6100ffff000001", hex.EncodeToString(appendString(nil, "a\x00\xff")))
}

func TestScatterEqualsIndexing(t *testing.T) {
	for _, shape := range [][]int64{{5}, {4, 3}, {3, 4, 2}, {2, 3, 2, 3}} {
		n, _ := elements(shape)
		var boxes []box
		b := box{start: make([]int64, len(shape)), length: make([]int64, len(shape))}
		var all func(d int)
		all = func(d int) {
			if d == len(shape) {
				boxes = append(boxes, box{append([]int64{}, b.start...), append([]int64{}, b.length...)})
				return
			}
			for b.start[d] = 0; b.start[d] < shape[d]; b.start[d]++ {
				for b.length[d] = 1; b.start[d]+b.length[d] <= shape[d]; b.length[d]++ {
					all(d + 1)
				}
			}
		}
		all(0)
		for _, b := range boxes {
			size, _ := elements(b.length)
			got := make([]float32, n)
			b.scatter(got, ramp(int(size)), shape)
			k := float32(0)
			for i := range n {
				inside, rest := true, i
				for d := len(shape) - 1; d >= 0; d-- {
					at := rest % shape[d]
					rest /= shape[d]
					inside = inside && at >= b.start[d] && at < b.start[d]+b.length[d]
				}
				want := float32(0)
				if inside {
					want = k
					k++
				}
				if got[i] != want {
					t.Fatalf("shape %v, box %v: element %d is %v, want %v", shape, b, i, got[i], want)
				}
			}
		}
	}
}

// write makes a bundle of a few tensors, one of them larger than a chunk.
func write(t testing.TB, prefix string) map[string][]float32 {
	t.Helper()
	w, err := Create(prefix)
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Abort()) }()
	tensors := map[string][]float32{"z/kernel": ramp(70001), "a/bias": {1, float32(math.Copysign(0, -1)), 3}, "empty": {}}
	require.NoError(t, w.Add("z/kernel", []int64{70001}, tensors["z/kernel"]))
	require.NoError(t, w.Add("a/bias", []int64{3, 1}, tensors["a/bias"]))
	require.NoError(t, w.Add("empty", []int64{0, 4}, nil))
	require.NoError(t, w.AddRaw("global_step", tfpb.DataType_DT_INT64, nil, binary.LittleEndian.AppendUint64(nil, 99)))
	for i := range 300 { // enough for several blocks in the index
		name := fmt.Sprintf("layer%d/a_rather_long_name_that_fills_blocks/gamma", i)
		tensors[name] = []float32{float32(i)}
		require.NoError(t, w.Add(name, []int64{1}, tensors[name]))
	}
	require.NoError(t, w.Finish())
	return tensors
}

func TestWriterRoundTrip(t *testing.T) {
	dir := t.TempDir()
	prefix := filepath.Join(dir, "model.ckpt")
	tensors := write(t, prefix)
	r := open(t, prefix)
	require.NoError(t, r.VerifyAll(context.Background(), nil))
	assert.Len(t, r.Entries(), len(tensors)+1)
	for name, want := range tensors {
		assert.Equal(t, len(want), len(read(t, r, name)), name)
		for i, v := range read(t, r, name) {
			require.Equal(t, math.Float32bits(want[i]), math.Float32bits(v))
		}
	}
	assert.Equal(t, []float32{99}, read(t, r, "global_step"))

	write(t, filepath.Join(dir, "again"))
	for _, end := range []string{".index", ".data-00000-of-00001"} {
		a, err := os.ReadFile(prefix + end)
		require.NoError(t, err)
		b, err := os.ReadFile(filepath.Join(dir, "again"+end))
		require.NoError(t, err)
		assert.True(t, bytes.Equal(a, b), "the same calls make the same %s", end)
	}
	write(t, prefix) // over an older one
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, files, 4, "no temporary file is left")
}

func TestWriterRefuses(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(filepath.Join(dir, "x"))
	require.NoError(t, err)
	assert.ErrorContains(t, w.Add("a", []int64{2}, []float32{1}), "1 elements for shape [2]")
	assert.ErrorContains(t, w.Add("a", []int64{-1}, nil), "shape [-1]")
	assert.ErrorContains(t, w.Add("a", []int64{math.MaxInt64, 2}, nil), "elements for shape")
	assert.ErrorContains(t, w.AddRaw("a", tfpb.DataType_DT_INT64, []int64{1}, make([]byte, 9)), "9 bytes for shape [1]")
	assert.ErrorIs(t, w.AddRaw("a", tfpb.DataType_DT_STRING, []int64{1}, make([]byte, 9)), ErrUnsupported)
	assert.ErrorContains(t, w.Add("", nil, []float32{1}), "cannot be a tensor's name")
	assert.ErrorContains(t, w.Add("\x00a", nil, []float32{1}), "cannot be a tensor's name")
	require.NoError(t, w.Add("a", nil, []float32{1}))
	assert.ErrorContains(t, w.Add("a", nil, []float32{1}), "one of that name already")
	require.NoError(t, w.Abort())
	require.NoError(t, w.Abort())
	require.NoError(t, w.Finish())
	assert.ErrorContains(t, w.Add("b", nil, []float32{1}), "finished")
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, files)

	_, err = Create(filepath.Join(dir, "missing", "x"))
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

func TestFailedFinishKeepsTheOldBundle(t *testing.T) {
	dir := t.TempDir()
	prefix := filepath.Join(dir, "x")
	write(t, prefix)
	w, err := Create(prefix)
	require.NoError(t, err)
	require.NoError(t, w.Add("a", nil, []float32{1}))
	require.NoError(t, w.file.Close()) // as if the disk had failed
	require.ErrorIs(t, w.Finish(), os.ErrClosed)
	require.NoError(t, open(t, prefix).VerifyAll(context.Background(), nil))
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, files, 2)
}

// TestTensorFlowReads has TensorFlow itself read what this package wrote, and compares what both make
// of TensorFlow's own files.
func TestTensorFlowReads(t *testing.T) {
	python := os.Getenv("TFCONVRNN_TF_PYTHON")
	if python == "" {
		t.Skip("set TFCONVRNN_TF_PYTHON to a Python that can import tensorflow to run this test")
	}
	own := filepath.Join(t.TempDir(), "model.ckpt")
	write(t, own)
	for _, prefix := range []string{own, golden, "testdata/dtypes", "testdata/partitioned", "testdata/saver",
		"testdata/sharded", "testdata/strings"} {
		cmd := exec.Command(python, "../../scripts/check_checkpoint_tf.py", prefix)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		require.NoError(t, err, stderr.String())
		r := open(t, prefix)
		lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
		require.Len(t, lines, len(r.Entries()), prefix)
		for i, e := range r.Entries() {
			var got struct {
				Name   string
				Shape  []int64
				SHA256 string
			}
			require.NoError(t, json.Unmarshal(lines[i], &got))
			assert.Equal(t, e.Name, got.Name)
			assert.Equal(t, e.Shape, got.Shape, e.Name)
			if !Readable(e.DataType) {
				continue
			}
			h := sha256.New()
			require.NoError(t, binary.Write(h, binary.LittleEndian, read(t, r, e.Name)))
			assert.Equal(t, hex.EncodeToString(h.Sum(nil)), got.SHA256, "%s in %s", e.Name, prefix)
		}
	}
}

func BenchmarkReadInto(b *testing.B) {
	r := open(b, golden)
	const name = "tnn_model/imnetds/pre_1/weights"
	e, ok := r.Entry(name)
	require.True(b, ok)
	dst := make([]float32, e.Elements())
	b.SetBytes(e.Size)
	for b.Loop() {
		require.NoError(b, r.ReadInto(name, dst))
	}
}

func TestReadIndex(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "model.ckpt")
	w, err := Create(prefix)
	require.NoError(t, err)
	require.NoError(t, w.Add("a", []int64{3}, []float32{1, 2, 3}))
	require.NoError(t, w.Add("b", []int64{2, 1}, []float32{4, 5}))
	require.NoError(t, w.Finish())
	require.NoError(t, os.Remove(prefix+".data-00000-of-00001"))
	index, err := ReadIndex(prefix)
	require.NoError(t, err)
	require.Len(t, index.Entries, 2)
	assert.Equal(t, "b", index.Entries[1].Name)
	assert.Equal(t, []ShardFile{{"model.ckpt.data-00000-of-00001", 20}}, index.Shards)
	_, err = ReadIndex(prefix + "x")
	assert.ErrorIs(t, err, ErrNotFound)
	require.NoError(t, os.Truncate(prefix+".index", 50))
	_, err = ReadIndex(prefix)
	assert.ErrorIs(t, err, ErrCorrupt)
}
