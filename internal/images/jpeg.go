package images

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"io"
)

// JPEG is decoded by the standard library where it decodes what libjpeg does. It refuses other sampling factors than
// the common ones, and repeats subsampled samples in pictures of four components and of RGB, where libjpeg, and so
// Pillow, interpolates them; and it stumbles over restart markers in progressive files. These are decoded by
// jpegDecoder, in libjpeg's arithmetic (ITU-T T.81).

// Markers (T.81, table B.1).
const (
	markerSOF0  = 0xc0 // baseline
	markerSOF1  = 0xc1 // extended sequential
	markerSOF2  = 0xc2 // progressive
	markerDHT   = 0xc4
	markerRST0  = 0xd0
	markerRST7  = 0xd7
	markerEOI   = 0xd9
	markerSOS   = 0xda
	markerDQT   = 0xdb
	markerDRI   = 0xdd
	markerAPP0  = 0xe0
	markerAPP14 = 0xee
)

// jpegComponent is a component of a frame and, while it is decoded, its coefficients.
type jpegComponent struct {
	id            byte
	h, v          int // sampling factors
	table         byte
	width, height int // in samples, without padding
	across, down  int // in blocks, padded to whole MCUs
	quantization  *[64]uint16
	coefficients  [][64]int16
}

// jpegFrame is a frame header.
type jpegFrame struct {
	marker        byte
	width, height int
	maxH, maxV    int
	components    []jpegComponent
}

// parseFrame reads a frame header (T.81, B.2.2).
func parseFrame(marker byte, segment []byte) (*jpegFrame, error) {
	if len(segment) < 6 || len(segment) != 6+3*int(segment[5]) {
		return nil, jpeg.FormatError("SOF has wrong length")
	}
	if segment[0] != 8 {
		return nil, jpeg.UnsupportedError("precision")
	}
	count := int(segment[5])
	if count != 1 && count != 3 && count != 4 {
		return nil, jpeg.UnsupportedError("number of components")
	}
	f := &jpegFrame{
		marker: marker, height: int(segment[1])<<8 | int(segment[2]), width: int(segment[3])<<8 | int(segment[4]),
		components: make([]jpegComponent, count),
	}
	for i := range f.components {
		spec := segment[6+3*i:]
		c := &f.components[i]
		c.id, c.h, c.v, c.table = spec[0], int(spec[1]>>4), int(spec[1]&15), spec[2]
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 {
			return nil, jpeg.FormatError("luma/chroma subsampling ratio")
		}
		if c.table > 3 {
			return nil, jpeg.FormatError("bad Tq value")
		}
		for _, other := range f.components[:i] {
			if other.id == c.id {
				return nil, jpeg.FormatError("repeated component identifier")
			}
		}
		f.maxH, f.maxV = max(f.maxH, c.h), max(f.maxV, c.v)
	}
	mcusAcross, mcusDown := ceilDiv(f.width, 8*f.maxH), ceilDiv(f.height, 8*f.maxV)
	for i := range f.components {
		c := &f.components[i]
		if f.maxH%c.h != 0 || f.maxV%c.v != 0 {
			return nil, jpeg.UnsupportedError("sampling factors whose ratio is no whole number")
		}
		c.width, c.height = ceilDiv(f.width*c.h, f.maxH), ceilDiv(f.height*c.v, f.maxV)
		c.across, c.down = mcusAcross*c.h, mcusDown*c.v
	}
	return f, nil
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// jpegColours are what the components mean.
type jpegColours int

const (
	colourGrey jpegColours = iota
	colourYCbCr
	colourRGB
	colourCMYK
	colourYCCK
)

// jpegMarks are what application segments say about colours.
type jpegMarks struct {
	jfif  bool
	adobe int // the transform of an Adobe segment, or -1
}

func (m *jpegMarks) note(marker byte, segment []byte) {
	switch {
	case marker == markerAPP0 && len(segment) >= 5:
		m.jfif = bytes.HasPrefix(segment, []byte("JFIF\x00"))
	case marker == markerAPP14 && len(segment) >= 12 && bytes.HasPrefix(segment, []byte("Adobe")):
		m.adobe = int(segment[11])
	}
}

// colours guesses as libjpeg does.
func (f *jpegFrame) colours(m jpegMarks) jpegColours {
	switch len(f.components) {
	case 1:
		return colourGrey
	case 4:
		if m.adobe > 0 {
			return colourYCCK
		}
		return colourCMYK
	}
	ids := []byte{f.components[0].id, f.components[1].id, f.components[2].id}
	if !m.jfif && (m.adobe == 0 || m.adobe < 0 && string(ids) == "RGB") {
		return colourRGB
	}
	return colourYCbCr
}

// common tells whether the standard library decodes the frame as libjpeg does.
func (f *jpegFrame) common(colours jpegColours) bool {
	first := f.components[0]
	equal, single := true, true // all factors; those after the first
	for _, c := range f.components[1:] {
		equal = equal && c.h == first.h && c.v == first.v
		single = single && c.h == 1 && c.v == 1
	}
	if first.h == 3 || first.v == 3 || first.v == 4 && len(f.components) > 1 {
		return false
	}
	switch colours {
	case colourGrey:
		return true
	case colourYCbCr:
		return equal || single
	case colourRGB:
		return equal
	default:
		return equal && single
	}
}

// uncommonJPEG returns the frame header of a file that jpegDecoder decodes, else nil. A header that is wrong, or that
// comes after bytes that do not belong there, is left to the standard library.
func uncommonJPEG(data []byte) *jpegFrame {
	marks := jpegMarks{adobe: -1}
	var frame *jpegFrame
	for marker, segment := range segments(data) {
		marks.note(marker, segment)
		if marker >= markerSOF0 && marker <= markerSOF2 && frame == nil {
			var err error
			if frame, err = parseFrame(marker, segment); err != nil {
				return nil
			}
		}
	}
	if frame == nil || frame.common(frame.colours(marks)) {
		return nil
	}
	return frame
}

func jpegConfig(data []byte) (image.Config, error) {
	if frame := uncommonJPEG(data); frame != nil {
		return image.Config{Width: frame.width, Height: frame.height}, nil
	}
	return jpeg.DecodeConfig(bytes.NewReader(data))
}

func decodeJPEG(data []byte, config image.Config) (*Picture, error) {
	own := jpegDecoder{data: data, at: 2, marks: jpegMarks{adobe: -1}}
	if uncommonJPEG(data) != nil {
		return own.decode()
	}
	if config.ColorModel == color.CMYKModel {
		data = withAdobeSegment(data)
	}
	img, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		// The standard library counts restart intervals wrongly in scans of one component, as progressive files have.
		if picture, cause := own.decode(); cause == nil {
			return picture, nil
		}
		return nil, err
	}
	return convert(img), nil
}

// jpegDecoder decodes a file of checked size.
type jpegDecoder struct {
	data         []byte
	at           int
	marks        jpegMarks
	frame        *jpegFrame
	quantization [4]*[64]uint16
	huffman      [2][4]*huffmanTable // of DC and AC
	interval     int                 // of restarts, in MCUs; 0 for none
	scans        int

	bits  uint64 // the lowest count bits are not used yet
	count int
}

// maxScans is far above what encoders write; each scan may go through the whole picture.
const maxScans = 100

func (d *jpegDecoder) decode() (*Picture, error) {
	for {
		marker, err := d.marker()
		if err != nil {
			return nil, err
		}
		if marker == markerEOI {
			break
		}
		if marker == 0x01 || marker >= markerRST0 && marker <= markerRST7 {
			continue
		}
		segment, err := d.segment()
		if err != nil {
			return nil, err
		}
		if err := d.process(marker, segment); err != nil {
			return nil, err
		}
	}
	if d.scans == 0 {
		return nil, jpeg.FormatError("missing SOS marker")
	}
	return d.picture()
}

// marker reads up to the next marker, whatever comes before it, as libjpeg does.
func (d *jpegDecoder) marker() (byte, error) {
	for d.at+1 < len(d.data) {
		next := d.data[d.at+1]
		if d.data[d.at] == 0xff && next != 0 && next != 0xff {
			d.at += 2
			return next, nil
		}
		d.at++
	}
	return 0, io.ErrUnexpectedEOF
}

func (d *jpegDecoder) segment() ([]byte, error) {
	if d.at+2 > len(d.data) {
		return nil, io.ErrUnexpectedEOF
	}
	length := int(d.data[d.at])<<8 | int(d.data[d.at+1])
	if length < 2 {
		return nil, jpeg.FormatError("short segment length")
	}
	if d.at+length > len(d.data) {
		return nil, io.ErrUnexpectedEOF
	}
	segment := d.data[d.at+2 : d.at+length]
	d.at += length
	return segment, nil
}

func (d *jpegDecoder) process(marker byte, segment []byte) (err error) {
	switch {
	case marker >= markerSOF0 && marker <= markerSOF2:
		if d.frame != nil {
			return jpeg.FormatError("multiple SOF markers")
		}
		if d.frame, err = parseFrame(marker, segment); err == nil {
			err = checkSize("frame", d.frame.width, d.frame.height, len(d.data))
		}
		return err
	case marker == markerDHT:
		return d.defineHuffman(segment)
	case marker == markerDQT:
		return d.defineQuantization(segment)
	case marker == markerDRI:
		if len(segment) != 2 {
			return jpeg.FormatError("DRI has wrong length")
		}
		d.interval = int(segment[0])<<8 | int(segment[1])
		return nil
	case marker == markerSOS:
		return d.scan(segment)
	case marker >= markerAPP0 && marker <= 0xef || marker == 0xfe:
		d.marks.note(marker, segment)
		return nil
	}
	return jpeg.UnsupportedError("unknown marker")
}

// defineQuantization is T.81, B.2.4.1. Tables are kept in natural order; a component keeps the one of its first scan.
func (d *jpegDecoder) defineQuantization(segment []byte) error {
	for len(segment) > 0 {
		wide, number := int(segment[0]>>4), segment[0]&15
		segment = segment[1:]
		if wide > 1 || number > 3 || len(segment) < 64*(1+wide) {
			return jpeg.FormatError("bad quantization table")
		}
		table := new([64]uint16)
		for i := range table {
			if wide == 1 {
				table[zigzag[i]] = uint16(segment[2*i])<<8 | uint16(segment[2*i+1])
			} else {
				table[zigzag[i]] = uint16(segment[i])
			}
		}
		d.quantization[number] = table
		segment = segment[64*(1+wide):]
	}
	return nil
}

// zigzag gives the natural position of the coefficients (T.81, figure A.6).
var zigzag = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}
