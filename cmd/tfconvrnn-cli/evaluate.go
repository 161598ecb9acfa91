package main

import (
	"cmp"
	"io"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/evaluation"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

type evaluateCommand struct {
	runFlags
	pictures              evaluation.Request
	records, table, plot  string
	skipUnreadable, force bool
}

func newEvaluate() *cobra.Command {
	c := &evaluateCommand{}
	cmd := &cobra.Command{Use: "evaluate MODEL (--images DIR | --labels FILE) [flags]",
		Args: oneOf("model", ""), ValidArgsFunction: completeOneModel, RunE: c.run}
	c.modelFlags.register(cmd)
	c.presentationFlags.register(cmd)
	flags := cmd.Flags()
	c.registerPictures(cmd)
	flags.StringVar(&c.pictures.Images, "images", "",
		"`DIR` of pictures, in folders called by WordNet ids or class numbers unless --labels is given")
	flags.StringVar(&c.pictures.Labels, "labels", "", "`FILE` of paths and labels")
	flags.StringVar(&c.pictures.Order, "class-order", "", "`FILE` of 1000 WordNet ids in the order of the outputs")
	addParsed(cmd, &c.pictures.Classes, "classes", evaluation.AllClasses, evaluation.ParseClasses,
		"`CLASSES` among which the likeliest is chosen: all 1000, present (those that there are pictures of), or a file of WordNet ids")
	flags.StringVar(&c.records, "records", "", "`FILE` (CSV) to keep every picture's result in, and to go on from")
	flags.StringVar(&c.table, "per-class", "", "`FILE` (CSV) for the accuracy of each class")
	flags.StringVar(&c.plot, "plot", "", "`FILE` (PNG) for a plot of accuracy over time")
	addCount(cmd, &c.pictures.Limit, "limit", 0, 0, "evaluate only so many pictures, evenly spread over the set")
	flags.BoolVar(&c.skipUnreadable, "skip-unreadable", false, "leave pictures out that cannot be read, and list them")
	flags.BoolVar(&c.force, "force", false, "replace existing files of --per-class and --plot")
	addJSON(cmd)
	_ = cmd.RegisterFlagCompletionFunc("classes", cobra.FixedCompletions([]string{"all", "present"},
		cobra.ShellCompDirectiveDefault))
	obey(cmd, differ("records", "per-class", "plot"))
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
	if c.pictures.Images == "" && c.pictures.Labels == "" {
		return info, o, usagef(
			"which pictures? give --images DIR, with folders called by WordNet ids or class numbers, or --labels FILE")
	}
	o = evaluation.ModelOptions{BatchSize: c.batch, SkipUnreadable: c.skipUnreadable}
	o.Records, c.pictures.MayBeMissing = c.records, c.skipUnreadable
	if err := cmp.Or(checkFileName("--records", c.records, "records.csv"), // which may be there
		checkFile("--per-class", c.table, "classes.csv", c.force),
		checkFile("--plot", c.plot, "accuracy.png", c.force)); err != nil {
		return info, o, err
	}
	if info, o.Preprocessing, o.Presentation, err = c.shown(cmd); err != nil {
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
	con := commandConsole(cmd)
	model, err := loadModel(cmd, con, &c.modelFlags, o.Presentation.Times(info))
	if err != nil {
		return err
	}
	defer model.Close()
	progress := con.Start("evaluating", unitImages, int64(len(set.Pictures)))
	defer progress.End()
	o.Warn, o.Note, o.OnHalved = con.warnNotice, con.noteNotice, sayHalved(con)
	o.Progress = func(done, total int) { progress.Set(int64(done), int64(total)) }
	report, err := evaluation.Evaluate(cmd.Context(), model, set, o)
	progress.End()
	if err != nil {
		if c.records != "" && cmd.Context().Err() != nil {
			con.Note("the same command goes on from %s", c.records)
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
	err = present(cmd, report, func(out io.Writer) error {
		return report.Print(out, evaluation.Advice{
			ListAll: "--json lists all", OtherOrder: "--class-order names another", Present: "--classes present chooses",
		})
	})
	if failed := report.Result.Failed; err == nil && !read {
		return inputf("none of %s could be read; the first: %s", plural(len(failed), "picture"), failed[0].Error)
	}
	return err
}
