package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/convert"
	terminal "github.com/tfconvrnn/go/internal/console"
	"github.com/tfconvrnn/go/savedmodels"
)

// modelInfo is what info prints.
type modelInfo struct {
	savedmodels.Model
	Signatures convert.SignatureNames `json:"signatures"`
}

func newInfo() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "info MODEL",
		Short:             "Describe a model: layers, shapes, times, brain areas, signatures",
		Args:              oneModel,
		ValidArgsFunction: completeOneModel,
		RunE: func(cmd *cobra.Command, args []string) error {
			model, err := savedmodels.Lookup(args[0])
			if err != nil {
				return err
			}
			info := modelInfo{model, convert.Signatures()}
			return present(cmd, asJSON, info, info.print)
		},
	}
	addJSON(cmd, &asJSON)
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
