package main

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/internal/version"
	"github.com/tfconvrnn/go/recordings"
)

// comparison is a subcommand of compare. Its flags fill the call of package recordings.
type comparison struct {
	recordings.Comparison
	featureFlags
	cmd      *cobra.Command
	force    bool
	stratify string
	// The rest is there when it runs.
	console *console
	only    []string           // layers to compare; nil for all
	cache   *compare.GramCache // nil for none
}

func newComparison(use string) *comparison {
	return &comparison{cmd: &cobra.Command{Use: use, Args: noArguments},
		Comparison: recordings.Comparison{Software: program + " " + version.Version}}
}

// runs has the subcommand open its features, do the work, show the progress and print the result.
func (c *comparison) runs(doing string, work func(report func(done, of int64)) (*compare.Result, error)) {
	c.cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		c.console = commandConsole(cmd)
		done, err := c.openFeatures()
		if err != nil {
			return err
		}
		defer func() { done(err == nil) }()
		progress := c.console.Start(doing, unitFits, 0)
		result, err := work(progress.Set)
		progress.End()
		return c.emit(result, err)
	}
}

// openFeatures opens features of a file, or those that a model computes. done closes them, and is told whether all
// that needs them succeeded.
func (c *comparison) openFeatures() (done func(compared bool), err error) {
	if c.cmd.Flags().Lookup("gram-cache") != nil {
		if c.cache, err = c.grams.open(); err != nil {
			return nil, err
		}
	}
	c.only, c.Comparison.Features = c.layers, c.features
	computed := func(bool) {}
	if c.computed.asked() {
		c.only, c.Comparison.Features = nil, c.computed.String() // only these layers are computed
		c.Opened, computed, err = c.computed.open(c.cmd, &c.featureFlags, c.console)
	} else {
		c.Opened, err = c.open()
	}
	if err != nil {
		return nil, err
	}
	return func(compared bool) {
		c.Opened.Close()
		computed(compared)
	}, nil
}

// emit prints the result.
func (c *comparison) emit(result *compare.Result, err error) error {
	if err != nil {
		if c.cmd.Flags().Lookup("data-array") == nil && (errors.Is(err, recordings.ErrLayout) ||
			errors.Is(err, recordings.ErrDuplicate)) {
			err = advise(err, "") // there are no flags that would help
		}
		return inputFault(err)
	}
	if text := c.cache.String(); text != "" {
		c.console.Note("%s", text)
	}
	short := result.Summary()
	if says(c.cmd, "json") {
		return short.WriteJSON(c.cmd.OutOrStdout())
	}
	for _, text := range slices.Concat(short.LeftOut, short.Notes) {
		c.console.Note("%s", text)
	}
	return short.WriteTable(c.cmd.OutOrStdout())
}

// stratified returns the coordinate to stratify by. The default one may be missing, as for Brain-Score.
func (c *comparison) stratified() string {
	if c.stratify == "none" {
		return ""
	}
	c.StratifyIfThere = !c.cmd.Flags().Changed("stratify")
	return c.stratify
}

// inputFault makes the lack of a file a fault of the input.
func inputFault(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return inputError{err}
	}
	return err
}

func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unexpected argument %q; features are --features FILE, recordings --data FILE", args[0])
	}
	return nil
}
