package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/benchmark"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

type benchCommand struct {
	modelFlags
	presentationFlags
	layers                                           []string
	allTimes, logits, allModels, onlySpeed, markdown bool
	runs, photographs                                int
	photographsTo                                    features.Format
	child                                            string // in measuring processes: what to measure
}

// The defaults of flags that other commands have too.
const (
	benchModel   = "ugrnn_intermediate"
	benchWeights = "seeded:1"
	benchBatch   = 8
)

func newBench() *cobra.Command {
	b := &benchCommand{}
	cmd := &cobra.Command{Use: "bench [--model MODEL] [flags]", RunE: b.run}
	b.modelFlags.register(cmd)
	b.presentationFlags.register(cmd)
	flags := cmd.Flags()
	setDefault(cmd, "model", benchModel)
	setDefault(cmd, "weights", benchWeights)
	setDefault(cmd, "batch", fmt.Sprint(benchBatch))
	flags.Lookup("weights").Usage = "`WEIGHTS`: trained, a directory with <model>/model.ckpt.*, or seeded:<seed>; they do not matter for the speed"
	addList(cmd, &b.layers, "layers",
		"comma-separated `LAYERS` to extract, all (the default), or logits for the decoded logits alone")
	flags.BoolVar(&b.allTimes, "include-all-times", false, "extract all layers from timestep 0")
	flags.BoolVar(&b.logits, "include-logits", false, "add the decoded logits")
	flags.IntVar(&b.runs, "runs", 5, "`ROUNDS` to measure")
	flags.BoolVar(&b.allModels, "all-models", false, "measure all models, one after the other")
	flags.BoolVar(&b.onlySpeed, "only-speed", false, "measure neither first results nor memory")
	flags.IntVar(&b.photographs, "photographs",
		0, "also extract `N` JPEG photographs of 1000 pixels a side, and say for how much of the time TensorFlow was not running, and how many cores decoding takes")
	addChoice(cmd, &b.photographsTo, "photographs-to", features.NPZ, "format that --photographs extracts to",
		features.NPZ, features.Zarr)
	flags.BoolVar(&b.markdown, "markdown", false, "print a Markdown table")
	addJSON(cmd)
	flags.StringVar(&b.child, "child", "", "")
	_ = flags.MarkHidden("child")
	obey(cmd, notBoth("json", "markdown"), notBoth("model", "all-models"))
	return cmd
}

func (b *benchCommand) run(cmd *cobra.Command, _ []string) error {
	switch {
	case b.runs < 1 || b.runs > 1000:
		return usagef("--runs %d: it must be 1 … 1000", b.runs)
	case b.photographs < 0 || b.photographs > 10_000:
		return usagef("--photographs %d: it must be 0 … 10000", b.photographs)
	}
	names := []string{b.model}
	if b.allModels {
		names = savedmodels.Names()
	}
	switch devices, err := b.gpuFlags.devices(b.device); {
	case err != nil:
		return err
	case len(devices) > 1:
		return usagef("bench measures one device; run it for each")
	}
	// Wrong flags are found before the first model has taken its time.
	for _, name := range names {
		if _, err := b.options(cmd, name); err != nil {
			return err
		}
	}
	if b.child != "" {
		o, err := b.options(cmd, b.model)
		if err != nil {
			return err
		}
		return benchmark.Child(cmd.Context(), o, b.child, cmd.OutOrStdout())
	}
	c := commandConsole(cmd)
	if err := needRuntime(cmd, c); err != nil {
		return err
	}
	out, asJSON := cmd.OutOrStdout(), says(cmd, "json")
	var reports []*benchmark.Report
	for i, name := range names {
		r, err := b.measure(cmd, c, name)
		if err != nil { // what the models before gave is worth printing
			if asJSON && b.allModels {
				err = errors.Join(err, printJSON(out, reports))
			}
			return err
		}
		reports = append(reports, r)
		switch {
		case asJSON:
		case b.markdown:
			if i == 0 {
				r.PrintHead(out)
			}
			r.PrintRow(out)
		default:
			if i > 0 {
				fmt.Fprintln(out)
			}
			r.Print(out)
		}
	}
	switch {
	case !asJSON:
		return nil
	case b.allModels:
		return printJSON(out, reports)
	}
	return printJSON(out, reports[0])
}

// options returns what to measure of a model.
func (b *benchCommand) options(cmd *cobra.Command, name string) (benchmark.Options, error) {
	o := benchmark.Options{Model: name, Batch: b.batch, Runs: b.runs, Threads: b.threads}
	info, err := savedmodels.Lookup(name)
	if err != nil {
		return o, err
	}
	if o.Presentation, err = b.presentation(cmd, info, tfconvrnn.Preprocessing{}); err != nil {
		return o, err
	}
	if len(b.layers) != 1 || b.layers[0] != "logits" {
		layers := b.layers
		if len(layers) == 0 {
			layers = []string{"all"}
		}
		if o.Fetches.Layers, err = info.SelectLayers(layers, nil); err != nil {
			return o, err
		}
	}
	o.Fetches.AllTimesteps, o.Fetches.Logits = b.allTimes, b.logits || len(o.Fetches.Layers) == 0
	if _, _, err := tfconvrnn.Outputs(info, o.ExtractOptions()...); err != nil {
		return o, err
	}
	o.Load, err = b.loadOptions(o.Presentation.Times(info))
	return o, err
}

func (b *benchCommand) measure(cmd *cobra.Command, c *console, name string) (*benchmark.Report, error) {
	o, err := b.options(cmd, name)
	if err != nil {
		return nil, err
	}
	o.Note = func(message string) { c.Note("%s: %s …", name, message) }
	q := benchmark.Request{Options: o, Weights: b.weights, Store: b.store, TemporaryStore: b.allModels && b.store == "",
		Photographs: b.photographs, PhotographsTo: b.photographsTo}
	if !b.onlySpeed {
		q.Arguments = func(store, measurement string) []string { return b.childArgs(cmd, name, store, measurement) }
	}
	return benchmark.Measure(cmd.Context(), q)
}

// childArgs returns the command line of a measuring process: this one's flags, but
// for those that say what to do with the result.
func (b *benchCommand) childArgs(cmd *cobra.Command, model, store, measurement string) []string {
	args := []string{"bench", "--child=" + measurement, "--model=" + model, "--store=" + store}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "child", "model", "store", "all-models", "json", "markdown", "photographs", "photographs-to", "runs",
			"only-speed":
			return
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			for _, value := range list.GetSlice() {
				args = append(args, "--"+f.Name+"="+value)
			}
			return
		}
		args = append(args, "--"+f.Name+"="+f.Value.String())
	})
	return args
}
