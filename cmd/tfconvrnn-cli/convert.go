package main

import (
	"errors"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/savedmodels"
)

type convertCommand struct {
	store, out string
	weights    savedmodels.Weights
	variant    convert.Variant
	times      int
	force      bool
}

func newConvert() *cobra.Command {
	c := &convertCommand{}
	cmd := &cobra.Command{Use: "convert MODEL", Args: oneModel, ValidArgsFunction: completeOneModel, RunE: c.run}
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
	addMessages(cmd)
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
	con := commandConsole(cmd)
	progress := con.Start("converting "+model, unitParameters, 0)
	defer progress.End()
	request := savedmodels.Request{Model: model, Weights: c.weights, Times: c.times, Variant: c.variant,
		Progress: progress.Set}
	var found savedmodels.SavedModel
	if c.out != "" {
		found, err = store.ConvertTo(cmd.Context(), request, c.out, c.force)
	} else {
		found, err = store.Get(cmd.Context(), request)
	}
	progress.End()
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
		con.Warn("%s", untrainedWarning(model, c.weights))
	}
	return presentf(cmd, result, "%s\n  %s, weights %s, %s, variant %s, %s\n", result.Dir, result.Model, result.Weights,
		plural(result.Times, "timestep"), result.Variant, humanize.Bytes(uint64(result.Bytes)))
}
