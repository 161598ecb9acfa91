package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tfconvrnn/go/internal/benchmark"
	"github.com/tfconvrnn/go/internal/cachedir"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

type benchCommand struct {
	modelFlags
	presentationFlags
	layers           []string
	allTimes, logits bool
	allModels        bool
	runs             int
	photographs      int
	onlySpeed        bool
	asJSON, markdown bool
	child            string // in measuring processes: what to measure
}

// The defaults of flags that other commands have too.
const (
	benchModel   = "ugrnn_intermediate"
	benchWeights = "seeded:1"
	benchBatch   = 8
)

func newBench() *cobra.Command {
	b := &benchCommand{}
	cmd := &cobra.Command{
		Use:   "bench [--model MODEL] [flags]",
		Short: "Measure the speed, next to that of the published way to compute",
		Long: `Measure the speed of feature extraction next to that of the published way to
compute. In one process, on the same images, these take turns:

  light cone          what all other commands do
  plain, pruned       the obvious unroll, weights as variables, as far as the
                      fetches need it
  plain, every layer  the same, every layer at every timestep, as published

A ratio is the median of those of every round, with quartiles in parentheses.
Multiply-accumulates (MAC, two floating-point operations each) of convolutions and
matrix products are counted from the graphs. The peak is the best of some large
matrix products that the same library computes on the same device between the runs;
with the speed at which it reads memory they make the roofline: what computes fewer
operations than the ridge for each byte it reads or writes is limited by memory.
CPU seconds are those of all cores together; they depend less than wall time on
what else the machine does. First result is the time from the start of a new
process to the features of one image, with the model already converted; first ever
the same where no earlier process has kept what is the same for all images; other
fetches that of a second request in the process. Peak memory is that of a process that runs
the batch twice. With --device gpu all of it runs on the GPU, except that CPU seconds
are those of the host.

Both variants are converted first where the store lacks them. With --all-models they
are put into a temporary store, unless --store names one, and removed again.`,
		Example: `  ` + program + ` bench --model rgc_intermediate --batch 1 --layers conv9,conv10,imnetds
  ` + program + ` bench --layers logits --runs 9
  ` + program + ` bench --device gpu --batch 32 --model ugrnn_intermediate
  ` + program + ` bench --all-models --markdown`,
		Args: usageArgs(cobra.NoArgs),
		RunE: b.run,
	}
	b.modelFlags.register(cmd)
	b.presentationFlags.register(cmd)
	flags := cmd.Flags()
	setDefault(flags, "model", benchModel)
	setDefault(flags, "weights", benchWeights)
	setDefault(flags, "batch", fmt.Sprint(benchBatch))
	flags.Lookup("weights").Usage = "`WEIGHTS`: trained, a directory with <model>/model.ckpt.*, or seeded:<seed>; they do not matter for the speed"
	flags.StringArrayVar(&b.layers, "layers", nil, "comma-separated `LAYERS` to extract, all (the default), or logits for the decoded logits alone")
	flags.BoolVar(&b.allTimes, "include-all-times", false, "extract all layers from timestep 0")
	flags.BoolVar(&b.logits, "include-logits", false, "add the decoded logits")
	flags.IntVar(&b.runs, "runs", 5, "`ROUNDS` to measure")
	flags.BoolVar(&b.allModels, "all-models", false, "measure all models, one after the other")
	flags.BoolVar(&b.onlySpeed, "only-speed", false, "measure neither first results nor memory")
	flags.IntVar(&b.photographs, "photographs", 0, "also extract `N` JPEG photographs of 1000 pixels a side to an .npz file, and say for how much of the time TensorFlow was not running")
	flags.BoolVar(&b.markdown, "markdown", false, "print a Markdown table")
	addJSON(cmd, &b.asJSON)
	flags.StringVar(&b.child, "child", "", "")
	_ = flags.MarkHidden("child")
	return cmd
}

// setDefault changes a flag's default value.
func setDefault(flags *pflag.FlagSet, name, value string) {
	flag := flags.Lookup(name)
	if err := flag.Value.Set(value); err != nil {
		panic(err) // a constant of this file
	}
	flag.DefValue = value
}

// benchReport is what bench prints of a model.
type benchReport struct {
	benchmark.Result
	WeightsFrom tfconvrnn.Weights      `json:"weights"`
	Photographs *benchmark.Photographs `json:"photographs,omitempty"`
}

func (b *benchCommand) run(cmd *cobra.Command, _ []string) error {
	switch {
	case b.runs < 1 || b.runs > 1000:
		return usagef("--runs %d: it must be 1 … 1000", b.runs)
	case b.photographs < 0 || b.photographs > 10_000:
		return usagef("--photographs %d: it must be 0 … 10000", b.photographs)
	case b.asJSON && b.markdown:
		return usagef("give --json or --markdown, not both")
	case b.allModels && cmd.Flags().Changed("model"):
		return usagef("give --model or --all-models, not both")
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
	c := commandConsole(cmd, b.quiet)
	if err := needRuntime(cmd, c, b.yes); err != nil {
		return err
	}
	var reports []*benchReport
	var err error
	for i, name := range names {
		var r *benchReport
		if r, err = b.measure(cmd, c, name); err != nil {
			break // what the models before gave is worth printing
		}
		reports = append(reports, r)
		switch {
		case b.asJSON:
		case b.markdown:
			if i == 0 {
				printBenchHead(cmd.OutOrStdout(), r)
			}
			r.printRow(cmd.OutOrStdout())
		default:
			if i > 0 {
				fmt.Fprintln(cmd.OutOrStdout())
			}
			r.print(cmd.OutOrStdout())
		}
	}
	if !b.asJSON {
		return err
	}
	if !b.allModels {
		if err != nil {
			return err
		}
		return printJSON(cmd.OutOrStdout(), reports[0])
	}
	return errors.Join(err, printJSON(cmd.OutOrStdout(), reports))
}

// options returns what to measure of a model.
func (b *benchCommand) options(cmd *cobra.Command, name string) (benchmark.Options, error) {
	o := benchmark.Options{Model: name, Batch: b.batch, Runs: b.runs, Threads: b.threads}
	info, err := savedmodels.Lookup(name)
	if err != nil {
		return o, err
	}
	presentation, err := b.presentation(cmd, info, tfconvrnn.Preprocessing{})
	if err != nil {
		return o, err
	}
	o.Presentation = presentation
	if layers := splitList(b.layers); len(layers) != 1 || layers[0] != "logits" {
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
	o.Load, err = b.loadOptions(presentation.Times(info))
	return o, err
}

func (b *benchCommand) measure(cmd *cobra.Command, c *console, name string) (_ *benchReport, err error) {
	ctx := cmd.Context()
	store := b.store
	if b.allModels && store == "" {
		root, err := cachedir.Root()
		if err != nil {
			return nil, err
		}
		if err := os.MkdirAll(root, 0o777); err != nil {
			return nil, err
		}
		if store, err = os.MkdirTemp(root, "bench-"); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(store)) }()
	}
	o, err := b.options(cmd, name)
	if err != nil {
		return nil, err
	}
	o.Load = append(o.Load, tfconvrnn.WithStore(store))
	o.Note = func(message string) { c.note("%s: %s …", name, message) }
	if !b.onlySpeed {
		executable, err := os.Executable()
		if err != nil {
			return nil, err
		}
		o.Child = func(ctx context.Context, measurement string) *exec.Cmd {
			return exec.CommandContext(ctx, executable, b.childArgs(cmd, name, store, measurement)...)
		}
	}
	result, err := benchmark.Run(ctx, o)
	if err != nil {
		return nil, err
	}
	r := &benchReport{Result: *result, WeightsFrom: b.weights}
	if b.photographs > 0 {
		o.Note("extracting photographs")
		if r.Photographs, err = benchmark.ExtractPhotographs(ctx, o, b.photographs); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// childArgs returns the command line of a measuring process: this one's flags, but
// for those that say what to do with the result.
func (b *benchCommand) childArgs(cmd *cobra.Command, model, store, measurement string) []string {
	args := []string{"bench", "--child=" + measurement, "--model=" + model, "--store=" + store}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "child", "model", "store", "all-models", "json", "markdown", "photographs", "runs", "only-speed":
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

// contestantNames are what people read.
var contestantNames = map[string]string{
	benchmark.LightCone:       "light cone",
	benchmark.LightConeDirect: "light cone, direct",
	benchmark.PlainPruned:     "plain, pruned",
	benchmark.PlainEveryLayer: "plain, every layer",
}

func (r *benchReport) fetches() string {
	f := r.Fetches
	if len(f.Layers) == 0 {
		return "decoded logits"
	}
	text := strings.Join(f.Layers, ",")
	if info, err := savedmodels.Lookup(r.Model); err == nil && len(f.Layers) == len(info.Layers) {
		text = "all layers"
	}
	if f.AllTimesteps {
		text += " at all timesteps"
	}
	if f.Logits {
		text += " and logits"
	}
	return text
}

// about says what was measured, except the model.
func (r *benchReport) about() string {
	weights := "weights " + string(r.WeightsFrom)
	if r.Untrained {
		weights += " (untrained)"
	}
	return fmt.Sprintf("%s, %s, %s, batch %d, median of %s, %s", r.fetches(), r.Presentation, plural(r.Times, "timestep"), r.Batch, plural(r.Runs, "run"), weights)
}

func quartiles(s benchmark.Spread) string {
	return fmt.Sprintf("%.2f (%.2f … %.2f)", s.Median, s.LowerQuartile, s.UpperQuartile)
}

func (r *benchReport) print(out io.Writer) {
	fmt.Fprintf(out, "%s: %s\n%s\n", r.Model, r.about(), r.Machine)
	fmt.Fprintf(out, "GEMM peak %.0f GFLOP/s (%s, median %.0f)", r.Peak.GFLOPS, shapeText(r.Peak.Shape[:]), r.Peak.MedianGFLOPS)
	if r.Peak.GFLOPPerCPUSecond > 0 {
		fmt.Fprintf(out, ", %.0f GFLOP per CPU second", r.Peak.GFLOPPerCPUSecond)
	}
	fmt.Fprintf(out, "\nmemory read at %.0f GB/s, ridge at %.0f FLOP per byte\n\n", r.Peak.MemoryGBPerSecond, r.Peak.Ridge)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name string, value func(c *benchmark.Contestant) string) {
		fmt.Fprint(table, name)
		for i := range r.Contestants {
			fmt.Fprint(table, "\t", value(&r.Contestants[i]))
		}
		fmt.Fprintln(table)
	}
	row("", func(c *benchmark.Contestant) string { return contestantNames[c.Name] })
	row("images/s", func(c *benchmark.Contestant) string { return fmt.Sprintf("%.2f", c.ImagesPerSecond) })
	row("seconds per image", func(c *benchmark.Contestant) string { return quartiles3(c.SecondsPerImage) })
	row("CPU seconds per image", func(c *benchmark.Contestant) string { return quartiles3(c.CPUSecondsPerImage) })
	row("GMAC per image", func(c *benchmark.Contestant) string { return fmt.Sprintf("%.2f", c.GMACPerImage) })
	row("GMAC once", func(c *benchmark.Contestant) string { return fmt.Sprintf("%.2f", c.GMACOnce) })
	row("GFLOP/s", func(c *benchmark.Contestant) string {
		return fmt.Sprintf("%.0f, %.0f %% of peak", c.GFLOPS, 100*c.OfPeak)
	})
	if r.Peak.GFLOPPerCPUSecond > 0 {
		row("GFLOP per CPU second", func(c *benchmark.Contestant) string {
			return fmt.Sprintf("%.0f, %.0f %% of peak", c.GFLOPPerCPUSecond, 100*c.OfCPUPeak)
		})
	}
	measured := func(seconds func(f *benchmark.FirstResult) float64) func(c *benchmark.Contestant) string {
		return func(c *benchmark.Contestant) string {
			if c.FirstResult == nil {
				return "-"
			}
			return fmt.Sprintf("%.2f s", seconds(c.FirstResult))
		}
	}
	row("first result", measured(func(f *benchmark.FirstResult) float64 { return f.FromProcessStart }))
	row("first ever", measured(func(f *benchmark.FirstResult) float64 { return f.WithoutKept }))
	row("other fetches", measured(func(f *benchmark.FirstResult) float64 { return f.OtherFetches }))
	row("peak memory", func(c *benchmark.Contestant) string { return memory(c.PeakRSSBytes) })
	table.Flush()
	fmt.Fprintln(out)
	for _, line := range []struct{ name, against string }{
		{benchmark.PlainEveryLayer, "every layer at every timestep, as published"},
		{benchmark.PlainPruned, "pruned to what the fetches need"},
	} {
		if ratio := r.Ratio(line.name); ratio != nil {
			fmt.Fprintf(out, "ratio to the plain variant, %s: %s; in CPU seconds %s\n", line.against, quartiles(ratio.Seconds), quartiles(ratio.CPU))
		}
	}
	if ratio := r.Ratio(benchmark.LightConeDirect); ratio != nil {
		fmt.Fprintf(out, "ratio to direct convolutions (--convolution direct): %s; in CPU seconds %s\n", quartiles(ratio.Seconds), quartiles(ratio.CPU))
	}
	fmt.Fprintf(out, "largest difference between the variants' features: %.1e of a layer's RMS\n", r.Difference)
	if r.PrecisionError != nil {
		fmt.Fprintln(out, precisionLine(r.PrecisionError))
	}
	if p := r.Photographs; p != nil {
		fmt.Fprintf(out, "%d JPEG photographs to npz (%s): %.1f s, TensorFlow was not running for %.1f %% of it\n",
			p.Count, humanize.Bytes(uint64(p.OutputBytes)), p.Seconds, 100*p.OutsideSession)
	}
}

func quartiles3(s benchmark.Spread) string {
	return fmt.Sprintf("%.3f (%.3f … %.3f)", s.Median, s.LowerQuartile, s.UpperQuartile)
}

func memory(bytes int64) string {
	if bytes == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f GB", float64(bytes)/1e9)
}

func printBenchHead(out io.Writer, r *benchReport) {
	fmt.Fprintf(out, "%s. %s.\n\n", capitalized(r.about()), r.Machine)
	fmt.Fprintln(out, "| model | plain, s/image | light cone, s/image | ratio (quartiles) | to the pruned plain variant | GMAC/image, plain → light cone | GFLOP/s, of peak | first result | peak memory, plain → light cone |")
	fmt.Fprintln(out, "| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
}

func capitalized(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func (r *benchReport) printRow(out io.Writer) {
	ours, plain := r.Contestant(benchmark.LightCone), r.Contestant(benchmark.PlainEveryLayer)
	every, pruned := r.Ratio(benchmark.PlainEveryLayer), r.Ratio(benchmark.PlainPruned)
	if ours == nil || plain == nil || every == nil || pruned == nil {
		return
	}
	first := "-"
	if ours.FirstResult != nil {
		first = fmt.Sprintf("%.1f s", ours.FirstResult.FromProcessStart)
	}
	fmt.Fprintf(out, "| %s | %.3f | %.3f | %s | %s | %.1f → %.1f | %.0f, %.0f %% | %s | %s → %s |\n",
		r.Model, plain.SecondsPerImage.Median, ours.SecondsPerImage.Median, quartiles(every.Seconds), quartiles(pruned.Seconds),
		plain.GMACPerImage, ours.GMACPerImage, ours.GFLOPS, 100*ours.OfPeak, first, memory(plain.PeakRSSBytes), memory(ours.PeakRSSBytes))
}
