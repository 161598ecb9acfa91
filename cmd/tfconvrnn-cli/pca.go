package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/disk"
	"github.com/tfconvrnn/go/internal/reduce"
	"github.com/tfconvrnn/go/internal/version"
)

type pcaCommand struct {
	out, time     string
	layers        []string
	components    int
	average       bool
	force, asJSON bool
	quiet         bool
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
	flags.StringVarP(&p.out, "out", "o", "", "`FILE`.npz to write")
	flags.IntVar(&p.components, "components", 1000, "how many components of each layer")
	flags.StringArrayVar(&p.layers, "layers", nil, "comma-separated `LAYERS` (default: all)")
	flags.StringVar(&p.time, "time", "", "only timesteps within `FROM:TO` ms, such as 70:170")
	flags.BoolVar(&p.average, "average-time", false, "the mean over timesteps instead of each by itself")
	flags.BoolVar(&p.force, "force", false, "replace an existing file")
	addQuiet(cmd, &p.quiet)
	addJSON(cmd, &p.asJSON)
	return cmd
}

// pcaReport is what is printed of a layer.
type pcaReport struct {
	Layer      string  `json:"layer"`
	Features   int     `json:"features"`
	Components int     `json:"components"`
	FittedOn   int     `json:"fitted_on"`
	Explained  float64 `json:"explained"` // part of the variance
}

// pcaProvenance is kept in the file.
type pcaProvenance struct {
	Software    string          `json:"software"`
	Features    string          `json:"features"`
	SHA256      string          `json:"features_sha256,omitempty"` // of a file
	Stimuli     int             `json:"stimuli"`
	Time        string          `json:"time,omitempty"`
	AverageTime bool            `json:"average_time,omitempty"`
	Extraction  json.RawMessage `json:"extraction,omitempty"`
}

func (p *pcaCommand) run(cmd *cobra.Command, args []string) error {
	if !strings.EqualFold(filepath.Ext(p.out), ".npz") {
		return usagef("--out %s: the name must end in .npz", p.out)
	}
	if p.components < 1 {
		return usagef("--components %d: it is at least 1", p.components)
	}
	if err := checkOutput(p.out, p.force); err != nil {
		return err
	}
	store, err := features.Open(args[0])
	if err != nil {
		return err
	}
	defer store.Close()
	c := commandConsole(cmd, p.quiet)
	fitted, names, reports, err := p.fit(cmd.Context(), store, c)
	if err != nil {
		return err
	}
	about := pcaProvenance{Software: program + " " + version.Version, Features: args[0], Stimuli: len(store.Stimuli()),
		Time: p.time, AverageTime: p.average}
	if text := store.Provenance(); json.Valid([]byte(text)) {
		about.Extraction = json.RawMessage(text)
	}
	if !store.Format().Folder() {
		if about.SHA256, err = disk.SHA256(cmd.Context(), args[0]); err != nil {
			return err
		}
	}
	provenance, err := json.Marshal(about)
	if err != nil {
		return err
	}
	if err := reduce.WritePCA(cmd.Context(), p.out, names, fitted, string(provenance), p.force); err != nil {
		return err
	}
	if p.asJSON {
		return printJSON(cmd.OutOrStdout(), reports)
	}
	for _, r := range reports {
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %d components of %d features, fitted on %d, explain %.1f %% of the variance\n",
			r.Layer, r.Components, r.Features, r.FittedOn, 100*r.Explained)
	}
	return nil
}

func (p *pcaCommand) fit(ctx context.Context, store *features.Store, c *console) (fitted map[string]*reduce.PCA,
	names []string, reports []pcaReport, err error) {
	from, to, err := window("time", p.time)
	if p.time != "" && err != nil {
		return nil, nil, nil, err
	}
	wanted := splitList(p.layers)
	if len(wanted) == 0 {
		for _, l := range store.Layers() {
			wanted = append(wanted, l.Name)
		}
	}
	fitted = map[string]*reduce.PCA{}
	for _, name := range wanted {
		l, err := store.Layer(name)
		if err != nil {
			return nil, nil, nil, err
		}
		if l.Units() <= p.components {
			c.note("layer %s has %d features, no more than components: it stays as it is", name, l.Units())
			continue
		}
		rows, err := p.rows(ctx, store, l, from, to)
		if err != nil {
			return nil, nil, nil, err
		}
		pca, err := reduce.FitPCA(rows, l.Shape, p.components)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("layer %s: %w", name, err)
		}
		if len(pca.Variances) < p.components {
			c.note("layer %s: only %d components, since it is fitted on %d", name, len(pca.Variances), len(rows)/l.Units())
		}
		fitted[name], names = pca, append(names, name)
		report := pcaReport{Layer: name, Features: l.Units(), Components: len(pca.Variances), FittedOn: len(rows) / l.Units()}
		for _, ratio := range pca.Ratios {
			report.Explained += ratio
		}
		reports = append(reports, report)
	}
	return fitted, names, reports, nil
}

// rows returns what components of a layer are fitted on, [rows, units].
func (p *pcaCommand) rows(ctx context.Context, store *features.Store, l features.LayerInfo, from, to *float64) (
	[]float32, error) {
	var timesteps []int
	for i, t := range l.Timesteps {
		ms := l.Milliseconds[i]
		if (l.Driven == nil || l.Driven[i]) && (from == nil || ms >= *from) &&
			(to == nil || ms+features.MillisecondsPerTimestep <= *to) {
			timesteps = append(timesteps, t)
		}
	}
	if len(timesteps) == 0 {
		return nil, usagef("layer %s has no driven timestep within --time %s", l.Name, p.time)
	}
	valid, units := store.Valid(), l.Units()
	var rows []float32
	count := len(store.Stimuli())
	if !p.average {
		count *= len(timesteps)
	}
	if count > reduce.MostRows {
		return nil, inputf("layer %s: %d stimuli at %d timesteps are %d to fit on, and %d are the most: choose fewer by --time, or --average-time",
			l.Name, len(store.Stimuli()), len(timesteps), count, reduce.MostRows)
	}
	for i := range store.Stimuli() {
		if valid != nil && !valid[i] {
			continue
		}
		values, err := store.Read(ctx, l.Name, i, 1, timesteps)
		if err != nil {
			return nil, err
		}
		if !p.average {
			rows = append(rows, values...)
			continue
		}
		for u := range units {
			sum := 0.0
			for t := range timesteps {
				sum += float64(values[t*units+u])
			}
			rows = append(rows, float32(sum/float64(len(timesteps))))
		}
	}
	return rows, nil
}
