package kernels

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/tfconvrnn/go/internal/graph"
	"github.com/tfconvrnn/go/internal/tfpb"
)

// Elementwise is the name of the operation that does several elementwise ones in one pass
// over memory.
const Elementwise = "TfconvrnnElementwise"

// The instructions of the C code, in its order.
const (
	add = iota
	subtract
	multiply
	addNumber
	multiplyNumber
	fromNumber
	sigmoid
	tanh
	elu
	relu
)

// The limits of the C code.
const (
	registers       = 16
	maxOperands     = 16
	maxInstructions = 64
)

// kind is what is known of a tensor of the graph.
type kind struct {
	// rank is 4 for maps [items, height, width, channels], 3 for the same without items,
	// 1 for a vector over channels, and 0 where nothing is known.
	rank, channels int
	// number is that of a constant scalar.
	number *float32
}

var functions = map[string]int{"Sigmoid": sigmoid, "Tanh": tanh, "Elu": elu, "Relu": relu}
var binaries = map[string]int{"AddV2": add, "BiasAdd": add, "Sub": subtract, "Mul": multiply}

// kinds finds out what the tensors of a graph in topological order are.
func (w *rewriter) kinds(def *tfpb.GraphDef) map[string]kind {
	kinds := map[string]kind{}
	for _, node := range def.Node {
		if k := w.kindOf(node, kinds); k.rank > 0 || k.number != nil {
			kinds[node.Name] = k
		}
	}
	return kinds
}

func (w *rewriter) kindOf(node *tfpb.NodeDef, kinds map[string]kind) kind {
	in := values(node)
	first := kind{}
	if len(in) > 0 {
		first = kinds[operationOf(in[0])]
	}
	switch node.Op {
	case Operation:
		return kind{rank: 4, channels: int(node.Attr["depth"].GetI())}
	case Normal:
		if shape := w.variableShape(in[1]); len(shape) == 1 {
			return kind{rank: 4, channels: 2 * shape[0]}
		}
	case "Conv2D":
		if shape := w.variableShape(in[1]); len(shape) == 4 {
			return kind{rank: 4, channels: shape[3]}
		}
	case "DepthwiseConv2dNative":
		if shape := w.variableShape(in[1]); len(shape) == 4 {
			return kind{rank: 4, channels: shape[2] * shape[3]}
		}
	case "MaxPool", "ResizeBilinear":
		return first
	case "Identity":
		return kind{rank: first.rank, channels: first.channels}
	case "GatherV2":
		if first.rank == 4 && node.Attr["Tparams"].GetType() == tfpb.DataType_DT_FLOAT && w.axis(in, 2) == 0 {
			return first
		}
	case "ConcatV2":
		if first.rank == 4 && w.axis(in, len(in)-1) == 0 {
			return first
		}
	case "PlaceholderWithDefault":
		if shape := node.Attr["shape"].GetShape(); node.Attr["dtype"].GetType() == tfpb.DataType_DT_FLOAT &&
			!shape.GetUnknownRank() {
			return ofShape(shape)
		}
	case "ReadVariableOp":
		if shape := w.variableShape(node.Name); len(shape) == 1 || len(shape) == 3 {
			return kind{rank: len(shape), channels: shape[len(shape)-1]}
		}
	case "Const":
		return ofConstant(node.Attr["value"].GetTensor())
	case "Sigmoid", "Tanh", "Elu", "Relu":
		return kind{rank: first.rank, channels: first.channels}
	case "AddV2", "BiasAdd", "Sub", "Mul":
		return together(first, kinds[operationOf(in[1])])
	case "Split":
		of := kinds[operationOf(in[1])]
		if parts := int(node.Attr["num_split"].GetI()); of.rank == 4 && w.axis(in, 0) == 3 && parts > 0 &&
			of.channels%parts == 0 {
			return kind{rank: 4, channels: of.channels / parts}
		}
	}
	return kind{}
}

// together is the kind of an elementwise operation on two.
func together(a, b kind) kind {
	switch {
	case a.number != nil && b.rank == 4:
		return b
	case b.number != nil && a.rank == 4:
		return a
	case a.rank == 0 || b.rank == 0 || a.channels != b.channels || max(a.rank, b.rank) != 4:
		return kind{}
	}
	return kind{rank: 4, channels: a.channels}
}

func ofShape(shape *tfpb.TensorShapeProto) kind {
	if dims := shape.GetDim(); len(dims) == 4 && dims[3].GetSize() > 0 {
		return kind{rank: 4, channels: int(dims[3].GetSize())}
	}
	return kind{}
}

func ofConstant(t *tfpb.TensorProto) kind {
	if t.GetDtype() != tfpb.DataType_DT_FLOAT {
		return kind{}
	}
	if content := t.GetTensorContent(); len(t.GetTensorShape().GetDim()) == 0 && len(content) == 4 {
		number := math.Float32frombits(binary.LittleEndian.Uint32(content))
		return kind{number: &number}
	}
	return ofShape(t.GetTensorShape())
}

// axis returns the constant in an operation's i-th input, -1 if it is no such.
func (w *rewriter) axis(in []string, i int) int {
	if i >= len(in) || w.nodes[in[i]] == nil {
		return -1
	}
	content := w.nodes[in[i]].Attr["value"].GetTensor().GetTensorContent()
	if len(content) != 4 {
		return -1
	}
	return int(int32(binary.LittleEndian.Uint32(content)))
}

// Fuse puts Elementwise in the place of two and more elementwise operations on maps, of
// which nobody else reads what is in between. What is cheap is computed again for each
// that reads it. Names stay. It returns the number of operations put in.
func (r Rewriting) Fuse(def *tfpb.GraphDef) int { return newRewriter(r, def).fuse(def) }

func (w *rewriter) fuse(def *tfpb.GraphDef) int {
	f := &fuser{rewriter: w, kinds: w.kinds(def), taken: map[string]bool{}}
	count := 0
	// From the outputs up, so that what is absorbed has not been put in itself.
	for _, node := range slices.Backward(def.Node) {
		if f.taken[node.Name] || !f.fusable(node) || f.skips(node.Name) {
			continue
		}
		if f.fuse(node) {
			count++
		}
	}
	return count
}

type fuser struct {
	*rewriter
	kinds map[string]kind
	taken map[string]bool // absorbed by all their readers
}

func (w *rewriter) skips(name string) bool { return w.Skip != nil && w.Skip(name) }

func (f *fuser) fusable(node *tfpb.NodeDef) bool {
	_, function := functions[node.Op]
	_, binary := binaries[node.Op]
	k := f.kinds[node.Name]
	return (function || binary || node.Op == "Split") && k.rank == 4 && len(controls(node)) == 0
}

// fuse puts Elementwise in the place of a node and all that only it needs, if that is more
// than one.
func (f *fuser) fuse(root *tfpb.NodeDef) bool {
	if root.Op == "Split" {
		return false
	}
	members := f.members(root)
	p := &program{fuser: f, members: members, values: map[operand]int{}}
	p.value(operand{node: root.Name, parts: 1})
	if len(p.instructions) < 2 || !p.allocate() {
		return false
	}
	for name := range members {
		if name != root.Name && f.onlyIn(name, members) {
			f.taken[name] = true
		}
	}
	p.put(root)
	return true
}

// members returns the operations that are computed with a root: those that only members
// read, and cheap ones whose readers could all be members of something.
func (f *fuser) members(root *tfpb.NodeDef) map[string]bool {
	members := map[string]bool{root.Name: true}
	for again := true; again; {
		again = false
		for name := range members {
			for _, input := range values(f.nodes[name]) {
				source := f.nodes[operationOf(input)]
				if source == nil || members[source.Name] || f.Kept[source.Name] || !f.fusable(source) {
					continue
				}
				if f.onlyIn(source.Name, members) || f.cheap(source) {
					members[source.Name], again = true, true
				}
			}
		}
	}
	return members
}

// onlyIn says whether only members read an operation.
func (f *fuser) onlyIn(name string, members map[string]bool) bool {
	for _, reader := range f.readers[name] {
		if !members[reader] {
			return false
		}
	}
	return !f.Kept[name]
}

// cheap says whether an operation is better computed by each of its readers.
func (f *fuser) cheap(node *tfpb.NodeDef) bool {
	if _, ok := binaries[node.Op]; !ok && node.Op != "Split" {
		return false
	}
	for _, reader := range f.readers[node.Name] {
		if n := f.nodes[reader]; n == nil || !f.fusable(n) || slices.Contains(controls(n), "^"+node.Name) {
			return false
		}
	}
	return true
}

// operand is a tensor, or a part of its channels.
type operand struct {
	node        string
	output      int
	part, parts int
}

type instruction struct {
	operation, a, b int // operands are -1-i, instructions i
	number          float32
}

// program collects what a group computes.
type program struct {
	*fuser
	members      map[string]bool
	values       map[operand]int
	inputs       []operand
	instructions []instruction
	places       []int // registers of the instructions
}

// value returns where a part of a tensor is: the number of an instruction, or -1-i for the
// i-th input.
func (p *program) value(o operand) int {
	if at, ok := p.values[o]; ok {
		return at
	}
	at := 0
	if node := p.nodes[o.node]; p.members[o.node] {
		at = p.compute(node, o)
	} else {
		p.inputs = append(p.inputs, o)
		at = -len(p.inputs)
	}
	p.values[o] = at
	return at
}

// of is an operand's part of an input.
func (o operand) of(input string) operand {
	return operand{node: operationOf(input), output: outputOf(input), part: o.part, parts: o.parts}
}

func (p *program) compute(node *tfpb.NodeDef, o operand) int {
	in := values(node)
	if node.Op == "Split" {
		return p.value(operand{node: operationOf(in[1]), output: outputOf(in[1]), part: o.part + o.output*o.parts,
			parts: o.parts * int(node.Attr["num_split"].GetI())})
	}
	i := instruction{}
	if function, ok := functions[node.Op]; ok {
		i.operation, i.a = function, p.value(o.of(in[0]))
		i.b = i.a
	} else {
		i = p.binary(node, in, o)
	}
	p.instructions = append(p.instructions, i)
	return len(p.instructions) - 1
}

func (p *program) binary(node *tfpb.NodeDef, in []string, o operand) instruction {
	left, right := p.kinds[operationOf(in[0])].number, p.kinds[operationOf(in[1])].number
	withNumber := map[string]int{"AddV2": addNumber, "Mul": multiplyNumber}
	operation, commutes := withNumber[node.Op]
	i := instruction{operation: operation}
	switch {
	case right != nil && commutes:
		i.number, i.a = *right, p.value(o.of(in[0]))
	case right != nil: // x - n
		i.operation, i.number, i.a = addNumber, -*right, p.value(o.of(in[0]))
	case left != nil && commutes:
		i.number, i.a = *left, p.value(o.of(in[1]))
	case left != nil: // n - x
		i.operation, i.number, i.a = fromNumber, *left, p.value(o.of(in[1]))
	default:
		return instruction{operation: binaries[node.Op], a: p.value(o.of(in[0])), b: p.value(o.of(in[1]))}
	}
	i.b = i.a
	return i
}

// allocate gives each instruction a register, and says whether there are enough of them.
func (p *program) allocate() bool {
	if len(p.instructions) > maxInstructions || len(p.inputs) > maxOperands {
		return false
	}
	last := make([]int, len(p.instructions))
	for at, i := range p.instructions {
		for _, from := range []int{i.a, i.b} {
			if from >= 0 {
				last[from] = at
			}
		}
	}
	p.places = make([]int, len(p.instructions))
	var until [registers]int // when a register is free
	for at := range p.instructions {
		found := false
		for r := 0; r < registers && !found; r++ {
			if until[r] <= at {
				p.places[at], until[r], found = r, last[at], true
			}
		}
		if !found {
			return false
		}
	}
	return true
}

// put makes a node the program.
func (p *program) put(node *tfpb.NodeDef) {
	place := func(from int) int64 {
		if from < 0 {
			return int64(registers - 1 - from)
		}
		return int64(p.places[from])
	}
	var part, parts, operation, to, a, b []int64
	var numbers []float32
	node.Input = nil
	for _, o := range p.inputs {
		node.Input = append(node.Input, nameOf(o.node, o.output))
		part, parts = append(part, int64(o.part)), append(parts, int64(o.parts))
	}
	for at, i := range p.instructions {
		operation, to = append(operation, int64(i.operation)), append(to, int64(p.places[at]))
		a, b = append(a, place(i.a)), append(b, place(i.b))
		numbers = append(numbers, i.number)
	}
	node.Op = Elementwise
	node.Attr = map[string]*tfpb.AttrValue{
		"count": graph.Int(int64(len(p.inputs))), "part": graph.Ints(part...), "parts": graph.Ints(parts...),
		"operation": graph.Ints(operation...), "to": graph.Ints(to...), "a": graph.Ints(a...), "b": graph.Ints(b...),
		"number":  {Value: &tfpb.AttrValue_List{List: &tfpb.AttrValue_ListValue{F: numbers}}},
		"threads": graph.Int(int64(p.Threads)),
	}
}
