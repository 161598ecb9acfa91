package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/internal/version"
)

type pcaCommand struct {
	request       extraction.ComponentsRequest
	layers        []string
	quiet, asJSON bool
}

func newPCA() *cobra.Command {
	p := &pcaCommand{}
	cmd := &cobra.Command{
		Use:   "pca FEATURES --out FILE.npz [flags]",
		Short: "Fit principal components, with which extract --reduce makes layers smaller",
		Long: `Fit the principal components of each layer of FEATURES, an output of extract of the
stimuli to fit on, such as 1,000 images of ImageNet's validation set as Brain-Score does
to choose layers. The .npz keeps them, and extract --reduce 'pca(FILE.npz)' takes them:

  ` + program + ` extract --model M --layers conv5,conv9 --out fit.zarr imagenet/val-1000
  ` + program + ` pca fit.zarr --time 70:170 --average-time --out components.npz
  ` + program + ` extract --model M --layers conv5,conv9 --reduce 'pca(components.npz)' \
      --out it.nc stimuli.csv

A layer has one set of components, for all timesteps. They are fitted on the features
of all stimuli at all timesteps that are driven, or those of --time; with
--average-time on the mean over these. Layers with no more features than components are
left out, and stay as they are. The components are scikit-learn's PCA, the same in every
run; the output of extract records the file's SHA-256.`,
		Example: `  ` + program + ` pca fit.zarr --components 300 --time 100:110 --out components.npz`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("which features? give one output of extract")
			}
			return nil
		},
		RunE: p.run,
	}
	flags := cmd.Flags()
	flags.StringVarP(&p.request.Output, "out", "o", "", "`FILE`.npz to write")
	flags.IntVar(&p.request.Components, "components", 1000, "how many components of each layer")
	flags.StringArrayVar(&p.layers, "layers", nil, "comma-separated `LAYERS` (default: all)")
	flags.StringVar(&p.request.Time, "time", "", "only timesteps within `FROM:TO` ms, such as 70:170")
	flags.BoolVar(&p.request.AverageTime, "average-time", false, "the mean over timesteps instead of each by itself")
	flags.BoolVar(&p.request.Replace, "force", false, "replace an existing file")
	addQuiet(cmd, &p.quiet)
	addJSON(cmd, &p.asJSON)
	return cmd
}

func (p *pcaCommand) run(cmd *cobra.Command, args []string) (err error) {
	if !strings.EqualFold(filepath.Ext(p.request.Output), ".npz") {
		return usagef("--out %s: the name must end in .npz", p.request.Output)
	}
	if p.request.Components < 1 {
		return usagef("--components %d: it is at least 1", p.request.Components)
	}
	if err := checkOutput(p.request.Output, p.request.Replace, args...); err != nil {
		return err
	}
	r, c := p.request, commandConsole(cmd, p.quiet)
	if r.From, r.To, err = window("time", r.Time); err != nil {
		return err
	}
	r.Features, r.Layers, r.Software = args[0], splitList(p.layers), program+" "+version.Version
	r.Note = func(message string) { c.note("%s", message) }
	fitted, err := extraction.FitComponents(cmd.Context(), r)
	if err != nil {
		return err
	}
	if p.asJSON {
		return printJSON(cmd.OutOrStdout(), fitted)
	}
	for _, f := range fitted {
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %d components of %d features, fitted on %d, explain %.1f %% of the variance\n",
			f.Layer, f.Components, f.Features, f.FittedOn, 100*f.Explained)
	}
	return nil
}
