package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/internal/cachedir"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/runtimeinstall"
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
				return printSBOM(cmd.OutOrStdout())
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
			fmt.Fprintf(cmd.OutOrStdout(), "tfconvrnn  %s (converter %s)\nGo         %s %s\nTensorFlow %s\n", v.Version, v.Converter, v.Go, v.Platform, found)
			return nil
		},
	}
	addJSON(cmd, &asJSON)
	cmd.Flags().BoolVar(&sbom, "sbom", false, "print a software bill of materials (CycloneDX, JSON)")
	cmd.Flags().BoolVar(&notices, "notices", false, "print the licences of what is linked into this program or loaded by it")
	return cmd
}

// printSBOM prints what this program consists of. The runtime is the one that is
// loaded, or else the one that would be installed.
func printSBOM(out io.Writer) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("this program was built without information about its modules; build it with go build")
	}
	tensorflow := thirdparty.TensorFlow{Version: runtimeinstall.Version}
	if tfconvrnn.RuntimeError() == nil {
		tensorflow.Version = libtf.Loaded().Version()
		if m, err := runtimeinstall.ReadManifest(filepath.Dir(libtf.Loaded().Path())); err == nil {
			tensorflow.GPU = m.Variant == cachedir.GPU
			for _, f := range m.Files {
				tensorflow.Libraries = append(tensorflow.Libraries, thirdparty.Library{Name: f.Name, SHA256: f.SHA256})
			}
		}
	}
	return thirdparty.WriteSBOM(out, info, tensorflow)
}
