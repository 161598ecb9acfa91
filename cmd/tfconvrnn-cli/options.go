package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// modelFlags say which model is run, and on what.
type modelFlags struct {
	model, weights, store, device string
	gpu                           string
	batch, threads                int
	yes, quiet, verify            bool
}

func (f *modelFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.model, "model", "", "name of the `MODEL`; see \""+program+" models\"")
	flags.StringVar(&f.weights, "weights", "", "`WEIGHTS`: trained (the default), a directory with <model>/model.ckpt.*, or seeded:<seed> for an untrained model")
	flags.StringVar(&f.store, "store", "", "`DIR` of converted models (default: in the user's cache)")
	flags.StringVar(&f.device, "device", "cpu", "`DEVICE`: cpu, gpu or gpu:<number>")
	flags.StringVar(&f.gpu, "gpu", "", "")
	_ = flags.MarkHidden("gpu")
	flags.IntVar(&f.batch, "batch", 0, "stimuli computed together (0: choose)")
	flags.IntVar(&f.threads, "threads", 0, "processor cores to compute on (0: all)")
	flags.BoolVar(&f.verify, "verify", false, "check the converted model's checksums before loading it")
	addYes(cmd, &f.yes)
	addQuiet(cmd, &f.quiet)
	_ = cmd.RegisterFlagCompletionFunc("model", completeModels)
	_ = cmd.RegisterFlagCompletionFunc("device", cobra.FixedCompletions([]string{"cpu", "gpu"}, cobra.ShellCompDirectiveNoFileComp))
}

func addYes(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVarP(yes, "yes", "y", false, "install the TensorFlow runtime without asking if it is missing (also with CI=true in the environment)")
}

func addQuiet(cmd *cobra.Command, quiet *bool) {
	cmd.Flags().BoolVarP(quiet, "quiet", "q", false, "no progress on standard error")
}

func addJSON(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print JSON")
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
	if _, err := savedmodels.ParseWeights(f.weights); err != nil {
		return nil, err
	}
	options := []tfconvrnn.Option{tfconvrnn.WithWeights(f.weights), tfconvrnn.WithStore(f.store)}
	if times > convert.DefaultTimes {
		options = append(options, tfconvrnn.WithTimes(times))
	}
	if f.threads != 0 {
		options = append(options, tfconvrnn.WithThreads(f.threads))
	}
	if f.verify {
		options = append(options, tfconvrnn.WithVerification())
	}
	device := f.device
	if f.gpu != "" { // run_model.py: the number of the GPU
		device = "gpu:" + f.gpu
	}
	onDevice, err := deviceOptions(device)
	return append(options, onDevice...), err
}

// deviceOptions returns the library's options for a device.
func deviceOptions(device string) ([]tfconvrnn.Option, error) {
	kind, number, numbered := strings.Cut(device, ":")
	if numbered {
		if n, err := strconv.Atoi(number); err != nil || n < 0 {
			return nil, usagef("device %q: the number of a GPU is 0, 1, …", device)
		}
	}
	switch {
	case device == "cpu":
		return nil, nil
	case kind == "gpu":
		return nil, fmt.Errorf("%w: this version computes on the processor only; use --device cpu", tfconvrnn.ErrDevice)
	}
	return nil, usagef("unknown device %q; there are cpu, gpu and gpu:<number>", device)
}

// presentationFlags say how stimuli are shown.
type presentationFlags struct {
	name            string
	times, imageOff int
	blank           string
}

func (f *presentationFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.name, "presentation", "default", "how images are shown, as a `NAME`: default (as in training), constant (needs --times), neural (260 ms, off at 100 ms) or custom (needs --times and --image-off)")
	flags.IntVar(&f.times, "times", 0, "number of timesteps of 10 ms")
	flags.IntVar(&f.imageOff, "image-off", 0, "timestep at which the image goes off")
	flags.StringVar(&f.blank, "blank", "published", "what is shown then: published (0.5 after normalization, as in training), gray, black, white, R,G,B (each 0 … 255) or a picture `FILE`")
	_ = cmd.RegisterFlagCompletionFunc("presentation", cobra.FixedCompletions([]string{"default", "constant", "neural", "custom"}, cobra.ShellCompDirectiveNoFileComp))
}

// neuralPresentation is that of tfconvrnn.Neural.
var neuralPresentation = savedmodels.Presentation{Times: 26, ImageOff: 10}

// presentation returns the resolved presentation. Explicit times and image-off
// change the default and neural ones, as in run_model.py.
func (f *presentationFlags) presentation(cmd *cobra.Command, model savedmodels.Model, p tfconvrnn.Preprocessing) (tfconvrnn.Presentation, error) {
	timesSet, offSet := cmd.Flags().Changed("times"), cmd.Flags().Changed("image-off")
	var shown tfconvrnn.Presentation
	switch f.name {
	case "default":
		shown = tfconvrnn.Default()
		if timesSet || offSet {
			shown = f.changed(model.Default, timesSet, offSet)
		}
	case "neural":
		shown = tfconvrnn.Neural()
		if timesSet || offSet {
			shown = f.changed(neuralPresentation, timesSet, offSet)
		}
	case "constant":
		if offSet {
			return shown, usagef("a constant image never goes off; leave out --image-off, or use --presentation custom")
		}
		if !timesSet {
			return shown, usagef("--presentation constant needs --times, the number of timesteps")
		}
		shown = tfconvrnn.Constant(f.times)
	case "custom":
		if !timesSet || !offSet {
			return shown, usagef("--presentation custom needs --times and --image-off")
		}
		shown = tfconvrnn.Custom(f.times, f.imageOff)
	default:
		return shown, usagef("unknown presentation %q; there are default, constant, neural and custom", f.name)
	}
	blank, err := parseBlank(f.blank, p)
	if err != nil {
		return shown, err
	}
	return shown.WithBlank(blank).Resolve(model)
}

// changed returns a standard presentation with other times, another image-off, or
// both.
func (f *presentationFlags) changed(standard savedmodels.Presentation, timesSet, offSet bool) tfconvrnn.Presentation {
	times, off := standard.Times, standard.ImageOff
	if timesSet {
		times = f.times
		if standard.ImageOff >= standard.Times || off > times { // never off
			off = times
		}
	}
	if offSet {
		off = f.imageOff
	}
	return tfconvrnn.Custom(times, off)
}

func parseBlank(s string, p tfconvrnn.Preprocessing) (tfconvrnn.Blank, error) {
	switch s {
	case "published", "":
		return tfconvrnn.PublishedBlank(), nil
	case "gray", "grey":
		return tfconvrnn.ColorBlank(0.5, 0.5, 0.5)
	case "black":
		return tfconvrnn.ColorBlank(0, 0, 0)
	case "white":
		return tfconvrnn.ColorBlank(1, 1, 1)
	}
	if parts := strings.Split(s, ","); len(parts) == 3 {
		var rgb [3]float64
		valid := true
		for i, part := range parts {
			v, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
			valid = valid && err == nil && v >= 0 && v <= 255
			rgb[i] = v / 255
		}
		if !valid {
			return tfconvrnn.Blank{}, usagef("--blank %s: each of R,G,B must be 0 … 255", s)
		}
		return tfconvrnn.ColorBlank(rgb[0], rgb[1], rgb[2])
	}
	stimuli, err := tfconvrnn.ReadImagesAs(p, s)
	if err != nil {
		return tfconvrnn.Blank{}, inputf("--blank is neither published, gray, black, white, R,G,B nor a picture: %w", err)
	}
	return tfconvrnn.ImageBlank("image("+stimuli[0].ID+")", stimuli[0].Frames[0]), nil
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

// selectLayers returns the layers that --layers and --areas name, each once:
// the readout, as run_model.py, if they name none.
func selectLayers(model savedmodels.Model, layers, areas []string) ([]string, error) {
	var selected []string
	add := func(names ...string) {
		for _, name := range names {
			if !slices.Contains(selected, name) {
				selected = append(selected, name)
			}
		}
	}
	for _, name := range splitList(layers) {
		if name == "all" {
			for _, l := range model.Layers {
				add(l.Name)
			}
			continue
		}
		if _, err := model.Layer(name); err != nil {
			return nil, err
		}
		add(name)
	}
	for _, area := range splitList(areas) {
		names, err := model.AreaLayers(area)
		if err != nil {
			return nil, err
		}
		add(names...)
	}
	if len(selected) == 0 {
		selected = []string{model.Layers[len(model.Layers)-1].Name}
	}
	return selected, nil
}

func printJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
