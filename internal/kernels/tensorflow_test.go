//go:build cgo && (linux || darwin)

package kernels

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
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

// description is that of an operation over placeholders x0, … and s0 of any shape, with
// filters of a shape for each input of the group, whose values are provided.
type description struct {
	key                               string
	sources, stencils, first, threads int
	filter                            Filter
	filters                           [][]float32
}

// provide makes the filters readable.
func (d description) provide(t *testing.T) {
	t.Cleanup(Provide(d.key, func(variable string, to []float32) error {
		i := int(variable[1] - '0')
		if len(d.filters[i]) != len(to) {
			return fmt.Errorf("%d values instead of %d", len(d.filters[i]), len(to))
		}
		copy(to, d.filters[i])
		return nil
	}))
}

// operation returns a session with the operation, or the error of importing it.
func operation(t *testing.T, d description) (*libtf.Graph, *libtf.Session, error) {
	d.provide(t)
	float := graph.Type(tfpb.DataType_DT_FLOAT)
	def := &tfpb.GraphDef{Versions: &tfpb.VersionDef{Producer: graph.ProducerVersion}}
	var inputs, variables []string
	for kind, count := range []int{d.sources, d.stencils} {
		kind := "xs"[kind : kind+1]
		for i := range count {
			name := kind + string(rune('0'+i))
			def.Node = append(def.Node, &tfpb.NodeDef{Name: name, Op: "Placeholder", Attr: map[string]*tfpb.AttrValue{
				"dtype": float, "shape": {Value: &tfpb.AttrValue_Shape{Shape: &tfpb.TensorShapeProto{UnknownRank: true}}},
			}})
			inputs = append(inputs, name)
		}
	}
	var channels []int64
	for i, c := range d.filter.Channels {
		variables, channels = append(variables, "w"+string(rune('0'+i))), append(channels, int64(c))
	}
	def.Node = append(def.Node, &tfpb.NodeDef{Name: "y", Op: Operation, Input: inputs, Attr: map[string]*tfpb.AttrValue{
		"sources": graph.Int(int64(d.sources)), "stencils": graph.Int(int64(d.stencils)), "first": graph.Int(int64(d.first)),
		"key": graph.String(keyOf(d.key, variables)), "threads": graph.Int(int64(d.threads)),
		"kernel": graph.Int(int64(d.filter.Kernel)), "channels": graph.Ints(channels...),
		"depth": graph.Int(int64(d.filter.Depth)),
	}})
	return session(t, def)
}

func session(t *testing.T, def *tfpb.GraphDef) (*libtf.Graph, *libtf.Session, error) {
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

func convolve(t *testing.T, g *libtf.Graph, s *libtf.Session, xs []shaped, stencil ...shaped) ([]int64, []float32,
	error) {
	var feeds []libtf.Feed
	for kind, list := range map[string][]shaped{"x": xs, "s": stencil} {
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
	for name, c := range map[string]struct {
		testCase
		first, sources int
	}{
		"one":    {testCase{filter: Filter{3, []int{20}, 40}, batch: 2, height: 9, width: 11}, 0, 1},
		"two":    {testCase{filter: Filter{3, []int{64, 33}, 64}, batch: 3, height: 28, width: 28}, 0, 2},
		"second": {testCase{filter: Filter{3, []int{64, 33}, 64}, batch: 3, height: 28, width: 28}, 1, 1},
		"first":  {testCase{filter: Filter{2, []int{7, 33}, 64}, batch: 1, height: 8, width: 8}, 0, 1},
		"1×1":    {testCase{filter: Filter{1, []int{64}, 64}, batch: 2, height: 7, width: 7}, 0, 1},
		"4×4":    {testCase{filter: Filter{4, []int{10}, 10}, batch: 1, height: 7, width: 5}, 0, 1},
		"empty":  {testCase{filter: Filter{3, []int{10}, 10}, batch: 0, height: 7, width: 5}, 0, 1},
	} {
		var xs []shaped
		var inputs, filters [][]float32
		for i, channels := range c.filter.Channels {
			filters = append(filters, randomFloats(r, c.filter.Kernel*c.filter.Kernel*channels*c.filter.Depth))
			if i >= c.first && i < c.first+c.sources {
				x := randomFloats(r, c.batch*c.height*c.width*channels)
				xs, inputs = append(xs, shaped{[]int64{int64(c.batch), int64(c.height), int64(c.width), int64(channels)}, x}),
					append(inputs, x)
			}
		}
		g, s, err := operation(t, description{key: name, sources: c.sources, first: c.first, threads: 2, filter: c.filter,
			filters: filters})
		require.NoError(t, err, name)
		some := c.filter
		some.Channels = some.Channels[c.first : c.first+c.sources]
		for range 2 { // packing, then with what is packed
			shape, y, err := convolve(t, g, s, xs)
			require.NoError(t, err, name)
			require.Equal(t, []int64{int64(c.batch), int64(c.height), int64(c.width), int64(c.filter.Depth)}, shape, name)
			for i := 0; i < len(y); i += 7 {
				pixel := i / c.filter.Depth
				want := reference(some, c.height, c.width, inputs, filters[c.first:], pixel/(c.height*c.width),
					pixel/c.width%c.height, pixel%c.width, i%c.filter.Depth)
				assert.InDelta(t, want, y[i], 2e-3, name)
				assert.False(t, math.IsNaN(float64(y[i])), name)
			}
		}
	}
}

func zeros(shape ...int64) shaped {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	return shaped{shape, make([]float32, n)}
}

// TestOperationRefuses: whatever a graph gives the operation is an error, never an access
// outside of a tensor.
func TestOperationRefuses(t *testing.T) {
	need(t)
	x, w := zeros(1, 5, 5, 4), make([]float32, 9*4*8)
	good := description{key: "good", sources: 2, threads: 1, filter: Filter{3, []int{4, 4}, 8}, filters: [][]float32{w, w}}
	for name, xs := range map[string][]shaped{
		"rank":          {zeros(5, 5, 4), x},
		"scalar":        {zeros(), x},
		"channels":      {x, zeros(1, 5, 5, 5)},
		"no channels":   {zeros(1, 5, 5, 0), x},
		"other heights": {x, zeros(1, 6, 5, 4)},
		"other batches": {x, zeros(2, 5, 5, 4)},
		"too wide":      {zeros(0, 1, 1<<21, 4), zeros(0, 1, 1<<21, 4)},
	} {
		g, s, err := operation(t, good)
		require.NoError(t, err, name)
		_, _, err = convolve(t, g, s, xs)
		assert.ErrorIs(t, err, libtf.ErrInvalidArgument, name)
	}
	for name, change := range map[string]func(d *description){
		"five sources":     func(d *description) { d.sources = 5 },
		"more than there":  func(d *description) { d.first = 1 },
		"first of none":    func(d *description) { d.sources, d.first = 1, 2 },
		"threads":          func(d *description) { d.threads = 5000 },
		"kernel":           func(d *description) { d.filter.Kernel = 8 },
		"depth":            func(d *description) { d.filter.Depth = 1<<20 + 1 },
		"no filters":       func(d *description) { d.filter.Channels = nil },
		"five filters":     func(d *description) { d.filter.Channels = []int{4, 4, 4, 4, 4} },
		"no channels":      func(d *description) { d.filter.Channels = []int{4, 0} },
		"long key":         func(d *description) { d.key = strings.Repeat("k", 5000) },
		"stencil and 3×3":  func(d *description) { d.sources, d.stencils, d.filter.Channels = 1, 1, []int{4} },
		"stencil and two":  func(d *description) { d.stencils, d.filter.Kernel = 1, 1 },
		"several stencils": func(d *description) { d.sources, d.stencils, d.filter = 1, 2, Filter{1, []int{4}, 8} },
	} {
		d := good
		change(&d)
		g, s, err := operation(t, d)
		require.NoError(t, err, name)
		var stencils []shaped
		for range d.stencils {
			stencils = append(stencils, zeros(3, 3, 4, 1))
		}
		_, _, err = convolve(t, g, s, []shaped{x, x, x, x, x}[:d.sources], stencils...)
		assert.ErrorIs(t, err, libtf.ErrInvalidArgument, name)
	}
	none := good
	none.sources = 0
	_, _, err := operation(t, none)
	assert.Error(t, err)
}

// TestOperationReadsFilters, and says what is wrong with them.
func TestOperationReadsFilters(t *testing.T) {
	need(t)
	x := zeros(1, 5, 5, 4)
	d := description{key: "short", sources: 1, threads: 1, filter: Filter{3, []int{4}, 8},
		filters: [][]float32{make([]float32, 3)}}
	g, s, err := operation(t, d)
	require.NoError(t, err)
	_, _, err = convolve(t, g, s, []shaped{x})
	assert.ErrorIs(t, err, libtf.ErrDataLoss)
	assert.ErrorContains(t, err, "TfconvrnnConvolution: 3 values instead of 288")

	// Two of one key and different filters, of a session that is still there.
	d.key, d.filters[0] = "shared", make([]float32, 9*4*8)
	g, s, err = operation(t, d)
	require.NoError(t, err)
	_, _, err = convolve(t, g, s, []shaped{x})
	require.NoError(t, err)
	d.filter.Channels = []int{20}
	g, s, err = operation(t, d)
	require.NoError(t, err)
	_, _, err = convolve(t, g, s, []shaped{zeros(1, 5, 5, 20)})
	assert.ErrorIs(t, err, libtf.ErrFailedPrecondition)

	remove := Provide("removed", func(string, []float32) error { return nil })
	remove()
	assert.ErrorContains(t, readFilter("removed w", 0, nil), "no filters")
	assert.ErrorContains(t, readFilter("shared w0", 1, nil), "no filters")
}

func TestFilterOperation(t *testing.T) {
	need(t)
	values := randomFloats(rand.New(rand.NewPCG(13, 14)), 24)
	d := description{key: "filter", filters: [][]float32{values}}
	d.provide(t)
	run := func(key string, shape ...int64) ([]int64, []float32, error) {
		g, s, err := session(t, &tfpb.GraphDef{Versions: &tfpb.VersionDef{Producer: graph.ProducerVersion},
			Node: []*tfpb.NodeDef{{
				Name: "y", Op: FilterOperation, Attr: map[string]*tfpb.AttrValue{"key": graph.String(key),
					"shape": graph.Ints(shape...)},
			}}})
		require.NoError(t, err)
		return convolve(t, g, s, nil)
	}
	shape, y, err := run("filter w0", 2, 3, 4)
	require.NoError(t, err)
	assert.Equal(t, []int64{2, 3, 4}, shape)
	assert.Equal(t, values, y)
	_, _, err = run("filter w0", 2, 3, 5)
	assert.ErrorIs(t, err, libtf.ErrDataLoss)
	_, _, err = run("unknown w0", 2, 3, 4)
	assert.ErrorIs(t, err, libtf.ErrDataLoss)
	for name, shape := range map[string][]int64{"negative": {2, -3}, "huge": {1 << 40, 1 << 40},
		"rank": {1, 1, 1, 1, 1, 1, 1, 1, 1}} {
		_, _, err = run("filter w0", shape...)
		assert.ErrorIs(t, err, libtf.ErrInvalidArgument, name)
	}
}

func TestOperationWithStencil(t *testing.T) {
	need(t)
	r := rand.New(rand.NewPCG(11, 12))
	c := testCase{filter: Filter{1, []int{40}, 24}, stencil: 5, batch: 2, height: 7, width: 9}
	x := shaped{[]int64{2, 7, 9, 40}, randomFloats(r, 2*7*9*40)}
	w := randomFloats(r, 40*24)
	stencil := shaped{[]int64{5, 5, 40, 1}, randomFloats(r, 25*40)}
	g, s, err := operation(t, description{key: "stencil", sources: 1, stencils: 1, threads: 2, filter: c.filter,
		filters: [][]float32{w}})
	require.NoError(t, err)
	shape, y, err := convolve(t, g, s, []shaped{x}, stencil)
	require.NoError(t, err)
	require.Equal(t, []int64{2, 7, 9, 24}, shape)
	convolved := depthwise(c, x.values, stencil.values)
	for i := range y {
		pixel := i / 24
		want := reference(c.filter, 7, 9, [][]float32{convolved}, [][]float32{w}, pixel/63, pixel/9%7, pixel%9, i%24)
		require.InDelta(t, want, y[i], 1e-3)
	}
	for name, wrong := range map[string][]int64{"rank": {5, 5, 40}, "not square": {5, 3, 40, 1}, "large": {8, 8, 40, 1},
		"channels": {5, 5, 39, 1}, "multiplier": {5, 5, 40, 2}} {
		_, _, err := convolve(t, g, s, []shaped{x}, zeros(wrong...))
		assert.ErrorIs(t, err, libtf.ErrInvalidArgument, name)
	}
}
