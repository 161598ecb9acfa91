// Package benchmark measures the variants of a model side by side: in one process, on the
// same images, in turns.
//
// There are four contestants. "lightcone" is what the library does, and
// "lightcone_direct" the same with TensorFlow's own convolutions, where that is something
// else. The other two are the plain unroll, with weights as variables: "plain_pruned" computes what the
// fetches need, as TensorFlow prunes it, and "plain_every_layer" computes every
// layer at every timestep, as the published code does.
package benchmark

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/internal/cuda"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/processor"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// The contestants.
const (
	LightCone       = "lightcone"
	LightConeDirect = "lightcone_direct"
	PlainPruned     = "plain_pruned"
	PlainEveryLayer = "plain_every_layer"
)

// contestants are in the order in which they run.
var contestants = []struct {
	name               string
	variant            convert.Variant
	direct, everyLayer bool
}{
	{LightCone, convert.LightCone, false, false},
	{LightConeDirect, convert.LightCone, true, false},
	{PlainPruned, convert.Plain, true, false},
	{PlainEveryLayer, convert.Plain, true, true},
}

// loadOptions are those of a contestant's model.
func loadOptions(o Options, variant convert.Variant, direct bool) []tfconvrnn.Option {
	options := append(slices.Clone(o.Load), tfconvrnn.WithVariant(variant))
	if direct {
		options = append(options, tfconvrnn.WithConvolution(tfconvrnn.ConvolutionDirect))
	}
	return options
}

// Options say what is measured.
type Options struct {
	Model string
	// Load are the options of every load; they do not name the variant.
	Load []tfconvrnn.Option
	// Fetches and Presentation say what is computed.
	Fetches      Fetches
	Presentation tfconvrnn.Presentation
	// Batch is the number of images in a run; 0 lets the light-cone variant choose.
	Batch int
	// Runs is how often each contestant runs, at least 1, after a first time that
	// does not count.
	Runs int
	// Threads is the number of cores that Load asks for; 0 are all.
	Threads int
	// Child returns a command that calls Child with a measurement in a process of
	// its own. It may be nil: then what needs one is not measured.
	Child func(ctx context.Context, measurement string) *exec.Cmd
	// Note, if not nil, is told what is going on.
	Note func(message string)
}

// Fetches say what is extracted.
type Fetches struct {
	// Layers are the layers; none means only logits.
	Layers       []string `json:"layers"`
	AllTimesteps bool     `json:"all_timesteps"`
	Logits       bool     `json:"logits"`
}

// ExtractOptions returns the options of the light-cone variant's extractions.
func (o *Options) ExtractOptions() []tfconvrnn.ExtractOption {
	f := o.Fetches
	options := []tfconvrnn.ExtractOption{tfconvrnn.WithPresentation(o.Presentation), tfconvrnn.BatchSize(o.Batch)}
	if len(f.Layers) == 0 {
		return append(options, tfconvrnn.OnlyLogits())
	}
	options = append(options, tfconvrnn.Layers(f.Layers...))
	if f.AllTimesteps {
		options = append(options, tfconvrnn.AllTimesteps())
	}
	if f.Logits {
		options = append(options, tfconvrnn.Logits())
	}
	return options
}

// Result is what Run measured.
type Result struct {
	Model        string  `json:"model"`
	Untrained    bool    `json:"untrained"`
	Weights      string  `json:"weights_sha256"`
	Fetches      Fetches `json:"fetches"`
	Presentation string  `json:"presentation"`
	Times        int     `json:"times"`
	Batch        int     `json:"batch"`
	// Convolution is how the light cone convolves; see tfconvrnn.Model.Convolution.
	Convolution tfconvrnn.Convolution `json:"convolution"`
	Runs        int                   `json:"runs"`
	Machine     Machine               `json:"machine"`
	Peak        Peak                  `json:"gemm_peak"`
	// Difference is the largest difference of the first image's features between
	// the light cone and the plain variant, relative to the RMS of the layer at the
	// timestep.
	Difference float64 `json:"largest_relative_difference"`
	// PrecisionError is what another precision than float32 costs; nil in float32.
	PrecisionError *tfconvrnn.PrecisionError `json:"precision_error,omitempty"`

	Contestants []Contestant `json:"contestants"`
	Ratios      []Ratio      `json:"ratios"`
}

// Contestant returns the one called name, or nil.
func (r *Result) Contestant(name string) *Contestant {
	for i := range r.Contestants {
		if r.Contestants[i].Name == name {
			return &r.Contestants[i]
		}
	}
	return nil
}

// Ratio returns that of the contestant called name to the light cone, or nil.
func (r *Result) Ratio(of string) *Ratio {
	for i := range r.Ratios {
		if r.Ratios[i].Of == of {
			return &r.Ratios[i]
		}
	}
	return nil
}

// contestant is one that is loaded.
type contestant struct {
	Contestant
	extraction   *tfconvrnn.Extraction
	seconds, cpu []float64 // of every run
}

// loadContestants loads the models, by the contestants that they are first of, which the caller closes,
// also after an error. The first contestant may choose the batch.
func loadContestants(ctx context.Context, o *Options, models map[string]*tfconvrnn.Model) (list []*contestant,
	err error) {
	for _, c := range contestants {
		if c.name == LightConeDirect && models[LightCone].Convolution() == tfconvrnn.ConvolutionDirect {
			continue
		}
		of := c.name
		if of == PlainEveryLayer {
			of = PlainPruned // the same model
		}
		if models[of] == nil {
			m, err := tfconvrnn.LoadContext(ctx, o.Model, loadOptions(*o, c.variant, c.direct)...)
			if err != nil {
				return nil, err
			}
			models[of] = m
		}
		loaded, err := newContestant(models[of], c.name, c.everyLayer, *o)
		if err != nil {
			return nil, err
		}
		o.Batch = loaded.extraction.BatchSize() // the first may choose
		list = append(list, loaded)
	}
	return list, nil
}

// describe says what was measured, and where.
func (r *Result) describe(p tfconvrnn.Provenance, cores int) {
	r.Presentation, r.Times, r.Convolution = p.Presentation, p.Times, p.Convolution
	r.Untrained, r.Weights = p.Weights.Untrained, p.Weights.SHA256
	r.Machine = describeMachine(threads(cores))
	if p.Device != "cpu" {
		r.Machine.Device, r.Machine.TF32 = p.Device, p.TF32
		if runtime := libtf.Loaded(); runtime != nil {
			state := cuda.Look(filepath.Dir(runtime.Path()))
			r.Machine.GPUs, r.Machine.Driver = state.Models, state.Driver
		}
	}
}

// Run converts the model with both variants, if that has not been done before, loads
// them and measures. Errors are those of tfconvrnn; a context that is done ends it
// between two runs.
func Run(ctx context.Context, o Options) (*Result, error) {
	if o.Runs < 1 {
		return nil, fmt.Errorf("%w: %d runs; at least 1 is needed", tfconvrnn.ErrOption, o.Runs)
	}
	note := o.Note
	if note == nil {
		note = func(string) {}
	}
	if o.Fetches.Layers == nil {
		o.Fetches.Layers = []string{} // not null in JSON
	}
	r := &Result{Model: o.Model, Fetches: o.Fetches, Runs: o.Runs}
	note("loading the variants")
	models := map[string]*tfconvrnn.Model{}
	defer func() {
		for _, m := range models {
			m.Close()
		}
	}()
	list, err := loadContestants(ctx, &o, models)
	if err != nil {
		return nil, err
	}
	r.Batch = o.Batch
	r.describe(list[0].extraction.Provenance(), o.Threads)
	images, err := tfconvrnn.FromUint8(pictures(r.Batch))
	if err != nil {
		return nil, err
	}
	gemm, err := newGEMM(models[LightCone].SessionConfig())
	if err != nil {
		return nil, err
	}
	defer gemm.close()

	if r.PrecisionError, err = models[LightCone].PrecisionError(ctx); err != nil {
		return nil, err
	}
	note("first runs")
	if r.Difference, err = compare(ctx, list, images); err != nil {
		return nil, err
	}
	for round := range o.Runs {
		note(fmt.Sprintf("round %d of %d", round+1, o.Runs))
		for _, c := range list {
			if err := c.measure(ctx, images); err != nil {
				return nil, err
			}
		}
		if err := gemm.measure(ctx); err != nil {
			return nil, err
		}
	}
	r.Peak = gemm.peak()
	for _, c := range list {
		c.conclude(r.Batch, r.Peak)
	}
	for _, c := range list[1:] {
		r.Ratios = append(r.Ratios, Ratio{
			Of: c.Name, To: LightCone, Seconds: spreadOf(quotients(c.seconds, list[0].seconds)),
			CPU: spreadOf(quotients(c.cpu, list[0].cpu)),
		})
	}
	// The models are closed first, so that the children have the memory for themselves.
	for _, m := range models {
		m.Close()
	}
	if o.Child != nil {
		for _, c := range list {
			note("memory and first results of " + c.Name)
			if err := c.measureChildren(ctx, o); err != nil {
				return nil, err
			}
		}
	}
	for _, c := range list {
		r.Contestants = append(r.Contestants, c.Contestant)
	}
	return r, nil
}

func threads(asked int) int {
	if asked == 0 {
		return runtime.GOMAXPROCS(0)
	}
	return asked
}

func newContestant(m *tfconvrnn.Model, name string, everyLayer bool, o Options) (*contestant, error) {
	x, err := plan(m, o, everyLayer)
	if err != nil {
		return nil, err
	}
	cost, err := x.Cost()
	if err != nil {
		return nil, err
	}
	c := &contestant{extraction: x, Contestant: Contestant{Name: name, GMACOnce: float64(cost.Once) / 1e9}}
	c.GMACPerImage = float64(cost.MACs(x.BatchSize())) / 1e9 / float64(x.BatchSize())
	return c, nil
}

func plan(m *tfconvrnn.Model, o Options, everyLayer bool) (*tfconvrnn.Extraction, error) {
	options := o.ExtractOptions()
	if everyLayer {
		options = append(options, tfconvrnn.EveryLayer())
	}
	return m.Plan(options...)
}

func discard(*tfconvrnn.Batch) error { return nil }

func (c *contestant) measure(ctx context.Context, images []tfconvrnn.Stimulus) error {
	begun, cpu := time.Now(), cpuTime()
	if err := c.extraction.Stream(ctx, slices.Values(images), discard); err != nil {
		return err
	}
	c.seconds = append(c.seconds, time.Since(begun).Seconds())
	c.cpu = append(c.cpu, (cpuTime() - cpu).Seconds())
	return nil
}

// conclude computes what follows from the runs.
func (c *contestant) conclude(batch int, peak Peak) {
	perImage := func(runs []float64) Spread {
		s := spreadOf(runs)
		n := float64(batch)
		return Spread{s.Median / n, s.LowerQuartile / n, s.UpperQuartile / n}
	}
	c.SecondsPerImage, c.CPUSecondsPerImage = perImage(c.seconds), perImage(c.cpu)
	c.ImagesPerSecond = 1 / c.SecondsPerImage.Median
	c.GFLOPS = 2 * c.GMACPerImage / c.SecondsPerImage.Median
	c.OfPeak = c.GFLOPS / peak.GFLOPS
	if cpu := c.CPUSecondsPerImage.Median; cpu > 0 && peak.GFLOPPerCPUSecond > 0 {
		c.GFLOPPerCPUSecond = 2 * c.GMACPerImage / cpu
		c.OfCPUPeak = c.GFLOPPerCPUSecond / peak.GFLOPPerCPUSecond
	}
}

func quotients(a, b []float64) []float64 {
	result := make([]float64, len(a))
	for i := range a {
		if b[i] > 0 { // the clock may be coarse or missing
			result[i] = a[i] / b[i]
		}
	}
	return result
}

var errDifferent = errors.New("the contestants put out different features")

// compare runs everyone for the first time and returns the largest difference from
// the light cone's features of the first image.
func compare(ctx context.Context, list []*contestant, images []tfconvrnn.Stimulus) (float64, error) {
	var want [][]float32
	worst := 0.0
	for i, c := range list {
		var got [][]float32
		err := c.extraction.Stream(ctx, slices.Values(images), func(b *tfconvrnn.Batch) error {
			if b.First > 0 {
				return nil
			}
			for layer, output := range c.extraction.Layers() {
				for t := range output.Timesteps {
					values, err := b.Feature(layer, t, 0)
					if err != nil {
						return err
					}
					got = append(got, slices.Clone(values))
				}
			}
			logits, err := b.Logits(0)
			got = append(got, slices.Clone(logits))
			return err
		})
		if err != nil {
			return 0, err
		}
		if i == 0 {
			want = got
			continue
		}
		for j := range want {
			difference, err := relativeDifference(want[j], got[j])
			if err != nil {
				return 0, fmt.Errorf("%w: %s: %w", errDifferent, c.Name, err)
			}
			worst = max(worst, difference)
		}
	}
	return worst, nil
}

// relativeDifference is max |a - b| / RMS of b.
func relativeDifference(a, b []float32) (float64, error) {
	if len(a) != len(b) {
		return 0, fmt.Errorf("%d values instead of %d", len(b), len(a))
	}
	var largest, squares float64
	for i, v := range b {
		largest = max(largest, math.Abs(float64(v)-float64(a[i])))
		squares += float64(v) * float64(v)
	}
	if largest == 0 {
		return 0, nil
	}
	d := largest / math.Sqrt(squares/float64(len(b)))
	if math.IsNaN(d) || math.IsInf(d, 0) {
		return 0, errors.New("there are values that are no numbers, or 0 in one only")
	}
	return d, nil
}

// pictures returns n different images [n, 224, 224, 3], the same every time.
func pictures(n int) []uint8 {
	const size = tfconvrnn.ImageSize
	pixels := make([]uint8, 0, n*size*size*3)
	for image := range n {
		for y := range size {
			for x := range size {
				for channel := range 3 {
					wave := math.Sin(float64(x*(image+2)+y*(channel+1))/17) + math.Cos(float64(x*y)/900+float64(image))
					pixels = append(pixels, uint8(127.5+60*wave))
				}
			}
		}
	}
	return pixels
}

// Machine is what the figures were measured on.
type Machine struct {
	CPU string `json:"cpu"`
	// Cores are those that the system lets the process use, Threads those that
	// are computed on.
	Cores   int `json:"cores"`
	Threads int `json:"threads"`
	// Instructions are the vector instructions.
	Instructions string `json:"instructions,omitempty"`
	System       string `json:"system"`
	TensorFlow   string `json:"tensorflow"`
	// OneDNN says whether TensorFlow computes with oneDNN.
	OneDNN bool   `json:"onednn"`
	Go     string `json:"go"`
	// Device is the GPU that is computed on, if it is one, GPUs the names of those
	// that the machine has, and Driver NVIDIA's driver.
	Device string   `json:"device,omitempty"`
	GPUs   []string `json:"gpus,omitempty"`
	Driver string   `json:"driver,omitempty"`
	TF32   bool     `json:"tf32,omitempty"`
}

func describeMachine(threads int) Machine {
	features, _ := processor.Features()
	m := Machine{
		Instructions: strings.Join(features, ", "),
		CPU:          processor.Name(), Cores: runtime.NumCPU(), Threads: threads,
		System: runtime.GOOS + "/" + runtime.GOARCH, OneDNN: processor.OneDNNEnabled(), Go: runtime.Version(),
	}
	if loaded := libtf.Loaded(); loaded != nil {
		m.TensorFlow = loaded.Version()
	}
	return m
}

// String describes the machine in a line.
func (m Machine) String() string {
	oneDNN := "oneDNN off"
	if m.OneDNN {
		oneDNN = "oneDNN on"
	}
	var parts []string
	if m.Device != "" {
		parts = append(parts, m.Device)
		if len(m.GPUs) > 0 {
			parts = append(parts, "of "+strings.Join(m.GPUs, " and "))
		}
		if m.Driver != "" {
			parts = append(parts, "driver "+m.Driver)
		}
		if m.TF32 {
			parts = append(parts, "TensorFloat-32")
		}
	}
	parts = append(parts, m.CPU, fmt.Sprintf("%d of %d cores", m.Threads, m.Cores))
	if m.Instructions != "" {
		parts = append(parts, m.Instructions)
	}
	return strings.Join(append(parts, m.System, "TensorFlow "+m.TensorFlow, oneDNN, m.Go), ", ")
}
