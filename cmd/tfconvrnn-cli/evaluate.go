package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/internal/evaluation"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

type evaluateCommand struct {
	modelFlags
	presentationFlags
	input                          inputFlags // of pictures
	images, labels, order, classes string
	records, table, plot           string
	limit                          int
	skipUnreadable, force, asJSON  bool
}

func newEvaluate() *cobra.Command {
	c := &evaluateCommand{}
	cmd := &cobra.Command{
		Use:   "evaluate MODEL (--images DIR | --labels FILE) [flags]",
		Short: "Measure ImageNet accuracy, also as a function of time",
		Long: `Measure how well a model classifies labelled pictures: top-1 and top-5 accuracy of
its decoder and of the readout at every timestep, with 95 % intervals (Wilson's).

Labels come from the folders of --images, which are called by WordNet ids
(n01440764/….JPEG) or by numbers from 0 to 999, the places in the order of sorted
WordNet ids (as in ImageNetV2), or from --labels: lines of a path and a WordNet id or
the number of an output, separated by a comma or a tab; paths are relative to --images,
or to the file, and their endings may be left out. Kaggle's LOC_val_solution.csv is such
a list, too. What has no label, and what is left out, is said.

The likeliest class is chosen among all 1000. For pictures of fewer classes, such as
ImageNet-R and ImageNet-A, accuracy is usually given with a choice among these classes
only: --classes present. --classes FILE, with a WordNet id a line, says which.

The published accuracies stand beside the measured ones if these are of the same thing:
trained weights, the default presentation, blank and preprocessing, all 1000 classes,
and 50 pictures of each, as in the validation set (or so many of them as --limit takes).

The models' authors do not state the order of the 1000 outputs. It is taken to be
that of the sorted WordNet ids; --class-order FILE, with an id a line, gives another.

With --records FILE every picture's result is kept, and an interrupted evaluation
goes on where it stopped. Pictures whose files have changed since, and those that could
not be read, are evaluated again. With --skip-unreadable, pictures that cannot be read
count for nothing and are listed; it is an error (3) if none can be read.`,
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
	c.input.registerPictures(cmd)
	flags.StringVar(&c.images, "images", "", "`DIR` of pictures, in folders called by WordNet ids or class numbers unless --labels is given")
	flags.StringVar(&c.labels, "labels", "", "`FILE` of paths and labels")
	flags.StringVar(&c.order, "class-order", "", "`FILE` of 1000 WordNet ids in the order of the outputs")
	flags.StringVar(&c.classes, "classes", "all", "`CLASSES` among which the likeliest is chosen: all 1000, present (those that there are pictures of), or a file of WordNet ids")
	flags.StringVar(&c.records, "records", "", "`FILE` (CSV) to keep every picture's result in, and to go on from")
	flags.StringVar(&c.table, "per-class", "", "`FILE` (CSV) for the accuracy of each class")
	flags.StringVar(&c.plot, "plot", "", "`FILE` (PNG) for a plot of accuracy over time")
	flags.IntVar(&c.limit, "limit", 0, "evaluate only so many pictures, evenly spread over the set")
	flags.BoolVar(&c.skipUnreadable, "skip-unreadable", false, "leave pictures out that cannot be read, and list them")
	flags.BoolVar(&c.force, "force", false, "replace existing files of --per-class and --plot")
	addJSON(cmd, &c.asJSON)
	_ = cmd.RegisterFlagCompletionFunc("classes", cobra.FixedCompletions([]string{"all", "present"}, cobra.ShellCompDirectiveDefault))
	return cmd
}

// evaluationPlan is what the flags ask for.
type evaluationPlan struct {
	info          savedmodels.Model
	preprocessing tfconvrnn.Preprocessing
	presentation  tfconvrnn.Presentation
	options       []tfconvrnn.ExtractOption
	set           *evaluation.Set
}

// plan checks the flags.
func (c *evaluateCommand) plan(cmd *cobra.Command, args []string) (p evaluationPlan, err error) {
	if len(args) == 1 {
		if c.model != "" && c.model != args[0] {
			return p, usagef("two models are named, %s and %s", args[0], c.model)
		}
		c.model = args[0]
	}
	if p.info, err = c.lookup(); err != nil {
		return p, err
	}
	if c.limit < 0 {
		return p, usagef("--limit %d: it is a number of pictures", c.limit)
	}
	for _, file := range [][3]string{{"--records", c.records, "records.csv"}, {"--per-class", c.table, "classes.csv"}, {"--plot", c.plot, "accuracy.png"}} {
		if err := checkFileName(file[0], file[1], file[2]); err != nil {
			return p, err
		}
	}
	if p.preprocessing, err = c.input.preprocessing(); err != nil {
		return p, err
	}
	if p.presentation, err = c.presentation(cmd, p.info, p.preprocessing); err != nil {
		return p, err
	}
	p.options = []tfconvrnn.ExtractOption{tfconvrnn.WithPresentation(p.presentation), tfconvrnn.BatchSize(c.batch)}
	if _, _, err := tfconvrnn.Outputs(p.info, append(p.options, tfconvrnn.AllTimesteps())...); err != nil {
		return p, err
	}
	if err := c.checkFiles(); err != nil {
		return p, err
	}
	p.set, err = c.set()
	return p, err
}

func (c *evaluateCommand) run(cmd *cobra.Command, args []string) error {
	p, err := c.plan(cmd, args)
	if err != nil {
		return err
	}
	con := commandConsole(cmd, c.quiet)
	model, err := loadModel(cmd, con, &c.modelFlags, p.presentation.Times(p.info))
	if err != nil {
		return err
	}
	defer model.Close()
	predictor, err := evaluation.NewModelPredictor(model, p.preprocessing, c.skipUnreadable, p.options...)
	if err != nil {
		return err
	}
	predictor.Notices.Warn = con.warnNotice
	predictor.Notices.Note = con.noteNotice
	defer predictor.Notices.Close()
	progress := con.start("evaluating", unitImages, int64(len(p.set.Pictures)))
	defer progress.end()
	result, err := evaluation.Run(cmd.Context(), p.set, predictor, evaluation.Options{
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
	how := evaluation.How{Model: p.info, Presentation: p.presentation, Preprocessing: p.preprocessing, Untrained: model.Untrained()}
	report := evaluation.NewReport(how, p.set, result)
	report.Source = predictor.Provenance()
	return c.finish(cmd, report, result, len(p.set.Pictures))
}

// finish writes and prints the results.
func (c *evaluateCommand) finish(cmd *cobra.Command, report *evaluation.Report, result *evaluation.Result, pictures int) (err error) {
	if result.Images > 0 {
		if err := c.writeFiles(report); err != nil {
			return err
		}
	}
	if c.asJSON {
		err = printJSON(cmd.OutOrStdout(), report)
	} else {
		err = report.Print(cmd.OutOrStdout(), evaluation.Advice{
			ListAll: "--json lists all", OtherOrder: "--class-order names another", Present: "--classes present chooses",
		})
	}
	if err == nil && result.Images == 0 {
		return inputf("none of %s could be read; the first: %s", plural(pictures, "picture"), result.Failed[0].Error)
	}
	return err
}

// checkFiles finds out, before anything is computed, whether the files can be written.
func (c *evaluateCommand) checkFiles() error {
	seen := map[string]string{}
	for _, file := range []struct{ flag, path string }{{"records", c.records}, {"per-class", c.table}, {"plot", c.plot}} {
		if file.path == "" {
			continue
		}
		place := filepath.Clean(file.path)
		if other, ok := seen[place]; ok {
			return usagef("--%s and --%s name the same file, %s", other, file.flag, file.path)
		}
		seen[place] = file.flag
		if file.flag == "records" { // which may be there
			continue
		}
		if err := checkOutput(file.path, c.force); err != nil {
			return err
		}
	}
	return nil
}

// set finds the labelled pictures.
func (c *evaluateCommand) set() (*evaluation.Set, error) {
	if c.images == "" && c.labels == "" {
		return nil, usagef("which pictures? give --images DIR, with folders called by WordNet ids or class numbers, or --labels FILE")
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
			return evaluation.Labels(c.labels, c.images, order, c.skipUnreadable)
		}
		return evaluation.Folders(c.images, order)
	}
	set, err := find()
	if errors.Is(err, evaluation.ErrMissing) {
		return nil, inputf("%w; give their folder with --images, or evaluate the others with --skip-unreadable", err)
	}
	if err == nil {
		set, err = c.choose(set)
	}
	if err != nil {
		return nil, inputError{err}
	}
	return set.Limit(c.limit), nil
}

// choose says which classes the choice is among.
func (c *evaluateCommand) choose(set *evaluation.Set) (*evaluation.Set, error) {
	switch c.classes {
	case "all":
		return set, nil
	case "present":
		return set.ChooseAmong(set.Present())
	}
	outputs, err := evaluation.ReadClasses(c.classes, set.Order)
	if err != nil {
		return nil, fmt.Errorf("--classes is all, present or a file of WordNet ids: %w", err)
	}
	return set.ChooseAmong(outputs)
}

func (c *evaluateCommand) writeFiles(report *evaluation.Report) error {
	var published evaluation.PublishedAccuracy
	if report.Published != nil {
		published = *report.Published
	}
	for _, file := range []struct {
		path  string
		write func(io.Writer) error
	}{
		{c.table, report.Result.WriteClasses},
		{c.plot, func(w io.Writer) error { return report.Result.Plot(w, report.Model, published.Top1, published.Top5) }},
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
