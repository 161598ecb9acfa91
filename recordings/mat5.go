package recordings

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/klauspost/compress/zlib"
)

// MATLAB's level 5 format ("MAT-File Format"), little-endian: numeric arrays, characters and cells
// of characters. What else there is, is passed over.
const (
	matHeader     = 128
	matMatrix     = 14
	matCompressed = 15
	matCell       = 1
	matChar       = 4
	mostCellDepth = 2
)

// matSizes are the bytes of an element of each numeric type of data.
var matSizes = map[uint32]int{1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2}

// matVariable is an array.
type matVariable struct {
	name    string
	class   byte
	shape   []int
	numbers []float64 // in MATLAB's order: the first axis changes fastest
	texts   []string  // of a cell, or the rows of characters
}

// matFile is an open file, which is read whole.
type matFile struct{ variables []matVariable }

func openMAT(name string) (arrays, error) {
	content, err := readBounded(name, mostTable)
	if err != nil {
		return nil, err
	}
	variables, err := parseMAT(content)
	if err != nil {
		return nil, err
	}
	return &matFile{variables}, nil
}

func matError(format string, args ...any) error {
	return fmt.Errorf("%w: MATLAB level 5: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// isMAT5 tells a file by its header.
func isMAT5(head []byte) bool {
	return len(head) >= matHeader && strings.HasPrefix(string(head), "MATLAB 5.0") && string(head[126:128]) == "IM"
}

func parseMAT(content []byte) ([]matVariable, error) {
	if !isMAT5(content) {
		return nil, matError("no header of a little-endian file")
	}
	var list []matVariable
	for rest := content[matHeader:]; len(rest) > 0; {
		kind, data, after, err := matElement(rest)
		if err != nil {
			return nil, err
		}
		rest = after
		if kind == matCompressed {
			if kind, data, err = matInflate(data); err != nil {
				return nil, err
			}
		}
		if kind != matMatrix {
			continue
		}
		v, err := matArray(data, 0)
		if err != nil {
			return nil, err
		}
		list = append(list, *v)
		if len(list) > mostVariables {
			return nil, matError("more than %d variables", mostVariables)
		}
	}
	return list, nil
}

// matElement splits off the first element; small ones have their data in the tag.
func matElement(b []byte) (kind uint32, data, rest []byte, err error) {
	if len(b) < 8 {
		return 0, nil, nil, matError("it ends within an element")
	}
	kind = binary.LittleEndian.Uint32(b)
	if size := kind >> 16; size != 0 {
		if size > 4 {
			return 0, nil, nil, matError("a small element of %d bytes", size)
		}
		return kind & 0xffff, b[4 : 4+size], b[8:], nil
	}
	size := int64(binary.LittleEndian.Uint32(b[4:]))
	if size > int64(len(b)-8) {
		return 0, nil, nil, matError("an element of %d bytes, of which %d are there", size, len(b)-8)
	}
	end := 8 + size
	if kind != matCompressed {
		end = min(8+(size+7)/8*8, int64(len(b)))
	}
	return kind, b[8 : 8+size], b[end:], nil
}

func matInflate(data []byte) (uint32, []byte, error) {
	reader, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return 0, nil, matError("%v", err)
	}
	content, err := io.ReadAll(io.LimitReader(reader, mostTable+1))
	if err != nil {
		return 0, nil, matError("%v", err)
	}
	if len(content) > mostTable {
		return 0, nil, matError("a variable takes more than %d bytes", mostTable)
	}
	kind, inner, _, err := matElement(content)
	return kind, inner, err
}

// matArray reads an array.
func matArray(b []byte, depth int) (*matVariable, error) {
	kind, flags, b, err := matElement(b)
	if err != nil {
		return nil, err
	}
	if kind != 6 || len(flags) < 8 {
		return nil, matError("an array without flags")
	}
	v := &matVariable{class: flags[0]}
	complexNumbers := flags[1]&0x08 != 0
	_, dims, b, err := matElement(b)
	if err != nil {
		return nil, err
	}
	n := 1
	for ; len(dims) >= 4; dims = dims[4:] {
		length := int(int32(binary.LittleEndian.Uint32(dims)))
		if length < 0 || length > 0 && n > mostTable/length || len(v.shape) >= 32 {
			return nil, matError("an array of an impossible shape")
		}
		n *= length
		v.shape = append(v.shape, length)
	}
	if len(v.shape) < 2 {
		return nil, matError("an array of %d dimensions", len(v.shape))
	}
	_, name, b, err := matElement(b)
	if err != nil {
		return nil, err
	}
	v.name = string(name)
	switch {
	case v.class == matCell && depth < mostCellDepth:
		return v, v.cells(b, n, depth)
	case v.class == matChar && n > 0:
		return v, v.characters(b, n)
	case v.class >= 6 && v.class <= 15 && !complexNumbers && n > 0:
		kind, data, _, err := matElement(b)
		if err != nil {
			return nil, err
		}
		v.numbers, err = matNumbers(kind, data, n)
		return v, err
	}
	return v, nil
}

func (v *matVariable) cells(b []byte, n, depth int) error {
	if n > len(b)/8 {
		return matError("%d cells in %d bytes", n, len(b))
	}
	for range n {
		kind, data, rest, err := matElement(b)
		if err != nil {
			return err
		}
		if b = rest; kind != matMatrix {
			return matError("a cell of type %d", kind)
		}
		text := ""
		if len(data) > 0 {
			c, err := matArray(data, depth+1)
			if err != nil {
				return err
			}
			if c.class != matChar || len(c.texts) > 1 {
				v.texts = nil // not of texts
				return nil
			}
			text = strings.Join(c.texts, "")
		}
		v.texts = append(v.texts, text)
	}
	return nil
}

// characters reads rows of characters, which lie column by column.
func (v *matVariable) characters(b []byte, n int) error {
	kind, data, _, err := matElement(b)
	if err != nil {
		return err
	}
	var units []uint16
	switch kind {
	case 16:
		units = utf16.Encode([]rune(string(data)))
	case 1, 2, 4, 17:
		numbers, err := matNumbers(kind, data, n)
		if err != nil {
			return err
		}
		for _, u := range numbers {
			units = append(units, uint16(u))
		}
	default:
		return matError("characters of type %d", kind)
	}
	if len(v.shape) != 2 || v.shape[0] != 1 && len(units) != n {
		return matError("characters of the shape %v", v.shape)
	}
	for i := range v.shape[0] {
		var row []uint16
		for k := i; k < len(units); k += v.shape[0] {
			row = append(row, units[k])
		}
		text := string(utf16.Decode(row))
		if v.shape[0] > 1 {
			text = strings.TrimRight(text, " ") // only rows of several are padded
		}
		v.texts = append(v.texts, text)
	}
	return nil
}

func matNumbers(kind uint32, data []byte, n int) ([]float64, error) {
	size := matSizes[kind]
	if size == 0 || len(data)/size < n {
		return nil, matError("%d numbers of type %d in %d bytes", n, kind, len(data))
	}
	values := make([]float64, n)
	for i := range values {
		b := data[i*size:]
		switch kind {
		case 1:
			values[i] = float64(int8(b[0]))
		case 2, 16:
			values[i] = float64(b[0])
		case 3:
			values[i] = float64(int16(binary.LittleEndian.Uint16(b)))
		case 4, 17:
			values[i] = float64(binary.LittleEndian.Uint16(b))
		case 5:
			values[i] = float64(int32(binary.LittleEndian.Uint32(b)))
		case 6:
			values[i] = float64(binary.LittleEndian.Uint32(b))
		case 7:
			values[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
		case 9:
			values[i] = math.Float64frombits(binary.LittleEndian.Uint64(b))
		case 12:
			values[i] = float64(int64(binary.LittleEndian.Uint64(b)))
		case 13:
			values[i] = float64(binary.LittleEndian.Uint64(b))
		}
	}
	return values, nil
}

func (m *matFile) find(array string) *matVariable {
	at := slices.IndexFunc(m.variables, func(v matVariable) bool { return v.name == array })
	if at < 0 {
		return nil
	}
	return &m.variables[at]
}

func (m *matFile) close() error          { return nil }
func (m *matFile) has(array string) bool { return m.find(array) != nil }

func (m *matFile) open(array string) (source, []int, error) {
	if array == "" && len(m.variables) == 1 {
		array = m.variables[0].name
	}
	v := m.find(array)
	if v == nil || v.numbers == nil {
		var names []string
		for _, v := range m.variables {
			if v.numbers != nil {
				names = append(names, v.name)
			}
		}
		return nil, nil, fmt.Errorf("%w: no array %q of numbers; there are %s", ErrLayout, array, strings.Join(names, ", "))
	}
	backwards := slices.Clone(v.shape)
	slices.Reverse(backwards)
	return &inMemory{v.shape, transposed(v.numbers, backwards)}, slices.Clone(v.shape), nil
}

func (m *matFile) coordinate(array, name, axis string) (*Coordinate, error) {
	v := m.find(array)
	switch {
	case v.texts != nil:
		return &Coordinate{Name: name, Axis: axis, Kind: Text, Texts: v.texts}, nil
	case v.numbers != nil && slices.Max(v.shape) == len(v.numbers):
		c := &Coordinate{Name: name, Axis: axis, Kind: Integer, Numbers: v.numbers}
		if slices.ContainsFunc(v.numbers, func(x float64) bool { return x != math.Trunc(x) || math.Abs(x) > exactInteger }) {
			c.Kind = Float
		}
		return c, nil
	}
	return nil, fmt.Errorf("%w: %s is neither texts nor numbers along one axis", ErrLayout, array)
}
