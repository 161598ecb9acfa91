package extraction

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/internal/storage"
	"github.com/tfconvrnn/go/stimuli"
)

// A plan file is a file in Zstandard's seekable format (zstd,
// contrib/seekable_format/zstd_seekable_compression_format.md), which zstdcat prints:
//
//	skippable frame    planMagic
//	frames             stimuli, one stimuli.Record as JSON a line
//	last frame         the Recipe, as JSON
//	skippable frame    the seek table: for each frame above its size and that of its
//	                   content, 32-bit little endian, then the footer: number of
//	                   frames, descriptor 0, seekMagic
//
// so that a worker reads the recipe and the frames that its chunks lie in, and nothing
// else. Frames hold zstd's own checksums.
const (
	planMagic       = "tfconvrnn extraction plan 1\n"
	skippableMagic  = 0x184D2A50
	seekTableMagic  = 0x184D2A5E
	seekMagic       = 0x8F92EAB1
	seekEntryBytes  = 8
	seekFooterBytes = 9
	// A frame ends after so many stimuli, or so many bytes.
	frameRows  = 4096
	frameBytes = 4 << 20
	// maxFrameBytes bounds the memory that a damaged plan can make us take: one
	// stimulus may have 1000 columns of 4096 bytes, each byte six of JSON.
	maxFrameBytes = 64 << 20
)

// ErrPlan means that a file is no plan, or a damaged one.
var ErrPlan = errors.New("unusable plan file")

// frameWriter writes a plan file.
type frameWriter struct {
	w       *bufio.Writer
	file    *os.File
	entries []byte
	offsets []int64 // of frames
	rows    []int   // in frames of stimuli
	end     int64
}

func newFrameWriter(file *os.File) (*frameWriter, error) {
	f := &frameWriter{w: bufio.NewWriterSize(file, 1<<20), file: file}
	head := binary.LittleEndian.AppendUint32(nil, skippableMagic)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(planMagic)))
	return f, f.frame(append(head, planMagic...), 0)
}

func (f *frameWriter) frame(compressed []byte, size int) error {
	if len(compressed) > math.MaxUint32 || size > maxFrameBytes {
		return fmt.Errorf("%w: %d bytes for one frame; the table's rows are too long", ErrPlan, size)
	}
	f.offsets = append(f.offsets, f.end)
	f.end += int64(len(compressed))
	f.entries = binary.LittleEndian.AppendUint32(f.entries, uint32(len(compressed)))
	f.entries = binary.LittleEndian.AppendUint32(f.entries, uint32(size))
	_, err := f.w.Write(compressed)
	return err
}

// finish writes the recipe and the seek table, and makes the file last.
func (f *frameWriter) finish(recipe []byte, encoder *zstd.Encoder) error {
	if err := f.frame(encoder.EncodeAll(recipe, nil), len(recipe)); err != nil {
		return err
	}
	table := binary.LittleEndian.AppendUint32(nil, seekTableMagic)
	table = binary.LittleEndian.AppendUint32(table, uint32(len(f.entries)+seekFooterBytes))
	table = append(table, f.entries...)
	table = binary.LittleEndian.AppendUint32(table, uint32(len(f.entries)/seekEntryBytes))
	table = append(table, 0)
	table = binary.LittleEndian.AppendUint32(table, seekMagic)
	if _, err := f.w.Write(table); err != nil {
		return err
	}
	if err := f.w.Flush(); err != nil {
		return err
	}
	return f.file.Sync()
}

// planReader reads the frames of a plan file. It is safe for concurrent use.
type planReader struct {
	name    string
	at      io.ReaderAt
	close   func() error
	frames  []planFrame // all but the first
	decoder *zstd.Decoder
}

type planFrame struct {
	offset int64
	size   uint32 // compressed
}

// openPlan opens a plan file by its path or URL.
func openPlan(ctx context.Context, name string) (_ *planReader, err error) {
	r := &planReader{name: name}
	var size int64
	if storage.IsRemote(name) {
		folder, object, err := storage.Split(name)
		if err != nil {
			return nil, err
		}
		store, err := storage.Open(ctx, folder)
		if err != nil {
			return nil, err
		}
		about, err := store.Stat(ctx, object)
		if err != nil {
			store.Close()
			return nil, err
		}
		size, r.close = about.Size, store.Close
		r.at = readerAt(func(p []byte, offset int64) (int, error) { return store.ReadAt(ctx, object, p, offset) })
	} else {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		info, err := file.Stat()
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s: not a regular file", name)
		}
		if err != nil {
			file.Close()
			return nil, err
		}
		size, r.close, r.at = info.Size(), file.Close, file
	}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	return r, r.index(size)
}

type readerAt func(p []byte, offset int64) (int, error)

func (f readerAt) ReadAt(p []byte, offset int64) (int, error) { return f(p, offset) }

func (r *planReader) bad(format string, args ...any) error {
	return fmt.Errorf("%s: %w: %s; make it again with extract plan", r.name, ErrPlan, fmt.Sprintf(format, args...))
}

func (r *planReader) read(offset int64, n int64) ([]byte, error) {
	p := make([]byte, n)
	if read, err := r.at.ReadAt(p, offset); int64(read) < n {
		return nil, fmt.Errorf("%s: %w", r.name, err)
	}
	return p, nil
}

// index reads the seek table.
func (r *planReader) index(size int64) error {
	const head = 8 + int64(len(planMagic))
	if size < head+8+seekFooterBytes {
		return r.bad("it is too short")
	}
	start, err := r.read(0, head)
	if err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(start) != skippableMagic || string(start[8:]) != planMagic {
		return r.bad("it is no plan of this version")
	}
	footer, err := r.read(size-seekFooterBytes, seekFooterBytes)
	if err != nil {
		return err
	}
	count := int64(binary.LittleEndian.Uint32(footer))
	tableBytes := 8 + count*seekEntryBytes + seekFooterBytes
	if footer[4] != 0 || binary.LittleEndian.Uint32(footer[5:]) != seekMagic || count < 3 || tableBytes > size-head {
		return r.bad("its end is missing or damaged")
	}
	table, err := r.read(size-tableBytes, tableBytes)
	if err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(table) != seekTableMagic ||
		int64(binary.LittleEndian.Uint32(table[4:])) != tableBytes-8 {
		return r.bad("its table of frames is damaged")
	}
	offset := int64(0)
	for i := range count {
		entry := table[8+i*seekEntryBytes:]
		compressed := binary.LittleEndian.Uint32(entry)
		if i > 0 {
			r.frames = append(r.frames, planFrame{offset, compressed})
		}
		offset += int64(compressed)
		if offset > size-tableBytes || binary.LittleEndian.Uint32(entry[4:]) > maxFrameBytes {
			return r.bad("its table of frames is damaged")
		}
	}
	if offset != size-tableBytes {
		return r.bad("its table of frames is damaged")
	}
	r.decoder, err = zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxFrameBytes), zstd.WithDecoderConcurrency(0))
	return err
}

// frame returns the content of a frame.
func (r *planReader) frame(i int) ([]byte, error) {
	f := r.frames[i]
	compressed, err := r.read(f.offset, int64(f.size))
	if err != nil {
		return nil, err
	}
	content, err := r.decoder.DecodeAll(compressed, nil)
	if err != nil {
		return nil, r.bad("frame %d: %v", i, err)
	}
	return content, nil
}

// records returns the stimuli of a frame, which must be so many.
func (r *planReader) records(i, rows int) ([]stimuli.Record, error) {
	content, err := r.frame(i)
	if err != nil {
		return nil, err
	}
	var records []stimuli.Record
	for len(content) > 0 {
		line, rest, _ := bytes.Cut(content, []byte("\n"))
		content = rest
		var record stimuli.Record
		if err := json.Unmarshal(line, &record); err != nil {
			return nil, r.bad("frame %d, stimulus %d: %v", i, len(records), err)
		}
		records = append(records, record)
	}
	if len(records) != rows {
		return nil, r.bad("frame %d has %d stimuli, not %d", i, len(records), rows)
	}
	return records, nil
}

func (r *planReader) Close() error {
	if r.decoder != nil {
		r.decoder.Close()
	}
	return r.close()
}

// publishPlan gives a finished temporary file its name, which may be a URL.
func publishPlan(ctx context.Context, file *atomicfile.File, name string) error {
	if !storage.IsRemote(name) {
		return file.Commit()
	}
	folder, object, err := storage.Split(name)
	if err != nil {
		return err
	}
	store, err := storage.Open(ctx, folder)
	if err != nil {
		return err
	}
	defer store.Close()
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return store.PutFrom(ctx, object, file)
}

// Exists tells whether there is a file or object of this name.
func Exists(ctx context.Context, name string) (bool, error) {
	if !storage.IsRemote(name) {
		_, err := os.Lstat(name)
		return err == nil, nil // other errors come up when it is made
	}
	folder, object, err := storage.Split(name)
	if err != nil {
		return false, err
	}
	store, err := storage.Open(ctx, folder)
	if err != nil {
		return false, err
	}
	defer store.Close()
	if _, err = store.Stat(ctx, object); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// CopyPlan writes a plan file, which is a local one, under another name, which may be a
// URL and may exist.
func CopyPlan(ctx context.Context, from, to string) (err error) {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	folder := filepath.Dir(to)
	if storage.IsRemote(to) {
		folder = os.TempDir()
	}
	file, err := atomicfile.CreateIn(folder, to)
	if err != nil {
		return err
	}
	defer file.Abort() // no effect after Commit
	if _, err := io.Copy(file, source); err != nil {
		return features.DiskError(err)
	}
	return features.DiskError(publishPlan(ctx, file, to))
}
