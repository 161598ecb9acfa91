package tfconvrnn

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/internal/cuda"
	"github.com/tfconvrnn/go/internal/gpukernels"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/tfpb"
	"github.com/tfconvrnn/go/savedmodels"
)

// gpuOptions say which GPUs a model runs on, and how; the zero value is the CPU.
type gpuOptions struct {
	// numbers are those of the GPUs, as the driver (or CUDA_VISIBLE_DEVICES)
	// counts; none means the CPU.
	numbers []int
	// visible are the GPUs that the process uses; nil for only numbers.
	visible []int
	// reserve takes the memory at once instead of as it is needed.
	reserve bool
	// limit is the most bytes of memory on each GPU; 0 for no limit.
	limit int64
	tf32  bool
	// trials are ways of computing that are tried; see tryEnv.
	trials []string
}

// maxGPU is far more GPUs than a machine has.
const maxGPU = 255

// WithDevice says what a model computes on: CPU (the default), "gpu" for the first GPU,
// or GPU(number). Numbers are those of the driver, among the GPUs
// that the environment variable CUDA_VISIBLE_DEVICES lets be seen. The SavedModel
// is the same for all devices. GPUs need the GPU build of libtensorflow, CUDA and
// an NVIDIA driver; if one is missing Load returns an error that wraps ErrDevice
// and says which.
func WithDevice(device Device) Option { return WithDevices(device) }

// WithDevices spreads a model over several GPUs, such as GPU(0) and GPU(1), or
// names one device as WithDevice does. Every GPU gets a session of its own with all
// weights. Stream, and what is built on it, hands each batch to a GPU that is free
// and puts results out in the order of the stimuli. Batches are those of a
// single GPU, so GPUs of one kind put out the same bytes as one of them alone.
func WithDevices(devices ...Device) Option {
	return func(o *loadOptions) error {
		if err := Devices(devices).check(); err != nil {
			return err
		}
		var numbers []int
		for _, device := range devices {
			if n, gpu, _ := device.number(); gpu {
				numbers = append(numbers, n)
			}
		}
		o.gpu.numbers, o.session.device = numbers, deviceNames(numbers)
		return nil
	}
}

// deviceNames returns how GPUs are called; without any it is the CPU.
func deviceNames(numbers []int) string {
	if len(numbers) == 0 {
		return "cpu"
	}
	names := make([]string, len(numbers))
	for i, n := range numbers {
		names[i] = "gpu:" + strconv.Itoa(n)
	}
	return strings.Join(names, ",")
}

// WithVisibleGPUs lists the GPUs that the process is going to use, for programs
// that load models on several: TensorFlow fixes them when the first is used. The
// default is the GPUs of the first model only.
func WithVisibleGPUs(numbers ...int) Option {
	return func(o *loadOptions) error {
		sorted := slices.Compact(slices.Sorted(slices.Values(numbers)))
		if len(sorted) == 0 || sorted[0] < 0 || sorted[len(sorted)-1] > maxGPU {
			return fmt.Errorf("%w: visible GPUs %v", ErrOption, numbers)
		}
		o.gpu.visible = sorted
		return nil
	}
}

// WithGPUMemoryReserved takes all memory of the GPU (or the limit) at the start, as
// TensorFlow does by itself. The default is to take it as it is needed, so that
// processes can share a GPU.
func WithGPUMemoryReserved() Option {
	return func(o *loadOptions) error { o.gpu.reserve = true; return nil }
}

// WithGPUMemoryLimit limits the memory that the process takes on each of its GPUs,
// in bytes, at least 256 MiB. CUDA itself takes some more.
func WithGPUMemoryLimit(bytes int64) Option {
	return func(o *loadOptions) error {
		if bytes < 256<<20 {
			return fmt.Errorf("%w: %d bytes of GPU memory; no model fits in less than 256 MiB", ErrOption, bytes)
		}
		o.gpu.limit = bytes
		return nil
	}
}

// WithTF32 lets GPUs that can (Ampere and later) compute float32 products in
// TensorFloat-32, with 10 bits of mantissa instead of 23: faster, and outputs
// differ in the third digit or so. The default is full float32, unlike
// TensorFlow's own. It holds for the whole process. Without it, where libtensorflow has
// no switch for it, loading a model on a GPU sets NVIDIA_TF32_OVERRIDE=0 in the
// environment of the process, which CUDA reads.
func WithTF32() Option {
	return func(o *loadOptions) error { o.gpu.tf32 = true; return nil }
}

// usedGPUs is what TensorFlow fixes for the process when its first GPU session
// is made: part of the loaded runtime's state.
var usedGPUs usedGPUsState

type usedGPUsState struct {
	sync.Mutex
	fixed   bool
	options gpuOptions // all but numbers
}

// check loads the runtime and finds out whether the GPUs, if any are asked for, can
// be used.
func (g gpuOptions) check(runtimePath string) error {
	if len(g.numbers) == 0 {
		return nil
	}
	runtime, err := loadRuntime(runtimePath)
	if err != nil {
		return err
	}
	_, _, err = g.prepare(runtime, nil)
	return err
}

// prepare checks that the GPUs can be used, and returns the session configuration
// for them and, for each session, the TensorFlow device to put the graph on, "" if
// that is the only one. On the CPU there is one session.
func (g gpuOptions) prepare(runtime *libtf.Runtime, config []byte) (prepared []byte, devices []string, err error) {
	if len(g.numbers) == 0 {
		return config, []string{""}, nil
	}
	if n := simulatedGPUs(); n > 0 {
		return g.prepareSimulated(n, config)
	}
	name := deviceNames(g.numbers)
	gpuBuild, err := gpukernels.IsGPUBuild()
	if err != nil {
		return nil, nil, err
	}
	if !gpuBuild {
		return nil, nil, fmt.Errorf("%w: %s: %s %w; install the GPU build and let %s name it, or use the GPU image",
			ErrDevice, name, runtime.Path(), ErrNoGPUBuild, libtf.Env)
	}
	state := cuda.Look(filepath.Dir(runtime.Path()))
	if !state.HasDriver() {
		return nil, nil, fmt.Errorf("%w: %s: the runtime is the GPU build, but %s", ErrDevice, name, state.Problem())
	}
	if g.visible == nil {
		g.visible = slices.Sorted(slices.Values(g.numbers))
	}

	usedGPUs.Lock()
	defer usedGPUs.Unlock()
	if g, err = usedGPUs.join(g); err != nil {
		return nil, nil, err
	}
	if !libtf.SetTensorFloat32(g.tf32) && !g.tf32 {
		// CUDA's own switch, for versions of TensorFlow without one.
		os.Setenv("NVIDIA_TF32_OVERRIDE", "0")
	}
	if prepared, err = g.configure(config); err != nil {
		return nil, nil, err
	}
	found, err := countGPUs(prepared)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %s: TensorFlow cannot use GPUs %v: %w", ErrDevice, name, g.visible, err)
	}
	if found < len(g.visible) {
		why := state.Problem()
		if why == "" {
			why = "TF_CPP_MIN_LOG_LEVEL=0 in the environment shows why"
		}
		return nil, nil, fmt.Errorf(
			"%w: %s: the runtime is the GPU build and there is a driver (%s), but TensorFlow finds %d of the GPUs %v: %s",
			ErrDevice, name, state.Driver, found, g.visible, why)
	}
	usedGPUs.fixed, usedGPUs.options = true, g
	return prepared, g.devices("GPU"), nil
}

// simulatedEnv makes so many devices of the CPU stand in for GPUs, so that what
// needs GPUs can be tried without any.
const simulatedEnv = "TFCONVRNN_SIMULATED_GPUS"

func simulatedGPUs() int {
	n, err := strconv.Atoi(os.Getenv(simulatedEnv))
	if err != nil || n < 0 || n > maxGPU {
		return 0
	}
	return n
}

// prepareSimulated is prepare where n devices of the CPU stand in for GPUs.
func (g gpuOptions) prepareSimulated(n int, config []byte) (prepared []byte, devices []string, err error) {
	if last := slices.Max(g.numbers); last >= n {
		return nil, nil, fmt.Errorf("%w: gpu:%d: %s simulates %d GPUs", ErrDevice, last, simulatedEnv, n)
	}
	c := &tfpb.ConfigProto{}
	if err := proto.Unmarshal(config, c); err != nil {
		return nil, nil, err
	}
	g.configureTrials(c)
	c.DeviceCount = map[string]int32{"CPU": int32(n), "GPU": 0}
	g.visible = make([]int, n)
	for i := range g.visible {
		g.visible[i] = i
	}
	prepared, err = proto.MarshalOptions{Deterministic: true}.Marshal(c)
	return prepared, g.devices("CPU"), err
}

// join returns g with what is fixed for the process, or an error if g asks for
// something else. The lock is held.
func (u *usedGPUsState) join(g gpuOptions) (gpuOptions, error) {
	if u.fixed {
		f := u.options
		if g.tf32 != f.tf32 {
			return g, fmt.Errorf("%w: TF32 holds for the whole process, and an earlier model was loaded with the other choice",
				ErrOption)
		}
		g.visible, g.reserve, g.limit = f.visible, f.reserve, f.limit
	}
	for _, n := range g.numbers {
		if !slices.Contains(g.visible, n) {
			return g, fmt.Errorf("%w: gpu:%d: this process uses the GPUs %v; name all that it will use when the first "+
				"model is loaded (WithVisibleGPUs)", ErrDevice, n, g.visible)
		}
	}
	return g, nil
}

// configure adds the GPUs to a session's configuration.
func (g gpuOptions) configure(config []byte) ([]byte, error) {
	c := &tfpb.ConfigProto{}
	if err := proto.Unmarshal(config, c); err != nil {
		return nil, err
	}
	var list []string
	for _, number := range g.visible {
		list = append(list, strconv.Itoa(number))
	}
	g.configureTrials(c)
	c.DeviceCount = map[string]int32{"GPU": int32(len(g.visible))}
	c.GpuOptions = &tfpb.GPUOptions{VisibleDeviceList: strings.Join(list, ","), AllowGrowth: !g.reserve}
	if g.limit > 0 {
		c.GpuOptions.Experimental = &tfpb.GPUOptions_Experimental{}
		for range g.visible {
			c.GpuOptions.Experimental.VirtualDevices = append(c.GpuOptions.Experimental.VirtualDevices,
				&tfpb.GPUOptions_VirtualDevices{MemoryLimitMb: []float32{float32(g.limit >> 20)}})
		}
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(c)
}

// devices returns TensorFlow's names for the GPUs, "" for the only one that it sees.
func (g gpuOptions) devices(kind string) []string {
	if len(g.visible) == 1 {
		return []string{""}
	}
	devices := make([]string, len(g.numbers))
	for i, n := range g.numbers {
		devices[i] = "/device:" + kind + ":" + strconv.Itoa(slices.Index(g.visible, n))
	}
	return devices
}

// countGPUs makes a session to see how many GPUs TensorFlow finds.
func countGPUs(config []byte) (int, error) {
	graph, err := libtf.NewGraph()
	if err != nil {
		return 0, err
	}
	defer graph.Close()
	session, err := libtf.NewSession(graph, &libtf.SessionOptions{Config: config})
	if err != nil {
		return 0, err
	}
	defer session.Close()
	devices, err := session.ListDevices()
	if err != nil {
		return 0, err
	}
	count := 0
	for _, d := range devices {
		if d.Type == "GPU" {
			count++
		}
	}
	return count, nil
}

// load loads a SavedModel with all its operations on a TensorFlow device; "" leaves that to
// TensorFlow. Operations that cannot run there run on the CPU. Convolutions are put in as
// was settled; with them come the filters that they read, which the caller closes after the
// SavedModel.
func (o *loadOptions) load(device string, found savedmodels.SavedModel, options *libtf.SessionOptions) (
	_ *libtf.SavedModel, f *filters, err error) {
	if o.session.convolution == ConvolutionDirect {
		saved, err := o.loadWith(device, found, options, nil)
		return saved, nil, err
	}
	if f, err = openFilters(found.Dir); err != nil {
		return nil, nil, err
	}
	saved, err := o.loadWith(device, found, options, f)
	if err != nil {
		return nil, nil, errors.Join(err, f.close())
	}
	return saved, f, nil
}

// loadWith is load with filters, or nil for TensorFlow's convolutions.
func (o *loadOptions) loadWith(device string, found savedmodels.SavedModel, options *libtf.SessionOptions, f *filters) (
	*libtf.SavedModel, error) {
	tags, dir := []string{"serve"}, found.Dir
	if device == "" && f == nil && len(o.gpu.numbers) == 0 {
		return libtf.LoadSavedModel(dir, tags, options)
	}
	content, err := os.ReadFile(filepath.Join(dir, "saved_model.pb"))
	if err != nil {
		return nil, err
	}
	saved := &tfpb.SavedModel{}
	if err := proto.Unmarshal(content, saved); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrModified, filepath.Join(dir, "saved_model.pb"), err)
	}
	for _, meta := range saved.MetaGraphs {
		if f != nil {
			o.rewriteConvolutions(meta.GetGraphDef(), found.Manifest, f)
		}
		if len(o.gpu.numbers) > 0 && meta.GraphDef != nil {
			o.adaptToGPU(meta.GraphDef, found.Manifest)
		}
		for _, node := range meta.GetGraphDef().GetNode() {
			node.Device = device
		}
	}
	if content, err = proto.Marshal(saved); err != nil {
		return nil, err
	}
	// TensorFlow loads SavedModels from directories only.
	sweepGraphs(os.TempDir())
	placed, err := os.MkdirTemp("", graphFolder)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(placed)
	if err := os.WriteFile(filepath.Join(placed, "saved_model.pb"), content, 0o600); err != nil {
		return nil, err
	}
	variables, err := filepath.Abs(filepath.Join(dir, "variables"))
	if err != nil {
		return nil, err
	}
	if err := os.Symlink(variables, filepath.Join(placed, "variables")); err != nil {
		return nil, err
	}
	verified := make(chan error, 1)
	go func() {
		if f == nil {
			verified <- nil
			return
		}
		verified <- f.verify()
	}()
	loaded, err := libtf.LoadSavedModel(placed, tags, options)
	if wrong := <-verified; wrong != nil && err == nil {
		return nil, errors.Join(wrong, loaded.Close())
	}
	return loaded, err
}

// graphFolder is the pattern of the folders from which TensorFlow reads graphs that were changed
// after the conversion.
const graphFolder = "tfconvrnn-graph-*"

// graphAge is far above what reading a graph takes.
const graphAge = time.Hour

// sweepGraphs removes the folders that processes left which were killed while TensorFlow read their graph.
func sweepGraphs(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, graphFolder)) // the pattern is right
	for _, folder := range left {
		if info, err := os.Lstat(folder); err == nil && info.IsDir() && time.Since(info.ModTime()) > graphAge {
			os.RemoveAll(folder) // another user's stays
		}
	}
}
