package features

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/tfconvrnn/go/internal/disk"
)

// The sink of formats whose every byte has a place that is known before the
// first row arrives: fixed sections (headers and metadata), regions (the rows
// of one streamed array, at a constant distance from each other), and patches
// (the few header bytes that depend on checksums).

// plan is what such a format computes from a Layout.
type plan struct {
	// files are the output and its companions; within a folder their names
	// are relative to it, with slashes.
	files []plannedFile
	// regions has one element per streamed array.
	regions []region
	// final returns what is written after the last row. May be nil.
	final func(written) ([]patch, error)
	// folder: the output is a folder.
	folder bool
}

type plannedFile struct {
	name     string
	size     int64
	sections []section
}

// section is a run of bytes known beforehand. write may be called several
// times and writes the same size bytes each time.
type section struct {
	offset, size int64
	write        func(io.Writer) error
}

// written is what is known after the last row.
type written struct {
	// regions are the checksums of the regions, sections those of the sections of each
	// file.
	regions  []uint32
	sections [][]uint32
	// rows returns the bytes of all rows of a streamed array, which are contiguous.
	rows func(array int) ([]byte, error)
}

type patch struct {
	file   int
	offset int64
	bytes  []byte
	last   bool // the file ends here, below its planned size
}

// region is where the rows of one streamed array go: row i is at offset +
// i*stride of the file.
type region struct {
	file                     int
	offset, stride, rowBytes int64
	rowElements              int
	dataType                 DataType
	order                    binary.ByteOrder
	// transpose > 0: a row arrives as [transpose][rest] and is stored as
	// [rest][transpose].
	transpose int
	// seed is the checksum of the bytes that precede the rows, where the
	// format's own checksum covers both.
	seed uint32
}

// contiguousRegion is the usual region of a streamed array: little endian,
// row after row.
func contiguousRegion(file int, offset int64, s *Streamed) region {
	rowBytes := int64(s.rowElements()) * int64(s.DataType.Size())
	return region{file: file, offset: offset, stride: rowBytes, rowBytes: rowBytes,
		rowElements: s.rowElements(), dataType: s.DataType, order: binary.LittleEndian}
}

// bytesSection is a section held in memory.
func bytesSection(offset int64, content []byte) section {
	return section{offset: offset, size: int64(len(content)), write: func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	}}
}

const pieceBytes = 1 << 20

// direct tells whether float32 rows can be written as they lie in memory.
func (r *region) direct() bool {
	return r.dataType == Float32 && r.transpose == 0 && r.stride == r.rowBytes &&
		littleEndianHost && r.order == binary.ByteOrder(binary.LittleEndian)
}

// encode stores whole rows into dst.
func (r *region) encode(dst []byte, rows []float32) error {
	if r.transpose == 0 {
		return encodeFloat32s(dst, rows, r.dataType, r.order)
	}
	for start := 0; start < len(rows); start += r.rowElements {
		if err := r.encodeTransposed(dst, rows[start:start+r.rowElements]); err != nil {
			return err
		}
		dst = dst[r.rowBytes:]
	}
	return nil
}

// encodeTransposed goes through the row in strips, so that both sides stay in
// the cache.
func (r *region) encodeTransposed(dst []byte, row []float32) error {
	steps := r.transpose
	units := r.rowElements / steps
	size := r.dataType.Size()
	const strip = 256
	var turned []float32
	if r.dataType != Float32 {
		turned = make([]float32, min(strip, units)*steps)
	}
	for first := 0; first < units; first += strip {
		count := min(strip, units-first)
		part := dst[first*steps*size:][:count*steps*size]
		for t := range steps {
			column := row[t*units+first:][:count]
			if turned == nil {
				putFloat32Column(part[4*t:], 4*steps, column, r.order)
				continue
			}
			for u, v := range column {
				turned[u*steps+t] = v
			}
		}
		if turned != nil {
			if err := encodeFloat32s(part, turned[:count*steps], r.dataType, r.order); err != nil {
				return err
			}
		}
	}
	return nil
}

// putFloat32Column stores values at every stride bytes. Most of the time of writing
// netCDF is here.
func putFloat32Column(dst []byte, stride int, values []float32, order binary.ByteOrder) {
	if order == binary.ByteOrder(binary.BigEndian) {
		for u, v := range values {
			binary.BigEndian.PutUint32(dst[u*stride:], math.Float32bits(v))
		}
		return
	}
	for u, v := range values {
		binary.LittleEndian.PutUint32(dst[u*stride:], math.Float32bits(v))
	}
}

type fixedSink struct {
	plan        *plan
	path        string
	files       []*os.File
	lock        *os.File
	rows        []int
	sums        []uint32
	sectionSums [][]uint32
	scratch     []byte
}

func newFixedSink(path string, p *plan) *fixedSink {
	f := &fixedSink{plan: p, path: path, rows: make([]int, len(p.regions))}
	for _, r := range p.regions {
		f.sums = append(f.sums, r.seed)
	}
	return f
}

func (f *fixedSink) size() int64 {
	total := int64(0)
	for _, file := range f.plan.files {
		total += file.size
	}
	return total
}

func (f *fixedSink) fingerprint() (string, error) {
	hash := sha256.New()
	for i, file := range f.plan.files {
		fmt.Fprintf(hash, "file %d %d\n", i, file.size)
		for _, s := range file.sections {
			fmt.Fprintf(hash, "section %d %d\n", s.offset, s.size)
			if err := s.write(hash); err != nil {
				return "", err
			}
		}
	}
	for _, r := range f.plan.regions {
		fmt.Fprintf(hash, "region %d %d %d %d %v %v %d\n", r.file, r.offset, r.stride, r.rowBytes, r.dataType, r.order,
			r.transpose)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func (f *fixedSink) open(lock *os.File) error {
	f.lock = lock
	for i, planned := range f.plan.files {
		if i == 0 && !f.plan.folder {
			f.files = append(f.files, lock)
			continue
		}
		file, err := f.openPlanned(planned.name)
		if err != nil {
			return err
		}
		f.files = append(f.files, file)
	}
	return nil
}

// openPlanned opens a file of the output. What is in a folder already leads nowhere
// else, whatever links there are.
func (f *fixedSink) openPlanned(name string) (*os.File, error) {
	if !f.plan.folder {
		return os.OpenFile(partialPath(name), os.O_RDWR|os.O_CREATE|noFollow, 0o666)
	}
	root, err := os.OpenRoot(partialPath(f.path))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	name = filepath.FromSlash(name)
	if err := root.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return nil, err
	}
	return root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666)
}

func (f *fixedSink) close() {
	for _, file := range f.files {
		if file != f.lock {
			file.Close()
		}
	}
	f.files = nil
}

func (f *fixedSink) used() int64 {
	total := int64(0)
	for i, file := range f.files {
		if info, err := file.Stat(); err == nil {
			total += min(usedSpace(info), f.plan.files[i].size)
		}
	}
	return total
}

func (f *fixedSink) begin() error {
	f.sectionSums = make([][]uint32, len(f.plan.files))
	for i, planned := range f.plan.files {
		for _, s := range planned.sections {
			w := &sectionWriter{file: f.files[i], at: s.offset}
			err := s.write(w)
			if err == nil {
				err = w.flush()
			}
			if err != nil {
				return err
			}
			if w.at != s.offset+s.size {
				return fmt.Errorf("section at %d has %d bytes instead of %d", s.offset, w.at-s.offset, s.size)
			}
			f.sectionSums[i] = append(f.sectionSums[i], w.sum)
		}
	}
	return nil
}

// sectionWriter buffers, checksums and writes at a moving offset.
type sectionWriter struct {
	file   *os.File
	at     int64
	sum    uint32
	buffer []byte
}

func (s *sectionWriter) Write(p []byte) (int, error) {
	s.sum = crc32.Update(s.sum, crc32.IEEETable, p)
	s.buffer = append(s.buffer, p...)
	if len(s.buffer) >= pieceBytes {
		return len(p), s.flush()
	}
	return len(p), nil
}

func (s *sectionWriter) flush() error {
	n, err := s.file.WriteAt(s.buffer, s.at)
	s.at += int64(n)
	s.buffer = s.buffer[:0]
	return err
}

func (f *fixedSink) state(array int) (int, uint32) { return f.rows[array], f.sums[array] }

func (f *fixedSink) restore(rows int, sums []uint32) {
	for i := range f.rows {
		f.rows[i] = rows
	}
	copy(f.sums, sums)
}

func (f *fixedSink) write(array, firstRow int, data []float32) error {
	r := &f.plan.regions[array]
	file := f.files[r.file]
	offset := r.offset + int64(firstRow)*r.stride
	sum := f.sums[array]
	put := func(piece []byte) error {
		sum = crc32.Update(sum, crc32.IEEETable, piece)
		_, err := file.WriteAt(piece, offset)
		return err
	}
	count := len(data) / r.rowElements
	if r.direct() {
		for raw := float32Bytes(data); len(raw) > 0; {
			piece := raw[:min(len(raw), pieceBytes)]
			if err := put(piece); err != nil {
				return err
			}
			offset += int64(len(piece))
			raw = raw[len(piece):]
		}
	} else {
		group := 1 // rows that one write can take
		if r.stride == r.rowBytes {
			group = int(max(1, pieceBytes/r.rowBytes))
		}
		for len(data) > 0 {
			rows := data[:min(len(data), group*r.rowElements)]
			data = data[len(rows):]
			number := int64(len(rows) / r.rowElements)
			if size := number * r.rowBytes; int64(cap(f.scratch)) < size {
				f.scratch = make([]byte, size)
			}
			encoded := f.scratch[:number*r.rowBytes]
			if err := r.encode(encoded, rows); err != nil {
				return err
			}
			if err := put(encoded); err != nil {
				return err
			}
			offset += number * r.stride
		}
	}
	f.sums[array] = sum
	f.rows[array] += count
	return nil
}

func (f *fixedSink) readBack(array, from, to int, sum uint32, buffer []byte) (uint32, error) {
	r := &f.plan.regions[array]
	return r.sum(f.files[r.file], from, to, sum, buffer)
}

// sum continues a checksum over the rows from to to.
func (r *region) sum(file *os.File, from, to int, sum uint32, buffer []byte) (uint32, error) {
	if r.stride == r.rowBytes {
		return sumFile(file, r.offset+int64(from)*r.stride, int64(to-from)*r.rowBytes, sum, buffer)
	}
	for row := from; row < to; row++ {
		var err error
		if sum, err = sumFile(file, r.offset+int64(row)*r.stride, r.rowBytes, sum, buffer); err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// sumFile continues a checksum over a range of a file, which may end earlier.
func sumFile(file *os.File, offset, length int64, sum uint32, buffer []byte) (uint32, error) {
	for length > 0 {
		piece := buffer[:min(length, int64(len(buffer)))]
		n, err := file.ReadAt(piece, offset)
		sum = crc32.Update(sum, crc32.IEEETable, piece[:n])
		if err != nil && err != io.EOF {
			return sum, err
		}
		if n < len(piece) {
			return ^sum, nil
		}
		offset += int64(n)
		length -= int64(n)
	}
	return sum, nil
}

func (f *fixedSink) synced() func() error {
	files := f.files
	return func() error {
		for _, file := range files {
			if err := file.Sync(); err != nil {
				return err
			}
			disk.DropCache(file)
		}
		return nil
	}
}

func (f *fixedSink) complete() error {
	sizes := make([]int64, len(f.files))
	for i := range sizes {
		sizes[i] = f.plan.files[i].size
	}
	if f.plan.final != nil {
		patches, err := f.plan.final(written{f.sums, f.sectionSums, f.allRows})
		if err != nil {
			return err
		}
		for _, p := range patches {
			if _, err := f.files[p.file].WriteAt(p.bytes, p.offset); err != nil {
				return err
			}
			if p.last {
				sizes[p.file] = p.offset + int64(len(p.bytes))
			}
		}
	}
	for i, file := range f.files {
		if err := file.Truncate(sizes[i]); err != nil {
			return err
		}
	}
	return nil
}

func (f *fixedSink) allRows(array int) ([]byte, error) {
	r := &f.plan.regions[array]
	rows := make([]byte, int64(f.rows[array])*r.rowBytes)
	_, err := f.files[r.file].ReadAt(rows, r.offset)
	return rows, err
}
