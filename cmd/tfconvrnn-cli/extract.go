package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/arrayfiles"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

type extractCommand struct {
	modelFlags
	presentationFlags
	inputFlags
	layers, areas            []string
	allTimes, logits         bool
	out, format              string
	force, forceSize, dryRun bool
	asJSON                   bool
}

func newExtract() *cobra.Command {
	e := &extractCommand{}
	cmd := &cobra.Command{
		Use:   "extract --model MODEL --out FILE [flags] INPUT…",
		Short: "Write features of images to a file",
		Long: `Write features of images to a file.

An INPUT is a picture (PNG, JPEG, GIF, WebP, BMP, TIFF), a folder of pictures
(with those below it, sorted), or an .npy or .npz array of shape
[N, 224, 224, 3]: uint8, used as it is, or float32, 0 … 1 or 0 … 255.

An .npz output holds
  <layer>             float32 [N, timesteps, height, width, channels]; imnetds [N, timesteps, 1000]
  <layer>/timesteps   the timesteps, of 10 ms each
  <layer>/ms          their starts in milliseconds
  <layer>/driven      whether an image can have reached the layer by then
  logits              [N, 1000], with --include-logits
  stimuli             the names of the N images
  provenance          how the features were made, as JSON

convN is reported from timestep N on, imnetds from the number of layers, unless
--include-all-times asks for everything from timestep 0. With --presentation
default or neural, --times and --image-off change only what they name.

Coming from run_model.py: its flags work too: --model_name, --out_layers,
--image_pres, --image_off, --times, --ckpt_dir, --gpu (number of a GPU),
--include_all_times True, --include_logits True. As there, the default layer is
imnetds.`,
		Example: `  ` + program + ` extract --model ugrnn_intermediate --weights seeded:1 --layers conv9,conv10 --out features.npz pictures/
  ` + program + ` extract --model rgc_intermediate --areas V4,IT --presentation neural --out features.npz images.npy`,
		Args: cobra.ArbitraryArgs,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: e.run,
	}
	e.modelFlags.register(cmd)
	e.presentationFlags.register(cmd)
	e.inputFlags.register(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&e.layers, "layers", nil, "comma-separated `LAYERS`, or all (default imnetds)")
	flags.StringArrayVar(&e.areas, "areas", nil, "brain `AREAS` whose best-matching layers to take: V4, pIT, cIT, aIT, IT")
	flags.BoolVar(&e.allTimes, "include-all-times", false, "report all layers from timestep 0")
	flags.BoolVar(&e.logits, "include-logits", false, "add the decoded logits")
	flags.StringVarP(&e.out, "out", "o", "", "`FILE` to write: .npz, .nc (netCDF), .zarr, .npy or .mat (folders)")
	flags.StringVar(&e.format, "format", "", "its `FORMAT`, if the name does not tell it: npz, npy, netcdf, zarr, mat")
	flags.BoolVar(&e.force, "force", false, "replace an existing output")
	flags.BoolVar(&e.forceSize, "force-size", false, "write even if the disk does not seem to have the room")
	flags.BoolVar(&e.dryRun, "dry-run", false, "only print what would be computed and how large the output would be")
	addJSON(cmd, &e.asJSON)
	_ = cmd.RegisterFlagCompletionFunc("layers", e.completeLayers)
	_ = cmd.RegisterFlagCompletionFunc("areas", cobra.FixedCompletions([]string{"V4", "pIT", "cIT", "aIT", "IT"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
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
	Output       string        `json:"output,omitempty"`
	Format       string        `json:"format"`
	Bytes        int64         `json:"bytes"`
	DryRun       bool          `json:"dry_run,omitempty"`
	Model        string        `json:"model"`
	Untrained    bool          `json:"untrained"`
	Presentation string        `json:"presentation"`
	Times        int           `json:"times"`
	Stimuli      int           `json:"stimuli"`
	Arrays       []arrayReport `json:"arrays"`
	Seconds      float64       `json:"seconds,omitempty"`
	ImagesPerSec float64       `json:"images_per_second,omitempty"`
}

type arrayReport struct {
	Name      string `json:"name"`
	Shape     []int  `json:"shape"`
	Timesteps []int  `json:"timesteps,omitempty"`
}

func (e *extractCommand) run(cmd *cobra.Command, args []string) (err error) {
	info, err := e.lookup()
	if err != nil {
		return err
	}
	layers, err := selectLayers(info, e.layers, e.areas)
	if err != nil {
		return err
	}
	preprocessing, err := e.preprocessing()
	if err != nil {
		return err
	}
	presentation, err := e.presentation(cmd, info, preprocessing)
	if err != nil {
		return err
	}
	options := []tfconvrnn.ExtractOption{tfconvrnn.Layers(layers...), tfconvrnn.WithPresentation(presentation), tfconvrnn.BatchSize(e.batch)}
	if e.allTimes {
		options = append(options, tfconvrnn.AllTimesteps())
	}
	if e.logits {
		options = append(options, tfconvrnn.Logits())
	}
	_, outputs, err := tfconvrnn.Outputs(info, options...)
	if err != nil {
		return err
	}
	times := presentation.Times(info)
	if _, err := e.loadOptions(times); err != nil {
		return err
	}
	if e.out == "" && !e.dryRun {
		return usagef("where to? give --out FILE, for example --out features.npz")
	}
	format, err := outputFormat(e.out, e.format)
	if err != nil {
		return err
	}
	if !e.dryRun {
		if err := checkOutput(e.out, e.force); err != nil {
			return err
		}
	}
	c := newConsole(cmd.ErrOrStderr(), e.quiet)
	set, err := openStimuli(args, &e.inputFlags, preprocessing, c)
	if err != nil {
		return err
	}
	defer set.Close()
	if set.pictures {
		options = append(options, tfconvrnn.NotePreprocessing(preprocessing))
	}
	p := &provenance{Inputs: set.inputs}
	if set.pictures {
		p.ExifOrientation = e.orientation
	}
	if e.dryRun {
		return e.printPlan(cmd.OutOrStdout(), info, presentation, outputs, set, format, p)
	}

	model, err := loadModel(cmd, c, &e.modelFlags, times)
	if err != nil {
		return err
	}
	defer model.Close()
	extraction, err := model.Plan(options...)
	if err != nil {
		return err
	}
	p.Provenance = extraction.Provenance()
	layout, err := newLayout(info, extraction.Layers(), e.logits, set, format, p)
	if err != nil {
		return err
	}
	size, err := layout.Size(format)
	if err != nil {
		return err
	}
	c.note("%s: %s, %s, %s …", e.out, plural(set.count(), "stimulus"), plural(times, "timestep"), humanize.Bytes(uint64(size)))
	begun := time.Now()
	if err := e.write(cmd.Context(), c, extraction, set, layout, format); err != nil {
		return err
	}
	r := newExtractReport(info, presentation, layout, format, size)
	r.Output, r.Untrained = e.out, model.Untrained()
	r.Seconds = time.Since(begun).Seconds()
	r.ImagesPerSec = float64(set.count()) / r.Seconds
	if e.asJSON {
		return printJSON(cmd.OutOrStdout(), r)
	}
	r.print(cmd.OutOrStdout())
	return nil
}

// write computes and writes the features. After an error nothing is left.
func (e *extractCommand) write(ctx context.Context, c *console, x *tfconvrnn.Extraction, set *stimulusSet, layout *arrayfiles.Layout, format arrayfiles.Format) error {
	writer, err := arrayfiles.Create(e.out, format, layout, arrayfiles.Options{Force: e.force, ForceSize: e.forceSize})
	if err != nil {
		return err
	}
	defer writer.Abort() // no effect after Finish
	sink := newFeatureWriter(writer, len(x.Layers()), x.Logits())
	progress := c.start("extracting", unitImages, int64(set.count()))
	defer progress.end()
	err = x.Stream(ctx, set.all(), func(b *tfconvrnn.Batch) error {
		if err := sink.write(b); err != nil {
			return err
		}
		progress.set(int64(b.First+len(b.Stimuli)), int64(set.count()))
		return nil
	})
	if err != nil {
		return err
	}
	return writer.Finish(ctx)
}

func (e *extractCommand) printPlan(out io.Writer, info savedmodels.Model, presentation tfconvrnn.Presentation, layers []tfconvrnn.LayerOutput, set *stimulusSet, format arrayfiles.Format, p *provenance) error {
	layout, err := newLayout(info, layers, e.logits, set, format, p)
	if err != nil {
		return err
	}
	size, err := layout.Size(format)
	if err != nil {
		return err
	}
	weights, err := savedmodels.ParseWeights(e.weights)
	if err != nil {
		return err
	}
	r := newExtractReport(info, presentation, layout, format, size)
	r.Output, r.DryRun, r.Untrained = e.out, true, weights.Seeded
	if e.asJSON {
		return printJSON(out, r)
	}
	r.print(out)
	return nil
}

func newExtractReport(info savedmodels.Model, p tfconvrnn.Presentation, layout *arrayfiles.Layout, format arrayfiles.Format, size int64) *extractReport {
	r := &extractReport{
		Format: string(format), Bytes: size, Model: info.Name, Presentation: p.String(), Times: p.Times(info), Stimuli: layout.Rows,
	}
	for _, s := range layout.Streamed {
		a := arrayReport{Name: s.Name, Shape: append([]int{layout.Rows}, s.RowShape...)}
		if s.Layer != nil {
			a.Timesteps = s.Layer.Timesteps
		}
		r.Arrays = append(r.Arrays, a)
	}
	return r
}

func (r *extractReport) print(out io.Writer) {
	name, about := r.Output, ""
	if name == "" {
		name = "output"
	}
	if r.DryRun {
		about = "about "
	}
	fmt.Fprintf(out, "%s: %s of %s, %s%s (%s)\n", name, plural(r.Stimuli, "stimulus"), r.Model, about, humanize.Bytes(uint64(r.Bytes)), r.Format)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, a := range r.Arrays {
		timesteps := ""
		if len(a.Timesteps) > 0 {
			timesteps = fmt.Sprintf("timesteps %d…%d", a.Timesteps[0], a.Timesteps[len(a.Timesteps)-1])
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\n", a.Name, shapeText(a.Shape), timesteps)
	}
	table.Flush()
	fmt.Fprintf(out, "presentation %s\n", r.Presentation)
	if r.Untrained {
		fmt.Fprintln(out, "untrained weights")
	}
	if !r.DryRun {
		fmt.Fprintf(out, "%.1f s, %.2f images/s\n", r.Seconds, r.ImagesPerSec)
	}
}
