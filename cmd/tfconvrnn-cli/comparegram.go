package main

import (
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/extraction"
)

type gramCommand struct {
	featureFlags
	out, shard    string
	windows       []string
	quiet, asJSON bool
}

func newCompareGram() *cobra.Command {
	g := &gramCommand{}
	cmd := &cobra.Command{
		Use:   "gram --features FILE --out FOLDER [flags]",
		Short: "Make the Gram matrices of features that are there, here or on a cluster",
		Long: `Make a folder of the products of the features of all pairs of stimuli, for each layer
and timestep: all that fit, best, rsa and cka need of them. They take it as --features,
on any machine. A matrix takes 4n² bytes for n stimuli, however large the layer.

Any number of processes may work at it, at once or one after the other, on as many
machines: each makes its --shard, a matrix appears whole or not at all, and what is there
is not made again. So after an interruption the same command goes on. The folder can
be compared with when no matrix is missing.

There is a matrix of each timestep, and of the mean over each --window. Those of features that
a model is yet to compute are an output of "extract": --out it.grams.`,
		Example: `  ` + program + ` compare gram --features it.zarr --window 70:170 --out it.grams
  ` + program + ` compare gram --features it.zarr --window 70:170 --out it.grams --shard 0/2
  ` + program + ` compare gram --features it.zarr --window 70:170 --out it.grams --shard 1/2
  ` + program + ` compare fit --features it.grams --data it.nc`,
		Args: noArguments, RunE: g.run,
	}
	g.featureFlags.register(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&g.out, "out", "o", "", "`FOLDER` of the matrices")
	addWindows(cmd, &g.windows)
	flags.StringVar(&g.shard, "shard",
		"", "the part to make, as `I/N`: 0/4 is the first of four; auto/4 takes the index of a Kubernetes Job or a Slurm array")
	addQuiet(cmd, &g.quiet)
	addJSON(cmd, &g.asJSON)
	sections(cmd, featureSection, flagSection{title: "Matrices", names: []string{"out", "window", "shard"}},
		flagSection{title: "Messages", names: []string{"json", "quiet"}})
	return cmd
}

func addWindows(cmd *cobra.Command, windows *[]string) {
	cmd.Flags().StringArrayVar(windows, "window", nil,
		"also the mean of the features of `FROM:TO` ms, with which responses of that time are compared; repeat it for several")
}

// gramWindows reads --window.
func gramWindows(texts []string) (windows []compare.Bin, err error) {
	for _, text := range texts {
		from, to, err := window("window", text)
		if err != nil {
			return nil, err
		}
		if from == nil || to == nil || *from >= *to {
			return nil, usagef("--window %s: give both ends, such as 70:170", text)
		}
		windows = append(windows, compare.Bin{Start: *from, End: *to})
	}
	return windows, nil
}

// gramReport is what is printed.
type gramReport struct {
	Folder   string `json:"folder"`
	Matrices int    `json:"matrices"`
	Made     int    `json:"made"` // by this process
	Missing  int    `json:"missing"`
	Bytes    int64  `json:"bytes"`
}

func (g *gramCommand) run(cmd *cobra.Command, _ []string) (err error) {
	o := compare.GramFolderOptions{Layers: splitList(g.layers)}
	if o.Windows, err = gramWindows(g.windows); err != nil {
		return err
	}
	if o.Shard, o.Shards, err = extraction.ParseShard(g.shard); err != nil {
		return usage(err)
	}
	if g.out == "" {
		return usagef("where to? give --out FOLDER, for example --out it.grams")
	}
	f, err := g.open()
	if err != nil {
		return err
	}
	defer f.Close()
	if f.Multiplied() {
		return usagef("--features %s are Gram matrices already", g.features)
	}
	o.About = f.Provenance()
	progress := commandConsole(cmd, g.quiet).start("multiplying", unitMatrices, 0)
	o.Progress = progress.set
	made, err := compare.MakeGrams(cmd.Context(), g.out, f, o)
	progress.end()
	if err != nil {
		return hinted(err)
	}
	r := gramReport{Folder: g.out, Matrices: made.Of, Made: made.Made, Missing: made.Missing, Bytes: made.Bytes}
	if g.asJSON {
		return printJSON(cmd.OutOrStdout(), r)
	}
	state := "complete"
	if r.Missing > 0 {
		state = fmt.Sprintf("%d are missing", r.Missing)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d of %s made, %s (%s)\n", r.Folder, r.Made, matrices(r.Matrices), state,
		humanize.Bytes(uint64(r.Bytes)))
	return err
}

func matrices(n int) string {
	if n == 1 {
		return "1 matrix"
	}
	return fmt.Sprint(n, " matrices")
}
