package kernels

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tfconvrnn/go/internal/graph"
	"github.com/tfconvrnn/go/internal/tfpb"
)

var float = graph.Type(tfpb.DataType_DT_FLOAT)

// drawing makes graphs for the rewriter.
type drawing struct{ *graph.Graph }

func (d drawing) placeholder(name string) graph.Tensor {
	return d.Add(graph.Spec{Name: name, Op: "Placeholder", Attributes: graph.Attributes{"dtype": float}})
}

func (d drawing) filter(name string, shape ...int) graph.Tensor {
	return d.Add(graph.Spec{Name: name + "/Read", Op: "ReadVariableOp", Inputs: []graph.Tensor{d.Variable(name, shape)}})
}

func (d drawing) conv2D(name string, x, w graph.Tensor, stride int64, padding string,
	controls ...graph.Tensor) graph.Tensor {
	return d.Add(graph.Spec{Name: name, Op: "Conv2D", Inputs: []graph.Tensor{x, w}, Controls: controls,
		Cost: graph.Cost{MACs: 5, Per: "stimulus"},
		Attributes: graph.Attributes{"T": float, "strides": graph.Ints(1, stride, stride, 1),
			"dilations": graph.Ints(1, 1, 1, 1),
			"padding":   graph.String(padding), "data_format": graph.String("NHWC")}})
}

func (d drawing) op(name, op string, inputs ...graph.Tensor) graph.Tensor {
	return d.Add(graph.Spec{Name: name, Op: op, Inputs: inputs, Attributes: graph.Attributes{"T": float}})
}

func rewritten(d drawing, r Rewriting) (map[string]*tfpb.NodeDef, []string) {
	def := d.Proto()
	released := r.Rewrite(def)
	nodes := map[string]*tfpb.NodeDef{}
	for _, n := range def.Node {
		nodes[n.Name] = n
	}
	return nodes, released
}

func TestRewriteConvolutions(t *testing.T) {
	d := drawing{graph.New()}
	x, w := d.placeholder("x"), d.filter("w", 3, 3, 4, 8)
	d.conv2D("plain", x, w, 1, "SAME", d.placeholder("before"))
	d.conv2D("stride", x, w, 2, "SAME")
	d.conv2D("valid", x, w, 1, "VALID")
	d.conv2D("other", x, d.placeholder("fed"), 1, "SAME")
	d.conv2D("constant/c", x, d.filter("v", 3, 3, 4, 8), 1, "SAME")
	nodes, _ := rewritten(d, Rewriting{Key: "k", Threads: 3, Skip: func(name string) bool { return name == "constant/c" }})
	for _, name := range []string{"stride", "valid", "other", "constant/c"} {
		assert.Equal(t, "Conv2D", nodes[name].Op, name)
	}
	n := nodes["plain"]
	assert.Equal(t, Operation, n.Op)
	assert.Equal(t, []string{"x", "^before"}, n.Input)
	assert.Equal(t, "k w", string(n.Attr["key"].GetS()))
	assert.EqualValues(t, 3, n.Attr["kernel"].GetI())
	assert.Equal(t, []int64{4}, n.Attr["channels"].GetList().GetI())
	assert.EqualValues(t, 8, n.Attr["depth"].GetI())
	assert.EqualValues(t, 3, n.Attr["threads"].GetI())
	assert.EqualValues(t, 1, n.Attr["sources"].GetI())
	assert.EqualValues(t, 5, n.Attr["_tfconvrnn_macs"].GetI())
}

func TestRewritePatches(t *testing.T) {
	d := drawing{graph.New()}
	x, shape := d.placeholder("x"), d.placeholder("shape")
	product := func(name string, kernel int, rows graph.Tensor) {
		matrix := d.op(name+"/Matrix", "Reshape", d.filter(name+"/w", kernel, kernel, 4, 8), shape)
		d.op(name, "Reshape", d.op(name+"/MatMul", "MatMul", d.op(name+"/rows", "Reshape", rows, shape), matrix), shape)
	}
	pad := d.Add(graph.Spec{Name: "pad", Op: "Pad", Inputs: []graph.Tensor{d.op("flat", "Reshape", x, shape), shape},
		Controls: []graph.Tensor{d.placeholder("before")}})
	gather := d.op("gather", "GatherV2", pad, shape, shape)
	product("three", 3, gather)
	product("one", 1, x)
	product("no patches", 3, x)
	product("patches for one", 1, gather)
	nodes, _ := rewritten(d, Rewriting{Key: "k", Threads: 1})
	assert.Equal(t, []string{"x", "^before"}, nodes["three"].Input)
	assert.Equal(t, []string{"x"}, nodes["one"].Input)
	assert.Equal(t, "k three/w", string(nodes["three"].Attr["key"].GetS()))
	assert.Equal(t, "Reshape", nodes["no patches"].Op)
	assert.Equal(t, "Reshape", nodes["patches for one"].Op)
}

func TestRewriteJoinsSums(t *testing.T) {
	draw := func(kernel int, stride int64, read bool, kept ...string) *tfpb.NodeDef {
		d := drawing{graph.New()}
		a := d.conv2D("a", d.placeholder("x"), d.filter("wa", 3, 3, 4, 8), 1, "SAME", d.placeholder("before"))
		b := d.conv2D("b", d.placeholder("h"), d.filter("wb", kernel, kernel, 6, 8), stride, "SAME")
		d.op("sum", "AddV2", a, b)
		if read {
			d.op("reader", "Elu", b)
		}
		r := Rewriting{Key: "k", Threads: 1, Kept: map[string]bool{}}
		for _, name := range kept {
			r.Kept[name] = true
		}
		nodes, _ := rewritten(d, r)
		return nodes["sum"]
	}
	sum := draw(3, 1, false)
	assert.Equal(t, Operation, sum.Op)
	assert.Equal(t, []string{"x", "h", "^before"}, sum.Input)
	assert.Equal(t, "k wa wb", string(sum.Attr["key"].GetS()))
	assert.Equal(t, []int64{4, 6}, sum.Attr["channels"].GetList().GetI())
	assert.EqualValues(t, 2, sum.Attr["sources"].GetI())
	assert.EqualValues(t, 10, sum.Attr["_tfconvrnn_macs"].GetI())
	assert.Equal(t, "AddV2", draw(1, 1, false).Op, "kernels of two sizes")
	assert.Equal(t, "AddV2", draw(3, 2, false).Op, "a convolution of TensorFlow's")
	assert.Equal(t, "AddV2", draw(3, 1, true).Op, "somebody reads a part")
	assert.Equal(t, "AddV2", draw(3, 1, false, "a").Op, "a part is fetched")
}

func TestRewriteSeparable(t *testing.T) {
	draw := func(kernel int, multiplier int, read bool, kept ...string) *tfpb.NodeDef {
		d := drawing{graph.New()}
		depthwise := d.Add(graph.Spec{Name: "depthwise", Op: "DepthwiseConv2dNative",
			Inputs: []graph.Tensor{d.placeholder("x"), d.filter("s", 5, 5, 4, multiplier)},
			Cost:   graph.Cost{MACs: 7, Per: "stimulus"}, Attributes: graph.Attributes{"T": float,
				"strides": graph.Ints(1, 1, 1, 1), "dilations": graph.Ints(1, 1, 1, 1),
				"padding": graph.String("SAME"), "data_format": graph.String("NHWC")}})
		d.conv2D("pointwise", depthwise, d.filter("w", kernel, kernel, 4*multiplier, 8), 1, "SAME")
		if read {
			d.op("reader", "Elu", depthwise)
		}
		r := Rewriting{Key: "k", Threads: 1, Kept: map[string]bool{}}
		for _, name := range kept {
			r.Kept[name] = true
		}
		nodes, _ := rewritten(d, r)
		return nodes["pointwise"]
	}
	node := draw(1, 1, false)
	assert.Equal(t, []string{"x", "s/Read"}, node.Input)
	assert.EqualValues(t, 1, node.Attr["stencils"].GetI())
	assert.EqualValues(t, 12, node.Attr["_tfconvrnn_macs"].GetI())
	for name, other := range map[string]*tfpb.NodeDef{
		"larger kernel": draw(3, 1, false), "multiplier": draw(1, 2, false), "read": draw(1, 1, true),
		"fetched": draw(1, 1, false, "depthwise"),
	} {
		assert.Equal(t, []string{"depthwise"}, other.Input, name)
	}
}

// TestRewriteShares: a convolution of one input takes the weights of the joined one.
func TestRewriteShares(t *testing.T) {
	d := drawing{graph.New()}
	x, h, wx, wh := d.placeholder("x"), d.placeholder("h"), d.filter("wx", 3, 3, 4, 8), d.filter("wh", 3, 3, 6, 8)
	d.conv2D("x alone", x, wx, 1, "SAME")
	d.conv2D("h alone", h, wh, 1, "SAME")
	d.conv2D("another", h, d.filter("wo", 3, 3, 6, 8), 1, "SAME")
	d.op("sum", "AddV2", d.conv2D("a", x, wx, 1, "SAME"), d.conv2D("b", h, wh, 1, "SAME"))
	nodes, _ := rewritten(d, Rewriting{Key: "k", Threads: 1})
	for i, name := range []string{"x alone", "h alone"} {
		n := nodes[name]
		assert.Equal(t, "k wx wh", string(n.Attr["key"].GetS()), name)
		assert.EqualValues(t, i, n.Attr["first"].GetI(), name)
		assert.EqualValues(t, 1, n.Attr["sources"].GetI(), name)
		assert.Equal(t, []int64{4, 6}, n.Attr["channels"].GetList().GetI(), name)
	}
	assert.Equal(t, "k wo", string(nodes["another"].Attr["key"].GetS()))
}

// TestRewriteReleases: variables that only convolutions need are not restored.
func TestRewriteReleases(t *testing.T) {
	d := drawing{graph.New()}
	x := d.placeholder("x")
	names := []string{"bias", "kernel", "read too", "constant's", "untouched"}
	filters := map[string]graph.Tensor{}
	for _, name := range names {
		filters[name] = d.filter(name, 3, 3, 4, 8)
	}
	d.conv2D("c", x, filters["kernel"], 1, "SAME")
	d.conv2D("d", x, filters["read too"], 1, "SAME")
	d.op("e", "Elu", filters["read too"])
	d.op("f", "Elu", filters["bias"])
	d.conv2D("g", x, filters["constant's"], 1, "SAME")
	d.conv2D("constant/g", x, filters["constant's"], 1, "SAME")
	restore := d.Add(graph.Spec{Name: "save/restore", Op: "RestoreV2",
		Inputs: []graph.Tensor{d.String("save/filename", "model"), d.Strings("save/names", names...),
			d.Strings("save/slices", make([]string, len(names))...)},
		Attributes: graph.Attributes{"dtypes": graph.Types(make([]tfpb.DataType, len(names))...)}})
	var assigned []graph.Tensor
	for i, name := range names {
		assigned = append(assigned,
			d.Add(graph.Spec{Name: "save/assign/" + name, Op: "AssignVariableOp",
				Inputs: []graph.Tensor{d.Variable(name+"", []int{3, 3, 4, 8}), restore.Output(i)}}))
	}
	d.Add(graph.Spec{Name: "all", Op: "NoOp", Controls: assigned})
	nodes, released := rewritten(d, Rewriting{Key: "k", Threads: 1, Skip: func(name string) bool {
		return name == "constant/g"
	}})
	assert.Equal(t, []string{"kernel", "constant's"}, released)
	assert.Equal(t, []string{"^save/assign/bias", "^save/assign/read too", "^save/assign/untouched"}, nodes["all"].Input)
	assert.Equal(t, [][]byte{[]byte("bias"), []byte("read too"), []byte("untouched")},
		nodes["save/names"].Attr["value"].GetTensor().GetStringVal())
	assert.EqualValues(t, 3, nodes["save/slices"].Attr["value"].GetTensor().GetTensorShape().GetDim()[0].GetSize())
	assert.Len(t, nodes["save/restore"].Attr["dtypes"].GetList().GetType(), 3)
	assert.Equal(t, "save/restore:2", nodes["save/assign/untouched"].Input[1])
	assert.Nil(t, nodes["save/assign/kernel"])
	assert.Equal(t, FilterOperation, nodes["constant's/Read"].Op)
	assert.Equal(t, "k constant's", string(nodes["constant's/Read"].Attr["key"].GetS()))
	assert.Equal(t, "ReadVariableOp", nodes["read too/Read"].Op)
	assert.Equal(t, "ReadVariableOp", nodes["bias/Read"].Op)
}

func TestIdentity(t *testing.T) {
	assert.Len(t, Identity(), 64)
	for _, name := range []string{"vector.h", "convolve.c", "rewrite.go"} {
		content, err := source.ReadFile(name)
		assert.NoError(t, err)
		assert.NotEmpty(t, content)
	}
}
