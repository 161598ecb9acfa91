package bundle

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/table"
	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/internal/disk"
	"github.com/tfconvrnn/go/internal/tfpb"
)

// Writer writes a bundle of one data shard. The same calls make the same bytes. It is not safe for
// concurrent use.
//
// Everything goes to temporary files beside the final ones. [Writer.Finish] puts them in place, the
// data before the index, so that an index never stands for data that is not there.
type Writer struct {
	prefix  string
	file    *os.File
	out     *bufio.Writer
	offset  int64
	entries map[string]*tfpb.BundleEntryProto
	buffer  []byte
	done    bool
	err     error // the first write error; later calls return it
}

// Create begins the bundle with the given prefix, such as "dir/model.ckpt"; dir must exist. A bundle
// that is there already stays as it is until [Writer.Finish]. The caller calls Finish or
// [Writer.Abort].
func Create(prefix string) (*Writer, error) {
	f, err := createBeside(dataPath(prefix, 0, 1))
	if err != nil {
		return nil, fmt.Errorf("create checkpoint: %w", err)
	}
	return &Writer{
		prefix: prefix, file: f, out: bufio.NewWriterSize(f, 1<<20),
		entries: map[string]*tfpb.BundleEntryProto{}, buffer: make([]byte, chunkSize),
	}, nil
}

// createBeside creates a temporary file with a name that begins with path.
func createBeside(path string) (*os.File, error) {
	return atomicfile.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
}

// Add adds a float32 tensor of the given shape, whose elements data holds in C order.
func (w *Writer) Add(name string, shape []int64, data []float32) error {
	if n, ok := elements(shape); !ok || n != int64(len(data)) {
		return fmt.Errorf("write tensor %q: %d elements for shape %v", name, len(data), shape)
	}
	return w.add(name, tfpb.DataType_DT_FLOAT, shape, func(write func([]byte) error) error {
		for len(data) > 0 {
			n := min(len(data), len(w.buffer)/4)
			for i, v := range data[:n] {
				binary.LittleEndian.PutUint32(w.buffer[4*i:], math.Float32bits(v))
			}
			if err := write(w.buffer[:4*n]); err != nil {
				return err
			}
			data = data[n:]
		}
		return nil
	})
}

// AddRaw adds a tensor of any type of fixed size, whose little-endian elements data holds in C order.
func (w *Writer) AddRaw(name string, dataType tfpb.DataType, shape []int64, data []byte) error {
	size := elementSize(dataType)
	if size == 0 {
		return fmt.Errorf("%w: cannot write the tensor %q of type %v", ErrUnsupported, name, dataType)
	}
	if n, ok := elements(shape); !ok || int64(len(data))%size != 0 || n != int64(len(data))/size {
		return fmt.Errorf("write tensor %q: %d bytes for shape %v of %v", name, len(data), shape, dataType)
	}
	return w.add(name, dataType, shape, func(write func([]byte) error) error { return write(data) })
}

func (w *Writer) add(name string, dataType tfpb.DataType, shape []int64,
	produce func(write func([]byte) error) error) error {
	switch {
	case w.done:
		return fmt.Errorf("write tensor %q: the checkpoint is finished", name)
	case w.err != nil:
		return w.err
	case name == "" || strings.HasPrefix(name, "\x00") || len(name) > maxKeyLength:
		return fmt.Errorf("write tensor: %q cannot be a tensor's name", name)
	case w.entries[name] != nil:
		return fmt.Errorf("write tensor %q: there is one of that name already", name)
	case len(w.entries)+2 > maxEntries:
		return fmt.Errorf("write tensor %q: more than %d tensors", name, maxEntries-2)
	}
	entry := &tfpb.BundleEntryProto{Dtype: dataType, Shape: &tfpb.TensorShapeProto{}, Offset: w.offset}
	for _, d := range shape {
		entry.Shape.Dim = append(entry.Shape.Dim, &tfpb.TensorShapeProto_Dim{Size: d})
	}
	crc := uint32(0)
	err := produce(func(b []byte) error {
		crc = crc32.Update(crc, castagnoli, b)
		entry.Size += int64(len(b))
		_, err := w.out.Write(b)
		return err
	})
	if err != nil {
		w.err = fmt.Errorf("write tensor %q: %w", name, err)
		return w.err
	}
	w.offset += entry.Size
	entry.Crc32C = Mask(crc)
	w.entries[name] = entry
	return nil
}

// Finish writes the index and puts the bundle in place. After an error nothing new is in place,
// except where renaming the index itself fails: then there is no readable bundle at the prefix.
// Further calls do nothing.
func (w *Writer) Finish() (err error) {
	if w.done {
		return nil
	}
	if w.err != nil {
		return errors.Join(w.err, w.Abort())
	}
	w.done = true
	data := w.file.Name()
	defer func() {
		if err != nil {
			err = fmt.Errorf("write checkpoint %s: %w", w.prefix, err)
			w.file.Close()
			os.Remove(data)
		}
	}()
	if err := w.out.Flush(); err != nil {
		return err
	}
	if err := w.file.Sync(); err != nil {
		return err
	}
	if err := w.file.Close(); err != nil {
		return err
	}

	index, err := createBeside(indexPath(w.prefix))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			index.Close()
			os.Remove(index.Name())
		}
	}()
	if err := w.writeIndex(index); err != nil {
		return err
	}
	if err := index.Sync(); err != nil {
		return err
	}
	if err := index.Close(); err != nil {
		return err
	}

	// Without this, an older index would for a moment describe the newer data.
	if err := os.Remove(indexPath(w.prefix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(data, dataPath(w.prefix, 0, 1)); err != nil {
		return err
	}
	if err := os.Rename(index.Name(), indexPath(w.prefix)); err != nil {
		return err
	}
	return disk.SyncFolder(filepath.Dir(w.prefix))
}

func (w *Writer) writeIndex(out io.Writer) error {
	// TensorFlow writes its own indexes uncompressed too.
	t := table.NewWriter(out, &opt.Options{Compression: opt.NoCompression})
	put := func(key string, m proto.Message) error {
		value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			return err
		}
		return t.Append([]byte(key), value)
	}
	header := &tfpb.BundleHeaderProto{NumShards: 1, Version: &tfpb.VersionDef{Producer: formatVersion}}
	if err := put("", header); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(w.entries)) {
		if err := put(name, w.entries[name]); err != nil {
			return fmt.Errorf("index entry %q: %w", name, err)
		}
	}
	return t.Close()
}

// Abort gives the bundle up and removes its temporary files. After [Writer.Finish] it does nothing,
// so that it can be deferred.
func (w *Writer) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	return errors.Join(w.file.Close(), os.Remove(w.file.Name()))
}
