package images

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Tags of TIFF directories (TIFF 6.0, part 1 to 3, and its technical notes).
const (
	tagSubfileType      = 0x00fe
	tagWidth            = 0x0100
	tagHeight           = 0x0101
	tagBitsPerSample    = 0x0102
	tagCompression      = 0x0103
	tagPhotometric      = 0x0106
	tagFillOrder        = 0x010a
	tagStripOffsets     = 0x0111
	tagOrientation      = 0x0112
	tagSamplesPerPixel  = 0x0115
	tagRowsPerStrip     = 0x0116
	tagStripByteCounts  = 0x0117
	tagPlanar           = 0x011c
	tagFaxOptions       = 0x0124
	tagPredictor        = 0x013d
	tagColourMap        = 0x0140
	tagTileWidth        = 0x0142
	tagTileHeight       = 0x0143
	tagTileOffsets      = 0x0144
	tagTileByteCounts   = 0x0145
	tagExtraSamples     = 0x0152
	tagSampleFormat     = 0x0153
	tagJPEGTables       = 0x015b
	tagYCbCrSubsampling = 0x0212
	tagReferenceColours = 0x0214
	tagXMP              = 0x02bc
)

// directory is the first directory of a TIFF structure, which EXIF is too
// (TIFF 6.0, section 2; Exif 2.32, section 4.6.2; the BigTIFF design).
type directory struct {
	order  binary.ByteOrder
	big    bool
	fields map[uint16]field
	// next is the offset of the next directory, 0 for none.
	next uint64
}

// field is the value of a tag: count items of a type, in the file's byte order.
// It is a part of the file, or nil where the file ends before it.
type field struct {
	kind  uint16
	count uint64
	value []byte
}

var tiffTypeSizes = map[uint16]uint64{
	1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8,
}

// isTIFF also takes the two headers with a wrong order of bytes that Pillow takes.
func isTIFF(data []byte) bool {
	if len(data) < 8 {
		return false
	}
	switch string(data[:4]) {
	case "II*\x00", "MM\x00*", "II\x00*", "MM*\x00", "II+\x00", "MM\x00+":
		return true
	}
	return false
}

// readDirectory reads the first directory. What is cut off at its end is left out.
func readDirectory(data []byte) (directory, error) {
	if !isTIFF(data) {
		return directory{}, errors.New("it has no TIFF header")
	}
	d := directory{order: binary.LittleEndian, big: data[2] == '+' || data[3] == '+'}
	if data[0] == 'M' {
		d.order = binary.BigEndian
	}
	offset := uint64(d.order.Uint32(data[4:]))
	if d.big {
		if len(data) < 16 {
			return directory{}, io.ErrUnexpectedEOF
		}
		if size := d.order.Uint16(data[4:]); size != 8 {
			return directory{}, fmt.Errorf("its BigTIFF header declares offsets of %d bytes, not 8", size)
		}
		offset = d.order.Uint64(data[8:])
	}
	return d, d.read(data, offset)
}

func (d *directory) read(data []byte, offset uint64) error {
	entries := tail(data, offset)
	countSize, entrySize := 2, 12
	if d.big {
		countSize, entrySize = 8, 20
	}
	if len(entries) < countSize {
		return io.ErrUnexpectedEOF
	}
	count := uint64(d.order.Uint16(entries))
	if d.big {
		count = d.order.Uint64(entries)
	}
	entries = entries[countSize:]
	d.fields = make(map[uint16]field, min(count, 64))
	for ; count > 0 && len(entries) >= entrySize; count-- {
		d.entry(data, entries[:entrySize])
		entries = entries[entrySize:]
	}
	if count == 0 && len(entries) >= entrySize-8 {
		d.next = d.offset(entries)
	}
	return nil
}

func (d *directory) offset(b []byte) uint64 {
	if d.big {
		return d.order.Uint64(b)
	}
	return uint64(d.order.Uint32(b))
}

func (d *directory) entry(data, entry []byte) {
	f := field{kind: d.order.Uint16(entry[2:])}
	inline := entry[8:]
	if d.big {
		f.count, inline = d.order.Uint64(entry[4:]), entry[12:]
	} else {
		f.count = uint64(d.order.Uint32(entry[4:]))
	}
	size := tiffTypeSizes[f.kind]
	if size == 0 || f.count == 0 {
		return
	}
	if high := f.count > math.MaxUint32; !high && f.count*size <= uint64(len(inline)) {
		f.value = inline[:f.count*size]
	} else if value := tail(data, d.offset(inline)); !high && f.count*size <= uint64(len(value)) {
		f.value = value[:f.count*size]
	}
	d.fields[d.order.Uint16(entry)] = f
}

// tail is what follows the offset, nothing if that is beyond the end.
func tail(data []byte, offset uint64) []byte {
	return data[min(offset, uint64(len(data))):]
}

// numbers returns the values of a tag of whole numbers; nil if it is missing or
// has another type. It is an error if the file ends before them.
func (d *directory) numbers(tag uint16) ([]uint64, error) {
	f, found := d.fields[tag]
	if !found {
		return nil, nil
	}
	if f.value == nil {
		return nil, io.ErrUnexpectedEOF
	}
	size := tiffTypeSizes[f.kind]
	numbers := make([]uint64, 0, f.count)
	for value := f.value; len(value) > 0; value = value[size:] {
		switch f.kind {
		case 1: // BYTE
			numbers = append(numbers, uint64(value[0]))
		case 3: // SHORT
			numbers = append(numbers, uint64(d.order.Uint16(value)))
		case 4, 13: // LONG, IFD
			numbers = append(numbers, uint64(d.order.Uint32(value)))
		case 16, 18: // LONG8, IFD8
			numbers = append(numbers, d.order.Uint64(value))
		default:
			return nil, nil
		}
	}
	return numbers, nil
}

// number returns the first value of a tag, or a default if it is missing. Numbers
// beyond 31 bits are cut to that.
func (d *directory) number(tag uint16, missing int) (int, error) {
	numbers, err := d.numbers(tag)
	if err != nil || len(numbers) == 0 {
		return missing, err
	}
	return int(min(numbers[0], math.MaxInt32)), nil
}

// rationals returns the values of a tag of fractions, nil where there are none.
func (d *directory) rationals(tag uint16) []float64 {
	f := d.fields[tag]
	if f.kind != 5 {
		return nil
	}
	var values []float64
	for value := f.value; len(value) > 0; value = value[8:] {
		values = append(values, float64(d.order.Uint32(value))/float64(d.order.Uint32(value[4:])))
	}
	return values
}
