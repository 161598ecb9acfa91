package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/internal/version"
	"github.com/tfconvrnn/go/recordings"
)

// resultFlags say where results go.
type resultFlags struct {
	out                  string
	force, quiet, asJSON bool
	flags                *pflag.FlagSet // of the same command
}

func (f *resultFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.out, "out", "o",
		"", "`FILE` to write the results to, with the scores of every split and neuroid: .nc or .zarr for xarray, .json; or .csv without them")
	cmd.Flags().BoolVar(&f.force, "force", false, "replace an existing file")
	f.flags = cmd.Flags()
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
	var inputs []string
	for _, name := range []string{"features", "data"} {
		if flag := f.flags.Lookup(name); flag != nil {
			inputs = append(inputs, flag.Value.String())
		}
	}
	return checkOutput(f.out, f.force, inputs...)
}

// comparison is one run of a subcommand of compare.
type comparison struct {
	recordings.Comparison
	cmd      *cobra.Command
	to       *resultFlags
	console  *console
	features *recordings.FeatureFile // what Opened is
	layers   []string                // to compare; nil for all
	grams    *compare.GramCache      // nil for none
}

func newComparison(cmd *cobra.Command, to *resultFlags, features, data string) *comparison {
	return &comparison{cmd: cmd, to: to, console: commandConsole(cmd, to.quiet),
		Comparison: recordings.Comparison{Features: features, Data: data, Out: to.out, Software: program + " " +
			version.Version}}
}

// emit prints the result.
func (c *comparison) emit(result *compare.Result, err error) error {
	if errors.Is(err, compare.ErrStrata) {
		err = fmt.Errorf("%w; --stratify COORDINATE takes others, none takes stimuli by chance", err)
	}
	switch {
	case err == nil:
	case c.cmd.Flags().Lookup("data-array") == nil && (errors.Is(err, recordings.ErrLayout) ||
		errors.Is(err, recordings.ErrDuplicate)):
		return dataError(err) // there are no flags that would help
	default:
		return hinted(err)
	}
	if text := c.grams.String(); text != "" {
		c.console.note("%s", text)
	}
	short, out := result.Summary(), c.cmd.OutOrStdout()
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
	if from.computed != nil {
		if c.grams, err = from.grams.open(); err != nil {
			return nil, err
		}
	}
	if !from.computed.asked() {
		if c.features, err = from.open(); err != nil {
			return nil, err
		}
		c.Opened = c.features
		return func(bool) { c.features.Close() }, nil
	}
	c.layers, c.Comparison.Features = nil, from.computed.String() // only these layers are computed
	var computed func(compared bool)
	if c.features, computed, err = from.computed.open(c.cmd, from, c.console); err != nil {
		return nil, err
	}
	c.Opened = c.features
	return func(compared bool) {
		c.features.Close()
		computed(compared)
	}, nil
}

// compared opens the features, has them compared with the data, shows the progress, and prints the result.
func (c *comparison) compared(from *featureFlags, with *dataFlags, doing string,
	work func(report func(done, of int64)) (*compare.Result, error)) (err error) {
	if err := from.check(); err != nil {
		return err
	}
	if with != nil {
		if err := with.set(&c.Comparison); err != nil {
			return err
		}
	}
	done, err := c.openFeatures(from)
	if err != nil {
		return err
	}
	defer func() { done(err == nil) }()
	var result *compare.Result
	err = c.progress(doing, func(report func(done, of int64)) error {
		result, err = work(report)
		return err
	})
	return c.emit(result, err)
}

// stratified returns the coordinate to stratify by. The default one may be missing, as for Brain-Score.
func (c *comparison) stratified(stratify string) string {
	if stratify == "none" {
		return ""
	}
	c.StratifyIfThere = !c.cmd.Flags().Changed("stratify")
	return stratify
}
