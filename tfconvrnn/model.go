package tfconvrnn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/processor"
	"github.com/tfconvrnn/go/internal/version"
	"github.com/tfconvrnn/go/savedmodels"
)

// Option changes how Load finds and runs a model.
type Option func(*loadOptions) error

type loadOptions struct {
	store    string
	weights  savedmodels.Weights
	times    int
	variant  savedmodels.Variant
	runtime  string
	verify   bool
	trust    bool
	unloaded bool
	// withoutKept computes constants anew.
	withoutKept bool
	session     sessionOptions
	gpu         gpuOptions
	progress    func(done, total int64)
}

// Weights says which weights a model is to have, Variant how its graph computes it.
type (
	Weights = savedmodels.Weights
	Variant = savedmodels.Variant
)

// WithWeights says which weights: "trained" (the default), "seeded:<seed>" for
// untrained ones, or a directory with checkpoints laid out like the published
// ones, <directory>/<model>/model.ckpt.*.
func WithWeights(weights Weights) Option {
	return func(o *loadOptions) (err error) {
		o.weights, err = savedmodels.ParseWeights(string(weights))
		return err
	}
}

// WithStore names the directory of converted SavedModels; the default is in the
// user's cache directory.
func WithStore(dir string) Option {
	return func(o *loadOptions) error { o.store = dir; return nil }
}

// WithRuntime names the libtensorflow to load, a file or its directory. A process
// can load only one.
func WithRuntime(path string) Option {
	return func(o *loadOptions) error { o.runtime = path; return nil }
}

// WithTimes asks for a graph of the given number of timesteps, for presentations
// that are longer than the default graph's 30.
func WithTimes(times int) Option {
	return func(o *loadOptions) error { o.times = times; return nil }
}

// WithVariant chooses how the graph computes the model: "lightcone" (the default) or
// "plain", the slow reference.
func WithVariant(variant Variant) Option {
	return func(o *loadOptions) error { o.variant = variant; return nil }
}

// WithVerification checks the SavedModel's files against the checksums of its
// manifest before loading.
func WithVerification() Option {
	return func(o *loadOptions) error { o.verify = true; return nil }
}

// WithoutSession finds, converts and checks the model, but loads neither its graph
// nor its weights, and needs no GPU: it plans extractions and says their provenance
// in little memory. What would compute returns ErrClosed.
func WithoutSession() Option {
	return func(o *loadOptions) error { o.unloaded = true; return nil }
}

// WithConversionProgress is called with the number of parameters converted so far
// and in all when the model has to be converted first.
func WithConversionProgress(report func(done, total int64)) Option {
	return func(o *loadOptions) error { o.progress = report; return nil }
}

// Model is a loaded model. Its methods are safe for concurrent use. The caller
// closes it.
type Model struct {
	info     savedmodels.Model
	dir      string
	manifest *manifest.Manifest
	saved    *libtf.SavedModel // nil after WithoutSession
	filters  *filters
	config   []byte
	device   string // TensorFlow's name of the session's device; "" if it has only one
	runtime  *libtf.Runtime
	session  sessionOptions
	gpu      gpuOptions

	// peers are the model's further sessions, on other GPUs. They differ from it
	// in saved, filters and device only.
	peers []*Model
	// constants are shared with the peers.
	constants *constantCache
	kept      keptConstants

	// reports hands out what the session computes while it runs.
	reports reporter
	// stepStats, if not nil, gets TensorFlow's RunMetadata of every run, for tests.
	stepStats func(metadata []byte)

	measuring      sync.Mutex
	precisionError atomic.Pointer[PrecisionError]

	closing sync.Mutex
	closed  atomic.Bool
}

// Load loads a model by its published name; see savedmodels.Names. Errors wrap
// ErrUnknownModel, ErrNoWeights, ErrRuntimeNotFound and others of this package.
//
// While the first Load opens libtensorflow, TF_CPP_MIN_LOG_LEVEL is 2 in the process's
// environment unless it is set: errors alone are reported on standard error then.
func Load(name string, options ...Option) (*Model, error) {
	return LoadContext(context.Background(), name, options...)
}

// LoadContext is Load with a context that cancels a conversion.
func LoadContext(ctx context.Context, name string, options ...Option) (*Model, error) {
	o := loadOptions{session: defaultSessionOptions()}
	for _, option := range options {
		if err := option(&o); err != nil {
			return nil, err
		}
	}
	info, err := savedmodels.Lookup(name)
	if err != nil {
		return nil, err
	}
	if !o.unloaded {
		if err := o.gpu.check(o.runtime); err != nil { // before a long conversion
			return nil, err
		}
	}
	store, err := savedmodels.Open(o.store)
	if err != nil {
		return nil, err
	}
	found, err := store.Get(ctx, savedmodels.Request{
		Model: name, Weights: o.weights, Times: o.times, Variant: o.variant, Progress: o.progress,
	})
	if err != nil {
		return nil, err
	}
	if o.verify {
		if err := found.Manifest.Verify(found.Dir); err != nil {
			return nil, err
		}
	}
	m, err := open(info, found, o)
	if err != nil || o.unloaded || o.verify || o.withoutKept || m.session.device != "cpu" {
		return m, err
	}
	if m.kept, err = newKeptConstants(m); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func open(info savedmodels.Model, found savedmodels.SavedModel, o loadOptions) (*Model, error) {
	if err := o.checkTrust(info, found); err != nil {
		return nil, err
	}
	converted := o.checkConversion(found)
	runtime, err := loadRuntime(o.runtime)
	if err != nil {
		return nil, errors.Join(converted(), err)
	}
	if err := converted(); err != nil {
		return nil, err
	}
	if !o.unloaded {
		o.session.threads = runtime.PoolThreads(o.session.threads)
	}
	if len(o.gpu.numbers) > 0 {
		if err := o.gpu.settleTrials(); err != nil {
			return nil, err
		}
	}
	if err := o.settleConvolution(found.Manifest); err != nil {
		return nil, err
	}
	config, err := o.session.config(runtime)
	if err != nil {
		return nil, err
	}
	if o.unloaded {
		m := &Model{info: info, dir: found.Dir, manifest: found.Manifest, runtime: runtime, session: o.session, gpu: o.gpu}
		m.constants = &constantCache{closed: true}
		return m, nil
	}
	config, devices, err := o.gpu.prepare(runtime, config)
	if err != nil {
		return nil, err
	}
	var first *Model
	constants := &constantCache{}
	for _, device := range devices {
		saved, filters, err := o.load(device, found, &libtf.SessionOptions{Config: config})
		if err != nil {
			if first != nil {
				first.Close()
			}
			return nil, fmt.Errorf("loading %s from %s: %w", info.Name, found.Dir, err)
		}
		m := &Model{info: info, dir: found.Dir, manifest: found.Manifest, saved: saved, filters: filters, config: config,
			device: device, runtime: runtime, session: o.session, gpu: o.gpu, constants: constants}
		if first == nil {
			first = m
		} else {
			first.peers = append(first.peers, m)
		}
	}
	return first, nil
}

// sessions returns the model once for every session that it has.
func (m *Model) sessions() []*Model { return append([]*Model{m}, m.peers...) }

// loadingRuntime is held while the environment is changed.
var loadingRuntime sync.Mutex

// loadRuntime loads libtensorflow and keeps it from reporting its progress on standard
// error, unless the user has said what it should log. TensorFlow reads the level once,
// while it is opened; afterwards the environment is what it was.
func loadRuntime(path string) (*libtf.Runtime, error) {
	const level = "TF_CPP_MIN_LOG_LEVEL"
	loadingRuntime.Lock()
	defer loadingRuntime.Unlock()
	if _, ok := os.LookupEnv(level); !ok && libtf.Loaded() == nil {
		os.Setenv(level, "2")
		defer os.Unsetenv(level)
	}
	return libtf.Load(path)
}

// Close frees the model; it waits for runs in progress, and calls after it return
// ErrClosed, as does a Stream in progress after the batch it is at, whose values
// stay valid until then. Closing again does nothing.
func (m *Model) Close() error {
	m.closing.Lock()
	defer m.closing.Unlock()
	if m.closed.Swap(true) {
		return nil
	}
	if m.saved == nil {
		return nil
	}
	err := errors.Join(m.saved.Close(), m.filters.close())
	for _, peer := range m.peers {
		peer.closed.Store(true)
		err = errors.Join(err, peer.saved.Close(), peer.filters.close())
	}
	m.constants.close()
	return err
}

// Info describes the model.
func (m *Model) Info() savedmodels.Model { return m.info }

// Times is the most timesteps a presentation can have.
func (m *Model) Times() int { return m.manifest.Times }

// Untrained says whether the weights are seeded ones, which no training produced.
func (m *Model) Untrained() bool { return m.manifest.Weights.Untrained }

// Dir is the directory of the SavedModel.
func (m *Model) Dir() string { return m.dir }

// SessionConfig returns how the model's first session is made, for programs that
// compute something else beside it on the same device: a serialized TensorFlow
// ConfigProto, and TensorFlow's name of the device, "" for the preferred one.
func (m *Model) SessionConfig() (config []byte, device string) {
	return slices.Clone(m.config), m.device
}

// closedError turns the runtime's word for a closed session into ErrClosed.
func closedError(err error) error {
	if errors.Is(err, libtf.ErrClosed) {
		return ErrClosed
	}
	return err
}

// Provenance says how features were made.
type Provenance struct {
	Software     string           `json:"software"`
	TensorFlow   string           `json:"tensorflow"`
	Model        string           `json:"model"`
	Weights      manifest.Weights `json:"weights"`
	Converter    string           `json:"converter"`
	Variant      string           `json:"plan"`
	Presentation string           `json:"presentation"`
	Times        int              `json:"times"`
	Layers       []string         `json:"layers"`
	AllTimesteps bool             `json:"all_timesteps"`
	// Window is the time in milliseconds whose timesteps are reported, where not all are.
	Window []int `json:"window_ms,omitempty"`
	// Timesteps are those that are reported of layers of which only some were asked for.
	Timesteps map[string][]int `json:"timesteps,omitempty"`
	// Averaged are the layers that are averaged over positions.
	Averaged []string `json:"averaged,omitempty"`
	// Pooled are the layers that are averaged over the fields of a grid, with its size.
	Pooled map[string]int `json:"pooled,omitempty"`
	// Float16 are the layers that are rounded to float16.
	Float16 []string `json:"float16,omitempty"`
	// Selections are the units taken of layers of which not all are.
	Selections     map[string]Selection `json:"selections,omitempty"`
	Decoder        string               `json:"decoder,omitempty"`
	Preprocessing  string               `json:"preprocessing,omitempty"`
	Precision      Precision            `json:"precision"`
	PrecisionError *PrecisionError      `json:"precision_error,omitempty"`
	Device         string               `json:"device"`
	// Threads, OneDNN and Processor decide the last bits of what processors compute:
	// the number of threads, the instructions that oneDNN may use ("off" without it),
	// and the processor by name and kind.
	Threads   int    `json:"threads"`
	OneDNN    string `json:"onednn"`
	Processor string `json:"processor"`
	// Convolution says how convolutions were computed; see [Model.Convolution].
	Convolution Convolution `json:"convolution"`
	TF32        bool        `json:"tf32,omitempty"`
	// GPUTrials are ways of computing on GPUs that the environment asked to try.
	GPUTrials []string `json:"gpu_trials,omitempty"`
	BatchSize int      `json:"batch_size"`
	// BatchHalvedFrom is how many stimuli did not fit into the device's memory at once, where BatchSize was chosen: half
	// of them.
	BatchHalvedFrom int `json:"batch_halved_from,omitempty"`
	MillisPerTimes  int `json:"milliseconds_per_timestep"`
}

func (m *Model) provenance() Provenance {
	gpus := len(m.gpu.numbers) > 0
	device := m.session.device
	if gpus && simulatedGPUs() > 0 {
		device += " (simulated on the CPU)"
	}
	return Provenance{
		Software: version.Software, TensorFlow: m.runtime.Version(), Model: m.info.Name,
		Weights: m.manifest.Weights, Converter: m.manifest.Converter, Variant: m.manifest.Variant,
		Precision: m.session.precision, PrecisionError: m.precisionError.Load(), Device: device, TF32: gpus && m.gpu.tf32,
		GPUTrials: m.gpu.trials, MillisPerTimes: MillisecondsPerTimestep,
		Threads: m.session.threads, OneDNN: processor.OneDNN(), Processor: processor.Kind(),
		Convolution: m.session.convolution,
	}
}

// RuntimeError returns nil if libtensorflow is loaded or can be, and otherwise
// the error that Load would return, which says what to do.
func RuntimeError() error {
	_, err := loadRuntime("")
	if errors.Is(err, libtf.ErrAlreadyLoaded) {
		return nil
	}
	return err
}
