package main

import (
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/savedmodels"
)

func newCollectGarbage() *cobra.Command {
	var store, checkpoints string
	var dryRun, asJSON bool
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove unfinished downloads and conversions, and outdated models",
		Long: `Remove what nobody will use: what interrupted downloads and conversions left (such
a download then begins anew), and models that another version of the converter
wrote. What other processes are working on is left alone.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := savedmodels.Open(store)
			if err != nil {
				return err
			}
			removed, err := s.CollectGarbage(cmd.Context(), checkpoints, dryRun)
			if err != nil {
				return err
			}
			if removed == nil {
				removed = []savedmodels.Removed{} // not null in JSON
			}
			return printRemoved(cmd.OutOrStdout(), removed, dryRun, asJSON)
		},
	}
	addStore(cmd, &store)
	addCheckpoints(cmd, &checkpoints)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be removed")
	addJSON(cmd, &asJSON)
	return cmd
}
