package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/savedmodels"
)

type extractCommand struct {
	runFlags
	recipe            extraction.Recipe // as far as flags fill it
	layers, areas     []string
	out, format       string
	forceSize, dryRun bool
	resume            bool
	chunk             int
	planFile          string // of extract plan
	windows           []compare.Bin
	keepFeatures      bool
	trace             string
	compares          bool            // for a comparison, which has no --resume
	discards          bool            // and goes on without a file where the disk is full
	into              features.Writer // instead of a file
}

func newExtract() *cobra.Command {
	e := &extractCommand{}
	cmd := &cobra.Command{Use: "extract --model MODEL --out FILE [flags] INPUT…", Args: cobra.ArbitraryArgs,
		ValidArgsFunction: completeFiles, RunE: e.run}
	e.register(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&e.out, "out", "o", "", "`FILE` to write: "+features.FormatSuffixes()+
		", a folder "+extraction.GramSuffix+", or a Zarr store s3://bucket/name")
	flags.StringVar(&e.format, "format", "", "its `FORMAT`, if the name does not tell it: "+features.FormatNames())
	complete(cmd, "format", strings.Split(features.FormatNames(), ", ")...)
	flags.BoolVar(&e.resume, "resume", false, "go on with an interrupted run, if there is one")
	flags.BoolVar(&e.dryRun, "dry-run", false, "only print what would be computed and how large the output would be")
	flags.StringVar(&e.trace, "trace",
		"", "write when each batch was decoded, queued, run and written to `FILE` (JSON), for ui.perfetto.dev or chrome://tracing")
	obey(cmd, differ("out", "trace"))
	cmd.AddCommand(newExtractPlan(), newExtractWork(), newExtractStatus(), newExtractFinish())
	return cmd
}

func completeFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// register adds the flags that say what is computed.
func (e *extractCommand) register(cmd *cobra.Command) {
	e.modelFlags.register(cmd)
	e.presentationFlags.register(cmd)
	e.inputFlags.register(cmd)
	e.inputFlags.registerColumns(cmd)
	flags, r := cmd.Flags(), &e.recipe
	addList(cmd, &e.layers, "layers", "comma-separated `LAYERS`, or all (default imnetds)")
	addList(cmd, &e.areas, "areas", "brain `AREAS` whose best-matching layers to take: V4, pIT, cIT, aIT, IT")
	flags.BoolVar(&r.AllTimesteps, "include-all-times", false, "report all layers from timestep 0")
	flags.BoolVar(&r.Logits, "include-logits", false, "add the decoded logits")
	flags.StringArrayVar(&r.Selections, "select",
		nil, "`UNITS` of a layer to take, as LAYER=UNITS: center, (row,column) or channels(0,3,8-15), or a position and channels joined by +; repeat it for several layers")
	flags.StringArrayVar(&r.Reductions, "reduce",
		nil, "`REDUCTION` of the features: gap, pool(k) or sparse(d,seed), for all layers or as LAYER=REDUCTION; repeat it for several layers")
	addParsed(cmd, &r.DataType, "dtype", features.Float32, extraction.ParseDataType,
		"`TYPE` of the features in the output: float32 or float16", "float32", "float16")
	flags.BoolVar(&r.Replace, "force", false, "replace an existing output")
	flags.BoolVar(&e.forceSize, "force-size", false, "write even if the disk does not seem to have the room")
	addParsed(cmd, &r.OnError, "on-error", extraction.Fail, extraction.ParseOnError,
		"what to do with a stimulus that cannot be read: fail, or skip (its features are NaN, and the output holds a mask; if none can be read, there is no output)",
		"fail", "skip")
	flags.IntVar(&e.chunk, "chunk",
		0, "`STIMULI` in a chunk of a Zarr output, which is computed and written whole; rounded to whole batches (default: chunks of about 8 MiB)")
	addWindows(cmd, &e.windows, "of Gram matrices: ")
	flags.BoolVar(&e.keepFeatures, "keep-features", false,
		"of Gram matrices: leave the Zarr store of the features beside them, under their name with .zarr")
	addJSON(cmd)
	_ = cmd.RegisterFlagCompletionFunc("layers", e.completeLayers)
	complete(cmd, "areas", "V4", "pIT", "cIT", "aIT", "IT")
}

func (e *extractCommand) completeLayers(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	names := []string{"all"}
	if model, err := savedmodels.Lookup(e.model); err == nil {
		for _, l := range model.Layers {
			names = append(names, l.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// extractReport is what extract prints.
type extractReport struct {
	Output string `json:"output,omitempty"`
	DryRun bool   `json:"dry_run,omitempty"`
	extraction.Description
	Untrained    bool                        `json:"untrained"`
	Resumed      int                         `json:"resumed,omitempty"` // stimuli of an interrupted run
	Skipped      []extraction.FailedStimulus `json:"skipped,omitempty"`
	Noticed      map[string]int              `json:"noticed,omitempty"` // pictures of each kind that may surprise
	Seconds      float64                     `json:"seconds,omitempty"`
	ImagesPerSec float64                     `json:"images_per_second,omitempty"`
}

// noteKept says which layers a reduction for all leaves as they are.
func noteKept(c *console, layers []extraction.LayerReduction) {
	for _, l := range layers {
		if l.Kept != nil {
			c.Note("%s is not reduced: %v", l.Name, l.Kept)
		}
	}
}

func (r *extractReport) print(out io.Writer) error {
	name, about := r.Output, ""
	if name == "" {
		name = "output"
	}
	if r.DryRun {
		about = "about "
	}
	format := string(r.Format)
	if r.Matrices > 0 {
		if format = matrices(r.Matrices); r.DryRun {
			format += ", after the features"
		}
	}
	fmt.Fprintf(out, "%s: %s of %s, %s%s (%s)\n", name, plural(r.Stimuli, "stimulus"), r.Model, about,
		humanize.Bytes(uint64(r.Bytes)), format)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, a := range r.Arrays {
		notes := ""
		if len(a.Timesteps) > 0 {
			notes = fmt.Sprintf("timesteps %d…%d", a.Timesteps[0], a.Timesteps[len(a.Timesteps)-1])
		}
		for _, note := range []string{a.Selection.String(), a.Reduction, strings.Replace(a.DataType.String(), "float32",
			"", 1)} {
			if note != "" {
				notes = strings.TrimPrefix(notes+", "+note, ", ")
			}
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\n", a.Name, shapeText(a.Shape), notes)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "presentation %s\n", r.Presentation)
	if r.Untrained {
		fmt.Fprintln(out, "untrained weights")
	}
	if len(r.Skipped) > 0 {
		fmt.Fprintf(out, "%s could not be read; see the mask \"valid\"\n", plural(len(r.Skipped), "stimulus"))
	}
	if r.Resumed > 0 {
		fmt.Fprintf(out, "%s from before the interruption\n", plural(r.Resumed, "stimulus"))
	}
	if !r.DryRun {
		fmt.Fprintf(out, "%.1f s, %.2f images/s\n", r.Seconds, r.ImagesPerSec)
	}
	return nil
}
