package benchmark

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/internal/graph"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/tfpb"
)

// roof says with what the roofline of a device is measured.
type roof struct {
	// shapes are rows, columns and summed dimension of the matrix products that
	// the peak is taken of.
	shapes [][3]int
	// values are the floats that are summed to measure the memory's bandwidth.
	values int
	// repeats are computed in one run, so that starting it does not count.
	repeats int
}

var (
	// onCPU has a large square product, and 3×3 convolutions of a batch of 8 as
	// products, 28×28 pixels of 256 → 512 channels and 14×14 of 512 → 1024. Its
	// 128 MB are more than caches hold.
	onCPU = roof{shapes: [][3]int{{2048, 2048, 2048}, {6272, 512, 2304}, {1568, 1024, 4608}}, values: 32 << 20, repeats: 1}
	// onGPU has square products, and the convolution of 28×28 pixels for a batch
	// of 128.
	onGPU = roof{shapes: [][3]int{{4096, 4096, 4096}, {8192, 8192, 8192}, {100352, 512, 2304}}, values: 128 << 20,
		repeats: 8}
)

// Peak is the roofline of the device: the best of what was computed between the
// runs, by the same library, in the same precision, on the same device.
type Peak struct {
	// GFLOPS are floating-point operations per second of wall time in matrix
	// products, in 1e9, two for each multiply-accumulate, and MedianGFLOPS their
	// median for the best shape.
	GFLOPS       float64 `json:"gflops"`
	MedianGFLOPS float64 `json:"median_gflops"`
	// GFLOPPerCPUSecond are those per second of a core; 0 on a GPU.
	GFLOPPerCPUSecond float64 `json:"gflop_per_cpu_second,omitempty"`
	// Shape is that of the best product: rows, columns, summed dimension.
	Shape [3]int `json:"shape"`
	// MemoryGBPerSecond is how fast the device reads its memory, in 1e9 bytes.
	MemoryGBPerSecond float64 `json:"memory_gb_per_second"`
	// Ridge is how many floating-point operations there must be for each byte read
	// or written for the memory not to be what limits.
	Ridge float64 `json:"ridge_flop_per_byte"`
}

// gemm computes matrix products, and sums to read memory, of variables that are in
// the device's memory.
type gemm struct {
	roof
	gpu      bool
	graph    *libtf.Graph
	session  *libtf.Session
	products [][]libtf.Output // of every shape, a value of each repeat
	sums     []libtf.Output
	gflops   [][]float64 // of every shape
	perCPU   float64
	memory   float64 // best, in GB/s
}

// newGEMM prepares the measurement for sessions with a serialized ConfigProto, on a
// TensorFlow device; "" is the preferred one.
func newGEMM(config []byte, device string) (*gemm, error) {
	return newGEMMOf(config, device, onCPU, onGPU)
}

func newGEMMOf(config []byte, device string, onCPU, onGPU roof) (_ *gemm, err error) {
	g := &gemm{}
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	if g.graph, err = libtf.NewGraph(); err != nil {
		return nil, err
	}
	if g.session, err = libtf.NewSession(g.graph, &libtf.SessionOptions{Config: config}); err != nil {
		return nil, err
	}
	devices, err := g.session.ListDevices()
	if err != nil {
		return nil, err
	}
	g.roof = onCPU
	if slices.ContainsFunc(devices, func(d libtf.Device) bool { return d.Type == "GPU" }) {
		g.roof, g.gpu = onGPU, true
	}
	b := &roofGraph{Graph: graph.New(), repeats: g.repeats}
	g.gflops = make([][]float64, len(g.shapes))
	var products [][]graph.Tensor
	for _, s := range g.shapes {
		products = append(products, b.products(s))
	}
	sums := b.sums(g.values)
	def := b.Proto()
	for _, node := range def.Node {
		node.Device = device
	}
	data, err := proto.Marshal(def)
	if err != nil {
		return nil, err
	}
	if err := g.graph.Import(data, ""); err != nil {
		return nil, err
	}
	for _, v := range b.variables {
		if err := g.assign(v); err != nil {
			return nil, err
		}
	}
	for _, repeats := range products {
		g.products = append(g.products, g.outputs(repeats))
	}
	g.sums = g.outputs(sums)
	return g, nil
}

// roofGraph is the graph under construction.
type roofGraph struct {
	*graph.Graph
	repeats   int
	variables []roofVariable
}

// roofVariable is a variable, and the operation that assigns what is fed to it.
type roofVariable struct {
	rows, columns int
	feed, assign  string
}

var float = graph.Type(tfpb.DataType_DT_FLOAT)

// variable returns the value of a new matrix.
func (b *roofGraph) variable(rows, columns int) graph.Tensor {
	name := fmt.Sprintf("matrix%d", len(b.variables))
	handle := b.Variable(name, []int{rows, columns})
	feed := b.Add(graph.Spec{Name: name + "/feed", Op: "Placeholder", Attributes: graph.Attributes{"dtype": float,
		"shape": graph.Shape(rows, columns)}})
	assign := b.Add(graph.Spec{Name: name + "/assign", Op: "AssignVariableOp", Inputs: []graph.Tensor{handle, feed},
		Attributes: graph.Attributes{"dtype": float}})
	b.variables = append(b.variables, roofVariable{rows, columns, feed.Operation(), assign.Operation()})
	return b.Add(graph.Spec{Name: name + "/read", Op: "ReadVariableOp", Inputs: []graph.Tensor{handle},
		Attributes: graph.Attributes{"dtype": float}})
}

// products returns a value of each of the repeated products, one after the other.
func (b *roofGraph) products(s [3]int) (corners []graph.Tensor) {
	x, y := b.variable(s[0], s[2]), b.variable(s[2], s[1])
	zero, one := b.Int32s("zero", []int32{0, 0}, 2), b.Int32s("one", []int32{1, 1}, 2)
	for i := range b.repeats {
		product := b.Add(graph.Spec{
			Name: "product", Op: "MatMul", Inputs: []graph.Tensor{x, y}, Controls: corners[max(0, i-1):],
			Attributes: graph.Attributes{"T": float, "transpose_a": graph.Bool(false), "transpose_b": graph.Bool(false)},
		})
		// Only this leaves the device.
		corners = append(corners, b.Add(graph.Spec{
			Name: "corner", Op: "Slice", Inputs: []graph.Tensor{product, zero, one},
			Attributes: graph.Attributes{"T": float, "Index": graph.Type(tfpb.DataType_DT_INT32)},
		}))
	}
	return corners
}

// sums returns the repeated sums of so many values, one after the other.
func (b *roofGraph) sums(values int) (sums []graph.Tensor) {
	x := b.variable(values>>10, 1<<10)
	axes := b.Int32s("axes", []int32{0, 1}, 2)
	for i := range b.repeats {
		sums = append(sums, b.Add(graph.Spec{
			Name: "sum", Op: "Sum", Inputs: []graph.Tensor{x, axes}, Controls: sums[max(0, i-1):],
			Attributes: graph.Attributes{"T": float, "Tidx": graph.Type(tfpb.DataType_DT_INT32), "keep_dims": graph.Bool(false)},
		}))
	}
	return sums
}

func (g *gemm) outputs(tensors []graph.Tensor) []libtf.Output {
	outputs := make([]libtf.Output, len(tensors))
	for i, t := range tensors {
		outputs[i] = g.graph.Operation(t.Operation()).Output(0)
	}
	return outputs
}

// assign gives a variable its values, in the device's memory.
func (g *gemm) assign(v roofVariable) error {
	values, err := ramp([2]int{v.rows, v.columns})
	if err != nil {
		return err
	}
	defer values.Close()
	feed := []libtf.Feed{{Output: g.graph.Operation(v.feed).Output(0), Tensor: values}}
	_, err = g.session.Run(context.Background(), feed, nil, []*libtf.Operation{g.graph.Operation(v.assign)})
	if err != nil {
		return fmt.Errorf("measuring the peak: %w", err)
	}
	return nil
}

// ramp returns a matrix of numbers between 0 and 1.
func ramp(shape [2]int) (*libtf.Tensor, error) {
	t, err := libtf.AllocateTensor(libtf.Float, []int64{int64(shape[0]), int64(shape[1])})
	if err != nil {
		return nil, err
	}
	values, err := libtf.Data[float32](t)
	if err != nil {
		t.Close()
		return nil, err
	}
	for i := range values {
		values[i] = float32(i%1009) / 1009
	}
	return t, nil
}

func (g *gemm) close() {
	if g.session != nil {
		// An error comes from the deletion of what is no longer needed.
		_ = g.session.Close()
	}
	if g.graph != nil {
		g.graph.Close()
	}
}

// measure computes everything twice. The first time once more, to warm up.
func (g *gemm) measure(ctx context.Context) error {
	warm := g.memory > 0
	for i, s := range g.shapes {
		gflop := 2 * float64(s[0]) * float64(s[1]) * float64(s[2]) / 1e9 * float64(g.repeats)
		err := g.time(ctx, g.products[i], warm, func(wall, cpu float64) {
			g.gflops[i] = append(g.gflops[i], gflop/wall)
			if cpu > 0 && !g.gpu {
				g.perCPU = max(g.perCPU, gflop/cpu)
			}
		})
		if err != nil {
			return err
		}
	}
	return g.time(ctx, g.sums, warm, func(wall, _ float64) {
		g.memory = max(g.memory, 4*float64(g.values)*float64(g.repeats)/1e9/wall)
	})
}

// time computes fetches twice and tells wall time and that of all cores, in
// seconds.
func (g *gemm) time(ctx context.Context, fetches []libtf.Output, warm bool, tell func(wall, cpu float64)) error {
	first := 0
	if !warm {
		first = -1
	}
	for repeat := first; repeat < 2; repeat++ {
		begun, cpu := time.Now(), cpuTime()
		results, err := g.session.Run(ctx, nil, fetches, nil)
		if err != nil {
			return fmt.Errorf("measuring the peak: %w", err)
		}
		wall, used := time.Since(begun).Seconds(), (cpuTime() - cpu).Seconds()
		value, err := firstValue(results)
		libtf.CloseAll(results)
		if err != nil || wall <= 0 || !(value > 0) || math.IsInf(value, 1) {
			return errors.Join(errors.New("measuring the peak: a wrong result, or in no time"), err)
		}
		if repeat >= 0 {
			tell(wall, used)
		}
	}
	return nil
}

func firstValue(results []*libtf.Tensor) (float64, error) {
	if len(results) == 0 {
		return 0, nil
	}
	values, err := libtf.Data[float32](results[0])
	if err != nil || len(values) == 0 {
		return 0, err
	}
	return float64(values[0]), nil
}

func (g *gemm) peak() Peak {
	p := Peak{GFLOPPerCPUSecond: g.perCPU, MemoryGBPerSecond: g.memory}
	for i, values := range g.gflops {
		for _, v := range values {
			if v > p.GFLOPS {
				p.GFLOPS, p.MedianGFLOPS, p.Shape = v, spreadOf(values).Median, g.shapes[i]
			}
		}
	}
	if g.memory > 0 {
		p.Ridge = p.GFLOPS / g.memory
	}
	return p
}
