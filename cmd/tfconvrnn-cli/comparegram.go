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
		Short: "Make the Gram matrices of features, here or on a cluster",
		Long: `Make a folder of the products of the features of all pairs of stimuli, for each layer
and timestep: all that fit, best, rsa and cka need of them. They take it as --features,
on any machine. A matrix takes 4n² bytes for n stimuli, however large the layer.

Any number of processes may work at it, at once or one after the other, on as many
machines: each makes its --shard, a matrix appears whole or not at all, and what is there
is not made again. So after an interruption the same command goes on. The folder can
be compared with when no matrix is missing.

There is a matrix of each timestep, and of the mean over each --window.`,
		Example: `  ` + program + ` compare gram --features it.zarr --window 70:170 --out it.grams
  ` + program + ` compare gram --features it.zarr --window 70:170 --out it.grams --shard 0/2
  ` + program + ` compare gram --features it.zarr --window 70:170 --out it.grams --shard 1/2
  ` + program + ` compare fit --features it.grams --data it.nc`,
		Args: noArguments, RunE: g.run,
	}
	g.featureFlags.register(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&g.out, "out", "o", "", "`FOLDER` of the matrices")
	flags.StringArrayVar(&g.windows, "window",
		nil, "also the mean of the features of `FROM:TO` ms, with which responses of that time are compared; repeat it for several")
	flags.StringVar(&g.shard, "shard",
		"", "the part to make, as `I/N`: 0/4 is the first of four; auto/4 takes the index of a Kubernetes Job or a Slurm array")
	addQuiet(cmd, &g.quiet)
	addJSON(cmd, &g.asJSON)
	g.featureFlags.registerGrams(cmd)
	sections(cmd, featureSection, flagSection{title: "Matrices", names: []string{"out", "window", "shard"}},
		flagSection{title: "Messages", names: []string{"json", "quiet"}})
	return cmd
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
	o := compare.GramFolderOptions{}
	for _, text := range g.windows {
		from, to, err := window("window", text)
		if err != nil {
			return err
		}
		if from == nil || to == nil || *from >= *to {
			return usagef("--window %s: give both ends, such as 70:170", text)
		}
		o.Windows = append(o.Windows, compare.Bin{Start: *from, End: *to})
	}
	if o.Shard, o.Shards, err = extraction.ParseShard(g.shard); err != nil {
		return usage(err)
	}
	if g.out == "" {
		return usagef("where to? give --out FOLDER, for example --out it.grams")
	}
	c := newComparison(cmd, &resultFlags{quiet: g.quiet}, "", "")
	done, err := c.openFeatures(&g.featureFlags)
	if err != nil {
		return err
	}
	defer func() { done(err == nil) }()
	if c.features.Multiplied() {
		return usagef("--features %s are Gram matrices already", g.features)
	}
	o.Layers, o.About = c.layers, c.features.Provenance()
	var made *compare.GramsMade
	err = c.progress("multiplying", func(report func(done, of int64)) error {
		o.Progress = report
		made, err = compare.MakeGrams(cmd.Context(), g.out, c.features, o)
		return err
	})
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
