package savedmodels

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tfconvrnn/go/convert"
)

// Variant says how a graph computes its model.
type Variant = convert.Variant

// Weights says which weights a model is to have: Trained, which "" is too, Seeded(1), or a
// directory with <model>/model.ckpt.*, or a checkpoint's prefix itself.
type Weights string

// Trained are the published weights.
const Trained Weights = "trained"

const seededPrefix = "seeded:"

// Seeded returns the untrained weights that a seed makes.
func Seeded(seed uint64) Weights { return Weights(seededPrefix + strconv.FormatUint(seed, 10)) }

// ParseWeights reads weights as people write them. The error wraps ErrWeights.
func ParseWeights(text string) (Weights, error) {
	w := Weights(text)
	if w == "" {
		return Trained, nil
	}
	if _, seeded := w.Seed(); !seeded && (strings.HasPrefix(text, seededPrefix) || text == "seeded") {
		return "", fmt.Errorf("%w: %q has no seed; write for example seeded:1", ErrWeights, text)
	}
	return w, nil
}

// String returns what ParseWeights reads.
func (w Weights) String() string {
	if w == "" {
		return string(Trained)
	}
	return string(w)
}

// Seed returns the seed of untrained weights.
func (w Weights) Seed() (seed uint64, seeded bool) {
	text, seeded := strings.CutPrefix(string(w), seededPrefix)
	if !seeded {
		return 0, false
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	return seed, err == nil
}

// Checkpoints returns the directory, or the checkpoint's prefix, that is named, or "".
func (w Weights) Checkpoints() string {
	if _, seeded := w.Seed(); seeded || w == Trained {
		return ""
	}
	return string(w)
}
