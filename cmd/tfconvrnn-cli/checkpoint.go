package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/savedmodels"
)

func newCheckpointInspect() *cobra.Command {
	var verify bool
	cmd := &cobra.Command{
		Use: "inspect PREFIX", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			progress := commandConsole(cmd).Start("verifying", unitBytes, 0)
			info, err := savedmodels.InspectCheckpoint(cmd.Context(), args[0], verify, progress.Set)
			progress.End()
			if err != nil {
				return inputError{err}
			}
			return present(cmd, info, func(out io.Writer) error { return printCheckpoint(out, info) })
		},
	}
	cmd.Flags().BoolVar(&verify, "verify", false, "verify the checksum of every tensor")
	addMessages(cmd)
	return cmd
}

func printCheckpoint(out io.Writer, info *savedmodels.CheckpointInfo) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, t := range info.Tensors {
		shape := strings.ReplaceAll(fmt.Sprint(t.Shape), " ", ", ")
		note := ""
		if t.Slices > 0 {
			note = fmt.Sprintf("in %d slices", t.Slices)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", t.Name, t.Type, shape, humanize.Bytes(uint64(t.Bytes)), note)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fits := "fits none of the published models"
	if len(info.Models) > 0 {
		fits = "fits " + strings.Join(info.Models, ", ")
	}
	fmt.Fprintf(out, "%s, %s; %s\n", plural(len(info.Tensors), "tensor"), humanize.Bytes(uint64(info.Bytes)), fits)
	if info.Checked {
		fmt.Fprintln(out, "all checksums are right")
	}
	return nil
}

func newCheckpointSeed() *cobra.Command {
	var seed uint64
	var out string
	var force bool
	cmd := &cobra.Command{
		Use: "seed MODEL --out DIR", Args: oneModel, ValidArgsFunction: completeOneModel,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := named("--out", features.CheckFolderName(out, "checkpoints")); err != nil {
				return err
			}
			c := commandConsole(cmd)
			progress := c.Start("writing", unitParameters, 0)
			prefix, err := savedmodels.SeedCheckpoint(cmd.Context(), args[0], seed, out, force, progress.Set)
			progress.End()
			if errors.Is(err, convert.ErrExists) {
				return advise(err, "choose another directory, or replace it with --force")
			}
			if err != nil {
				return err
			}
			c.Warn("these weights are untrained (seeded:%d): good for trying things out, not for science", seed)
			fmt.Fprintf(cmd.OutOrStdout(), "%s.{index,data-00000-of-00001}\n", prefix)
			return nil
		},
	}
	cmd.Flags().Uint64Var(&seed, "seed", 1, "seed of the weights")
	cmd.Flags().StringVarP(&out, "out", "o", "", "`DIR` to write into")
	cmd.Flags().BoolVar(&force, "force", false, "replace a checkpoint that is there")
	obey(cmd, needed("out", "where to? give --out DIR"))
	addQuiet(cmd)
	return cmd
}
