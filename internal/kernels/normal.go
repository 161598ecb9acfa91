package kernels

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/tfconvrnn/go/internal/graph"
	"github.com/tfconvrnn/go/internal/tfpb"
)

// Normal is the name of the operation that computes what a layer norm multiplies a map with,
// and adds to it; normal.c has its inputs and attributes.
const Normal = "TfconvrnnNormal"

// norm is a layer norm over height, width and channels in the graph:
// x·factor + (beta - average·factor), with factor = gamma / √(variance + epsilon).
type norm struct {
	x, gamma, beta  string
	epsilon         float32
	factor, product *tfpb.NodeDef // product is average·factor
	scaled, sum     *tfpb.NodeDef // x·factor, and all of it
}

// normalize puts Normal in the place of the means, and leaves a product and a sum with its two
// halves, which are fused with what comes after.
func (w *rewriter) normalize(def *tfpb.GraphDef) {
	const axis = "tfconvrnn/axis"
	found := false
	for _, node := range def.Node {
		if w.skips(node.Name) {
			continue
		}
		n := w.norm(node)
		if n == nil {
			continue
		}
		found = true
		part, parts, x := 0, 1, n.x
		if split := w.nodes[operationOf(x)]; split.Op == "Split" && w.axis(values(split), 0) == 3 {
			part, parts, x = outputOf(x), int(split.Attr["num_split"].GetI()), values(split)[1]
		}
		n.factor.Op, n.factor.Input = Normal, []string{x, n.gamma, n.beta}
		n.factor.Attr = map[string]*tfpb.AttrValue{
			"part": graph.Int(int64(part)), "parts": graph.Int(int64(parts)), "threads": graph.Int(int64(w.Threads)),
			"epsilon": {Value: &tfpb.AttrValue_F{F: n.epsilon}},
		}
		n.product.Op, n.product.Input = "Split", []string{axis, n.factor.Name}
		n.product.Attr = map[string]*tfpb.AttrValue{"T": graph.Type(tfpb.DataType_DT_FLOAT), "num_split": graph.Int(2)}
		n.scaled.Input = []string{n.x, n.product.Name}
		n.sum.Input = []string{n.scaled.Name, nameOf(n.product.Name, 1)}
	}
	if found {
		three := &tfpb.TensorProto{Dtype: tfpb.DataType_DT_INT32, TensorShape: graph.ShapeProto(),
			TensorContent: binary.LittleEndian.AppendUint32(nil, 3)}
		node := &tfpb.NodeDef{Name: axis, Op: "Const", Attr: map[string]*tfpb.AttrValue{
			"dtype": graph.Type(tfpb.DataType_DT_INT32),
			"value": {Value: &tfpb.AttrValue_Tensor{Tensor: three}},
		}}
		def.Node = slices.Insert(def.Node, 0, node)
		w.nodes[axis] = node
	}
}

// norm returns the layer norm whose result an operation is, or nil.
func (w *rewriter) norm(sum *tfpb.NodeDef) *norm {
	if sum.Op != "AddV2" {
		return nil
	}
	n := &norm{sum: sum, scaled: w.input(sum, 0, "Mul")}
	offset := w.input(sum, 1, "Sub")
	if n.scaled == nil || offset == nil {
		return nil
	}
	n.factor, n.product = w.input(n.scaled, 1, "Mul"), w.input(offset, 1, "Mul")
	average := w.input(n.product, 0, "Mean")
	if n.factor == nil || average == nil || w.input(n.product, 1, "Mul") != n.factor ||
		!w.only(n.factor, n.scaled.Name, n.product.Name) || !w.only(n.product, offset.Name) {
		return nil
	}
	n.x, n.beta, n.gamma = values(n.scaled)[0], values(offset)[0], values(n.factor)[1]
	shifted := w.input(w.input(n.factor, 0, "Rsqrt"), 0, "AddV2")
	variance := w.input(shifted, 0, "Mean")
	squares := w.input(variance, 0, "SquaredDifference")
	if squares == nil || !slices.Equal(values(squares), []string{n.x, average.Name}) || values(average)[0] != n.x ||
		!w.overItems(average) || !w.overItems(variance) {
		return nil
	}
	epsilon := w.nodes[values(shifted)[1]]
	if epsilon == nil || epsilon.Op != "Const" || len(w.variableShape(n.gamma)) != 1 || len(w.variableShape(n.beta)) != 1 {
		return nil
	}
	tensor := epsilon.Attr["value"].GetTensor()
	if tensor.GetDtype() != tfpb.DataType_DT_FLOAT || len(tensor.GetTensorContent()) != 4 {
		return nil
	}
	n.epsilon = math.Float32frombits(binary.LittleEndian.Uint32(tensor.GetTensorContent()))
	return n
}

// only says whether nothing reads an operation but those named, without control inputs.
func (w *rewriter) only(node *tfpb.NodeDef, readers ...string) bool {
	for _, reader := range w.readers[node.Name] {
		if !slices.Contains(readers, reader) || len(controls(w.nodes[reader])) > 0 {
			return false
		}
	}
	return !w.Kept[node.Name] && len(controls(node)) == 0
}

// overItems says whether a mean is that of each item of a map.
func (w *rewriter) overItems(mean *tfpb.NodeDef) bool {
	axes := w.nodes[values(mean)[1]]
	return axes != nil && axes.Op == "Const" && mean.Attr["keep_dims"].GetB() && len(controls(mean)) == 0 &&
		string(axes.Attr["value"].GetTensor().GetTensorContent()) == "\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00"
}
