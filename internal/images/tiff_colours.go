package images

import (
	"io"
	"math"
)

// converter returns the function that converts a row of samples to RGB, with
// the rounding of Pillow.
func (t *tiffPicture) converter() func(dst []uint8, samples []uint32) {
	switch {
	case t.compression == jpegTIFF && t.photometric == ycbcrTIFF && !t.planar && t.samples == 3:
		return t.rgb // the JPEG decoder has converted it
	case t.photometric == rgbTIFF:
		return t.rgb
	case t.photometric == paletteTIFF:
		return func(dst []uint8, samples []uint32) {
			for x := range t.tileWidth {
				copy(dst[3*x:3*x+3], t.palette[samples[x*t.samples]][:])
			}
		}
	case t.photometric == cmykTIFF:
		return func(dst []uint8, samples []uint32) {
			for x := range t.tileWidth {
				pixel := samples[x*t.samples:]
				white := 255 - uint32(t.eightBits(pixel[3]))
				for channel := range 3 {
					dst[3*x+channel] = uint8(white - multiply255(uint32(t.eightBits(pixel[channel])), white))
				}
			}
		}
	case t.photometric == ycbcrTIFF && t.samples >= 3:
		convert := t.ycbcr()
		return func(dst []uint8, samples []uint32) {
			for x := range t.tileWidth {
				pixel := samples[x*t.samples:]
				convert(dst[3*x:3*x+3], uint8(pixel[0]), uint8(pixel[1]), uint8(pixel[2]))
			}
		}
	case t.photometric == labTIFF:
		return func(dst []uint8, samples []uint32) {
			for x := range t.tileWidth {
				pixel := samples[x*t.samples:]
				labToRGB(dst[3*x:3*x+3], uint8(pixel[0]), uint8(pixel[1])^0x80, uint8(pixel[2])^0x80)
			}
		}
	}
	grey := t.grey()
	return func(dst []uint8, samples []uint32) {
		for x := range t.tileWidth {
			v := grey(samples[x*t.samples:])
			dst[3*x], dst[3*x+1], dst[3*x+2] = v, v, v
		}
	}
}

func (t *tiffPicture) rgb(dst []uint8, samples []uint32) {
	for x := range t.tileWidth {
		pixel := samples[x*t.samples:]
		r, g, b := t.eightBits(pixel[0]), t.eightBits(pixel[1]), t.eightBits(pixel[2])
		if t.premultiplied {
			alpha := t.eightBits(pixel[3])
			if alpha == 0 {
				r, g, b = 0, 0, 0
			}
			r, g, b = unpremultiply(r, g, b, alpha)
		}
		dst[3*x], dst[3*x+1], dst[3*x+2] = r, g, b
	}
}

// eightBits scales an unsigned sample: few bits are stretched, of many the
// highest are kept.
func (t *tiffPicture) eightBits(v uint32) uint8 {
	if t.bits < 8 {
		return uint8(v * 255 / (1<<t.bits - 1))
	}
	return uint8(v >> (t.bits - 8))
}

// grey returns the conversion of a pixel of one colour.
func (t *tiffPicture) grey() func(pixel []uint32) uint8 {
	switch {
	case t.format == floatSamples:
		return func(pixel []uint32) uint8 { return t.cut(float64(math.Float32frombits(pixel[0]))) }
	case t.bits == 32: // Pillow takes unsigned ones for signed
		return func(pixel []uint32) uint8 { return t.cut(float64(int32(pixel[0]))) }
	case t.format == signedSamples && t.bits == 16:
		return func(pixel []uint32) uint8 { return t.cut(float64(int16(pixel[0]))) }
	case t.format == signedSamples:
		return func(pixel []uint32) uint8 {
			t.negative = t.negative || pixel[0] > 127
			return uint8(pixel[0])
		}
	}
	return func(pixel []uint32) uint8 {
		v := t.eightBits(pixel[0])
		if t.premultiplied {
			v, _, _ = unpremultiply(v, v, v, t.eightBits(pixel[1]))
		}
		if t.photometric == whiteIsZero {
			return ^v
		}
		return v
	}
}

// cut is Pillow's conversion of numbers beyond 8 bits: what follows the point is
// dropped, what lies outside 0 … 255 clipped, and not a number is 0.
func (t *tiffPicture) cut(v float64) uint8 {
	if v == v { // a number
		t.low, t.high = min(t.low, v), max(t.high, v)
	}
	switch {
	case v > 255:
		t.clipped = true
		return 255
	case v < 0 || v != v:
		t.clipped = true
		return 0
	}
	whole := uint8(v)
	t.truncate = t.truncate || float64(whole) != v
	return whole
}

// ycbcr returns the conversion of a pixel. Where libtiff does it for Pillow, as
// it does unless the data is uncompressed, the file may declare which codes stand
// for black and white.
func (t *tiffPicture) ycbcr() func(dst []uint8, y, cb, cr uint8) {
	reference := t.rationals(tagReferenceColours)
	full := []float64{0, 255, 128, 255, 128, 255}
	if len(reference) != 6 || t.compression == rawTIFF && t.subsampleX*t.subsampleY == 1 {
		reference = full
	}
	if [6]float64(reference) == [6]float64(full) {
		return func(dst []uint8, y, cb, cr uint8) { jfifRow(dst, []uint8{y}, []uint8{cb}, []uint8{cr}) }
	}
	scale := func(code uint8, black, white, span float64) int32 {
		if white == black {
			white++
		}
		return int32(max(-4096, min((float64(code)-black)*span/(white-black), 4096)))
	}
	return func(dst []uint8, luma, blue, red uint8) {
		y := scale(luma, reference[0], reference[1], 255)
		b := scale(blue, reference[2], reference[3], 127)
		r := scale(red, reference[4], reference[5], 127)
		jfifPixel(dst, y, b, r)
	}
}

func (t *tiffPicture) subsampledRowSize() int {
	return (t.tileWidth + t.subsampleX - 1) / t.subsampleX * (t.subsampleX*t.subsampleY + 2)
}

// decodeSubsampled decodes a chunk of subsampled YCbCr: blocks of luma followed
// by one sample of each chroma, which is repeated as libtiff does (TIFF 6.0,
// section 21).
func (t *tiffPicture) decodeSubsampled(picture *Picture, r io.Reader, x0, y0, width, rows int) error {
	convert := t.ycbcr()
	row := make([]byte, t.subsampledRowSize())
	luma := t.subsampleX * t.subsampleY
	for top := 0; top < rows; top += t.subsampleY {
		if _, err := io.ReadFull(r, row); err != nil {
			return cutShort(err)
		}
		for x := range width {
			block := row[x/t.subsampleX*(luma+2):]
			for y := top; y < min(top+t.subsampleY, rows); y++ {
				start := 3 * ((y0+y)*t.width + x0 + x)
				convert(picture.Pix[start:start+3], block[(y-top)*t.subsampleX+x%t.subsampleX], block[luma], block[luma+1])
			}
		}
	}
	return nil
}
