package images

import (
	"bytes"
	"encoding/binary"
	"iter"
	"regexp"
)

// segments yields the marker segments of a JPEG file before its first scan.
func segments(data []byte) iter.Seq2[byte, []byte] {
	return func(yield func(byte, []byte) bool) {
		for offset := 2; offset+4 <= len(data) && data[offset] == 0xff; {
			marker := data[offset+1]
			if marker == 0xff { // fill byte
				offset++
				continue
			}
			if marker == 0x01 || marker >= 0xd0 && marker <= 0xd7 { // without a length
				offset += 2
				continue
			}
			length := int(binary.BigEndian.Uint16(data[offset+2:]))
			end := offset + 2 + length
			if marker == 0xd9 || marker == 0xda || length < 2 || end > len(data) {
				return
			}
			if !yield(marker, data[offset+4:end]) {
				return
			}
			offset = end
		}
	}
}

// withAdobeSegment inserts an Adobe segment into a four-channel JPEG that has
// none: such files are plain CMYK to libjpeg, but an error to Go's decoder.
func withAdobeSegment(data []byte) []byte {
	for marker, segment := range segments(data) {
		if marker == 0xee && bytes.HasPrefix(segment, []byte("Adobe")) {
			return data
		}
	}
	adobe := "\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
	return bytes.Join([][]byte{data[:2], []byte(adobe), data[2:]}, nil)
}

// orientation finds the EXIF orientation of a picture file, or where EXIF has
// none that of XMP, as Pillow does. It is 1 if there is none or it makes no sense.
func orientation(format string, data []byte) int {
	var exif, xmp []byte
	switch format {
	case JPEG:
		for marker, segment := range segments(data) {
			if marker != 0xe1 {
				continue
			}
			if block, ok := bytes.CutPrefix(segment, []byte("Exif\x00\x00")); ok && exif == nil {
				exif = block
			}
			if block, ok := bytes.CutPrefix(segment, []byte("http://ns.adobe.com/xap/1.0/\x00")); ok && xmp == nil {
				xmp = block
			}
		}
	case PNG:
		for c := range pngChunks(data) {
			if c.kind == "eXIf" && c.sound {
				exif = c.data
			}
			if block, ok := bytes.CutPrefix(c.data, []byte("XML:com.adobe.xmp\x00\x00")); ok && c.kind == "iTXt" && c.sound {
				xmp = block
			}
		}
	case WebP:
		for c := range webpChunks(data[min(12, len(data)):]) {
			switch c.kind {
			case "EXIF":
				exif = bytes.TrimPrefix(c.data, []byte("Exif\x00\x00"))
			case "XMP ":
				xmp = c.data
			}
		}
	case TIFF:
		exif = data
		if d, err := readDirectory(data); err == nil {
			xmp = d.fields[tagXMP].value
		}
	}
	value, found := tiffTag(exif, tagOrientation)
	if !found {
		value = xmpOrientation(xmp)
	}
	if value < 1 || value > 8 {
		return 1
	}
	return value
}

var xmpPattern = regexp.MustCompile(`tiff:Orientation(?:="|>)([0-9])`)

func xmpOrientation(xmp []byte) int {
	if match := xmpPattern.FindSubmatch(xmp); match != nil {
		return int(match[1][0] - '0')
	}
	return 1
}

// tiffTag reads a number from the first directory of a TIFF structure.
func tiffTag(data []byte, tag uint16) (value int, found bool) {
	d, err := readDirectory(data)
	if err != nil || d.fields[tag].count != 1 {
		return 0, false
	}
	numbers, err := d.numbers(tag)
	if err != nil || len(numbers) != 1 {
		return 0, false
	}
	return int(min(numbers[0], 1<<16)), true
}

// upright applies the orientation. It returns p itself if there is none.
func (p *Picture) upright() *Picture {
	if p.Orientation <= 1 || p.Orientation > 8 {
		return p
	}
	// Where a pixel of the upright picture comes from: axes exchanged, then mirrored.
	var swap, mirrorX, mirrorY bool
	switch p.Orientation {
	case 2:
		mirrorX = true
	case 3:
		mirrorX, mirrorY = true, true
	case 4:
		mirrorY = true
	case 5:
		swap = true
	case 6:
		swap, mirrorY = true, true
	case 7:
		swap, mirrorX, mirrorY = true, true, true
	case 8:
		swap, mirrorX = true, true
	}
	width, height := p.Width, p.Height
	if swap {
		width, height = height, width
	}
	turned := newPicture(width, height)
	turned.Format, turned.Transparent, turned.Animated = p.Format, p.Transparent, p.Animated
	turned.Bits, turned.Notice = p.Bits, p.Notice
	for y := range height {
		for x := range width {
			fromX, fromY := x, y
			if swap {
				fromX, fromY = y, x
			}
			if mirrorX {
				fromX = p.Width - 1 - fromX
			}
			if mirrorY {
				fromY = p.Height - 1 - fromY
			}
			from, to := 3*(fromY*p.Width+fromX), 3*(y*width+x)
			copy(turned.Pix[to:to+3], p.Pix[from:from+3])
		}
	}
	return turned
}
