package images

import (
	"bytes"
	"errors"
	"io"
	"math/bits"
	"strings"
	"sync"
)

// golang.org/x/image/ccitt reads one-dimensional Group 3 and Group 4; Pillow also
// writes runs without ends of lines and two-dimensional Group 3.

const (
	faxCodeBits = 13 // of the longest code of a run
	maxFaxFill  = 1 << 14
)

// faxCode is the run that a code stands for; length 0 for none.
type faxCode struct{ run, length int16 }

// faxTables tell the run of each colour, white first, by the next 13 bits.
var faxTables = sync.OnceValue(func() *[2][1 << faxCodeBits]faxCode {
	tables := new([2][1 << faxCodeBits]faxCode)
	add := func(table int, code string, run int) {
		value := 0
		for _, bit := range code {
			value = value<<1 | int(bit-'0')
		}
		rest := faxCodeBits - len(code)
		for i := range 1 << rest {
			tables[table][value<<rest|i] = faxCode{run: int16(run), length: int16(len(code))}
		}
	}
	for table, codes := range []string{faxWhite, faxBlack} {
		for i, code := range strings.Fields(codes) {
			add(table, code, max(i, 64*(i-63)))
		}
		for i, code := range strings.Fields(faxLong) {
			add(table, code, 1792+64*i)
		}
	}
	return tables
})

var errFax = errors.New("the fax data is damaged")

// faxReader decodes rows of ITU-T T.4 and T.6.
type faxReader struct {
	data  []byte
	at    int // in bits
	width int
	// changes are the positions where the colour changes, from white on, in the
	// row being decoded, and before those of the one above.
	changes, before []int
}

// peek returns the next count bits, up to 24; beyond the end they are 0.
func (r *faxReader) peek(count int) int {
	var v uint32
	for i := range 4 {
		v <<= 8
		if at := r.at/8 + i; at < len(r.data) {
			v |= uint32(r.data[at])
		}
	}
	return int(v << (r.at % 8) >> (32 - count))
}

func (r *faxReader) ended() bool { return r.at >= 8*len(r.data) }

// decodeFax returns the rows as packed bits, 1 for black.
func (t *tiffPicture) decodeFax(data []byte, rows int) (io.Reader, error) {
	if t.faxOptions&2 != 0 && t.compression == fax3 {
		return nil, unsupportedError("TIFF of fax data with uncompressed parts")
	}
	r := &faxReader{data: data, width: t.tileWidth}
	size := t.rowSize()
	out := make([]byte, size*rows)
	for y := range rows {
		r.changes, r.before = r.before[:0], r.changes
		if err := r.row(t.compression, t.faxOptions&1 != 0); err != nil {
			return nil, err
		}
		black(out[y*size:(y+1)*size], r.changes, r.width)
	}
	return bytes.NewReader(out), nil
}

func (r *faxReader) row(compression int, twoDimensional bool) error {
	switch compression {
	case fax4:
		return r.row2D()
	case fax3:
		found, err := r.endOfLine()
		if err != nil {
			return err
		}
		if twoDimensional && found {
			if r.at++; r.data[min((r.at-1)/8, len(r.data)-1)]>>(7-(r.at-1)%8)&1 == 0 {
				return r.row2D()
			}
		}
		return r.row1D()
	case faxRLEWords:
		r.at = (r.at + 15) &^ 15
	default:
		r.at = (r.at + 7) &^ 7
	}
	return r.row1D()
}

// endOfLine reads the end of the line before, with its fill, if there is one.
func (r *faxReader) endOfLine() (found bool, err error) {
	if r.peek(11) != 0 {
		return false, nil
	}
	start := r.at
	for r.peek(8) == 0 {
		if r.ended() {
			return false, io.ErrUnexpectedEOF
		}
		if r.at += 8; r.at-start > maxFaxFill {
			return false, errFax
		}
	}
	r.at += bits.LeadingZeros8(uint8(r.peek(8))) + 1
	return true, nil
}

// run reads the length of a run of a colour.
func (r *faxReader) run(colour int) (int, error) {
	total := 0
	for {
		code := faxTables()[colour][r.peek(faxCodeBits)]
		if r.ended() {
			return 0, io.ErrUnexpectedEOF
		}
		if code.length == 0 {
			return 0, errFax
		}
		r.at += int(code.length)
		total += int(code.run)
		if total > r.width {
			return 0, errFax
		}
		if code.run < 64 {
			return total, nil
		}
	}
}

func (r *faxReader) row1D() error {
	position, colour := 0, 0
	for position < r.width {
		length, err := r.run(colour)
		if err != nil {
			return err
		}
		if position += length; position > r.width {
			return errFax
		}
		r.changes = append(r.changes, position)
		colour ^= 1
	}
	return nil
}

// above returns the next changes of the row above, b1 and b2 of T.4, for the
// position a0 and its colour. from is where to look first.
func (r *faxReader) above(a0, colour, from int) (b1, b2, index int) {
	at := func(i int) int {
		if i < len(r.before) {
			return r.before[i]
		}
		return r.width
	}
	for index = max(0, from-2); index < len(r.before); index++ {
		if r.before[index] > a0 && index%2 == colour {
			break
		}
	}
	return at(index), at(index + 1), index
}

func (r *faxReader) row2D() error {
	a0, colour, from := -1, 0, 0
	for max(a0, 0) < r.width {
		var b1, b2 int
		b1, b2, from = r.above(a0, colour, from)
		mode := r.peek(7)
		if r.ended() {
			return io.ErrUnexpectedEOF
		}
		to := b1
		switch {
		case mode>>6 == 1: // vertical, without shift
			r.at++
		case mode>>4 == 3:
			r.at, to = r.at+3, b1+1
		case mode>>1 == 3:
			r.at, to = r.at+6, b1+2
		case mode == 3:
			r.at, to = r.at+7, b1+3
		case mode>>4 == 2:
			r.at, to = r.at+3, b1-1
		case mode>>1 == 2:
			r.at, to = r.at+6, b1-2
		case mode == 2:
			r.at, to = r.at+7, b1-3
		case mode>>3 == 1: // pass
			r.at += 4
			a0 = b2
			continue
		case mode>>4 == 1: // horizontal
			r.at += 3
			for range 2 {
				length, err := r.run(colour)
				if err != nil {
					return err
				}
				if a0 = max(a0, 0) + length; a0 > r.width {
					return errFax
				}
				r.changes = append(r.changes, a0)
				colour ^= 1
			}
			continue
		default:
			return errFax
		}
		if to < max(a0, 0) || to > r.width {
			return errFax
		}
		a0 = to
		r.changes = append(r.changes, a0)
		colour ^= 1
	}
	return nil
}

// black sets the bits of the black runs.
func black(row []byte, changes []int, width int) {
	for i := 0; i < len(changes); i += 2 {
		end := width
		if i+1 < len(changes) {
			end = changes[i+1]
		}
		for x := changes[i]; x < end; x++ {
			row[x/8] |= 0x80 >> (x % 8)
		}
	}
}
