package tfconvrnn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/internal/cachedir"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/tfpb"
	"github.com/tfconvrnn/go/savedmodels"
)

func apply(options ...Option) (gpuOptions, string, error) {
	o := loadOptions{session: defaultSessionOptions()}
	for _, option := range options {
		if err := option(&o); err != nil {
			return o.gpu, o.session.device, err
		}
	}
	return o.gpu, o.session.device, nil
}

func TestDeviceOptions(t *testing.T) {
	gpu, device, err := apply()
	require.NoError(t, err)
	assert.Empty(t, gpu.numbers)
	assert.Equal(t, "cpu", device)

	gpu, device, err = apply(WithDevice("gpu"))
	require.NoError(t, err)
	assert.Equal(t, []int{0}, gpu.numbers)
	assert.Equal(t, "gpu:0", device)

	gpu, device, err = apply(WithDevices("gpu:2", "gpu"))
	require.NoError(t, err)
	assert.Equal(t, []int{2, 0}, gpu.numbers)
	assert.Equal(t, "gpu:2,gpu:0", device)

	gpu, device, err = apply(WithDevice("gpu:3"), WithVisibleGPUs(3, 1, 3), WithGPUMemoryLimit(1<<30),
		WithGPUMemoryReserved(), WithTF32())
	require.NoError(t, err)
	assert.Equal(t, gpuOptions{numbers: []int{3}, visible: []int{1, 3}, reserve: true, limit: 1 << 30, tf32: true}, gpu)
	assert.Equal(t, "gpu:3", device)

	gpu, device, err = apply(WithDevice("gpu:3"), WithDevice("cpu"))
	require.NoError(t, err)
	assert.Empty(t, gpu.numbers)
	assert.Equal(t, "cpu", device)

	for _, bad := range []Option{
		WithDevice(""), WithDevice("tpu"), WithDevice("gpu:"), WithDevice("gpu:-1"), WithDevice("gpu:0,1"),
		WithDevice("gpu:9999"), WithDevice("cpu:0"),
		WithDevices(), WithDevices("gpu:0", "gpu"), WithDevices("gpu:0", "cpu"), WithDevices("cpu", "cpu"),
		WithDevices("gpu:1", ""),
		WithVisibleGPUs(), WithVisibleGPUs(-1), WithVisibleGPUs(0, 100000), WithGPUMemoryLimit(0), WithGPUMemoryLimit(-5),
	} {
		_, _, err := apply(bad)
		assert.ErrorIs(t, err, ErrOption)
	}
}

func TestDeviceConfiguration(t *testing.T) {
	base, err := proto.Marshal(&tfpb.ConfigProto{IntraOpParallelismThreads: 3, DeviceCount: map[string]int32{"GPU": 0}})
	require.NoError(t, err)
	read := func(g gpuOptions) *tfpb.ConfigProto {
		data, err := g.configure(base)
		require.NoError(t, err)
		config := &tfpb.ConfigProto{}
		require.NoError(t, proto.Unmarshal(data, config))
		assert.Equal(t, int32(3), config.IntraOpParallelismThreads, "the rest is kept")
		return config
	}
	one := gpuOptions{numbers: []int{2}, visible: []int{2}}
	config := read(one)
	assert.Equal(t, map[string]int32{"GPU": 1}, config.DeviceCount)
	assert.Equal(t, "2", config.GpuOptions.VisibleDeviceList)
	assert.True(t, config.GpuOptions.AllowGrowth)
	assert.Nil(t, config.GpuOptions.Experimental)
	assert.Equal(t, []string{""}, one.devices("GPU"), "TensorFlow sees one GPU only")

	two := gpuOptions{numbers: []int{3, 1}, visible: []int{1, 3}, reserve: true, limit: 2 << 30}
	config = read(two)
	assert.Equal(t, "1,3", config.GpuOptions.VisibleDeviceList)
	assert.False(t, config.GpuOptions.AllowGrowth)
	require.Len(t, config.GpuOptions.Experimental.VirtualDevices, 2)
	assert.Equal(t, []float32{2048}, config.GpuOptions.Experimental.VirtualDevices[1].MemoryLimitMb)
	assert.Equal(t, []string{"/device:GPU:1", "/device:GPU:0"}, two.devices("GPU"), "TensorFlow counts those that it sees")
}

func TestDevicesOfOneProcess(t *testing.T) {
	var process usedGPUsState
	first := gpuOptions{numbers: []int{1}, visible: []int{0, 1}, limit: 1 << 30}
	joined, err := process.join(first)
	require.NoError(t, err)
	assert.Equal(t, first, joined)
	process.fixed, process.options = true, joined

	joined, err = process.join(gpuOptions{numbers: []int{0}, visible: []int{0}})
	require.NoError(t, err)
	assert.Equal(t, gpuOptions{numbers: []int{0}, visible: []int{0, 1}, limit: 1 << 30}, joined, "what is fixed stays")

	_, err = process.join(gpuOptions{numbers: []int{0, 2}, visible: []int{0, 2}})
	assert.ErrorIs(t, err, ErrDevice)
	assert.ErrorContains(t, err, "WithVisibleGPUs")
	_, err = process.join(gpuOptions{numbers: []int{0}, visible: []int{0}, tf32: true})
	assert.ErrorIs(t, err, ErrOption)
}

// TestDeviceIsNotThere checks the message for the runtime that the tests run with.
func TestDeviceIsNotThere(t *testing.T) {
	requireRuntime(t)
	_, err := Load("timedecay_shallow", WithWeights("seeded:1"), WithStore(testStore(t)), WithDevice("gpu"))
	if err == nil {
		t.Skip("there is a GPU")
	}
	require.ErrorIs(t, err, ErrDevice)
	t.Log(err)
	if os.Getenv(childEnv) != "" {
		assert.ErrorContains(t, err, "the runtime is the GPU build, but there is no NVIDIA driver")
	} else if !strings.Contains(err.Error(), "the runtime is the GPU build") {
		assert.ErrorContains(t, err, "is the CPU build of libtensorflow; install the GPU build")
	}
}

// childEnv is set in processes that these tests start with the GPU build.
const childEnv = "TFCONVRNN_DEVICE_CHILD"

// TestGPUBuildWithoutDriver runs tests again with the GPU build of libtensorflow:
// it computes the same on the CPU, and says what is missing for the GPU.
func TestGPUBuildWithoutDriver(t *testing.T) {
	if os.Getenv(childEnv) != "" {
		t.Skip("this is the process that it starts")
	}
	if _, err := os.Stat("/proc/driver/nvidia/version"); err == nil {
		t.Skip("there is a driver")
	}
	dir := os.Getenv("TFCONVRNN_GPU_LIBTENSORFLOW")
	if dir == "" {
		var err error
		dir, err = cachedir.Runtime(libtf.Version, cachedir.GPU)
		require.NoError(t, err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the GPU build of libtensorflow (1.2 GB) is not installed: %v; run tfconvrnn-cli runtime install --gpu", err)
	}
	command := exec.Command(os.Args[0], "-test.v", "-test.run=^(TestDeviceIsNotThere|TestLoadOnDevice)$")
	command.Env = append(os.Environ(), childEnv+"=1", libtf.Env+"="+dir)
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%s", output)
	for _, name := range []string{"TestDeviceIsNotThere", "TestLoadOnDevice"} {
		assert.Contains(t, string(output), "--- PASS: "+name)
	}
}

func testStore(t testing.TB) string {
	if store := os.Getenv("TFCONVRNN_TEST_STORE"); store != "" {
		return store
	}
	return t.TempDir()
}

// TestLoadOnDevice puts a model on the second of two devices, as on the second
// GPU: TensorFlow can divide a CPU into several devices.
func TestLoadOnDevice(t *testing.T) {
	requireRuntime(t)
	runtime := libtf.Loaded()
	store, err := savedmodels.Open(testStore(t))
	require.NoError(t, err)
	weights, err := savedmodels.ParseWeights("seeded:1")
	require.NoError(t, err)
	found, err := store.Get(context.Background(), savedmodels.Request{Model: "timedecay_shallow", Weights: weights})
	require.NoError(t, err)

	session := defaultSessionOptions()
	base, err := session.config(runtime)
	require.NoError(t, err)
	config := &tfpb.ConfigProto{}
	require.NoError(t, proto.Unmarshal(base, config))
	config.DeviceCount = map[string]int32{"CPU": 2, "GPU": 0}
	config.AllowSoftPlacement = false
	data, err := proto.Marshal(config)
	require.NoError(t, err)

	options := loadOptions{session: session}
	options.session.convolution = ConvolutionDirect
	_, _, err = options.load("/device:CPU:2", found, &libtf.SessionOptions{Config: data})
	require.ErrorIs(t, err, libtf.ErrInvalidArgument, "the nodes are on the device that is named")
	_, _, err = options.load("/device:CPU:1", savedmodels.SavedModel{Dir: t.TempDir()},
		&libtf.SessionOptions{Config: data})
	require.ErrorIs(t, err, os.ErrNotExist)

	temporary := t.TempDir() // the machine's own folder also holds what other processes place
	t.Setenv("TMPDIR", temporary)
	t.Setenv(simulatedEnv, "2")
	model, err := Load("timedecay_shallow", WithWeights("seeded:1"), WithStore(store.Dir()), WithDevice("gpu:1"))
	require.NoError(t, err)
	defer model.Close()
	devices, err := model.saved.Session.ListDevices()
	require.NoError(t, err)
	require.Len(t, devices, 2)
	features, err := model.Extract(context.Background(), goldenStimuli(t), AllTimesteps(), Logits())
	require.NoError(t, err)
	require.Equal(t, "gpu:1 (simulated on the CPU)", features.Provenance.Device)
	worst, where, logits := compareGolden(t, goldenFile{path: filepath.Join(goldenDir, "timedecay_shallow.default.npz"),
		model: "timedecay_shallow"}, features)
	require.LessOrEqual(t, worst, 1e-4, where)
	require.LessOrEqual(t, logits, 1e-4)
	leftovers, err := os.ReadDir(temporary)
	require.NoError(t, err)
	require.Empty(t, leftovers)
}

// requireGPU skips a test where there is no GPU that the loaded runtime can use.
func requireGPU(t testing.TB) {
	t.Helper()
	requireRuntime(t)
	if _, _, err := (gpuOptions{numbers: []int{0}}).prepare(libtf.Loaded(), nil); err != nil {
		if os.Getenv("TFCONVRNN_REQUIRE_GPU") != "" {
			t.Fatal(err)
		}
		t.Skipf("needs a GPU: %v", err)
	}
}

// onlyEnv names the only model that GPU tests and benchmarks take, to be quick.
const onlyEnv = "TFCONVRNN_GPU_MODEL"

// gpuTolerance is the largest allowed max |difference| / RMS on a GPU in float32:
// its convolutions sum in other orders, and may be Winograd ones.
const gpuTolerance = 1e-3

func TestGPUGolden(t *testing.T) {
	requireGPU(t)
	stimuli := goldenStimuli(t)
	store := testStore(t)
	compared := 0
	for _, g := range goldenFiles(t) {
		if only := os.Getenv(onlyEnv); only != "" && only != g.model {
			continue
		}
		compared++
		t.Run(strings.TrimSuffix(filepath.Base(g.path), ".npz"), func(t *testing.T) {
			model, err := Load(g.model, WithWeights("seeded:1"), WithStore(store), WithDevice("gpu"))
			require.NoError(t, err)
			defer model.Close()
			features, err := model.Extract(context.Background(), stimuli, WithPresentation(g.presentation), AllTimesteps(),
				Logits())
			require.NoError(t, err)
			require.Regexp(t, "^gpu:0", features.Provenance.Device)
			require.False(t, features.Provenance.TF32)
			worst, where, logits := compareGolden(t, g, features)
			t.Logf("worst %.1e at %s, logits %.1e", worst, where, logits)
			reportGPU(t, "golden", map[string]any{"model": g.model, "file": filepath.Base(g.path), "worst": worst,
				"where": where, "logits": logits})
			tolerance := max(gpuTolerance, g.tolerance(features.Provenance.Times))
			require.LessOrEqual(t, worst, tolerance, where)
			require.LessOrEqual(t, logits, tolerance)
		})
	}
	require.NotZero(t, compared)
}

// TestGPUAgreesWithCPU compares all layers at all timesteps, and the logits.
func TestGPUAgreesWithCPU(t *testing.T) {
	requireGPU(t)
	store, name := testStore(t), "rgc_shallow"
	if only := os.Getenv(onlyEnv); only != "" {
		name = only
	}
	var results [2]*Features
	for i, device := range []Device{CPU, GPU(0)} {
		model, err := Load(name, WithWeights("seeded:1"), WithStore(store), WithDevice(device))
		require.NoError(t, err)
		results[i], err = model.Extract(context.Background(), goldenStimuli(t), AllTimesteps(), Logits())
		require.NoError(t, err)
		require.NoError(t, model.Close())
	}
	cpu, gpu := results[0], results[1]
	largest, where := 0.0, ""
	for i := range cpu.Layers {
		l := &cpu.Layers[i]
		if d := largestDifference(l.Data, gpu.Layers[i].Data); d > largest {
			largest, where = d, l.Name
		}
		for _, time := range l.Timesteps {
			for stimulus := range cpu.Stimuli {
				requireClose(t, l.At(stimulus, time), gpu.Layers[i].At(stimulus, time), gpuTolerance, l.Name, " t=", time)
			}
		}
	}
	requireClose(t, cpu.Logits, gpu.Logits, gpuTolerance, "logits")
	reportGPU(t, "agreement", map[string]any{"model": name, "largest_difference_of_rms": largest, "layer": where})
}

// TestGPUSpread spreads batches over two GPUs: the same bytes as one of them puts
// out, in the same order.
func TestGPUSpread(t *testing.T) {
	requireGPU(t)
	checkSpread(t, WithVisibleGPUs(0, 1))
}

// TestSpreadOverSessions is TestGPUSpread with devices of the CPU, so that the
// spreading itself is tested everywhere.
func TestSpreadOverSessions(t *testing.T) {
	t.Setenv(simulatedEnv, "3")
	checkSpread(t)
	m := loadTest(t, "timedecay_shallow", WithDevices("gpu:2", "gpu:0", "gpu:1"))
	sessions := m.sessions()
	require.Len(t, sessions, 3)
	for i, device := range []string{"/device:CPU:2", "/device:CPU:0", "/device:CPU:1"} {
		require.Equal(t, device, sessions[i].device)
		require.Equal(t, i == 0, m.saved == sessions[i].saved, "each has its own")
	}
	_, err := Load("timedecay_shallow", WithWeights("seeded:1"), WithStore(testStore(t)), WithDevices("gpu:0", "gpu:3"))
	require.ErrorIs(t, err, ErrDevice)
	require.ErrorContains(t, err, "gpu:3")
}

// checkSpread extracts on one device and on two, and compares to the last bit.
func checkSpread(t *testing.T, options ...Option) {
	const n, batch = 20, 2
	stimuli := testStimuli(t, n)
	request := append(slices.Clone(early), BatchSize(batch), Logits())
	one := loadTest(t, "timedecay_shallow", append(slices.Clone(options), WithDevice("gpu:0"))...)
	want, err := one.Extract(t.Context(), stimuli, request...)
	require.NoError(t, err)
	require.NoError(t, one.Close())

	two, err := Load("timedecay_shallow", append(slices.Clone(options), WithWeights("seeded:1"), WithStore(testModels(t)),
		WithDevices("gpu:0", "gpu:1"))...)
	if errors.Is(err, ErrDevice) {
		t.Skipf("needs two GPUs: %v", err)
	}
	require.NoError(t, err)
	defer two.Close()
	x, err := two.Plan(request...)
	require.NoError(t, err)
	require.Regexp(t, "^gpu:0,gpu:1", x.Provenance().Device)
	got, err := x.Extract(t.Context(), stimuli)
	require.NoError(t, err)
	require.Empty(t, difference(want, got), "differs from one device's")

	next := 0
	require.NoError(t, x.Stream(t.Context(), slices.Values(stimuli), func(b *Batch) error {
		require.Equal(t, next, b.First, "in order")
		require.Len(t, b.Stimuli, batch)
		next += batch
		time.Sleep(10 * time.Millisecond) // a sink that the devices have to wait for
		return nil
	}))
	require.Equal(t, n, next)
	batches := x.Statistics().Batches
	require.Len(t, batches, 2)
	require.Equal(t, 2*n/batch, batches[0]+batches[1])
	require.Positive(t, batches[0])
	require.Positive(t, batches[1], "both work")
	reportGPU(t, "spread", map[string]any{"model": "timedecay_shallow", "devices": 2, "batches": batches})
	t.Logf("%d stimuli twice, in batches of %d: %v of them on the devices, same bytes as on one", n, batch, batches)

	// What fails ends the stream after the batches before it.
	stimuli[13] = broken()
	next = 0
	err = x.Stream(t.Context(), slices.Values(stimuli), func(b *Batch) error { next += len(b.Stimuli); return nil })
	require.ErrorIs(t, err, errTest)
	require.Equal(t, 12, next)
	require.NoError(t, two.Close())
	require.ErrorIs(t, x.Stream(t.Context(), slices.Values(stimuli[:4]), func(*Batch) error { return nil }), ErrClosed)
}

// withSessions tests with a model that has one session, and with one that has two.
func withSessions(t *testing.T, test func(t *testing.T, options ...Option)) {
	t.Run("one", func(t *testing.T) { test(t) })
	t.Run("two", func(t *testing.T) {
		t.Setenv(simulatedEnv, "2")
		test(t, WithDevices("gpu:0", "gpu:1"))
	})
}

// TestGPUShared extracts in two processes at once on one GPU.
func TestGPUShared(t *testing.T) {
	requireGPU(t)
	if os.Getenv(childEnv) != "" {
		model, err := Load("timedecay_shallow", WithWeights("seeded:1"), WithStore(os.Getenv("TFCONVRNN_TEST_STORE")),
			WithDevice("gpu"), WithGPUMemoryLimit(4<<30))
		require.NoError(t, err)
		defer model.Close()
		want, err := model.Extract(context.Background(), goldenStimuli(t), Logits())
		require.NoError(t, err)
		for range 5 {
			got, err := model.Extract(context.Background(), goldenStimuli(t), Logits())
			require.NoError(t, err)
			for i := range want.Layers {
				requireClose(t, want.Layers[i].Data, got.Layers[i].Data, 1e-5, want.Layers[i].Name)
			}
		}
		return
	}
	store := testStore(t)
	failures := make(chan error, 2)
	for range cap(failures) {
		command := exec.Command(os.Args[0], "-test.v", "-test.run=^TestGPUShared$")
		command.Env = append(os.Environ(), childEnv+"=1", "TFCONVRNN_TEST_STORE="+store)
		go func() {
			output, err := command.CombinedOutput()
			if err == nil && !strings.Contains(string(output), "--- PASS: TestGPUShared") {
				err = errors.New("did not run")
			}
			if err != nil {
				err = fmt.Errorf("%w: %s", err, output)
			}
			failures <- err
		}()
	}
	for range cap(failures) {
		require.NoError(t, <-failures)
	}
	reportGPU(t, "shared", map[string]any{"model": "timedecay_shallow", "processes": cap(failures)})
}

// TestGPUTestsThemselves runs the tests that need GPUs with devices of the CPU in
// their place, so that their own code is known to work where there are none.
func TestGPUTestsThemselves(t *testing.T) {
	requireRuntime(t)
	if os.Getenv(simulatedEnv) != "" {
		t.Skip("this is the process that it starts")
	}
	command := exec.Command(os.Args[0],
		"-test.v",
		"-test.run=^TestGPU(Golden|AgreesWithCPU|Spread|Shared|Placement|Repeats|SmallerFeatures|Trials|Memory|Launches)$",
		"-test.bench=^BenchmarkGPU$", "-test.benchtime=1x")
	command.Env = append(os.Environ(), simulatedEnv+"=2", simulatedBatchEnv+"=16", onlyEnv+"=timedecay_shallow",
		"TFCONVRNN_TEST_STORE="+testModels(t))
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%s", output)
	assert.NotContains(t, string(output), "--- SKIP")
	for _, name := range []string{"TestGPUGolden", "TestGPUGolden/timedecay_shallow.default", "TestGPUAgreesWithCPU",
		"TestGPUSpread", "TestGPUShared",
		"TestGPUPlacement", "TestGPURepeats", "TestGPUSmallerFeatures", "TestGPUTrials", "TestGPUMemory", "TestGPULaunches"} {
		assert.Contains(t, string(output), "--- PASS: "+name+" (")
	}
	assert.Regexp(t, `BenchmarkGPU/timedecay_shallow/tf32=false/batch=8\S*\s+1\s.* images/s`, string(output))
}

// BenchmarkGPU measures images per second of logits and of all layers.
func BenchmarkGPU(b *testing.B) {
	requireGPU(b)
	store := testStore(b)
	names, batches := []string{"ugrnn_intermediate", "rgc_intermediate"}, []int{1, 8, 32, 128}
	if only := os.Getenv(onlyEnv); only != "" {
		names, batches = []string{only}, []int{1, 8}
	}
	for _, name := range names {
		for _, tf32 := range []bool{false, true} {
			if used := &usedGPUs; used.fixed && used.options.tf32 != tf32 {
				continue // one choice for a process: that of the first model
			}
			options := []Option{WithWeights("seeded:1"), WithStore(store), WithDevice("gpu")}
			if tf32 {
				options = append(options, WithTF32())
			}
			for _, batch := range batches {
				b.Run(fmt.Sprintf("%s/tf32=%v/batch=%d", name, tf32, batch), func(b *testing.B) {
					model, err := Load(name, options...)
					require.NoError(b, err)
					defer model.Close()
					var stimuli []Stimulus
					for len(stimuli) < batch {
						stimuli = append(stimuli, goldenStimuli(b)...)
					}
					for b.Loop() {
						_, err := model.Extract(context.Background(), stimuli[:batch], BatchSize(batch), Layers("imnetds"), Logits())
						require.NoError(b, err)
					}
					b.ReportMetric(float64(batch*b.N)/b.Elapsed().Seconds(), "images/s")
				})
			}
		}
	}
}
