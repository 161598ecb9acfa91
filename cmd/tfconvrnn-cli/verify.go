package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

type verifyCommand struct {
	tfconvrnn.VerifyOptions
	store string
}

func newVerify() *cobra.Command {
	c := &verifyCommand{}
	cmd := &cobra.Command{Use: "verify [MODEL…]", Args: cobra.ArbitraryArgs, ValidArgsFunction: completeModels,
		RunE: c.run}
	flags := cmd.Flags()
	addStore(cmd, &c.store)
	addCheckpoints(cmd, &c.Checkpoints)
	addLock(cmd, &c.Lock, "`FILE` of SHA-256 that download wrote")
	flags.BoolVar(&c.ChecksumsOnly, "checksums-only", false, "do not run the models")
	flags.BoolVar(&c.Record, "record", false, "record what the models compute now, in place of what was recorded")
	addYes(cmd)
	addMessages(cmd)
	return cmd
}

// verification is a result as it is printed.
type verification struct {
	tfconvrnn.Verification
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

func (c *verifyCommand) run(cmd *cobra.Command, args []string) error {
	store, err := savedmodels.Open(c.store)
	if err != nil {
		return err
	}
	con := commandConsole(cmd)
	o := c.VerifyOptions
	o.Models, o.Lock = args, lockHere(o.Lock)
	o.Begin = func(model, what, dir string) (func(done, total int64), func()) {
		if what == tfconvrnn.VerifiedSavedModel {
			con.Note("verifying %s", dir)
			return nil, func() {}
		}
		progress := con.Start("verifying the checkpoint of "+model, unitBytes, 0)
		return progress.Set, progress.End
	}
	o.Runtime = func() error {
		if err := needRuntime(cmd, con); err != nil {
			return fmt.Errorf("%w\n(--checksums-only does without)", err)
		}
		return nil
	}
	found, err := tfconvrnn.Verify(cmd.Context(), store, o)
	if err != nil {
		return err
	}
	results := []verification{} // not null in JSON
	var failures []error
	for _, v := range found {
		r := verification{Verification: v, OK: v.Err == nil}
		if v.Err != nil {
			r.Error = describe(v.Err)
			failures = append(failures, fmt.Errorf("%s: %w", v.Model, v.Err))
		}
		results = append(results, r)
	}
	err = present(cmd, results, func(out io.Writer) error {
		return printVerifications(out, results, store.Dir())
	})
	return cmp.Or(err, errors.Join(failures...))
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
		case v.Activations == tfconvrnn.ActivationsRecorded:
			detail += ", activations recorded"
		case v.Check != nil:
			detail += fmt.Sprintf(", activations agree to %.1g of a layer's RMS", v.Check.Worst)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", v.Model, v.What, state, detail)
	}
	return table.Flush()
}
