//go:build cgo && (linux || darwin)

package kernels

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/internal/graph"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/tfpb"
)

// need loads the runtime and registers the operations, for the instructions that
// TFCONVRNN_INSTRUCTIONS names or the best: a process can have them for one set only.
func need(t *testing.T) {
	runtime, err := libtf.Load("")
	if err != nil {
		if os.Getenv("TFCONVRNN_REQUIRE_RUNTIME") == "1" {
			require.NoError(t, err)
		}
		t.Skipf("needs the TensorFlow runtime: %v", err)
	}
	instructions := os.Getenv("TFCONVRNN_INSTRUCTIONS")
	if instructions == "" {
		instructions = Instructions()[0]
	}
	require.NoError(t, Register(runtime, instructions))
	require.NoError(t, Register(runtime, instructions))
	require.ErrorIs(t, Register(runtime, "other"), ErrInvalid)
}

// operation returns a session with the operation over placeholders x0, …, w0, … of any
// shape, or the error of importing it.
func operation(t *testing.T, key string, sources, stencils, threads int) (*libtf.Graph, *libtf.Session, error) {
	float := graph.Type(tfpb.DataType_DT_FLOAT)
	def := &tfpb.GraphDef{Versions: &tfpb.VersionDef{Producer: graph.ProducerVersion}}
	var inputs []string
	for kind, count := range []int{sources, sources, stencils} {
		kind := "xws"[kind : kind+1]
		for i := range count {
			name := kind + string(rune('0'+i))
			def.Node = append(def.Node, &tfpb.NodeDef{Name: name, Op: "Placeholder", Attr: map[string]*tfpb.AttrValue{
				"dtype": float, "shape": {Value: &tfpb.AttrValue_Shape{Shape: &tfpb.TensorShapeProto{UnknownRank: true}}},
			}})
			inputs = append(inputs, name)
		}
	}
	def.Node = append(def.Node, &tfpb.NodeDef{Name: "y", Op: Operation, Input: inputs, Attr: map[string]*tfpb.AttrValue{
		"sources": graph.Int(int64(sources)), "stencils": graph.Int(int64(stencils)), "key": graph.String(key), "threads": graph.Int(int64(threads)),
	}})
	content, err := proto.Marshal(def)
	require.NoError(t, err)
	g, err := libtf.NewGraph()
	require.NoError(t, err)
	t.Cleanup(g.Close)
	if err := g.Import(content, ""); err != nil {
		return nil, nil, err
	}
	s, err := libtf.NewSession(g, nil)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return g, s, nil
}

func TestLibraryWithoutKernels(t *testing.T) {
	_, err := functionsOf(func(string) unsafe.Pointer { return nil })
	require.ErrorIs(t, err, ErrUnavailable)
	assert.ErrorContains(t, err, "the library lacks TF_NewStatus, ")
	assert.ErrorContains(t, err, "TF_NewKernelBuilder")
	_, err = isaOf("sse1")
	assert.ErrorIs(t, err, ErrUnavailable)
}

type shaped struct {
	shape  []int64
	values []float32
}

func convolve(t *testing.T, g *libtf.Graph, s *libtf.Session, xs, ws []shaped, stencil ...shaped) ([]int64, []float32, error) {
	var feeds []libtf.Feed
	for kind, list := range map[string][]shaped{"x": xs, "w": ws, "s": stencil} {
		for i, v := range list {
			tensor, err := libtf.NewTensor(v.shape, v.values)
			require.NoError(t, err)
			defer tensor.Close()
			feeds = append(feeds, libtf.Feed{Output: g.Operation(kind + string(rune('0'+i))).Output(0), Tensor: tensor})
		}
	}
	results, err := s.Run(context.Background(), feeds, []libtf.Output{g.Operation("y").Output(0)}, nil)
	if err != nil {
		return nil, nil, err
	}
	defer libtf.CloseAll(results)
	values, err := libtf.Data[float32](results[0])
	require.NoError(t, err)
	return results[0].Shape(), append([]float32(nil), values...), nil
}

func TestOperation(t *testing.T) {
	need(t)
	r := rand.New(rand.NewPCG(7, 8))
	for name, c := range map[string]testCase{
		"one":   {filter: Filter{3, []int{20}, 40}, batch: 2, height: 9, width: 11},
		"two":   {filter: Filter{3, []int{64, 33}, 64}, batch: 3, height: 28, width: 28},
		"1×1":   {filter: Filter{1, []int{64}, 64}, batch: 2, height: 7, width: 7},
		"4×4":   {filter: Filter{4, []int{10}, 10}, batch: 1, height: 7, width: 5},
		"empty": {filter: Filter{3, []int{10}, 10}, batch: 0, height: 7, width: 5},
	} {
		var xs, ws []shaped
		var inputs, filters [][]float32
		for _, channels := range c.filter.Channels {
			x := shaped{[]int64{int64(c.batch), int64(c.height), int64(c.width), int64(channels)}, randomFloats(r, c.batch*c.height*c.width*channels)}
			k := int64(c.filter.Kernel)
			w := shaped{[]int64{k, k, int64(channels), int64(c.filter.Depth)}, randomFloats(r, int(k*k)*channels*c.filter.Depth)}
			xs, ws, inputs, filters = append(xs, x), append(ws, w), append(inputs, x.values), append(filters, w.values)
		}
		g, s, err := operation(t, name, len(xs), 0, 2)
		require.NoError(t, err, name)
		for range 2 { // packing, then with what is packed
			shape, y, err := convolve(t, g, s, xs, ws)
			require.NoError(t, err, name)
			require.Equal(t, []int64{int64(c.batch), int64(c.height), int64(c.width), int64(c.filter.Depth)}, shape, name)
			for i := 0; i < len(y); i += 7 {
				pixel := i / c.filter.Depth
				want := reference(c.filter, c.height, c.width, inputs, filters, pixel/(c.height*c.width), pixel/c.width%c.height, pixel%c.width, i%c.filter.Depth)
				assert.InDelta(t, want, y[i], 2e-3, name)
				assert.False(t, math.IsNaN(float64(y[i])), name)
			}
		}
	}
}

// TestOperationRefuses: whatever a graph gives the operation is an error, never an access
// outside of a tensor.
func TestOperationRefuses(t *testing.T) {
	need(t)
	zeros := func(shape ...int64) shaped {
		n := int64(1)
		for _, d := range shape {
			n *= d
		}
		return shaped{shape, make([]float32, n)}
	}
	x, w := zeros(1, 5, 5, 4), zeros(3, 3, 4, 8)
	for name, c := range map[string]struct{ xs, ws []shaped }{
		"rank of x":      {[]shaped{zeros(5, 5, 4)}, []shaped{w}},
		"rank of w":      {[]shaped{x}, []shaped{zeros(36, 8)}},
		"scalar":         {[]shaped{zeros()}, []shaped{w}},
		"channels":       {[]shaped{x}, []shaped{zeros(3, 3, 5, 8)}},
		"kernel":         {[]shaped{x}, []shaped{zeros(8, 8, 4, 8)}},
		"not square":     {[]shaped{x}, []shaped{zeros(3, 1, 4, 8)}},
		"no depth":       {[]shaped{x}, []shaped{zeros(3, 3, 4, 0)}},
		"no channels":    {[]shaped{zeros(1, 5, 5, 0)}, []shaped{zeros(3, 3, 0, 8)}},
		"other heights":  {[]shaped{x, zeros(1, 6, 5, 4)}, []shaped{w, w}},
		"other batches":  {[]shaped{x, zeros(2, 5, 5, 4)}, []shaped{w, w}},
		"other kernels":  {[]shaped{x, x}, []shaped{w, zeros(1, 1, 4, 8)}},
		"other depths":   {[]shaped{x, x}, []shaped{w, zeros(3, 3, 4, 9)}},
		"other channels": {[]shaped{x, x}, []shaped{w, zeros(3, 3, 5, 8)}},
	} {
		g, s, err := operation(t, name, len(c.xs), 0, 1)
		require.NoError(t, err, name)
		_, _, err = convolve(t, g, s, c.xs, c.ws)
		assert.ErrorIs(t, err, libtf.ErrInvalidArgument, name)
	}

	// Two of one key and different filters.
	g, s, err := operation(t, "shared", 1, 0, 1)
	require.NoError(t, err)
	_, _, err = convolve(t, g, s, []shaped{x}, []shaped{w})
	require.NoError(t, err)
	_, _, err = convolve(t, g, s, []shaped{zeros(1, 5, 5, 20)}, []shaped{zeros(3, 3, 20, 8)})
	assert.ErrorIs(t, err, libtf.ErrFailedPrecondition)

	for name, attributes := range map[string][2]int{"sources": {5, 1}, "threads": {1, 5000}} {
		g, s, err := operation(t, "attributes", attributes[0], 0, attributes[1])
		require.NoError(t, err)
		var xs, ws []shaped
		for range attributes[0] {
			xs, ws = append(xs, x), append(ws, w)
		}
		_, _, err = convolve(t, g, s, xs, ws)
		assert.ErrorIs(t, err, libtf.ErrInvalidArgument, name)
	}
	_, _, err = operation(t, "none", 0, 0, 1)
	assert.Error(t, err)
}

func TestOperationWithStencil(t *testing.T) {
	need(t)
	r := rand.New(rand.NewPCG(11, 12))
	c := testCase{filter: Filter{1, []int{40}, 24}, stencil: 5, batch: 2, height: 7, width: 9}
	x := shaped{[]int64{2, 7, 9, 40}, randomFloats(r, 2*7*9*40)}
	w := shaped{[]int64{1, 1, 40, 24}, randomFloats(r, 40*24)}
	stencil := shaped{[]int64{5, 5, 40, 1}, randomFloats(r, 25*40)}
	g, s, err := operation(t, "stencil", 1, 1, 2)
	require.NoError(t, err)
	shape, y, err := convolve(t, g, s, []shaped{x}, []shaped{w}, stencil)
	require.NoError(t, err)
	require.Equal(t, []int64{2, 7, 9, 24}, shape)
	convolved := depthwise(c, x.values, stencil.values)
	for i := range y {
		pixel := i / 24
		want := reference(c.filter, 7, 9, [][]float32{convolved}, [][]float32{w.values}, pixel/63, pixel/9%7, pixel%9, i%24)
		require.InDelta(t, want, y[i], 1e-3)
	}
	for name, wrong := range map[string][]int64{"rank": {5, 5, 40}, "not square": {5, 3, 40, 1}, "large": {8, 8, 40, 1}, "channels": {5, 5, 39, 1}, "multiplier": {5, 5, 40, 2}} {
		n := int64(1)
		for _, d := range wrong {
			n *= d
		}
		_, _, err := convolve(t, g, s, []shaped{x}, []shaped{w}, shaped{wrong, make([]float32, n)})
		assert.ErrorIs(t, err, libtf.ErrInvalidArgument, name)
	}
	g, s, err = operation(t, "stencil3", 1, 1, 2)
	require.NoError(t, err)
	_, _, err = convolve(t, g, s, []shaped{x}, []shaped{{[]int64{3, 3, 40, 24}, make([]float32, 9*40*24)}}, stencil)
	assert.ErrorIs(t, err, libtf.ErrInvalidArgument, "a kernel of 3×3")
	g, s, err = operation(t, "stencils", 2, 1, 2)
	require.NoError(t, err)
	_, _, err = convolve(t, g, s, []shaped{x, x}, []shaped{w, w}, stencil)
	assert.ErrorIs(t, err, libtf.ErrInvalidArgument, "two inputs")
}
