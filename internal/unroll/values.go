package unroll

import (
	"fmt"
	"path"
	"slices"

	"github.com/tfconvrnn/go/internal/graph"
	"github.com/tfconvrnn/go/internal/tfpb"
	"github.com/tfconvrnn/go/internal/zoo"
)

// value is a tensor [items, shape…] of one kind.
type value struct {
	tensor graph.Tensor
	shape  []int
	kind   Kind
	// shown is the timestep whose frame a PerFrame value belongs to.
	shown int
	// zero marks a value known to be 0, whose products need no computing.
	zero bool
}

func (v value) depth() int { return v.shape[len(v.shape)-1] }

// with returns a value of v's kind.
func (v value) with(t graph.Tensor, shape ...int) value {
	return value{tensor: t, shape: shape, kind: v.kind, shown: v.shown}
}

type builder struct {
	g       *graph.Graph
	model   *zoo.Model
	variant Variant
	times   int
	options Options

	shapes     map[string][]int // of the checkpoint's variables
	variables  []*Variable
	reads      map[string]graph.Tensor
	boundaries []Boundary
	boundaryOf map[graph.Tensor]graph.Tensor
	known      []KnownFrames
	knownOf    map[graph.Tensor]graph.Tensor

	frames   graph.Tensor
	schedule graph.Tensor
	stimuli  graph.Tensor // number of stimuli, [1]

	// What is being built.
	layerName string
	timestep  int
	throttle  graph.Tensor // the layer's state one timestep ago
	backlog   graph.Tensor // and two timesteps ago
}

func newBuilder(m *zoo.Model, times int, variant Variant, options Options) *builder {
	b := &builder{
		g: graph.New(), model: m, variant: variant, times: times, options: options, layerName: "initial",
		shapes: map[string][]int{}, reads: map[string]graph.Tensor{}, boundaryOf: map[graph.Tensor]graph.Tensor{},
		knownOf: map[graph.Tensor]graph.Tensor{},
	}
	for _, v := range m.Variables() {
		b.shapes[v.Name] = v.Shape
	}
	b.inputs()
	return b
}

// inputs makes the frames and the schedule, each with a default that presents
// the images of the serving signature as the model was trained.
func (b *builder) inputs() {
	g, m := b.g, b.model
	images := g.Add(graph.Spec{Name: ImagesName, Op: "Placeholder", Attributes: graph.Attributes{
		"dtype": float, "shape": graph.Shape(-1, zoo.ImageSize, zoo.ImageSize, 3),
	}})
	mean := g.Floats("preprocess/mean", []float32{0.485, 0.456, 0.406}, 3)
	deviation := g.Floats("preprocess/standard_deviation", []float32{0.229, 0.224, 0.225}, 3)
	centred := g.Add(graph.Spec{Name: "preprocess/centred", Op: "Sub", Inputs: []graph.Tensor{images, mean},
		Attributes: graph.Attributes{"T": float}})
	normalized := g.Add(graph.Spec{Name: "preprocess/normalized", Op: "RealDiv",
		Inputs: []graph.Tensor{centred, deviation}, Attributes: graph.Attributes{"T": float}})
	half := g.Floats("preprocess/half", []float32{0.5})
	blankShape := g.Int32s("preprocess/blank_shape", []int32{1, zoo.ImageSize, zoo.ImageSize, 3}, 4)
	blank := g.Add(graph.Spec{Name: "preprocess/blank", Op: "Fill", Inputs: []graph.Tensor{blankShape, half},
		Attributes: graph.Attributes{"T": float, "index_type": int32Type}})
	zero := g.Int32s("axis0", []int32{0})
	shown := g.Add(graph.Spec{Name: "preprocess/frames", Op: "ConcatV2", Inputs: []graph.Tensor{normalized, blank, zero},
		Attributes: graph.Attributes{
			"N": graph.Int(2), "T": float, "Tidx": int32Type,
		}})
	b.frames = g.Add(graph.Spec{Name: FramesName, Op: "PlaceholderWithDefault", Inputs: []graph.Tensor{shown},
		Attributes: graph.Attributes{
			"dtype": float, "shape": graph.Shape(-1, zoo.ImageSize, zoo.ImageSize, 3),
		}})

	one := g.Int32s("one", []int32{1})
	count := b.firstDimension("preprocess", images)
	numbers := g.Add(graph.Spec{Name: "preprocess/numbers", Op: "Range", Inputs: []graph.Tensor{zero, count, one},
		Attributes: graph.Attributes{"Tidx": int32Type}})
	on := make([]byte, b.times)
	for t := range on {
		if t < m.Default.ImageOff || m.Default.ImageOff >= m.Default.Times {
			on[t] = 1
		}
	}
	isOn := g.Add(graph.Spec{Name: "preprocess/image_on", Op: "Const", Attributes: graph.Attributes{
		"dtype": graph.Type(tfpb.DataType_DT_BOOL),
		"value": {Value: &tfpb.AttrValue_Tensor{Tensor: &tfpb.TensorProto{
			Dtype: tfpb.DataType_DT_BOOL, TensorShape: graph.ShapeProto(b.times, 1), TensorContent: on,
		}}},
	}})
	standard := g.Add(graph.Spec{Name: "preprocess/schedule", Op: "SelectV2", Inputs: []graph.Tensor{isOn, numbers, count},
		Attributes: graph.Attributes{"T": int32Type}})
	b.schedule = g.Add(graph.Spec{Name: ScheduleName, Op: "PlaceholderWithDefault", Inputs: []graph.Tensor{standard},
		Attributes: graph.Attributes{
			"dtype": int32Type, "shape": graph.Shape(-1, -1),
		}})
	shape := g.Add(graph.Spec{Name: "stimuli/shape", Op: "Shape", Inputs: []graph.Tensor{b.schedule},
		Attributes: graph.Attributes{"T": int32Type, "out_type": int32Type}})
	b.stimuli = b.slice("stimuli/count", shape, 1, 2, false)
}

func (b *builder) firstDimension(scope string, x graph.Tensor) graph.Tensor {
	shape := b.g.Add(graph.Spec{Name: scope + "/shape", Op: "Shape", Inputs: []graph.Tensor{x},
		Attributes: graph.Attributes{"T": float, "out_type": int32Type}})
	return b.slice(scope+"/count", shape, 0, 1, true)
}

// slice returns elements from … to-1 of an int32 vector, or the scalar at from.
func (b *builder) slice(name string, x graph.Tensor, from, to int32, scalar bool) graph.Tensor {
	mask := int64(0)
	if scalar {
		mask = 1
	}
	return b.g.Add(graph.Spec{Name: name, Op: "StridedSlice", Inputs: []graph.Tensor{
		x,
		b.g.Int32s(fmt.Sprintf("slice/%d", from), []int32{from}, 1),
		b.g.Int32s(fmt.Sprintf("slice/%d", to), []int32{to}, 1),
		b.g.Int32s("slice/1", []int32{1}, 1),
	}, Attributes: graph.Attributes{
		"T": int32Type, "Index": int32Type, "begin_mask": graph.Int(0), "end_mask": graph.Int(0),
		"ellipsis_mask": graph.Int(0), "new_axis_mask": graph.Int(0), "shrink_axis_mask": graph.Int(mask),
	}})
}

// enter says which layer and timestep the following operations belong to, and the
// layer's states one and two timesteps ago. Operations that need no state wait for
// them all the same, gathers of frames for the former and convolutions for the
// latter: otherwise those of all timesteps would run as soon as they can and hold
// memory until their turn.
func (b *builder) enter(layer string, timestep int, last, older []value) {
	b.layerName, b.timestep = layer, timestep
	driven := func(state []value) graph.Tensor {
		if len(state) > 0 && state[0].kind == PerStimulus {
			return state[0].tensor
		}
		return graph.Tensor{}
	}
	b.throttle, b.backlog = driven(last), driven(older)
}

// op puts an operation into the graph under a name that tells its kind, layer
// and timestep.
func (b *builder) op(op string, like value, attributes graph.Attributes, macs int64,
	inputs ...graph.Tensor) graph.Tensor {
	var scope string
	switch like.kind {
	case Constant:
		scope = fmt.Sprintf("constant/%s/t%d", b.layerName, b.timestep)
	case PerFrame:
		scope = "per_frame/" + b.layerName
	case PerStimulus:
		scope = fmt.Sprintf("%s/t%d", b.layerName, b.timestep)
	}
	spec := graph.Spec{
		Name: scope + "/" + op, Op: op, Inputs: inputs, Attributes: attributes,
		Cost: graph.Cost{MACs: macs, Per: like.kind.String()},
	}
	if b.variant != Plain && like.kind == PerStimulus && (op == "Conv2D" || op == "Pad") && b.backlog.Exists() {
		spec.Controls = []graph.Tensor{b.backlog}
	}
	return b.g.Add(spec)
}

// frame is the image shown at timestep t.
func (b *builder) frame(t int) value {
	v := value{tensor: b.frames, shape: []int{zoo.ImageSize, zoo.ImageSize, 3}, kind: PerFrame, shown: t}
	if b.variant == Plain {
		return b.gather(v)
	}
	return v
}

// zeros is a value of zeros.
func (b *builder) zeros(shape ...int) value {
	v := value{shape: shape, kind: Constant, zero: true}
	if b.variant == Plain {
		v.tensor = b.g.Zeros("zeros", append([]int{1}, shape...)...)
		v = b.toStimuli(v)
		v.zero = false
	}
	return v
}

// materialize gives a zero value a tensor.
func (b *builder) materialize(v value) value {
	if v.zero && !v.tensor.Exists() {
		v.tensor = b.g.Zeros("zeros", append([]int{1}, v.shape...)...)
	}
	return v
}

// joined is the kind of what is computed from values: of equal kinds that kind,
// otherwise the least that covers them.
func joined(values ...value) value {
	result := value{kind: Constant}
	for _, v := range values {
		switch {
		case v.kind == Constant:
		case v.kind == PerStimulus, result.kind == PerFrame && result.shown != v.shown:
			result.kind = PerStimulus
		case result.kind == Constant:
			result.kind, result.shown = PerFrame, v.shown
		}
	}
	return result
}

// as returns v's tensor for an operation of the given kind. A constant keeps its
// first dimension of 1, which elementwise operations broadcast.
func (b *builder) as(v value, like value) graph.Tensor {
	v = b.materialize(v)
	switch {
	case v.kind == like.kind:
		return v.tensor
	case v.kind == Constant:
		return b.boundary(v)
	default:
		return b.gather(v).tensor
	}
}

// boundary marks a constant that other kinds need.
func (b *builder) boundary(v value) graph.Tensor {
	if v.zero {
		return v.tensor
	}
	if t, ok := b.boundaryOf[v.tensor]; ok {
		return t
	}
	shape := append([]int{1}, v.shape...)
	t := b.g.Add(graph.Spec{
		Name: fmt.Sprintf("boundary/%d", len(b.boundaries)), Op: "PlaceholderWithDefault",
		Inputs:     []graph.Tensor{v.tensor},
		Attributes: graph.Attributes{"dtype": float, "shape": graph.Shape(shape...)},
	})
	b.boundaryOf[v.tensor] = t
	b.boundaries = append(b.boundaries, Boundary{t, shape})
	return t
}

// withKnown appends the values of known frames to those of the fed frames.
func (b *builder) withKnown(v value) graph.Tensor {
	if b.variant == Plain {
		return v.tensor
	}
	if t, ok := b.knownOf[v.tensor]; ok {
		return t
	}
	scope := fmt.Sprintf("known_frames/%d", len(b.known))
	given := b.g.Add(graph.Spec{
		Name: scope, Op: "PlaceholderWithDefault",
		Inputs:     []graph.Tensor{b.g.Zeros("none", append([]int{0}, v.shape...)...)},
		Attributes: graph.Attributes{"dtype": float, "shape": graph.Shape(append([]int{-1}, v.shape...)...)},
	})
	all := b.g.Add(graph.Spec{
		Name: scope + "/all", Op: "ConcatV2",
		Inputs:     []graph.Tensor{v.tensor, given, b.g.Int32s("axis0", []int32{0})},
		Attributes: graph.Attributes{"N": graph.Int(2), "T": float, "Tidx": int32Type},
	})
	b.known = append(b.known, KnownFrames{Tensor: given, Source: v.tensor, Shape: v.shape})
	b.knownOf[v.tensor] = all
	return all
}

// gather picks for every stimulus the frame shown at v.shown.
func (b *builder) gather(v value) value {
	row := b.g.Add(graph.Spec{
		Name: fmt.Sprintf("schedule/t%d", v.shown), Op: "GatherV2",
		Inputs: []graph.Tensor{
			b.schedule, b.g.Int32s(fmt.Sprintf("timestep/%d", v.shown), []int32{int32(v.shown)}),
			b.g.Int32s("axis0", []int32{0}),
		},
		Attributes: graph.Attributes{"Tparams": int32Type, "Tindices": int32Type, "Taxis": int32Type,
			"batch_dims": graph.Int(0)},
	})
	spec := graph.Spec{
		Name: fmt.Sprintf("%s/t%d/GatherV2", b.layerName, b.timestep), Op: "GatherV2",
		Inputs:     []graph.Tensor{b.withKnown(v), row, b.g.Int32s("axis0", []int32{0})},
		Attributes: graph.Attributes{"Tparams": float, "Tindices": int32Type, "Taxis": int32Type, "batch_dims": graph.Int(0)},
	}
	if b.throttle.Exists() {
		spec.Controls = []graph.Tensor{b.throttle}
	}
	return value{tensor: b.g.Add(spec), shape: v.shape, kind: PerStimulus}
}

// toStimuli gives v one item per stimulus.
func (b *builder) toStimuli(v value) value {
	return value{tensor: b.broadcast(v), shape: v.shape, kind: PerStimulus}
}

func (b *builder) broadcast(v value) graph.Tensor {
	v = b.materialize(v)
	switch v.kind {
	case PerStimulus:
		return v.tensor
	case PerFrame:
		return b.gather(v).tensor
	}
	ones := make([]int32, len(v.shape))
	for i := range ones {
		ones[i] = 1
	}
	rest := b.g.Int32s(fmt.Sprintf("ones/%d", len(ones)), ones, len(ones))
	multiples := b.g.Add(graph.Spec{Name: fmt.Sprintf("stimuli/multiples%d", len(ones)), Op: "ConcatV2",
		Inputs:     []graph.Tensor{b.stimuli, rest, b.g.Int32s("axis0", []int32{0})},
		Attributes: graph.Attributes{"N": graph.Int(2), "T": int32Type, "Tidx": int32Type}})
	return b.op("Tile", value{kind: PerStimulus}, graph.Attributes{"T": float, "Tmultiples": int32Type}, 0, b.boundary(v),
		multiples)
}

// weights is a kernel, or the input channels from … to-1 of one (to is 0 for all).
type weights struct {
	name     string
	shape    []int
	from, to int
}

func (b *builder) kernel(name string) weights {
	full := path.Join(zoo.VariableScope, name)
	shape, ok := b.shapes[full]
	if !ok {
		panic(fmt.Sprintf("unroll: %s has no variable %s", b.model.Name, full))
	}
	return weights{name: full, shape: slices.Clone(shape)}
}

// part restricts a kernel to some of its input channels.
func (w weights) part(from, to int) weights {
	w.shape = slices.Clone(w.shape)
	w.shape[len(w.shape)-2] = to - from
	w.from, w.to = w.from+from, w.from+to
	return w
}

func (b *builder) read(w weights) graph.Tensor {
	name := w.name
	if w.to > 0 {
		name += fmt.Sprintf("/channels_%d_%d", w.from, w.to)
	}
	return b.variable(&Variable{
		Name: name, Source: w.name, Shape: w.shape, SourceShape: b.shapes[w.name], From: w.from, To: w.to,
	})
}

func (b *builder) variable(v *Variable) graph.Tensor {
	if v.ShiftTo != 0 {
		v.Name += fmt.Sprintf("/plus_%.9g_to_%d", v.Shift, v.ShiftTo)
	}
	if t, ok := b.reads[v.Name]; ok {
		return t
	}
	t := b.g.Add(graph.Spec{Name: v.Name + "/Read", Op: "ReadVariableOp",
		Inputs: []graph.Tensor{b.g.Variable(v.Name, v.Shape)}, Attributes: graph.Attributes{"dtype": float}})
	b.reads[v.Name] = t
	b.variables = append(b.variables, v)
	return t
}
