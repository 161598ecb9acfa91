//go:build cgo && (linux || darwin)

package kernels

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/internal/graph"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/tfpb"
)

// runGraph returns what the fetches compute of the feeds.
func runGraph(t *testing.T, def *tfpb.GraphDef, feeds map[string]shaped, fetches []string) ([][]float32, error) {
	content, err := proto.Marshal(def)
	require.NoError(t, err)
	g, err := libtf.NewGraph()
	require.NoError(t, err)
	defer g.Close()
	if err := g.Import(content, ""); err != nil {
		return nil, err
	}
	s, err := libtf.NewSession(g, nil)
	require.NoError(t, err)
	defer s.Close()
	var fed []libtf.Feed
	for name, v := range feeds {
		tensor, err := libtf.NewTensor(v.shape, v.values)
		require.NoError(t, err)
		defer tensor.Close()
		fed = append(fed, libtf.Feed{Output: g.Operation(name).Output(0), Tensor: tensor})
	}
	var outputs []libtf.Output
	for _, name := range fetches {
		outputs = append(outputs, g.Operation(name).Output(0))
	}
	results, err := s.Run(context.Background(), fed, outputs, nil)
	if err != nil {
		return nil, err
	}
	defer libtf.CloseAll(results)
	var list [][]float32
	for _, r := range results {
		data, err := libtf.Data[float32](r)
		require.NoError(t, err)
		list = append(list, append([]float32(nil), data...))
	}
	return list, nil
}

// randomElementwise draws a graph of elementwise operations like those of the cells, and
// returns what is fed and fetched.
func randomElementwise(r *rand.Rand) (d drawing, feeds map[string]shaped, fetches []string) {
	d, feeds = drawing{graph.New()}, map[string]shaped{}
	batch, height, width, channels := 1+r.IntN(3), 1+r.IntN(9), 1+r.IntN(9), []int{1, 7, 16, 24, 64, 600}[r.IntN(6)]
	given := func(name string, items, depth int) graph.Tensor {
		shape := []int64{int64(items), int64(height), int64(width), int64(depth)}
		feeds[name] = shaped{shape, randomFloats(r, items*height*width*depth)}
		zeros := d.Zeros(name+"/zeros", 1, height, width, depth)
		return d.Add(graph.Spec{Name: name, Op: "PlaceholderWithDefault", Inputs: []graph.Tensor{zeros},
			Attributes: graph.Attributes{
				"dtype": float, "shape": graph.Shape(-1, height, width, depth)}})
	}
	parts := 1 + r.IntN(4)
	gates := given("gates", batch, parts*channels)
	list := []graph.Tensor{given("h", batch, channels), given("constant", 1, channels)}
	// Constants of one dimension are not known to the rewriter; a Split makes maps.
	split := d.Add(graph.Spec{Name: "split", Op: "Split", Attributes: graph.Attributes{"T": float,
		"num_split": graph.Int(int64(parts))},
		Inputs: []graph.Tensor{d.Int32s("axis", []int32{3}), d.op("both", "Elu", gates)}})
	for i := range parts {
		list = append(list, split.Output(i))
	}
	pick := func() graph.Tensor { return list[r.IntN(len(list))] }
	for i := range 3 + r.IntN(20) {
		name := fmt.Sprintf("op%d", i)
		var x graph.Tensor
		switch r.IntN(4) {
		case 0:
			x = d.op(name, []string{"Sigmoid", "Tanh", "Elu", "Relu"}[r.IntN(4)], pick())
		case 1:
			n := d.Floats(name+"/number", []float32{float32(r.NormFloat64())})
			in := []graph.Tensor{pick(), n}
			if r.IntN(2) == 0 {
				in = []graph.Tensor{n, in[0]}
			}
			x = d.op(name, []string{"AddV2", "Sub", "Mul"}[r.IntN(3)], in...)
		default:
			x = d.op(name, []string{"AddV2", "Sub", "Mul"}[r.IntN(3)], pick(), pick())
		}
		list = append(list, x)
		if r.IntN(5) == 0 {
			d.op("out"+name, "Identity", x)
			fetches = append(fetches, "out"+name)
		}
	}
	// The last has the whole batch.
	last := d.op("last", "Tanh", d.op("sum", "AddV2", list[len(list)-1], list[0]))
	d.op("out", "Identity", last)
	return d, feeds, append(fetches, "out")
}

// TestFuse compares fused graphs with TensorFlow's own operations.
func TestFuse(t *testing.T) {
	need(t)
	r := rand.New(rand.NewPCG(9, 10))
	fused := 0
	for trial := range 60 {
		d, feeds, fetches := randomElementwise(r)
		def := d.Proto()
		want, err := runGraph(t, def, feeds, fetches)
		require.NoError(t, err)
		fused += Rewriting{Threads: 1 + trial%3}.Fuse(def)
		got, err := runGraph(t, def, feeds, fetches)
		require.NoError(t, err, trial)
		for i, name := range fetches {
			require.Len(t, got[i], len(want[i]), name)
			for k, w := range want[i] {
				if difference := math.Abs(float64(w) - float64(got[i][k])); !(difference <= 1e-5*(1+math.Abs(float64(w)))) &&
					!math.IsNaN(float64(w)) && !math.IsInf(float64(w), 0) {
					t.Fatalf("trial %d, %s: %g instead of %g", trial, name, got[i][k], w)
				}
			}
		}
	}
	assert.Greater(t, fused, 60)
}

// TestFunctions compares the functions with float64 ones.
func TestFunctions(t *testing.T) {
	need(t)
	var x []float32
	for exponent := -30; exponent < 8; exponent++ {
		for i := range 64 {
			v := float32(math.Ldexp(1+float64(i)/64.3, exponent))
			x = append(x, v, -v)
		}
	}
	x = append(x, 0, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), math.MaxFloat32)
	one := graph.Tensor{}
	for name, f := range map[string]func(float64) float64{
		"Sigmoid": func(x float64) float64 { return 1 / (1 + math.Exp(-x)) },
		"Tanh":    math.Tanh,
		"Elu": func(x float64) float64 {
			if x < 0 {
				return math.Expm1(x)
			}
			return x
		},
		"Relu": func(x float64) float64 { return max(x, 0) },
	} {
		d := drawing{graph.New()}
		given := d.Add(graph.Spec{Name: "x", Op: "PlaceholderWithDefault",
			Inputs: []graph.Tensor{d.Zeros("zeros", 1, 1, 1, len(x))}, Attributes: graph.Attributes{
				"dtype": float, "shape": graph.Shape(1, 1, 1, len(x))}})
		one = d.Floats("one", []float32{1})
		d.op("out", "Identity", d.op("y", "Mul", d.op("f", name, given), one))
		def := d.Proto()
		require.Equal(t, 1, Rewriting{Threads: 1}.Fuse(def))
		got, err := runGraph(t, def, map[string]shaped{"x": {[]int64{1, 1, 1, int64(len(x))}, x}}, []string{"out"})
		require.NoError(t, err)
		for i, v := range x {
			want, y := f(float64(v)), float64(got[0][i])
			switch {
			case math.IsNaN(want):
				assert.True(t, math.IsNaN(y), "%s(%g) is %g", name, v, y)
			case math.IsInf(want, 0) || math.Abs(want) < 1e-37:
				assert.InDelta(t, max(-1, min(1, want)), max(-1, min(1, y)), 1e-37, "%s(%g)", name, v)
			default:
				assert.InEpsilon(t, want, y, 6e-7, "%s(%g)", name, v)
			}
		}
	}
}

// TestElementwiseRefuses: whatever a graph gives the operation is an error.
func TestElementwiseRefuses(t *testing.T) {
	need(t)
	d := drawing{graph.New()}
	x := d.placeholder("x")
	y := d.placeholder("y")
	d.op("z", "AddV2", x, y)
	good := map[string]*tfpb.AttrValue{
		"count": graph.Int(2), "part": graph.Ints(0, 0), "parts": graph.Ints(1, 1), "operation": graph.Ints(add, tanh),
		"to": graph.Ints(0, 1),
		"a":  graph.Ints(16, 0), "b": graph.Ints(17, 0), "threads": graph.Int(1),
		"number": {Value: &tfpb.AttrValue_List{List: &tfpb.AttrValue_ListValue{F: []float32{0, 0}}}},
	}
	zeros := func(shape ...int64) shaped {
		n := int64(1)
		for _, d := range shape {
			n *= d
		}
		return shaped{shape, make([]float32, n)}
	}
	run := func(change map[string]*tfpb.AttrValue, x, y shaped) error {
		def := proto.Clone(d.Proto()).(*tfpb.GraphDef)
		for _, node := range def.Node {
			if node.Op == "Placeholder" {
				node.Attr["shape"] = &tfpb.AttrValue{Value: &tfpb.AttrValue_Shape{Shape: &tfpb.TensorShapeProto{UnknownRank: true}}}
			}
			if node.Name == "z" {
				node.Op, node.Attr = Elementwise, map[string]*tfpb.AttrValue{}
				for name, value := range good {
					node.Attr[name] = value
				}
				for name, value := range change {
					node.Attr[name] = value
				}
			}
		}
		_, err := runGraph(t, def, map[string]shaped{"x": x, "y": y}, []string{"z"})
		return err
	}
	m := zeros(2, 3, 4, 8)
	for name, c := range map[string][2]shaped{
		"same": {m, m}, "channels": {m, zeros(8)}, "no items": {m, zeros(3, 4, 8)}, "one item": {zeros(1, 3, 4, 8), m},
		"empty": {zeros(0, 3, 4, 8), zeros(8)},
	} {
		assert.NoError(t, run(nil, c[0], c[1]), name)
	}
	for name, c := range map[string][2]shaped{
		"batch": {m, zeros(3, 3, 4, 8)}, "height": {m, zeros(2, 2, 4, 8)}, "width": {m, zeros(2, 3, 1, 8)},
		"depth":  {m, zeros(2, 3, 4, 9)},
		"vector": {m, zeros(7)}, "rank": {m, zeros(4, 8)}, "scalar": {m, zeros()}, "no map": {zeros(8), zeros(8)},
	} {
		assert.ErrorIs(t, run(nil, c[0], c[1]), libtf.ErrInvalidArgument, name)
	}
	for name, change := range map[string]map[string]*tfpb.AttrValue{
		"part":                 {"part": graph.Ints(0, 1)},
		"negative part":        {"part": graph.Ints(0, -1)},
		"parts":                {"parts": graph.Ints(1, 0)},
		"parts of few":         {"parts": graph.Ints(1, 3)},
		"number of parts":      {"parts": graph.Ints(1)},
		"operation":            {"operation": graph.Ints(add, relu+1)},
		"negative operation":   {"operation": graph.Ints(add, -1)},
		"register":             {"to": graph.Ints(0, 16)},
		"operand":              {"a": graph.Ints(18, 0)},
		"what nobody wrote":    {"a": graph.Ints(16, 3)},
		"negative operand":     {"b": graph.Ints(-1, 0)},
		"number of registers":  {"to": graph.Ints(0)},
		"number of operations": {"operation": graph.Ints(add)},
		"none": {"operation": graph.Ints(), "to": graph.Ints(), "a": graph.Ints(), "b": graph.Ints(),
			"number": {Value: &tfpb.AttrValue_List{List: &tfpb.AttrValue_ListValue{}}}},
		"numbers": {"number": {Value: &tfpb.AttrValue_List{List: &tfpb.AttrValue_ListValue{F: []float32{1}}}}},
		"threads": {"threads": graph.Int(1 << 20)},
	} {
		assert.ErrorIs(t, run(change, m, m), libtf.ErrInvalidArgument, name)
	}
}

// TestRewriteNorms compares layer norms with TensorFlow's own operations, on what comes before
// and after them in a cell.
func TestRewriteNorms(t *testing.T) {
	need(t)
	r := rand.New(rand.NewPCG(15, 16))
	for trial := range 12 {
		batch, height, width, channels, parts := 1+r.IntN(4), 1+r.IntN(20), 1+r.IntN(20),
			[]int{1, 5, 16, 40, 64, 128}[r.IntN(6)], 1+r.IntN(4)
		d := drawing{graph.New()}
		shape := []int64{int64(batch), int64(height), int64(width), int64(channels * parts)}
		values := randomFloats(r, batch*height*width*channels*parts)
		for i := range values {
			values[i] = values[i]*3 + 20 // a mean far from 0
		}
		feeds := map[string]shaped{"x": {shape, values}}
		x := d.Add(graph.Spec{Name: "x", Op: "PlaceholderWithDefault",
			Inputs:     []graph.Tensor{d.Zeros("zeros", 1, height, width, channels*parts)},
			Attributes: graph.Attributes{"dtype": float, "shape": graph.Shape(-1, height, width, channels*parts)}})
		split := d.Add(graph.Spec{Name: "split", Op: "Split", Attributes: graph.Attributes{"T": float,
			"num_split": graph.Int(int64(parts))},
			Inputs: []graph.Tensor{d.Int32s("axis", []int32{3}), x}})
		part := r.IntN(parts)
		in := split.Output(part)
		if trial%3 == 0 {
			in = d.op("doubled", "AddV2", in, in)
		}
		axes := d.Int32s("axes", []int32{1, 2, 3}, 3)
		mean := func(name string, x graph.Tensor) graph.Tensor {
			return d.Add(graph.Spec{Name: name, Op: "Mean", Inputs: []graph.Tensor{x, axes}, Attributes: graph.Attributes{
				"T": float, "Tidx": graph.Type(tfpb.DataType_DT_INT32), "keep_dims": graph.Bool(true)}})
		}
		average := mean("average", in)
		variance := mean("variance", d.op("squares", "SquaredDifference", in, average))
		inverse := d.op("inverse", "Rsqrt", d.op("shifted", "AddV2", variance, d.Floats("epsilon", []float32{1e-3})))
		gamma, beta := d.filter("gamma", channels), d.filter("beta", channels)
		factor := d.op("factor", "Mul", inverse, gamma)
		offset := d.op("offset", "Sub", beta, d.op("product", "Mul", average, factor))
		d.op("y", "Sigmoid", d.op("sum", "AddV2", d.op("scaled", "Mul", in, factor), offset))

		def := d.Proto()
		for _, node := range def.Node {
			// Variables would have to be assigned; the rewriter has to see them.
			if node.Op == "ReadVariableOp" {
				feeds[node.Name] = shaped{[]int64{int64(channels)}, randomFloats(r, channels)}
			}
		}
		run := func() []float32 {
			feed := proto.CloneOf(def)
			for _, node := range feed.Node {
				if node.Op == "ReadVariableOp" {
					node.Op, node.Input = "Placeholder", nil
					node.Attr = map[string]*tfpb.AttrValue{"dtype": float}
				}
			}
			got, err := runGraph(t, feed, feeds, []string{"y"})
			require.NoError(t, err)
			return got[0]
		}
		want := run()
		Rewriting{Key: "k", Threads: 1 + trial%3}.Rewrite(def)
		ops := map[string]string{}
		for _, node := range def.Node {
			ops[node.Name] = node.Op
		}
		require.Equal(t, Normal, ops["factor"])
		require.Equal(t, Elementwise, ops["y"])
		got := run()
		require.Len(t, got, len(want))
		for i := range want {
			require.InDelta(t, want[i], got[i], 3e-5, "%d×%d×%d×%d/%d", batch, height, width, channels, parts)
		}
	}
}

func TestNormalRefuses(t *testing.T) {
	need(t)
	for name, c := range map[string]struct {
		x, gamma, beta shaped
		part, parts    int64
	}{
		"rank":          {zeros(4, 4, 8), zeros(8), zeros(8), 0, 1},
		"vectors":       {zeros(1, 4, 4, 8), zeros(1, 8), zeros(8), 0, 1},
		"gamma":         {zeros(1, 4, 4, 8), zeros(7), zeros(8), 0, 1},
		"beta":          {zeros(1, 4, 4, 8), zeros(8), zeros(9), 0, 1},
		"not divisible": {zeros(1, 4, 4, 8), zeros(2), zeros(2), 0, 3},
		"no such part":  {zeros(1, 4, 4, 8), zeros(4), zeros(4), 2, 2},
		"no pixels":     {zeros(1, 0, 4, 8), zeros(8), zeros(8), 0, 1},
		"no channels":   {zeros(1, 4, 4, 0), zeros(0), zeros(0), 0, 1},
	} {
		def := &tfpb.GraphDef{Versions: &tfpb.VersionDef{Producer: graph.ProducerVersion}}
		feeds := map[string]shaped{"x": c.x, "gamma": c.gamma, "beta": c.beta}
		for input := range feeds {
			def.Node = append(def.Node, &tfpb.NodeDef{Name: input, Op: "Placeholder",
				Attr: map[string]*tfpb.AttrValue{"dtype": float}})
		}
		def.Node = append(def.Node, &tfpb.NodeDef{Name: "y", Op: Normal, Input: []string{"x", "gamma", "beta"},
			Attr: map[string]*tfpb.AttrValue{
				"part": graph.Int(c.part), "parts": graph.Int(c.parts), "threads": graph.Int(1),
				"epsilon": {Value: &tfpb.AttrValue_F{F: 1e-12}}}})
		_, err := runGraph(t, def, feeds, []string{"y"})
		assert.ErrorIs(t, err, libtf.ErrInvalidArgument, name)
	}
}
