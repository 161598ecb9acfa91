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
	flags.IntVar(&c.times, "times", 0, fmt.Sprintf("most timesteps a presentation can have (default %d)", convert.DefaultTimes))
	addParsed(cmd, &c.variant, "variant", convert.LightCone, convert.ParseVariant, "`VARIANT` of the graph: lightcone, or plain, the slow reference",
		string(convert.LightCone), string(convert.Plain))
	flags.BoolVar(&c.force, "force", false, "replace an existing SavedModel")
	addQuiet(cmd, &c.quiet)
	addJSON(cmd, &c.asJSON)
	return cmd
}

func (c *convertCommand) run(cmd *cobra.Command, args []string) error {
	model := args[0]
	if _, err := savedmodels.Lookup(model); err != nil {
		return err
	}
	if c.times < 0 {
		return usagef("--times %d: a number of timesteps is at least 1", c.times)
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
	progress := con.start("converting "+model, unitParameters, 0)
	defer progress.end()
	var found savedmodels.SavedModel
	if c.out != "" {
		found, err = c.toDirectory(cmd.Context(), store, model, progress.set)
	} else {
		found, err = store.Get(cmd.Context(), savedmodels.Request{Model: model, Weights: c.weights, Times: c.times, Variant: c.variant, Progress: progress.set})
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

func (c *convertCommand) toDirectory(ctx context.Context, store *savedmodels.Store, model string, progress func(done, total int64)) (savedmodels.SavedModel, error) {
	source, err := store.Source(model, c.weights)
	if err != nil {
		return savedmodels.SavedModel{}, err
	}
	defer source.Close()
	m, err := convert.Convert(ctx, model, source, c.out, convert.Options{Times: c.times, Variant: c.variant, Overwrite: c.force, Progress: progress})
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
