// Package unroll turns a model's specification into the graph of all its
// timesteps.
//
// There are two variants. Plain is the obvious unroll: every layer at every
// timestep, for every stimulus. It is the reference. LightCone computes the same
// function from values that each belong to one of three kinds, and computes each
// once for its kind:
//
//   - constant: what no image has reached yet. At timestep t an image shown from
//     timestep 0 has reached convN for t ≥ N-1 only; before that the layer
//     responds to zeros, the same for every image.
//   - per frame: what depends on the one frame that was shown some timesteps ago,
//     such as everything before the first recurrent layer. It is computed once for
//     every distinct frame.
//   - per stimulus: what depends on the history of a stimulus.
//
// The kinds follow from the operands, so the unroll itself (this file) and the
// cells (cells.go) are the same for both variants.
package unroll

import (
	"fmt"

	"github.com/tfconvrnn/go/internal/graph"
	"github.com/tfconvrnn/go/internal/tfpb"
	"github.com/tfconvrnn/go/internal/zoo"
)

// Variant says how the graph computes the model.
type Variant string

// The variants.
const (
	Plain     Variant = "plain"
	LightCone Variant = "lightcone"
)

// Names of the operations that a run feeds.
const (
	FramesName   = "frames"
	ScheduleName = "schedule"
	ImagesName   = "images"
)

// Kind says what a value belongs to, and with it the first dimension of its
// tensor: 1, the number of frames, or the number of stimuli.
type Kind int

// The kinds, from the least to the most dependent.
const (
	Constant Kind = iota
	PerFrame
	PerStimulus
)

// String returns the name under which costs are counted.
func (k Kind) String() string { return [...]string{"constant", "frame", "stimulus"}[k] }

// Feature is a layer's output at a timestep.
type Feature struct {
	Kind Kind
	// Shown is the timestep whose frame a PerFrame feature belongs to.
	Shown int
	// Compact has the first dimension of Kind.
	Compact graph.Tensor
	// Full has one item per stimulus, whatever the kind.
	Full graph.Tensor
}

// Boundary is a constant value that values of other kinds need. Feeding what it
// computed once spares every later run the computation.
type Boundary struct {
	Tensor graph.Tensor
	Shape  []int
}

// KnownFrames is a place where values of frames can be given that were computed
// before: fed with items of Source, they follow those of the frames that are fed.
// The blank, which most runs show, is then not computed in each.
type KnownFrames struct {
	Tensor, Source graph.Tensor
	Shape          []int // of one item
}

// Network is a model's graph of all timesteps.
type Network struct {
	Model   *zoo.Model
	Times   int
	Variant Variant
	Graph   *graph.Graph
	// Variables are what the graph's variables hold, by name.
	Variables []*Variable
	// Features holds every layer, in order, at every timestep.
	Features [][]Feature
	// Logits holds the decoded logits for presentations of 0 … Times timesteps;
	// those the decoder does not allow do not exist.
	Logits []graph.Tensor
	// DefaultLogits are Logits for the model's default presentation.
	DefaultLogits graph.Tensor
	Boundaries    []Boundary
	KnownFrames   []KnownFrames
}

// Options vary how a variant computes; the zero value is the default.
type Options struct {
	// MatMulPixels is the largest map, in pixels, on which a convolution of
	// stride 1 runs as a matrix product over patches (LightCone only).
	MatMulPixels int
}

// Unroll builds the graph of m for the given number of timesteps.
func Unroll(m *zoo.Model, times int, variant Variant, options Options) *Network {
	b := newBuilder(m, times, variant, options)
	layers := len(m.Layers)
	index := map[string]int{}
	for i := range m.Layers {
		index[m.Layers[i].Name] = i
	}
	outputs := make([][]value, times)
	states, older := make([][]value, layers), make([][]value, layers)
	for i := range m.Layers {
		states[i] = b.initialState(&m.Layers[i])
	}
	for t := range times {
		outputs[t] = make([]value, layers)
		// Layers read what others put out one timestep ago, so their order
		// within a timestep does not matter.
		previous := func(name string) value {
			if t == 0 {
				l := &m.Layers[index[name]]
				return b.zeros(l.Shape...)
			}
			return outputs[t-1][index[name]]
		}
		for i := range m.Layers {
			l := &m.Layers[i]
			b.enter(l.Name, t, states[i], older[i])
			var input value
			if l.Input == "" {
				input = b.frame(t)
			} else {
				input = previous(l.Input)
			}
			feedback := make([]value, len(l.Feedback))
			for j, name := range l.Feedback {
				feedback[j] = previous(name)
			}
			older[i] = states[i]
			outputs[t][i], states[i] = b.layer(l, input, feedback, states[i])
		}
	}
	return b.network(outputs)
}

// layer computes one layer at one timestep: zoo.md §3.
func (b *builder) layer(l *zoo.Layer, input value, feedback []value, state []value) (value, []value) {
	if l.FullyConnected() {
		return b.fullyConnected(b.averagePool(input), l.Name+"/pre_3"), nil
	}
	scope := l.Name + "/" + l.Pre.Scope
	x := b.convolution(input, b.kernel(scope+"/"+l.Pre.Weights), l.Pre.Stride, l.Pre.Valid)
	x = b.bias(x, scope+"/bias")
	if l.Pre.ELU {
		x = b.elu(x)
	}
	output, next := b.cell(l, x, input, feedback, state)
	if l.PostELU {
		output = b.elu(output)
	}
	if l.Residual {
		output = b.residual(l, output, input)
	}
	if l.MaxPool {
		output = b.maxPool(output)
	}
	if l.Pooled {
		output = b.averagePool(output)
	}
	return output, next
}

// residual is P in zoo.md §3: a convolution, plus the layer's input, through elu.
func (b *builder) residual(l *zoo.Layer, x, input value) value {
	x = b.convolution(x, b.kernel(l.Name+"/post_0/weights"), 1, false)
	x = b.bias(x, l.Name+"/post_0/bias")
	if l.InputDepth != l.CellDepth {
		input = b.convolution(input, b.kernel(l.Name+"/post_1/residual_add_weights"), 1, false)
	}
	return b.elu(b.add(x, input))
}

func (b *builder) network(outputs [][]value) *Network {
	n := &Network{
		Model: b.model, Times: b.times, Variant: b.variant, Graph: b.g,
		Features: make([][]Feature, len(b.model.Layers)),
		Logits:   make([]graph.Tensor, b.times+1),
	}
	for i := range b.model.Layers {
		l := &b.model.Layers[i]
		n.Features[i] = make([]Feature, b.times)
		for t := range b.times {
			n.Features[i][t] = b.feature(l, t, outputs[t][i])
		}
	}
	readout := len(b.model.Layers) - 1
	trajectory := make([]value, b.times)
	for t := range b.times {
		trajectory[t] = outputs[t][readout]
	}
	b.decode(trajectory, n.Logits)
	n.DefaultLogits = n.Logits[b.model.Default.Times]
	n.Variables = b.variables
	n.Boundaries = b.boundaries
	n.KnownFrames = b.known
	return n
}

// feature names a layer's output at timestep t.
func (b *builder) feature(l *zoo.Layer, t int, v value) Feature {
	f := Feature{Kind: v.kind, Shown: v.shown}
	b.enter(l.Name, t, nil, nil)
	identity := func(name string, x graph.Tensor) graph.Tensor {
		return b.g.Add(graph.Spec{Name: name, Op: "Identity", Inputs: []graph.Tensor{x},
			Attributes: graph.Attributes{"T": float}})
	}
	f.Full = identity(FeatureName(l.Name, t), b.broadcast(v))
	switch v.kind {
	case Constant:
		f.Compact = identity(fmt.Sprintf("features_constant/%s/t%d", l.Name, t), v.tensor)
	case PerFrame:
		f.Compact = identity("features_per_frame/"+l.Name, v.tensor)
	case PerStimulus:
		f.Compact = f.Full
	}
	return f
}

// FeatureName is the operation that puts out a layer at a timestep, one item per
// stimulus.
func FeatureName(layer string, timestep int) string {
	return fmt.Sprintf("features/%s/t%d", layer, timestep)
}

// LogitsName is the operation that puts out the logits decoded from a
// presentation of the given number of timesteps.
func LogitsName(times int) string { return fmt.Sprintf("logits/times%d", times) }

// Variable is a variable of the graph: a checkpoint variable or a part of one.
type Variable struct {
	// Name is the variable's name in the graph, Source the checkpoint variable.
	Name, Source string
	Shape        []int
	SourceShape  []int
	// From and To bound the input channels (the dimension before the last) that
	// a part of a kernel holds; To is 0 for a whole variable.
	From, To int
	// Shift is added to the last dimension's elements 0 to ShiftTo-1.
	Shift   float64
	ShiftTo int
}

// Values computes the variable from its source's values.
func (v *Variable) Values(source []float32) []float32 {
	values := source
	if v.To > 0 {
		rank := len(v.SourceShape)
		inner, channels := v.SourceShape[rank-1], v.SourceShape[rank-2]
		values = make([]float32, 0, len(source)/channels*(v.To-v.From))
		for start := 0; start < len(source); start += channels * inner {
			values = append(values, source[start+v.From*inner:start+v.To*inner]...)
		}
	}
	if v.ShiftTo == 0 {
		return values
	}
	last := v.Shape[len(v.Shape)-1]
	derived := make([]float32, len(values))
	for i, x := range values {
		shift := 0.0
		if i%last < v.ShiftTo {
			shift = v.Shift
		}
		derived[i] = float32(float64(x) + shift)
	}
	return derived
}

var float = graph.Type(tfpb.DataType_DT_FLOAT)
var int32Type = graph.Type(tfpb.DataType_DT_INT32)
