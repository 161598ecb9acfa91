package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// options say what is there to prove with.
type options struct {
	cli, tests, dir, store, model, only string
	time                                time.Duration
	// small computes little in each step, to try the steps themselves.
	small bool
}

// models are those whose speed is measured, the first in most ways.
func (o options) models() []string {
	if o.model != "" {
		return []string{o.model}
	}
	return []string{"ugrnn_intermediate", "rgc_intermediate", "rgc_shallow"}
}

// test is a step that runs a test of package tfconvrnn in a process of its own.
func (o options) test(name, pattern, model string, limit time.Duration, parse parser) step {
	env := []string{"TFCONVRNN_REQUIRE_GPU=1", "TFCONVRNN_REQUIRE_RUNTIME=1", "TFCONVRNN_TEST_STORE=" + o.store,
		"TFCONVRNN_GPU_MODEL=" + model}
	return step{name: name, limit: limit, command: []string{o.tests, "-test.v", "-test.run=" + pattern}, dir: o.dir,
		env: env, parse: parse}
}

// batch returns a batch size, or few where little is computed.
func (o options) batch(n int) int {
	if o.small {
		return min(n, 2)
	}
	return n
}

// bench is a step that measures a model.
func (o options) bench(name, model string, batch int, further ...string) step {
	runs := "3"
	if o.small {
		runs = "1"
	}
	command := append([]string{o.cli, "bench", "--device", "gpu", "--model", model, "--batch", fmt.Sprint(o.batch(batch)),
		"--runs", runs,
		"--only-speed", "--json", "--quiet", "--yes", "--store", o.store}, further...)
	return step{name: name, limit: time.Minute, command: command, parse: parseBench}
}

// baseName is the step that ways of computing are compared with.
func (o options) baseName() string { return "speed, " + o.models()[0] + ", 32" }

// way is the step baseName computed in another way.
func (o options) way(name string, env []string, further ...string) step {
	s := o.bench("speed, "+name, o.models()[0], 32, further...)
	s.env, s.beside = env, o.baseName()
	return s
}

// photographs is a step that extracts photographs to a Zarr store.
func (o options) photographs() step {
	count := "5000"
	if o.small {
		count = "6"
	}
	s := o.bench("photographs to Zarr", o.models()[0], 64, "--layers", "imnetds", "--photographs", count,
		"--photographs-to", "zarr")
	s.limit = 2 * time.Minute
	return s
}

// steps lists all checks, the most valuable first: what a run of three minutes must have shown.
func (o options) steps() []step {
	const second = time.Second
	golden := o.model
	if golden == "" {
		golden = "rgc_intermediate"
	}
	try := func(way string) []string { return []string{"TFCONVRNN_GPU_TRY=" + way} }
	steps := []step{
		{name: "machine", limit: 30 * second, command: []string{o.cli, "doctor", "--json"}, parse: parseDoctor},
		o.test("golden, one model", "^TestGPUGolden$", golden, 60*second, parseGolden),
		o.bench(o.baseName(), o.models()[0], 32),
		o.test("placement", "^TestGPUPlacement$", o.model, 40*second, parseTests),
		o.photographs(),
		o.test("repeatability", "^TestGPURepeats$", o.model, 40*second, parseTests),
		o.test("out of memory", "^TestGPUMemory$", o.model, 60*second, parseTests),
		o.test("memory growth", "^TestGPUGrowth$", o.model, 30*second, parseTests),
		o.test("TensorFloat-32, error", "^TestGPUTF32$", o.model, 40*second, parseTests),
		o.way("TensorFloat-32", nil, "--tf32"),
		o.way("bfloat16", nil, "--precision", "bfloat16"),
		o.test("golden, all models", "^TestGPUGolden$", o.model, 180*second, parseGolden),
		o.test("agreement with the CPU", "^TestGPUAgreesWithCPU$", o.model, 60*second, parseTests),
		o.test("selected and averaged on the GPU", "^TestGPUSmallerFeatures$", o.model, 40*second, parseTests),
		o.test("two processes on one GPU", "^TestGPUShared$", o.model, 60*second, parseTests),
		o.test("two GPUs", "^TestGPUSpread$", o.model, 60*second, parseTests),
		o.test("launches", "^TestGPULaunches$", o.model, 40*second, parseTests),
		o.test("other ways, error", "^TestGPUTrials$", o.model, 90*second, parseTests),
		o.way("two batches at once", try("overlap")),
		o.way("channels first", try("nchw")),
		o.way("XLA", try("xla")),
		o.way("XLA and TensorFloat-32", try("xla"), "--tf32"),
	}
	for _, model := range o.models()[1:] {
		steps = append(steps, o.bench("speed, "+model+", 32", model, 32))
	}
	batches := []int{1, 8, 128, 256}
	if o.small {
		batches = batches[:1]
	}
	for _, batch := range batches {
		for _, model := range o.models() {
			steps = append(steps, o.bench(fmt.Sprintf("speed, %s, %d", model, batch), model, batch))
		}
	}
	var kept []step
	for _, s := range steps {
		if strings.HasPrefix(s.name, o.only) {
			kept = append(kept, s)
		}
	}
	for i := range kept { // relative names would be of another folder
		if path, err := filepath.Abs(kept[i].command[0]); err == nil {
			kept[i].command[0] = path
		}
	}
	return kept
}
