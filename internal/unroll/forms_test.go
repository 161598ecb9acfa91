//go:build cgo && (linux || darwin)

package unroll

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/kernels"
	"github.com/tfconvrnn/go/internal/zoo"
)

// layerShape is a convolution on square maps.
type layerShape struct {
	kernels.Filter
	size int
}

func (s layerShape) String() string {
	return fmt.Sprintf("%d² %d×%d %v → %d", s.size, s.Kernel, s.Kernel, s.Channels, s.Depth)
}

// layerShapes returns the convolutions that this project's operations compute in the zoo's
// graphs and that have more than one form, and the models that have each.
func layerShapes() (shapes []layerShape, models map[string][]string) {
	models = map[string][]string{}
	for _, m := range zoo.Models() {
		def := Unroll(m, m.Default.Times, LightCone, Options{MatMulPixels: benchMatMulPixels}).Graph.Proto()
		kernels.Rewriting{Key: "k", Threads: 1, Skip: func(name string) bool {
			return strings.HasPrefix(name, "constant/")
		}}.Rewrite(def)
		for _, node := range def.Node {
			if node.Op != kernels.Operation || node.Attr["kernel"].GetI() == 1 || node.Attr["_tfconvrnn_macs"] == nil {
				continue
			}
			filter, size, _ := shapeOf(node)
			s := layerShape{Filter: filter, size: size}
			if len(models[s.String()]) == 0 {
				shapes = append(shapes, s)
			}
			if !slices.Contains(models[s.String()], m.Name) {
				models[s.String()] = append(models[s.String()], m.Name)
			}
		}
	}
	slices.SortFunc(shapes, func(a, b layerShape) int {
		return cmp.Or(cmp.Compare(b.size, a.size), cmp.Compare(a.Kernel, b.Kernel), slices.Compare(a.Channels, b.Channels),
			cmp.Compare(a.Depth, b.Depth))
	})
	return shapes, models
}

// BenchmarkForms computes every convolution of the zoo in every form, and marks where the one
// that is chosen takes over 5 % more than the fastest:
//
//	go test ./internal/unroll -run '^$' -bench Forms -benchtime 1x
//
// Weights come from memory, as they do in a model, which has more than caches hold.
func BenchmarkForms(b *testing.B) {
	if len(kernels.Instructions()) == 0 {
		b.Skip("there is no code for this processor")
	}
	shapes, models := layerShapes()
	flush := make([]float32, 24<<20)
	for b.Loop() {
		for _, batch := range []int{1, 8} {
			for _, s := range shapes {
				forms, times := formTimes(b, s, batch, flush)
				chosen, err := kernels.FormOf(s.Filter, batch, s.size)
				require.NoError(b, err)
				fastest, line := slices.Min(times), fmt.Sprintf("batch %d, %v:", batch, s)
				for i, form := range forms {
					line += fmt.Sprintf(" %v %.2f", form, times[i].Seconds()*1e3)
				}
				mine := times[slices.Index(forms, chosen)]
				line += fmt.Sprintf(" ms; %v", chosen)
				if loss := mine.Seconds()/fastest.Seconds() - 1; loss > 0.05 {
					line += fmt.Sprintf(", LOSES %.0f %% (%.2f ms), %s", 100*loss, (mine-fastest).Seconds()*1e3,
						strings.Join(models[s.String()], " "))
				}
				fmt.Println(line) // b.Log keeps ten lines
			}
		}
	}
}

// formTimes returns the forms of a convolution, and the median time of each, in turns.
func formTimes(b *testing.B, s layerShape, batch int, flush []float32) ([]kernels.Form, []time.Duration) {
	const rounds, threads = 5, 2
	var inputs, filters [][]float32
	for _, channels := range s.Channels {
		inputs = append(inputs, make([]float32, batch*s.size*s.size*channels))
		filters = append(filters, make([]float32, s.Kernel*s.Kernel*channels*s.Depth))
	}
	for _, list := range [][][]float32{inputs, filters} {
		for _, values := range list {
			for i := range values {
				values[i] = float32(i%17-8) / 100
			}
		}
	}
	forms, y := kernels.Forms(s.Filter), make([]float32, batch*s.size*s.size*s.Depth)
	taken := make([][]time.Duration, len(forms))
	weights, err := kernels.Pack(kernels.Instructions()[0], s.Filter, filters, threads)
	require.NoError(b, err)
	defer weights.Close()
	for round := range rounds + 1 {
		for i, form := range forms {
			for k := range flush {
				flush[k]++
			}
			for _, input := range inputs {
				for k := range input {
					input[k] = -input[k]
				}
			}
			begun := time.Now()
			require.NoError(b, weights.Convolve(form, batch, s.size, s.size, 0, inputs, nil, y, threads))
			if round > 0 { // the first one makes scratch memory
				taken[i] = append(taken[i], time.Since(begun))
			}
		}
	}
	medians := make([]time.Duration, len(forms))
	for i := range taken {
		slices.Sort(taken[i])
		medians[i] = taken[i][rounds/2]
	}
	return forms, medians
}
