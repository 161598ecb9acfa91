package tfconvrnn

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/internal/cuda"
	"github.com/tfconvrnn/go/internal/gpukernels"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/tfpb"
)

// gpuOptions say which GPU a model runs on, and how; the zero value is the CPU.
type gpuOptions struct {
	use bool
	// number is the GPU's, as the driver (or CUDA_VISIBLE_DEVICES) counts.
	number int
	// visible are the GPUs that the process uses; nil for only number.
	visible []int
	// reserve takes the memory at once instead of as it is needed.
	reserve bool
	// limit is the most bytes of memory on each GPU; 0 for no limit.
	limit int64
	tf32  bool
}

// maxGPU is far more GPUs than a machine has.
const maxGPU = 255

// WithDevice says what a model computes on: "cpu" (the default), "gpu" for the
// first GPU, or "gpu:<number>". Numbers are those of the driver, among the GPUs
// that the environment variable CUDA_VISIBLE_DEVICES lets be seen. The SavedModel
// is the same for all devices. GPUs need the GPU build of libtensorflow, CUDA and
// an NVIDIA driver; if one is missing Load returns an error that wraps ErrDevice
// and says which.
func WithDevice(device string) Option {
	return func(o *loadOptions) error {
		kind, number, numbered := strings.Cut(device, ":")
		switch {
		case device == "cpu":
			o.gpu.use = false
		case kind == "gpu":
			o.gpu.use, o.gpu.number = true, 0
			if numbered {
				n, err := strconv.Atoi(number)
				if err != nil || n < 0 || n > maxGPU {
					return fmt.Errorf("%w: device %q: the number of a GPU is 0, 1, …; one model runs on one GPU", ErrOption, device)
				}
				o.gpu.number = n
			}
			device = "gpu:" + strconv.Itoa(o.gpu.number)
		default:
			return fmt.Errorf("%w: unknown device %q; there are cpu, gpu and gpu:<number>", ErrOption, device)
		}
		o.session.device = device
		return nil
	}
}

// WithVisibleGPUs lists the GPUs that the process is going to use, for programs
// that load models on several: TensorFlow fixes them when the first is used. The
// default is the GPU of the first model only.
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
// TensorFlow's own. It holds for the whole process.
func WithTF32() Option {
	return func(o *loadOptions) error { o.gpu.tf32 = true; return nil }
}

// usedGPUs is what TensorFlow fixes for the process when its first GPU session
// is made: part of the loaded runtime's state.
var usedGPUs usedGPUsState

type usedGPUsState struct {
	sync.Mutex
	fixed   bool
	options gpuOptions // all but use and number
}

// check loads the runtime and finds out whether the GPU, if one is asked for, can be
// used.
func (g gpuOptions) check(runtimePath string) error {
	if !g.use {
		return nil
	}
	quiet()
	runtime, err := libtf.Load(runtimePath)
	if err != nil {
		return err
	}
	_, _, err = g.prepare(runtime, nil)
	return err
}

// prepare checks that the GPU can be used, and returns the session configuration
// for it and the TensorFlow device to put the graph on, "" if that is the only one.
func (g gpuOptions) prepare(runtime *libtf.Runtime, config []byte) (prepared []byte, device string, err error) {
	if !g.use {
		return config, "", nil
	}
	name := "gpu:" + strconv.Itoa(g.number)
	gpuBuild, err := gpukernels.IsGPUBuild()
	if err != nil {
		return nil, "", err
	}
	if !gpuBuild {
		return nil, "", fmt.Errorf("%w: %s: %s is the CPU build of libtensorflow; install the GPU build (tfconvrnn-cli runtime install --gpu) and let %s name it, or use the GPU image",
			ErrDevice, name, runtime.Path(), libtf.Env)
	}
	state := cuda.Look(filepath.Dir(runtime.Path()))
	if !state.HasDriver() {
		return nil, "", fmt.Errorf("%w: %s: the runtime is the GPU build, but %s", ErrDevice, name, state.Problem())
	}
	if g.visible == nil {
		g.visible = []int{g.number}
	}

	usedGPUs.Lock()
	defer usedGPUs.Unlock()
	if g, err = usedGPUs.join(g, name); err != nil {
		return nil, "", err
	}
	if !libtf.SetTensorFloat32(g.tf32) && !g.tf32 {
		// CUDA's own switch, for versions of TensorFlow without one.
		os.Setenv("NVIDIA_TF32_OVERRIDE", "0")
	}
	if prepared, err = g.configure(config); err != nil {
		return nil, "", err
	}
	found, err := countGPUs(prepared)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %s: TensorFlow cannot use GPUs %v: %w", ErrDevice, name, g.visible, err)
	}
	if found < len(g.visible) {
		why := state.Problem()
		if why == "" {
			why = "unset TF_CPP_MIN_LOG_LEVEL to see why"
		}
		return nil, "", fmt.Errorf("%w: %s: the runtime is the GPU build and there is a driver (%s), but TensorFlow finds %d of the GPUs %v: %s",
			ErrDevice, name, state.Driver, found, g.visible, why)
	}
	usedGPUs.fixed, usedGPUs.options = true, g
	return prepared, g.device(), nil
}

// join returns g with what is fixed for the process, or an error if g asks for
// something else. The lock is held.
func (u *usedGPUsState) join(g gpuOptions, name string) (gpuOptions, error) {
	if u.fixed {
		f := u.options
		if g.tf32 != f.tf32 {
			return g, fmt.Errorf("%w: TF32 holds for the whole process, and an earlier model was loaded with the other choice", ErrOption)
		}
		g.visible, g.reserve, g.limit = f.visible, f.reserve, f.limit
	}
	if !slices.Contains(g.visible, g.number) {
		return g, fmt.Errorf("%w: %s: this process uses the GPUs %v; name all that it will use when the first model is loaded (WithVisibleGPUs)", ErrDevice, name, g.visible)
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

// device returns TensorFlow's name for the GPU, "" if it is the only one that
// TensorFlow sees.
func (g gpuOptions) device() string {
	if len(g.visible) == 1 {
		return ""
	}
	return "/device:GPU:" + strconv.Itoa(slices.Index(g.visible, g.number))
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

// loadOn loads the SavedModel in dir with all its operations on a TensorFlow
// device; "" leaves that to TensorFlow. Operations that cannot run there run on
// the CPU.
func loadOn(device, dir string, options *libtf.SessionOptions) (*libtf.SavedModel, error) {
	tags := []string{"serve"}
	if device == "" {
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
		for _, node := range meta.GetGraphDef().GetNode() {
			node.Device = device
		}
	}
	if content, err = proto.Marshal(saved); err != nil {
		return nil, err
	}
	// TensorFlow loads SavedModels from directories only.
	placed, err := os.MkdirTemp("", "tfconvrnn-device-*")
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
	return libtf.LoadSavedModel(placed, tags, options)
}
