package images

import "image"

// Go's decoders return chroma as stored and its colour model repeats the
// nearest sample. libjpeg and libwebp, and so Pillow, interpolate it with the
// weights 9:3:3:1 (4:2:0) or 3:1 (4:2:2, 4:4:0); at edges between colours the
// two differ by tens of grey levels. The rounding below is theirs.

// convertYCbCr fills picture with a JFIF image: full range, BT.601.
func convertYCbCr(picture *Picture, img *image.YCbCr) {
	width := picture.Width
	plane := chroma{width: width, height: picture.Height, stride: img.CStride}
	cb, cr := make([]uint8, width+1), make([]uint8, width+1)
	var interpolate func(dst, pix []uint8, y int)
	switch img.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		interpolate = plane.row422
	case image.YCbCrSubsampleRatio420:
		interpolate = plane.row420
	case image.YCbCrSubsampleRatio440:
		interpolate = plane.row440
	}
	if img.Rect.Min.X != 0 || img.Rect.Min.Y != 0 {
		// Only a caller's SubImage starts elsewhere; its chroma may start within a sample.
		interpolate = nil
	}
	for y := range picture.Height {
		start := img.YOffset(img.Rect.Min.X, img.Rect.Min.Y+y)
		luma := img.Y[start : start+width]
		rowCb, rowCr := cb[:width], cr[:width]
		switch {
		case interpolate != nil:
			interpolate(cb, img.Cb, y)
			interpolate(cr, img.Cr, y)
		case img.SubsampleRatio == image.YCbCrSubsampleRatio444:
			start := img.COffset(img.Rect.Min.X, img.Rect.Min.Y+y)
			rowCb, rowCr = img.Cb[start:start+width], img.Cr[start:start+width]
		default:
			for x := range width {
				i := img.COffset(img.Rect.Min.X+x, img.Rect.Min.Y+y)
				rowCb[x], rowCr[x] = img.Cb[i], img.Cr[i]
			}
		}
		jfifRow(picture.Pix[3*width*y:3*width*(y+1)], luma, rowCb, rowCr)
	}
}

// jfifRow is ITU-T T.871, section 7, in libjpeg's 16-bit fixed point.
func jfifRow(dst, luma, cb, cr []uint8) {
	cb, cr = cb[:len(luma)], cr[:len(luma)]
	dst = dst[:3*len(luma)]
	for x, v := range luma {
		jfifPixel(dst[:3:3], int32(v), int32(cb[x])-128, int32(cr[x])-128)
		dst = dst[3:]
	}
}

// jfifPixel converts a pixel; chroma is without its offset.
func jfifPixel(pixel []uint8, y, b, r int32) {
	const half = 1 << 15
	pixel[0] = clamp(y + (91881*r+half)>>16)
	pixel[1] = clamp(y + (half-22554*b-46802*r)>>16)
	pixel[2] = clamp(y + (116130*b+half)>>16)
}

func clamp(v int32) uint8 {
	if uint32(v) > 255 {
		return uint8(^(v >> 31))
	}
	return uint8(v)
}

// chroma is the geometry of subsampled planes; width and height are the
// picture's.
type chroma struct{ width, height, stride int }

func (c chroma) row(pix []uint8, y, width int) []uint8 {
	return pix[y*c.stride : y*c.stride+width]
}

// neighbours gives the chroma row that covers row y of the picture and the
// next nearest one, which at the top and bottom is the same.
func (c chroma) neighbours(y int) (near, far int) {
	near, far = y/2, y/2+1
	if y%2 == 0 {
		far = near - 1
	}
	return near, max(0, min(far, (c.height+1)/2-1))
}

// row422 interpolates between columns. dst has room for an even number of pixels.
func (c chroma) row422(dst, pix []uint8, y int) {
	width := (c.width + 1) / 2
	src := c.row(pix, y, width)
	if width <= 2 {
		repeat(dst, src, c.width)
		return
	}
	last := width - 1
	dst[0] = src[0]
	dst[1] = uint8((3*uint32(src[0]) + uint32(src[1]) + 2) >> 2)
	for i := 1; i < last; i++ {
		v := 3 * uint32(src[i])
		dst[2*i] = uint8((v + uint32(src[i-1]) + 1) >> 2)
		dst[2*i+1] = uint8((v + uint32(src[i+1]) + 2) >> 2)
	}
	dst[2*last] = uint8((3*uint32(src[last]) + uint32(src[last-1]) + 1) >> 2)
	if 2*last+1 < c.width {
		dst[2*last+1] = src[last]
	}
}

// row440 interpolates between rows.
func (c chroma) row440(dst, pix []uint8, y int) {
	near, far := c.neighbours(y)
	bias := uint32(1 + y%2)
	a, b := c.row(pix, near, c.width), c.row(pix, far, c.width)
	for x, v := range a {
		dst[x] = uint8((3*uint32(v) + uint32(b[x]) + bias) >> 2)
	}
}

// row420 interpolates between both.
func (c chroma) row420(dst, pix []uint8, y int) {
	width := (c.width + 1) / 2
	near, far := c.neighbours(y)
	a, b := c.row(pix, near, width), c.row(pix, far, width)
	if width <= 2 {
		repeat(dst, a, c.width)
		return
	}
	b = b[:len(a)]
	dst = dst[:2*len(a)-1+(1-c.width%2)]
	before := 3*uint32(a[0]) + uint32(b[0])
	this := before
	dst[0] = uint8((4*this + 8) >> 4)
	for i := 1; i < len(a); i++ {
		next := 3*uint32(a[i]) + uint32(b[i])
		dst[2*i-1] = uint8((3*this + next + 7) >> 4)
		dst[2*i] = uint8((3*next + this + 8) >> 4)
		this = next
	}
	if c.width%2 == 0 {
		dst[c.width-1] = uint8((4*this + 7) >> 4)
	}
}

func repeat(dst, src []uint8, width int) {
	for x := range width {
		dst[x] = src[x/2]
	}
}

// convertWebP converts what the WebP decoder returns. Its YCbCr is not JFIF's:
// luma lies in 16…235.
func convertWebP(img image.Image) *Picture {
	var planes *image.YCbCr
	switch img := img.(type) {
	case *image.YCbCr:
		planes = img
	case *image.NYCbCrA:
		planes = &img.YCbCr
	default:
		return convert(img)
	}
	picture := newPicture(planes.Rect.Dx(), planes.Rect.Dy())
	width := picture.Width
	plane := chroma{width: width, height: picture.Height, stride: planes.CStride}
	u, v := make([]uint8, width), make([]uint8, width)
	for y := range picture.Height {
		plane.rowWebP(u, planes.Cb, y)
		plane.rowWebP(v, planes.Cr, y)
		studioRow(picture.Pix[3*width*y:3*width*(y+1)], planes.Y[y*planes.YStride:y*planes.YStride+width], u, v)
	}
	picture.takeAlphaOf(img)
	return picture
}

// rowWebP interpolates 4:2:0 chroma with libwebp's rounding.
func (c chroma) rowWebP(dst, pix []uint8, y int) {
	width := (c.width + 1) / 2
	near, far := c.neighbours(y)
	a, b := c.row(pix, near, width), c.row(pix, far, width)
	edge := func(i int) uint8 { return uint8((3*uint32(a[i]) + uint32(b[i]) + 2) >> 2) }
	dst[0] = edge(0)
	for i := 1; i < width; i++ {
		left, right := uint32(a[i-1]), uint32(a[i])
		farLeft, farRight := uint32(b[i-1]), uint32(b[i])
		sum := left + right + farLeft + farRight + 8
		dst[2*i-1] = uint8(((sum+2*(right+farLeft))>>3 + left) >> 1)
		if 2*i < c.width {
			dst[2*i] = uint8(((sum+2*(left+farRight))>>3 + right) >> 1)
		}
	}
	if c.width%2 == 0 {
		dst[c.width-1] = edge(width - 1)
	}
}

// studioRow is BT.601 with limited range in libwebp's fixed point.
func studioRow(dst, luma, u, v []uint8) {
	high := func(v, coefficient int32) int32 { return v * coefficient >> 8 }
	for x := range luma {
		y, b, r := high(int32(luma[x]), 19077), int32(u[x]), int32(v[x])
		dst[3*x] = clamp((y + high(r, 26149) - 14234) >> 6)
		dst[3*x+1] = clamp((y - high(b, 6419) - high(r, 13320) + 8708) >> 6)
		dst[3*x+2] = clamp((y + high(b, 33050) - 17685) >> 6)
	}
}
