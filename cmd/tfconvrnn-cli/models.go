package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/convert"
	terminal "github.com/tfconvrnn/go/internal/console"
	"github.com/tfconvrnn/go/savedmodels"
)

func newModels() *cobra.Command {
	var installed bool
	var dir string
	cmd := &cobra.Command{Use: "models", RunE: func(cmd *cobra.Command, _ []string) error {
		if installed {
			return listInstalled(cmd, dir)
		}
		models := savedmodels.Catalogue()
		return present(cmd, models, func(out io.Writer) error { return printModels(out, models) })
	}}
	cmd.Flags().BoolVar(&installed, "installed", false, "list the converted models of the store")
	addStore(cmd, &dir)
	addJSON(cmd)
	return cmd
}

func printModels(out io.Writer, models []savedmodels.Model) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "MODEL\tCELL\tLAYERS\tDECODER\tTIMESTEPS\tIMAGE OFF\tPARAMETERS\tTOP-1 %\tTOP-5 %")
	for _, m := range models {
		off := "never"
		if m.Default.ImageOff < m.Default.Times {
			off = fmt.Sprint(m.Default.ImageOff)
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%d\t%s\t%s\t%.2f\t%.2f\n", m.Name, m.Cell, len(m.Layers), m.Decoder,
			m.Default.Times, off, terminal.ShortCount(m.Parameters), m.Top1, m.Top5)
	}
	return table.Flush()
}

// listInstalled prints the converted models of a store.
func listInstalled(cmd *cobra.Command, dir string) error {
	store, err := savedmodels.Open(dir)
	if err != nil {
		return err
	}
	found, err := store.List()
	if err != nil {
		return err
	}
	list := []savedmodels.Description{} // not null in JSON
	for _, m := range found {
		described, err := m.Describe()
		if err != nil {
			return err
		}
		list = append(list, described)
	}
	return present(cmd, list, func(out io.Writer) error {
		if len(list) == 0 {
			fmt.Fprintf(out, "no converted models in %s\n", store.Dir())
			return nil
		}
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "MODEL\tWEIGHTS\tTIMESTEPS\tVARIANT\tSIZE\tDIRECTORY")
		for _, m := range list {
			fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\t%s\n", m.Model, m.Weights, m.Times, m.Variant,
				humanize.Bytes(uint64(m.Bytes)), m.Dir)
		}
		return table.Flush()
	})
}

// modelInfo is what info prints.
type modelInfo struct {
	savedmodels.Model
	Signatures convert.SignatureNames `json:"signatures"`
}

func newInfo() *cobra.Command {
	cmd := &cobra.Command{
		Use: "info MODEL", Args: oneModel, ValidArgsFunction: completeOneModel,
		RunE: func(cmd *cobra.Command, args []string) error {
			model, err := savedmodels.Lookup(args[0])
			if err != nil {
				return err
			}
			info := modelInfo{model, convert.Signatures()}
			return present(cmd, info, info.print)
		},
	}
	addJSON(cmd)
	return cmd
}

func (i *modelInfo) print(out io.Writer) error {
	shown := "throughout"
	if i.Default.ImageOff < i.Default.Times {
		shown = fmt.Sprintf("until timestep %d", i.Default.ImageOff)
	}
	fmt.Fprintf(out, "%s: %s cells, %s (%s parameters)\n", i.Name, i.Cell, i.Depth, terminal.ShortCount(i.Parameters))
	fmt.Fprintf(out, "published accuracy    top-1 %.2f %%, top-5 %.2f %%\n", i.Top1, i.Top5)
	fmt.Fprintf(out, "decoder               %s\n", i.Decoder)
	fmt.Fprintf(out, "default presentation  %d timesteps of 10 ms, the image is shown %s\n", i.Default.Times, shown)
	fmt.Fprintf(out, "checkpoint            %s.*\n\n", i.URL)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "LAYER\tSHAPE\tDRIVEN FROM\tREPORTED\tAREAS")
	for _, l := range i.Layers {
		fmt.Fprintf(table, "%s\t%s\tt=%d\tt=%d…%d\t%s\n", l.Name, shapeText(l.Shape), l.DrivenFrom, l.ReportedFrom,
			i.Default.Times-1, strings.Join(l.Areas, ", "))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	s := i.Signatures
	fmt.Fprintf(out, `
Signatures of the converted model (tag %q):
  %s: images [N, 224, 224, 3] in 0 … 1 → logits [N, 1000], default presentation
  %s: frames [F, 224, 224, 3], normalized, and schedule [timesteps, N] of
    frame numbers → %s, %s
`, s.Tag, s.Serving, s.Presentation, s.Layers, s.Logits)
	return nil
}

// shapeText writes a shape as NumPy does.
func shapeText(shape []int) string {
	parts := make([]string, len(shape))
	for i, d := range shape {
		parts[i] = fmt.Sprint(d)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}
