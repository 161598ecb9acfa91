package tfconvrnn

import (
	"context"
	"fmt"
	"slices"
)

// Features are the features of all stimuli of an Extract.
type Features struct {
	// Stimuli are the stimuli's IDs.
	Stimuli []string
	Layers  []LayerFeatures
	// Logits are the decoded logits, [stimuli, 1000], or nil. Those of a stimulus that
	// failed are NaN.
	Logits []float32
	// Failed holds, for each stimulus, the error that OnError let pass, or nil. The
	// values of those with an error are NaN.
	Failed     []error
	Provenance Provenance
}

// LayerFeatures are the features of one layer.
type LayerFeatures struct {
	LayerOutput
	// Data is [stimuli, timesteps, Shape…] in C order; of a stimulus that failed it is
	// NaN.
	Data []float32
}

// Layer returns the features of the layer called name; the error wraps
// ErrUnknownLayer.
func (f *Features) Layer(name string) (*LayerFeatures, error) {
	for i := range f.Layers {
		if f.Layers[i].Name == name {
			return &f.Layers[i], nil
		}
	}
	return nil, fmt.Errorf("%w: %s was not extracted", ErrUnknownLayer, name)
}

// At returns the values of a stimulus at a timestep, by its number, not its index;
// nil if it was not reported. It must not be changed if the caller wants Data
// unchanged.
func (l *LayerFeatures) At(stimulus, timestep int) []float32 {
	index := slices.Index(l.Timesteps, timestep)
	size := l.Size()
	if index < 0 || stimulus < 0 || stimulus >= len(l.Data)/size/len(l.Timesteps) {
		return nil
	}
	start := (stimulus*len(l.Timesteps) + index) * size
	return l.Data[start : start+size]
}

// Extract computes features of stimuli and returns them all, in memory. The
// stimuli are shown by the presentation that the options say, Default() if none
// does. A context that is done ends it between two runs. Errors wrap those of this
// package, or come from reading the images.
func (m *Model) Extract(ctx context.Context, stimuli []Stimulus, options ...ExtractOption) (*Features, error) {
	x, err := m.Plan(options...)
	if err != nil {
		return nil, err
	}
	return x.Extract(ctx, stimuli)
}

// Extract runs the extraction; see Model.Extract.
func (x *Extraction) Extract(ctx context.Context, stimuli []Stimulus) (*Features, error) {
	if len(stimuli) == 0 {
		return nil, fmt.Errorf("%w: there are none", ErrImages)
	}
	if _, err := x.model.PrecisionError(ctx); err != nil {
		return nil, err
	}
	return x.collect(ctx, stimuli)
}

func (x *Extraction) collect(ctx context.Context, stimuli []Stimulus) (*Features, error) {
	f := &Features{Layers: make([]LayerFeatures, len(x.layers))}
	for i, l := range x.layers {
		f.Layers[i] = LayerFeatures{LayerOutput: l, Data: make([]float32, 0, len(stimuli)*len(l.Timesteps)*l.Size())}
	}
	if x.options.logits {
		f.Logits = make([]float32, 0, len(stimuli)*Classes)
	}
	err := x.Stream(ctx, slices.Values(stimuli), func(b *Batch) error {
		for i, s := range b.Stimuli {
			f.Stimuli = append(f.Stimuli, s.ID)
			f.Failed = append(f.Failed, b.Failed[i])
			for j := range f.Layers {
				var err error
				if f.Layers[j].Data, err = b.AppendFeatures(f.Layers[j].Data, j, i); err != nil {
					return err
				}
			}
			if x.options.logits {
				values, err := b.Logits(i)
				if err != nil {
					return err
				}
				if values == nil {
					f.Logits = appendNaN(f.Logits, Classes)
				}
				f.Logits = append(f.Logits, values...)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	f.Provenance = x.Provenance()
	return f, nil
}
