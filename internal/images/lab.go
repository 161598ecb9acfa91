package images

import (
	"math"
	"sync"
)

// Pillow converts L*a*b* with Little CMS: to sRGB by way of a grid of 33³
// colours, between which it interpolates in tetrahedra. Colours that sRGB does not
// have come out up to 50 levels off the formula, and so they do here.

const labGridSize = 33

// labGrid holds sRGB at the points of the grid, 0 to 65535.
var labGrid = sync.OnceValue(func() []([3]float64) {
	const last = labGridSize - 1
	grid := make([][3]float64, 0, labGridSize*labGridSize*labGridSize)
	axis := func(i int) float64 { return math.Round(float64(i) * 65535 / last) }
	for i := range labGridSize {
		for j := range labGridSize {
			for k := range labGridSize {
				colour := labToSRGB(axis(i)/65535*100, axis(j)/257-128, axis(k)/257-128)
				for channel, v := range colour {
					colour[channel] = math.Round(v * 65535)
				}
				grid = append(grid, colour)
			}
		}
	}
	return grid
})

// labToSRGB is CIE 15 for the white point D50, sRGB's primaries adapted to it
// by Bradford's matrix, and IEC 61966-2-1. The result is in 0 … 1.
func labToSRGB(l, a, b float64) [3]float64 {
	inverse := func(t float64) float64 {
		if t <= 24.0/116 {
			return 108.0 / 841 * (t - 16.0/116)
		}
		return t * t * t
	}
	fy := (l + 16) / 116
	x, y, z := 0.9642*inverse(fy+a/500), inverse(fy), 0.8249*inverse(fy-b/200)
	linear := [3]float64{
		3.1338561*x - 1.6168667*y - 0.4906146*z,
		-0.9787684*x + 1.9161415*y + 0.0334540*z,
		0.0719453*x - 0.2289914*y + 1.4052427*z,
	}
	for i, v := range linear {
		v = max(0, min(v, 1))
		if v <= 0.0031308 {
			linear[i] = 12.92 * v
		} else {
			linear[i] = 1.055*math.Pow(v, 1/2.4) - 0.055
		}
	}
	return linear
}

// labToRGB converts a pixel; a and b are stored plus 128.
func labToRGB(dst []uint8, l, a, b uint8) {
	grid := labGrid()
	at, fractions := 0, [3]float64{}
	strides := [3]int{labGridSize * labGridSize, labGridSize, 1}
	for i, v := range [3]uint8{l, a, b} {
		position := float64(v) * (labGridSize - 1) / 255
		whole := min(int(position), labGridSize-2)
		fractions[i] = position - float64(whole)
		at += whole * strides[i]
	}
	// From the corner along the axes, the one with the largest fraction first.
	axes := [3]int{0, 1, 2}
	for _, pair := range [3][2]int{{0, 1}, {1, 2}, {0, 1}} {
		if fractions[axes[pair[0]]] < fractions[axes[pair[1]]] {
			axes[pair[0]], axes[pair[1]] = axes[pair[1]], axes[pair[0]]
		}
	}
	var sum [3]float64
	add := func(weight float64) {
		for channel, v := range grid[at] {
			sum[channel] += weight * v
		}
	}
	add(1 - fractions[axes[0]])
	for i, axis := range axes {
		at += strides[axis]
		weight := fractions[axis]
		if i < 2 {
			weight -= fractions[axes[i+1]]
		}
		add(weight)
	}
	for channel, v := range sum {
		dst[channel] = uint8(v/257 + 0.5)
	}
}
