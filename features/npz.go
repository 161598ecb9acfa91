package features

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"
	"strings"
)

// NPZ is one .npz file: a zip of .npy arrays, stored without compression.
const NPZ Format = "npz"

func init() {
	register(&formatSpec{format: NPZ, title: "NumPy", suffix: ".npz",
		summary: "an array for each layer, as numpy.load reads it", float16: true, stimulusColumn: "stimuli",
		holdsColumn: entryName, plan: planNPZ, open: openNPZ, magic: "PK"})
}

// An .npz is a zip (PKWARE APPNOTE 6.3) of .npy files. Every entry is stored,
// so that all offsets are known beforehand and the rows of all arrays can be
// written in any order; only the CRC-32 fields are filled in at the end.
const (
	zipLocalSignature       = 0x04034b50
	zipCentralSignature     = 0x02014b50
	zipEndSignature         = 0x06054b50
	zip64EndSignature       = 0x06064b50
	zip64LocatorSignature   = 0x07064b50
	zipLocalBytes           = 30
	zipLocalCRCOffset       = 14
	zipVersion              = 20
	zip64Version            = 45
	zipFlagUTF8             = 1 << 11
	zipDate1980             = 1<<5 | 1 // 1 January 1980: outputs do not depend on the clock
	zip64ExtraID            = 1
	zip64ExtraLocalBytes    = 4 + 16
	zipUnix                 = 3
	zipRegularFileMode      = 0o100644
	zip32Limit              = math.MaxUint32
	zipEntriesLimit         = math.MaxUint16
	zip64EndRecordRemaining = 44
)

type zipEntry struct {
	name   string
	offset int64 // of the local header
	size   int64
}

func (e *zipEntry) zip64() bool { return e.size >= zip32Limit }

func (e *zipEntry) flags() uint16 {
	for i := range len(e.name) {
		if e.name[i] >= 0x80 {
			return zipFlagUTF8
		}
	}
	return 0
}

// local is the header before the data, with a checksum of zero.
func (e *zipEntry) local() []byte {
	le := binary.LittleEndian
	version, size := uint16(zipVersion), uint32(e.size)
	if e.zip64() {
		version, size = zip64Version, zip32Limit
	}
	b := le.AppendUint32(nil, zipLocalSignature)
	b = le.AppendUint16(b, version)
	b = le.AppendUint16(b, e.flags())
	b = le.AppendUint16(b, 0) // stored
	b = le.AppendUint16(b, 0)
	b = le.AppendUint16(b, zipDate1980)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, size)
	b = le.AppendUint32(b, size)
	b = le.AppendUint16(b, uint16(len(e.name)))
	if e.zip64() {
		b = le.AppendUint16(b, zip64ExtraLocalBytes)
	} else {
		b = le.AppendUint16(b, 0)
	}
	b = append(b, e.name...)
	if e.zip64() {
		b = le.AppendUint16(b, zip64ExtraID)
		b = le.AppendUint16(b, 16)
		b = le.AppendUint64(b, uint64(e.size))
		b = le.AppendUint64(b, uint64(e.size))
	}
	return b
}

func (e *zipEntry) central(crc uint32) []byte {
	le := binary.LittleEndian
	var extra []byte
	version, size, offset := uint16(zipVersion), uint32(e.size), uint32(e.offset)
	if e.zip64() {
		version, size = zip64Version, zip32Limit
		extra = le.AppendUint64(extra, uint64(e.size))
		extra = le.AppendUint64(extra, uint64(e.size))
	}
	if e.offset >= zip32Limit {
		version, offset = zip64Version, zip32Limit
		extra = le.AppendUint64(extra, uint64(e.offset))
	}
	if len(extra) > 0 {
		head := le.AppendUint16(nil, zip64ExtraID)
		extra = append(le.AppendUint16(head, uint16(len(extra))), extra...)
	}
	b := le.AppendUint32(nil, zipCentralSignature)
	b = le.AppendUint16(b, zipUnix<<8|version)
	b = le.AppendUint16(b, version)
	b = le.AppendUint16(b, e.flags())
	b = le.AppendUint16(b, 0)
	b = le.AppendUint16(b, 0)
	b = le.AppendUint16(b, zipDate1980)
	b = le.AppendUint32(b, crc)
	b = le.AppendUint32(b, size)
	b = le.AppendUint32(b, size)
	b = le.AppendUint16(b, uint16(len(e.name)))
	b = le.AppendUint16(b, uint16(len(extra)))
	b = le.AppendUint16(b, 0) // comment
	b = le.AppendUint16(b, 0) // disk
	b = le.AppendUint16(b, 0) // internal attributes
	b = le.AppendUint32(b, zipRegularFileMode<<16)
	b = le.AppendUint32(b, offset)
	b = append(b, e.name...)
	return append(b, extra...)
}

// zipDirectory is all that follows the last entry's data.
func zipDirectory(entries []zipEntry, crcs []uint32, start int64) []byte {
	le := binary.LittleEndian
	var b []byte
	for i := range entries {
		b = append(b, entries[i].central(crcs[i])...)
	}
	size, count := int64(len(b)), len(entries)
	if start >= zip32Limit || size >= zip32Limit || count >= zipEntriesLimit {
		end := start + size
		b = le.AppendUint32(b, zip64EndSignature)
		b = le.AppendUint64(b, zip64EndRecordRemaining)
		b = le.AppendUint16(b, zipUnix<<8|zip64Version)
		b = le.AppendUint16(b, zip64Version)
		b = le.AppendUint32(b, 0)
		b = le.AppendUint32(b, 0)
		b = le.AppendUint64(b, uint64(count))
		b = le.AppendUint64(b, uint64(count))
		b = le.AppendUint64(b, uint64(size))
		b = le.AppendUint64(b, uint64(start))
		b = le.AppendUint32(b, zip64LocatorSignature)
		b = le.AppendUint32(b, 0)
		b = le.AppendUint64(b, uint64(end))
		b = le.AppendUint32(b, 1)
	}
	b = le.AppendUint32(b, zipEndSignature)
	b = le.AppendUint32(b, 0) // disks
	b = le.AppendUint16(b, uint16(min(count, zipEntriesLimit)))
	b = le.AppendUint16(b, uint16(min(count, zipEntriesLimit)))
	b = le.AppendUint32(b, uint32(min(size, zip32Limit)))
	b = le.AppendUint32(b, uint32(min(start, zip32Limit)))
	return le.AppendUint16(b, 0)
}

// planNPZ: metadata first, then attributes as scalar strings, then the
// streamed arrays.
func planNPZ(path string, layout *Layout) (*plan, error) {
	p := &plan{}
	file := plannedFile{name: path}
	var entries []zipEntry
	var regionOf []int // per entry: its region, or -1
	at := int64(0)
	begin := func(name string, size int64, region int) {
		entry := zipEntry{name: name + ".npy", offset: at, size: size}
		header := entry.local()
		file.sections = append(file.sections, bytesSection(at, header))
		at += int64(len(header))
		entries = append(entries, entry)
		regionOf = append(regionOf, region)
	}
	constants := layout.metadata()
	for _, a := range layout.Attributes {
		constants = append(constants, Constant{Name: a.Name, Values: []string{a.Value}})
	}
	for _, c := range constants {
		size, write, err := npyConstant(c)
		if err != nil {
			return nil, err
		}
		begin(c.Name, size, -1)
		file.sections = append(file.sections, section{offset: at, size: size, write: write})
		at += size
	}
	for i := range layout.Streamed {
		s := &layout.Streamed[i]
		header := npyHeader(s.DataType.descr(), append([]int{layout.Rows}, s.RowShape...))
		r := contiguousRegion(0, 0, s)
		size := int64(len(header)) + int64(layout.Rows)*r.rowBytes
		begin(s.Name, size, i)
		file.sections = append(file.sections, bytesSection(at, header))
		r.offset, r.seed = at+int64(len(header)), crc32.ChecksumIEEE(header)
		p.regions = append(p.regions, r)
		at += size
	}
	if err := uniqueEntries(entries); err != nil {
		return nil, err
	}
	directory := at
	file.size = at + int64(len(zipDirectory(entries, make([]uint32, len(entries)), directory)))
	p.files = []plannedFile{file}
	p.final = func(w written) ([]patch, error) {
		regions, sections := w.regions, w.sections
		crcs := make([]uint32, len(entries))
		var patches []patch
		for i, e := range entries {
			if r := regionOf[i]; r >= 0 {
				crcs[i] = regions[r]
			} else {
				crcs[i] = sections[0][2*i+1] // every entry has two sections
			}
			patches = append(patches, patch{offset: e.offset + zipLocalCRCOffset, bytes: binary.LittleEndian.AppendUint32(nil,
				crcs[i])})
		}
		return append(patches, patch{offset: directory, bytes: zipDirectory(entries, crcs, directory)}), nil
	}
	return p, nil
}

func uniqueEntries(entries []zipEntry) error {
	seen := map[string]bool{}
	for _, e := range entries {
		if seen[e.name] {
			return fmt.Errorf("%w: two arrays would be called %q", ErrLayout, e.name)
		}
		seen[e.name] = true
	}
	return nil
}

// maxMetadataBytes bounds what one long string can make of a column: NumPy
// gives every element the width of the widest.
const maxMetadataBytes = 4 << 30

// npyConstant returns the size of a constant as an .npy file, and what writes
// it.
func npyConstant(c Constant) (int64, func(io.Writer) error, error) {
	n, d := valuesOf(c.Values)
	descr, size := d.descr(), d.Size()
	width := 0
	if values, ok := c.Values.([]string); ok {
		width = textWidth(values)
		descr, size = fmt.Sprintf("<U%d", width), 4*width
	}
	header := npyHeader(descr, c.Shape)
	total, ok := byteSize([]int{n}, size)
	if !ok || total > maxMetadataBytes {
		return 0, nil, fmt.Errorf("%w: %q needs %d × %d bytes; shorten its values", ErrLayout, c.Name, n, size)
	}
	return int64(len(header)) + total, func(w io.Writer) error {
		if _, err := w.Write(header); err != nil {
			return err
		}
		return writeValues(w, c.Values, width, binary.LittleEndian)
	}, nil
}

// writeValues writes metadata in the given byte order; strings as UTF-32 of
// width code points.
func writeValues(w io.Writer, values any, width int, order binary.ByteOrder) error {
	text, ok := values.([]string)
	if !ok {
		return binary.Write(w, order, values)
	}
	element := make([]byte, 4*width)
	for _, s := range text {
		clear(element)
		i := 0
		for _, r := range s {
			order.PutUint32(element[4*i:], uint32(r))
			i++
		}
		if _, err := w.Write(element); err != nil {
			return err
		}
	}
	return nil
}

// openNPZ reads arrays named by layer, <layer>/timesteps, <layer>/ms and <layer>/driven,
// the columns, and the scalar provenance.
func openNPZ(s *Store) error {
	file, err := OpenArrays(s.path)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, file)
	names := file.Names()
	optional := func(name string) ([]int64, error) {
		if !slices.Contains(names, name) {
			return nil, nil
		}
		array, err := file.Array(name)
		if err != nil {
			return nil, err
		}
		return integersOf(arrayColumn(array))
	}
	for _, name := range names {
		if !slices.Contains(names, name+"/timesteps") {
			continue
		}
		if err := s.addNPZLayer(file, name, optional); err != nil {
			return err
		}
	}
	mask, err := optional("valid")
	if err != nil {
		return err
	}
	if mask != nil {
		s.valid = booleans(mask)
	}
	s.column = func(name string) (any, error) {
		array, err := file.Array(name)
		if err != nil {
			return nil, err
		}
		return arrayColumn(array)
	}
	for _, a := range file.arrays {
		shape := a.info.Shape
		layer := slices.ContainsFunc(s.layers, func(l *storedLayer) bool { return l.Name == a.info.Name })
		if !layer && len(shape) > 1 && (shape[0] == s.rows || s.rows < 0) && !strings.Contains(a.info.Name, "/") {
			array, err := file.Array(a.info.Name)
			if err != nil {
				return err
			}
			if err := s.addCompanion(a.info.Name, a.info.DataType, shape, arrayRows{array, 1}); err != nil {
				return err
			}
		}
	}
	for _, a := range file.arrays {
		ofLayer := slices.ContainsFunc(s.layers, func(l *storedLayer) bool {
			return strings.HasPrefix(a.info.Name, l.Name+"/")
		})
		named := slices.Contains(stimulusColumns, a.info.Name)
		if (len(a.info.Shape) == 1 && a.info.Rows() == s.rows || named) && !ofLayer && a.info.DataType != InvalidType &&
			a.info.Name != "valid" {
			s.columns = append(s.columns, a.info.Name)
		}
	}
	if slices.Contains(names, "provenance") {
		array, err := file.Array("provenance")
		if err != nil {
			return err
		}
		if info := array.Info(); info.Elements() == 1 && info.ElementSize > 0 {
			text, err := array.Strings(0, 1)
			if err != nil {
				return err
			}
			s.provenance = text[0]
		}
	}
	return nil
}

func (s *Store) addNPZLayer(file *File, name string, optional func(string) ([]int64, error)) error {
	array, err := file.Array(name)
	if err != nil {
		return err
	}
	info := array.Info()
	timesteps, err := optional(name + "/timesteps")
	if err != nil {
		return err
	}
	ms, err := optional(name + "/ms")
	if err == nil && ms == nil {
		ms, err = optional(name + "/milliseconds")
	}
	if err != nil {
		return err
	}
	l := LayerInfo{Name: name, DataType: info.DataType}
	driven, err := optional(name + "/driven")
	if err != nil {
		return err
	}
	if driven != nil {
		l.Driven = booleans(driven)
	}
	if info.DataType == InvalidType {
		return fmt.Errorf("layer %s: %w: its elements are %s", name, ErrDataType, info.Descr)
	}
	return s.addLayer(l, info.Shape, timesteps, ms, arrayRows{array, len(timesteps)})
}
