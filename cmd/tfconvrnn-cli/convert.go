package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/savedmodels"
)

type convertCommand struct {
	weights, store, out, variant string
	times                        int
	force, quiet, asJSON         bool
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
	flags.StringVar(&c.weights, "weights", "", "`WEIGHTS`: trained (the default), a directory with <model>/model.ckpt.*, or seeded:<seed> for an untrained model")
	flags.StringVar(&c.store, "store", "", "`DIR` of converted models (default: in the user's cache)")
	flags.StringVarP(&c.out, "out", "o", "", "`DIR` to write instead of the store")
	flags.IntVar(&c.times, "times", 0, fmt.Sprintf("most timesteps a presentation can have (default %d)", convert.DefaultTimes))
	flags.StringVar(&c.variant, "variant", string(convert.LightCone), "`VARIANT` of the graph: lightcone, or plain, the slow reference")
	flags.StringVar(&c.variant, "plan", string(convert.LightCone), "")
	_ = flags.MarkHidden("plan") // the older name; cobra would print its deprecation on standard output
	flags.BoolVar(&c.force, "force", false, "replace an existing SavedModel")
	addQuiet(cmd, &c.quiet)
	addJSON(cmd, &c.asJSON)
	_ = cmd.RegisterFlagCompletionFunc("variant", cobra.FixedCompletions([]string{"lightcone", "plain"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (c *convertCommand) run(cmd *cobra.Command, args []string) error {
	model := args[0]
	if _, err := savedmodels.Lookup(model); err != nil {
		return err
	}
	variant := convert.Variant(c.variant)
	if variant != convert.LightCone && variant != convert.Plain {
		return usagef("unknown variant %q; there are %s and %s", c.variant, convert.LightCone, convert.Plain)
	}
	if c.times < 0 {
		return usagef("--times %d: a number of timesteps is at least 1", c.times)
	}
	weights, err := savedmodels.ParseWeights(c.weights)
	if err != nil {
		return err
	}
	store, err := savedmodels.Open(c.store)
	if err != nil {
		return err
	}
	if c.out != "" {
		if err := checkSavedModelOutput(c.out, c.force); err != nil {
			return err
		}
	}
	con := commandConsole(cmd, c.quiet)
	if cmd.Flags().Changed("plan") {
		con.warn("--plan is called --variant now")
	}
	progress := con.start("converting "+model, unitParameters, 0)
	defer progress.end()
	var found savedmodels.SavedModel
	if c.out != "" {
		found, err = c.toDirectory(cmd.Context(), store, model, weights, variant, progress.set)
	} else {
		found, err = store.Get(cmd.Context(), savedmodels.Request{Model: model, Weights: weights, Times: c.times, Variant: variant, Progress: progress.set})
	}
	progress.end()
	if err != nil {
		return err
	}
	result, err := describeSavedModel(found)
	if err != nil {
		return err
	}
	if result.Weights.Untrained {
		con.warn("%s", untrainedWarning(model, c.weights))
	}
	if c.asJSON {
		return printJSON(cmd.OutOrStdout(), result)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s\n  %s, weights %s, %s, variant %s, %s\n", result.Dir, result.Model, weightsName(result.Weights),
		plural(result.Times, "timestep"), result.Variant, humanize.Bytes(uint64(result.Bytes)))
	return nil
}

func (c *convertCommand) toDirectory(ctx context.Context, store *savedmodels.Store, model string, w savedmodels.Weights, variant convert.Variant, progress func(done, total int64)) (savedmodels.SavedModel, error) {
	source, err := store.Source(model, w)
	if err != nil {
		return savedmodels.SavedModel{}, err
	}
	defer source.Close()
	m, err := convert.Convert(ctx, model, source, c.out, convert.Options{Times: c.times, Variant: variant, Overwrite: c.force, Progress: progress})
	return savedmodels.SavedModel{Dir: c.out, Manifest: m}, err
}

// checkSavedModelOutput finds out whether a SavedModel can be put at dir. What is
// replaced must be one too: --force with a wrong name must not cost a home
// directory.
func checkSavedModelOutput(dir string, force bool) error {
	if err := checkFolderName("--out", dir, "savedmodel"); err != nil {
		return err
	}
	if endsInFolder(strings.TrimRight(dir, "/")) {
		return usagef("--out %s: the folder is made anew; name one in it, such as --out %s", dir, filepath.Join(dir, "savedmodel"))
	}
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("--out %w", err)
	case !force:
		return fmt.Errorf("%s: %w; choose another name, or replace it with --force", dir, fs.ErrExist)
	case len(entries) > 0:
		if _, err := os.Stat(filepath.Join(dir, manifest.Name)); err != nil {
			return fmt.Errorf("%s is not a converted model (it has no %s), so it is not replaced even with --force", dir, manifest.Name)
		}
	}
	return checkFolder(filepath.Dir(filepath.Clean(dir)))
}
