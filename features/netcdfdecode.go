package features

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// storedNC is the header of a classic netCDF file without records.
type storedNC struct {
	file       io.ReaderAt
	size       int64
	dimensions []ncDimension
	attributes map[string]string
	variables  []storedNCVariable
}

type storedNCVariable struct {
	name       string
	dimensions []int
	shape      []int
	attributes map[string]string
	kind       uint32
	begin      int64
}

// ncMost bounds the dimensions, variables and attributes of a file.
const ncMost = 1 << 16

// ncSizes are the bytes of a value of the types from 1 on, of which most are not written.
var ncSizes = [11]int64{1, 1, 2, 4, 4, 8, 1, 2, 4, 8, 8}

// ncHeader reads the numbers and texts of a header; the first fault stays.
type ncHeader struct {
	in      *bufio.Reader
	left    int64
	version byte
	err     error
}

func (h *ncHeader) fail(format string, args ...any) {
	if h.err == nil {
		h.err = fmt.Errorf("%w: netCDF header: %s", ErrFormat, fmt.Sprintf(format, args...))
	}
}

func (h *ncHeader) bytes(n int64) []byte {
	if h.err == nil && (n < 0 || n > h.left) {
		h.fail("%d bytes beyond the end", n)
	}
	if h.err != nil {
		return nil
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(h.in, b); err != nil {
		h.fail("%v", err)
		return nil
	}
	h.left -= n
	return b
}

func (h *ncHeader) uint32() uint32 {
	if b := h.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (h *ncHeader) wide(is64 bool) int64 {
	if !is64 {
		return int64(h.uint32())
	}
	b := h.bytes(8)
	if b == nil {
		return 0
	}
	n := binary.BigEndian.Uint64(b)
	if n > math.MaxInt64 {
		h.fail("a number of %d", n)
		return 0
	}
	return int64(n)
}

func (h *ncHeader) count() int64 { return h.wide(h.version == 5) }

func (h *ncHeader) text() string {
	n := h.count()
	b := h.bytes(n)
	h.bytes((4 - n%4) % 4)
	return string(b)
}

func (h *ncHeader) list(tag uint32, what string) int {
	found, n := h.uint32(), h.count()
	if h.err == nil && (found != tag && (found != 0 || n != 0) || n > ncMost) {
		h.fail("%d %s with the tag %d", n, what, found)
	}
	if h.err != nil {
		return 0
	}
	return int(n)
}

// attributes keeps those of characters.
func (h *ncHeader) attributes() map[string]string {
	all := map[string]string{}
	for range h.list(ncAttributeTag, "attributes") {
		name, kind := h.text(), h.uint32()
		switch {
		case kind == ncChar:
			all[name] = h.text()
		case kind >= 1 && kind <= 11:
			n := h.count()
			size := ncSizes[kind-1]
			if n > h.left/size {
				h.fail("attribute %q of %d values", name, n)
				return nil
			}
			h.bytes((n*size + 3) &^ 3)
		default:
			h.fail("attribute %q of type %d", name, kind)
		}
		if h.err != nil {
			return nil
		}
	}
	return all
}

func readNCHeader(file io.ReaderAt, size int64) (*storedNC, error) {
	h := &ncHeader{in: bufio.NewReader(io.NewSectionReader(file, 0, size)), left: size}
	if magic := h.bytes(4); h.err == nil {
		if h.version = magic[3]; string(magic[:3]) != "CDF" || h.version != 1 && h.version != 2 && h.version != 5 {
			h.fail("it starts with %q", magic)
		}
	}
	f := &storedNC{file: file, size: size}
	if records := h.count(); records != 0 {
		h.fail("%d records; features are written without", records)
	}
	for range h.list(ncDimensionTag, "dimensions") {
		name, length := h.text(), h.count()
		if length < 1 || length > math.MaxInt32*1024 {
			h.fail("dimension %q of length %d", name, length)
		}
		if h.err != nil {
			return nil, h.err
		}
		f.dimensions = append(f.dimensions, ncDimension{name, int(length)})
	}
	f.attributes = h.attributes()
	for range h.list(ncVariableTag, "variables") {
		v := storedNCVariable{name: h.text()}
		rank := h.count()
		if rank > 32 {
			h.fail("variable %q of %d dimensions", v.name, rank)
		}
		for i := int64(0); i < rank && h.err == nil; i++ {
			d := h.count()
			if d >= int64(len(f.dimensions)) {
				h.fail("variable %q has dimension %d", v.name, d)
				break
			}
			v.dimensions = append(v.dimensions, int(d))
			v.shape = append(v.shape, f.dimensions[d].length)
		}
		v.attributes = h.attributes()
		v.kind = h.uint32()
		h.count() // its size, which follows from the shape
		v.begin = h.wide(h.version != 1)
		if v.kind < 1 || v.kind > 11 {
			h.fail("variable %q of type %d", v.name, v.kind)
		}
		if h.err == nil {
			total, ok := byteSize(v.shape, int(ncSizes[v.kind-1]))
			if !ok || v.begin < 0 || total > size-v.begin {
				h.fail("variable %q of shape %v lies beyond the end", v.name, v.shape)
			}
		}
		if h.err != nil {
			return nil, h.err
		}
		f.variables = append(f.variables, v)
	}
	return f, h.err
}

func (f *storedNC) variable(name string) *storedNCVariable {
	i := slices.IndexFunc(f.variables, func(v storedNCVariable) bool { return v.name == name })
	if i < 0 {
		return nil
	}
	return &f.variables[i]
}

// along is the name of a variable's first dimension, "" if it is no array of one value,
// which may be a text, for each element of that.
func (f *storedNC) along(v *storedNCVariable) string {
	if len(v.shape) == 1 && v.kind != ncChar || len(v.shape) == 2 && v.kind == ncChar {
		return f.dimensions[v.dimensions[0]].name
	}
	return ""
}

// values reads elements from to to of a variable of one value for each.
func (f *storedNC) values(v *storedNCVariable, from, to int) (any, error) {
	element := int(ncSizes[v.kind-1])
	if v.kind == ncChar {
		element = v.shape[1]
	}
	raw := make([]byte, (to-from)*element)
	if err := readAt(f.file, raw, v.begin+int64(from)*int64(element)); err != nil {
		return nil, fmt.Errorf("%s: %w", v.name, err)
	}
	be := binary.BigEndian
	switch v.kind {
	case ncChar:
		text := make([]string, to-from)
		for i := range text {
			text[i] = strings.ToValidUTF8(string(bytes.TrimRight(raw[i*element:(i+1)*element], "\x00")), "\uFFFD")
		}
		return text, nil
	case ncFloat, ncDouble:
		list := make([]float64, to-from)
		for i := range list {
			if v.kind == ncFloat {
				list[i] = float64(math.Float32frombits(be.Uint32(raw[4*i:])))
			} else {
				list[i] = math.Float64frombits(be.Uint64(raw[8*i:]))
			}
		}
		return list, nil
	}
	list := make([]int64, to-from)
	for i := range list {
		switch v.kind {
		case ncByte:
			list[i] = int64(int8(raw[i]))
		case ncInt:
			list[i] = int64(int32(be.Uint32(raw[4*i:])))
		case ncInt64:
			list[i] = int64(be.Uint64(raw[8*i:]))
		default:
			return nil, fmt.Errorf("%s: %w: type %d", v.name, ErrDataType, v.kind)
		}
	}
	if v.attributes["dtype"] == "bool" {
		return booleans(list), nil
	}
	return list, nil
}

// coordinate is values of a variable along a dimension.
func (f *storedNC) coordinate(name, dimension string, from, to int) (any, error) {
	v := f.variable(name)
	if v == nil || f.along(v) != dimension {
		return nil, fmt.Errorf("%w: no coordinate %s along %s", ErrFormat, name, dimension)
	}
	if from < 0 || to > v.shape[0] {
		return nil, fmt.Errorf("%w: %s has %d values", ErrFormat, name, v.shape[0])
	}
	return f.values(v, from, to)
}

// describe reads what the coordinates of a layer's neuroids say, and returns the shape.
func (f *storedNC) describe(l *LayerInfo, from, to int, starts []int64) ([]int, error) {
	region, err := f.coordinate("region", "neuroid", from, from+1)
	if err != nil {
		return nil, err
	}
	if text, ok := region.([]string); ok {
		l.Region = text[0]
	}
	first, err := f.coordinate("first_driven_ms", "neuroid", from, from+1)
	if err != nil {
		return nil, err
	}
	if ms, ok := first.([]float64); ok && !math.IsNaN(ms[0]) { // NaN: unknown, or never
		l.Driven = make([]bool, len(starts))
		for i, start := range starts {
			l.Driven[i] = float64(start) >= ms[0]
		}
	}
	corner := func(at int) (place [3]int64, err error) {
		for i, name := range []string{"channel_x", "channel_y", "channel"} {
			values, err := integersOf(f.coordinate(name, "neuroid", at, at+1))
			if err != nil {
				return place, err
			}
			place[i] = values[0]
		}
		return place, nil
	}
	last, err := corner(to - 1)
	if err != nil {
		return nil, err
	}
	if last[0] < 0 {
		return []int{to - from}, nil
	}
	shape := []int{int(last[0]) + 1, int(last[1]) + 1, int(last[2]) + 1}
	if n, ok := byteSize(shape, 1); ok && n == int64(to-from) {
		return shape, nil
	}
	// Some units of a layer: those at one position, or some channels at every one.
	begin, err := corner(from)
	if err != nil {
		return nil, err
	}
	positions, ok := byteSize(shape[:2], 1)
	switch {
	case begin[0] == last[0] && begin[1] == last[1]:
		return []int{to - from}, nil
	case !ok || positions < 1 || int64(to-from)%positions != 0:
		return nil, fmt.Errorf("%w: %d neuroids are no %v", ErrFormat, to-from, shape)
	}
	shape[2] = (to - from) / int(positions)
	return shape, nil
}
