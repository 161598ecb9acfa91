package unroll

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/internal/graph"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/zoo"
)

// benchMatMulPixels is what conversions use.
const benchMatMulPixels = 49

// BenchmarkCellStep computes one timestep of a cell, without the convolution in
// front of it: of every kind, shallow and intermediate, in the layer in the middle
// of those that have one.
func BenchmarkCellStep(b *testing.B) {
	b.Setenv("TF_CPP_MIN_LOG_LEVEL", "2")
	if _, err := libtf.Load(""); err != nil {
		require.Empty(b, os.Getenv("TFCONVRNN_REQUIRE_RUNTIME"), "%v", err)
		b.Skip("needs libtensorflow:", err)
	}
	seen := map[string]bool{}
	for _, m := range zoo.Models() {
		kind := fmt.Sprintf("%s_%s", m.Cell, m.Depth)
		var recurrent []*zoo.Layer
		for i := range m.Layers {
			if l := &m.Layers[i]; l.Cell != zoo.None {
				recurrent = append(recurrent, l)
			}
		}
		if seen[kind] || len(recurrent) == 0 {
			continue
		}
		seen[kind] = true
		l := recurrent[len(recurrent)/2]
		for _, batch := range []int{1, 8} {
			b.Run(fmt.Sprintf("%s/%s/batch%d", m.Name, l.Name, batch), func(b *testing.B) { benchmarkCell(b, m, l, batch) })
		}
	}
}

func benchmarkCell(b *testing.B, m *zoo.Model, l *zoo.Layer, batch int) {
	builder := newBuilder(m, 1, LightCone, Options{MatMulPixels: benchMatMulPixels})
	builder.layerName = l.Name
	shapes := map[string][]int{} // of what is fed
	placeholder := func(name string, shape ...int) value {
		full := append([]int{batch}, shape...)
		shapes[name] = full
		t := builder.g.Add(graph.Spec{Name: name, Op: "Placeholder", Attributes: graph.Attributes{"dtype": float,
			"shape": graph.Shape(full...)}})
		return value{tensor: t, shape: shape, kind: PerStimulus}
	}
	var state, feedback []value
	for i, v := range builder.initialState(l) {
		state = append(state, placeholder(fmt.Sprintf("state%d", i), v.shape...))
	}
	for _, name := range l.Feedback {
		feedback = append(feedback, placeholder("feedback_"+name, m.Layer(name).Shape...))
	}
	x := placeholder("x", l.CellSize, l.CellSize, l.Pre.Depth)
	r := placeholder("r", l.InputSize, l.InputSize, l.InputDepth)
	output, next := builder.cell(l, x, r, feedback, state)

	def := builder.g.Proto()
	for _, v := range builder.variables {
		shapes[builder.reads[v.Name].Operation()] = v.Shape
	}
	data, err := proto.Marshal(def)
	require.NoError(b, err)
	g, err := libtf.NewGraph()
	require.NoError(b, err)
	defer g.Close()
	require.NoError(b, g.Import(data, ""))
	session, err := libtf.NewSession(g, nil)
	require.NoError(b, err)
	defer session.Close()

	var feeds []libtf.Feed
	var names []string
	for _, n := range def.Node { // in a fixed order
		shape, fed := shapes[n.Name]
		if !fed {
			continue
		}
		dimensions, count := make([]int64, len(shape)), 1
		for i, d := range shape {
			dimensions[i] = int64(d)
			count *= d
		}
		values := make([]float32, count)
		for i := range values {
			values[i] = float32(i%17-8) / 100
		}
		t, err := libtf.NewTensor(dimensions, values)
		require.NoError(b, err)
		defer t.Close()
		feeds = append(feeds, libtf.Feed{Output: g.Operation(n.Name).Output(0), Tensor: t})
		names = append(names, n.Name)
	}
	// Targets, so that nothing is copied out.
	targets := []*libtf.Operation{g.Operation(output.tensor.Operation())}
	fetches := []string{output.tensor.Operation()}
	for _, v := range next {
		targets = append(targets, g.Operation(v.tensor.Operation()))
		fetches = append(fetches, v.tensor.Operation())
	}
	run := func() {
		if _, err := session.Run(b.Context(), feeds, nil, targets); err != nil {
			b.Fatal(err)
		}
	}
	run()
	for b.Loop() {
		run()
	}
	macs := graph.MACs(def, fetches, names)[PerStimulus.String()] * int64(batch)
	b.ReportMetric(2*float64(macs)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	b.ReportMetric(float64(macs)/1e9, "GMAC")
}
