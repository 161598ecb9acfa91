package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/compare"
)

// mappingFlags say what is fitted, and how it is scored.
type mappingFlags struct {
	metric, normalisation string
	normalisations        []string
	options               compare.MappingOptions
}

func (f *mappingFlags) register(cmd *cobra.Command, normalisations []string) {
	f.normalisations = normalisations
	flags := cmd.Flags()
	flags.StringVar(&f.metric, "metric", "pls", "`METRIC`: "+strings.Join(compare.MappingNames(), ", "))
	flags.IntVar(&f.options.Components, "components", 0, "components of pls (default 25)")
	flags.Float64SliceVar(&f.options.Alphas, "alphas", nil, "ridge parameters to choose from, or the one of ridge")
	flags.BoolVar(&f.options.PerNeuroid, "per-neuroid", false, "choose the ridge parameter for each neuroid")
	flags.IntVar(&f.options.Folds, "folds", 0, "folds of ridge-kfold (default 5)")
	flags.StringVar(&f.normalisation, "normalisation", "squared", "`NAME` of how ceiled is made: "+
		strings.Join(normalisations, ", "))
	_ = cmd.RegisterFlagCompletionFunc("metric", cobra.FixedCompletions(compare.MappingNames(),
		cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("normalisation", cobra.FixedCompletions(normalisations,
		cobra.ShellCompDirectiveNoFileComp))
}

func (f *mappingFlags) parse(cmd *cobra.Command, o *compare.FitOptions) (err error) {
	for flag, value := range map[string]*int{"components": &f.options.Components, "folds": &f.options.Folds} {
		if cmd.Flags().Changed(flag) && *value < 1 {
			return usagef("--%s %d: it is at least 1", flag, *value)
		}
	}
	if o.Mapping, err = compare.ParseMapping(f.metric, f.options); err != nil {
		return usage(err)
	}
	if !slices.Contains(f.normalisations, f.normalisation) {
		return usagef("unknown normalisation %q; there are %s", f.normalisation, strings.Join(f.normalisations, ", "))
	}
	if o.Normalisation, err = compare.ParseNormalisation(f.normalisation); err != nil {
		return usage(err)
	}
	return nil
}

type fitCommand struct {
	featureFlags
	dataFlags
	timeFlags
	mappingFlags
	splitFlags
	resultFlags
	spanTime, reverse bool
	bootstrap         []string
	halvings          int
}

// bootstraps are what an error may be drawn anew from.
var bootstraps = []string{string(compare.OverSplits), string(compare.OverNeuroids), string(compare.OverSubjects),
	string(compare.OverStimuli)}

func newCompareFit() *cobra.Command {
	f := &fitCommand{}
	cmd := &cobra.Command{
		Use:   "fit --features FILE --data FILE [flags]",
		Short: "How well features predict responses",
		Long: `Predict the responses of neuroids by the features of each layer, in each bin of time,
and correlate predictions and responses of stimuli that were not fitted.

The defaults are Brain-Score's: PLS with 25 components; 10 splits with nine tenths
of the stimuli for training, seed 1, stratified by object_name if the stimuli have
it; the median over neuroids, the mean over splits; ceilings by halves of the
repetitions; ceiled is r²/ρ. Metrics:

  pls               partial least squares
  ridge             ridge regression, α = 1 or --alphas
  ridge-loo         α chosen by leaving out each training stimulus, of Brain-Score's 99
                    or --alphas; one for all neuroids, or --per-neuroid
  ridge-kfold       α chosen by 5 --folds, for each neuroid with --per-neuroid (himalaya)
  linear            ordinary least squares
  neuron-to-neuron  the one feature that is correlated most

What ceiled is, of the score r and the ceiling ρ:

  squared, squared-ratio, ratio, root   r²/ρ, (r/ρ)², r/ρ, r/√ρ
  per-neuroid                           the mean over neuroids of r²/ρ of each
  corrected, corrected-squared          r/√(ρ_xx ρ_yy) and its square: the predictions'
                                        reliability ρ_xx counts too (10 --halvings)`,
		Example: `  ` + program + ` compare fit --features features.zarr --data it.nc --region IT
  ` + program + ` compare fit --model ugrnn_intermediate --areas IT --data it.nc --region IT stimuli.csv
  ` + program + ` compare fit --features features.zarr --data it.nc --offset-ms 0,10,20 --out scores.nc
  ` + program + ` compare fit --features features.npz --data psth.npy \
      --data-axes stimulus,repetition,time_bin,neuroid --data-bins 70:10 \
      --data-coordinate stimulus_id@stimulus=stimuli.csv:stimulus_id --metric ridge-loo`,
		Args: noArguments,
		RunE: f.run,
	}
	f.featureFlags.register(cmd)
	f.dataFlags.register(cmd)
	f.timeFlags.register(cmd)
	f.mappingFlags.register(cmd, compare.NormalisationNames())
	f.splitFlags.register(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.spanTime, "span-time", false, "fit one mapping for all bins of time (Brain-Score's spantime)")
	flags.BoolVar(&f.reverse, "reverse", false, "predict features from responses")
	flags.StringArrayVar(&f.bootstrap, "bootstrap", nil,
		"comma-separated `NAMES` of what is drawn 1,000 times for the error, instead of the deviation over splits: "+
			strings.Join(bootstraps, ", "))
	flags.IntVar(&f.halvings, "halvings", 10,
		"halvings of the repetitions of --normalisation corrected and corrected-squared")
	f.resultFlags.register(cmd)
	f.featureFlags.registerGrams(cmd)
	sections(cmd, featureSection, dataSection, formatSection, timeSection,
		flagSection{title: "Fit", names: []string{"metric", "components", "alphas", "per-neuroid", "folds", "reverse"}},
		splitSection,
		flagSection{title: "Score", names: []string{"normalisation", "halvings", "bootstrap"}}, resultSection)
	return cmd
}

func (f *fitCommand) options(cmd *cobra.Command) (o compare.FitOptions, err error) {
	if err := f.mappingFlags.parse(cmd, &o); err != nil {
		return o, err
	}
	if o.Splits, err = f.splitFlags.options(); err != nil {
		return o, err
	}
	if err := f.timeFlags.check(); err != nil {
		return o, err
	}
	for _, name := range splitList(f.bootstrap) {
		if !slices.Contains(bootstraps, name) {
			return o, usagef("--bootstrap %q is none of %s", name, strings.Join(bootstraps, ", "))
		}
		o.Bootstrap = append(o.Bootstrap, compare.Resample(name))
	}
	if f.halvings < 1 {
		return o, usagef("--halvings %d: it is at least 1", f.halvings)
	}
	o.Offsets, o.Matrix, o.Missing, o.Shared = f.offsets, f.matrix, f.missing, f.shared
	o.SpanTime, o.Reverse, o.Halvings = f.spanTime, f.reverse, f.halvings
	return o, f.resultFlags.check()
}

func (f *fitCommand) run(cmd *cobra.Command, _ []string) error {
	o, err := f.options(cmd)
	if err != nil {
		return err
	}
	c := newComparison(cmd, &f.resultFlags, f.features, f.data)
	o.Stratify = c.stratified(f.stratify)
	return c.compared(&f.featureFlags, &f.dataFlags, "fitting",
		func(report func(done, of int64)) (*compare.Result, error) {
			o.Progress, o.Layers, o.Cache = report, c.layers, c.grams
			return c.Fit(cmd.Context(), o)
		})
}

type bestCommand struct {
	fitCommand
	inner              int
	notNested, eachBin bool
}

func newCompareBest() *cobra.Command {
	b := &bestCommand{}
	cmd := &cobra.Command{
		Use:   "best --features FILE --data FILE [flags]",
		Short: "Choose the layer and time that explain each region best",
		Long: `For each region, choose the layer and the bin of time whose features predict the
responses best, and score the choice on stimuli that took no part in it: in every
split it is made by --inner-splits of the training stimuli alone. The table names the
most frequent choice, says in how many splits it was made, and has beside the score
the one of choosing on the same stimuli, which is too high.

With --matrix or several --offset-ms the time of the features is chosen too, with
--each-bin one layer for each bin of the responses. All else is as in compare fit.`,
		Example: `  ` + program + ` compare best --features features.zarr --data neural.nc
  ` + program + ` compare best --features features.zarr --data neural.nc --matrix --each-bin --metric ridge`,
		Args: noArguments, RunE: b.run,
	}
	b.featureFlags.register(cmd)
	b.dataFlags.register(cmd)
	b.timeFlags.register(cmd)
	b.mappingFlags.register(cmd, compare.NormalisationNames()[:4])
	b.splitFlags.register(cmd)
	cmd.Flags().IntVar(&b.inner, "inner-splits", 5, "splits of the training stimuli of each split, by which is chosen")
	cmd.Flags().BoolVar(&b.notNested, "not-nested", false, "choose by the scores themselves, which are too high then")
	cmd.Flags().BoolVar(&b.eachBin, "each-bin", false, "choose for each bin of the responses")
	b.resultFlags.register(cmd)
	b.featureFlags.registerGrams(cmd)
	b.halvings = 1 // no flag
	sections(cmd, featureSection, dataSection, formatSection, timeSection,
		flagSection{title: "Fit", names: []string{"metric", "components", "alphas", "per-neuroid", "folds", "normalisation"}},
		splitSection,
		flagSection{title: "Choice", names: []string{"inner-splits", "each-bin", "not-nested"}}, resultSection)
	return cmd
}

func (b *bestCommand) run(cmd *cobra.Command, _ []string) error {
	o := compare.BestOptions{Inner: b.inner, NotNested: b.notNested, EachBin: b.eachBin}
	var err error
	if o.FitOptions, err = b.options(cmd); err != nil {
		return err
	}
	if b.inner < 1 {
		return usagef("--inner-splits %d: it is at least 1", b.inner)
	}
	c := newComparison(cmd, &b.resultFlags, b.features, b.data)
	o.Stratify = c.stratified(b.stratify)
	return c.compared(&b.featureFlags, &b.dataFlags, "fitting",
		func(report func(done, of int64)) (*compare.Result, error) {
			o.Progress, o.Layers, o.Cache = report, c.layers, c.grams
			return c.Best(cmd.Context(), o)
		})
}
