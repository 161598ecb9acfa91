package bundle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/internal/tfpb"
)

// Entry describes one tensor of a bundle.
type Entry struct {
	Name     string
	DataType tfpb.DataType
	Shape    []int64 // empty for a scalar
	Size     int64   // bytes stored, of all slices together
	Slices   int     // number of slices of a partitioned tensor, 0 for one that is stored whole
	Shard    int     // data shard and offset in it; both 0 for a partitioned tensor
	Offset   int64
}

// Elements returns the product of the shape.
func (e Entry) Elements() int64 {
	n, _ := elements(e.Shape)
	return n
}

// tensor is an entry and where its bytes lie.
type tensor struct {
	Entry
	crc    uint32
	slices []slice
}

type slice struct {
	box  box
	data *tensor
}

// shard is one open data file.
type shard struct {
	path string
	size int64
	file *os.File
}

// Reader reads the tensors of a bundle. Its methods are safe for concurrent use; [Reader.Close]
// makes those in flight fail.
type Reader struct {
	prefix  string
	shards  map[int32]*shard
	entries []Entry
	tensors map[string]*tensor
	stored  []*tensor // everything that has bytes, in the order in which it lies in the shards
	close   sync.Once
	closed  error
	// indexOnly leaves the data files alone.
	indexOnly bool
}

// Open opens the bundle with the given prefix, such as "dir/model.ckpt". It reads and checks the
// index, and checks that every data file it refers to is there and long enough, but reads no tensor.
// The caller closes the reader.
//
// The error wraps [ErrNotFound], [ErrCorrupt] or [ErrUnsupported], or comes from the file system.
func Open(prefix string) (*Reader, error) {
	path := indexPath(prefix)
	data, err := readIndex(path)
	if err != nil {
		return nil, err
	}
	r := &Reader{prefix: prefix, shards: map[int32]*shard{}, tensors: map[string]*tensor{}}
	if err := r.load(path, data); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func readIndex(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		prefix := strings.TrimSuffix(path, ".index")
		hint := ""
		if info, err := os.Stat(prefix); err == nil {
			if info.IsDir() {
				hint = "; " + prefix + " is a directory, give the files' common prefix, such as " + prefix + "/model.ckpt"
			} else if strings.HasSuffix(prefix, ".index") || strings.Contains(prefix, ".data-") {
				hint = "; leave out the ending .index or .data-…"
			} else {
				hint = "; " + prefix + " may be a checkpoint of the old V1 format, which is not supported"
			}
		}
		return nil, notFound(path, hint)
	} else if err != nil {
		return nil, fmt.Errorf("open checkpoint: %w", err)
	}
	defer f.Close()
	// The limit holds for what is read, not for what the file system says the size is.
	data, err := io.ReadAll(io.LimitReader(f, maxIndexSize+1))
	if err != nil {
		return nil, fmt.Errorf("read checkpoint index: %w", err)
	}
	if len(data) > maxIndexSize {
		return nil, corrupt(path, maxIndexSize, "an index of more than %d MiB", maxIndexSize>>20)
	}
	return data, nil
}

// load fills r from the index in data.
func (r *Reader) load(path string, data []byte) error {
	var header *tfpb.BundleHeaderProto
	parents := map[string]*tfpb.BundleEntryProto{}
	var table *indexTable
	err := readTable(path, data, func(t *indexTable, key string, value []byte) error {
		table = t
		if header == nil {
			if key != "" {
				return corrupt(path, t.offsetOf(key), "no header before the entry %q", key)
			}
			header = &tfpb.BundleHeaderProto{}
			if err := proto.Unmarshal(value, header); err != nil {
				return corrupt(path, t.offsetOf(key), "bad header: %v", err)
			}
			return checkHeader(path, header)
		}
		if len(value) > maxEntrySize {
			return corrupt(path, t.offsetOf(key), "the entry of %q has %d bytes", key, len(value))
		}
		e := &tfpb.BundleEntryProto{}
		if err := proto.Unmarshal(value, e); err != nil {
			return corrupt(path, t.offsetOf(key), "bad entry of %q: %v", key, err)
		}
		stored, err := newTensor(key, e)
		if err != nil {
			return corrupt(path, t.offsetOf(key), "entry of %q: %v", key, err)
		}
		r.tensors[key] = stored
		if len(e.GetSlices()) > 0 {
			if stored.Size != 0 {
				return corrupt(path, t.offsetOf(key), "entry of %q: bytes of its own beside slices", key)
			}
			parents[key] = e
			return nil
		}
		if int64(e.GetShardId()) < 0 || e.GetShardId() >= header.GetNumShards() {
			return corrupt(path, t.offsetOf(key), "entry of %q: data shard %d of %d", key, e.GetShardId(), header.GetNumShards())
		}
		r.stored = append(r.stored, stored)
		return nil
	})
	if err != nil {
		return err
	}
	if header == nil {
		return corrupt(path, 0, "the header is missing")
	}
	if err := r.openShards(header.GetNumShards()); err != nil {
		return err
	}
	for name, e := range parents {
		if err := r.gather(r.tensors[name], e.GetSlices()); err != nil {
			return corrupt(path, table.offsetOf(name), "entry of %q: %v", name, err)
		}
	}
	for key, t := range r.tensors {
		if strings.HasPrefix(key, "\x00") {
			return corrupt(path, table.offsetOf(key), "the slice %q belongs to no tensor", key)
		}
		r.entries = append(r.entries, t.Entry)
	}
	slices.SortFunc(r.entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

func checkHeader(path string, h *tfpb.BundleHeaderProto) error {
	version := h.GetVersion()
	switch {
	case h.GetNumShards() <= 0:
		return corrupt(path, 0, "%d data shards", h.GetNumShards())
	case h.GetEndianness() == tfpb.BundleHeaderProto_BIG:
		return fmt.Errorf("%w: %s says that its data is big-endian; save it again on a little-endian machine",
			ErrUnsupported, path)
	case h.GetEndianness() != tfpb.BundleHeaderProto_LITTLE:
		return corrupt(path, 0, "byte order %d", h.GetEndianness())
	case version.GetProducer() < 0 || version.GetProducer() > formatVersion || version.GetMinConsumer() > formatVersion,
		slices.Contains(version.GetBadConsumers(), formatVersion):
		return fmt.Errorf("%w: %s is of format version %d (readable from version %d on), this program reads version %d",
			ErrUnsupported, path, version.GetProducer(), version.GetMinConsumer(), formatVersion)
	}
	return nil
}

// newTensor checks what can be checked of an entry by itself.
func newTensor(name string, e *tfpb.BundleEntryProto) (*tensor, error) {
	if e.GetShape().GetUnknownRank() {
		return nil, errors.New("a shape of unknown rank")
	}
	if n := len(e.GetShape().GetDim()); n > maxRank {
		return nil, fmt.Errorf("a shape of rank %d", n)
	}
	shape := make([]int64, 0, len(e.GetShape().GetDim()))
	for _, d := range e.GetShape().GetDim() {
		shape = append(shape, d.GetSize())
	}
	n, ok := elements(shape)
	size := elementSize(e.GetDtype())
	switch {
	case e.GetDtype() <= 0:
		return nil, fmt.Errorf("data type %d", e.GetDtype())
	case !ok:
		return nil, fmt.Errorf("impossible shape %v", shape)
	case e.GetSize() < 0 || e.GetOffset() < 0:
		return nil, fmt.Errorf("%d bytes at byte %d", e.GetSize(), e.GetOffset())
	case len(e.GetSlices()) == 0 && size > 0 && (e.GetSize()%size != 0 || e.GetSize()/size != n):
		return nil, fmt.Errorf("%d bytes for shape %v of %v", e.GetSize(), shape, e.GetDtype())
	}
	return &tensor{
		Entry: Entry{
			Name: name, DataType: e.GetDtype(), Shape: shape,
			Size: e.GetSize(), Shard: int(e.GetShardId()), Offset: e.GetOffset(),
		},
		crc: e.GetCrc32C(),
	}, nil
}

// openShards opens the data files that entries refer to and checks that they hold what they should:
// that is what bounds later allocations.
func (r *Reader) openShards(shards int32) error {
	slices.SortFunc(r.stored, func(a, b *tensor) int {
		return cmp.Or(cmp.Compare(a.Shard, b.Shard), cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Size, b.Size))
	})
	var previous *tensor
	for _, t := range r.stored {
		s := r.shards[int32(t.Shard)]
		if s == nil {
			var err error
			if s, err = r.openShard(int32(t.Shard), shards); err != nil {
				return err
			}
			r.shards[int32(t.Shard)] = s
		}
		if t.Offset > s.size || t.Size > s.size-t.Offset {
			return corrupt(s.path, s.size, "the file ends here, but tensor %q has %d bytes at byte %d", t.Name, t.Size, t.Offset)
		}
		if previous != nil && previous.Shard == t.Shard && previous.Offset+previous.Size > t.Offset && t.Size > 0 {
			return corrupt(s.path, t.Offset, "the tensors %q and %q overlap", previous.Name, t.Name)
		}
		if t.Size > 0 {
			previous = t
		}
	}
	return nil
}

func (r *Reader) openShard(number, shards int32) (*shard, error) {
	path := dataPath(r.prefix, number, shards)
	if r.indexOnly {
		return &shard{path: path, size: math.MaxInt64}, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notFound(path, ", to which "+indexPath(r.prefix)+" refers")
	} else if err != nil {
		return nil, fmt.Errorf("open checkpoint: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open checkpoint: %w", err)
	}
	return &shard{path: path, size: info.Size(), file: f}, nil
}

// gather finds the slices of the partitioned tensor t and checks that they fill it exactly.
func (r *Reader) gather(t *tensor, specs []*tfpb.TensorSliceProto) error {
	if len(specs) > maxSlices {
		return fmt.Errorf("%d slices", len(specs))
	}
	total, _ := elements(t.Shape)
	for _, spec := range specs {
		b, ok := newBox(spec, t.Shape)
		if !ok {
			return fmt.Errorf("slice %v does not fit shape %v", spec, t.Shape)
		}
		key := sliceKey(t.Name, spec)
		data := r.tensors[key]
		switch {
		case data == nil || len(data.slices) > 0:
			return fmt.Errorf("slice %v is missing", spec)
		case data.DataType != t.DataType:
			return fmt.Errorf("slice %v is of type %v, the tensor of type %v", spec, data.DataType, t.DataType)
		case !slices.Equal(data.Shape, b.length):
			return fmt.Errorf("slice %v has shape %v", spec, data.Shape)
		}
		for _, other := range t.slices {
			if b.overlaps(other.box) {
				return fmt.Errorf("slice %v overlaps another", spec)
			}
		}
		n, _ := elements(b.length)
		total -= n
		t.Size += data.Size
		t.slices = append(t.slices, slice{box: b, data: data})
		delete(r.tensors, key)
	}
	if total != 0 {
		return fmt.Errorf("the slices leave %d elements of shape %v out", total, t.Shape)
	}
	t.Slices = len(t.slices)
	return nil
}

// Entries describes the tensors of the bundle, sorted by name. Slices of partitioned tensors are not
// listed by themselves. The caller must not change what it gets.
func (r *Reader) Entries() []Entry { return r.entries }

// Entry describes the tensor called name, and says whether there is one.
func (r *Reader) Entry(name string) (Entry, bool) {
	t := r.tensors[name]
	if t == nil {
		return Entry{}, false
	}
	return t.Entry, true
}

// ReadFloat32 returns the elements of the tensor called name, in C order, converted to float32 from
// float32, float64, float16, bfloat16 or int64 (rounded to the nearest where they need it). The
// checksum is always verified.
//
// The error wraps [ErrNoTensor], [ErrCorrupt] or [ErrUnsupported], or comes from the file system.
func (r *Reader) ReadFloat32(name string) ([]float32, error) {
	t, _, err := r.readable(name)
	if err != nil {
		return nil, err
	}
	// The size has been checked against the data files' lengths, when the bundle was opened.
	dst := make([]float32, t.Elements())
	if err := r.ReadInto(name, dst); err != nil {
		return nil, err
	}
	return dst, nil
}

// ReadInto is [Reader.ReadFloat32] into dst, whose length must be the tensor's number of elements.
// After an error the content of dst is undefined.
func (r *Reader) ReadInto(name string, dst []float32) error {
	t, decode, err := r.readable(name)
	if err != nil {
		return err
	}
	if int64(len(dst)) != t.Elements() {
		return fmt.Errorf("read %q: the tensor of shape %v does not fit %d elements", name, t.Shape, len(dst))
	}
	if len(t.slices) == 0 {
		return r.decode(t, decode, dst)
	}
	for _, s := range t.slices {
		part := make([]float32, s.data.Elements())
		if err := r.decode(s.data, decode, part); err != nil {
			return err
		}
		s.box.scatter(dst, part, t.Shape)
	}
	return nil
}

func (r *Reader) readable(name string) (*tensor, decoder, error) {
	t := r.tensors[name]
	if t == nil {
		return nil, nil, fmt.Errorf("%w: %q in %s", ErrNoTensor, name, r.prefix)
	}
	decode := decoders[t.DataType]
	if decode == nil {
		return nil, nil, fmt.Errorf("%w: the tensor %q in %s is of type %v, which cannot be read as float32",
			ErrUnsupported, name, r.prefix, t.DataType)
	}
	return t, decode, nil
}

// decode reads a tensor that is stored whole.
func (r *Reader) decode(t *tensor, decode decoder, dst []float32) error {
	size := elementSize(t.DataType)
	return r.stream(context.Background(), t, func(b []byte) error {
		n := int64(len(b)) / size
		decode(dst[:n], b)
		dst = dst[n:]
		return nil
	})
}

// chunkSize is a multiple of every element's size.
const chunkSize = 256 << 10

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// stream passes the bytes of t to visit, in pieces of whole elements, and verifies their checksum.
func (r *Reader) stream(ctx context.Context, t *tensor, visit func([]byte) error) error {
	buffer := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(buffer)
	crc := uint32(0)
	for done := int64(0); done < t.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := buffer[:min(chunkSize, t.Size-done)]
		if err := r.readAt(t, b, done); err != nil {
			return err
		}
		crc = crc32.Update(crc, castagnoli, b)
		if err := visit(b); err != nil {
			return err
		}
		done += int64(len(b))
	}
	return r.compare(t, crc)
}

func (r *Reader) compare(t *tensor, crc uint32) error {
	if got := Mask(crc); got != t.crc {
		return corrupt(r.shards[int32(t.Shard)].path, t.Offset,
			"the checksum of tensor %q (%d bytes) is %08x, should be %08x",
			t.Name, t.Size, got, t.crc)
	}
	return nil
}

// readAt fills b with the bytes of t from offset on.
func (r *Reader) readAt(t *tensor, b []byte, offset int64) error {
	s := r.shards[int32(t.Shard)]
	n, err := s.file.ReadAt(b, t.Offset+offset)
	switch {
	case n == len(b):
		return nil
	case errors.Is(err, io.EOF): // the file has shrunk since it was opened
		return corrupt(s.path, t.Offset+offset+int64(n), "the file ends within tensor %q", t.Name)
	}
	return fmt.Errorf("read tensor %q: %w", t.Name, err)
}

// Close closes the data files. Further calls do nothing and return the first one's error.
func (r *Reader) Close() error {
	r.close.Do(func() {
		for _, s := range r.shards {
			if s.file != nil {
				r.closed = errors.Join(r.closed, s.file.Close())
			}
		}
	})
	return r.closed
}
