package images

// jpegPlane is the samples of a component, padded to whole blocks.
type jpegPlane struct {
	pix    []uint8
	stride int
	// row fills dst with a row of the picture; dst has room for one pixel more.
	row func(dst []uint8, y int)
}

// plane makes samples of a component's coefficients, and chooses how rows of the picture are made of them, as
// libjpeg does: its "fancy" interpolation where one direction or both are halved, else repetition.
func (d *jpegDecoder) plane(c *jpegComponent) *jpegPlane {
	p := &jpegPlane{pix: make([]uint8, 64*c.across*c.down), stride: 8 * c.across}
	if c.coefficients == nil { // a component without a scan is grey
		for i := range p.pix {
			p.pix[i] = 128
		}
	}
	for i := range c.coefficients {
		x, y := i%c.across, i/c.across
		inverseDCT(p.pix[8*y*p.stride+8*x:], p.stride, &c.coefficients[i], c.quantization)
	}
	width := d.frame.width
	geometry := chroma{width: width, height: d.frame.height, stride: p.stride}
	across, down := d.frame.maxH/c.h, d.frame.maxV/c.v
	interpolated := func(row func(dst, pix []uint8, y int)) func(dst []uint8, y int) {
		return func(dst []uint8, y int) { row(dst, p.pix, y) }
	}
	switch {
	case across == 2 && down == 1:
		p.row = interpolated(geometry.row422)
	case across == 1 && down == 2:
		p.row = interpolated(geometry.row440)
	case across == 2 && down == 2:
		p.row = interpolated(geometry.row420)
	default:
		p.row = func(dst []uint8, y int) {
			src := p.pix[y/down*p.stride:]
			for x := range width {
				dst[x] = src[x/across]
			}
		}
	}
	return p
}

// picture converts the components. Values of four components are inverted, as Pillow takes them to be.
func (d *jpegDecoder) picture() (*Picture, error) {
	picture := newPicture(d.frame.width, d.frame.height)
	width := picture.Width
	colours := d.frame.colours(d.marks)
	var planes []*jpegPlane
	var rows [][]uint8
	for i := range d.frame.components {
		c := &d.frame.components[i]
		planes = append(planes, d.plane(c))
		c.coefficients = nil
		rows = append(rows, make([]uint8, width+1))
	}
	for y := range picture.Height {
		for i, p := range planes {
			p.row(rows[i], y)
		}
		dst := picture.Pix[3*width*y : 3*width*(y+1)]
		switch colours {
		case colourGrey:
			for x, v := range rows[0][:width] {
				dst[3*x], dst[3*x+1], dst[3*x+2] = v, v, v
			}
			continue
		case colourYCbCr, colourYCCK:
			jfifRow(dst, rows[0][:width], rows[1], rows[2])
		case colourRGB:
			for x := range width {
				dst[3*x], dst[3*x+1], dst[3*x+2] = rows[0][x], rows[1][x], rows[2][x]
			}
		case colourCMYK:
			for x := range width {
				dst[3*x], dst[3*x+1], dst[3*x+2] = ^rows[0][x], ^rows[1][x], ^rows[2][x]
			}
		}
		if colours == colourYCCK || colours == colourCMYK {
			for x, black := range rows[3][:width] {
				white := uint32(black)
				for i := 3 * x; i < 3*x+3; i++ {
					dst[i] = uint8(white - multiply255(uint32(dst[i]), white))
				}
			}
		}
	}
	return picture, nil
}

// The constants of libjpeg's accurate integer inverse DCT, in 13-bit fixed point (Loeffler, Ligtenberg, Moschytz:
// Practical fast 1-D DCT algorithms with 11 multiplications, 1989).
const (
	dct0298 = 2446
	dct0390 = 3196
	dct0541 = 4433
	dct0765 = 6270
	dct0899 = 7373
	dct1175 = 9633
	dct1501 = 12299
	dct1847 = 15137
	dct1961 = 16069
	dct2053 = 16819
	dct2562 = 20995
	dct3072 = 25172
)

// inverseDCT writes 8×8 samples.
func inverseDCT(dst []uint8, stride int, block *[64]int16, quantization *[64]uint16) {
	var work [64]int32
	for i := range work {
		work[i] = int32(block[i]) * int32(quantization[i])
	}
	for x := range 8 {
		c := work[x:]
		inverseDCT8(&c[0], &c[8], &c[16], &c[24], &c[32], &c[40], &c[48], &c[56], 11)
	}
	for y := range 8 {
		r := work[8*y : 8*y+8]
		inverseDCT8(&r[0], &r[1], &r[2], &r[3], &r[4], &r[5], &r[6], &r[7], 18)
		for x, v := range r {
			dst[y*stride+x] = clamp(v + 128)
		}
	}
}

// inverseDCT8 transforms eight values and divides them by 2^shift, rounded.
func inverseDCT8(v0, v1, v2, v3, v4, v5, v6, v7 *int32, shift uint) {
	z := (*v2 + *v6) * dct0541
	even2, even3 := z-*v6*dct1847, z+*v2*dct0765
	even0, even1 := (*v0+*v4)<<13, (*v0-*v4)<<13
	a0, a3, a1, a2 := even0+even3, even0-even3, even1+even2, even1-even2

	z1, z2, z3, z4 := -(*v7+*v1)*dct0899, -(*v5+*v3)*dct2562, *v7+*v3, *v5+*v1
	z5 := (z3 + z4) * dct1175
	z3, z4 = z5-z3*dct1961, z5-z4*dct0390
	b0 := *v7*dct0298 + z1 + z3
	b1 := *v5*dct2053 + z2 + z4
	b2 := *v3*dct3072 + z2 + z3
	b3 := *v1*dct1501 + z1 + z4

	half := int32(1) << (shift - 1)
	*v0, *v7 = (a0+b3+half)>>shift, (a0-b3+half)>>shift
	*v1, *v6 = (a1+b2+half)>>shift, (a1-b2+half)>>shift
	*v2, *v5 = (a2+b1+half)>>shift, (a2-b1+half)>>shift
	*v3, *v4 = (a3+b0+half)>>shift, (a3-b0+half)>>shift
}
