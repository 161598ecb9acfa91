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
	var withCheckpoint bool
	cmd := &cobra.Command{Use: "rm MODEL…", Args: someModels, ValidArgsFunction: completeModels}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for _, model := range args {
			if _, err := savedmodels.Lookup(model); err != nil {
				return err
			}
		}
		s, err := savedmodels.Open(store)
		if err != nil {
			return err
		}
		var all []savedmodels.Removed
		for _, model := range args {
			removed, err := s.Remove(cmd.Context(), model, withCheckpoint, checkpoints)
			all = append(all, removed...)
			if err != nil {
				return err
			}
		}
		return presentRemoved(cmd, all, "removed")
	}
	addStore(cmd, &store)
	addCheckpoints(cmd, &checkpoints)
	cmd.Flags().BoolVar(&withCheckpoint, "checkpoint", false, "remove the downloaded checkpoints too")
	addJSON(cmd)
	return cmd
}

func someModels(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("which models? %s models --installed lists them", program)
	}
	return nil
}

func newCollectGarbage() *cobra.Command {
	var store, checkpoints string
	var dryRun bool
	cmd := &cobra.Command{Use: "gc", RunE: func(cmd *cobra.Command, _ []string) error {
		s, err := savedmodels.Open(store)
		if err != nil {
			return err
		}
		removed, err := s.CollectGarbage(cmd.Context(), checkpoints, dryRun)
		if err != nil {
			return err
		}
		if dryRun {
			return presentRemoved(cmd, removed, "would be removed")
		}
		return presentRemoved(cmd, removed, "removed")
	}}
	addStore(cmd, &store)
	addCheckpoints(cmd, &checkpoints)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be removed")
	addJSON(cmd)
	return cmd
}

func presentRemoved(cmd *cobra.Command, removed []savedmodels.Removed, verb string) error {
	if removed == nil {
		removed = []savedmodels.Removed{} // not null in JSON
	}
	return present(cmd, removed, func(out io.Writer) error {
		var total int64
		for _, r := range removed {
			total += r.Bytes
			if _, err := fmt.Fprintf(out, "%s (%s, %s)\n", r.Path, r.Reason, humanize.Bytes(uint64(r.Bytes))); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(out, "%s %s, %s\n", plural(len(removed), "item"), verb, humanize.Bytes(uint64(total)))
		return err
	})
}
