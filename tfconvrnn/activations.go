package tfconvrnn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"

	"github.com/tfconvrnn/go/internal/atomicfile"
)

// ErrActivations means that a model computes something else than when its
// activations were recorded.
var ErrActivations = errors.New("the model's activations differ from those recorded")

// ErrNotRecorded means that no activations were recorded for a SavedModel.
var ErrNotRecorded = errors.New("no activations were recorded")

// ActivationsName is the file in a SavedModel's directory in which activations are
// recorded. It is not one of those that the manifest's checksums cover.
const ActivationsName = "activations.json"

const (
	activationsFormat = 1
	// activationSamples is how many features of a layer are recorded.
	activationSamples = 16
	// activationTolerance is the largest allowed difference, relative to a layer's
	// RMS. Summation in another order, as on another processor, makes differences
	// of 1e-5.
	activationTolerance = 1e-3
	// maxActivationBytes bounds what is read; real files have below 200 KB.
	maxActivationBytes = 4 << 20
)

// activations are what a model computes of the built-in picture.
type activations struct {
	Format int `json:"format"`
	// Files are those of the manifest: what they were computed with.
	Files      map[string]string `json:"files"`
	TensorFlow string            `json:"tensorflow"`
	Layers     []layerActivation `json:"layers"`
}

// layerActivation describes a layer at every timestep of the default presentation.
type layerActivation struct {
	Name string    `json:"name"`
	Mean []float64 `json:"mean"`
	RMS  []float64 `json:"rms"`
	// Samples are features at equal distances.
	Samples [][]float32 `json:"samples"`
}

// ActivationCheck says how well activations agree with those recorded.
type ActivationCheck struct {
	// Worst is the largest difference, relative to the RMS of the layer at the
	// timestep, which Layer and Timestep name.
	Worst    float64 `json:"worst"`
	Layer    string  `json:"layer"`
	Timestep int     `json:"timestep"`
	// RecordedWith is the version of TensorFlow that the recorded ones come from.
	RecordedWith string `json:"recorded_with"`
}

// builtInPicture returns a picture of coloured waves and blocks, made by integer
// arithmetic so that it is the same everywhere.
func builtInPicture() []uint8 {
	triangle := func(v, period int) int { // 0 … 255
		v = v % period * 510 / period
		return min(v, 510-v)
	}
	pixels := make([]uint8, 0, imageValues)
	for y := range ImageSize {
		for x := range ImageSize {
			block := ((x/32)*7+(y/28)*13)%8*32 - 112
			for _, v := range [3]int{
				triangle(3*x+y, 97) + block, triangle(x+2*y, 61)/2 + triangle(x*y/16, 128)/2,
				triangle((x-112)*(x-112)/24+(y-112)*(y-112)/24, 190) - block/2,
			} {
				pixels = append(pixels, uint8(max(0, min(255, v))))
			}
		}
	}
	return pixels
}

// RecordActivations runs the model on a built-in picture and records what every
// layer computes at every timestep of the default presentation, for
// CheckActivations, in the directory of the SavedModel. It replaces what was
// recorded before.
func (m *Model) RecordActivations(ctx context.Context) error {
	computed, err := m.computeActivations(ctx)
	if err != nil {
		return err
	}
	data, err := json.Marshal(computed)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(m.dir, ActivationsName), append(data, '\n'))
}

// CheckActivations runs the model on the built-in picture again and compares what
// it computes with what was recorded: differences beyond rounding (more than 1e-3 of
// a layer's RMS) are an error that wraps ErrActivations. Other errors wrap
// ErrNotRecorded, or ErrModified where the record is not one of this SavedModel.
func (m *Model) CheckActivations(ctx context.Context) (ActivationCheck, error) {
	recorded, err := m.readActivations()
	if err != nil {
		return ActivationCheck{}, err
	}
	computed, err := m.computeActivations(ctx)
	if err != nil {
		return ActivationCheck{}, err
	}
	check, err := recorded.compare(computed)
	if err != nil {
		return check, fmt.Errorf("%w: %s in %s; if the checksums of its files are right (verify), the processor or "+
			"libtensorflow compute differently; else convert the model again", ErrActivations, err, m.dir)
	}
	return check, nil
}

func (m *Model) readActivations() (*activations, error) {
	path := filepath.Join(m.dir, ActivationsName)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w in %s", ErrNotRecorded, m.dir)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxActivationBytes))
	if err != nil {
		return nil, err
	}
	recorded := &activations{}
	if err := json.Unmarshal(data, recorded); err != nil {
		return nil, fmt.Errorf("%w: %s is damaged (%w); remove it to record the activations again", ErrModified, path, err)
	}
	if recorded.Format != activationsFormat || !maps.Equal(recorded.Files, m.manifest.Files) {
		return nil, fmt.Errorf("%w: %s was recorded for other files; remove it to record the activations again",
			ErrModified, path)
	}
	return recorded, nil
}

func (m *Model) computeActivations(ctx context.Context) (*activations, error) {
	stimuli, err := FromUint8(builtInPicture())
	if err != nil {
		return nil, err
	}
	features, err := m.Extract(ctx, stimuli, AllTimesteps())
	if err != nil {
		return nil, err
	}
	computed := &activations{Format: activationsFormat, Files: m.manifest.Files, TensorFlow: m.runtime.Version()}
	for i := range features.Layers {
		l := &features.Layers[i]
		a := layerActivation{Name: l.Name}
		for _, t := range l.Timesteps {
			values := l.At(0, t)
			var sum, squares float64
			for _, v := range values {
				if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
					return nil, fmt.Errorf("%w: %s at timestep %d is %g", ErrActivations, l.Name, t, v)
				}
				sum += float64(v)
				squares += float64(v) * float64(v)
			}
			n := float64(len(values))
			a.Mean, a.RMS = append(a.Mean, sum/n), append(a.RMS, math.Sqrt(squares/n))
			samples := make([]float32, activationSamples)
			for j := range samples {
				samples[j] = values[j*len(values)/len(samples)]
			}
			a.Samples = append(a.Samples, samples)
		}
		computed.Layers = append(computed.Layers, a)
	}
	return computed, nil
}

// compare finds the largest difference; it is an error if it is too large.
func (a *activations) compare(computed *activations) (ActivationCheck, error) {
	check := ActivationCheck{RecordedWith: a.TensorFlow}
	if len(a.Layers) != len(computed.Layers) {
		return check, fmt.Errorf("%d layers were recorded and %d are computed", len(a.Layers), len(computed.Layers))
	}
	for i, want := range a.Layers {
		got := computed.Layers[i]
		times := len(got.RMS)
		if want.Name != got.Name || len(want.Mean) != times || len(want.RMS) != times || len(want.Samples) != times {
			return check, fmt.Errorf("the record of layer %s is incomplete", got.Name)
		}
		for t := range times {
			if len(want.Samples[t]) != activationSamples {
				return check, fmt.Errorf("the record of layer %s is incomplete", got.Name)
			}
			largest := max(math.Abs(want.Mean[t]-got.Mean[t]), math.Abs(want.RMS[t]-got.RMS[t]))
			for j, v := range want.Samples[t] {
				largest = max(largest, math.Abs(float64(v)-float64(got.Samples[t][j])))
			}
			if rms := max(want.RMS[t], got.RMS[t]); largest > 0 && largest/rms > check.Worst {
				check.Worst, check.Layer, check.Timestep = largest/rms, got.Name, t
			}
		}
	}
	if check.Worst > activationTolerance {
		return check, fmt.Errorf("%s at timestep %d differs by %.2g of its RMS, and %g is allowed", check.Layer,
			check.Timestep, check.Worst, activationTolerance)
	}
	return check, nil
}
