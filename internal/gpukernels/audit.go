package gpukernels

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/tfconvrnn/go/internal/tfpb"
)

// Where an operation computes, or where what it puts out is.
type Place string

// The places.
const (
	// OnGPU means that a GPU kernel computes it in GPU memory.
	OnGPU Place = "GPU"
	// OnHost means that a GPU kernel declares all its outputs as host memory: it
	// is there on purpose, as shapes, axes and small indices are.
	OnHost Place = "host"
	// OnCPU means that there is no GPU kernel.
	OnCPU Place = "CPU"
)

// Use is how often a graph has an op with certain types, and where it computes.
type Use struct {
	Op    string            `json:"op"`
	Types map[string]string `json:"types,omitempty"`
	Place Place             `json:"place"`
	Nodes int               `json:"nodes"`
}

// Name returns op and types, such as "Conv2D T=float".
func (u Use) Name() string { return strings.TrimSpace(u.Op + " " + typesText(u.Types)) }

// Copy is an edge along which a run copies between GPU and host memory.
type Copy struct {
	From string `json:"from"` // op and types
	To   string `json:"to"`
	Type string `json:"type"` // of what is copied
	// Back says that it is from the GPU to the host.
	Back  bool `json:"back,omitempty"`
	Edges int  `json:"edges"`
}

// Report says what of a graph a GPU computes.
type Report struct {
	Uses   []Use  `json:"uses"`
	Copies []Copy `json:"copies"`
}

// Fallbacks returns the ops that no GPU kernel computes.
func (r *Report) Fallbacks() []Use {
	var list []Use
	for _, u := range r.Uses {
		if u.Place == OnCPU {
			list = append(list, u)
		}
	}
	return list
}

// Stalls returns what goes from GPU to host memory in mid-graph.
func (r *Report) Stalls() []Copy {
	var list []Copy
	for _, c := range r.Copies {
		if c.Back {
			list = append(list, c)
		}
	}
	return list
}

// arguments are the inputs and outputs of an op as its definition names them
// (core/ops/*.cc); a name that ends in * takes as many as there are.
type arguments struct{ inputs, outputs []string }

func args(inputs, outputs string) arguments {
	return arguments{strings.Fields(inputs), strings.Fields(outputs)}
}

var (
	unary  = args("x", "y")
	binary = args("x y", "z")
	reduce = args("input reduction_indices", "output")
)

var signatures = map[string]arguments{
	"Add": binary, "AddV2": binary, "Sub": binary, "Mul": binary, "RealDiv": binary, "Maximum": binary, "Minimum": binary,
	"Greater": binary, "GreaterEqual": binary, "Less": binary, "LessEqual": binary, "LogicalOr": binary,
	"LogicalAnd":        binary,
	"SquaredDifference": binary, "Pow": binary,
	"Sigmoid": unary, "Tanh": unary, "Rsqrt": unary, "Sqrt": unary, "Exp": unary, "Neg": unary, "Square": unary,
	"LogicalNot": unary,
	"Elu":        args("features", "activations"), "Relu": args("features", "activations"),
	"Max": reduce, "Mean": reduce, "Sum": reduce, "Min": reduce,
	"ArgMax":                args("input dimension", "output"),
	"BatchMatMulV2":         args("x y", "output"),
	"BiasAdd":               args("value bias", "output"),
	"Cast":                  args("x", "y"),
	"ConcatV2":              args("values* axis", "output"),
	"Const":                 args("", "output"),
	"Conv2D":                args("input filter", "output"),
	"DepthwiseConv2dNative": args("input filter", "output"),
	"ExpandDims":            args("input dim", "output"),
	"Fill":                  args("dims value", "output"),
	"GatherV2":              args("params indices axis", "output"),
	"Identity":              args("input", "output"),
	"MatMul":                args("a b", "product"),
	"MaxPool":               args("input", "output"),
	"Pack":                  args("values*", "output"),
	"Pad":                   args("input paddings", "output"),
	"Placeholder":           args("", "output"),
	"PlaceholderWithDefault": args("input",
		"output"),
	"Range":          args("start limit delta", "output"),
	"ReadVariableOp": args("resource", "value"),
	"Reshape":        args("tensor shape", "output"),
	"ResizeBilinear": args("images size", "resized_images"),
	"SelectV2":       args("condition t e", "output"),
	"Shape":          args("input", "output"),
	"Slice":          args("input begin size", "output"),
	"Softmax":        args("logits", "softmax"),
	"Split":          args("split_dim value", "output*"),
	"SplitV":         args("value size_splits split_dim", "output*"),
	"Squeeze":        args("input", "output"),
	"StridedSlice":   args("input begin end strides", "output"),
	"Tile":           args("input multiples", "output"),
	"Transpose":      args("x perm", "y"),
	"Unpack":         args("value", "output*"),
	"VarHandleOp":    args("", "resource"),
}

// KnownOps returns the ops whose arguments this package knows.
func KnownOps() []string {
	var ops []string
	for op := range signatures {
		ops = append(ops, op)
	}
	sort.Strings(ops)
	return ops
}

// argument returns the name of the i-th of n arguments.
func argument(names []string, i, n int) string {
	for position, name := range names {
		list, isList := strings.CutSuffix(name, "*")
		length := 1
		if isList {
			length = n - (len(names) - 1)
		}
		if i < length {
			if isList {
				return list
			}
			return names[position]
		}
		i -= length
	}
	return ""
}

// Audit places the operations of def that fetches, names of operations or
// tensors, need. An op that the registry or this package does not know is an
// error.
func Audit(def *tfpb.GraphDef, fetches []string, kernels Registry) (*Report, error) {
	a := &audit{
		kernels: kernels, nodes: make(map[string]*tfpb.NodeDef, len(def.Node)), uses: map[string]*Use{},
		places: map[string]placed{}, copies: map[Copy]int{},
	}
	for _, n := range def.Node {
		a.nodes[n.Name] = n
	}
	for _, fetch := range fetches {
		if err := a.push(fetch); err != nil {
			return nil, err
		}
	}
	for len(a.stack) > 0 {
		n := a.nodes[a.stack[len(a.stack)-1]]
		a.stack = a.stack[:len(a.stack)-1]
		a.order = append(a.order, n)
		if err := a.place(n); err != nil {
			return nil, err
		}
	}
	for _, n := range a.order {
		if err := a.inputs(n); err != nil {
			return nil, err
		}
	}
	return a.report(), nil
}

// placed is where an operation runs.
type placed struct {
	use    *Use
	kernel *Kernel
	types  map[string]string
}

// audit is a walk over a graph, from what is fetched to what that needs.
type audit struct {
	kernels Registry
	nodes   map[string]*tfpb.NodeDef
	uses    map[string]*Use
	places  map[string]placed
	copies  map[Copy]int
	order   []*tfpb.NodeDef
	stack   []string // operations to place
}

// push puts the operation of a tensor on the stack, once.
func (a *audit) push(tensor string) error {
	name, _, _ := input(tensor)
	if a.nodes[name] == nil {
		return fmt.Errorf("gpukernels: the graph has no operation %q", name)
	}
	if _, ok := a.places[name]; !ok {
		a.places[name] = placed{}
		a.stack = append(a.stack, name)
	}
	return nil
}

// place decides where an operation runs, and pushes its inputs.
func (a *audit) place(n *tfpb.NodeDef) (err error) {
	p := placed{types: map[string]string{}}
	for name, value := range n.Attr {
		if t, ok := value.Value.(*tfpb.AttrValue_Type); ok {
			p.types[name] = typeName(t.Type)
		}
	}
	if p.kernel, err = a.kernels.find(n.Op, p.types); err != nil {
		return err
	}
	signature, ok := signatures[n.Op]
	if !ok {
		return fmt.Errorf("gpukernels: the arguments of %s are not known", n.Op)
	}
	use := Use{Op: n.Op, Types: p.types, Place: OnCPU}
	if p.kernel != nil {
		use.Place = OnHost
		for i := range signature.outputs {
			if !p.kernel.onHost(argument(signature.outputs, i, len(signature.outputs))) {
				use.Place = OnGPU
			}
		}
	}
	key := use.Name()
	if a.uses[key] == nil {
		a.uses[key] = &use
	}
	a.uses[key].Nodes++
	p.use = a.uses[key]
	a.places[n.Name] = p
	for _, from := range n.Input {
		if err := a.push(from); err != nil {
			return err
		}
	}
	return nil
}

// inputs counts the inputs of an operation that are copied between host and GPU.
func (a *audit) inputs(n *tfpb.NodeDef) error {
	to := a.places[n.Name]
	var data []string
	for _, text := range n.Input {
		if !strings.HasPrefix(text, "^") {
			data = append(data, text)
		}
	}
	for i, text := range data {
		name, index, err := input(text)
		if err != nil {
			return err
		}
		from := a.places[name]
		outputs := signatures[a.nodes[name].Op].outputs
		fromHost := from.kernel == nil || from.kernel.onHost(argument(outputs, index, max(len(outputs), index+1)))
		toHost := to.kernel == nil || to.kernel.onHost(argument(signatures[n.Op].inputs, i, len(data)))
		if fromHost != toHost {
			a.copies[Copy{From: from.use.Name(), To: to.use.Name(), Type: copiedType(from.types), Back: toHost}]++
		}
	}
	return nil
}

// report sorts what was found.
func (a *audit) report() *Report {
	report := &Report{}
	for _, use := range a.uses {
		report.Uses = append(report.Uses, *use)
	}
	sort.Slice(report.Uses, func(i, j int) bool { return report.Uses[i].Name() < report.Uses[j].Name() })
	for c, edges := range a.copies {
		c.Edges = edges
		report.Copies = append(report.Copies, c)
	}
	sort.Slice(report.Copies, func(i, j int) bool {
		a, b := report.Copies[i], report.Copies[j]
		return a.From+"\x00"+a.To < b.From+"\x00"+b.To
	})
	return report
}

func (k *Kernel) onHost(argument string) bool {
	for _, name := range k.Host {
		if name == argument {
			return true
		}
	}
	return false
}

// copiedType is the type of what an operation puts out, as far as its attributes
// tell.
func copiedType(types map[string]string) string {
	for _, name := range []string{"T", "Tparams", "dtype", "out_type", "Tidx"} {
		if t, ok := types[name]; ok {
			return t
		}
	}
	return "bool"
}

// input splits a node's input, "name", "name:1" or "^name".
func input(text string) (name string, index int, err error) {
	text = strings.TrimPrefix(text, "^")
	name, number, ok := strings.Cut(text, ":")
	if ok {
		if index, err = strconv.Atoi(number); err != nil {
			return "", 0, fmt.Errorf("gpukernels: input %q: %w", text, err)
		}
	}
	return name, index, nil
}
