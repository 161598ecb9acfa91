package main

import (
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// modelFlags say which model is run, and on what.
type modelFlags struct {
	model, store, device      string
	weights                   tfconvrnn.Weights
	gpuFlags                  gpuFlags
	batch, threads            int
	precision                 tfconvrnn.Precision
	convolution               tfconvrnn.Convolution
	yes, quiet, verify, trust bool
}

func (f *modelFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.model, "model", "", "name of the `MODEL`; see \""+program+" models\"")
	addWeights(cmd, &f.weights)
	addStore(cmd, &f.store)
	flags.StringVar(&f.device, "device", "cpu", "`DEVICE`: cpu, gpu, gpu:<number>, or several GPUs that share the batches, gpu:0,gpu:1")
	f.gpuFlags.register(cmd)
	flags.IntVar(&f.batch, "batch", 0, "stimuli computed together (0: choose)")
	flags.IntVar(&f.threads, "threads", 0, "processor cores to compute on (0: all)")
	addParsed(cmd, &f.precision, "precision", tfconvrnn.Float32, tfconvrnn.ParsePrecision, "`PRECISION` to compute in: float32 or bfloat16, on processors that have it",
		string(tfconvrnn.Float32), string(tfconvrnn.BFloat16))
	addParsed(cmd, &f.convolution, "convolution", tfconvrnn.ConvolutionAuto, tfconvrnn.ParseConvolution,
		"`HOW` to convolve: auto, by Winograd where that is faster, or direct, as TensorFlow does (the last bits differ)",
		string(tfconvrnn.ConvolutionAuto), string(tfconvrnn.ConvolutionDirect))
	addTrust(cmd, &f.verify, &f.trust)
	addYes(cmd, &f.yes)
	addQuiet(cmd, &f.quiet)
	_ = cmd.RegisterFlagCompletionFunc("model", completeModels)
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
	options := append(f.hereOptions(), tfconvrnn.WithWeights(f.weights), tfconvrnn.WithPrecision(f.precision), tfconvrnn.WithConvolution(f.convolution))
	if times > convert.DefaultTimes {
		options = append(options, tfconvrnn.WithTimes(times))
	}
	if f.threads != 0 {
		options = append(options, tfconvrnn.WithThreads(f.threads))
	}
	onDevice, err := f.gpuFlags.options(f.device)
	return append(options, onDevice...), err
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
	name            string
	times, imageOff int
	blank           string
	onMS, offMS     []float64
	totalMS         float64
	roundMS         bool
	rounded         bool // and said
	framesPerImage  int
}

func (f *presentationFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.name, "presentation", "default", "how images are shown, as a `NAME`: default (as in training), constant (needs --times), neural (260 ms, off at 100 ms) or custom (needs --times and --image-off)")
	flags.IntVar(&f.times, "times", 0, "number of timesteps of 10 ms")
	flags.IntVar(&f.imageOff, "image-off", 0, "timestep at which the image goes off")
	flags.Float64SliceVar(&f.onMS, "on-ms", nil, "`MILLISECONDS` at which the image comes on (default 0); several for several episodes")
	flags.Float64SliceVar(&f.offMS, "off-ms", nil, "`MILLISECONDS` at which the image goes off, for each --on-ms; the last may be left out")
	flags.Float64Var(&f.totalMS, "total-ms", 0, "length of the presentation in `MILLISECONDS`, instead of --times")
	flags.BoolVar(&f.roundMS, "round-ms", false, "round --on-ms, --off-ms and --total-ms to the nearest timestep of 10 ms")
	flags.IntVar(&f.framesPerImage, "frames-per-image", 0, "timesteps for which each image of a sequence is shown (default 1)")
	flags.StringVar(&f.blank, "blank", "published", "what is shown else: published (0.5 after normalization, as in training), gray, black, white, R,G,B (each 0 … 255), #rrggbb or a picture `FILE`")
	complete(cmd, "presentation", "default", "constant", "neural", "custom")
}

// presentation returns the resolved presentation of single images, or of sequences
// if --frames-per-image is given. Explicit times and image-off change the default
// and neural ones, as in run_model.py.
func (f *presentationFlags) presentation(cmd *cobra.Command, model savedmodels.Model, p tfconvrnn.Preprocessing) (tfconvrnn.Presentation, error) {
	if cmd.Flags().Changed("frames-per-image") && f.framesPerImage < 1 {
		return tfconvrnn.Presentation{}, usagef("--frames-per-image %d: an image is shown for at least 1 timestep", f.framesPerImage)
	}
	return f.sequence(cmd, model, p, f.framesPerImage)
}

// sequence returns the resolved presentation of sequences whose images are shown
// for so many timesteps each; 0 shows the first image of each.
func (f *presentationFlags) sequence(cmd *cobra.Command, model savedmodels.Model, p tfconvrnn.Preprocessing, timestepsPerFrame int) (tfconvrnn.Presentation, error) {
	specification := tfconvrnn.PresentationSpec{Name: f.name, OnMS: f.onMS, OffMS: f.offMS, Round: f.roundMS, TimestepsPerFrame: timestepsPerFrame}
	if f.name == "" {
		return tfconvrnn.Presentation{}, usagef("--presentation names no presentation; there are default, constant, neural and custom")
	}
	if cmd.Flags().Changed("times") {
		specification.Times = &f.times
	}
	if cmd.Flags().Changed("image-off") {
		specification.ImageOff = &f.imageOff
	}
	if cmd.Flags().Changed("total-ms") {
		specification.TotalMS = &f.totalMS
	}
	blank, err := tfconvrnn.ParseBlank(f.blank, p)
	switch {
	case errors.Is(err, tfconvrnn.ErrPresentation):
		return tfconvrnn.Presentation{}, usage(err)
	case err != nil:
		return tfconvrnn.Presentation{}, inputError{err}
	}
	specification.Blank = blank
	shown, rounded, err := specification.Presentation(model)
	if err != nil {
		return shown, usage(err)
	}
	if !f.rounded {
		f.rounded = true
		quiet, err := cmd.Flags().GetBool("quiet")
		for _, r := range rounded {
			commandConsole(cmd, quiet && err == nil).note("--%s-ms %v is rounded to %d ms", r.Of, r.Given, r.Milliseconds)
		}
	}
	return shown, nil
}

// visible says which frames of sequences are ever shown.
func (f *presentationFlags) visible(cmd *cobra.Command, model savedmodels.Model, p tfconvrnn.Preprocessing) ([]bool, error) {
	perFrame := max(f.framesPerImage, 1)
	shown, err := f.sequence(cmd, model, p, perFrame)
	if err != nil {
		return nil, err
	}
	return stimuli.VisibleFrames(shown, (shown.Times(model)+perFrame-1)/perFrame), nil
}

// stimulusKinds says what of stimuli decides how they are shown.
type stimulusKinds struct {
	timed, sequences bool
	stills           int
}

// settle returns the presentation that stimuli of these kinds demand, if it is not that
// of single pictures.
func (f *presentationFlags) settle(cmd *cobra.Command, model savedmodels.Model, p tfconvrnn.Preprocessing, kinds stimulusKinds, c *console) (shown tfconvrnn.Presentation, changed bool, err error) {
	each := plural(max(f.framesPerImage, 1), "timestep")
	switch {
	case !kinds.sequences:
		return shown, false, nil
	case kinds.timed && f.framesPerImage > 1:
		return shown, false, usagef("a table with timesteps says when images appear; leave out --frames-per-image")
	case kinds.stills > 0 && f.framesPerImage == 0:
		return shown, false, usagef("%s among sequences would be shown for %s only, as each image of a sequence; give --frames-per-image if that is meant, or run them by themselves",
			plural(kinds.stills, "still picture"), each)
	case kinds.stills > 0:
		c.warn("%s among sequences are shown for %s only, as each image of a sequence", plural(kinds.stills, "still picture"), each)
	}
	if f.framesPerImage > 0 {
		return shown, false, nil
	}
	if kinds.timed {
		c.note("timesteps of the table count from the first onset; the last image of each stimulus stays until the presentation hides it")
	} else {
		c.note("each image of a sequence is shown for 1 timestep of 10 ms; --frames-per-image changes that")
	}
	shown, err = f.sequence(cmd, model, p, 1)
	return shown, true, err
}

// splitList splits a comma-separated list, without empty items.
func splitList(lists []string) []string {
	var items []string
	for _, list := range lists {
		for _, item := range strings.Split(list, ",") {
			if item = strings.TrimSpace(item); item != "" {
				items = append(items, item)
			}
		}
	}
	return items
}

func printJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
