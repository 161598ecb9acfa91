package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/compare"
)

// fitFlags say what is fitted, and how it is scored.
type fitFlags struct {
	compare.FitOptions
	metric, normalisation string
	mapping               compare.MappingOptions
}

func (f *fitFlags) register(c *comparison, normalisations []string) {
	flags, m := c.cmd.Flags(), &f.mapping
	c.featureFlags.register(c.cmd)
	c.addData()
	obey(c.cmd, needed("data", whichRecordings))
	addTimes(c.cmd, &f.Offsets, &f.Matrix)
	addMissing(c.cmd, &f.Missing, &f.Shared, compare.RefuseMissing, compare.DropNeuroids, compare.DropStimuli,
		compare.PerNeuroid)
	addChoice(c.cmd, &f.metric, "metric", "pls", "`METRIC`: "+strings.Join(compare.MappingNames(), ", "),
		compare.MappingNames()...)
	addCount(c.cmd, &m.Components, "components", 0, 1, "components of pls (default 25)")
	flags.Float64SliceVar(&m.Alphas, "alphas", nil, "ridge parameters to choose from, or the one of ridge")
	flags.BoolVar(&m.PerNeuroid, "per-neuroid", false, "choose the ridge parameter for each neuroid")
	addCount(c.cmd, &m.Folds, "folds", 0, 1, "folds of ridge-kfold (default 5)")
	addChoice(c.cmd, &f.normalisation, "normalisation", "squared", "`NAME` of how ceiled is made: "+
		strings.Join(normalisations, ", "), normalisations...)
	addCount(c.cmd, &f.Splits.Count, "splits", 10, 1, "number of splits")
	flags.Float64Var(&f.Splits.TrainFraction, "train-fraction", 0.9, "part of the stimuli to train on")
	flags.StringVar(&c.stratify, "stratify", "object_name",
		"`COORDINATE` of stimuli that all parts of a split have in the same proportions; none for none")
	f.Splits.Seed = flags.Uint32("seed", 1, "seed of the splits")
	obey(c.cmd, f.check)
	c.addResult()
	c.registerGrams(c.cmd)
}

// check is the rule for what is fitted.
func (f *fitFlags) check(*cobra.Command) (err error) {
	if !(f.Splits.TrainFraction > 0 && f.Splits.TrainFraction < 1) {
		return usagef("--train-fraction %v: it is between 0 and 1", f.Splits.TrainFraction)
	}
	if f.Mapping, err = compare.ParseMapping(f.metric, f.mapping); err != nil {
		return usage(err)
	}
	f.Normalisation, err = compare.ParseNormalisation(f.normalisation)
	return err
}

// options returns what the flags say, for one that runs.
func (f *fitFlags) options(c *comparison, report func(done, of int64)) compare.FitOptions {
	o := f.FitOptions
	o.Stratify, o.Progress, o.Layers, o.Cache = c.stratified(), report, c.only, c.cache
	return o
}

func newCompareFit() *cobra.Command {
	c, f := newComparison("fit --features FILE --data FILE [flags]"), &fitFlags{}
	f.register(c, compare.NormalisationNames())
	flags := c.cmd.Flags()
	flags.BoolVar(&f.SpanTime, "span-time", false, "fit one mapping for all bins of time (Brain-Score's spantime)")
	flags.BoolVar(&f.Reverse, "reverse", false, "predict features from responses")
	bootstraps := []compare.Resample{compare.OverSplits, compare.OverNeuroids, compare.OverSubjects, compare.OverStimuli}
	addList(c.cmd, &f.Bootstrap, "bootstrap",
		"comma-separated `NAMES` of what is drawn 1,000 times for the error, instead of the deviation over splits: "+
			strings.Join(names(bootstraps), ", "), bootstraps...)
	addCount(c.cmd, &f.Halvings, "halvings", 10, 1,
		"halvings of the repetitions of --normalisation corrected and corrected-squared")
	sections(c.cmd, featureSection, dataSection, formatSection, timeSection,
		flagSection{title: "Fit", names: []string{"metric", "components", "alphas", "per-neuroid", "folds", "reverse"}},
		splitSection,
		flagSection{title: "Score", names: []string{"normalisation", "halvings", "bootstrap"}}, resultSection)
	c.runs("fitting", func(report func(done, of int64)) (*compare.Result, error) {
		return c.Fit(c.cmd.Context(), f.options(c, report))
	})
	return c.cmd
}

func newCompareBest() *cobra.Command {
	c, f := newComparison("best --features FILE --data FILE [flags]"), &fitFlags{}
	f.register(c, compare.NormalisationNames()[:4])
	var o compare.BestOptions
	addCount(c.cmd, &o.Inner, "inner-splits", 5, 1, "splits of the training stimuli of each split, by which is chosen")
	c.cmd.Flags().BoolVar(&o.NotNested, "not-nested", false, "choose by the scores themselves, which are too high then")
	c.cmd.Flags().BoolVar(&o.EachBin, "each-bin", false, "choose for each bin of the responses")
	sections(c.cmd, featureSection, dataSection, formatSection, timeSection,
		flagSection{title: "Fit", names: []string{"metric", "components", "alphas", "per-neuroid", "folds", "normalisation"}},
		splitSection,
		flagSection{title: "Choice", names: []string{"inner-splits", "each-bin", "not-nested"}}, resultSection)
	c.runs("fitting", func(report func(done, of int64)) (*compare.Result, error) {
		o.FitOptions = f.options(c, report)
		return c.Best(c.cmd.Context(), o)
	})
	return c.cmd
}
