package tfconvrnn

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"github.com/tfconvrnn/go/savedmodels"
)

// PrecisionError says how far what a model computes of a built-in picture, shown as
// in the default presentation, is from the same in float32: the RMS of the difference
// over the RMS in float32, to two digits.
type PrecisionError struct {
	// Layers holds that of every layer, at the timestep where it is largest.
	Layers map[string]float64 `json:"layers"`
	// Logits is that of the decoded logits.
	Logits float64 `json:"logits"`
}

// Largest returns the layer with the largest error, and its error.
func (e *PrecisionError) Largest() (layer string, relative float64) {
	for name, r := range e.Layers {
		if r > relative || r == relative && name < layer {
			layer, relative = name, r
		}
	}
	return layer, relative
}

// String says how much it is.
func (e *PrecisionError) String() string {
	layer, largest := e.Largest()
	return fmt.Sprintf("%s instead of %s: features of a built-in picture differ by up to %.2g %% (%s, RMS of the difference relative to that in float32), logits by %.2g %%",
		BFloat16, Float32, 100*largest, layer, 100*e.Logits)
}

// PrecisionError measures what the model's precision costs, once: later calls return
// what the first one found, and Provenance holds it from then on. Extract calls it.
// It is nil in float32. It loads the model in float32 meanwhile, which takes about a
// second and the memory of its weights. It works after WithoutSession too. It must
// not be changed.
func (m *Model) PrecisionError(ctx context.Context) (*PrecisionError, error) {
	if m.session.precision == Float32 {
		return nil, nil
	}
	m.measuring.Lock()
	defer m.measuring.Unlock()
	if measured := m.precisionError.Load(); measured != nil {
		return measured, nil
	}
	here, err := m.featuresInPrecision(ctx, m.session.precision)
	if err != nil {
		return nil, err
	}
	exact, err := m.featuresInPrecision(ctx, Float32)
	if err != nil {
		return nil, err
	}
	measured := &PrecisionError{Layers: map[string]float64{}, Logits: relativeDifference(here.Logits, exact.Logits)}
	for i := range exact.Layers {
		l := &exact.Layers[i]
		for _, t := range l.Timesteps {
			measured.Layers[l.Name] = max(measured.Layers[l.Name], relativeDifference(here.Layers[i].At(0, t), l.At(0, t)))
		}
	}
	m.precisionError.Store(measured)
	return measured, nil
}

// featuresInPrecision computes all that the model has of the built-in picture.
func (m *Model) featuresInPrecision(ctx context.Context, precision Precision) (*Features, error) {
	if m.closed.Load() {
		return nil, ErrClosed
	}
	model := m
	if m.saved == nil || precision != m.session.precision {
		o := loadOptions{session: m.session, gpu: m.gpu, trust: true} // was decided when m was loaded
		o.session.precision = precision
		other, err := open(m.info, savedmodels.SavedModel{Dir: m.dir, Manifest: m.manifest}, o)
		if err != nil {
			return nil, fmt.Errorf("measuring the error of %s: %w", m.session.precision, err)
		}
		defer other.Close()
		model = other
	}
	stimuli, err := FromUint8(builtInPicture())
	if err != nil {
		return nil, err
	}
	x, err := model.Plan(AllTimesteps(), Logits(), BatchSize(1))
	if err != nil {
		return nil, err
	}
	return x.collect(ctx, stimuli)
}

// relativeDifference is the RMS of a difference relative to that of exact, to two digits.
func relativeDifference(here, exact []float32) float64 {
	var difference, squares float64
	for i, e := range exact {
		d := float64(here[i]) - float64(e)
		difference += d * d
		squares += float64(e) * float64(e)
	}
	if difference == 0 {
		return 0
	}
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(math.Sqrt(difference/squares), 'g', 2, 64), 64)
	return rounded
}
