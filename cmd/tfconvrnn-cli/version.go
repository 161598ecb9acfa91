package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/doctor"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/thirdparty"
	"github.com/tfconvrnn/go/internal/version"
	"github.com/tfconvrnn/go/tfconvrnn"
)

func newVersion() *cobra.Command {
	var asJSON, sbom, notices bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of this program, Go and, if it is found, TensorFlow",
		Long: `Print the versions of this program, Go and, if it is found, TensorFlow.

With --sbom, print a software bill of materials instead (CycloneDX 1.6, JSON): what is
linked into this program and what it loads, with versions, checksums and licences.
With --notices, print the texts of these licences.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case sbom && notices || asJSON && (sbom || notices):
				return usagef("give one of --json, --sbom and --notices")
			case sbom:
				return doctor.WriteSBOM(cmd.OutOrStdout())
			case notices:
				_, err := io.WriteString(cmd.OutOrStdout(), thirdparty.Notices())
				return err
			}
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
			fmt.Fprintf(cmd.OutOrStdout(), "tfconvrnn  %s (converter %s)\nGo         %s %s\nTensorFlow %s\n", v.Version,
				v.Converter, v.Go, v.Platform, found)
			return nil
		},
	}
	addJSON(cmd, &asJSON)
	cmd.Flags().BoolVar(&sbom, "sbom", false, "print a software bill of materials (CycloneDX, JSON)")
	cmd.Flags().BoolVar(&notices, "notices", false,
		"print the licences of what is linked into this program or loaded by it")
	return cmd
}
