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
	// Key names the graph to [Provide], so that graphs with other weights of the same names
	// do not share them. It has no spaces.
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
// behind them. Layer norms compute their moments in one operation. Elementwise operations are
// fused; see Fuse. Names stay, and so do the operations that nobody needs then. The filters are read through [Provide],
// and must not change while the graph is used. It returns the variables that the graph then neither restores nor keeps
// in memory.
func (r Rewriting) Rewrite(def *tfpb.GraphDef) (provided []string) {
	w := newRewriter(r, def)
	for _, node := range def.Node {
		if w.skips(node.Name) {
			continue
		}
		if c := w.convolution(node); c != nil {
			w.put(node, c)
		}
	}
	w.read(def)
	for _, node := range def.Node {
		w.join(node)
		w.separable(node)
	}
	w.read(def)
	w.share(def)
	w.normalize(def)
	w.read(def)
	w.fuse(def)
	w.read(def)
	return w.release(def)
}

type rewriter struct {
	Rewriting
	nodes map[string]*tfpb.NodeDef
	// convolutions are the operations put in, by name.
	convolutions map[string]*found
	// readers of each operation, and those operations that nothing read at first: from them
	// on everything is needed.
	readers map[string][]string
	outputs []string
}

func newRewriter(r Rewriting, def *tfpb.GraphDef) *rewriter {
	w := &rewriter{Rewriting: r, nodes: make(map[string]*tfpb.NodeDef, len(def.Node)), convolutions: map[string]*found{},
		readers: map[string][]string{}}
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
	needed := w.needed(always)
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

func always(string) bool { return true }

// needed returns the operations that outputs need, by way of those that through says.
func (w *rewriter) needed(through func(name string) bool) map[string]bool {
	needed := map[string]bool{}
	for stack := slices.Clone(w.outputs); len(stack) > 0; {
		name := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if node := w.nodes[name]; node != nil && !needed[name] && through(name) {
			needed[name] = true
			for _, input := range node.Input {
				stack = append(stack, sourceOf(input))
			}
		}
	}
	return needed
}

// found is a convolution in the graph.
type found struct {
	// filters are the operations that read them.
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

// handle returns the variable that an operation reads, or nil.
func (w *rewriter) handle(name string) *tfpb.NodeDef {
	if read := w.nodes[name]; read != nil && read.Op == "ReadVariableOp" {
		return w.input(read, 0, "VarHandleOp")
	}
	return nil
}

// variableShape returns the shape of the variable of floats that an operation reads.
func (w *rewriter) variableShape(name string) (shape []int) {
	handle := w.handle(name)
	if handle == nil || handle.Attr["dtype"].GetType() != tfpb.DataType_DT_FLOAT {
		return nil
	}
	for _, d := range handle.Attr["shape"].GetShape().GetDim() {
		shape = append(shape, int(d.GetSize()))
	}
	return shape
}

// isFilter says whether an input is the value of a variable that can be a filter.
func (w *rewriter) isFilter(name string) bool {
	shape := w.variableShape(name)
	return len(shape) == 4 && shape[0] == shape[1] && shape[0] <= maxKernel && slices.Min(shape) > 0 &&
		slices.Max(shape) <= maxDimension
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
	if len(list) != 2 || !w.isFilter(list[1]) || node.Attr["T"].GetType() != tfpb.DataType_DT_FLOAT ||
		string(node.Attr["padding"].GetS()) != "SAME" || string(node.Attr["data_format"].GetS()) != "NHWC" ||
		!ones(node.Attr["strides"]) || !ones(node.Attr["dilations"]) {
		return nil
	}
	return &found{inputs: list[:1], filters: list[1:], controls: controls(node), macs: node.Attr["_tfconvrnn_macs"],
		per: node.Attr["_tfconvrnn_per"]}
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
	if rows == nil || matrix == nil || !w.isFilter(values(matrix)[0]) {
		return nil
	}
	c := &found{filters: values(matrix)[:1], macs: product.Attr["_tfconvrnn_macs"], per: product.Attr["_tfconvrnn_per"]}
	kernel := w.variableShape(c.filters[0])[0]
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
	w.convolutions[node.Name] = c
	node.Op = Operation
	node.Input = slices.Concat(c.inputs, c.stencil, c.controls)
	node.Attr = map[string]*tfpb.AttrValue{
		"sources": graph.Int(int64(len(c.inputs))), "stencils": graph.Int(int64(len(c.stencil))),
		"threads": graph.Int(int64(w.Threads)),
	}
	w.name(node, c.filters, 0)
	if c.macs != nil {
		node.Attr["_tfconvrnn_macs"], node.Attr["_tfconvrnn_per"] = c.macs, c.per
	}
}

// name says which filters a convolution has: those from first on of the given ones.
func (w *rewriter) name(node *tfpb.NodeDef, filters []string, first int) {
	var variables []string
	var channels []int64
	for _, filter := range filters {
		variables, channels = append(variables, w.handle(filter).Name), append(channels, int64(w.variableShape(filter)[2]))
	}
	shape := w.variableShape(filters[0])
	node.Attr["key"], node.Attr["first"] = graph.String(keyOf(w.Key, variables)), graph.Int(int64(first))
	node.Attr["kernel"], node.Attr["channels"], node.Attr["depth"] = graph.Int(int64(shape[0])), graph.Ints(channels...),
		graph.Int(int64(shape[3]))
}

// share makes convolutions with some of the filters of another use its packed weights, so
// that none is in memory twice: a cell without a state convolves its input alone.
func (w *rewriter) share(def *tfpb.GraphDef) {
	groups, needed := map[string][]string{}, w.needed(always)
	for _, node := range def.Node {
		if c := w.convolutions[node.Name]; c != nil && len(c.filters) > 1 && needed[node.Name] {
			for _, filter := range c.filters {
				if group, ok := groups[filter]; !ok {
					groups[filter] = c.filters
				} else if !slices.Equal(group, c.filters) {
					groups[filter] = nil // in several
				}
			}
		}
	}
	for _, node := range def.Node {
		c := w.convolutions[node.Name]
		if c == nil || len(c.filters) > 1 || len(c.stencil) > 0 {
			continue
		}
		if group := groups[c.filters[0]]; len(group) > 1 {
			w.name(node, group, slices.Index(group, c.filters[0]))
		}
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
		one := w.convolutions[part.Name]
		if len(w.readers[part.Name]) != 1 || w.Kept[part.Name] || len(one.filters) != 1 || len(one.stencil) > 0 {
			return
		}
		c.inputs, c.filters = append(c.inputs, one.inputs...), append(c.filters, one.filters...)
		c.controls = append(c.controls, controls(part)...)
		if macs := part.Attr["_tfconvrnn_macs"]; macs != nil {
			c.macs, c.per = graph.Int(c.macs.GetI()+macs.GetI()), part.Attr["_tfconvrnn_per"]
		}
	}
	// Both must be of one kernel and depth; what they are on has one size, or they could
	// not be added without one being repeated.
	first, second := w.variableShape(c.filters[0]), w.variableShape(c.filters[1])
	if first[0] != second[0] || first[3] != second[3] || !w.same(a, b) {
		return
	}
	w.put(node, c)
}

// separable takes a depthwise convolution that nothing else reads into the 1×1 convolution
// behind it.
func (w *rewriter) separable(node *tfpb.NodeDef) {
	of := w.convolutions[node.Name]
	if of == nil || len(of.filters) != 1 || len(of.stencil) > 0 {
		return
	}
	before := w.input(node, 0, "DepthwiseConv2dNative")
	if before == nil || len(w.readers[before.Name]) != 1 || w.Kept[before.Name] {
		return
	}
	in := values(before)
	stencil, filter := w.variableShape(in[1]), w.variableShape(of.filters[0])
	if string(before.Attr["padding"].GetS()) != "SAME" || string(before.Attr["data_format"].GetS()) != "NHWC" ||
		!ones(before.Attr["strides"]) || !ones(before.Attr["dilations"]) ||
		len(stencil) != 4 || stencil[0] != stencil[1] || stencil[0] > maxKernel || stencil[3] != 1 || len(filter) != 4 ||
		filter[0] != 1 {
		return
	}
	c := &found{inputs: in[:1], filters: of.filters, stencil: in[1:], controls: slices.Concat(controls(before),
		controls(node)), per: node.Attr["_tfconvrnn_per"]}
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
