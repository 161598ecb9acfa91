package main

import (
	"errors"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/recordings"
)

type gramCommand struct {
	featureFlags
	out, shard string
	windows    []compare.Bin
}

func newCompareGram() *cobra.Command {
	g := &gramCommand{}
	cmd := &cobra.Command{
		Use:  "gram --features FILE --out FOLDER [flags]",
		Args: noArguments, RunE: g.run,
	}
	g.featureFlags.register(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&g.out, "out", "o", "", "`FOLDER` of the matrices")
	addWindows(cmd, &g.windows, "")
	flags.StringVar(&g.shard, "shard",
		"", "the part to make, as `I/N`: 0/4 is the first of four; auto/4 takes the index of a Kubernetes Job or a Slurm array")
	addMessages(cmd)
	sections(cmd, featureSection, flagSection{title: "Matrices", names: []string{"out", "window", "shard"}},
		flagSection{title: "Messages", names: []string{"json", "quiet"}})
	obey(cmd, needed("out", "where to? give --out FOLDER, for example --out it.grams"))
	return cmd
}

// addWindows adds the flag --window, whose usage begins with of.
func addWindows(cmd *cobra.Command, windows *[]compare.Bin, of string) {
	cmd.Flags().Func("window", of+"also the mean of the features of `FROM:TO` ms, with which responses of that time "+
		"are compared; repeat it for several", func(text string) error {
		from, to, err := recordings.ParseWindow(text)
		if err == nil && (from == nil || to == nil || *from >= *to) {
			err = errors.New("give both ends, such as 70:170")
		}
		if err == nil {
			*windows = append(*windows, compare.Bin{Start: *from, End: *to})
		}
		return err
	})
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
	o := compare.GramFolderOptions{Layers: g.layers, Windows: g.windows}
	if o.Shard, o.Shards, err = extraction.ParseShard(g.shard); err != nil {
		return usage(err)
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
	c := commandConsole(cmd)
	for _, note := range compare.WindowsLeftOut(f.Layers(), g.windows) {
		c.warnNotice(note)
	}
	progress := c.Start("multiplying", unitMatrices, 0)
	o.Progress = progress.Set
	made, err := compare.MakeGrams(cmd.Context(), g.out, f, o)
	progress.End()
	if err != nil {
		return inputFault(err)
	}
	r := gramReport{Folder: g.out, Matrices: made.Of, Made: made.Made, Missing: made.Missing, Bytes: made.Bytes}
	state := "complete"
	if r.Missing > 0 {
		state = fmt.Sprintf("%d are missing", r.Missing)
	}
	return presentf(cmd, r, "%s: %d of %s made, %s (%s)\n", r.Folder, r.Made, matrices(r.Matrices), state,
		humanize.Bytes(uint64(r.Bytes)))
}

func matrices(n int) string {
	if n == 1 {
		return "1 matrix"
	}
	return fmt.Sprint(n, " matrices")
}
