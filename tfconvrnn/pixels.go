package tfconvrnn

// Pixels returns the image's RGB values, [224, 224, 3] in C order, 0 … 1, before
// normalization. A backing file is read. The caller owns the result.
func (m *Image) Pixels() ([]float32, error) {
	loaded, err := m.loaded()
	if err != nil {
		return nil, err
	}
	pixels := make([]float32, imageValues)
	copy(pixels, loaded.floats)
	for i, v := range loaded.bytes {
		pixels[i] = float32(v) / 255
	}
	return pixels, nil
}
