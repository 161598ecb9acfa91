package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func shell(name, script string, parse func([]byte) (outcome, error)) step {
	return step{name: name, limit: 2 * time.Second, command: []string{"/bin/sh", "-c", script}, parse: parse}
}

// TestEveryStepEnds runs steps that pass, fail, hang with a child, die of a signal, run out of memory and print
// rubbish: each is a line, and the last one still runs.
func TestEveryStepEnds(t *testing.T) {
	pass := "echo '--- PASS: TestX'; echo 'PROVE: {\"check\":\"x\",\"runs\":10,\"same_bytes\":10}'"
	steps := []step{
		shell("passes", pass, parseTests),
		shell("fails", pass+"; echo 'gpu_test.go:1: it differs'; exit 1", parseTests),
		shell("hangs", "sleep 60 & sleep 60", parseTests),
		shell("dies", "kill -SEGV $$", parseTests),
		shell("runs out of memory",
			"echo 'tfconvrnn-cli: out of memory: gpu:0 cannot compute 256 stimuli at once' >&2; exit 1", parseBench),
		shell("prints rubbish", "echo '{ not JSON'", parseBench),
		shell("prints nothing", "true", parseTests),
		shell("is skipped", "echo '    gpu_test.go:1: needs two GPUs'; echo '--- SKIP: TestGPUSpread (0.00s)'", parseTests),
		{name: "is not there", limit: time.Second, command: []string{"/nonexistent/program"}, parse: parseTests},
		shell("comes last", pass, parseTests),
	}
	begin := time.Now()
	var progress, table bytes.Buffer
	lines := runAll(t.Context(), steps, time.Minute, &progress)
	assert.Less(t, time.Since(begin), 30*time.Second)
	states := map[string]string{}
	for _, l := range lines {
		states[l.Name] = l.State
	}
	assert.Equal(t, map[string]string{"passes": passed, "fails": failed, "hangs": timedOut, "dies": failed,
		"runs out of memory": failed, "prints rubbish": failed,
		"prints nothing": failed, "is skipped": wasSkipped, "is not there": failed, "comes last": passed}, states)
	printTable(&table, lines)
	for _, text := range []string{"runs 10, same bytes 10", "it differs", "ended after 2s", "signal: segmentation fault",
		"gpu:0 cannot compute 256 stimuli at once",
		"a test was skipped: gpu_test.go:1: needs two GPUs", "no such file"} {
		assert.Contains(t, table.String(), text)
	}
	assert.Len(t, strings.Split(strings.TrimSpace(table.String()), "\n"), 1+len(steps))
}

func TestTimeIsUp(t *testing.T) {
	var progress bytes.Buffer
	lines := runAll(t.Context(), []step{shell("first", "sleep 9", parseTests), shell("second", "true", parseTests)},
		leastTime+time.Second, &progress)
	assert.Equal(t, timedOut, lines[0].State)
	assert.Equal(t, notRun, lines[1].State)
}

// TestParsers reads outputs that were recorded on simulated devices.
func TestParsers(t *testing.T) {
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err)
		return data
	}
	found, err := parseBench(append([]byte("a message of a library {\n"), read("bench.json")...))
	require.NoError(t, err)
	assert.Equal(t,
		"timedecay_shallow, batches of 2: 23.84 images/s, 220 % of 57.81 GFLOP/s, 3.64 times the published way",
		found.Summary)
	assert.Equal(t, 23.843685566165334, found.Values["images_per_second"])
	found, err = parseGolden(read("golden.txt"))
	require.NoError(t, err)
	assert.Equal(t, "2 files of 1 models, worst 5.1e-06 of RMS (timedecay_shallow.default.npz, conv5 t=4)", found.Summary)
	found, err = parseTests(read("tests.txt"))
	require.NoError(t, err)
	assert.Equal(t, "model timedecay_shallow, operations 442, kinds on device 18, elsewhere none", found.Summary)
	found, err = parseDoctor(read("doctor.json"))
	require.NoError(t, err)
	assert.Equal(t, "CPU build of TensorFlow, no NVIDIA driver, 0 GPU devices", found.Summary)
	_, err = parseDoctor([]byte(
		`[{"name":"CUDA","state":"warning","detail":"driver 550","remedy":"libraries are missing"}]`))
	assert.ErrorContains(t, err, "libraries are missing")
	for _, parse := range []func([]byte) (outcome, error){parseBench, parseGolden, parseTests, parseDoctor} {
		for _, name := range []string{"bench.json", "golden.txt", "tests.txt", "doctor.json"} {
			data := read(name)
			for n := 0; n < len(data); n += 1 + len(data)/50 {
				_, _ = parse(data[:n]) // anything but a panic
			}
		}
		_, err := parse(nil)
		assert.Error(t, err)
	}
}

func TestReport(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\nexit 7\n"), 0o755))
	report := filepath.Join(dir, "report.json")
	var stdout, stderr bytes.Buffer
	code, err := run(t.Context(), []string{"-cli", program, "-tests", program, "-dir", dir, "-store", dir, "-report",
		report, "-time", "1m"}, &stdout, &stderr)
	require.NoError(t, err)
	assert.Equal(t, 1, code)
	text, err := os.ReadFile(report)
	require.NoError(t, err)
	var all struct{ Steps []line }
	require.NoError(t, json.Unmarshal(text, &all))
	assert.Len(t, all.Steps, len(options{}.steps()))
	for _, l := range all.Steps {
		assert.Equal(t, failed, l.State)
		assert.Contains(t, l.Summary, "exit status 7")
	}
	code, err = run(t.Context(), []string{"-nonsense"}, &stdout, &stderr)
	require.NoError(t, err)
	assert.Equal(t, 2, code)
}

// TestOrder holds what three minutes must show: that results are right, fast and on the GPU.
func TestOrder(t *testing.T) {
	var first time.Duration
	var names []string
	for _, s := range (options{}).steps() {
		if first += s.limit; first <= 4*time.Minute {
			names = append(names, s.name)
		}
	}
	assert.Equal(t, []string{"machine", "golden, one model", "speed, ugrnn_intermediate, 32", "placement"}, names)
	assert.Equal(t, "photographs to Zarr", (options{}).steps()[len(names)].name)
	assert.NotEmpty(t, options{only: "golden"}.steps())
	for _, s := range (options{}).steps() {
		assert.Positive(t, s.limit, s.name)
		if s.beside != "" {
			assert.Contains(t, names, s.beside)
		}
	}
}
