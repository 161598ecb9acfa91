package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/version"
	"github.com/tfconvrnn/go/tfconvrnn"
)

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of this program, Go and, if it is found, TensorFlow",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := struct {
				Version    string `json:"version"`
				Converter  string `json:"converter"`
				Go         string `json:"go"`
				Platform   string `json:"platform"`
				TensorFlow string `json:"tensorflow,omitempty"`
			}{version.Version, version.Converter, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, ""}
			if tfconvrnn.RuntimeError() == nil {
				v.TensorFlow = libtf.Loaded().Version()
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), v)
			}
			found := v.TensorFlow
			if found == "" {
				found = "not found; see " + program + " doctor"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "tfconvrnn  %s (converter %s)\nGo         %s %s\nTensorFlow %s\n", v.Version, v.Converter, v.Go, v.Platform, found)
			return nil
		},
	}
	addJSON(cmd, &asJSON)
	return cmd
}
