package main

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/internal/version"
	"github.com/tfconvrnn/go/recordings"
)

// resultFlags say where results go.
type resultFlags struct {
	out                  string
	force, quiet, asJSON bool
}

func (f *resultFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.out, "out", "o",
		"", "`FILE` to write the results to, with the scores of every split and neuroid: .nc or .zarr for xarray, .json; or .csv without them")
	cmd.Flags().BoolVar(&f.force, "force", false, "replace an existing file")
	addQuiet(cmd, &f.quiet)
	addJSON(cmd, &f.asJSON)
}

func (f *resultFlags) check() error {
	if f.out == "" {
		return nil
	}
	f.out = strings.TrimRight(f.out, "/")
	formats := recordings.ResultFormats()
	extension := strings.ToLower(filepath.Ext(f.out))
	if !slices.Contains(formats, extension) {
		return usagef("--out %s: the name must end in %s", f.out, strings.Join(formats, ", "))
	}
	if extension != ".zarr" {
		if err := checkFileName("--out", f.out, "scores"+extension); err != nil {
			return err
		}
	}
	return checkOutput(f.out, f.force)
}

// comparison is one run of a subcommand of compare. Features and responses may be nil.
type comparison struct {
	cmd       *cobra.Command
	to        *resultFlags
	console   *console
	features  *recordings.FeatureFile
	layers    []string           // to compare; nil for all
	grams     *compare.GramCache // nil for none
	assembly  *recordings.Assembly
	responses *recordings.Recording
	result    *compare.Result
}

func newComparison(cmd *cobra.Command, to *resultFlags, features, data string) *comparison {
	return &comparison{cmd: cmd, to: to, console: commandConsole(cmd, to.quiet),
		result: &compare.Result{Analysis: cmd.Name(), Features: features, Data: data, Software: program + " " +
			version.Version, Scores: []compare.ResultScore{}}}
}

// leftOut adds what was left out, if anything was.
func (c *comparison) leftOut(note string) {
	if note != "" {
		c.result.LeftOut = append(c.result.LeftOut, note)
	}
}

// emit writes the result to --out and prints it.
func (c *comparison) emit() error {
	if c.to.out != "" {
		if err := recordings.Describe(c.cmd.Context(), c.result, c.features, c.responses); err != nil {
			return err
		}
		if err := recordings.WriteResult(c.to.out, c.result); err != nil {
			return err
		}
	}
	short, out := c.result.Summary(), c.cmd.OutOrStdout()
	if c.to.asJSON {
		return short.WriteJSON(out)
	}
	for _, text := range slices.Concat(short.LeftOut, short.Notes) {
		c.console.note("%s", text)
	}
	return short.WriteTable(out)
}

// progress shows that of fits while work runs.
func (c *comparison) progress(doing string, work func(report func(done, of int64)) error) error {
	progress := c.console.start(doing, unitFits, 0)
	defer progress.end()
	return work(progress.set)
}

// openFeatures opens features of a file, or those that a model computes. done closes them, and is told whether all
// that needs them succeeded.
func (c *comparison) openFeatures(from *featureFlags) (done func(compared bool), err error) {
	c.layers = splitList(from.layers)
	if c.grams, err = from.grams.open(); err != nil {
		return nil, err
	}
	if !from.computed.asked() {
		if c.features, err = from.open(); err != nil {
			return nil, err
		}
		return func(bool) { c.features.Close() }, nil
	}
	c.layers = nil // only these are computed
	c.result.Features = from.computed.String()
	var computed func(compared bool)
	if c.features, computed, err = from.computed.open(c.cmd, from, c.console); err != nil {
		return nil, err
	}
	return func(compared bool) {
		c.features.Close()
		computed(compared)
	}, nil
}

// overTime opens features and responses, compares them, and puts out the result.
func overTime(cmd *cobra.Command, from *featureFlags, with *dataFlags, to *resultFlags,
	work func(c *comparison) error) (err error) {
	c := newComparison(cmd, to, from.features, with.data)
	done, err := c.openFeatures(from)
	if err != nil {
		return err
	}
	defer func() { done(err == nil) }()
	if c.assembly, c.responses, err = with.open(); err != nil {
		return err
	}
	defer c.assembly.Close()
	c.responses.Said(c.result)
	if err := work(c); err != nil {
		return hinted(err)
	}
	if text := c.grams.String(); text != "" {
		c.console.note("%s", text)
	}
	return c.emit()
}

// strata returns the coordinate to stratify by. The default one may be missing, as for Brain-Score.
func (c *comparison) strata(stratify string) string {
	switch {
	case stratify == "none":
		stratify = ""
	case !c.cmd.Flags().Changed("stratify") && c.responses.Labels(stratify) == nil:
		c.result.Note("not stratified: the stimuli have no %s", stratify)
		stratify = ""
	}
	if stratify == "" {
		c.result.Splits += ", not stratified"
	} else {
		c.result.Splits += ", stratified by " + stratify
	}
	return stratify
}

func seedOf(seed uint32) *int64 {
	wide := int64(seed)
	return &wide
}
