package explorer

import (
	"context"
	"errors"
	"slices"

	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// ErrBusy means that an engine cannot take another request now; the page says so and tries again.
var ErrBusy = errors.New("too many requests wait already")

// Engine computes for an Explorer. It must be safe for concurrent use.
type Engine interface {
	// Models describes the models that requests can name, at least one, each under another name. They must not change.
	Models() []Model
	// Extract returns the features of a request's only stimulus: its layers in that order, each from timestep 0 on, and
	// the decoded logits where they are asked for. The explorer keeps them and does not change them. Errors wrap ErrBusy,
	// the context's or those of tfconvrnn.
	Extract(ctx context.Context, r Request) (*tfconvrnn.Features, error)
}

// Model is a model of an Engine.
type Model struct {
	savedmodels.Model
	// Weights is what tfconvrnn.WithWeights was given, "" for the trained ones.
	Weights string
	// Untrained is tfconvrnn.Model's.
	Untrained bool
	// Times is the most timesteps of a presentation.
	Times int
	// Decoder holds the parameters of the model's decoder.
	Decoder tfconvrnn.DecoderParameters
}

// DescribeModel describes a loaded model. Weights is what tfconvrnn.WithWeights was given. Errors are those of
// tfconvrnn.Model.DecoderParameters.
func DescribeModel(m *tfconvrnn.Model, weights string) (Model, error) {
	decoder, err := m.DecoderParameters()
	return Model{Model: m.Info(), Weights: weights, Untrained: m.Untrained(), Times: m.Times(), Decoder: decoder}, err
}

// Request is what an Engine computes.
type Request struct {
	Model        string
	Stimulus     tfconvrnn.Stimulus
	Presentation tfconvrnn.Presentation
	Layers       []string
	Logits       bool
	// Computed, if not nil, is called while the request is computed, when f holds a layer's timestep, both by their
	// places in f, which is the same in all calls: the timesteps of each layer in order. What f holds does not change any
	// more. It returns at once. An engine that does not know what it has before all is there does not call it.
	Computed func(f *tfconvrnn.Features, layer, timestep int)
}

// Options returns those of tfconvrnn.Model.Extract that compute the request.
func (r *Request) Options() []tfconvrnn.ExtractOption {
	options := []tfconvrnn.ExtractOption{
		tfconvrnn.Layers(r.Layers...), tfconvrnn.AllTimesteps(), tfconvrnn.WithPresentation(r.Presentation),
		tfconvrnn.BatchSize(1), tfconvrnn.NotePreprocessing(tfconvrnn.Preprocessing{}),
	}
	if r.Logits {
		options = append(options, tfconvrnn.Logits())
	}
	return options
}

// model returns the engine's model of a name.
func (x *Explorer) model(name string) (Model, error) {
	models := x.engine.Models()
	i := slices.IndexFunc(models, func(m Model) bool { return m.Name == name })
	if i < 0 {
		return Model{}, faultf(404, "this server has no model %q", name)
	}
	return models[i], nil
}

// layerNames returns the names of all layers.
func (m *Model) layerNames() []string {
	names := make([]string, len(m.Layers))
	for i, l := range m.Layers {
		names[i] = l.Name
	}
	return names
}

// featureBytes is the memory that the features of one stimulus take.
func (m *Model) featureBytes(times int) int64 {
	var values int64
	for _, l := range m.Layers {
		size := int64(1)
		for _, d := range l.Shape {
			size *= int64(d)
		}
		values += size
	}
	return values * int64(times) * 4
}
