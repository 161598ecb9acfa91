package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/gpukernels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

func TestGPUKernelReport(t *testing.T) {
	float := map[string]string{"T": "float"}
	graph := gpuGraphReport{"ugrnn_shallow", "plain", "float32", &gpukernels.Report{Uses: []gpukernels.Use{
		{Op: "Conv2D", Types: float, Place: gpukernels.OnGPU, Nodes: 20},
		{Op: "Shape", Types: float, Place: gpukernels.OnHost, Nodes: 1},
	}}}
	var out strings.Builder
	require.NoError(t, gpuKernelReport{Source: "here", Graphs: []gpuGraphReport{graph, graph}, Ready: true}.print(&out))
	assert.Regexp(t, `(?s)from here.*On the GPU:\s+Conv2D +T=float +40.*on purpose.*Shape +T=float +2\s+Operations of each graph.*ugrnn_shallow +plain +20 +1 +0\s+2 graphs checked: nothing falls back to the CPU\n$`, out.String())
	assert.NotContains(t, out.String(), "Without a GPU kernel")

	graph.Report.Uses = append(graph.Report.Uses, gpukernels.Use{Op: "Elu", Types: map[string]string{"T": "double"}, Place: gpukernels.OnCPU, Nodes: 3})
	graph.Report.Copies = []gpukernels.Copy{{From: "Conv2D T=float", To: "Elu T=double", Type: "float", Back: true, Edges: 1}}
	out.Reset()
	require.NoError(t, gpuKernelReport{Graphs: []gpuGraphReport{graph}}.print(&out))
	assert.Regexp(t, `(?s)Without a GPU kernel:\s+Elu +T=double +3`, out.String())
	assert.Contains(t, out.String(), "1 graph checked: not ready\n")
	assert.Contains(t, out.String(), "ugrnn_shallow, variant plain, float32: Elu T=double (3 operations) has no GPU kernel")
	assert.Contains(t, out.String(), "Conv2D T=float goes back from the GPU to Elu T=double")
}

func TestGPUFlags(t *testing.T) {
	for _, good := range []struct {
		flags  gpuFlags
		device string
		count  int
	}{
		{gpuFlags{}, "cpu", 1}, {gpuFlags{}, "gpu", 1}, {gpuFlags{tf32: true, memory: "8GiB"}, "gpu:1", 3}, {gpuFlags{memory: "all"}, "gpu", 2},
		{gpuFlags{}, "gpu:0,gpu:1", 1}, {gpuFlags{numbers: "1"}, "cpu", 1}, {gpuFlags{numbers: "0,1", tf32: true}, "cpu", 2},
	} {
		options, err := good.flags.options(good.device)
		require.NoError(t, err)
		assert.Len(t, options, good.count)
		_, err = tfconvrnn.Load("nonesuch", options...)
		assert.ErrorIs(t, err, tfconvrnn.ErrUnknownModel, "the library takes them")
	}
	for _, bad := range []struct {
		flags  gpuFlags
		device string
	}{
		{gpuFlags{}, ""}, {gpuFlags{}, "tpu"}, {gpuFlags{}, "gpu:x"}, {gpuFlags{}, "gpu:-1"}, {gpuFlags{}, "cpu:1"},
		{gpuFlags{tf32: true}, "cpu"}, {gpuFlags{memory: "1GiB"}, "cpu"}, {gpuFlags{memory: "much"}, "gpu"}, {gpuFlags{memory: "-1"}, "gpu"},
		{gpuFlags{}, "gpu:0,cpu"}, {gpuFlags{}, "cpu,cpu"}, {gpuFlags{}, "gpu:0,1"}, {gpuFlags{}, "gpu,gpu:0"}, {gpuFlags{}, ","}, {gpuFlags{numbers: "0"}, "gpu"},
		{gpuFlags{numbers: "0,0"}, "cpu"}, {gpuFlags{numbers: "0,"}, "cpu"}, {gpuFlags{numbers: "x"}, "cpu"}, {gpuFlags{numbers: "-1"}, "cpu"},
	} {
		_, err := bad.flags.options(bad.device)
		assert.ErrorAs(t, err, new(usageError), "%+v", bad)
	}
}
