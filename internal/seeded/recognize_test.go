package seeded

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A variable of a small model.
type variable struct {
	name      string
	shape     []int
	trainable bool
}

var model = []variable{
	{"tnn_model/conv1/conv/weights", []int{3, 3, 4, 32}, true},
	{"tnn_model/conv1/conv/bias", []int{32}, true},
	{"tnn_model/conv1/gamma", []int{32}, true},
	{"tnn_model/conv1/memory_decay", []int{1}, false},
	{"tnn_model/imnetds/pre_3/weights", []int{32, 10}, true},
}

func recognize(change func(v variable, values []float32), seed uint64) *Recognizer {
	r := &Recognizer{}
	for _, v := range model {
		values := Values(v.name, v.shape, v.trainable, seed)
		if change != nil {
			change(v, values)
		}
		r.Add(values, v.name, v.shape, v.trainable)
	}
	return r
}

func TestRecognizer(t *testing.T) {
	for _, seed := range []uint64{0, 1, 42, 20261128} {
		r := recognize(nil, seed)
		assert.True(t, r.Untrained(), seed)
		found, ok := r.Seed()
		assert.True(t, ok)
		assert.Equal(t, seed, found)
	}
	far := recognize(nil, 1<<60)
	assert.True(t, far.Untrained(), "also of a seed that is not found")
	_, ok := far.Seed()
	assert.False(t, ok)
}

func TestRecognizerOfOtherWeights(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, change := range map[string]func(v variable, values []float32){
		"drawn otherwise from the same interval": func(v variable, values []float32) {
			centre, half := Range(v.name, v.shape, v.trainable)
			for i := range values {
				values[i] = float32(centre + half*(2*random.Float64()-1))
			}
		},
		"a step of training": func(_ variable, values []float32) {
			for i := range values {
				values[i] -= float32(1e-5 * random.NormFloat64())
			}
		},
		"a trained readout": func(v variable, values []float32) {
			if len(v.shape) == 2 {
				for i := range values {
					values[i] *= 1.0001
				}
			}
		},
		"zeros": func(_ variable, values []float32) { clear(values) },
		"not numbers": func(_ variable, values []float32) {
			for i := range values {
				values[i] = float32(math.NaN())
			}
		},
	} {
		r := recognize(change, 1)
		assert.False(t, r.Untrained(), name)
		_, ok := r.Seed()
		assert.False(t, ok, name)
	}
	assert.False(t, (&Recognizer{}).Untrained())
}
