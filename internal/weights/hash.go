package weights

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Digest is the SHA-256 of a variable's values: float32, little-endian, in C order.
type Digest [sha256.Size]byte

// DigestOf returns the digest of a variable's values.
func DigestOf(values []float32) Digest {
	h := sha256.New()
	var buffer [16 << 10]byte
	for len(values) > 0 {
		n := min(len(values), len(buffer)/4)
		for i, v := range values[:n] {
			binary.LittleEndian.PutUint32(buffer[4*i:], math.Float32bits(v))
		}
		h.Write(buffer[:4*n])
		values = values[n:]
	}
	return Digest(h.Sum(nil))
}

// Combine returns the weights hash of a model, in lower-case hexadecimal, from the digests of its
// variables by name. It is the SHA-256 of the lines
//
//	name NUL shape NUL digest LF
//
// sorted by name, where shape is the dimensions in decimal joined by commas, such as 3,3,64,128, and
// the digest is in lower-case hexadecimal. It depends on nothing but names, shapes and values, so it
// is the same for any checkpoint that holds the same weights. All expected variables need a digest.
func Combine(digests map[string]Digest, expected []Variable) (string, error) {
	variables := index(expected)
	var missing []string
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		digest, ok := digests[name]
		if !ok {
			missing = append(missing, name)
			continue
		}
		shape := make([]string, len(variables[name].Shape))
		for i, d := range variables[name].Shape {
			shape[i] = strconv.Itoa(d)
		}
		fmt.Fprintf(h, "%s\x00%s\x00%x\n", name, strings.Join(shape, ","), digest)
	}
	if len(missing) > 0 {
		return "", fmt.Errorf("hash of the weights: %d variables have not been read: %s", len(missing),
			strings.Join(missing, ", "))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// SHA256 reads all expected variables and returns the hash that [Combine] defines. Where they are
// read anyway, [Hashing] saves the second pass.
func SHA256(src Source, expected []Variable) (string, error) {
	h := Hashing(src)
	for _, v := range expected {
		if _, err := h.Variable(v.Name, v.Shape); err != nil {
			return "", err
		}
	}
	return h.SHA256(expected)
}

// HashingSource is a [Source] that takes the digest of every variable that passes through it.
type HashingSource struct {
	Source
	mu      sync.Mutex
	digests map[string]Digest
}

// Hashing wraps src. Closing the result closes src.
func Hashing(src Source) *HashingSource {
	return &HashingSource{Source: src, digests: map[string]Digest{}}
}

// Variable implements [Source].
func (s *HashingSource) Variable(name string, shape []int) ([]float32, error) {
	values, err := s.Source.Variable(name, shape)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	_, known := s.digests[name]
	s.mu.Unlock()
	if !known {
		digest := DigestOf(values)
		s.mu.Lock()
		s.digests[name] = digest
		s.mu.Unlock()
	}
	return values, nil
}

// SHA256 returns the hash that [Combine] defines. All expected variables must have been read.
func (s *HashingSource) SHA256(expected []Variable) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Combine(s.digests, expected)
}
