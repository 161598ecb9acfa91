package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/evaluation"
	"github.com/tfconvrnn/go/stimuli"
)

type classifyCommand struct {
	modelFlags
	presentationFlags
	inputFlags
	top      int
	overTime bool
	asJSON   bool
}

func newClassify() *cobra.Command {
	c := &classifyCommand{}
	cmd := &cobra.Command{
		Use:   "classify --model MODEL [flags] INPUT…",
		Short: "Print the likeliest ImageNet classes of images",
		Long: `Print the likeliest of ImageNet's 1000 classes, with the softmax of the logits that
the model's decoder reads out. An INPUT is what extract takes.

With --over-time, print what the readout says at every timestep as well, before the
decoder chooses. What no image can have caused yet is marked: "not yet driven".

The models' authors do not state the order of the 1000 outputs; it is taken to be
that of the sorted WordNet ids.`,
		Args: cobra.ArbitraryArgs,
		RunE: c.run,
	}
	c.modelFlags.register(cmd)
	c.presentationFlags.register(cmd)
	c.inputFlags.register(cmd)
	cmd.Flags().IntVar(&c.top, "top", 5, "number of classes printed for each image")
	cmd.Flags().BoolVar(&c.overTime, "over-time", false, "print the classes at every timestep too")
	addJSON(cmd, &c.asJSON)
	return cmd
}

func (c *classifyCommand) run(cmd *cobra.Command, args []string) error {
	info, err := c.lookup()
	if err != nil {
		return err
	}
	preprocessing, err := c.preprocessing()
	if err != nil {
		return err
	}
	o := evaluation.ClassifyOptions{BatchSize: c.batch, Top: c.top, OverTime: c.overTime}
	if o.Presentation, err = c.presentation(cmd, info, preprocessing); err != nil {
		return err
	}
	if err := o.Check(info); err != nil {
		return err
	}
	times := o.Presentation.Times(info)
	if _, err := c.loadOptions(times); err != nil {
		return err
	}
	con := commandConsole(cmd, c.quiet)
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
	progress := con.start("classifying", unitImages, int64(len(records)))
	defer progress.end()
	o.Progress = func(done int) { progress.set(int64(done), int64(len(records))) }
	results, err := evaluation.ClassifyStimuli(cmd.Context(), model, reader.Stimuli(slices.Values(records)), o)
	progress.end()
	if err != nil {
		return err
	}
	return present(cmd, c.asJSON, results, func(out io.Writer) error { return printClasses(out, results) })
}

func printClasses(out io.Writer, results []evaluation.Classification) error {
	for _, r := range results {
		fmt.Fprintln(out, r.Stimulus)
		if !r.Driven {
			fmt.Fprintln(out, "  (not yet driven: no image had reached the readout when it was decoded; this is the blank's)")
		}
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		for _, p := range r.Classes {
			fmt.Fprintf(table, "  %5.1f %%\t%s\t%s\n", 100*p.Probability, p.WordNetID, p.Name())
		}
		for _, t := range r.OverTime {
			fmt.Fprintf(table, "  %d ms", t.Milliseconds)
			if !t.Driven {
				fmt.Fprint(table, "\t(not yet driven)\n")
				continue
			}
			for _, p := range t.Classes {
				fmt.Fprintf(table, "\t%.1f %% %s", 100*p.Probability, p.Name())
			}
			fmt.Fprintln(table)
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	return nil
}
