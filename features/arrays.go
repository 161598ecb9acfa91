package features

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
)

// maxDeflateRatio is the largest ratio that deflate can reach; an entry that
// declares more is damaged, and believing it could exhaust memory.
const maxDeflateRatio = 1032

// File is an open .npy or .npz file. Its methods and those of its arrays may
// be called from several goroutines; reads are done one after the other.
type File struct {
	mu     sync.Mutex
	path   string
	file   source
	arrays []*Array
	err    map[string]error // entries whose headers could not be read
	closed bool
}

// Array gives access to the rows (the first dimension) of one array.
type Array struct {
	owner *File
	info  Info
	// Stored data are read in place; deflated ones in sequence.
	section *io.SectionReader // the data without the header, nil for deflated entries
	entry   *zip.File         // nil for .npy
	header  int64             // bytes of the .npy header

	stream   io.ReadCloser // deflated entries
	position int64         // data bytes consumed of stream

	// Stored entries that are read from start to end are checked as well.
	sum      uint32
	summedTo int64
}

// OpenArrays opens the .npy or .npz file at path, whichever its first bytes say,
// and reads the headers of its arrays. The caller closes the File. A damaged
// file gives ErrFormat; a damaged entry of an .npz gives it when that entry is
// asked for.
func OpenArrays(path string) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	var f *File
	stat, err := file.Stat()
	if err == nil && !stat.Mode().IsRegular() {
		err = fmt.Errorf("%w: not a regular file", ErrFormat)
	}
	if err == nil {
		f, err = newFile(path, file, stat.Size())
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// source is an open file, or bytes in a test.
type source interface {
	io.ReaderAt
	io.Closer
}

func newFile(path string, file source, size int64) (*File, error) {
	f := &File{path: path, file: file, err: map[string]error{}}
	var magic [6]byte
	n, err := file.ReadAt(magic[:], 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case string(magic[:n]) == npyMagic:
		info, header, err := readNPYHeader(io.NewSectionReader(file, 0, size), size)
		if err != nil {
			return nil, err
		}
		f.arrays = []*Array{{owner: f, info: info, header: header,
			section: io.NewSectionReader(file, header, size-header)}}
	case bytes.HasPrefix(magic[:n], []byte("PK")):
		if err := f.readZip(size); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("%w: neither .npy nor .npz (it starts with %q)", ErrFormat, magic[:n])
	}
	return f, nil
}

func (f *File) readZip(size int64) error {
	archive, err := zip.NewReader(f.file, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // names are only keys here
		return fmt.Errorf("%w: %v", ErrFormat, err)
	}
	for _, entry := range archive.File {
		name, ok := strings.CutSuffix(entry.Name, ".npy")
		if !ok {
			continue
		}
		array, err := f.readEntry(entry, name, size)
		if err != nil {
			f.err[name] = err
			continue
		}
		f.arrays = append(f.arrays, array)
	}
	return nil
}

func (f *File) readEntry(entry *zip.File, name string, fileSize int64) (*Array, error) {
	declared, compressed := entry.UncompressedSize64, entry.CompressedSize64
	if compressed > uint64(fileSize) {
		return nil, fmt.Errorf("%w: the entry's %d bytes exceed the file", ErrFormat, compressed)
	}
	array := &Array{owner: f, entry: entry}
	switch entry.Method {
	case zip.Store:
		if declared != compressed {
			return nil, fmt.Errorf("%w: a stored entry of %d bytes declares %d", ErrFormat, compressed, declared)
		}
		offset, err := entry.DataOffset()
		if err != nil {
			return nil, fmt.Errorf("%w: %v", ErrFormat, err)
		}
		if offset < 0 || offset > fileSize-int64(compressed) {
			return nil, fmt.Errorf("%w: the entry lies beyond the end of the file", ErrFormat)
		}
		whole := io.NewSectionReader(f.file, offset, int64(compressed))
		array.info, array.header, err = readNPYHeader(whole, int64(compressed))
		if err != nil {
			return nil, err
		}
		array.section = io.NewSectionReader(f.file, offset+array.header, int64(compressed)-array.header)
	case zip.Deflate:
		if declared > compressed*maxDeflateRatio+64 {
			return nil, fmt.Errorf("%w: %d bytes cannot expand to %d", ErrFormat, compressed, declared)
		}
		stream, err := entry.Open()
		if err != nil {
			return nil, fmt.Errorf("%w: %v", ErrFormat, err)
		}
		defer stream.Close()
		array.info, array.header, err = readNPYHeader(stream, int64(declared))
		if err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("%w: compression method %d; stored and deflated entries are read", ErrFormat, entry.Method)
	}
	array.info.Name = name
	return array, nil
}

// Close closes the file; it is idempotent.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	for _, a := range f.arrays {
		if a.stream != nil {
			a.stream.Close()
		}
	}
	return f.file.Close()
}

// Names returns the arrays' names in the file's order; [""] for an .npy.
func (f *File) Names() []string {
	names := make([]string, len(f.arrays))
	for i, a := range f.arrays {
		names[i] = a.info.Name
	}
	return names
}

// Array returns the array called name, without ".npy". The empty name stands
// for the only array of the file. ErrNoArray lists what there is.
func (f *File) Array(name string) (*Array, error) {
	for _, a := range f.arrays {
		if a.info.Name == name {
			return a, nil
		}
	}
	if err, ok := f.err[name]; ok {
		return nil, fmt.Errorf("%s: array %q: %w", f.path, name, err)
	}
	if name == "" && len(f.arrays) == 1 && len(f.err) == 0 {
		return f.arrays[0], nil
	}
	known := f.Names()
	for n := range f.err {
		known = append(known, n)
	}
	slices.Sort(known)
	const most = 20
	more := ""
	if len(known) > most {
		known, more = known[:most], ", …"
	}
	return nil, fmt.Errorf("%s: %w: %q; the file has: %s%s", f.path, ErrNoArray, name, strings.Join(known, ", "), more)
}

// Info describes the array; the Shape is the caller's own copy.
func (a *Array) Info() Info {
	info := a.info
	info.Shape = slices.Clone(info.Shape)
	return info
}

// label names the array in errors.
func (a *Array) label() string {
	if a.entry == nil {
		return a.owner.path
	}
	return a.owner.path + ": array " + a.info.Name
}

// rawRows reads the bytes of rows in C order. What it allocates is bounded by
// the size of the file (times maxDeflateRatio for deflated entries), since the
// header was checked against it.
func (a *Array) rawRows(first, count int) ([]byte, error) {
	a.owner.mu.Lock()
	defer a.owner.mu.Unlock()
	if a.owner.closed {
		return nil, fmt.Errorf("%s: %w", a.label(), ErrClosed)
	}
	rows := a.info.Rows()
	if first < 0 || count < 0 || first > rows-count {
		return nil, fmt.Errorf("%s: %w: rows %d to %d of %d", a.label(), ErrRange, first, int64(first)+int64(count), rows)
	}
	rowBytes := int64(a.info.RowElements()) * int64(a.info.ElementSize)
	var raw []byte
	var err error
	switch {
	case a.info.FortranOrder && a.section == nil:
		return nil, fmt.Errorf("%s: %w and compressed: save it with numpy.ascontiguousarray or without compression",
			a.label(), ErrFortranOrder)
	case a.info.FortranOrder:
		raw, err = a.fortranRows(first, count)
	case a.section != nil:
		raw = make([]byte, int64(count)*rowBytes)
		if _, err = a.section.ReadAt(raw, int64(first)*rowBytes); err == io.EOF && len(raw) > 0 {
			err = io.ErrUnexpectedEOF
		} else if err == io.EOF {
			err = nil
		}
		if err == nil {
			err = a.checkSum(int64(first)*rowBytes, raw)
		}
	default:
		raw, err = a.streamRows(int64(first)*rowBytes, int64(count)*rowBytes)
	}
	if err != nil {
		if err == io.ErrUnexpectedEOF {
			err = fmt.Errorf("%w: truncated", ErrFormat)
		}
		return nil, fmt.Errorf("%s: rows %d to %d: %w", a.label(), first, first+count, err)
	}
	return raw, nil
}

// checkSum follows reads that go through a stored zip entry in order, and
// compares the entry's CRC-32 when they reach its end.
func (a *Array) checkSum(offset int64, raw []byte) error {
	if a.entry == nil || offset != a.summedTo || len(raw) == 0 {
		return nil
	}
	if offset == 0 {
		header := make([]byte, a.header)
		if _, err := a.owner.file.ReadAt(header, a.offset()-a.header); err != nil {
			return err
		}
		a.sum = crc32.ChecksumIEEE(header)
	}
	a.sum = crc32.Update(a.sum, crc32.IEEETable, raw)
	a.summedTo += int64(len(raw))
	if a.summedTo == a.section.Size() {
		a.summedTo = 0
		if a.sum != a.entry.CRC32 {
			return fmt.Errorf("%w: checksum is %08x, should be %08x", ErrFormat, a.sum, a.entry.CRC32)
		}
	}
	return nil
}

func (a *Array) offset() int64 {
	_, offset, _ := a.section.Outer()
	return offset
}

// streamRows reads from a deflated entry, skipping forward, or starting again
// to go back.
func (a *Array) streamRows(offset, length int64) ([]byte, error) {
	if a.stream != nil && a.position > offset {
		a.stream.Close()
		a.stream = nil
	}
	fail := func(err error) ([]byte, error) {
		if a.stream != nil {
			a.stream.Close()
			a.stream = nil
		}
		if err == io.ErrUnexpectedEOF || err == io.EOF {
			return nil, io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("%w: %v", ErrFormat, err)
	}
	if a.stream == nil {
		stream, err := a.entry.Open()
		if err != nil {
			return fail(err)
		}
		a.stream, a.position = stream, -a.header
	}
	skipped, err := io.CopyN(io.Discard, a.stream, offset-a.position)
	a.position += skipped
	if err != nil {
		return fail(err)
	}
	// Grown as data arrive: the declared size is only bounded by maxDeflateRatio.
	var raw bytes.Buffer
	raw.Grow(int(min(length, 64<<20)))
	n, err := io.CopyN(&raw, a.stream, length)
	a.position += n
	if err != nil {
		return fail(err)
	}
	if a.position == int64(a.entry.UncompressedSize64)-a.header {
		// Only the end of the stream tells whether the checksum fits.
		if _, err := io.ReadFull(a.stream, make([]byte, 1)); err != io.EOF {
			if err == nil {
				err = errors.New("data after the declared end")
			}
			return fail(err)
		}
	}
	return raw.Bytes(), nil
}

// fortranRows gathers rows of a column-major array: for each position within
// a row, the elements of consecutive rows lie side by side.
func (a *Array) fortranRows(first, count int) ([]byte, error) {
	size, rows, perRow := int64(a.info.ElementSize), int64(a.info.Rows()), a.info.RowElements()
	raw := make([]byte, int64(count)*int64(perRow)*size)
	if len(raw) == 0 {
		return raw, nil
	}
	dims := a.info.Shape[1:]
	strides := make([]int, len(dims)) // of C order, in elements
	stride := 1
	for i := len(dims) - 1; i >= 0; i-- {
		strides[i] = stride
		stride *= dims[i]
	}
	index := make([]int, len(dims))
	target := 0
	run := make([]byte, int64(count)*size)
	for k := range perRow {
		if _, err := a.section.ReadAt(run, (int64(k)*rows+int64(first))*size); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		for r := range int64(count) {
			at := (r*int64(perRow) + int64(target)) * size
			copy(raw[at:at+size], run[r*size:(r+1)*size])
		}
		for d := range dims { // the first of dims runs fastest
			index[d]++
			target += strides[d]
			if index[d] < dims[d] {
				break
			}
			target -= index[d] * strides[d]
			index[d] = 0
		}
	}
	return raw, nil
}
