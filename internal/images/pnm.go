package images

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
)

// Netpbm's formats (its manual pages pbm, pgm and ppm): "P1" to "P3" in decimal digits, "P4" to "P6" in binary.
// Values are scaled to the full range of 8 bits, or of 16 bits for grey, as Pillow scales them.

var errPNM = errors.New("the PNM data is damaged")

// pnmHeader is what comes before the pixels.
type pnmHeader struct {
	kind          byte // '1' to '6'
	width, height int
	largest       int // the value that stands for white
	start         int // of the pixels
}

func (h *pnmHeader) channels() int {
	if h.kind == '3' || h.kind == '6' {
		return 3
	}
	return 1
}

// isPNM tells whether data begins as a PNM file does.
func isPNM(data []byte) bool {
	return len(data) > 2 && data[0] == 'P' && data[1] >= '1' && data[1] <= '6' && (isSpace(data[2]) || data[2] == '#')
}

func isSpace(b byte) bool { return b == ' ' || b >= '\t' && b <= '\r' }

// pnmTokens reads words, without comments, which begin with # and end with their line.
type pnmTokens struct {
	data []byte
	at   int
}

// skip goes to the next byte that is neither white space nor in a comment.
func (t *pnmTokens) skip() error {
	for ; t.at < len(t.data); t.at++ {
		switch b := t.data[t.at]; {
		case b == '#':
			end := bytes.IndexAny(t.data[t.at:], "\r\n")
			if end < 0 {
				return io.ErrUnexpectedEOF
			}
			t.at += end
		case !isSpace(b):
			return nil
		}
	}
	return io.ErrUnexpectedEOF
}

// number reads a decimal number.
func (t *pnmTokens) number() (int, error) {
	if err := t.skip(); err != nil {
		return 0, err
	}
	n, start := 0, t.at
	for ; t.at < len(t.data) && t.data[t.at] >= '0' && t.data[t.at] <= '9'; t.at++ {
		if n = 10*n + int(t.data[t.at]-'0'); n > 1<<30 {
			return 0, fmt.Errorf("%w: a number that is too large at byte %d", errPNM, start)
		}
	}
	if t.at == start || t.at < len(t.data) && !isSpace(t.data[t.at]) && t.data[t.at] != '#' {
		return 0, fmt.Errorf("%w: no number at byte %d", errPNM, start)
	}
	return n, nil
}

func parsePNM(data []byte) (*pnmHeader, error) {
	t := pnmTokens{data, 2}
	h := &pnmHeader{kind: data[1], largest: 1}
	numbers := []*int{&h.width, &h.height, &h.largest}
	if h.kind == '1' || h.kind == '4' {
		numbers = numbers[:2]
	}
	for _, n := range numbers {
		var err error
		if *n, err = t.number(); err != nil {
			return nil, err
		}
	}
	if h.largest < 1 || h.largest > math.MaxUint16 {
		return nil, fmt.Errorf("%w: the largest value is %d, which is not 1 to 65535", errPNM, h.largest)
	}
	h.start = t.at
	if h.kind >= '4' {
		h.start++ // one white space
	}
	return h, nil
}

func pnmConfig(data []byte) (image.Config, error) {
	h, err := parsePNM(data)
	if err != nil {
		return image.Config{}, err
	}
	return image.Config{Width: h.width, Height: h.height}, nil
}

// decodePNM decodes a file of checked size.
func decodePNM(data []byte) (*Picture, error) {
	h, err := parsePNM(data)
	if err != nil {
		return nil, err
	}
	data = data[min(h.start, len(data)):]
	samples := h.width * h.height * h.channels()
	next, needed := pnmReader(h, data)
	if needed > len(data) {
		return nil, io.ErrUnexpectedEOF
	}
	deep := h.largest > math.MaxUint8 && h.channels() == 1
	full := math.MaxUint8
	if deep {
		full = math.MaxUint16
	}
	scale := make([]uint16, h.largest+1)
	for v := range scale {
		scale[v] = uint16(math.RoundToEven(float64(v) / float64(h.largest) * float64(full)))
	}
	picture := newPicture(h.width, h.height)
	brightest, clipped := uint16(0), false
	for i := range samples {
		v, err := next()
		if err != nil {
			return nil, err
		}
		clipped = clipped || v > h.largest
		value := scale[min(v, h.largest)]
		brightest = max(brightest, value)
		if deep {
			value >>= 8
		}
		if h.channels() == 3 {
			picture.Pix[i] = uint8(value)
		} else {
			picture.Pix[3*i], picture.Pix[3*i+1], picture.Pix[3*i+2] = uint8(value), uint8(value), uint8(value)
		}
	}
	if deep {
		picture.noteDepth(brightest)
	}
	if clipped {
		picture.Notice = fmt.Sprintf("values above the largest that it declares, %d, are cut off", h.largest)
	}
	return picture, nil
}

// pnmReader returns what reads the samples, and the least number of bytes that they take.
func pnmReader(h *pnmHeader, data []byte) (next func() (int, error), needed int) {
	samples := h.width * h.height * h.channels()
	t := pnmTokens{data: data}
	at, x := 0, 0
	switch {
	case h.kind == '1': // digits need no space between them; 1 is black
		return func() (int, error) {
			if err := t.skip(); err != nil {
				return 0, err
			}
			b := t.data[t.at]
			t.at++
			if b != '0' && b != '1' {
				return 0, fmt.Errorf("%w: %q where 0 or 1 should be", errPNM, b)
			}
			return int('1' - b), nil
		}, samples
	case h.kind <= '3':
		return func() (int, error) {
			v, err := t.number()
			if err == nil && v > h.largest {
				err = fmt.Errorf("%w: the value %d is above the largest, %d", errPNM, v, h.largest)
			}
			return v, err
		}, 2*samples - 1
	case h.kind == '4': // rows of bits, padded to bytes; 1 is black
		row := (h.width + 7) / 8
		return func() (int, error) {
			bit := data[at+x/8] >> (7 - x%8) & 1
			if x++; x == h.width {
				at, x = at+row, 0
			}
			return int(1 - bit), nil
		}, row * h.height
	case h.largest > math.MaxUint8:
		return func() (int, error) {
			at += 2
			return int(data[at-2])<<8 | int(data[at-1]), nil
		}, 2 * samples
	}
	return func() (int, error) {
		at++
		return int(data[at-1]), nil
	}, samples
}
