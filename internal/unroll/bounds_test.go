//go:build cgo && (linux || darwin)

package unroll

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/kernels"
	"github.com/tfconvrnn/go/internal/tfpb"
	"github.com/tfconvrnn/go/internal/zoo"
)

// bound is what a batch costs at the least.
type bound struct {
	operations float64 // multiplies and adds of convolutions and matrix products, in the forms they are computed in
	weights    float64 // bytes of the filters that they read, each once for a batch
}

// boundOf adds up the convolutions that all layers of a model's default presentation need, without
// what is computed once for all images.
func boundOf(b testing.TB, m *zoo.Model, batch int) (sum bound) {
	n := Unroll(m, m.Default.Times, LightCone, Options{MatMulPixels: benchMatMulPixels})
	def, fetches := n.Graph.Proto(), allFetches(n)
	keep := map[string]bool{}
	for _, name := range fetches {
		name, _, _ = strings.Cut(name, ":")
		keep[name] = true
	}
	kernels.Rewriting{Key: "k", Threads: 1, Kept: keep, Skip: func(name string) bool {
		return strings.HasPrefix(name, "constant/")
	}}.Rewrite(def)
	nodes := map[string]*tfpb.NodeDef{}
	for _, node := range def.Node {
		nodes[node.Name] = node
	}
	seen := map[string]bool{}
	for len(fetches) > 0 {
		name, _, _ := strings.Cut(strings.TrimPrefix(fetches[0], "^"), ":")
		fetches = fetches[1:]
		node := nodes[name]
		if seen[name] || node == nil {
			continue
		}
		seen[name] = true
		fetches = append(fetches, node.Input...)
		if node.Attr["_tfconvrnn_macs"] == nil || string(node.Attr["_tfconvrnn_per"].GetS()) == "constant" {
			continue
		}
		multiplied := float64(node.Attr["_tfconvrnn_macs"].GetI())
		if node.Op == kernels.Operation {
			filter, size, used := shapeOf(node)
			form, err := kernels.FormOf(filter, batch, size)
			require.NoError(b, err)
			if form != kernels.Product {
				tiles := math.Ceil(float64(size) / float64(form))
				positions := int(form) + filter.Kernel - 1
				multiplied = tiles * tiles * float64(positions*positions*used*filter.Depth)
			}
			sum.weights += float64(4 * filter.Kernel * filter.Kernel * used * filter.Depth)
		}
		sum.operations += 2 * multiplied * float64(batch)
	}
	return sum
}

// shapeOf returns the shape of a convolution on square maps, and the channels that it reads.
func shapeOf(node *tfpb.NodeDef) (f kernels.Filter, size, used int) {
	f = kernels.Filter{Kernel: int(node.Attr["kernel"].GetI()), Depth: int(node.Attr["depth"].GetI())}
	first, sources := int(node.Attr["first"].GetI()), int(node.Attr["sources"].GetI())
	for i, channels := range node.Attr["channels"].GetList().GetI() {
		f.Channels = append(f.Channels, int(channels))
		if i >= first && i < first+sources {
			used += int(channels)
		}
	}
	pixels := node.Attr["_tfconvrnn_macs"].GetI() / int64(f.Kernel*f.Kernel*f.Depth*used)
	return f, int(math.Round(math.Sqrt(float64(pixels)))), used
}

// BenchmarkBounds prints how long a batch of every model takes at the least: if its products ran at
// the peak that one large product reaches, and if its filters were read as fast as memory is read.
//
//	go test ./internal/unroll -run '^$' -bench Bounds -benchtime 1x
func BenchmarkBounds(b *testing.B) {
	if len(kernels.Instructions()) == 0 {
		b.Skip("there is no code for this processor")
	}
	for b.Loop() {
		peak, memory := productPeak(b), memorySpeed()
		fmt.Printf("peak of products %.0f GFLOP/s, memory read at %.1f GB/s\n", peak/1e9, memory/1e9)
		for _, m := range zoo.Models() {
			for _, batch := range []int{1, 8} {
				c := boundOf(b, m, batch)
				fmt.Printf("%s, batch %d: %.1f GFLOP, %.2f GB of filters, %.3f s at the peak, %.3f s to read\n", m.Name, batch,
					c.operations/1e9, c.weights/1e9, c.operations/peak, c.weights/memory)
			}
		}
	}
}

const boundThreads = 2

// productPeak returns the operations a second of the best of some products of 6272×512 and 512×512.
func productPeak(b testing.TB) float64 {
	const channels, pixels, batch = 512, 28 * 28, 8
	filter := kernels.Filter{Kernel: 1, Channels: []int{channels}, Depth: channels}
	weights := [][]float32{make([]float32, channels*channels)}
	w, err := kernels.Pack(kernels.Instructions()[0], filter, weights, boundThreads)
	require.NoError(b, err)
	defer w.Close()
	x, y := [][]float32{make([]float32, batch*pixels*channels)}, make([]float32, batch*pixels*channels)
	var times []time.Duration
	for range 20 {
		begun := time.Now()
		require.NoError(b, w.Convolve(kernels.Product, batch, 28, 28, 0, x, nil, y, boundThreads))
		times = append(times, time.Since(begun))
	}
	return 2 * batch * pixels * channels * channels / slices.Min(times).Seconds()
}

// memorySpeed returns the bytes a second that the threads read together, at best.
func memorySpeed() float64 {
	const size = 128 << 20
	var parts [boundThreads][]byte
	for i := range parts {
		parts[i] = bytes.Repeat([]byte{1}, size)
	}
	var times []time.Duration
	for range 5 {
		begun := time.Now()
		var group sync.WaitGroup
		for _, part := range parts {
			group.Go(func() { bytes.IndexByte(part, 0) })
		}
		group.Wait()
		times = append(times, time.Since(begun))
	}
	return boundThreads * size / slices.Min(times).Seconds()
}
