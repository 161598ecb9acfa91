package features

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"unicode/utf16"
)

// MATLAB's level 5 format (MathWorks, "MAT-File Format"): a header of 128
// bytes, then data elements of an 8-byte tag (type, bytes) and data padded to
// 8 bytes. An array is an miMATRIX element that holds flags, dimensions, name
// and values. Little endian. Lengths have 32 bits, and MATLAB itself stops at
// 2 GiB.
const (
	miInt8   = 1
	miUint8  = 2
	miInt32  = 5
	miUint32 = 6
	miSingle = 7
	miDouble = 9
	miInt64  = 12
	miMatrix = 14
	miUTF16  = 17

	mxCell   = 1
	mxChar   = 4
	mxDouble = 6
	mxSingle = 7
	mxUint8  = 9
	mxInt32  = 12
	mxInt64  = 14

	mxLogicalFlag = 0x0200

	matLimit      = math.MaxInt32
	matNameLength = 63
	matMarker     = "layers.txt"
)

func matTag(b *bytes.Buffer, kind uint32, length int) {
	b.Write(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, kind), uint32(length)))
}

func matElement(b *bytes.Buffer, kind uint32, data []byte) {
	matTag(b, kind, len(data))
	b.Write(data)
	b.Write(make([]byte, (8-len(data)%8)%8))
}

// matFront is what precedes the values of an array whose C-order shape is
// given: MATLAB's dimensions are the reverse, at least two.
func matFront(name string, class, flags uint32, shape []int) []byte {
	var b bytes.Buffer
	le := binary.LittleEndian
	matElement(&b, miUint32, le.AppendUint32(le.AppendUint32(nil, class|flags), 0))
	var dimensions []byte
	for i := len(shape) - 1; i >= 0; i-- {
		dimensions = le.AppendUint32(dimensions, uint32(shape[i]))
	}
	for i := len(shape); i < 2; i++ { // a column
		dimensions = le.AppendUint32(dimensions, 1)
	}
	matElement(&b, miInt32, dimensions)
	matElement(&b, miInt8, []byte(name))
	return b.Bytes()
}

// matArray adds a whole array.
func matArray(b *bytes.Buffer, front []byte, values func(*bytes.Buffer)) {
	var inner bytes.Buffer
	inner.Write(front)
	values(&inner)
	matTag(b, miMatrix, inner.Len())
	b.Write(inner.Bytes())
}

// matText adds a row of characters in UTF-16. Dimensions count its units, two for a
// character beyond U+FFFF, as MATLAB's and Octave's do. SciPy counts characters, and
// refuses a file with fewer than the dimensions say: zeros, which it drops, fill up.
func matText(b *bytes.Buffer, name, value string) {
	points := []rune(value)
	units := utf16.Encode(points)
	rows := 1
	if len(units) == 0 {
		rows = 0
	}
	fill := len(units) - len(points)
	data := make([]byte, 0, 2*(len(units)+fill))
	for _, u := range units {
		data = binary.LittleEndian.AppendUint16(data, u)
	}
	data = append(data, make([]byte, 2*fill)...)
	matArray(b, matFront(name, mxChar, 0, []int{len(units), rows}), func(inner *bytes.Buffer) {
		matElement(inner, miUTF16, data)
	})
}

// matValues adds metadata; strings become a cell array.
func matValues(b *bytes.Buffer, name string, shape []int, values any) error {
	if text, ok := values.([]string); ok {
		matArray(b, matFront(name, mxCell, 0, shape), func(inner *bytes.Buffer) {
			for _, s := range text {
				matText(inner, "", s)
			}
		})
		return nil
	}
	_, d := valuesOf(values)
	class, kind, flags, err := matClass(d)
	if err != nil {
		return err
	}
	var data bytes.Buffer
	if err := binary.Write(&data, binary.LittleEndian, values); err != nil {
		return err
	}
	if data.Len() > matLimit/2 {
		return fmt.Errorf("%w: %q has %d bytes", ErrTooLarge, name, data.Len())
	}
	matArray(b, matFront(name, class, flags, shape), func(inner *bytes.Buffer) {
		matElement(inner, kind, data.Bytes())
	})
	return nil
}

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
		return nil, 0, fmt.Errorf("%w: an element of type %d at byte %d; variables are written uncompressed", ErrFormat,
			kind, at)
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
