package libtf

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/internal/tfpb"
)

func varintField(field protowire.Number, value int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, field, protowire.VarintType), uint64(value))
}

func bytesField(field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), value)
}

func TestConfigThreads(t *testing.T) {
	for _, good := range [][]byte{
		nil, varintField(2, 0), varintField(2, 8), varintField(5, -1), varintField(5, 4), bytesField(12, varintField(1, 2)),
		bytesField(10, varintField(2, -1)),
	} {
		assert.NoError(t, checkConfig(good), "%x", good)
	}
	for _, bad := range [][]byte{
		varintField(2, -1), varintField(2, 1<<30), varintField(5, 1<<30), varintField(5, -2),
		bytesField(12, varintField(1, -1)), append(varintField(2, 1), varintField(2, -1)...),
		{0xff}, {0x10}, bytesField(12, []byte{8}),
	} {
		assert.ErrorIs(t, checkConfig(bad), ErrInvalidArgument, "%x", bad)
	}
}

func TestShapesInGraphs(t *testing.T) {
	list := func(value *tfpb.AttrValue_ListValue) map[string]*tfpb.AttrValue {
		return map[string]*tfpb.AttrValue{"a": {Value: &tfpb.AttrValue_List{List: value}}}
	}
	huge := shapeProto(1<<40, 1<<40)
	nodes := map[string]*tfpb.NodeDef{
		"tensor": constant("bad", huge2(), 1),
		"shape":  placeholder("bad", Float, huge2()...),
		"shapes": node("bad", "X", nil, list(&tfpb.AttrValue_ListValue{Shape: []*tfpb.TensorShapeProto{huge}})),
		"tensors": node("bad", "X", nil,
			list(&tfpb.AttrValue_ListValue{Tensor: []*tfpb.TensorProto{{TensorShape: huge}}})),
		"many dims":   placeholder("bad", Float, make([]int64, 255)...),
		"single dim":  placeholder("bad", Float, 1<<62),
		"with a zero": placeholder("bad", Float, 0, 1<<40, 1<<40),
	}
	for name, bad := range nodes {
		message := graphDef(t, placeholder("good", Float, -1, 224, 224, 3), bad)
		assert.ErrorContains(t, checkGraphDef(message), `node "bad"`, name)

		function, err := proto.Marshal(bad)
		require.NoError(t, err)
		library := &tfpb.FunctionDefLibrary{Function: [][]byte{bytesField(3, function)}}
		message, err = proto.Marshal(&tfpb.GraphDef{Library: library})
		require.NoError(t, err)
		assert.ErrorContains(t, checkGraphDef(message), `node "bad"`, name)
	}
	assert.NoError(t,
		checkGraphDef(graphDef(t, placeholder("good", Float, -1, 224, 224, 3), constant("c", []int64{2}, 1, 2))))
	assert.NoError(t, checkGraphDef(nil))
}

func huge2() []int64 { return []int64{1 << 40, 1 << 40} }

func TestDamagedMessagesDoNotPanic(t *testing.T) {
	whole := bytesField(2, bytesField(2, graphDef(t, placeholder("x", Float, -1, 224), constant("c", []int64{2}, 1, 2))))
	random := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		damaged := append([]byte(nil), whole[:random.IntN(len(whole))+1]...)
		for range random.IntN(4) {
			damaged[random.IntN(len(damaged))] = byte(random.Uint32())
		}
		assert.NotPanics(t, func() {
			_ = checkSavedModel(damaged)
			_ = checkGraphDef(damaged)
			_ = checkConfig(damaged)
		})
	}
}

// TestMergedShapes: a shape in two parts is the shape of both.
func TestMergedShapes(t *testing.T) {
	half, err := proto.Marshal(shapeProto(1 << 40))
	require.NoError(t, err)
	twice := func(field protowire.Number) []byte {
		return append(bytesField(field, half), bytesField(field, half)...)
	}
	attribute := func(value []byte) []byte { // of a node in a graph
		entry := append(bytesField(1, []byte("a")), bytesField(2, value)...)
		return bytesField(1, append(bytesField(1, []byte("bad")), bytesField(5, entry)...))
	}
	inTwoValues := append(bytesField(1, []byte("a")), append(bytesField(2, bytesField(7, half)),
		bytesField(2, bytesField(7, half))...)...)
	assert.NoError(t, checkGraphDef(attribute(bytesField(7, half))))
	for name, bad := range map[string][]byte{
		"shape":             attribute(twice(7)),
		"shape of a tensor": attribute(bytesField(8, twice(2))),
		"tensor": attribute(append(bytesField(8, bytesField(2, half)),
			bytesField(8, bytesField(2, half))...)),
		"tensor in a list": attribute(bytesField(1, bytesField(8, twice(2)))),
		"value":            bytesField(1, append(bytesField(1, []byte("bad")), bytesField(5, inTwoValues)...)),
		"same size given twice ": attribute(
			bytesField(7, bytesField(2, append(varintField(1, 1<<40), varintField(1, 1<<40)...)))),
	} {
		assert.ErrorContains(t, checkGraphDef(bad), "overflows", name)
	}
}

// FuzzGuards requires of what is accepted that no shape of the decoded message
// overflows.
func FuzzGuards(f *testing.F) {
	f.Add(graphDef(f, placeholder("good", Float, -1, 224, 224, 3), constant("c", []int64{2}, 1, 2)))
	f.Add(graphDef(f, placeholder("bad", Float, 1<<40, 1<<40)))
	f.Add(varintField(2, -1))
	f.Fuzz(func(t *testing.T, message []byte) {
		if checkConfig(message) == nil {
			config := &tfpb.ConfigProto{}
			if proto.Unmarshal(message, config) == nil {
				require.GreaterOrEqual(t, config.IntraOpParallelismThreads, int32(0))
				require.GreaterOrEqual(t, config.InterOpParallelismThreads, int32(-1))
			}
		}
		_ = checkSavedModel(message)
		if checkGraphDef(message) != nil {
			return
		}
		graph := &tfpb.GraphDef{}
		if proto.Unmarshal(message, graph) != nil {
			return
		}
		check := func(shape *tfpb.TensorShapeProto) {
			size := 1.0
			for _, d := range shape.GetDim() {
				if d.Size > 0 {
					size *= float64(d.Size)
				}
			}
			require.Less(t, size, 9.3e18/16)
			require.LessOrEqual(t, len(shape.GetDim()), maxRank)
		}
		for _, n := range graph.Node {
			for _, a := range n.Attr {
				check(a.GetShape())
				check(a.GetTensor().GetTensorShape())
				for _, s := range a.GetList().GetShape() {
					check(s)
				}
				for _, tensor := range a.GetList().GetTensor() {
					check(tensor.GetTensorShape())
				}
			}
		}
	})
}
