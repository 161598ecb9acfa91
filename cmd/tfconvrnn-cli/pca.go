package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/internal/version"
)

func newPCA() *cobra.Command {
	r := extraction.ComponentsRequest{Software: program + " " + version.Version}
	cmd := &cobra.Command{Use: "pca FEATURES --out FILE.npz [flags]",
		Args: oneOf("output", "which features? give one output of extract")}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !strings.EqualFold(filepath.Ext(r.Output), ".npz") {
			return usagef("--out %s: the name must end in .npz", r.Output)
		}
		if err := checkOutput(r.Output, r.Replace, args...); err != nil {
			return err
		}
		c := commandConsole(cmd)
		r.Features, r.Time, r.Note = args[0], cmd.Flag("time").Value.String(), func(message string) { c.Note("%s", message) }
		fitted, err := extraction.FitComponents(cmd.Context(), r)
		if err != nil {
			return err
		}
		return present(cmd, fitted, func(out io.Writer) error {
			for _, f := range fitted {
				fmt.Fprintf(out, "%s: %d components of %d features, fitted on %d, explain %.1f %% of the variance\n", f.Layer,
					f.Components, f.Features, f.FittedOn, 100*f.Explained)
			}
			return nil
		})
	}
	flags := cmd.Flags()
	flags.StringVarP(&r.Output, "out", "o", "", "`FILE`.npz to write")
	addCount(cmd, &r.Components, "components", 1000, 1, "how many components of each layer")
	addList(cmd, &r.Layers, "layers", "comma-separated `LAYERS` (default: all)")
	addWindow(cmd, &r.From, &r.To, "time", "only timesteps within `FROM:TO` ms, such as 70:170")
	flags.BoolVar(&r.AverageTime, "average-time", false, "the mean over timesteps instead of each by itself")
	flags.BoolVar(&r.Replace, "force", false, "replace an existing file")
	addMessages(cmd)
	return cmd
}
