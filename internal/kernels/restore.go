package kernels

import (
	"slices"
	"strings"

	"github.com/tfconvrnn/go/internal/graph"
	"github.com/tfconvrnn/go/internal/tfpb"
)

// FilterOperation is the name of the operation that reads a filter whenever it runs. It takes the
// place of variables that only what runs once needs.
const FilterOperation = "TfconvrnnFilter"

// release takes the variables whose values the graph needs for packed weights alone, and for
// what is skipped, out of what it restores. It returns their names.
func (w *rewriter) release(def *tfpb.GraphDef) []string {
	packed := map[string]bool{}
	for _, c := range w.convolutions {
		for _, filter := range c.filters {
			packed[filter] = true
		}
	}
	needed := w.needed(func(name string) bool { return !w.skips(name) })
	var released []string
	for _, node := range def.Node {
		if packed[node.Name] && !needed[node.Name] && len(controls(node)) == 0 {
			released = append(released, w.handle(node.Name).Name)
		}
	}
	released = w.withoutRestoring(def, released)
	for _, node := range def.Node {
		if handle := w.handle(node.Name); handle != nil && slices.Contains(released, handle.Name) {
			var shape []int64
			for _, d := range w.variableShape(node.Name) {
				shape = append(shape, int64(d))
			}
			node.Op, node.Input = FilterOperation, nil
			node.Attr = map[string]*tfpb.AttrValue{"key": graph.String(keyOf(w.Key, []string{handle.Name})),
				"shape": graph.Ints(shape...)}
		}
	}
	return released
}

// withoutRestoring removes variables from what RestoreV2 reads, and returns those that it
// restored under their own names, and nothing else did.
func (w *rewriter) withoutRestoring(def *tfpb.GraphDef, variables []string) []string {
	assigns := map[string][]*tfpb.NodeDef{} // by variable
	for _, node := range def.Node {
		if node.Op == "AssignVariableOp" {
			handle := operationOf(node.Input[0])
			assigns[handle] = append(assigns[handle], node)
		}
	}
	removed := map[string]bool{} // operations that assign
	var without []string
	for _, variable := range variables {
		if list := assigns[variable]; len(list) == 1 && w.restores(list[0], variable) {
			removed[list[0].Name] = true
			without = append(without, variable)
		}
	}
	for _, node := range def.Node {
		if node.Op == "RestoreV2" {
			w.shorten(def, node, without)
		}
		node.Input = slices.DeleteFunc(node.Input, func(input string) bool { return removed[sourceOf(input)] })
	}
	def.Node = slices.DeleteFunc(def.Node, func(node *tfpb.NodeDef) bool { return removed[node.Name] })
	return without
}

// restores says whether an operation assigns a variable what RestoreV2 reads under its name.
func (w *rewriter) restores(assign *tfpb.NodeDef, variable string) bool {
	list := values(assign)
	if len(list) != 2 {
		return false
	}
	restore := w.nodes[operationOf(list[1])]
	if restore == nil || restore.Op != "RestoreV2" {
		return false
	}
	names, i := w.restored(restore), outputOf(list[1])
	return i < len(names) && string(names[i]) == variable
}

// restored returns the names of what RestoreV2 reads, nil if they are not those of whole tensors.
func (w *rewriter) restored(restore *tfpb.NodeDef) [][]byte {
	list := values(restore)
	names, parts := w.nodes[list[1]], w.nodes[list[2]]
	if names == nil || parts == nil || names.Op != "Const" || parts.Op != "Const" {
		return nil
	}
	for _, part := range parts.Attr["value"].GetTensor().GetStringVal() {
		if len(part) > 0 {
			return nil
		}
	}
	return names.Attr["value"].GetTensor().GetStringVal()
}

// shorten takes names out of what RestoreV2 reads.
func (w *rewriter) shorten(def *tfpb.GraphDef, restore *tfpb.NodeDef, without []string) {
	list, names := values(restore), w.restored(restore)
	types := restore.Attr["dtypes"].GetList()
	places := map[string]string{} // of outputs, before and after
	var keptNames [][]byte
	var keptTypes []tfpb.DataType
	for i, name := range names {
		if slices.Contains(without, string(name)) {
			continue
		}
		places[nameOf(restore.Name, i)] = nameOf(restore.Name, len(keptNames))
		keptNames, keptTypes = append(keptNames, name), append(keptTypes, types.GetType()[i])
	}
	if len(keptNames) == len(names) {
		return
	}
	types.Type = keptTypes
	for i, strings := range [][][]byte{keptNames, make([][]byte, len(keptNames))} {
		tensor := w.nodes[list[1+i]].Attr["value"].GetTensor()
		tensor.TensorShape, tensor.StringVal = graph.ShapeProto(len(keptNames)), strings
	}
	for _, node := range def.Node {
		for i, input := range node.Input {
			if place, ok := places[strings.TrimSuffix(input, ":0")]; ok {
				node.Input[i] = place
			}
		}
	}
}
