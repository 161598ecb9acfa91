package tfconvrnn

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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
	assert.False(t, gpu.use)
	assert.Equal(t, "cpu", device)

	gpu, device, err = apply(WithDevice("gpu"))
	require.NoError(t, err)
	assert.True(t, gpu.use)
	assert.Equal(t, "gpu:0", device)

	gpu, device, err = apply(WithDevice("gpu:3"), WithVisibleGPUs(3, 1, 3), WithGPUMemoryLimit(1<<30), WithGPUMemoryReserved(), WithTF32())
	require.NoError(t, err)
	assert.Equal(t, gpuOptions{use: true, number: 3, visible: []int{1, 3}, reserve: true, limit: 1 << 30, tf32: true}, gpu)
	assert.Equal(t, "gpu:3", device)

	gpu, _, err = apply(WithDevice("gpu:3"), WithDevice("cpu"))
	require.NoError(t, err)
	assert.False(t, gpu.use)

	for _, bad := range []Option{
		WithDevice(""), WithDevice("tpu"), WithDevice("gpu:"), WithDevice("gpu:-1"), WithDevice("gpu:0,1"), WithDevice("gpu:9999"), WithDevice("cpu:0"),
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
	one := gpuOptions{use: true, number: 2, visible: []int{2}}
	config := read(one)
	assert.Equal(t, map[string]int32{"GPU": 1}, config.DeviceCount)
	assert.Equal(t, "2", config.GpuOptions.VisibleDeviceList)
	assert.True(t, config.GpuOptions.AllowGrowth)
	assert.Nil(t, config.GpuOptions.Experimental)
	assert.Equal(t, "", one.device(), "TensorFlow sees one GPU only")

	two := gpuOptions{use: true, number: 3, visible: []int{1, 3}, reserve: true, limit: 2 << 30}
	config = read(two)
	assert.Equal(t, "1,3", config.GpuOptions.VisibleDeviceList)
	assert.False(t, config.GpuOptions.AllowGrowth)
	require.Len(t, config.GpuOptions.Experimental.VirtualDevices, 2)
	assert.Equal(t, []float32{2048}, config.GpuOptions.Experimental.VirtualDevices[1].MemoryLimitMb)
	assert.Equal(t, "/device:GPU:1", two.device(), "TensorFlow counts those that it sees")
}

func TestDevicesOfOneProcess(t *testing.T) {
	var process usedGPUsState
	first := gpuOptions{use: true, number: 1, visible: []int{0, 1}, limit: 1 << 30}
	joined, err := process.join(first, "gpu:1")
	require.NoError(t, err)
	assert.Equal(t, first, joined)
	process.fixed, process.options = true, joined

	joined, err = process.join(gpuOptions{use: true, number: 0, visible: []int{0}}, "gpu:0")
	require.NoError(t, err)
	assert.Equal(t, gpuOptions{use: true, number: 0, visible: []int{0, 1}, limit: 1 << 30}, joined, "what is fixed stays")

	_, err = process.join(gpuOptions{use: true, number: 2, visible: []int{2}}, "gpu:2")
	assert.ErrorIs(t, err, ErrDevice)
	assert.ErrorContains(t, err, "WithVisibleGPUs")
	_, err = process.join(gpuOptions{use: true, number: 0, visible: []int{0}, tf32: true}, "gpu:0")
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
	info, err := savedmodels.Lookup("timedecay_shallow")
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

	_, err = loadOn("/device:CPU:2", found.Dir, &libtf.SessionOptions{Config: data})
	require.ErrorIs(t, err, libtf.ErrInvalidArgument, "the nodes are on the device that is named")
	_, err = loadOn("/device:CPU:1", t.TempDir(), &libtf.SessionOptions{Config: data})
	require.ErrorIs(t, err, os.ErrNotExist)

	saved, err := loadOn("/device:CPU:1", found.Dir, &libtf.SessionOptions{Config: data})
	require.NoError(t, err)
	model := &Model{info: info, dir: found.Dir, manifest: found.Manifest, saved: saved, runtime: runtime, session: session}
	model.constants.tensors = map[string]*libtf.Tensor{}
	defer model.Close()
	devices, err := saved.Session.ListDevices()
	require.NoError(t, err)
	require.Len(t, devices, 2)
	features, err := model.Extract(context.Background(), goldenStimuli(t), AllTimesteps(), Logits())
	require.NoError(t, err)
	worst, where, logits := compareGolden(t, goldenFile{path: filepath.Join(goldenDir, "timedecay_shallow.default.npz"), model: "timedecay_shallow"}, features)
	require.LessOrEqual(t, worst, 1e-4, where)
	require.LessOrEqual(t, logits, 1e-4)
	leftovers, err := filepath.Glob(filepath.Join(os.TempDir(), "tfconvrnn-device-*"))
	require.NoError(t, err)
	require.Empty(t, leftovers)
}

// requireGPU skips a test where there is no GPU that the loaded runtime can use.
func requireGPU(t testing.TB) {
	t.Helper()
	requireRuntime(t)
	if _, _, err := (gpuOptions{use: true}).prepare(libtf.Loaded(), nil); err != nil {
		if os.Getenv("TFCONVRNN_REQUIRE_GPU") != "" {
			t.Fatal(err)
		}
		t.Skipf("needs a GPU: %v", err)
	}
}

// gpuTolerance is the largest allowed max |difference| / RMS on a GPU in float32:
// its convolutions sum in other orders, and may be Winograd ones.
const gpuTolerance = 1e-3

func TestGPUGolden(t *testing.T) {
	requireGPU(t)
	stimuli := goldenStimuli(t)
	store := testStore(t)
	for _, g := range goldenFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(g.path), ".npz"), func(t *testing.T) {
			model, err := Load(g.model, WithWeights("seeded:1"), WithStore(store), WithDevice("gpu"))
			require.NoError(t, err)
			defer model.Close()
			features, err := model.Extract(context.Background(), stimuli, WithPresentation(g.presentation), AllTimesteps(), Logits())
			require.NoError(t, err)
			require.Equal(t, "gpu:0", features.Provenance.Device)
			require.False(t, features.Provenance.TF32)
			worst, where, logits := compareGolden(t, g, features)
			t.Logf("worst %.1e at %s, logits %.1e", worst, where, logits)
			tolerance := max(gpuTolerance, g.tolerance(features.Provenance.Times))
			require.LessOrEqual(t, worst, tolerance, where)
			require.LessOrEqual(t, logits, tolerance)
		})
	}
}

func TestGPUAgreesWithCPU(t *testing.T) {
	requireGPU(t)
	store := testStore(t)
	var results [2]*Features
	for i, device := range []string{"cpu", "gpu"} {
		model, err := Load("rgc_shallow", WithWeights("seeded:2"), WithStore(store), WithDevice(device))
		require.NoError(t, err)
		results[i], err = model.Extract(context.Background(), goldenStimuli(t), Logits())
		require.NoError(t, err)
		require.NoError(t, model.Close())
	}
	var squares, largest float64
	for i, want := range results[0].Logits {
		squares += float64(want) * float64(want)
		largest = max(largest, math.Abs(float64(want-results[1].Logits[i])))
	}
	require.LessOrEqual(t, largest/math.Sqrt(squares/float64(len(results[0].Logits))), gpuTolerance)
}

// TestGPUShared extracts in two processes at once on one GPU.
func TestGPUShared(t *testing.T) {
	if os.Getenv(childEnv) != "" {
		requireGPU(t)
		model, err := Load("timedecay_shallow", WithWeights("seeded:1"), WithStore(os.Getenv("TFCONVRNN_TEST_STORE")), WithDevice("gpu"), WithGPUMemoryLimit(4<<30))
		require.NoError(t, err)
		defer model.Close()
		for range 10 {
			_, err = model.Extract(context.Background(), goldenStimuli(t), Logits())
			require.NoError(t, err)
		}
		return
	}
	requireGPU(t)
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
		assert.NoError(t, <-failures)
	}
}

// BenchmarkGPU measures images per second of logits and of all layers.
func BenchmarkGPU(b *testing.B) {
	requireGPU(b)
	store := testStore(b)
	for _, name := range []string{"ugrnn_intermediate", "rgc_intermediate"} {
		for _, tf32 := range []bool{false, true} {
			if used := &usedGPUs; used.fixed && used.options.tf32 != tf32 {
				continue // one choice for a process: that of the first model
			}
			options := []Option{WithWeights("seeded:1"), WithStore(store), WithDevice("gpu")}
			if tf32 {
				options = append(options, WithTF32())
			}
			for _, batch := range []int{1, 8, 32, 128} {
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
