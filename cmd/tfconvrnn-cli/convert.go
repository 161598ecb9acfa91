package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/savedmodels"
)

type convertCommand struct {
	store, out           string
	weights              savedmodels.Weights
	variant              convert.Variant
	times                int
	force, quiet, asJSON bool
}

func newConvert() *cobra.Command {
	c := &convertCommand{}
	cmd := &cobra.Command{
		Use:   "convert MODEL",
		Short: "Convert a checkpoint to a SavedModel",
		Long: `Convert the checkpoint of a model to a SavedModel that holds the graph of all its
timesteps: into the store, where extract and the library find it, or to --out DIR.
It needs neither TensorFlow nor Python. The same checkpoint gives the same bytes.`,
		Example: `  ` + program + ` convert rgc_intermediate --weights checkpoints/
  ` + program + ` convert ugrnn_shallow --weights seeded:1 --out ugrnn.savedmodel`,
		Args:              oneModel,
		ValidArgsFunction: completeOneModel,
		RunE:              c.run,
	}
	flags := cmd.Flags()
	addWeights(cmd, &c.weights)
	addStore(cmd, &c.store)
	flags.StringVarP(&c.out, "out", "o", "", "`DIR` to write instead of the store")
	flags.IntVar(&c.times, "times", 0, fmt.Sprintf("most timesteps a presentation can have (default %d)",
		convert.DefaultTimes))
	addParsed(cmd, &c.variant, "variant", convert.LightCone, convert.ParseVariant,
		"`VARIANT` of the graph: lightcone, or plain, the slow reference",
		string(convert.LightCone), string(convert.Plain))
	flags.BoolVar(&c.force, "force", false, "replace an existing SavedModel")
	addQuiet(cmd, &c.quiet)
	addJSON(cmd, &c.asJSON)
	return cmd
}

func (c *convertCommand) run(cmd *cobra.Command, args []string) error {
	model := args[0]
	if c.out != "" {
		if err := named("--out", features.CheckNewFolderName(c.out, "savedmodel")); err != nil {
			return err
		}
	}
	store, err := savedmodels.Open(c.store)
	if err != nil {
		return err
	}
	con := commandConsole(cmd, c.quiet)
	progress := con.start("converting "+model, unitParameters, 0)
	defer progress.end()
	request := savedmodels.Request{Model: model, Weights: c.weights, Times: c.times, Variant: c.variant,
		Progress: progress.set}
	var found savedmodels.SavedModel
	if c.out != "" {
		found, err = store.ConvertTo(cmd.Context(), request, c.out, c.force)
	} else {
		found, err = store.Get(cmd.Context(), request)
	}
	progress.end()
	if errors.Is(err, convert.ErrExists) {
		return advise(err, "choose another name, or replace it with --force")
	}
	if err != nil {
		return err
	}
	result, err := found.Describe()
	if err != nil {
		return err
	}
	if result.Weights.Untrained {
		con.warn("%s", untrainedWarning(model, c.weights))
	}
	return present(cmd, c.asJSON, result, func(out io.Writer) error {
		_, err := fmt.Fprintf(out, "%s\n  %s, weights %s, %s, variant %s, %s\n", result.Dir, result.Model, result.Weights,
			plural(result.Times, "timestep"), result.Variant, humanize.Bytes(uint64(result.Bytes)))
		return err
	})
}
