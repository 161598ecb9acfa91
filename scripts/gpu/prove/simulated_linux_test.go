package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// bundled makes the bundle for machines without a compiler, unpacks it and returns its folder.
func bundled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	archive := filepath.Join(dir, "prove.tar.gz")
	output, err := exec.CommandContext(t.Context(), "../bundle.sh", archive).CombinedOutput()
	require.NoError(t, err, "%s", output)
	output, err = exec.CommandContext(t.Context(), "tar", "-C", dir, "-xzf", archive).CombinedOutput()
	require.NoError(t, err, "%s", output)
	require.NoError(t, os.Remove(archive))
	return filepath.Join(dir, "tfconvrnn-prove")
}

// prove runs prove.sh of a bundle on simulated GPUs which have memory for so many stimuli, and returns its report and
// its table.
func prove(t *testing.T, bundle, stimuli string, arguments ...string) (steps map[string]line, order []string,
	table string, err error) {
	t.Helper()
	report := filepath.Join(t.TempDir(), "prove.json")
	command := exec.CommandContext(t.Context(), filepath.Join(bundle, "prove.sh"),
		append([]string{"--small", "--model", "timedecay_shallow", "--report", report}, arguments...)...)
	command.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PATH=") }),
		"PATH=/usr/bin:/bin", "TFCONVRNN_SIMULATED_GPUS=2", "TFCONVRNN_SIMULATED_GPU_BATCH="+stimuli, libtf.Env+"="+
			libtf.Loaded().Path())
	command.Dir = t.TempDir()
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err = command.Run()
	text, readErr := os.ReadFile(report)
	require.NoError(t, readErr, "%s", stderr.String())
	var all struct{ Steps []line }
	require.NoError(t, json.Unmarshal(text, &all))
	steps = map[string]line{}
	for _, l := range all.Steps {
		steps[l.Name], order = l, append(order, l.Name)
		t.Logf("%s: %s in %.1f s: %s", l.Name, l.State, l.Seconds, l.Summary)
		assert.Contains(t, stdout.String(), l.Name)
	}
	return steps, order, stdout.String(), err
}

// TestProveOnSimulatedGPUs runs every step of prove.sh, from a bundle and without a compiler, on devices of the
// processor; then with GPUs that find no memory, and with too little time.
func TestProveOnSimulatedGPUs(t *testing.T) {
	if err := tfconvrnn.RuntimeError(); err != nil {
		if os.Getenv("TFCONVRNN_REQUIRE_RUNTIME") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	bundle := bundled(t)
	begun := time.Now()
	steps, order, table, err := prove(t, bundle, "16", "--minutes", "10")
	require.NoError(t, err)
	t.Logf("%d steps in %.0f s", len(steps), time.Since(begun).Seconds())
	var want []string
	for _, s := range (options{model: "timedecay_shallow", small: true}).steps() {
		want = append(want, s.name)
	}
	assert.Equal(t, want, order)
	for name, l := range steps {
		if name == "memory growth" {
			assert.Equal(t, wasSkipped, l.State)
			assert.Contains(t, l.Summary, "needs nvidia-smi")
			continue
		}
		assert.Equal(t, passed, l.State, "%s: %s\n%s", name, l.Summary, l.Output)
		assert.NotEmpty(t, l.Summary, name)
	}
	for name, text := range map[string]string{
		"golden, all models":               "2 files of 1 models, worst ",
		"speed, timedecay_shallow, 32":     "batches of 2: ",
		"placement":                        "elsewhere none",
		"photographs to Zarr":              "6 photographs to zarr at ",
		"repeatability":                    "runs 10, same bytes 10",
		"out of memory":                    "halved from 32, to 16",
		"speed, TensorFloat-32":            " times as fast as speed, timedecay_shallow, 32",
		"speed, bfloat16":                  "features off by 0.0",
		"agreement with the CPU":           "largest difference of rms ",
		"selected and averaged on the GPU": "smaller by ",
		"two processes on one GPU":         "processes 2",
		"two GPUs":                         "devices 2",
		"launches":                         "of a timestep ",
		"other ways, error":                "overlap 0",
		"speed, XLA":                       " times as fast as speed, ",
	} {
		assert.Contains(t, steps[name].Summary, text, name)
	}
	assert.Contains(t, steps["photographs to Zarr"].Summary, " % of the time, decoding takes ")
	assert.Regexp(t, `(?m)^golden output +worst error, of RMS$`, table)
	assert.Regexp(t, `(?m)^timedecay_shallow.default.npz +\d\.\de-0\d$`, table)
	assert.Regexp(t, `(?m)^speed, XLA +2 +\d`, table)

	steps, _, _, err = prove(t, bundle, "1", "--only", "speed, timedecay_shallow, 32")
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 1, exit.ExitCode())
	base := steps["speed, timedecay_shallow, 32"]
	assert.Equal(t, failed, base.State)
	assert.Contains(t, base.Summary, "gpu:0 cannot compute 2 stimuli at once")

	// Six seconds: the first step may take them, and the next does not begin.
	steps, _, _, _ = prove(t, bundle, "16", "--minutes", "0.1", "--only", "golden")
	assert.Contains(t, []string{passed, timedOut}, steps["golden, one model"].State)
	assert.Equal(t, notRun, steps["golden, all models"].State)
}
