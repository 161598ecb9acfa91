package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

type verifyCommand struct {
	store, checkpoints, lock   string
	checksumsOnly              bool
	yes, quiet, asJSON, record bool
}

func newVerify() *cobra.Command {
	c := &verifyCommand{}
	cmd := &cobra.Command{
		Use:   "verify [MODEL…]",
		Short: "Check installed models: checksums, and what they compute",
		Long: `Check the checkpoints and the converted models that are installed, all or those
named: the checksums of their files, the hashes of the lock file, and whether a
built-in picture excites every layer at every timestep as it did when the model was
downloaded, or verified for the first time. Differences beyond rounding (0.1 % of a
layer's RMS) are errors.`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeModels,
		RunE:              c.run,
	}
	flags := cmd.Flags()
	addStore(cmd, &c.store)
	flags.StringVar(&c.checkpoints, "checkpoints", "", "`DIR` of downloaded checkpoints (default: in the user's cache)")
	flags.StringVar(&c.lock, "lock", "", "`FILE` of SHA-256 that download wrote (default: weights.lock here if it is there, or else beside the checkpoints)")
	flags.BoolVar(&c.checksumsOnly, "checksums-only", false, "do not run the models")
	flags.BoolVar(&c.record, "record", false, "record what the models compute now, in place of what was recorded")
	addYes(cmd, &c.yes)
	addQuiet(cmd, &c.quiet)
	addJSON(cmd, &c.asJSON)
	return cmd
}

// verification is the outcome for one checkpoint or SavedModel.
type verification struct {
	Model string `json:"model"`
	What  string `json:"what"` // "checkpoint" or "converted model"
	Dir   string `json:"dir,omitempty"`
	OK    bool   `json:"ok"`
	// Activations says what became of their comparison.
	Activations string                     `json:"activations,omitempty"`
	Check       *tfconvrnn.ActivationCheck `json:"check,omitempty"`
	Error       string                     `json:"error,omitempty"`
}

func (c *verifyCommand) run(cmd *cobra.Command, args []string) error {
	for _, model := range args {
		if _, err := savedmodels.Lookup(model); err != nil {
			return err
		}
	}
	if c.lock == "" {
		if _, err := os.Stat(savedmodels.LockFileName); err == nil {
			c.lock = savedmodels.LockFileName
		}
	}
	store, err := savedmodels.Open(c.store)
	if err != nil {
		return err
	}
	ctx, con := cmd.Context(), commandConsole(cmd, c.quiet)
	results := []verification{} // not null in JSON
	var failures []error
	add := func(v verification, err error) {
		v.OK = err == nil
		if err != nil {
			v.Error = describe(err)
			failures = append(failures, fmt.Errorf("%s: %w", v.Model, err))
		}
		results = append(results, v)
	}
	names := args
	if len(names) == 0 {
		names = savedmodels.Names()
	}
	for _, model := range names {
		progress := con.start("verifying the checkpoint of "+model, unitBytes, 0)
		found, err := savedmodels.VerifyCheckpoint(ctx, model, c.checkpoints, c.lock, progress.set)
		progress.end()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if found || err != nil {
			add(verification{Model: model, What: "checkpoint"}, err)
		}
	}
	list, err := store.List()
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(m savedmodels.SavedModel) bool { return !slices.Contains(names, m.Manifest.Model) })
	if len(list) > 0 && !c.checksumsOnly {
		if err := needRuntime(cmd, con, c.yes); err != nil {
			return fmt.Errorf("%w\n(--checksums-only does without)", err)
		}
	}
	for _, m := range list {
		con.note("verifying %s", m.Dir)
		v := verification{Model: m.Manifest.Model, What: "converted model", Dir: m.Dir}
		err := m.Manifest.Verify(m.Dir)
		if err == nil && !c.checksumsOnly {
			err = c.compare(ctx, m.Dir, &v)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		add(v, err)
	}
	for _, model := range args {
		if !slices.ContainsFunc(results, func(v verification) bool { return v.Model == model }) {
			add(verification{Model: model, What: "converted model"}, fmt.Errorf("%w: it is not installed; get it with \"%s download %s\"", savedmodels.ErrNoWeights, program, model))
		}
	}
	if c.asJSON {
		err = printJSON(cmd.OutOrStdout(), results)
	} else {
		err = printVerifications(cmd.OutOrStdout(), results, store.Dir())
	}
	if err != nil {
		return err
	}
	return errors.Join(failures...)
}

// compare compares a model's activations with those recorded, or records them.
func (c *verifyCommand) compare(ctx context.Context, dir string, v *verification) error {
	return withSavedModel(ctx, dir, func(model *tfconvrnn.Model) error {
		if !c.record {
			check, err := model.CheckActivations(ctx)
			if !errors.Is(err, tfconvrnn.ErrNotRecorded) {
				v.Check, v.Activations = &check, "compared"
				return err
			}
		}
		v.Activations = "recorded"
		return model.RecordActivations(ctx)
	})
}

func printVerifications(out io.Writer, results []verification, dir string) error {
	if len(results) == 0 {
		fmt.Fprintf(out, "nothing is installed in %s\n", dir)
		return nil
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, v := range results {
		state, detail := "ok", "checksums are right"
		switch {
		case !v.OK:
			state, detail = "BAD", v.Error
		case v.Activations == "recorded":
			detail += ", activations recorded"
		case v.Check != nil:
			detail += fmt.Sprintf(", activations agree to %.1g of a layer's RMS", v.Check.Worst)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", v.Model, v.What, state, detail)
	}
	return table.Flush()
}
