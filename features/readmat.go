package features

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf16"
)

// matHeaderBytes precede the variables of a .mat.
const matHeaderBytes = 128

// storedMAT is a variable of a .mat, of which only the description was read.
type storedMAT struct {
	file    io.ReaderAt
	name    string
	class   uint32
	logical bool
	shape   []int // in C order, as written
	kind    uint32
	at, end int64 // of the values, for cells of the variables within
}

// readMATTag reads the type and length of an element, which must end before limit.
func readMATTag(r io.ReaderAt, at, limit int64) (kind uint32, length int64, err error) {
	var tag [8]byte
	if at > limit-8 {
		return 0, 0, fmt.Errorf("%w: an element beyond the end, at byte %d", ErrFormat, at)
	}
	if err := readAt(r, tag[:], at); err != nil {
		return 0, 0, err
	}
	kind, length = binary.LittleEndian.Uint32(tag[:]), int64(binary.LittleEndian.Uint32(tag[4:]))
	if kind > 0xffff || length > limit-at-8 {
		return 0, 0, fmt.Errorf("%w: an element of type %d and %d bytes at byte %d", ErrFormat, kind, length, at)
	}
	return kind, length, nil
}

// readMATVariable reads the description of the variable at a place, and where it ends.
func readMATVariable(r io.ReaderAt, at, limit int64) (*storedMAT, int64, error) {
	kind, length, err := readMATTag(r, at, limit)
	if err != nil {
		return nil, 0, err
	}
	if kind != miMatrix {
		return nil, 0, fmt.Errorf("%w: an element of type %d at byte %d; variables are written uncompressed", ErrFormat, kind, at)
	}
	v := &storedMAT{file: r, end: at + 8 + length}
	at += 8
	part := func(want uint32, most int64) []byte {
		if err != nil {
			return nil
		}
		var kind uint32
		var n int64
		if kind, n, err = readMATTag(r, at, v.end); err != nil {
			return nil
		}
		if kind != want || n > most {
			err = fmt.Errorf("%w: an element of type %d and %d bytes at byte %d", ErrFormat, kind, n, at)
			return nil
		}
		b := make([]byte, n)
		err = readAt(r, b, at+8)
		at += 8 + (n+7)&^7
		return b
	}
	flags, dimensions, name := part(miUint32, 8), part(miInt32, 4*64), part(miInt8, matNameLength)
	if err == nil && (len(flags) != 8 || len(dimensions) < 8 || len(dimensions)%4 != 0) {
		err = fmt.Errorf("%w: a variable without dimensions at byte %d", ErrFormat, at)
	}
	if err != nil {
		return nil, 0, err
	}
	word := binary.LittleEndian.Uint32(flags)
	v.name, v.class, v.logical = string(name), word&0xff, word&mxLogicalFlag != 0
	for i := len(dimensions) - 4; i >= 0; i -= 4 {
		d := int32(binary.LittleEndian.Uint32(dimensions[i:]))
		if d < 0 {
			return nil, 0, fmt.Errorf("%w: %s has a dimension of %d", ErrFormat, v.name, d)
		}
		v.shape = append(v.shape, int(d))
	}
	end := v.end
	if v.at = at; v.class != mxCell {
		if v.kind, length, err = readMATTag(r, at, end); err != nil {
			return nil, 0, err
		}
		v.at, v.end = at+8, at+8+length
	}
	return v, end, nil
}

var matKinds = map[uint32]DataType{miUint8: Uint8, miInt32: Int32, miSingle: Float32, miDouble: Float64, miInt64: Int64}

// elements is the number of elements, which were checked against the bytes.
func (v *storedMAT) elements(size int) (int, error) {
	n, ok := byteSize(v.shape, 1)
	if !ok || n > (v.end-v.at)/int64(size) {
		return 0, fmt.Errorf("%w: %s of shape %v has %d bytes", ErrFormat, v.name, v.shape, v.end-v.at)
	}
	return int(n), nil
}

// text reads a row of characters.
func (v *storedMAT) text() (string, error) {
	if v.class != mxChar || v.kind != miUTF16 {
		return "", fmt.Errorf("%w: %s is no text", ErrFormat, v.name)
	}
	n, err := v.elements(2) // what follows the units that the dimensions count is zeros
	if err != nil {
		return "", err
	}
	raw := make([]byte, 2*n)
	if err := readAt(v.file, raw, v.at); err != nil {
		return "", err
	}
	units := make([]uint16, n)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(raw[2*i:])
	}
	return string(utf16.Decode(units)), nil
}

// values reads a column.
func (v *storedMAT) values() (any, error) {
	if v.class == mxCell {
		count, err := v.elements(8)
		if err != nil {
			return nil, err
		}
		list := []string{}
		at := v.at
		for range count {
			cell, next, err := readMATVariable(v.file, at, v.end)
			if err != nil {
				return nil, err
			}
			text, err := cell.text()
			if err != nil {
				return nil, err
			}
			list, at = append(list, text), next
		}
		return list, nil
	}
	d, ok := matKinds[v.kind]
	if !ok {
		return nil, fmt.Errorf("%w: %s is of type %d", ErrFormat, v.name, v.kind)
	}
	n, err := v.elements(d.Size())
	if err != nil {
		return nil, err
	}
	array := &Array{owner: &File{path: v.name}, info: Info{DataType: d, ElementSize: d.Size(), Shape: []int{n}}}
	array.section = io.NewSectionReader(v.file, v.at, v.end-v.at)
	if v.logical && d == Uint8 {
		array.info.DataType = Bool
	}
	return arrayColumn(array)
}

// matFile are the variables of a .mat by their names, and the order of these.
type matFile struct {
	variables map[string]*storedMAT
	names     []string
}

func readMATFile(r io.ReaderAt, size int64) (*matFile, error) {
	var head [matHeaderBytes]byte
	if err := readAt(r, head[:], 0); err != nil {
		return nil, err
	}
	if string(head[124:]) != "\x00\x01IM" {
		return nil, fmt.Errorf("%w: no MATLAB file of level 5, little endian", ErrFormat)
	}
	f := &matFile{variables: map[string]*storedMAT{}}
	for at := int64(matHeaderBytes); at < size; {
		v, next, err := readMATVariable(r, at, size)
		if err != nil {
			return nil, err
		}
		f.variables[v.name] = v
		f.names = append(f.names, v.name)
		if at = next; len(f.names) > ncMost {
			return nil, fmt.Errorf("%w: more than %d variables", ErrFormat, ncMost)
		}
	}
	return f, nil
}

func (f *matFile) text(name string) (string, error) {
	v := f.variables[name]
	if v == nil {
		return "", nil
	}
	return v.text()
}

func (f *matFile) integers(name string) ([]int64, error) {
	v := f.variables[name]
	if v == nil {
		return nil, nil
	}
	return integersOf(v.values())
}

// matOwn are the variables that are no columns.
var matOwn = []string{"features", "layer", "model", "region", "timesteps", "ms", "driven", "valid"}

// openMAT reads the files that layers.txt lists; the columns are those of the first.
func openMAT(s *Store) error {
	list, err := readBounded(filepath.Join(s.path, matMarker), mostMetadata)
	if err != nil {
		return err
	}
	for i, name := range strings.Split(strings.TrimSuffix(string(list), "\n"), "\n") {
		if name == "" || strings.ContainsAny(name, "/\\\x00") || name == "." || name == ".." {
			return fmt.Errorf("%s: %w: a file called %q", matMarker, ErrFormat, name)
		}
		if err := s.openMATFile(name, i == 0); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (s *Store) openMATFile(name string, first bool) error {
	file, err := os.Open(filepath.Join(s.path, name))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	s.closers = append(s.closers, file)
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Size() > math.MaxInt32*2 {
		return fmt.Errorf("%w: %d bytes are more than a .mat of level 5 holds", ErrFormat, info.Size())
	}
	f, err := readMATFile(file, info.Size())
	if err != nil {
		return err
	}
	data := f.variables["features"]
	if data == nil {
		return fmt.Errorf("%w: no variable features", ErrFormat)
	}
	shape := data.shape
	if s.rows < 0 {
		s.rows = shape[0]
	}
	if first {
		if err := s.matColumns(f); err != nil {
			return err
		}
	}
	d := matKinds[data.kind]
	if _, err := data.elements(max(d.Size(), 1)); err != nil {
		return err
	}
	l := LayerInfo{DataType: d}
	if l.Name, err = f.text("layer"); err != nil {
		return err
	}
	if f.variables["timesteps"] == nil {
		r := contiguousRegion(0, data.at, &Streamed{DataType: d, RowShape: slices.Clone(shape[1:])})
		return s.addCompanion(l.Name, d, shape, &fileRows{file: file, region: r, steps: 1})
	}
	if l.Region, err = f.text("region"); err != nil {
		return err
	}
	var numbers [3][]int64
	for i, name := range []string{"timesteps", "ms", "driven"} {
		if numbers[i], err = f.integers(name); err != nil {
			return err
		}
	}
	if numbers[2] != nil {
		l.Driven = booleans(numbers[2])
	}
	steps := len(numbers[0])
	r := contiguousRegion(0, data.at, &Streamed{DataType: d, RowShape: slices.Clone(shape[1:])})
	return s.addLayer(l, shape, numbers[0], numbers[1], &fileRows{file: file, region: r, steps: steps})
}

func (s *Store) matColumns(f *matFile) (err error) {
	if s.provenance, err = f.text("provenance"); err != nil {
		return err
	}
	mask, err := f.integers("valid")
	if err != nil {
		return err
	}
	if mask != nil {
		s.valid = booleans(mask)
	}
	s.column = func(name string) (any, error) { return f.variables[name].values() }
	for _, name := range f.names {
		v := f.variables[name]
		n, ok := byteSize(v.shape, 1)
		oneDimension := len(v.shape) == 2 && v.shape[0] == 1 // padded to two
		if ok && int(n) == s.rows && oneDimension && v.class != mxChar && !slices.Contains(matOwn, name) {
			s.columns = append(s.columns, name)
		}
	}
	return nil
}
