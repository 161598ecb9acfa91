package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/internal/bundle"
	"github.com/tfconvrnn/go/internal/weights"
	"github.com/tfconvrnn/go/internal/zoo"
	"github.com/tfconvrnn/go/savedmodels"
)

func newCheckpoint() *cobra.Command {
	return group("checkpoint", "Look into checkpoints, or make untrained ones", newCheckpointInspect(), newCheckpointSeed())
}

// checkpointInfo is what inspect prints.
type checkpointInfo struct {
	Prefix  string       `json:"prefix"`
	Models  []string     `json:"models"` // whose variables it holds
	Bytes   int64        `json:"bytes"`
	Checked bool         `json:"checksums_verified"`
	Tensors []tensorInfo `json:"tensors"`
}

type tensorInfo struct {
	Name   string  `json:"name"`
	Type   string  `json:"type"`
	Shape  []int64 `json:"shape"`
	Bytes  int64   `json:"bytes"`
	Slices int     `json:"slices,omitempty"`
}

func newCheckpointInspect() *cobra.Command {
	var verify, quiet, asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect PREFIX",
		Short: "List the tensors of a checkpoint, and the models it fits",
		Long: `List the tensors of a TensorFlow V2 checkpoint and the models whose variables it
holds. PREFIX is such as dir/model.ckpt; the .index file or the directory of a
model.ckpt will do too.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			prefix := checkpointPrefix(args[0])
			reader, err := bundle.Open(prefix)
			if err != nil {
				return inputError{err}
			}
			defer reader.Close()
			info := checkpointInfo{Prefix: prefix, Models: []string{}, Tensors: []tensorInfo{}}
			for _, e := range reader.Entries() {
				info.Bytes += e.Size
				info.Tensors = append(info.Tensors, tensorInfo{e.Name, strings.ToLower(strings.TrimPrefix(e.DataType.String(), "DT_")), e.Shape, e.Size, e.Slices})
			}
			if verify {
				progress := commandConsole(cmd, quiet).start("verifying", unitBytes, info.Bytes)
				err := reader.VerifyAll(cmd.Context(), progress.set)
				progress.end()
				if err != nil {
					return err
				}
				info.Checked = true
			}
			for _, m := range zoo.Models() {
				if source, err := weights.OpenCheckpoint(prefix, m.Variables()); err == nil {
					info.Models = append(info.Models, m.Name)
					source.Close()
				}
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), info)
			}
			return info.print(cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&verify, "verify", false, "verify the checksum of every tensor")
	addQuiet(cmd, &quiet)
	addJSON(cmd, &asJSON)
	return cmd
}

// checkpointPrefix returns the prefix that a file or directory stands for.
func checkpointPrefix(name string) string {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return filepath.Join(name, savedmodels.CheckpointName)
	}
	return strings.TrimSuffix(name, ".index")
}

func (i *checkpointInfo) print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, t := range i.Tensors {
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
	if len(i.Models) > 0 {
		fits = "fits " + strings.Join(i.Models, ", ")
	}
	fmt.Fprintf(out, "%s, %s; %s\n", plural(len(i.Tensors), "tensor"), humanize.Bytes(uint64(i.Bytes)), fits)
	if i.Checked {
		fmt.Fprintln(out, "all checksums are right")
	}
	return nil
}

func newCheckpointSeed() *cobra.Command {
	var seed uint64
	var out string
	var force, quiet bool
	cmd := &cobra.Command{
		Use:   "seed MODEL --out DIR",
		Short: "Write untrained weights as a checkpoint that TensorFlow restores",
		Long: `Write untrained weights, the same for the same seed, to <DIR>/<MODEL>/model.ckpt.*,
laid out like the published checkpoints, for trying and testing. TensorFlow
restores them. What is made with them says "untrained" wherever they are copied to: a
conversion recognizes their values.`,
		Args:              oneModel,
		ValidArgsFunction: completeOneModel,
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usagef("where to? give --out DIR")
			}
			if err := checkFolderName("--out", out, "checkpoints"); err != nil {
				return err
			}
			return seedCheckpoint(cmd, args[0], seed, out, force, quiet)
		},
	}
	cmd.Flags().Uint64Var(&seed, "seed", 1, "seed of the weights")
	cmd.Flags().StringVarP(&out, "out", "o", "", "`DIR` to write into")
	cmd.Flags().BoolVar(&force, "force", false, "replace a checkpoint that is there")
	addQuiet(cmd, &quiet)
	return cmd
}

func seedCheckpoint(cmd *cobra.Command, name string, seed uint64, out string, force, quiet bool) error {
	if _, err := savedmodels.Lookup(name); err != nil {
		return err
	}
	source, err := convert.Seeded(name, seed)
	if err != nil {
		return err
	}
	defer source.Close()
	prefix := filepath.Join(out, name, savedmodels.CheckpointName)
	if _, err := os.Stat(prefix + ".index"); err == nil && !force {
		return fmt.Errorf("%s.index: %w; choose another directory, or replace it with --force", prefix, fs.ErrExist)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(prefix), 0o777); err != nil {
		return err
	}
	c := commandConsole(cmd, quiet)
	progress := c.start("writing", unitParameters, 0)
	err = convert.WriteCheckpoint(cmd.Context(), name, source, prefix, progress.set)
	progress.end()
	if err != nil {
		return err
	}
	c.warn("these weights are untrained (seeded:%d): good for trying things out, not for science", seed)
	fmt.Fprintf(cmd.OutOrStdout(), "%s.{index,data-00000-of-00001}\n", prefix)
	return nil
}
