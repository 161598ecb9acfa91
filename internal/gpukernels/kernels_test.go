package gpukernels

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/cachedir"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/tfpb"
)

var update = flag.Bool("update", false, "write kernels.json from the GPU build that is installed")

// gpuRuntimeEnv names the GPU build's directory where it is not in the cache.
const gpuRuntimeEnv = "TFCONVRNN_GPU_LIBTENSORFLOW"

// inChildEnv is set in the process that loads the GPU build: a process can load
// only one libtensorflow, and other tests load the CPU build.
const inChildEnv = "TFCONVRNN_GPUKERNELS_CHILD"

// TestRecordedKernels compares kernels.json with what the GPU build registers.
func TestRecordedKernels(t *testing.T) {
	dir := os.Getenv(gpuRuntimeEnv)
	if dir == "" {
		var err error
		dir, err = cachedir.Runtime(libtf.Version, cachedir.GPU)
		require.NoError(t, err)
		if _, err := os.Stat(dir); err != nil {
			t.Skipf(
				"the GPU build of libtensorflow (1.2 GB) is not installed: run tfconvrnn-cli runtime install --gpu, or set %s",
				gpuRuntimeEnv)
		}
	}
	if os.Getenv(inChildEnv) == "" {
		command := exec.Command(os.Args[0], "-test.run=^TestRecordedKernels$", "-test.v", fmt.Sprintf("-update=%v", *update))
		command.Env = append(os.Environ(), inChildEnv+"=1", libtf.Env+"="+dir, "TF_CPP_MIN_LOG_LEVEL=2")
		output, err := command.CombinedOutput()
		require.NoError(t, err, "%s", output)
		require.Contains(t, string(output), "--- PASS: TestRecordedKernels", "the child ran it")
		return
	}
	_, err := libtf.Load("")
	require.NoError(t, err)
	gpu, err := IsGPUBuild()
	require.NoError(t, err)
	require.True(t, gpu, "%s is not a GPU build", dir)
	kernels, err := FromRuntime(KnownOps())
	require.NoError(t, err)
	text, err := kernels.encode()
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile("kernels.json", text, 0o644))
		return
	}
	require.True(t, bytes.Equal(text, recorded),
		"kernels.json differs from what this build registers; run go test ./internal/gpukernels -update")
}

func TestAudit(t *testing.T) {
	kernels, err := Recorded()
	require.NoError(t, err)
	typed := func(name string, t tfpb.DataType) map[string]*tfpb.AttrValue {
		return map[string]*tfpb.AttrValue{name: {Value: &tfpb.AttrValue_Type{Type: t}}}
	}
	def := &tfpb.GraphDef{Node: []*tfpb.NodeDef{
		{Name: "x", Op: "Placeholder", Attr: typed("dtype", tfpb.DataType_DT_FLOAT)},
		{Name: "double", Op: "Elu", Input: []string{"x"}, Attr: typed("T", tfpb.DataType_DT_DOUBLE)},
		{Name: "sum", Op: "AddV2", Input: []string{"double", "x:0", "^unknown"}, Attr: typed("T", tfpb.DataType_DT_FLOAT)},
		{Name: "unknown", Op: "NoSuchOp"},
		{Name: "fine", Op: "Relu", Input: []string{"x"}, Attr: typed("T", tfpb.DataType_DT_FLOAT)},
	}}
	report, err := Audit(def, []string{"double:0"}, kernels)
	require.NoError(t, err)
	require.Len(t, report.Fallbacks(), 1, "an Elu of doubles is not recorded")
	assert.Equal(t, "Elu T=double", report.Fallbacks()[0].Name())
	require.Len(t, report.Stalls(), 1)
	assert.Equal(t, Copy{From: "Placeholder dtype=float", To: "Elu T=double", Type: "float", Back: true, Edges: 1},
		report.Stalls()[0])

	report, err = Audit(def, []string{"fine"}, kernels)
	require.NoError(t, err)
	assert.Empty(t, report.Fallbacks())
	assert.Empty(t, report.Copies)
	assert.Len(t, report.Uses, 2)

	_, err = Audit(def, []string{"sum"}, kernels)
	assert.ErrorContains(t, err, "NoSuchOp")
	_, err = Audit(def, []string{"nonesuch"}, kernels)
	assert.ErrorContains(t, err, "nonesuch")
}

func TestArgument(t *testing.T) {
	concat := signatures["ConcatV2"].inputs
	assert.Equal(t, "values", argument(concat, 0, 4))
	assert.Equal(t, "values", argument(concat, 2, 4))
	assert.Equal(t, "axis", argument(concat, 3, 4))
	assert.Equal(t, "output", argument(signatures["Split"].outputs, 3, 4))
	assert.Equal(t, "", argument(nil, 0, 0))
}
