package kernels

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tfconvrnn/go/internal/graph"
	"github.com/tfconvrnn/go/internal/tfpb"
)

// Rewriting says how a graph is rewritten.
type Rewriting struct {
	// Key is put before the names of filters, so that graphs with other weights of the
	// same names do not share them.
	Key string
	// Threads is how many each operation may use.
	Threads int
	// Skip, if not nil, says which operations stay as they are.
	Skip func(name string) bool
	// Kept are the operations, besides those that other operations read, whose values
	// are read: they are never left out of a sum.
	Kept map[string]bool
}

// Rewrite puts Operation in the place of convolutions whose filters are variables:
// Conv2D with stride 1 and SAME padding, and matrix products over patches. Sums of two of
// them become one over joined channels, and depthwise ones a part of the 1×1 convolution
// behind them. Elementwise operations are fused; see Fuse. Names stay, and so do the operations that nobody
// needs then. The variables must not change while the graph is used. It returns the
// number of convolutions replaced.
func (r Rewriting) Rewrite(def *tfpb.GraphDef) int {
	w := newRewriter(r, def)
	count := 0
	for _, node := range def.Node {
		if w.skips(node.Name) {
			continue
		}
		if c := w.convolution(node); c != nil {
			w.put(node, c)
			count++
		}
	}
	w.read(def)
	for _, node := range def.Node {
		w.join(node)
		w.separable(node)
	}
	w.read(def)
	w.fuse(def)
	return count
}

type rewriter struct {
	Rewriting
	nodes map[string]*tfpb.NodeDef
	// readers of each operation, and those operations that nothing read at first: from them
	// on everything is needed.
	readers map[string][]string
	outputs []string
}

func newRewriter(r Rewriting, def *tfpb.GraphDef) *rewriter {
	w := &rewriter{Rewriting: r, nodes: make(map[string]*tfpb.NodeDef, len(def.Node)), readers: map[string][]string{}}
	for _, node := range def.Node {
		w.nodes[node.Name] = node
		for _, input := range node.Input {
			name := sourceOf(input)
			w.readers[name] = append(w.readers[name], node.Name)
		}
	}
	for _, node := range def.Node {
		if len(w.readers[node.Name]) == 0 || r.Kept[node.Name] {
			w.outputs = append(w.outputs, node.Name)
		}
	}
	return w
}

// read finds the readers anew, of what is still needed alone.
func (w *rewriter) read(def *tfpb.GraphDef) {
	needed := map[string]bool{}
	for stack := slices.Clone(w.outputs); len(stack) > 0; {
		name := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if node := w.nodes[name]; node != nil && !needed[name] {
			needed[name] = true
			for _, input := range node.Input {
				stack = append(stack, sourceOf(input))
			}
		}
	}
	w.readers = map[string][]string{}
	for _, node := range def.Node {
		if !needed[node.Name] {
			continue
		}
		for _, input := range node.Input {
			w.readers[sourceOf(input)] = append(w.readers[sourceOf(input)], node.Name)
		}
	}
}

// found is a convolution in the graph.
type found struct {
	inputs, filters, stencil, controls []string
	macs, per                          *tfpb.AttrValue
}

// operationOf returns the operation of an input.
func operationOf(input string) string {
	name, _, _ := strings.Cut(input, ":")
	return name
}

// sourceOf returns the operation of an input or a control input.
func sourceOf(input string) string { return strings.TrimPrefix(operationOf(input), "^") }

// outputOf returns the number of an input among its operation's outputs.
func outputOf(input string) int {
	_, number, _ := strings.Cut(input, ":")
	n, _ := strconv.Atoi(number)
	return n
}

// nameOf is the reverse of both.
func nameOf(operation string, output int) string {
	if output == 0 {
		return operation
	}
	return operation + ":" + strconv.Itoa(output)
}

// values and controls divide the inputs of an operation.
func values(node *tfpb.NodeDef) (list []string) {
	for _, input := range node.Input {
		if !strings.HasPrefix(input, "^") {
			list = append(list, input)
		}
	}
	return list
}

func controls(node *tfpb.NodeDef) (list []string) {
	for _, input := range node.Input {
		if strings.HasPrefix(input, "^") {
			list = append(list, input)
		}
	}
	return list
}

// input returns the operation of an op that puts out a node's i-th input, nil if that is
// another.
func (w *rewriter) input(node *tfpb.NodeDef, i int, op string) *tfpb.NodeDef {
	if node == nil {
		return nil
	}
	list := values(node)
	if i >= len(list) {
		return nil
	}
	if source := w.nodes[list[i]]; source != nil && source.Op == op {
		return source
	}
	return nil
}

// variable says whether an input is the value of a variable with four dimensions.
func (w *rewriter) variable(name string) bool {
	read := w.nodes[name]
	if read == nil || read.Op != "ReadVariableOp" {
		return false
	}
	handle := w.input(read, 0, "VarHandleOp")
	return handle != nil && handle.Attr["dtype"].GetType() == tfpb.DataType_DT_FLOAT && len(handle.Attr["shape"].GetShape().GetDim()) == 4
}

// convolution returns what a node computes if it is a convolution that Operation can do.
func (w *rewriter) convolution(node *tfpb.NodeDef) *found {
	switch node.Op {
	case "Conv2D":
		return w.conv2D(node)
	case "Reshape":
		return w.patchProduct(node)
	}
	return nil
}

func (w *rewriter) conv2D(node *tfpb.NodeDef) *found {
	list := values(node)
	if len(list) != 2 || !w.variable(list[1]) || node.Attr["T"].GetType() != tfpb.DataType_DT_FLOAT ||
		string(node.Attr["padding"].GetS()) != "SAME" || string(node.Attr["data_format"].GetS()) != "NHWC" ||
		!ones(node.Attr["strides"]) || !ones(node.Attr["dilations"]) {
		return nil
	}
	return &found{inputs: list[:1], filters: list[1:], controls: controls(node), macs: node.Attr["_tfconvrnn_macs"], per: node.Attr["_tfconvrnn_per"]}
}

func ones(list *tfpb.AttrValue) bool {
	numbers := list.GetList().GetI()
	for _, n := range numbers {
		if n != 1 {
			return false
		}
	}
	return len(numbers) == 4
}

// patchProduct finds the converter's form of a convolution on a small map: the last Reshape
// of Reshape, Pad, GatherV2, Reshape, MatMul, Reshape, or of Reshape, MatMul, Reshape for
// kernels of 1×1.
func (w *rewriter) patchProduct(node *tfpb.NodeDef) *found {
	product := w.input(node, 0, "MatMul")
	if product == nil || product.Attr["transpose_a"].GetB() || product.Attr["transpose_b"].GetB() {
		return nil
	}
	rows, matrix := w.input(product, 0, "Reshape"), w.input(product, 1, "Reshape")
	if rows == nil || matrix == nil || !w.variable(values(matrix)[0]) {
		return nil
	}
	c := &found{filters: values(matrix)[:1], macs: product.Attr["_tfconvrnn_macs"], per: product.Attr["_tfconvrnn_per"]}
	kernel := w.input(w.nodes[c.filters[0]], 0, "VarHandleOp").Attr["shape"].GetShape().GetDim()[0].GetSize()
	gather := w.input(rows, 0, "GatherV2")
	switch {
	case gather == nil && kernel == 1:
		c.inputs = values(rows)[:1]
	case gather != nil && kernel > 1:
		pad := w.input(gather, 0, "Pad")
		flat := w.input(pad, 0, "Reshape")
		if flat == nil {
			return nil
		}
		c.inputs, c.controls = values(flat)[:1], controls(pad)
	default:
		return nil
	}
	return c
}

// put makes a node a convolution.
func (w *rewriter) put(node *tfpb.NodeDef, c *found) {
	node.Op = Operation
	node.Input = slices.Concat(c.inputs, c.filters, c.stencil, c.controls)
	node.Attr = map[string]*tfpb.AttrValue{
		"sources": graph.Int(int64(len(c.inputs))), "stencils": graph.Int(int64(len(c.stencil))), "threads": graph.Int(int64(w.Threads)),
		"key": graph.String(w.Key + strings.Join(c.filters, " ")),
	}
	if c.macs != nil {
		node.Attr["_tfconvrnn_macs"], node.Attr["_tfconvrnn_per"] = c.macs, c.per
	}
}

// join makes a sum of two convolutions that nothing else reads one convolution.
func (w *rewriter) join(node *tfpb.NodeDef) {
	if node.Op != "AddV2" || node.Attr["T"].GetType() != tfpb.DataType_DT_FLOAT {
		return
	}
	a, b := w.input(node, 0, Operation), w.input(node, 1, Operation)
	if a == nil || b == nil || a == b {
		return
	}
	c := &found{controls: controls(node)}
	for _, part := range []*tfpb.NodeDef{a, b} {
		list := values(part)
		if len(w.readers[part.Name]) != 1 || w.Kept[part.Name] || len(list) != 2 {
			return
		}
		c.inputs, c.filters = append(c.inputs, list[0]), append(c.filters, list[1])
		c.controls = append(c.controls, controls(part)...)
		if macs := part.Attr["_tfconvrnn_macs"]; macs != nil {
			c.macs, c.per = graph.Int(c.macs.GetI()+macs.GetI()), part.Attr["_tfconvrnn_per"]
		}
	}
	// Both must be of one kernel and depth; what they are on has one size, or they could
	// not be added without one being repeated.
	shape := func(filter string) []*tfpb.TensorShapeProto_Dim {
		return w.input(w.nodes[filter], 0, "VarHandleOp").Attr["shape"].GetShape().GetDim()
	}
	first, second := shape(c.filters[0]), shape(c.filters[1])
	if first[0].GetSize() != second[0].GetSize() || first[3].GetSize() != second[3].GetSize() || !w.same(a, b) {
		return
	}
	w.put(node, c)
}

// separable takes a depthwise convolution that nothing else reads into the 1×1 convolution
// behind it.
func (w *rewriter) separable(node *tfpb.NodeDef) {
	if node.Op != Operation || len(values(node)) != 2 {
		return
	}
	before := w.input(node, 0, "DepthwiseConv2dNative")
	if before == nil || len(w.readers[before.Name]) != 1 || w.Kept[before.Name] {
		return
	}
	in := values(before)
	stencil, filter := w.variableShape(in[1]), w.variableShape(values(node)[1])
	if string(before.Attr["padding"].GetS()) != "SAME" || string(before.Attr["data_format"].GetS()) != "NHWC" || !ones(before.Attr["strides"]) || !ones(before.Attr["dilations"]) ||
		len(stencil) != 4 || stencil[0] != stencil[1] || stencil[0] > maxKernel || stencil[3] != 1 || len(filter) != 4 || filter[0] != 1 {
		return
	}
	c := &found{inputs: in[:1], filters: values(node)[1:], stencil: in[1:], controls: slices.Concat(controls(before), controls(node)), per: node.Attr["_tfconvrnn_per"]}
	if c.per != nil {
		c.macs = graph.Int(node.Attr["_tfconvrnn_macs"].GetI() + before.Attr["_tfconvrnn_macs"].GetI())
	}
	w.put(node, c)
}

// same says whether two convolutions have the same number of items.
func (w *rewriter) same(a, b *tfpb.NodeDef) bool {
	kind := func(n *tfpb.NodeDef) string { return string(n.Attr["_tfconvrnn_per"].GetS()) }
	return kind(a) != "" && kind(a) == kind(b)
}
