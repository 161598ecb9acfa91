package tfconvrnn

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

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

// SHA256 returns the hash, in hexadecimal, of what the blank shows: the normalized
// pixels, [224, 224, 3] in C order, little-endian float32. A backing file is read, and
// errors are those of reading it.
func (b Blank) SHA256() (string, error) {
	pixels := make([]float32, imageValues)
	if err := b.normalizeInto(pixels); err != nil {
		return "", err
	}
	h := sha256.New()
	if err := binary.Write(h, binary.LittleEndian, pixels); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
