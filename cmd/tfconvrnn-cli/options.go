package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// modelFlags say which model is run, and on what.
type modelFlags struct {
	model, store, device string
	weights              tfconvrnn.Weights
	gpuFlags             gpuFlags
	batch, threads       int
	precision            tfconvrnn.Precision
	convolution          tfconvrnn.Convolution
	verify, trust        bool
}

func (f *modelFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	addModel(cmd, &f.model)
	addWeights(cmd, &f.weights)
	addStore(cmd, &f.store)
	flags.StringVar(&f.device, "device", "cpu",
		"`DEVICE`: cpu, gpu, gpu:<number>, or several GPUs that share the batches, gpu:0,gpu:1")
	f.gpuFlags.register(cmd)
	flags.IntVar(&f.batch, "batch", 0, "stimuli computed together (0: choose)")
	flags.IntVar(&f.threads, "threads", 0, "processor cores to compute on (0: all)")
	addParsed(cmd, &f.precision, "precision", tfconvrnn.Float32, tfconvrnn.ParsePrecision,
		"`PRECISION` to compute in: float32 or bfloat16, on processors that have it",
		string(tfconvrnn.Float32), string(tfconvrnn.BFloat16))
	addParsed(cmd, &f.convolution, "convolution", tfconvrnn.ConvolutionAuto, tfconvrnn.ParseConvolution,
		"`HOW` to convolve: auto, by Winograd where that is faster, or direct, as TensorFlow does (the last bits differ)",
		string(tfconvrnn.ConvolutionAuto), string(tfconvrnn.ConvolutionDirect))
	addTrust(cmd, &f.verify, &f.trust)
	addYes(cmd)
	addQuiet(cmd)
	complete(cmd, "device", "cpu", "gpu")
}

func completeModels(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return savedmodels.Names(), cobra.ShellCompDirectiveNoFileComp
}

// completeOneModel completes the argument of commands that take one model.
func completeOneModel(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return savedmodels.Names(), cobra.ShellCompDirectiveNoFileComp
}

// lookup returns the model asked for.
func (f *modelFlags) lookup() (savedmodels.Model, error) {
	if f.model == "" {
		return savedmodels.Model{}, usagef("which model? give --model NAME; %s models lists them", program)
	}
	return savedmodels.Lookup(f.model)
}

// loadOptions returns the library's options for a presentation of so many timesteps.
func (f *modelFlags) loadOptions(times int) ([]tfconvrnn.Option, error) {
	options := append(f.hereOptions(), tfconvrnn.WithWeights(f.weights), tfconvrnn.WithPrecision(f.precision),
		tfconvrnn.WithConvolution(f.convolution))
	if times > convert.DefaultTimes {
		options = append(options, tfconvrnn.WithTimes(times))
	}
	if f.threads != 0 {
		options = append(options, tfconvrnn.WithThreads(f.threads))
	}
	onDevice, err := f.gpuFlags.options(f.device)
	return append(options, onDevice...), err
}

// runFlags say which model is run, and how it is shown what.
type runFlags struct {
	modelFlags
	presentationFlags
	inputFlags
}

// shown returns the model asked for, how its pictures are prepared, and how they are shown.
func (f *runFlags) shown(cmd *cobra.Command) (info savedmodels.Model, p tfconvrnn.Preprocessing,
	presentation tfconvrnn.Presentation, err error) {
	if info, err = f.lookup(); err != nil {
		return info, p, presentation, err
	}
	if p, err = f.preprocessing(); err == nil {
		presentation, err = f.presentation(cmd, info, p)
	}
	return info, p, presentation, err
}

// hereOptions are those that do not change what is computed.
func (f *modelFlags) hereOptions() []tfconvrnn.Option {
	options := []tfconvrnn.Option{tfconvrnn.WithStore(f.store)}
	if f.verify {
		options = append(options, tfconvrnn.WithVerification())
	}
	if f.trust {
		options = append(options, tfconvrnn.WithTrust())
	}
	return options
}

// presentationFlags say how stimuli are shown.
type presentationFlags struct {
	spec            tfconvrnn.PresentationSpec // complete after presentation
	times, imageOff int
	totalMS         float64
	blank           string
	rounded         bool // and said
}

func (f *presentationFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	addParsed(cmd, &f.spec.Name, "presentation", tfconvrnn.DefaultPresentation, tfconvrnn.ParsePresentationName,
		"how images are shown, as a `NAME`: default (as in training), constant (needs --times), neural (260 ms, off at 100 ms) or custom (needs --times and --image-off)",
		string(tfconvrnn.DefaultPresentation), string(tfconvrnn.ConstantPresentation), string(tfconvrnn.NeuralPresentation),
		string(tfconvrnn.CustomPresentation))
	flags.IntVar(&f.times, "times", 0, "number of timesteps of 10 ms")
	flags.IntVar(&f.imageOff, "image-off", 0, "timestep at which the image goes off")
	flags.Float64SliceVar(&f.spec.OnMS, "on-ms", nil,
		"`MILLISECONDS` at which the image comes on (default 0); several for several episodes")
	flags.Float64SliceVar(&f.spec.OffMS, "off-ms", nil,
		"`MILLISECONDS` at which the image goes off, for each --on-ms; the last may be left out")
	flags.Float64Var(&f.totalMS, "total-ms", 0, "length of the presentation in `MILLISECONDS`, instead of --times")
	flags.BoolVar(&f.spec.Round, "round-ms", false,
		"round --on-ms, --off-ms and --total-ms to the nearest timestep of 10 ms")
	addCount(cmd, &f.spec.TimestepsPerFrame, "frames-per-image", 0, 1,
		"timesteps for which each image of a sequence is shown (default 1)")
	flags.StringVar(&f.blank, "blank",
		"published", "what is shown else: published (0.5 after normalization, as in training), gray, black, white, R,G,B (each 0 … 255), #rrggbb or a picture `FILE`")
}

// presentation returns the resolved presentation of single images, or of sequences
// if --frames-per-image is given. Explicit times and image-off change the default
// and neural ones, as in run_model.py.
func (f *presentationFlags) presentation(cmd *cobra.Command, model savedmodels.Model, p tfconvrnn.Preprocessing) (
	shown tfconvrnn.Presentation, err error) {
	changed := cmd.Flags().Changed
	if changed("times") {
		f.spec.Times = &f.times
	}
	if changed("image-off") {
		f.spec.ImageOff = &f.imageOff
	}
	if changed("total-ms") {
		f.spec.TotalMS = &f.totalMS
	}
	if f.spec.Blank, err = tfconvrnn.ParseBlank(f.blank, p); errors.Is(err, tfconvrnn.ErrPresentation) {
		return shown, usage(err)
	} else if err != nil {
		return shown, inputError{err}
	}
	shown, rounded, err := f.spec.Presentation(model)
	if err != nil {
		return shown, usage(err)
	}
	for _, r := range rounded {
		if !f.rounded {
			commandConsole(cmd).Note("--%s-ms %v is rounded to %d ms", r.Of, r.Given, r.Milliseconds)
		}
	}
	f.rounded = true
	return shown, nil
}

// present prints a result: as JSON with --json, or for people to read.
func present(cmd *cobra.Command, result any, print func(io.Writer) error) error {
	if says(cmd, "json") {
		return printJSON(cmd.OutOrStdout(), result)
	}
	return print(cmd.OutOrStdout())
}

// presentf is present with one line for people.
func presentf(cmd *cobra.Command, result any, format string, values ...any) error {
	return present(cmd, result, func(out io.Writer) error {
		_, err := fmt.Fprintf(out, format, values...)
		return err
	})
}

func printJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// gpuFlags say how a GPU is used.
type gpuFlags struct {
	numbers string
	tf32    bool
	memory  string
}

func (f *gpuFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.numbers, "gpu", "", "`NUMBERS` of GPUs, such as 0 or 0,1: short for --device gpu:0,gpu:1")
	flags.BoolVar(&f.tf32, "tf32", false, "let the GPU compute in TensorFloat-32: faster, and less exact")
	f.registerMemory(cmd)
}

func (f *gpuFlags) registerMemory(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.memory, "gpu-memory", "",
		"most GPU memory to take, as a `SIZE` such as 8GiB, or \"all\" to reserve all at once (default: as needed)")
}

// devices returns what --device and --gpu name: the CPU, or GPUs.
func (f *gpuFlags) devices(device string) (tfconvrnn.Devices, error) {
	if f.numbers != "" { // run_model.py: the numbers of the GPUs
		if device != string(tfconvrnn.CPU) {
			return nil, usagef("give --device or --gpu, not both")
		}
		device = "gpu:" + strings.ReplaceAll(strings.ReplaceAll(f.numbers, " ", ""), ",", ",gpu:")
	}
	devices, err := tfconvrnn.ParseDevices(device)
	if err != nil {
		return nil, usage(err)
	}
	return devices, nil
}

// options returns the library's options for what --device and --gpu name.
func (f *gpuFlags) options(device string) ([]tfconvrnn.Option, error) {
	devices, err := f.devices(device)
	if err != nil {
		return nil, err
	}
	options := []tfconvrnn.Option{tfconvrnn.WithDevices(devices...)}
	if devices[0] == tfconvrnn.CPU {
		if f.tf32 || f.memory != "" {
			return nil, usagef("--tf32 and --gpu-memory are for GPUs; add --device gpu")
		}
		return options, nil
	}
	if f.tf32 {
		options = append(options, tfconvrnn.WithTF32())
	}
	switch f.memory {
	case "":
	case "all":
		options = append(options, tfconvrnn.WithGPUMemoryReserved())
	default:
		size, err := humanize.ParseBytes(f.memory)
		if err != nil || size > math.MaxInt64 {
			return nil, usagef("--gpu-memory %q is no size; write for example 8GiB, or all", f.memory)
		}
		options = append(options, tfconvrnn.WithGPUMemoryLimit(int64(size)))
	}
	return options, nil
}

// halvedMessage says that a chosen batch found no memory.
func halvedMessage(to int, err error) string {
	why, _, _ := strings.Cut(err.Error(), "\n") // TensorFlow adds hints for Python
	return fmt.Sprintf("%s; it goes on with %s at once, as --batch %d does", why, plural(to, "stimulus"), to)
}

// sayHalved warns when a chosen batch finds no memory and is halved.
func sayHalved(c *console) func(from, to int, err error) {
	return func(_, to int, err error) { c.warnNotice(halvedMessage(to, err)) }
}
