package images

import (
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"math/bits"
)

// golang.org/x/image/bmp reads neither 16 bits, nor runs, nor OS/2's headers, nor
// most masks; this decoder reads what Pillow reads, and other masks.

// How the pixels of a BMP file are packed.
const (
	rawBMP         = 0
	runs8BMP       = 1
	runs4BMP       = 2
	masksBMP       = 3
	alphaMasksBMP  = 6
	bmpHeader      = 14
	coreHeader     = 12
	infoHeader     = 40
	maxBMPColours  = 1 << 16
	bmpHeaderSizes = "12, 40, 52, 56, 64, 108, 124"
)

type bmpPicture struct {
	data           []byte
	header         int // size of the information header
	width, height  int
	bits           int
	packing        uint32
	topDown        bool
	palette        [][3]uint8
	masks          [4]uint32 // of red, green, blue and, perhaps, alpha
	pixels         int       // offset
	paletteEntries uint32
}

func decodeBMPConfig(data []byte) (image.Config, error) {
	b, err := readBMP(data)
	if err != nil {
		return image.Config{}, err
	}
	return image.Config{Width: b.width, Height: b.height}, nil
}

// readBMP reads the headers.
func readBMP(data []byte) (*bmpPicture, error) {
	if len(data) < bmpHeader+coreHeader {
		return nil, io.ErrUnexpectedEOF
	}
	word := func(at int) int { return int(binary.LittleEndian.Uint16(data[at:])) }
	long := func(at int) uint32 { return binary.LittleEndian.Uint32(data[at:]) }
	b := &bmpPicture{data: data, header: int(min(long(14), math.MaxInt32))}
	b.pixels = int(min(int64(long(10)), int64(len(data))))
	switch b.header {
	case coreHeader:
		b.width, b.height, b.bits = word(18), word(20), word(24)
		return b, b.checkPacking()
	case infoHeader, 52, 56, 64, 108, 124:
	default:
		return nil, unsupportedError(fmt.Sprintf("BMP with a header of %d bytes (read are %s)", b.header, bmpHeaderSizes))
	}
	if len(data) < bmpHeader+b.header {
		return nil, io.ErrUnexpectedEOF
	}
	height := int64(int32(long(22)))
	b.topDown = height < 0
	if height < 0 {
		height = -height
	}
	b.width, b.height, b.bits = int(int32(long(18))), int(height), word(28)
	b.packing, b.paletteEntries = long(30), long(46)
	return b, b.checkPacking()
}

func (b *bmpPicture) checkPacking() error {
	os2 := b.header == 64
	known := false
	switch b.packing {
	case rawBMP:
		switch b.bits {
		case 1, 2, 4, 8, 16, 24, 32:
			known = true
		}
	case runs8BMP:
		known = b.bits == 8
	case runs4BMP:
		known = b.bits == 4
	case masksBMP, alphaMasksBMP:
		known = !os2 && (b.bits == 16 || b.bits == 32) || b.bits == 24 && b.packing == masksBMP && !os2
	}
	if known {
		return nil
	}
	name := fmt.Sprintf("compression %d", b.packing)
	switch {
	case b.packing == rawBMP:
		name = "no compression"
	case b.packing == 3 && os2:
		name = "OS/2's Huffman compression"
	case b.packing == 4 && os2:
		name = "OS/2's 24-bit runs"
	case b.packing == 4:
		name = "an embedded JPEG"
	case b.packing == 5:
		name = "an embedded PNG"
	}
	return unsupportedError(fmt.Sprintf("BMP of %d bits for each pixel with %s", b.bits, name))
}

// decodeBMP decodes a BMP file of checked size.
func decodeBMP(data []byte) (*Picture, error) {
	b, err := readBMP(data)
	if err != nil {
		return nil, err
	}
	end, err := b.readPalette()
	if err != nil {
		return nil, err
	}
	if b.pixels == 0 || b.pixels == bmpHeader+b.header && b.bits <= 8 {
		b.pixels = end // files that forget their palette
	}
	picture := newPicture(b.width, b.height)
	if b.packing == runs8BMP || b.packing == runs4BMP {
		return picture, b.decodeRuns(picture)
	}
	stride := (b.width*b.bits + 31) / 32 * 4
	rows := b.data[b.pixels:]
	for y := range b.height {
		// The last row may lack its padding.
		if len(rows) < (b.width*b.bits+7)/8 {
			return nil, io.ErrUnexpectedEOF
		}
		b.row(b.line(picture, y), rows)
		b.alpha(picture, y, rows)
		rows = rows[min(stride, len(rows)):]
	}
	return picture, nil
}

// line is the row of the picture that is stored as number y.
func (b *bmpPicture) line(picture *Picture, y int) []uint8 {
	if !b.topDown {
		y = b.height - 1 - y
	}
	return picture.Pix[3*y*b.width : 3*(y+1)*b.width]
}

// readPalette reads the palette or the masks, and returns where they end.
func (b *bmpPicture) readPalette() (end int, err error) {
	end = bmpHeader + b.header
	if b.bits > 8 {
		return end, b.readMasks()
	}
	entry := 4
	if b.header == coreHeader {
		entry = 3
	}
	count := int64(b.paletteEntries)
	if count == 0 {
		count = 1 << b.bits
	}
	if count > maxBMPColours {
		return 0, fmt.Errorf("the BMP declares a palette of %d colours", count)
	}
	b.palette = make([][3]uint8, 256) // what the file leaves out is black
	for i := range min(int(count), len(b.palette)) {
		colour := tail(b.data, uint64(end+i*entry))
		if len(colour) < 3 {
			return 0, io.ErrUnexpectedEOF
		}
		b.palette[i] = [3]uint8{colour[2], colour[1], colour[0]}
	}
	return end + int(count)*entry, nil
}

// readMasks reads which bits of a pixel are red, green and blue.
func (b *bmpPicture) readMasks() error {
	b.masks = [4]uint32{0xff0000, 0xff00, 0xff}
	if b.bits == 16 {
		b.masks = [4]uint32{0x7c00, 0x3e0, 0x1f}
	}
	if b.packing != masksBMP && b.packing != alphaMasksBMP {
		return nil
	}
	count := 3 // with an alpha mask only in longer headers
	if b.header >= 56 || b.packing == alphaMasksBMP {
		count = 4
	}
	masks := b.data[bmpHeader+infoHeader:] // after the shortest header, within longer ones
	if len(masks) < 4*count {
		return io.ErrUnexpectedEOF
	}
	if b.header == infoHeader && b.pixels == 0 {
		b.pixels = bmpHeader + infoHeader + 4*count
	}
	var declared [4]uint32
	for i := range count {
		declared[i] = binary.LittleEndian.Uint32(masks[4*i:])
	}
	if declared == [4]uint32{} && b.bits == 32 { // as Pillow takes them
		b.masks[3] = 0xff000000
		return nil
	}
	for i, mask := range declared {
		if mask == 0 && i < 3 || (mask+mask&-mask)&mask != 0 || b.bits < 32 && mask>>b.bits != 0 {
			return unsupportedError(fmt.Sprintf("BMP with masks %#x", declared))
		}
		b.masks[i] = mask
	}
	return nil
}

// row converts a row of pixels that are stored as they are.
func (b *bmpPicture) row(dst []uint8, src []byte) {
	switch b.bits {
	case 16, 24, 32:
		var tables [3]func(uint32) uint8
		for i, mask := range b.masks[:3] {
			tables[i] = channelOf(mask)
		}
		for x := range b.width {
			pixel := b.pixel(src, x)
			for i, channel := range tables {
				dst[3*x+i] = channel(pixel)
			}
		}
	default:
		for x := range b.width {
			at := x * b.bits
			index := src[at/8] >> (8 - b.bits - at%8) & (1<<b.bits - 1)
			copy(dst[3*x:3*x+3], b.palette[index][:])
		}
	}
}

// pixel is the pixel x of a row, of 16 bits or more.
func (b *bmpPicture) pixel(row []byte, x int) (pixel uint32) {
	for i := range b.bits / 8 {
		pixel |= uint32(row[x*b.bits/8+i]) << (8 * i)
	}
	return pixel
}

// alpha keeps the alpha of the row that is stored as number y.
func (b *bmpPicture) alpha(picture *Picture, y int, row []byte) {
	if b.masks[3] == 0 {
		return
	}
	if !b.topDown {
		y = b.height - 1 - y
	}
	channel := channelOf(b.masks[3])
	for x := range b.width {
		if a := channel(b.pixel(row, x)); a != 255 {
			picture.setAlpha(y*b.width+x, a)
		}
	}
}

// channelOf returns the function that takes a channel of up to 32 bits from a
// pixel; fewer than 8 are stretched, of more the highest are kept.
func channelOf(mask uint32) func(uint32) uint8 {
	shift := bits.TrailingZeros32(mask)
	highest := mask >> shift
	switch {
	case highest == 0xff:
		return func(pixel uint32) uint8 { return uint8(pixel >> shift) }
	case highest > 0xff:
		excess := bits.Len32(highest) - 8
		return func(pixel uint32) uint8 { return uint8(pixel >> shift & highest >> excess) }
	}
	return func(pixel uint32) uint8 { return uint8(pixel >> shift & highest * 255 / highest) }
}

var errBMPRuns = errors.New("the runs of the BMP do not fit its size")

// decodeRuns decodes RLE8 and RLE4. Pixels that are left out have the colour 0.
func (b *bmpPicture) decodeRuns(picture *Picture) error {
	x, y := 0, 0
	put := func(index byte) {
		if x < b.width {
			copy(b.line(picture, y)[3*x:], b.palette[index][:])
			x++
		}
	}
	nibble := func(v byte, i int) byte {
		if b.packing == runs8BMP {
			return v
		}
		if i%2 == 0 {
			return v >> 4
		}
		return v & 15
	}
	for row := range b.height {
		for start := b.line(picture, row); len(start) > 0; start = start[3:] {
			copy(start, b.palette[0][:])
		}
	}
	data := b.data[b.pixels:]
	for y < b.height {
		if len(data) < 2 {
			return io.ErrUnexpectedEOF
		}
		count, value := int(data[0]), data[1]
		data = data[2:]
		switch {
		case count > 0:
			for i := range count {
				put(nibble(value, i))
			}
		case value == 0:
			x, y = 0, y+1
		case value == 1:
			return nil
		case value == 2:
			if len(data) < 2 {
				return io.ErrUnexpectedEOF
			}
			x, y = x+int(data[0]), y+int(data[1])
			if x > b.width {
				return errBMPRuns
			}
			data = data[2:]
		default: // pixels as they are, padded to 16 bits
			size := int(value)
			if b.packing == runs4BMP {
				size = (size + 1) / 2
			}
			if len(data) < size {
				return io.ErrUnexpectedEOF
			}
			for i := range int(value) {
				at := i
				if b.packing == runs4BMP {
					at = i / 2
				}
				put(nibble(data[at], i))
			}
			data = data[min(size+size%2, len(data)):]
		}
	}
	return nil
}
