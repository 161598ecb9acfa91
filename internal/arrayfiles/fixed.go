package arrayfiles

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
)

// The engine for formats whose every byte has a place that is known before
// the first row arrives: fixed sections (headers and metadata), regions (the
// rows of one streamed array, at a constant distance from each other), and
// patches (the few header bytes that depend on checksums).

// plan is what a format computes from a Layout.
type plan struct {
	rows   int // of every streamed array
	format Format
	// folder: the output is a folder and files are named relative to it.
	// Otherwise files[0] is the output and the others have paths of their own.
	folder bool
	// marker is the file by which a folder of this format is known; Force
	// replaces no other folder.
	marker string
	files  []plannedFile
	// regions has one element per streamed array.
	regions []region
	// final returns what is written after the last row, given the checksums
	// of the regions and of the sections of each file. May be nil.
	final func(regions []uint32, sections [][]uint32) ([]patch, error)
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

type patch struct {
	file   int
	offset int64
	bytes  []byte
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

// bytesSection is a section held in memory.
func bytesSection(offset int64, content []byte) section {
	return section{offset: offset, size: int64(len(content)), write: func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	}}
}

func (p *plan) size() int64 {
	total := int64(0)
	for _, f := range p.files {
		total += f.size
	}
	return total
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
	turned := make([]float32, min(strip, units)*steps)
	for first := 0; first < units; first += strip {
		count := min(strip, units-first)
		for t := range steps {
			source := row[t*units+first:][:count]
			for u, v := range source {
				turned[u*steps+t] = v
			}
		}
		if err := encodeFloat32s(dst[first*steps*size:], turned[:count*steps], r.dataType, r.order); err != nil {
			return err
		}
	}
	return nil
}

type fixedWriter struct {
	path    string
	plan    *plan
	options Options

	lock    *os.File // the .partial file or folder
	files   []*os.File
	journal *journal // nil without an identity

	resumed       int
	rows          []int
	sums          []uint32
	sectionSums   [][]uint32
	scratch       []byte
	pending       chan error // a checkpoint under way
	lastRows      int
	lastTime      time.Time
	bytesSince    int64
	rolledForward bool
	failed        error
	closed        bool
}

func partialPath(path string) string { return path + ".partial" }
func journalPath(path string) string { return path + ".journal" }

func (w *fixedWriter) partialFile(i int) string {
	if w.plan.folder {
		return filepath.Join(partialPath(w.path), filepath.FromSlash(w.plan.files[i].name))
	}
	return partialPath(w.plan.files[i].name)
}

func createFixed(path string, p *plan, identity json.RawMessage, options Options) (_ Writer, err error) {
	w := &fixedWriter{path: path, plan: p, options: options,
		rows: make([]int, len(p.regions)), sums: make([]uint32, len(p.regions))}
	for i, r := range p.regions {
		w.sums[i] = r.seed
	}
	// Everything but the rows decides, beside the identity, whether a run can
	// be resumed.
	fingerprint, err := p.fingerprint()
	if err != nil {
		return nil, err
	}
	header := journalHeader{Version: journalVersion, Format: p.format, Layout: fingerprint, Identity: identity}

	out, err := openOutput(path, p.folder, p.marker, identity != nil, options)
	if err != nil {
		return nil, err
	}
	w.lock = out.lock
	defer func() {
		if err != nil {
			if out.created && !p.folder {
				for i := range p.files[1:] {
					os.Remove(w.partialFile(i + 1))
				}
			}
			w.closeFiles()
			out.giveUp()
		}
	}()

	var entries []journalEntry
	if out.journal != nil {
		w.journal = out.journal
		if entries, err = checkJournal(path, out.journal, header); err != nil {
			return nil, err
		}
		if last := entries[len(entries)-1]; last.Complete {
			w.resumed, w.rolledForward = last.Rows, true
			for i := range w.rows {
				w.rows[i] = last.Rows
			}
			return w, nil
		}
	}
	if out.partialGone {
		return nil, fmt.Errorf("%s: %w: %s is gone; start anew with force", path, ErrJournal, partialPath(path))
	}

	if err = w.openFiles(); err != nil {
		return nil, err
	}
	if err = w.checkSpace(); err != nil {
		return nil, err
	}
	if err = w.writeSections(); err != nil {
		return nil, err
	}
	if out.journal != nil {
		if err = w.resume(entries); err != nil {
			return nil, err
		}
	} else if identity != nil {
		if w.journal, err = createJournal(journalPath(path), header); err != nil {
			return nil, err
		}
	}
	w.lastRows, w.lastTime = w.resumed, time.Now()
	return w, nil
}

// fingerprint is the SHA-256 of the sections and of the places of the rows.
func (p *plan) fingerprint() (string, error) {
	hash := sha256.New()
	fmt.Fprintf(hash, "%s %v\n", p.format, p.folder)
	for i, f := range p.files {
		name := f.name
		if !p.folder { // an output may be moved before it is resumed
			name = ""
		}
		fmt.Fprintf(hash, "file %d %q %d\n", i, name, f.size)
		for _, s := range f.sections {
			fmt.Fprintf(hash, "section %d %d\n", s.offset, s.size)
			if err := s.write(hash); err != nil {
				return "", err
			}
		}
	}
	for _, r := range p.regions {
		fmt.Fprintf(hash, "region %d %d %d %d %v %v %d\n", r.file, r.offset, r.stride, r.rowBytes, r.dataType, r.order, r.transpose)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func (w *fixedWriter) openFiles() error {
	for i := range w.plan.files {
		if i == 0 && !w.plan.folder {
			w.files = append(w.files, w.lock)
			continue
		}
		name := w.partialFile(i)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			return diskError(err)
		}
		file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return diskError(err)
		}
		w.files = append(w.files, file)
	}
	return nil
}

func (w *fixedWriter) checkSpace() error {
	if w.options.ForceSize {
		return nil
	}
	need := w.plan.size()
	for _, f := range w.files {
		if info, err := f.Stat(); err == nil {
			need -= min(usedSpace(info), info.Size())
		}
	}
	return checkSpace(w.path, need)
}

func checkSpace(path string, need int64) error {
	if free := freeSpace(filepath.Dir(path)); free >= 0 && need > free {
		return fmt.Errorf("%s: %w: %s are needed, %s are free; choose another place, fewer layers or a reduction",
			path, ErrNoSpace, humanize.IBytes(uint64(need)), humanize.IBytes(uint64(free)))
	}
	return nil
}

func (w *fixedWriter) writeSections() error {
	w.sectionSums = make([][]uint32, len(w.plan.files))
	for i, f := range w.plan.files {
		for _, s := range f.sections {
			sink := &sectionWriter{file: w.files[i], at: s.offset}
			if err := s.write(sink); err != nil {
				return diskError(err)
			}
			if err := sink.flush(); err != nil {
				return diskError(err)
			}
			if sink.at != s.offset+s.size {
				return fmt.Errorf("%s: section at %d has %d bytes instead of %d", w.path, s.offset, sink.at-s.offset, s.size)
			}
			w.sectionSums[i] = append(w.sectionSums[i], sink.sum)
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

// resume reads back what the journal vouches for and stops at the first entry
// whose rows are not what they were.
func (w *fixedWriter) resume(entries []journalEntry) error {
	good := entries[0]
	sums := slices.Clone(w.sums)
	buffer := make([]byte, pieceBytes)
	for _, entry := range entries[1:] {
		intact := len(entry.Checksums) == len(w.plan.regions)
		for i := range w.plan.regions {
			if !intact {
				break
			}
			sum, err := w.readBack(&w.plan.regions[i], good.Rows, entry.Rows, sums[i], buffer)
			if err != nil {
				return err
			}
			sums[i] = sum
			intact = sum == entry.Checksums[i]
		}
		if !intact {
			break
		}
		good = entry
		copy(w.sums, sums)
	}
	w.resumed = good.Rows
	for i := range w.rows {
		w.rows[i] = good.Rows
	}
	return w.journal.truncate(good.end)
}

// readBack continues a checksum over rows from to to. Bytes beyond the end of
// the file count as an ended file, which no checksum fits.
func (w *fixedWriter) readBack(r *region, from, to int, sum uint32, buffer []byte) (uint32, error) {
	file := w.files[r.file]
	read := func(offset, length int64) error {
		for length > 0 {
			piece := buffer[:min(length, int64(len(buffer)))]
			n, err := file.ReadAt(piece, offset)
			sum = crc32.Update(sum, crc32.IEEETable, piece[:n])
			if err != nil && err != io.EOF {
				return err
			}
			if n < len(piece) {
				return nil
			}
			offset += int64(n)
			length -= int64(n)
		}
		return nil
	}
	if r.stride == r.rowBytes {
		return sum, read(r.offset+int64(from)*r.stride, int64(to-from)*r.rowBytes)
	}
	for row := from; row < to; row++ {
		if err := read(r.offset+int64(row)*r.stride, r.rowBytes); err != nil {
			return sum, err
		}
	}
	return sum, nil
}

func (w *fixedWriter) Resumed() int { return w.resumed }

func (w *fixedWriter) WriteRows(array, firstRow int, data []float32) error {
	if err := w.usable(); err != nil {
		return err
	}
	if array < 0 || array >= len(w.plan.regions) {
		return fmt.Errorf("%s: %w: array %d of %d", w.path, ErrOrder, array, len(w.plan.regions))
	}
	r := &w.plan.regions[array]
	count, err := checkRows(w.path, array, firstRow, len(data), w.rows[array], w.totalRows(), r.rowElements)
	if err != nil {
		return err
	}
	if err := w.writeRegion(r, array, firstRow, data); err != nil {
		w.failed = fmt.Errorf("%s: %w", w.path, diskError(err))
		return w.failed
	}
	w.rows[array] += count
	w.bytesSince += int64(count) * r.rowBytes
	w.maybeCheckpoint()
	return nil
}

// checkRows returns the number of rows in a slice of the given length.
func checkRows(path string, array, firstRow, length, next, total, rowElements int) (int, error) {
	if length%rowElements != 0 {
		return 0, fmt.Errorf("%s: %w: array %d: %d values are not whole rows of %d", path, ErrOrder, array, length, rowElements)
	}
	count := length / rowElements
	if firstRow != next || count > total-next {
		return 0, fmt.Errorf("%s: %w: array %d: rows %d to %d, but row %d of %d is next",
			path, ErrOrder, array, firstRow, firstRow+count, next, total)
	}
	return count, nil
}

func (w *fixedWriter) totalRows() int { return w.plan.rows }

func (w *fixedWriter) usable() error {
	if w.closed {
		return fmt.Errorf("%s: %w", w.path, ErrClosed)
	}
	if w.failed == nil {
		w.collect(false)
	}
	return w.failed
}

func (w *fixedWriter) writeRegion(r *region, array, firstRow int, data []float32) error {
	file := w.files[r.file]
	offset := r.offset + int64(firstRow)*r.stride
	sum := w.sums[array]
	if r.direct() {
		for raw := float32Bytes(data); len(raw) > 0; {
			piece := raw[:min(len(raw), pieceBytes)]
			sum = crc32.Update(sum, crc32.IEEETable, piece)
			if _, err := file.WriteAt(piece, offset); err != nil {
				return err
			}
			offset += int64(len(piece))
			raw = raw[len(piece):]
		}
		w.sums[array] = sum
		return nil
	}
	group := int(max(1, pieceBytes/r.rowBytes))
	if r.stride != r.rowBytes {
		group = 1
	}
	for len(data) > 0 {
		rows := data[:min(len(data), group*r.rowElements)]
		data = data[len(rows):]
		size := len(rows) / r.rowElements * int(r.rowBytes)
		if cap(w.scratch) < size {
			w.scratch = make([]byte, size)
		}
		encoded := w.scratch[:size]
		if err := r.encode(encoded, rows); err != nil {
			return err
		}
		sum = crc32.Update(sum, crc32.IEEETable, encoded)
		if _, err := file.WriteAt(encoded, offset); err != nil {
			return err
		}
		offset += int64(len(rows)/r.rowElements) * r.stride
	}
	w.sums[array] = sum
	return nil
}

// maybeCheckpoint starts a checkpoint when one is due, every array has the
// same rows, and none is under way.
func (w *fixedWriter) maybeCheckpoint() {
	if w.journal == nil || w.rows[0] == w.lastRows || !w.aligned() {
		return
	}
	if w.bytesSince < w.options.CheckpointBytes && time.Since(w.lastTime) < w.options.CheckpointInterval {
		return
	}
	w.collect(false)
	if w.pending == nil && w.failed == nil {
		w.startCheckpoint()
	}
}

func (w *fixedWriter) aligned() bool {
	for _, n := range w.rows {
		if n != w.rows[0] {
			return false
		}
	}
	return true
}

// startCheckpoint syncs and then records, beside further writing: what is
// recorded was written before the sync began.
func (w *fixedWriter) startCheckpoint() {
	entry := journalEntry{Rows: w.rows[0], Checksums: slices.Clone(w.sums)}
	w.lastRows, w.lastTime, w.bytesSince = entry.Rows, time.Now(), 0
	done := make(chan error, 1)
	w.pending = done
	go func() {
		err := w.syncFiles()
		if err == nil {
			err = w.journal.append(entry)
		}
		done <- err
	}()
}

func (w *fixedWriter) syncFiles() error {
	for _, f := range w.files {
		if err := f.Sync(); err != nil {
			return diskError(err)
		}
	}
	return nil
}

// collect takes the result of a checkpoint, waiting for it if asked to.
func (w *fixedWriter) collect(wait bool) {
	if w.pending == nil {
		return
	}
	var err error
	if wait {
		err = <-w.pending
	} else {
		select {
		case err = <-w.pending:
		default:
			return
		}
	}
	w.pending = nil
	if err != nil && w.failed == nil {
		w.failed = fmt.Errorf("%s: %w", w.path, err)
	}
}

func (w *fixedWriter) Finish(ctx context.Context) error {
	if err := w.usable(); err != nil {
		return err
	}
	for i, n := range w.rows {
		if n != w.totalRows() {
			return fmt.Errorf("%s: %w: array %d has %d of %d", w.path, ErrIncomplete, i, n, w.totalRows())
		}
	}
	err := ctx.Err()
	if err == nil && !w.rolledForward {
		err = w.complete(ctx)
	}
	if err != nil {
		w.Suspend()
		return fmt.Errorf("%s: %w", w.path, diskError(err))
	}
	w.closed = true
	err = w.publish()
	w.closeFiles()
	if err != nil {
		return fmt.Errorf("%s: %w", w.path, diskError(err))
	}
	return nil
}

// complete makes the unfinished files what the finished ones must be.
func (w *fixedWriter) complete(ctx context.Context) error {
	w.collect(true)
	if w.failed != nil {
		return w.failed
	}
	if w.plan.final != nil {
		patches, err := w.plan.final(w.sums, w.sectionSums)
		if err != nil {
			return err
		}
		for _, p := range patches {
			if _, err := w.files[p.file].WriteAt(p.bytes, p.offset); err != nil {
				return err
			}
		}
	}
	for i, f := range w.files {
		if err := f.Truncate(w.plan.files[i].size); err != nil {
			return err
		}
	}
	if err := w.syncFiles(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.journal != nil {
		return w.journal.append(journalEntry{Rows: w.totalRows(), Checksums: w.sums, Complete: true})
	}
	return nil
}

// publish renames, the output itself last.
func (w *fixedWriter) publish() error {
	if !w.plan.folder {
		for _, f := range slices.Backward(w.plan.files) {
			err := os.Rename(partialPath(f.name), f.name)
			if errors.Is(err, fs.ErrNotExist) && w.rolledForward {
				err = nil // renamed before the interruption
			}
			if err != nil {
				return err
			}
		}
	} else if err := replaceFolder(w.path, w.rolledForward); err != nil {
		return err
	}
	if err := syncFolder(filepath.Dir(w.path)); err != nil {
		return err
	}
	if w.journal != nil {
		return os.Remove(journalPath(w.path))
	}
	return nil
}

func (w *fixedWriter) Suspend() error {
	if w.closed {
		return nil
	}
	if w.journal == nil {
		return w.Abort()
	}
	w.closed = true
	w.collect(true)
	var err error
	if w.failed == nil && !w.rolledForward && w.aligned() && w.rows[0] > w.lastRows {
		w.startCheckpoint()
		w.collect(true)
		err = w.failed
	}
	w.closeFiles()
	return err
}

func (w *fixedWriter) Abort() error {
	if w.closed {
		return nil
	}
	w.closed = true
	w.collect(true)
	var errs []error
	if w.journal != nil {
		errs = append(errs, os.Remove(journalPath(w.path)))
	}
	if w.plan.folder {
		errs = append(errs, os.RemoveAll(partialPath(w.path)))
	} else {
		for i := range w.plan.files {
			if err := os.Remove(w.partialFile(i)); !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	w.closeFiles()
	return errors.Join(errs...)
}

func (w *fixedWriter) closeFiles() {
	for _, f := range w.files {
		if f != w.lock {
			f.Close()
		}
	}
	if w.journal != nil {
		w.journal.file.Close()
	}
	if w.lock != nil {
		w.lock.Close()
	}
}
