package benchmark

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/internal/graph"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/tfpb"
)

// gemmShapes are rows, columns and summed dimension of the matrix products that
// the peak is taken of: a large square one, and 3×3 convolutions of a batch of 8
// as products, 28×28 pixels of 256 → 512 channels and 14×14 of 512 → 1024.
var gemmShapes = [][3]int{{2048, 2048, 2048}, {6272, 512, 2304}, {1568, 1024, 4608}}

// Peak is the best of the matrix products in float32 that were computed between the
// runs, by the same library on the same cores.
type Peak struct {
	// GFLOPS are floating-point operations per second of wall time, in 1e9, two
	// for each multiply-accumulate, and MedianGFLOPS their median for the best
	// shape.
	GFLOPS       float64 `json:"gflops"`
	MedianGFLOPS float64 `json:"median_gflops"`
	// GFLOPPerCPUSecond are those per second of a core.
	GFLOPPerCPUSecond float64 `json:"gflop_per_cpu_second,omitempty"`
	// Shape is that of the best product: rows, columns, summed dimension.
	Shape [3]int `json:"shape"`
}

// gemm computes matrix products.
type gemm struct {
	graph    *libtf.Graph
	session  *libtf.Session
	a, b, c  *libtf.Operation
	operands [][2]*libtf.Tensor
	gflops   [][]float64 // of every shape
	perCPU   float64
}

func newGEMM(threads int) (_ *gemm, err error) {
	def := graph.New()
	float := graph.Type(tfpb.DataType_DT_FLOAT)
	operand := func(name string) graph.Tensor {
		return def.Add(graph.Spec{Name: name, Op: "Placeholder", Attributes: graph.Attributes{"dtype": float, "shape": graph.Shape(-1, -1)}})
	}
	def.Add(graph.Spec{Name: "c", Op: "MatMul", Inputs: []graph.Tensor{operand("a"), operand("b")}, Attributes: graph.Attributes{
		"T": float, "transpose_a": graph.Bool(false), "transpose_b": graph.Bool(false),
	}})
	data, err := proto.Marshal(def.Proto())
	if err != nil {
		return nil, err
	}
	config, err := proto.Marshal(&tfpb.ConfigProto{
		IntraOpParallelismThreads: int32(threads), InterOpParallelismThreads: int32(threads),
		DeviceCount: map[string]int32{"GPU": 0},
	})
	if err != nil {
		return nil, err
	}
	g := &gemm{gflops: make([][]float64, len(gemmShapes))}
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	if g.graph, err = libtf.NewGraph(); err != nil {
		return nil, err
	}
	if err := g.graph.Import(data, ""); err != nil {
		return nil, err
	}
	if g.session, err = libtf.NewSession(g.graph, &libtf.SessionOptions{Config: config}); err != nil {
		return nil, err
	}
	g.a, g.b, g.c = g.graph.Operation("a"), g.graph.Operation("b"), g.graph.Operation("c")
	for _, s := range gemmShapes {
		var pair [2]*libtf.Tensor
		for i, shape := range [2][2]int{{s[0], s[2]}, {s[2], s[1]}} {
			if pair[i], err = ramp(shape); err != nil {
				pair[0].Close()
				return nil, err
			}
		}
		g.operands = append(g.operands, pair)
	}
	return g, nil
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
	for _, pair := range g.operands {
		libtf.CloseAll(pair[:])
	}
	// It comes from the deletion of what is no longer needed.
	_ = g.session.Close()
	g.graph.Close()
}

// measure computes every product twice. The first time once more, to warm up.
func (g *gemm) measure(ctx context.Context) error {
	for i, s := range gemmShapes {
		first := 0
		if len(g.gflops[i]) == 0 {
			first = -1
		}
		for repeat := first; repeat < 2; repeat++ {
			begun, cpu := time.Now(), cpuTime()
			results, err := g.session.Run(ctx,
				[]libtf.Feed{{Output: g.a.Output(0), Tensor: g.operands[i][0]}, {Output: g.b.Output(0), Tensor: g.operands[i][1]}},
				[]libtf.Output{g.c.Output(0)}, nil)
			if err != nil {
				return fmt.Errorf("measuring the peak: %w", err)
			}
			wall, used := time.Since(begun).Seconds(), (cpuTime() - cpu).Seconds()
			libtf.CloseAll(results)
			if len(results) != 1 || wall <= 0 {
				return errors.New("measuring the peak: no result, or in no time")
			}
			if repeat < 0 {
				continue
			}
			gflop := 2 * float64(s[0]) * float64(s[1]) * float64(s[2]) / 1e9
			g.gflops[i] = append(g.gflops[i], gflop/wall)
			if used > 0 {
				g.perCPU = max(g.perCPU, gflop/used)
			}
		}
	}
	return nil
}

func (g *gemm) peak() Peak {
	p := Peak{GFLOPPerCPUSecond: g.perCPU}
	for i, values := range g.gflops {
		for _, v := range values {
			if v > p.GFLOPS {
				p.GFLOPS, p.MedianGFLOPS, p.Shape = v, spreadOf(values).Median, gemmShapes[i]
			}
		}
	}
	return p
}
