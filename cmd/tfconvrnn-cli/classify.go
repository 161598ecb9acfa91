package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/evaluation"
	"github.com/tfconvrnn/go/stimuli"
)

type classifyCommand struct {
	runFlags
	top      int
	overTime bool
}

func newClassify() *cobra.Command {
	c := &classifyCommand{}
	cmd := &cobra.Command{Use: "classify --model MODEL [flags] INPUT…", Args: cobra.ArbitraryArgs, RunE: c.run}
	c.modelFlags.register(cmd)
	c.presentationFlags.register(cmd)
	c.inputFlags.register(cmd)
	cmd.Flags().IntVar(&c.top, "top", 5, "number of classes printed for each image")
	cmd.Flags().BoolVar(&c.overTime, "over-time", false, "print the classes at every timestep too")
	addJSON(cmd)
	return cmd
}

func (c *classifyCommand) run(cmd *cobra.Command, args []string) error {
	info, preprocessing, presentation, err := c.shown(cmd)
	if err != nil {
		return err
	}
	o := evaluation.ClassifyOptions{BatchSize: c.batch, Top: c.top, OverTime: c.overTime, Presentation: presentation}
	if err := o.Check(info); err != nil {
		return err
	}
	times := presentation.Times(info)
	if _, err := c.loadOptions(times); err != nil {
		return err
	}
	con := commandConsole(cmd)
	o.OnHalved = sayHalved(con)
	inputs, err := c.inputFlags.options(cmd, args, preprocessing, c.spec.TimestepsPerFrame > 0, con)
	if err != nil {
		return err
	}
	if err := inputs.ShowAs(c.spec, info); err != nil {
		return err
	}
	records, set, err := stimuli.Find(cmd.Context(), inputs)
	if err != nil {
		return err
	}
	if o.Presentation, err = set.Presentation(c.spec, info, inputs.Warn, inputs.Note); err != nil {
		return err
	}
	model, err := loadModel(cmd, con, &c.modelFlags, times)
	if err != nil {
		return err
	}
	defer model.Close()
	reader, err := stimuli.NewReader(cmd.Context(), inputs, set.Arrays)
	if err != nil {
		return err
	}
	defer reader.Close()
	progress := con.Start("classifying", unitImages, int64(len(records)))
	defer progress.End()
	o.Progress = progress.Count
	results, err := evaluation.ClassifyStimuli(cmd.Context(), model, reader.Stimuli(slices.Values(records)), o)
	progress.End()
	if err != nil {
		return err
	}
	return present(cmd, results, results.Print)
}
