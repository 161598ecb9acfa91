package features

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// The classic netCDF formats (Unidata, "NetCDF Classic Format Specification"):
// CDF-2, which every reader knows, and CDF-5, which differs in 64-bit counts
// and more types, for what CDF-2 cannot hold. Everything is big endian.
const (
	ncDimensionTag = 0x0a
	ncVariableTag  = 0x0b
	ncAttributeTag = 0x0c

	ncByte   = 1
	ncChar   = 2
	ncInt    = 4
	ncFloat  = 5
	ncDouble = 6
	ncInt64  = 10 // CDF-5 only

	// cdf2Limit is kept below what CDF-2 allows, since readers differ beyond.
	cdf2Limit = math.MaxInt32
)

type ncAttribute struct{ name, value string }

type ncDimension struct {
	name   string
	length int
}

type ncVariable struct {
	name       string
	dimensions []int // into ncFile.dimensions
	attributes []ncAttribute
	kind       uint32
	write      func(io.Writer) error // nil for streamed data
	parts      []ncPart              // else
}

// ncPart is where a streamed array lies within its variable.
type ncPart struct {
	array  int
	region region // offset is relative to the variable
}

// ncFile collects dimensions and variables before anything has an offset.
type ncFile struct {
	dimensions []ncDimension
	attributes []ncAttribute
	variables  []ncVariable
}

// dimension returns the index of the dimension, adding it if need be. A name
// in use with another length gets the length appended.
func (f *ncFile) dimension(name string, length int) int {
	name = ncName(name)
	for i, d := range f.dimensions {
		if d.name != name {
			continue
		}
		if d.length == length {
			return i
		}
		return f.dimension(name+"_"+strconv.Itoa(length), length)
	}
	f.dimensions = append(f.dimensions, ncDimension{name, length})
	return len(f.dimensions) - 1
}

// ncName replaces what a name (or the space-separated list of coordinates)
// cannot hold.
func ncName(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || unicode.IsSpace(r) {
			return '_'
		}
		return r
	}, name)
}

func ncTypeSize(kind uint32) int64 {
	switch kind {
	case ncByte, ncChar:
		return 1
	case ncInt, ncFloat:
		return 4
	}
	return 8
}

func (f *ncFile) has(name string) bool {
	return slices.ContainsFunc(f.variables, func(v ncVariable) bool { return v.name == name })
}

// metadata adds a variable of known values.
func (f *ncFile) metadata(name string, dimensions []int, values any) error {
	v := ncVariable{name: name, dimensions: slices.Clone(dimensions)}
	switch values := values.(type) {
	case []string:
		width := 1
		for i, s := range values {
			values = withValidUTF8(values, i, s)
			width = max(width, len(values[i]))
		}
		v.strings(f, width, slices.Values(values))
	case []float64:
		v.kind, v.write = ncDouble, bigEndian(values)
	case []float32:
		v.kind, v.write = ncFloat, bigEndian(values)
	case []int32:
		v.kind, v.write = ncInt, bigEndian(values)
	case []uint8:
		wide := make([]int32, len(values))
		for i, x := range values {
			wide[i] = int32(x)
		}
		v.kind, v.write = ncInt, bigEndian(wide)
	case []int64:
		narrow := make([]int32, len(values))
		fits := true
		for i, x := range values {
			narrow[i] = int32(x)
			fits = fits && int64(narrow[i]) == x
		}
		if fits {
			v.kind, v.write = ncInt, bigEndian(narrow)
		} else {
			v.kind, v.write = ncInt64, bigEndian(values)
		}
	case []bool:
		v.kind, v.write = ncByte, bigEndian(values)
		v.attributes = []ncAttribute{{"dtype", "bool"}} // as xarray marks booleans
	default:
		return fmt.Errorf("%w: %q holds %T", ErrLayout, name, values)
	}
	f.variables = append(f.variables, v)
	return nil
}

func withValidUTF8(values []string, i int, s string) []string {
	if valid := strings.ToValidUTF8(s, "\uFFFD"); valid != s {
		values = slices.Clone(values)
		values[i] = valid
	}
	return values
}

// strings makes v an array of fixed-width UTF-8 text, which gives it one more
// dimension.
func (v *ncVariable) strings(f *ncFile, width int, values func(func(string) bool)) {
	v.kind = ncChar
	v.attributes = append(v.attributes, ncAttribute{"_Encoding", "utf-8"})
	v.dimensions = append(v.dimensions, f.dimension("string"+strconv.Itoa(width), width))
	v.write = func(w io.Writer) error {
		element := make([]byte, width)
		for s := range values {
			clear(element[copy(element, s):])
			if _, err := w.Write(element); err != nil {
				return err
			}
		}
		return nil
	}
}

func bigEndian(values any) func(io.Writer) error {
	return func(w io.Writer) error { return binary.Write(w, binary.BigEndian, values) }
}

// counted writes an array of int32 made one by one.
func counted(count int, value func(i int) int) func(io.Writer) error {
	return func(w io.Writer) error {
		buffer := make([]byte, 0, 4*4096)
		for i := range count {
			buffer = binary.BigEndian.AppendUint32(buffer, uint32(int32(value(i))))
			if len(buffer) == cap(buffer) || i == count-1 {
				if _, err := w.Write(buffer); err != nil {
					return err
				}
				buffer = buffer[:0]
			}
		}
		return nil
	}
}

func (f *ncFile) bytes(v *ncVariable) (int64, bool) {
	shape := make([]int, len(v.dimensions))
	for i, d := range v.dimensions {
		shape[i] = f.dimensions[d].length
	}
	return byteSize(shape, int(ncTypeSize(v.kind)))
}

// plan fixes the offsets and adds the file and its regions to p.
func (f *ncFile) plan(p *plan, name string) error {
	version := byte(2)
	total := int64(0)
	for i := range f.variables {
		v := &f.variables[i]
		size, ok := f.bytes(v)
		if !ok || total > math.MaxInt64/2-size {
			return fmt.Errorf("%w: variable %q", ErrTooLarge, v.name)
		}
		total += size
		if v.kind == ncInt64 {
			version = 5
		}
	}
	if total > cdf2Limit {
		version = 5
	}
	for _, d := range f.dimensions {
		if d.length > math.MaxInt32 {
			version = 5
		}
	}
	at := int64(len(f.header(version, 0)))
	file := plannedFile{name: name, sections: []section{bytesSection(0, f.header(version, at))}}
	for i := range f.variables {
		v := &f.variables[i]
		size, _ := f.bytes(v)
		if v.write != nil {
			file.sections = append(file.sections, section{offset: at, size: size, write: v.write})
		}
		for _, part := range v.parts {
			part.region.file = len(p.files)
			part.region.offset += at
			p.regions[part.array] = part.region
		}
		at += padded(size)
	}
	file.size = at
	p.files = append(p.files, file)
	return nil
}

func padded(n int64) int64 { return (n + 3) &^ 3 }

// header writes the header; the first variable's data begin at start.
func (f *ncFile) header(version byte, start int64) []byte {
	var b []byte
	be := binary.BigEndian
	count := func(n int64) { // NON_NEG of the specification
		if version == 5 {
			b = be.AppendUint64(b, uint64(n))
		} else {
			b = be.AppendUint32(b, uint32(n))
		}
	}
	text := func(s string) {
		count(int64(len(s)))
		b = append(b, s...)
		b = append(b, make([]byte, padded(int64(len(s)))-int64(len(s)))...)
	}
	list := func(tag uint32, n int) {
		if n == 0 {
			tag = 0
		}
		b = be.AppendUint32(b, tag)
		count(int64(n))
	}
	attributes := func(all []ncAttribute) {
		list(ncAttributeTag, len(all))
		for _, a := range all {
			text(a.name)
			b = be.AppendUint32(b, ncChar)
			text(a.value)
		}
	}
	b = append(b, 'C', 'D', 'F', version)
	count(0) // records: no dimension is unlimited
	list(ncDimensionTag, len(f.dimensions))
	for _, d := range f.dimensions {
		text(d.name)
		count(int64(d.length))
	}
	attributes(f.attributes)
	list(ncVariableTag, len(f.variables))
	for i := range f.variables {
		v := &f.variables[i]
		text(v.name)
		count(int64(len(v.dimensions)))
		for _, d := range v.dimensions {
			count(int64(d))
		}
		attributes(v.attributes)
		b = be.AppendUint32(b, v.kind)
		size, _ := f.bytes(v)
		count(padded(size))
		b = be.AppendUint64(b, uint64(start))
		start += padded(size)
	}
	return b
}
