package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/internal/evaluation"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

type evaluateCommand struct {
	modelFlags
	presentationFlags
	preprocess, orientation                     string
	images, labels, order, records, table, plot string
	limit                                       int
	skipUnreadable, asJSON                      bool
}

func newEvaluate() *cobra.Command {
	c := &evaluateCommand{}
	cmd := &cobra.Command{
		Use:   "evaluate MODEL (--images DIR | --labels FILE) [flags]",
		Short: "Measure ImageNet accuracy, also as a function of time",
		Long: `Measure how well a model classifies labelled pictures: top-1 and top-5 accuracy of
its decoder, beside the published figures, and of the readout at every timestep,
with 95 % intervals (Wilson's).

Labels come from the folders of --images, which are called by WordNet ids
(n01440764/….JPEG), or from --labels: lines of a path and a WordNet id or the number
of an output, separated by a comma or a tab; paths are relative to --images, or to
the file.

The models' authors do not state the order of the 1000 outputs. It is taken to be
that of the sorted WordNet ids; --class-order FILE, with an id a line, gives another.

With --records FILE every picture's result is kept, and an interrupted evaluation
goes on where it stopped.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("one model at a time; %d arguments are too many", len(args))
			}
			return nil
		},
		ValidArgsFunction: completeOneModel,
		RunE:              c.run,
	}
	c.modelFlags.register(cmd)
	c.presentationFlags.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&c.preprocess, "preprocess", "", "how pictures become 224×224, as a `NAME`; see extract --help")
	flags.StringVar(&c.orientation, "exif-orientation", "stored", "apply turns photographs upright by their EXIF orientation, stored leaves the pixels as they are")
	flags.StringVar(&c.images, "images", "", "`DIR` of pictures, in folders called by WordNet ids unless --labels is given")
	flags.StringVar(&c.labels, "labels", "", "`FILE` of paths and labels")
	flags.StringVar(&c.order, "class-order", "", "`FILE` of 1000 WordNet ids in the order of the outputs")
	flags.StringVar(&c.records, "records", "", "`FILE` (CSV) to keep every picture's result in, and to go on from")
	flags.StringVar(&c.table, "per-class", "", "`FILE` (CSV) for the accuracy of each class")
	flags.StringVar(&c.plot, "plot", "", "`FILE` (PNG) for a plot of accuracy over time")
	flags.IntVar(&c.limit, "limit", 0, "evaluate only so many pictures, evenly spread over the set")
	flags.BoolVar(&c.skipUnreadable, "skip-unreadable", false, "leave pictures out that cannot be read, and list them")
	addJSON(cmd, &c.asJSON)
	return cmd
}

// evaluationReport is what evaluate prints as JSON.
type evaluationReport struct {
	Model     string               `json:"model"`
	Untrained bool                 `json:"untrained,omitempty"`
	Decoder   string               `json:"decoder"`
	Published publishedAccuracy    `json:"published"`
	Shown     string               `json:"presentation"`
	Result    *evaluation.Result   `json:"result"`
	Verdict   string               `json:"verdict,omitempty"`
	Source    tfconvrnn.Provenance `json:"provenance"`
}

type publishedAccuracy struct {
	Top1 float64 `json:"top1_percent"`
	Top5 float64 `json:"top5_percent"`
}

func (c *evaluateCommand) run(cmd *cobra.Command, args []string) error {
	if len(args) == 1 {
		if c.model != "" && c.model != args[0] {
			return usagef("two models are named, %s and %s", args[0], c.model)
		}
		c.model = args[0]
	}
	info, err := c.lookup()
	if err != nil {
		return err
	}
	if c.limit < 0 {
		return usagef("--limit %d: it is a number of pictures", c.limit)
	}
	preprocessing, err := (&inputFlags{preprocess: c.preprocess, orientation: c.orientation}).preprocessing()
	if err != nil {
		return err
	}
	presentation, err := c.presentation(cmd, info, preprocessing)
	if err != nil {
		return err
	}
	options := []tfconvrnn.ExtractOption{tfconvrnn.WithPresentation(presentation), tfconvrnn.BatchSize(c.batch)}
	if _, _, err := tfconvrnn.Outputs(info, append(options, tfconvrnn.AllTimesteps())...); err != nil {
		return err
	}
	set, err := c.set()
	if err != nil {
		return err
	}
	con := commandConsole(cmd, c.quiet)
	model, err := loadModel(cmd, con, &c.modelFlags, presentation.Times(info))
	if err != nil {
		return err
	}
	defer model.Close()
	predictor, err := evaluation.ModelPredictor(model, preprocessing, c.skipUnreadable, options...)
	if err != nil {
		return err
	}
	progress := con.start("evaluating", unitImages, int64(len(set.Pictures)))
	defer progress.end()
	result, err := evaluation.Run(cmd.Context(), set, predictor, evaluation.Options{
		Records:  c.records,
		Progress: func(done, total int) { progress.set(int64(done), int64(total)) },
	})
	progress.end()
	if err != nil {
		if c.records != "" && cmd.Context().Err() != nil {
			con.note("the same command goes on from %s", c.records)
		}
		if errors.Is(err, evaluation.ErrRecords) || errors.Is(err, evaluation.ErrSet) {
			return inputError{err}
		}
		return err
	}
	if err := c.writeFiles(info, result); err != nil {
		return err
	}
	report := evaluationReport{
		Model: info.Name, Untrained: model.Untrained(), Decoder: info.Decoder, Published: publishedAccuracy{info.Top1, info.Top5},
		Shown: presentation.String(), Result: result, Verdict: result.Verdict(),
	}
	if x, err := model.Plan(append(options, tfconvrnn.Layers(info.Layers[len(info.Layers)-1].Name), tfconvrnn.Logits(), tfconvrnn.AllTimesteps(), tfconvrnn.NotePreprocessing(preprocessing))...); err == nil {
		report.Source = x.Provenance()
	}
	if c.asJSON {
		return printJSON(cmd.OutOrStdout(), report)
	}
	return report.print(cmd.OutOrStdout())
}

// set finds the labelled pictures.
func (c *evaluateCommand) set() (*evaluation.Set, error) {
	if c.images == "" && c.labels == "" {
		return nil, usagef("which pictures? give --images DIR, with folders called by WordNet ids, or --labels FILE")
	}
	order := evaluation.WordNetOrder()
	if c.order != "" {
		var err error
		if order, err = evaluation.ReadOrder(c.order); err != nil {
			return nil, inputError{err}
		}
	}
	find := func() (*evaluation.Set, error) {
		if c.labels != "" {
			return evaluation.Labels(c.labels, c.images, order)
		}
		return evaluation.Folders(c.images, order)
	}
	set, err := find()
	if err != nil {
		return nil, inputError{err}
	}
	return set.Limit(c.limit), nil
}

func (c *evaluateCommand) writeFiles(info savedmodels.Model, result *evaluation.Result) error {
	for _, file := range []struct {
		path  string
		write func(io.Writer) error
	}{
		{c.table, result.WriteClasses},
		{c.plot, func(w io.Writer) error { return result.Plot(w, info.Name, info.Top1, info.Top5) }},
	} {
		if file.path == "" {
			continue
		}
		var content bytes.Buffer
		if err := file.write(&content); err != nil {
			return err
		}
		if err := atomicfile.Write(file.path, content.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

func (r *evaluationReport) print(out io.Writer) error {
	fmt.Fprintf(out, "%s on %s, presentation %s\n", r.Model, plural(r.Result.Images, "image"), r.Shown)
	if r.Result.Resumed > 0 {
		fmt.Fprintf(out, "%s had been done before\n", plural(r.Result.Resumed, "image"))
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\tMEASURED %\t95 % INTERVAL\tPUBLISHED %")
	for _, row := range []struct {
		name      string
		measured  evaluation.Proportion
		published float64
	}{{"top-1", r.Result.Decoded.Top1, r.Published.Top1}, {"top-5", r.Result.Decoded.Top5, r.Published.Top5}} {
		fmt.Fprintf(table, "%s\t%.2f\t%.2f … %.2f\t%.2f\n", row.name, row.measured.Percent, row.measured.Low, row.measured.High, row.published)
	}
	fmt.Fprintln(table, "\t\t\t\nREADOUT AT\tTOP-1 %\tTOP-5 %\t")
	for _, t := range r.Result.OverTime {
		note := ""
		if !t.Driven {
			note = "not yet driven"
		}
		fmt.Fprintf(table, "%d ms (t=%d)\t%.2f\t%.2f\t%s\n", t.Milliseconds, t.Timestep.Timestep, t.Top1.Percent, t.Top5.Percent, note)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, f := range r.Result.Failed {
		fmt.Fprintf(out, "not read: %s: %s\n", f.ID, f.Error)
	}
	if r.Untrained {
		fmt.Fprintln(out, "The weights are untrained, so the figures mean nothing.")
	}
	if r.Verdict != "" {
		fmt.Fprintf(out, "NOTE: %s.\n", r.Verdict)
	}
	return nil
}
