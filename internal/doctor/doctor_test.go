package doctor

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/gpukernels"
)

func TestGPUKernelReport(t *testing.T) {
	float := map[string]string{"T": "float"}
	graph := GraphReport{"ugrnn_shallow", "plain", "float32", &gpukernels.Report{Uses: []gpukernels.Use{
		{Op: "Conv2D", Types: float, Place: gpukernels.OnGPU, Nodes: 20},
		{Op: "Shape", Types: float, Place: gpukernels.OnHost, Nodes: 1},
	}}}
	var out strings.Builder
	require.NoError(t, KernelReport{Source: "here", Graphs: []GraphReport{graph, graph}, Ready: true}.Print(&out))
	assert.Regexp(
		t, `(?s)from here.*On the GPU:\s+Conv2D +T=float +40.*on purpose.*Shape +T=float +2\s+Operations of each graph.*ugrnn_shallow +plain +20 +1 +0\s+2 graphs checked: nothing falls back to the CPU\n$`,
		out.String())
	assert.NotContains(t, out.String(), "Without a GPU kernel")

	graph.Report.Uses = append(graph.Report.Uses, gpukernels.Use{Op: "Elu", Types: map[string]string{"T": "double"},
		Place: gpukernels.OnCPU, Nodes: 3})
	graph.Report.Copies = []gpukernels.Copy{{From: "Conv2D T=float", To: "Elu T=double", Type: "float", Back: true,
		Edges: 1}}
	out.Reset()
	require.NoError(t, KernelReport{Graphs: []GraphReport{graph}}.Print(&out))
	assert.Regexp(t, `(?s)Without a GPU kernel:\s+Elu +T=double +3`, out.String())
	assert.Contains(t, out.String(), "1 graph checked: not ready\n")
	assert.Contains(t, out.String(),
		"ugrnn_shallow, variant plain, float32: Elu T=double (3 operations) has no GPU kernel")
	assert.Contains(t, out.String(), "Conv2D T=float goes back from the GPU to Elu T=double")
}

func TestWithoutHome(t *testing.T) {
	for text, want := range map[string]string{
		"/home/al/x and /home/al": "~/x and ~", "/home/alice/x": "/home/alice/x", "a:/home/al:b": "a:~:b",
		"nothing": "nothing",
	} {
		assert.Equal(t, want, withoutHome(text, "/home/al/"))
	}
	assert.Equal(t, "/a/b", withoutHome("/a/b", "/"))
}

func TestMarkdownCells(t *testing.T) {
	var out strings.Builder
	s := Section{Name: "x"}
	s.add("empty", "")
	s.add("pipe", "a|b<c>")
	require.NoError(t, Report{s, {Name: "y"}}.Print(&out))
	assert.Contains(t, out.String(), `| pipe | a\|b&lt;c> |`)
	assert.NotContains(t, out.String(), "empty")
	assert.Contains(t, out.String(), "(nothing)")
}
