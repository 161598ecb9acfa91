package images

import (
	"fmt"
	"image"
	"math"
	"strings"
)

// Filter is a resampling filter, named as in Pillow.
type Filter int

// The filters of Pillow's Image.Resampling. All but Nearest widen with the
// reduction, so that every pixel of the source counts.
const (
	Bilinear Filter = iota
	Nearest
	Box
	Hamming
	Bicubic
	Lanczos
)

var filterNames = [...]string{"bilinear", "nearest", "box", "hamming", "bicubic", "lanczos"}

// String is the filter's name in lower case.
func (f Filter) String() string {
	if f < 0 || int(f) >= len(filterNames) {
		return fmt.Sprintf("Filter(%d)", int(f))
	}
	return filterNames[f]
}

// ParseFilter is the inverse of String. Its error wraps ErrPreprocessing.
func ParseFilter(name string) (Filter, error) {
	for f, known := range filterNames {
		if name == known {
			return Filter(f), nil
		}
	}
	return 0, fmt.Errorf("%w: filter %q; use one of %s", ErrPreprocessing, name, strings.Join(filterNames[:], ", "))
}

// support is the half-width of the filter in source pixels.
func (f Filter) support() float64 {
	switch f {
	case Box:
		return 0.5
	case Bicubic:
		return 2
	case Lanczos:
		return 3
	default:
		return 1
	}
}

// weight is the filter's value at x.
func (f Filter) weight(x float64) float64 {
	switch f {
	case Box:
		if x > -0.5 && x <= 0.5 {
			return 1
		}
		return 0
	case Bicubic: // Keys 1981, equation 8, with a = -0.5
		const a = -0.5
		x = math.Abs(x)
		switch {
		case x < 1:
			return ((a+2)*x-(a+3))*x*x + 1
		case x < 2:
			return (((x-5)*x+8)*x - 4) * a
		}
		return 0
	case Lanczos:
		if x >= -3 && x < 3 {
			return sinc(x) * sinc(x/3)
		}
		return 0
	case Hamming:
		x = math.Abs(x)
		switch {
		case x == 0:
			return 1
		case x >= 1:
			return 0
		}
		return sinc(x) * (0.54 + 0.46*math.Cos(math.Pi*x))
	default:
		return max(0, 1-math.Abs(x))
	}
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	x *= math.Pi
	return math.Sin(x) / x
}

// Weights are fixed-point numbers as in Pillow: 8 bits are left for the pixel
// and 2 for overshoot of the sum.
const (
	precision = 32 - 8 - 2
	rounding  = 1 << (precision - 1)
)

// taps holds, for each output position of a window, the source positions that
// contribute and their weights.
type taps struct {
	first    []int
	weights  [][]int32
	identity bool // source and target have the same length: copy
}

// newTaps computes the taps of the outputs from..from+count-1 of a line of
// source pixels that is resized to target pixels.
func newTaps(source, target, from, count int, filter Filter) taps {
	scale := float64(source) / float64(target)
	stretch := max(scale, 1)
	support := filter.support() * stretch
	inverse := 1 / stretch
	t := taps{first: make([]int, count), weights: make([][]int32, count)}
	if source == target {
		t.identity = true
		for i := range count {
			t.first[i], t.weights[i] = from+i, []int32{1 << precision}
		}
		return t
	}
	var line []float64
	slab := make([]int32, 0, count*(2*int(math.Ceil(support))+1))
	for i := range count {
		centre := (float64(from+i) + 0.5) * scale
		first := max(int(centre-support+0.5), 0)
		end := min(int(centre+support+0.5), source)
		line = line[:0]
		sum := 0.0
		for x := first; x < end; x++ {
			w := filter.weight((float64(x) - centre + 0.5) * inverse)
			line = append(line, w)
			sum += w
		}
		used := len(slab)
		for _, w := range line {
			if sum != 0 {
				w /= sum
			}
			slab = append(slab, int32(math.Copysign(0.5, w)+w*(1<<precision)))
		}
		t.first[i], t.weights[i] = first, slab[used:]
	}
	return t
}

// span is the range of source positions that the taps read.
func (t taps) span() (first, end int) {
	first = math.MaxInt
	for i, f := range t.first {
		first = min(first, f)
		end = max(end, f+len(t.weights[i]))
	}
	return first, end
}

func round(sum int32) uint8 { return clamp(sum >> precision) }

// Resize returns the picture resized to width×height pixels. The result equals
// that of Pillow's Image.resize on an RGB image. It returns an error that wraps
// ErrTooLarge, or ErrPreprocessing for an empty size.
func (p *Picture) Resize(width, height int, filter Filter) (*Picture, error) {
	if width <= 0 || height <= 0 {
		return nil, fmt.Errorf("%w: resizing to %d×%d pixels", ErrPreprocessing, width, height)
	}
	if err := checkSides("resized picture", width, height); err != nil {
		return nil, err
	}
	resized := newPicture(width, height)
	resized.Format, resized.Orientation = p.Format, p.Orientation
	p.resample(resized.Pix, image.Pt(width, height), image.Rect(0, 0, width, height), filter)
	return resized, nil
}

// resample computes the window of the picture as if resized to size. Only what
// the window needs is computed, so size may be far larger than fits into memory.
func (p *Picture) resample(dst []uint8, size image.Point, window image.Rectangle, filter Filter) {
	if filter == Nearest {
		p.nearest(dst, size, window)
		return
	}
	columns := newTaps(p.Width, size.X, window.Min.X, window.Dx(), filter)
	rows := newTaps(p.Height, size.Y, window.Min.Y, window.Dy(), filter)
	firstColumn, endColumn := columns.span()
	firstRow, endRow := rows.span()
	source := lines{pix: p.Pix[3*(firstRow*p.Width+firstColumn):], stride: 3 * p.Width}
	result := lines{pix: dst, stride: 3 * window.Dx()}

	// Results are rounded to bytes between the passes, so the order of the passes
	// changes them. Since 13.0 Pillow begins with the vertical one where this says that
	// it is less work; earlier versions never do.
	if cut := p.Height - size.Y; cut > 0 && cut > 2*(p.Width-size.X) {
		between := newLines(endColumn-firstColumn, window.Dy())
		vertical(between, source, 3*(endColumn-firstColumn), rows)
		horizontal(result, between, window.Dy(), columns)
		return
	}
	between := newLines(window.Dx(), endRow-firstRow)
	horizontal(between, source, endRow-firstRow, columns)
	vertical(result, between, 3*window.Dx(), rows)
}

// lines are rows of RGB pixels; the first position that taps read is at 0.
type lines struct {
	pix    []uint8
	stride int
}

func newLines(width, height int) lines {
	return lines{pix: make([]uint8, 3*width*height), stride: 3 * width}
}

func (l lines) row(y, length int) []uint8 { return l.pix[y*l.stride : y*l.stride+length] }

// horizontal resamples height rows, two at a time: that is a third faster.
func horizontal(dst, src lines, height int, columns taps) {
	width := len(columns.first)
	first, end := columns.span()
	for y := 0; y < height; y += 2 {
		second := min(y+1, height-1)
		if columns.identity {
			copy(dst.row(y, 3*width), src.row(y, 3*width))
			copy(dst.row(second, 3*width), src.row(second, 3*width))
			continue
		}
		inA, inB := src.row(y, 3*(end-first)), src.row(second, 3*(end-first))
		outA, outB := dst.row(y, 3*width), dst.row(second, 3*width)
		for x, start := range columns.first {
			weights := columns.weights[x]
			from := 3 * (start - first)
			a, b := inA[from:from+3*len(weights)], inB[from:from+3*len(weights)]
			b = b[:len(a)]
			var redA, greenA, blueA, redB, greenB, blueB int32 = rounding, rounding, rounding, rounding, rounding, rounding
			i := 0
			for _, weight := range weights {
				if uint(i+2) >= uint(len(a)) {
					break // cannot be; spares the bounds checks
				}
				redA += weight * int32(a[i])
				greenA += weight * int32(a[i+1])
				blueA += weight * int32(a[i+2])
				redB += weight * int32(b[i])
				greenB += weight * int32(b[i+1])
				blueB += weight * int32(b[i+2])
				i += 3
			}
			pixel := outA[3*x : 3*x+3 : 3*x+3]
			pixel[0], pixel[1], pixel[2] = round(redA), round(greenA), round(blueA)
			pixel = outB[3*x : 3*x+3 : 3*x+3]
			pixel[0], pixel[1], pixel[2] = round(redB), round(greenB), round(blueB)
		}
	}
}

// vertical resamples rows of the given length in bytes.
func vertical(dst, src lines, length int, rows taps) {
	first, _ := rows.span()
	sums := make([]int32, length)
	for y, start := range rows.first {
		if rows.identity {
			copy(dst.row(y, length), src.row(y, length))
			continue
		}
		for i := range sums {
			sums[i] = rounding
		}
		for j, weight := range rows.weights[y] {
			for i, v := range src.row(start-first+j, length) {
				sums[i] += weight * int32(v)
			}
		}
		for i, line := 0, dst.row(y, length); i < len(line); i++ {
			line[i] = round(sums[i])
		}
	}
}

// nearest adds up steps, as Pillow does, rather than multiplying them: that
// decides ties.
func (p *Picture) nearest(dst []uint8, size image.Point, window image.Rectangle) {
	positions := func(source, target, from, count int) []int {
		step := float64(source) / float64(target)
		at := step * 0.5
		list := make([]int, 0, count)
		for i := range from + count {
			if i >= from {
				list = append(list, min(int(at), source-1))
			}
			at += step
		}
		return list
	}
	columns := positions(p.Width, size.X, window.Min.X, window.Dx())
	for y, fromY := range positions(p.Height, size.Y, window.Min.Y, window.Dy()) {
		src := p.Pix[3*p.Width*fromY : 3*p.Width*(fromY+1)]
		line := dst[3*window.Dx()*y:]
		for x, fromX := range columns {
			copy(line[3*x:3*x+3], src[3*fromX:3*fromX+3])
		}
	}
}
