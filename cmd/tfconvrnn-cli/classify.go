package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/evaluation"
	"github.com/tfconvrnn/go/internal/imagenet"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
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
	if c.top < 1 || c.top > imagenet.Classes {
		return usagef("--top %d: it is 1 … %d", c.top, imagenet.Classes)
	}
	preprocessing, err := c.preprocessing()
	if err != nil {
		return err
	}
	presentation, err := c.presentation(cmd, info, preprocessing)
	if err != nil {
		return err
	}
	times := presentation.Times(info)
	readout := info.Layers[len(info.Layers)-1].Name
	options := []tfconvrnn.ExtractOption{
		tfconvrnn.Layers(readout), tfconvrnn.AllTimesteps(), tfconvrnn.WithPresentation(presentation), tfconvrnn.BatchSize(c.batch), tfconvrnn.Logits(),
	}
	_, outputs, err := tfconvrnn.Outputs(info, options...)
	if err != nil {
		return err
	}
	if _, err := c.loadOptions(times); err != nil {
		return err
	}
	con := commandConsole(cmd, c.quiet)
	visible, err := c.visible(cmd, info, preprocessing)
	if err != nil {
		return err
	}
	inputs, err := c.inputFlags.options(args, stimulusOptions{
		stdin: cmd.InOrStdin(), preprocessing: preprocessing, times: times, timestepsPerFrame: c.framesPerImage, visible: visible,
	}, con)
	if err != nil {
		return err
	}
	records, set, err := stimuli.Find(cmd.Context(), inputs)
	if err != nil {
		return err
	}
	if shown, changed, err := c.settle(cmd, info, preprocessing, stimulusKinds{set.Timed, set.Sequences, set.Stills}, con); err != nil {
		return err
	} else if changed {
		options = append(options, tfconvrnn.WithPresentation(shown))
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
	results, err := c.classifyAll(cmd.Context(), con, model, reader, records, options, info, outputs[0])
	if err != nil {
		return err
	}
	if c.asJSON {
		return printJSON(cmd.OutOrStdout(), results)
	}
	return printClasses(cmd.OutOrStdout(), results)
}

// classifyAll runs the model over all stimuli.
func (c *classifyCommand) classifyAll(ctx context.Context, con *console, model *tfconvrnn.Model, reader *stimuli.Reader, records []*stimuli.Record,
	options []tfconvrnn.ExtractOption, info savedmodels.Model, readout tfconvrnn.LayerOutput) ([]evaluation.Classification, error) {
	progress := con.start("classifying", unitImages, int64(len(records)))
	defer progress.end()
	results := []evaluation.Classification{}
	err := model.Stream(ctx, reader.Stimuli(slices.Values(records)), func(b *tfconvrnn.Batch) error {
		for i, s := range b.Stimuli {
			one, err := c.classify(b, i, info, readout)
			if err != nil {
				return fmt.Errorf("%s: %w", s.ID, err)
			}
			results = append(results, one)
		}
		progress.set(int64(b.First+len(b.Stimuli)), int64(len(records)))
		return nil
	}, options...)
	return results, err
}

// classify returns the classes of a stimulus of a batch, and those at every timestep if
// they are asked for.
func (c *classifyCommand) classify(b *tfconvrnn.Batch, stimulus int, info savedmodels.Model, output tfconvrnn.LayerOutput) (evaluation.Classification, error) {
	logits, err := b.Logits(stimulus)
	if err != nil {
		return evaluation.Classification{}, err
	}
	readout, err := b.AppendFeatures(nil, 0, stimulus)
	if err != nil {
		return evaluation.Classification{}, err
	}
	return evaluation.Classify(info, output, b.Stimuli[stimulus].ID, logits, readout, c.top, c.overTime)
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
