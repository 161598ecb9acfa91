package libtf

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/internal/tfpb"
)

// need loads the runtime. Without one the test is skipped, or fails where
// TFCONVRNN_REQUIRE_RUNTIME=1 promises one.
func need(t testing.TB) *Runtime {
	t.Helper()
	r, err := Load("")
	if err != nil {
		if os.Getenv("TFCONVRNN_REQUIRE_RUNTIME") == "1" {
			require.NoError(t, err)
		}
		t.Skipf("needs the TensorFlow runtime: %v", err)
	}
	return r
}

// noLeaks checks at the end of the test that it closed what it made.
func noLeaks(t *testing.T) {
	t.Helper()
	before := LiveObjects()
	t.Cleanup(func() { assert.Equal(t, before, LiveObjects(), "objects not closed") })
}

func node(name, op string, inputs []string, attributes map[string]*tfpb.AttrValue) *tfpb.NodeDef {
	return &tfpb.NodeDef{Name: name, Op: op, Input: inputs, Attr: attributes}
}

func typeAttr(d DataType) *tfpb.AttrValue {
	return &tfpb.AttrValue{Value: &tfpb.AttrValue_Type{Type: tfpb.DataType(d)}}
}

func shapeProto(dims ...int64) *tfpb.TensorShapeProto {
	shape := &tfpb.TensorShapeProto{}
	for _, d := range dims {
		shape.Dim = append(shape.Dim, &tfpb.TensorShapeProto_Dim{Size: d})
	}
	return shape
}

func placeholder(name string, d DataType, dims ...int64) *tfpb.NodeDef {
	return node(name, "Placeholder", nil, map[string]*tfpb.AttrValue{
		"dtype": typeAttr(d),
		"shape": {Value: &tfpb.AttrValue_Shape{Shape: shapeProto(dims...)}},
	})
}

func constant(name string, shape []int64, values ...float32) *tfpb.NodeDef {
	return node(name, "Const", nil, map[string]*tfpb.AttrValue{
		"dtype": typeAttr(Float),
		"value": {Value: &tfpb.AttrValue_Tensor{Tensor: &tfpb.TensorProto{
			Dtype: tfpb.DataType(Float), TensorShape: shapeProto(shape...), FloatVal: values,
		}}},
	})
}

func binary(name, op, a, b string) *tfpb.NodeDef {
	return node(name, op, []string{a, b}, map[string]*tfpb.AttrValue{"T": typeAttr(Float)})
}

func graphDef(t testing.TB, nodes ...*tfpb.NodeDef) []byte {
	t.Helper()
	message, err := proto.Marshal(&tfpb.GraphDef{Node: nodes, Versions: &tfpb.VersionDef{Producer: 1087}})
	require.NoError(t, err)
	return message
}

// session makes a graph of the nodes and a session for it.
func session(t testing.TB, nodes ...*tfpb.NodeDef) (*Graph, *Session) {
	t.Helper()
	need(t)
	g, err := NewGraph()
	require.NoError(t, err)
	t.Cleanup(g.Close)
	require.NoError(t, g.Import(graphDef(t, nodes...), ""))
	s, err := NewSession(g, nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return g, s
}

func tensor[T Element](t testing.TB, shape []int64, data ...T) *Tensor {
	t.Helper()
	x, err := NewTensor(shape, data)
	require.NoError(t, err)
	t.Cleanup(x.Close)
	return x
}
