package features

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The .npy format (NumPy, numpy/lib/format.py): magic "\x93NUMPY", two bytes of
// version, the header's length (uint16 in version 1, uint32 in 2 and 3, little
// endian), then a Python dictionary literal with the keys descr, fortran_order
// and shape, padded with spaces and a newline so that the data start at a
// multiple of 64. Version 3 is version 2 with a UTF-8 header.
const npyMagic = "\x93NUMPY"

// maxNPYHeader bounds the header; NumPy itself refuses more than 10,000 bytes.
const maxNPYHeader = 1 << 16

// Info describes an array in a file.
type Info struct {
	// Name is the array's key in an .npz, "" for an .npy.
	Name string
	// DataType is InvalidType where the elements are of a type that this
	// package does not read (complex, structured, objects …).
	DataType DataType
	// Descr is NumPy's type string, such as "<f4".
	Descr string
	// ElementSize is the bytes of one element.
	ElementSize int
	// BigEndian tells the byte order of the elements.
	BigEndian bool
	// FortranOrder is true for column-major arrays of two or more dimensions.
	FortranOrder bool
	// Shape is never negative and its product times ElementSize fits the file.
	Shape []int
}

// Elements returns the number of elements.
func (i Info) Elements() int {
	n := 1
	for _, d := range i.Shape {
		n *= d
	}
	return n
}

// Rows returns the length of the first dimension, 1 for a scalar.
func (i Info) Rows() int {
	if len(i.Shape) == 0 {
		return 1
	}
	return i.Shape[0]
}

// RowElements returns the number of elements of one row: the product of all
// dimensions but the first.
func (i Info) RowElements() int {
	if len(i.Shape) == 0 {
		return 1
	}
	n := 1
	for _, d := range i.Shape[1:] {
		n *= d
	}
	return n
}

// readNPYHeader reads the header of an array whose header and data take at
// most limit bytes; it returns the header's length too.
func readNPYHeader(r io.Reader, limit int64) (Info, int64, error) {
	var start [8]byte
	if _, err := io.ReadFull(r, start[:]); err != nil {
		return Info{}, 0, truncated("the .npy magic", err)
	}
	if string(start[:6]) != npyMagic {
		return Info{}, 0, fmt.Errorf("%w: it does not start with the .npy magic", ErrFormat)
	}
	var length, prefix int64
	switch version := start[6]; version {
	case 1:
		var b [2]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return Info{}, 0, truncated("the header's length", err)
		}
		length, prefix = int64(binary.LittleEndian.Uint16(b[:])), 10
	case 2, 3:
		var b [4]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return Info{}, 0, truncated("the header's length", err)
		}
		length, prefix = int64(binary.LittleEndian.Uint32(b[:])), 12
	default:
		return Info{}, 0, fmt.Errorf("%w: .npy version %d.%d; versions 1 to 3 are read", ErrFormat, version, start[7])
	}
	if length > maxNPYHeader || prefix+length > limit {
		return Info{}, 0, fmt.Errorf("%w: header of %d bytes in %d bytes", ErrFormat, length, limit)
	}
	header := make([]byte, length)
	if _, err := io.ReadFull(r, header); err != nil {
		return Info{}, 0, truncated("the header", err)
	}
	info, err := parseNPYHeader(string(header))
	if err != nil {
		return Info{}, 0, err
	}
	size, ok := byteSize(info.Shape, info.ElementSize)
	if !ok || size > limit-prefix-length {
		return Info{}, 0, fmt.Errorf("%w: shape %v of %s needs more than the %d bytes that follow the header",
			ErrFormat, info.Shape, info.Descr, limit-prefix-length)
	}
	return info, prefix + length, nil
}

func truncated(what string, err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: truncated in %s", ErrFormat, what)
	}
	return fmt.Errorf("reading %s: %w", what, err)
}

// byteSize multiplies; a zero dimension does not hide an overflow of the
// others, so that row sizes are safe too.
func byteSize(shape []int, elementSize int) (int64, bool) {
	product, zero := uint64(max(elementSize, 1)), elementSize == 0
	for _, d := range shape {
		if d < 0 {
			return 0, false
		}
		if d == 0 {
			zero = true
			continue
		}
		high, low := bits.Mul64(product, uint64(d))
		if high != 0 || low > 1<<62 {
			return 0, false
		}
		product = low
	}
	if zero {
		return 0, true
	}
	return int64(product), true
}

func parseNPYHeader(header string) (Info, error) {
	p := literal{text: header}
	info := Info{}
	seen := map[string]bool{}
	structured := false
	err := func() error {
		if err := p.expect('{'); err != nil {
			return err
		}
		for {
			if p.accept('}') {
				break
			}
			key, err := p.str()
			if err != nil {
				return err
			}
			if err := p.expect(':'); err != nil {
				return err
			}
			if seen[key] {
				return fmt.Errorf("key %q twice", key)
			}
			seen[key] = true
			switch key {
			case "descr":
				if p.peek() == '[' || p.peek() == '(' { // fields of a structured type
					structured = true
					info.Descr, err = p.skipBrackets()
				} else {
					info.Descr, err = p.str()
				}
			case "fortran_order":
				info.FortranOrder, err = p.boolean()
			case "shape":
				info.Shape, err = p.tuple()
			default:
				err = fmt.Errorf("unknown key %q", key)
			}
			if err != nil {
				return err
			}
			if !p.accept(',') {
				if err := p.expect('}'); err != nil {
					return err
				}
				break
			}
		}
		if rest := strings.TrimRight(p.text[p.at:], " \n\x00"); rest != "" {
			return fmt.Errorf("text after the dictionary")
		}
		for _, key := range []string{"descr", "fortran_order", "shape"} {
			if !seen[key] {
				return fmt.Errorf("key %q is missing", key)
			}
		}
		return nil
	}()
	if err != nil {
		return Info{}, fmt.Errorf("%w: .npy header: %v", ErrFormat, err)
	}
	if !structured {
		info.DataType, info.ElementSize, info.BigEndian, err = parseDescr(info.Descr)
		if err != nil {
			return Info{}, err
		}
	}
	if len(info.Shape) < 2 {
		info.FortranOrder = false
	}
	return info, nil
}

// parseDescr understands NumPy's type strings; a well-formed one of a type
// that is not read gives InvalidType.
func parseDescr(descr string) (d DataType, size int, big bool, err error) {
	bad := fmt.Errorf("%w: .npy header: type string %q", ErrFormat, descr)
	if len(descr) < 2 {
		return 0, 0, false, bad
	}
	switch descr[0] {
	case '<', '|':
	case '>':
		big = true
	case '=':
		big = !littleEndianHost
	default:
		return 0, 0, false, bad
	}
	kind := descr[1]
	digits := descr[2:]
	if kind == 'M' || kind == 'm' { // a unit follows in brackets
		digits, _, _ = strings.Cut(digits, "[")
	}
	if digits != "" {
		if size, err = strconv.Atoi(digits); err != nil || size < 0 || size > 1<<30 {
			return 0, 0, false, bad
		}
	}
	switch string(kind) + digits {
	case "b1", "?":
		return Bool, 1, false, nil
	case "i1":
		return Int8, 1, false, nil
	case "i2":
		return Int16, 2, big, nil
	case "i4":
		return Int32, 4, big, nil
	case "i8":
		return Int64, 8, big, nil
	case "u1":
		return Uint8, 1, false, nil
	case "u2":
		return Uint16, 2, big, nil
	case "u4":
		return Uint32, 4, big, nil
	case "u8":
		return Uint64, 8, big, nil
	case "f2":
		return Float16, 2, big, nil
	case "f4":
		return Float32, 4, big, nil
	case "f8":
		return Float64, 8, big, nil
	}
	switch kind {
	case 'U':
		return Text, 4 * size, big, nil
	case 'S', 'a':
		return Bytes, size, false, nil
	}
	return InvalidType, size, big, nil
}

// literal reads the subset of Python literals that occurs in .npy headers.
type literal struct {
	text string
	at   int
}

func (p *literal) peek() byte {
	for p.at < len(p.text) && strings.IndexByte(" \t\n\r", p.text[p.at]) >= 0 {
		p.at++
	}
	if p.at == len(p.text) {
		return 0
	}
	return p.text[p.at]
}

func (p *literal) accept(c byte) bool {
	if p.peek() != c || p.at == len(p.text) {
		return false
	}
	p.at++
	return true
}

func (p *literal) expect(c byte) error {
	if !p.accept(c) {
		return fmt.Errorf("%q expected at byte %d", c, p.at)
	}
	return nil
}

func (p *literal) str() (string, error) {
	quote := p.peek()
	if quote != '\'' && quote != '"' {
		return "", fmt.Errorf("string expected at byte %d", p.at)
	}
	end := strings.IndexByte(p.text[p.at+1:], quote)
	if end < 0 {
		return "", fmt.Errorf("unterminated string at byte %d", p.at)
	}
	s := p.text[p.at+1 : p.at+1+end]
	if strings.ContainsRune(s, '\\') {
		return "", fmt.Errorf("escape in a string at byte %d", p.at)
	}
	p.at += end + 2
	return s, nil
}

func (p *literal) boolean() (bool, error) {
	p.peek()
	switch rest := p.text[p.at:]; {
	case strings.HasPrefix(rest, "True"):
		p.at += 4
		return true, nil
	case strings.HasPrefix(rest, "False"):
		p.at += 5
		return false, nil
	}
	return false, fmt.Errorf("a boolean expected at byte %d", p.at)
}

func (p *literal) tuple() ([]int, error) {
	if err := p.expect('('); err != nil {
		return nil, err
	}
	shape := []int{}
	for !p.accept(')') {
		p.peek()
		end := p.at
		for end < len(p.text) && p.text[end] >= '0' && p.text[end] <= '9' {
			end++
		}
		n, err := strconv.Atoi(p.text[p.at:end])
		if err != nil {
			return nil, fmt.Errorf("length expected at byte %d", p.at)
		}
		if len(shape) == 64 { // NumPy's own limit
			return nil, fmt.Errorf("more than 64 dimensions")
		}
		shape = append(shape, n)
		p.at = end
		p.accept('L') // written by Python 2
		if !p.accept(',') {
			if err := p.expect(')'); err != nil {
				return nil, err
			}
			break
		}
	}
	return shape, nil
}

// skipBrackets returns the text of a bracketed literal; strings inside may
// hold brackets.
func (p *literal) skipBrackets() (string, error) {
	start, depth := p.at, 0
	for p.at < len(p.text) {
		switch c := p.text[p.at]; c {
		case '[', '(':
			depth++
		case ']', ')':
			if depth--; depth == 0 {
				p.at++
				return p.text[start:p.at], nil
			}
		case '\'', '"':
			end := strings.IndexByte(p.text[p.at+1:], c)
			if end < 0 {
				return "", fmt.Errorf("unterminated string at byte %d", p.at)
			}
			p.at += end + 1
		}
		p.at++
	}
	return "", fmt.Errorf("unbalanced brackets at byte %d", start)
}

// npyHeader returns the header of a C-order array: version 1, or 2 where the
// shape needs it, padded to a multiple of 64 as NumPy does.
func npyHeader(descr string, shape []int) []byte {
	var tuple strings.Builder
	for i, d := range shape {
		if i > 0 {
			tuple.WriteString(", ")
		}
		tuple.WriteString(strconv.Itoa(d))
	}
	if len(shape) == 1 {
		tuple.WriteByte(',')
	}
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, tuple.String())
	const prefix = 10
	total := (prefix + len(text) + 1 + 63) / 64 * 64
	header := make([]byte, 0, total)
	header = append(header, npyMagic...)
	header = append(header, 1, 0)
	header = binary.LittleEndian.AppendUint16(header, uint16(total-prefix))
	header = append(header, text...)
	for len(header) < total-1 {
		header = append(header, ' ')
	}
	return append(header, '\n')
}

// textWidth is the number of code points of the longest string, at least 1.
func textWidth(values []string) int {
	width := 1
	for _, s := range values {
		width = max(width, utf8.RuneCountInString(s))
	}
	return width
}
