package images

import (
	"image"
	"image/color"
)

// convert makes a Picture of an image of checked size.
func convert(img image.Image) *Picture {
	picture := convertColours(img)
	picture.takeAlphaOf(img)
	return picture
}

// convertColours is convert without alpha.
func convertColours(img image.Image) *Picture {
	bounds := img.Bounds()
	picture := newPicture(bounds.Dx(), bounds.Dy())
	width := picture.Width
	row := func(y int) []uint8 { return picture.Pix[3*width*y : 3*width*(y+1)] }

	switch img := img.(type) {
	case *image.YCbCr:
		convertYCbCr(picture, img)
	case *image.Gray:
		for y := range picture.Height {
			dst, src := row(y), img.Pix[y*img.Stride:]
			for x := range width {
				v := src[x]
				dst[3*x], dst[3*x+1], dst[3*x+2] = v, v, v
			}
		}
	case *image.Gray16:
		var largest uint16
		for y := range picture.Height {
			dst, src := row(y), img.Pix[y*img.Stride:]
			largest = max(largest, largest16(src[:2*width], 2, 1))
			for x := range width {
				v := src[2*x]
				dst[3*x], dst[3*x+1], dst[3*x+2] = v, v, v
			}
		}
		picture.noteDepth(largest)
	case *image.NRGBA:
		for y := range picture.Height {
			dst, src := row(y), img.Pix[y*img.Stride:]
			for x := range width {
				dst[3*x], dst[3*x+1], dst[3*x+2] = src[4*x], src[4*x+1], src[4*x+2]
			}
		}
	case *image.RGBA:
		for y := range picture.Height {
			dst, src := row(y), img.Pix[y*img.Stride:]
			for x := range width {
				dst[3*x], dst[3*x+1], dst[3*x+2] = unpremultiply(src[4*x], src[4*x+1], src[4*x+2], src[4*x+3])
			}
		}
	case *image.NRGBA64:
		var largest uint16
		for y := range picture.Height {
			dst, src := row(y), img.Pix[y*img.Stride:]
			largest = max(largest, largest16(src[:8*width], 8, 3))
			for x := range width {
				dst[3*x], dst[3*x+1], dst[3*x+2] = src[8*x], src[8*x+2], src[8*x+4]
			}
		}
		picture.noteDepth(largest)
	case *image.RGBA64:
		var largest uint16
		for y := range picture.Height {
			dst, src := row(y), img.Pix[y*img.Stride:]
			largest = max(largest, largest16(src[:8*width], 8, 3))
			for x := range width {
				dst[3*x], dst[3*x+1], dst[3*x+2] = unpremultiply(src[8*x], src[8*x+2], src[8*x+4], src[8*x+6])
			}
		}
		picture.noteDepth(largest)
	case *image.Paletted:
		palette := opaquePalette(img.Palette)
		for y := range picture.Height {
			dst, src := row(y), img.Pix[y*img.Stride:]
			for x := range width {
				copy(dst[3*x:3*x+3], palette[src[x]][:])
			}
		}
	case *image.CMYK:
		for y := range picture.Height {
			dst, src := row(y), img.Pix[y*img.Stride:]
			for x := range width {
				white := 255 - uint32(src[4*x+3])
				for channel := range 3 {
					dst[3*x+channel] = uint8(white - multiply255(uint32(src[4*x+channel]), white))
				}
			}
		}
	default:
		for y := range picture.Height {
			dst := row(y)
			for x := range width {
				r, g, b := opaque(img.At(bounds.Min.X+x, bounds.Min.Y+y))
				dst[3*x], dst[3*x+1], dst[3*x+2] = r, g, b
			}
		}
	}
	return picture
}

// unpremultiply rounds as Pillow's conversion from RGBa does.
func unpremultiply(r, g, b, a uint8) (uint8, uint8, uint8) {
	if a == 255 || a == 0 {
		return r, g, b
	}
	divide := func(v uint8) uint8 { return uint8(min(255*uint32(v)/uint32(a), 255)) }
	return divide(r), divide(g), divide(b)
}

// multiply255 is a·b/255, rounded, for a and b up to 255.
func multiply255(a, b uint32) uint32 {
	v := a*b + 128
	return (v>>8 + v) >> 8
}

// opaquePalette has 256 entries so that no index is out of range; those that
// the file leaves out are black.
func opaquePalette(palette color.Palette) *[256][3]uint8 {
	var table [256][3]uint8
	for i, entry := range palette[:min(len(palette), 256)] {
		table[i][0], table[i][1], table[i][2] = opaque(entry)
	}
	return &table
}

// opaque drops alpha without compositing: colours that Go keeps
// unpremultiplied must not go through Color.RGBA, which loses them where alpha
// is 0.
func opaque(c color.Color) (r, g, b uint8) {
	switch c := c.(type) {
	case color.NRGBA:
		return c.R, c.G, c.B
	case color.NRGBA64:
		return uint8(c.R >> 8), uint8(c.G >> 8), uint8(c.B >> 8)
	case color.RGBA:
		return unpremultiply(c.R, c.G, c.B, c.A)
	case color.NYCbCrA:
		return color.YCbCrToRGB(c.Y, c.Cb, c.Cr)
	}
	n := color.NRGBAModel.Convert(c).(color.NRGBA)
	return n.R, n.G, n.B
}
