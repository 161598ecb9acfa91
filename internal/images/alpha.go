package images

import (
	"image"
	"math/bits"
)

// noteDepth records of a picture with 16 bits a channel how many its largest value needs.
func (p *Picture) noteDepth(largest uint16) { p.Bits = max(1, bits.Len16(largest)) }

// takeAlpha keeps the alpha of pixels whose bytes are step apart, in rows stride apart, if any is not opaque.
func (p *Picture) takeAlpha(pix []uint8, stride, step int) {
	for y := range p.Height {
		row := pix[y*stride : y*stride+(p.Width-1)*step+1]
		for x := range p.Width {
			if a := row[x*step]; a != 255 {
				p.setAlpha(y*p.Width+x, a)
			}
		}
	}
}

func (p *Picture) setAlpha(i int, a uint8) {
	if p.alpha == nil {
		p.alpha = make([]uint8, p.Width*p.Height)
		for i := range p.alpha {
			p.alpha[i] = 255
		}
	}
	p.alpha[i] = a
}

// takeAlphaOf keeps the alpha of an image that convert has converted.
func (p *Picture) takeAlphaOf(img image.Image) {
	switch img := img.(type) {
	case *image.NRGBA:
		p.takeAlpha(img.Pix[3:], img.Stride, 4)
	case *image.RGBA:
		p.takeAlpha(img.Pix[3:], img.Stride, 4)
	case *image.NRGBA64:
		p.takeAlpha(img.Pix[6:], img.Stride, 8)
	case *image.RGBA64:
		p.takeAlpha(img.Pix[6:], img.Stride, 8)
	case *image.NYCbCrA:
		p.takeAlpha(img.A, img.AStride, 1)
	case *image.Paletted:
		var table [256]uint8
		opaque := true
		for i := range table {
			table[i] = 255
			if i < len(img.Palette) {
				_, _, _, a := img.Palette[i].RGBA()
				table[i] = uint8(a >> 8)
			}
			opaque = opaque && table[i] == 255
		}
		for i := 0; i < p.Width*p.Height && !opaque; i++ {
			if a := table[img.Pix[i/p.Width*img.Stride+i%p.Width]]; a != 255 {
				p.setAlpha(i, a)
			}
		}
	case *image.YCbCr, *image.Gray, *image.Gray16, *image.CMYK:
	default:
		for i := range p.Width * p.Height {
			_, _, _, a := img.At(img.Bounds().Min.X+i%p.Width, img.Bounds().Min.Y+i/p.Width).RGBA()
			if a>>8 != 255 {
				p.setAlpha(i, uint8(a>>8))
			}
		}
	}
}

// composite puts the picture on a background, or drops its alpha if that is nil.
// It rounds as Pillow's Image.paste with a mask does.
func (p *Picture) composite(background *[3]uint8) {
	p.Transparent = p.Transparent || p.alpha != nil
	for i, a := range p.alpha {
		if background == nil {
			break
		}
		for channel, b := range background {
			v := &p.Pix[3*i+channel]
			*v = divide255(uint32(*v)*uint32(a) + uint32(b)*uint32(255-a))
		}
	}
	p.alpha = nil
}

// divide255 is v/255, rounded, for v up to 255².
func divide255(v uint32) uint8 {
	v += 128
	return uint8((v>>8 + v) >> 8)
}

// largest16 is the largest of 16-bit big-endian values, of each step bytes the first count values.
func largest16(pix []uint8, step, count int) (largest uint16) {
	for ; len(pix) >= step; pix = pix[step:] {
		for i := range count {
			largest = max(largest, uint16(pix[2*i])<<8|uint16(pix[2*i+1]))
		}
	}
	return largest
}
