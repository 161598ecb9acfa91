package main

import (
	"fmt"
	"io"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/savedmodels"
)

func newRemove() *cobra.Command {
	var store, checkpoints string
	var withCheckpoint, asJSON bool
	cmd := &cobra.Command{
		Use:   "rm MODEL…",
		Short: "Remove converted models, and their checkpoints",
		Long: `Remove all converted forms of models from the store and, with --checkpoint, their
downloaded checkpoints too.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("which models? %s models --installed lists them", program)
			}
			return nil
		},
		ValidArgsFunction: completeModels,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, model := range args {
				if _, err := savedmodels.Lookup(model); err != nil {
					return err
				}
			}
			s, err := savedmodels.Open(store)
			if err != nil {
				return err
			}
			all := []savedmodels.Removed{} // not null in JSON
			for _, model := range args {
				removed, err := s.Remove(cmd.Context(), model, withCheckpoint, checkpoints)
				all = append(all, removed...)
				if err != nil {
					return err
				}
			}
			return printRemoved(cmd.OutOrStdout(), all, false, asJSON)
		},
	}
	addStore(cmd, &store)
	addCheckpoints(cmd, &checkpoints)
	cmd.Flags().BoolVar(&withCheckpoint, "checkpoint", false, "remove the downloaded checkpoints too")
	addJSON(cmd, &asJSON)
	return cmd
}

func printRemoved(out io.Writer, removed []savedmodels.Removed, dryRun, asJSON bool) error {
	if asJSON {
		return printJSON(out, removed)
	}
	var total int64
	for _, r := range removed {
		total += r.Bytes
		if _, err := fmt.Fprintf(out, "%s (%s, %s)\n", r.Path, r.Reason, humanize.Bytes(uint64(r.Bytes))); err != nil {
			return err
		}
	}
	verb := "removed"
	if dryRun {
		verb = "would be removed"
	}
	_, err := fmt.Fprintf(out, "%s %s, %s\n", plural(len(removed), "item"), verb, humanize.Bytes(uint64(total)))
	return err
}
