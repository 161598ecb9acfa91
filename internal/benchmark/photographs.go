package benchmark

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// distinctPhotographs is how many different ones are made; more are copies.
const distinctPhotographs = 4

// writePhotographs writes n JPEG files of side×side pixels into dir, which look to
// a decoder like photographs: coloured noise of all wavelengths, weaker the
// shorter. They are the same every time. It returns their paths.
func writePhotographs(dir string, n, side int) ([]string, error) {
	random := rand.New(rand.NewPCG(1, 2))
	var encoded [][]byte
	paths := make([]string, n)
	for i := range n {
		if i < distinctPhotographs {
			data, err := photograph(random, side)
			if err != nil {
				return nil, err
			}
			encoded = append(encoded, data)
		}
		paths[i] = filepath.Join(dir, fmt.Sprintf("photograph%04d.jpg", i))
		if err := os.WriteFile(paths[i], encoded[i%len(encoded)], 0o644); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

func photograph(random *rand.Rand, side int) ([]byte, error) {
	values := make([]float32, side*side*3)
	amplitude := float32(48)
	for cell := max(1, side/4); cell >= 1; cell /= 4 {
		addNoise(random, values, side, cell, amplitude)
		amplitude *= 0.6
	}
	img := image.NewRGBA(image.Rect(0, 0, side, side))
	for i := range side * side {
		for channel := range 3 {
			img.Pix[4*i+channel] = uint8(max(0, min(255, 128+values[3*i+channel])))
		}
		img.Pix[4*i+3] = 255
	}
	var buffer bytes.Buffer
	err := jpeg.Encode(&buffer, img, &jpeg.Options{Quality: 90})
	return buffer.Bytes(), err
}

// addNoise adds random values at the corners of square cells, interpolated between
// them.
func addNoise(random *rand.Rand, values []float32, side, cell int, amplitude float32) {
	corners := side/cell + 2
	lattice := make([]float32, corners*corners*3)
	for i := range lattice {
		lattice[i] = amplitude * (2*random.Float32() - 1)
	}
	for y := range side {
		fy := float32(y%cell) / float32(cell)
		for x := range side {
			fx := float32(x%cell) / float32(cell)
			corner := 3 * (y/cell*corners + x/cell)
			for channel := range 3 {
				i := corner + channel
				top := lattice[i]*(1-fx) + lattice[i+3]*fx
				bottom := lattice[i+3*corners]*(1-fx) + lattice[i+3*corners+3]*fx
				values[3*(y*side+x)+channel] += top*(1-fy) + bottom*fy
			}
		}
	}
}
