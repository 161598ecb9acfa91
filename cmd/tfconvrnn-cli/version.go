package main

import (
	"cmp"
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
	var sbom, notices bool
	cmd := &cobra.Command{Use: "version"}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
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
		return presentf(cmd, v, "tfconvrnn  %s (converter %s)\nGo         %s %s\nTensorFlow %s\n", v.Version,
			v.Converter, v.Go, v.Platform, cmp.Or(v.TensorFlow, "not found; see "+program+" doctor"))
	}
	addJSON(cmd)
	cmd.Flags().BoolVar(&sbom, "sbom", false, "print a software bill of materials (CycloneDX, JSON)")
	cmd.Flags().BoolVar(&notices, "notices", false,
		"print the licences of what is linked into this program or loaded by it")
	obey(cmd, notBoth("json", "sbom", "notices"))
	return cmd
}
