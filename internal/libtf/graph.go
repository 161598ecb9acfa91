package libtf

import (
	"fmt"
	"runtime"
	"strings"
	"unsafe"
)

// Graph is a TensorFlow graph. Its owner closes it; sessions made from it keep
// working. All methods are safe for concurrent use.
type Graph struct {
	handle  *handle
	cleanup runtime.Cleanup
}

// NewGraph returns an empty graph, which the caller closes.
func NewGraph() (*Graph, error) {
	if !loaded() {
		return nil, ErrNotLoaded
	}
	g := &Graph{handle: newHandle(newGraph(), &live.graphs, func(p unsafe.Pointer) error {
		deleteGraph(p)
		return nil
	})}
	g.cleanup = runtime.AddCleanup(g, (*handle).close, g.handle)
	return g, nil
}

// Import adds the nodes of a serialised GraphDef, with prefix and a slash
// before their names if prefix is not empty. On an error nothing was added.
func (g *Graph) Import(graphDef []byte, prefix string) error {
	return g.ImportWith(graphDef, prefix, nil)
}

// ImportWith is Import where nodes may take what the graph has: an input of a name in inputs is that output.
func (g *Graph) ImportWith(graphDef []byte, prefix string, inputs map[string]Output) error {
	const operation = "import a graph"
	if strings.ContainsRune(prefix, 0) {
		return invalid(operation, "prefix %q holds a zero byte", prefix)
	}
	if err := checkGraphDef(graphDef); err != nil {
		return invalid(operation, "%v", err)
	}
	if err := g.handle.acquire(); err != nil {
		return err
	}
	defer g.handle.release()
	var names []string
	var outputs []cOutput
	for name, output := range inputs {
		if strings.ContainsRune(name, 0) {
			return invalid(operation, "input %q holds a zero byte", name)
		}
		c, err := output.check(fmt.Sprintf("%s: input %q", operation, name), g.handle)
		if err != nil {
			return err
		}
		names, outputs = append(names, name), append(outputs, c)
	}
	return importGraph(g.handle.pointer, graphDef, prefix, names, outputs)
}

// Operation returns the node with that name, or nil if there is none or the
// graph is closed. It is valid until the graph is closed.
func (g *Graph) Operation(name string) *Operation {
	if strings.ContainsRune(name, 0) || g.handle.acquire() != nil {
		return nil
	}
	defer g.handle.release()
	pointer := operationByName(g.handle.pointer, name)
	if pointer == nil {
		return nil
	}
	return wrapOperation(g, pointer)
}

// Operations returns all nodes, or nil if the graph is closed.
func (g *Graph) Operations() []*Operation {
	if g.handle.acquire() != nil {
		return nil
	}
	defer g.handle.release()
	var operations []*Operation
	for position := uint64(0); ; {
		pointer := nextOperation(g.handle.pointer, &position)
		if pointer == nil {
			return operations
		}
		operations = append(operations, wrapOperation(g, pointer))
	}
}

// Close frees the graph once the sessions made from it are closed. Closing
// again does nothing, nor does closing nil.
func (g *Graph) Close() {
	if g == nil {
		return
	}
	g.cleanup.Stop()
	g.handle.close()
}

// Operation is a node of a graph.
type Operation struct {
	graph   *Graph
	pointer unsafe.Pointer
	name    string
	opType  string
	outputs int
}

func wrapOperation(g *Graph, pointer unsafe.Pointer) *Operation {
	o := &Operation{graph: g, pointer: pointer}
	o.name, o.opType, o.outputs = describeOperation(pointer)
	return o
}

// Name returns the node's name.
func (o *Operation) Name() string { return o.name }

// Type returns the name of the op, for example "Conv2D".
func (o *Operation) Type() string { return o.opType }

// NumOutputs returns how many outputs the node has.
func (o *Operation) NumOutputs() int { return o.outputs }

// Output returns the i-th output. An index out of range, or a nil Operation,
// gives an Output whose use is ErrInvalidArgument.
func (o *Operation) Output(i int) Output { return Output{Op: o, Index: i} }

// Output is one output of a node. Outputs of the same node have equal
// Op.Name() but not always equal Op.
type Output struct {
	Op    *Operation
	Index int
}

// cOutput has the layout of TF_Output.
type cOutput struct {
	operation unsafe.Pointer
	index     int32
}

// check returns the C form of the output of a node of g, which must be held.
func (o Output) check(operation string, g *handle) (cOutput, error) {
	switch {
	case o.Op == nil:
		return cOutput{}, invalid(operation, "the operation is nil (no node of that name?)")
	case o.Op.graph.handle != g:
		return cOutput{}, invalid(operation, "node %q belongs to another graph", o.Op.name)
	case o.Index < 0 || o.Index >= o.Op.outputs:
		return cOutput{}, invalid(operation, "node %q has %d outputs, asked for number %d", o.Op.name, o.Op.outputs, o.Index)
	}
	return cOutput{o.Op.pointer, int32(o.Index)}, nil
}

// DataType returns the type of the elements.
func (o Output) DataType() (DataType, error) {
	var dtype DataType
	err := o.inspect(func(_ unsafe.Pointer, output cOutput) error {
		dtype = outputType(output)
		return nil
	})
	return dtype, err
}

// Shape returns what is known of the shape without running the graph: nil if
// not even the rank, else the dimensions, -1 for those unknown. A scalar's
// shape is empty and not nil.
func (o Output) Shape() ([]int64, error) {
	var shape []int64
	err := o.inspect(func(graph unsafe.Pointer, output cOutput) (err error) {
		shape, err = outputShape(graph, output)
		return err
	})
	return shape, err
}

func (o Output) inspect(f func(graph unsafe.Pointer, output cOutput) error) error {
	const operation = "inspect an output"
	if o.Op == nil {
		return invalid(operation, "the operation is nil (no node of that name?)")
	}
	g := o.Op.graph.handle
	if err := g.acquire(); err != nil {
		return err
	}
	defer g.release()
	output, err := o.check(operation, g)
	if err != nil {
		return err
	}
	return f(g.pointer, output)
}
