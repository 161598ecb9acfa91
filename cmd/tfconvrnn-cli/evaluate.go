package main

import (
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/evaluation"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

type evaluateCommand struct {
	modelFlags
	presentationFlags
	input                         inputFlags // of pictures
	pictures                      evaluation.Request
	records, table, plot          string
	skipUnreadable, force, asJSON bool
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
	flags.StringVar(&c.pictures.Images, "images", "",
		"`DIR` of pictures, in folders called by WordNet ids or class numbers unless --labels is given")
	flags.StringVar(&c.pictures.Labels, "labels", "", "`FILE` of paths and labels")
	flags.StringVar(&c.pictures.Order, "class-order", "", "`FILE` of 1000 WordNet ids in the order of the outputs")
	c.pictures.Classes = evaluation.AllClasses
	flags.Var(parsedFlag[evaluation.Classes]{&c.pictures.Classes, evaluation.ParseClasses},
		"classes", "`CLASSES` among which the likeliest is chosen: all 1000, present (those that there are pictures of), or a file of WordNet ids")
	flags.StringVar(&c.records, "records", "", "`FILE` (CSV) to keep every picture's result in, and to go on from")
	flags.StringVar(&c.table, "per-class", "", "`FILE` (CSV) for the accuracy of each class")
	flags.StringVar(&c.plot, "plot", "", "`FILE` (PNG) for a plot of accuracy over time")
	flags.IntVar(&c.pictures.Limit, "limit", 0, "evaluate only so many pictures, evenly spread over the set")
	flags.BoolVar(&c.skipUnreadable, "skip-unreadable", false, "leave pictures out that cannot be read, and list them")
	flags.BoolVar(&c.force, "force", false, "replace existing files of --per-class and --plot")
	addJSON(cmd, &c.asJSON)
	_ = cmd.RegisterFlagCompletionFunc("classes", cobra.FixedCompletions([]string{"all", "present"},
		cobra.ShellCompDirectiveDefault))
	return cmd
}

// options checks the flags, and returns what they say of how pictures are shown.
func (c *evaluateCommand) options(cmd *cobra.Command, args []string) (info savedmodels.Model, o evaluation.ModelOptions,
	err error) {
	if len(args) == 1 {
		if c.model != "" && c.model != args[0] {
			return info, o, usagef("two models are named, %s and %s", args[0], c.model)
		}
		c.model = args[0]
	}
	if info, err = c.lookup(); err != nil {
		return info, o, err
	}
	if c.pictures.Limit < 0 {
		return info, o, usagef("--limit %d: it is a number of pictures", c.pictures.Limit)
	}
	if c.pictures.Images == "" && c.pictures.Labels == "" {
		return info, o, usagef(
			"which pictures? give --images DIR, with folders called by WordNet ids or class numbers, or --labels FILE")
	}
	o = evaluation.ModelOptions{BatchSize: c.batch, SkipUnreadable: c.skipUnreadable}
	o.Records, c.pictures.MayBeMissing = c.records, c.skipUnreadable
	if err := c.checkFiles(); err != nil {
		return info, o, err
	}
	if o.Preprocessing, err = c.input.preprocessing(); err != nil {
		return info, o, err
	}
	if o.Presentation, err = c.presentation(cmd, info, o.Preprocessing); err != nil {
		return info, o, err
	}
	_, _, err = tfconvrnn.Outputs(info, tfconvrnn.WithPresentation(o.Presentation), tfconvrnn.BatchSize(c.batch),
		tfconvrnn.AllTimesteps())
	return info, o, err
}

func (c *evaluateCommand) run(cmd *cobra.Command, args []string) error {
	info, o, err := c.options(cmd, args)
	if err != nil {
		return err
	}
	set, err := c.pictures.Find(cmd.Context())
	if err != nil {
		return err
	}
	con := commandConsole(cmd, c.quiet)
	model, err := loadModel(cmd, con, &c.modelFlags, o.Presentation.Times(info))
	if err != nil {
		return err
	}
	defer model.Close()
	progress := con.start("evaluating", unitImages, int64(len(set.Pictures)))
	defer progress.end()
	o.Warn, o.Note, o.OnHalved = con.warnNotice, con.noteNotice, sayHalved(con)
	o.Progress = func(done, total int) { progress.set(int64(done), int64(total)) }
	report, err := evaluation.Evaluate(cmd.Context(), model, set, o)
	progress.end()
	if err != nil {
		if c.records != "" && cmd.Context().Err() != nil {
			con.note("the same command goes on from %s", c.records)
		}
		return err
	}
	return c.finish(cmd, report)
}

// finish writes and prints the results.
func (c *evaluateCommand) finish(cmd *cobra.Command, report *evaluation.Report) (err error) {
	read := report.Result.Images > 0
	if read {
		if err := report.WriteFiles(c.table, c.plot); err != nil {
			return err
		}
	}
	err = present(cmd, c.asJSON, report, func(out io.Writer) error {
		return report.Print(out, evaluation.Advice{
			ListAll: "--json lists all", OtherOrder: "--class-order names another", Present: "--classes present chooses",
		})
	})
	if failed := report.Result.Failed; err == nil && !read {
		return inputf("none of %s could be read; the first: %s", plural(len(failed), "picture"), failed[0].Error)
	}
	return err
}

// checkFiles finds out, before anything is computed, whether the files can be written.
func (c *evaluateCommand) checkFiles() error {
	seen := map[string]string{}
	for _, file := range []struct{ flag, path, example string }{
		{"--records", c.records, "records.csv"}, {"--per-class", c.table, "classes.csv"}, {"--plot", c.plot, "accuracy.png"},
	} {
		if file.path == "" {
			continue
		}
		if err := checkFileName(file.flag, file.path, file.example); err != nil {
			return err
		}
		place := filepath.Clean(file.path)
		if other, ok := seen[place]; ok {
			return usagef("%s and %s name the same file, %s", other, file.flag, file.path)
		}
		seen[place] = file.flag
		if file.flag == "--records" { // which may be there
			continue
		}
		if err := checkOutput(file.path, c.force); err != nil {
			return err
		}
	}
	return nil
}
