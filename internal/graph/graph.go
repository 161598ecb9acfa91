// Package graph builds TensorFlow graphs.
//
// A Graph is a list of operations in topological order. Adding an operation that
// is already there (same type, inputs and attributes) returns the one that is
// there: what an unrolled network computes twice from the same values exists
// once.
package graph

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/internal/tfpb"
)

// ProducerVersion is the GraphDef version written, that of TensorFlow 2.21 at
// the least; consumers from TensorFlow 2.0 on read it.
const ProducerVersion = 1882

// Names of the node attributes that carry a node's cost. TensorFlow ignores
// attributes that begin with an underscore.
const (
	attributeMACs = "_tfconvrnn_macs"
	attributePer  = "_tfconvrnn_per"
)

// Tensor is an output of an operation in a Graph. The zero Tensor is none.
type Tensor struct {
	node  *node
	index int
}

type node struct {
	id       int
	def      *tfpb.NodeDef
	inputs   []Tensor
	controls []Tensor
}

// Exists says whether t is an output of an operation.
func (t Tensor) Exists() bool { return t.node != nil }

// Operation returns the name of the operation that computes t.
func (t Tensor) Operation() string { return t.node.def.Name }

// Name returns the name of t as a feed or a fetch: operation and output index.
func (t Tensor) Name() string { return fmt.Sprintf("%s:%d", t.node.def.Name, t.index) }

// Output returns output i of the operation that computes t.
func (t Tensor) Output(i int) Tensor { return Tensor{t.node, i} }

func (t Tensor) asInput() string {
	if t.index == 0 {
		return t.node.def.Name
	}
	return fmt.Sprintf("%s:%d", t.node.def.Name, t.index)
}

// Attributes are the attributes of an operation by name.
type Attributes map[string]*tfpb.AttrValue

// Graph is a graph under construction. It is not safe for concurrent use.
type Graph struct {
	nodes []*node
	byKey map[string]*node
	names map[string]int
}

// New returns an empty Graph.
func New() *Graph {
	return &Graph{byKey: map[string]*node{}, names: map[string]int{}}
}

// Cost is what one run of an operation costs: multiply-accumulates per item, and
// what an item is ("constant", "frame", "stimulus").
type Cost struct {
	MACs int64
	Per  string
}

// Spec describes an operation to add.
type Spec struct {
	// Name is the wanted name; a number is appended where it is taken.
	Name       string
	Op         string
	Inputs     []Tensor
	Attributes Attributes
	// Controls are run before the operation, their values are not read.
	Controls []Tensor
	Cost     Cost
}

// Add returns output 0 of the operation described, which it adds if the graph
// does not have it yet.
func (g *Graph) Add(s Spec) Tensor {
	def := &tfpb.NodeDef{Op: s.Op, Attr: map[string]*tfpb.AttrValue{}}
	for _, t := range s.Inputs {
		def.Input = append(def.Input, t.asInput())
	}
	for _, t := range s.Controls {
		def.Input = append(def.Input, "^"+t.Operation())
	}
	for name, value := range s.Attributes {
		def.Attr[name] = value
	}
	key, err := proto.MarshalOptions{Deterministic: true}.Marshal(def)
	if err != nil {
		panic(fmt.Sprintf("graph: a node of type %s cannot be encoded: %v", s.Op, err))
	}
	// Two variables or placeholders of one shape are two things.
	if s.Op == "Placeholder" || s.Op == "VarHandleOp" || s.Op == "PlaceholderWithDefault" || s.Op == "Identity" {
		key = append(key, s.Name...)
	}
	if n, ok := g.byKey[string(key)]; ok {
		return Tensor{n, 0}
	}
	def.Name = g.unique(s.Name)
	if s.Cost.MACs > 0 {
		def.Attr[attributeMACs] = Int(s.Cost.MACs)
		def.Attr[attributePer] = String(s.Cost.Per)
	}
	n := &node{id: len(g.nodes), def: def, inputs: s.Inputs, controls: s.Controls}
	g.nodes = append(g.nodes, n)
	g.byKey[string(key)] = n
	return Tensor{n, 0}
}

func (g *Graph) unique(name string) string {
	taken := g.names[name]
	g.names[name]++
	if taken == 0 {
		return name
	}
	return g.unique(fmt.Sprintf("%s_%d", name, taken))
}

// Proto returns the graph as a GraphDef. The nodes are shared with g.
func (g *Graph) Proto() *tfpb.GraphDef {
	def := &tfpb.GraphDef{Versions: &tfpb.VersionDef{Producer: ProducerVersion, MinConsumer: 12}}
	for _, n := range g.nodes {
		def.Node = append(def.Node, n.def)
	}
	return def
}

// Size returns the number of operations.
func (g *Graph) Size() int { return len(g.nodes) }

// Reached returns, for every tensor in from, which of the marks it depends on
// when marks are where evaluation stops, as ascending indices into marks.
func (g *Graph) Reached(from, marks []Tensor) [][]int {
	words := (len(marks) + 63) / 64
	markOf := map[*node]int{}
	for i, t := range marks {
		markOf[t.node] = i
	}
	sets := make([][]uint64, len(g.nodes))
	for i, n := range g.nodes {
		set := make([]uint64, words)
		if mark, ok := markOf[n]; ok {
			set[mark/64] |= 1 << (mark % 64)
		} else {
			for _, inputs := range [][]Tensor{n.inputs, n.controls} {
				for _, t := range inputs {
					for w, bits := range sets[t.node.id] {
						set[w] |= bits
					}
				}
			}
		}
		sets[i] = set
	}
	reached := make([][]int, len(from))
	for i, t := range from {
		for mark := range marks {
			if sets[t.node.id][mark/64]>>(mark%64)&1 == 1 {
				reached[i] = append(reached[i], mark)
			}
		}
	}
	return reached
}

// MACs sums the multiply-accumulates, by what they are counted per, of the
// operations of def that fetches need when feeds are given. Names may be those
// of operations or of tensors. Names that def lacks are ignored.
func MACs(def *tfpb.GraphDef, fetches, feeds []string) map[string]int64 {
	nodes := make(map[string]*tfpb.NodeDef, len(def.Node))
	for _, n := range def.Node {
		nodes[n.Name] = n
	}
	seen := map[string]bool{}
	for _, name := range feeds {
		seen[operationName(name)] = true
	}
	sums := map[string]int64{}
	var stack []string
	push := func(name string) {
		if name = operationName(name); !seen[name] {
			seen[name] = true
			stack = append(stack, name)
		}
	}
	for _, name := range fetches {
		push(name)
	}
	for len(stack) > 0 {
		n := nodes[stack[len(stack)-1]]
		stack = stack[:len(stack)-1]
		if n == nil {
			continue
		}
		if macs := n.Attr[attributeMACs]; macs != nil {
			sums[string(n.Attr[attributePer].GetS())] += macs.GetI()
		}
		for _, input := range n.Input {
			push(input)
		}
	}
	return sums
}

func operationName(input string) string {
	input = strings.TrimPrefix(input, "^")
	if colon := strings.LastIndexByte(input, ':'); colon >= 0 {
		return input[:colon]
	}
	return input
}

// Int returns an integer attribute.
func Int(v int64) *tfpb.AttrValue { return &tfpb.AttrValue{Value: &tfpb.AttrValue_I{I: v}} }

// Ints returns an attribute that is a list of integers.
func Ints(v ...int64) *tfpb.AttrValue {
	return &tfpb.AttrValue{Value: &tfpb.AttrValue_List{List: &tfpb.AttrValue_ListValue{I: v}}}
}

// Bool returns a boolean attribute.
func Bool(v bool) *tfpb.AttrValue { return &tfpb.AttrValue{Value: &tfpb.AttrValue_B{B: v}} }

// String returns a string attribute.
func String(v string) *tfpb.AttrValue { return &tfpb.AttrValue{Value: &tfpb.AttrValue_S{S: []byte(v)}} }

// Type returns a data type attribute.
func Type(v tfpb.DataType) *tfpb.AttrValue {
	return &tfpb.AttrValue{Value: &tfpb.AttrValue_Type{Type: v}}
}

// Types returns an attribute that is a list of data types.
func Types(v ...tfpb.DataType) *tfpb.AttrValue {
	return &tfpb.AttrValue{Value: &tfpb.AttrValue_List{List: &tfpb.AttrValue_ListValue{Type: v}}}
}

// Shape returns a shape attribute; -1 is an unknown dimension.
func Shape(dimensions ...int) *tfpb.AttrValue {
	return &tfpb.AttrValue{Value: &tfpb.AttrValue_Shape{Shape: ShapeProto(dimensions...)}}
}

// ShapeProto returns a shape; -1 is an unknown dimension.
func ShapeProto(dimensions ...int) *tfpb.TensorShapeProto {
	shape := &tfpb.TensorShapeProto{}
	for _, d := range dimensions {
		shape.Dim = append(shape.Dim, &tfpb.TensorShapeProto_Dim{Size: int64(d)})
	}
	return shape
}

func tensorAttribute(t *tfpb.TensorProto) *tfpb.AttrValue {
	return &tfpb.AttrValue{Value: &tfpb.AttrValue_Tensor{Tensor: t}}
}

func (g *Graph) constant(name string, dtype tfpb.DataType, shape []int, content []byte) Tensor {
	return g.Add(Spec{Name: name, Op: "Const", Attributes: Attributes{
		"dtype": Type(dtype),
		"value": tensorAttribute(&tfpb.TensorProto{Dtype: dtype, TensorShape: ShapeProto(shape...), TensorContent: content}),
	}})
}

// Int32s adds a constant of 32-bit integers; no shape means a scalar.
func (g *Graph) Int32s(name string, values []int32, shape ...int) Tensor {
	content := make([]byte, 0, 4*len(values))
	for _, v := range values {
		content = binary.LittleEndian.AppendUint32(content, uint32(v))
	}
	return g.constant(name, tfpb.DataType_DT_INT32, shape, content)
}

// Floats adds a constant of 32-bit floats; no shape means a scalar.
func (g *Graph) Floats(name string, values []float32, shape ...int) Tensor {
	content := make([]byte, 0, 4*len(values))
	for _, v := range values {
		content = binary.LittleEndian.AppendUint32(content, math.Float32bits(v))
	}
	return g.constant(name, tfpb.DataType_DT_FLOAT, shape, content)
}

// Strings adds a constant vector of strings.
func (g *Graph) Strings(name string, values ...string) Tensor {
	t := &tfpb.TensorProto{Dtype: tfpb.DataType_DT_STRING, TensorShape: ShapeProto(len(values))}
	for _, v := range values {
		t.StringVal = append(t.StringVal, []byte(v))
	}
	return g.Add(Spec{Name: name, Op: "Const", Attributes: Attributes{
		"dtype": Type(tfpb.DataType_DT_STRING), "value": tensorAttribute(t),
	}})
}

// String adds a constant scalar string.
func (g *Graph) String(name, value string) Tensor {
	return g.Add(Spec{Name: name, Op: "Const", Attributes: Attributes{
		"dtype": Type(tfpb.DataType_DT_STRING),
		"value": tensorAttribute(&tfpb.TensorProto{
			Dtype: tfpb.DataType_DT_STRING, TensorShape: ShapeProto(), StringVal: [][]byte{[]byte(value)},
		}),
	}})
}

// Zeros adds a constant of float zeros; it takes no space in the graph.
func (g *Graph) Zeros(name string, shape ...int) Tensor {
	return g.Add(Spec{Name: name, Op: "Const", Attributes: Attributes{
		"dtype": Type(tfpb.DataType_DT_FLOAT),
		// TensorFlow repeats the last value that is given.
		"value": tensorAttribute(&tfpb.TensorProto{
			Dtype: tfpb.DataType_DT_FLOAT, TensorShape: ShapeProto(shape...), FloatVal: []float32{0},
		}),
	}})
}

// Variable adds the handle of a float variable.
func (g *Graph) Variable(name string, shape []int) Tensor {
	return g.Add(Spec{Name: name, Op: "VarHandleOp", Attributes: Attributes{
		"dtype": Type(tfpb.DataType_DT_FLOAT), "shape": Shape(shape...), "shared_name": String(name), "container": String(""),
	}})
}
