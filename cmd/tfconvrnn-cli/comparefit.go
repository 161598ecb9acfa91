package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/compare"
)

// metrics are the mappings of compare fit.
var metrics = []string{"pls", "ridge", "ridge-loo", "ridge-kfold", "linear"}

// normalisations are by the names of --normalisation.
var normalisations = map[string]compare.Normalisation{"squared": compare.Squared, "squared-ratio": compare.SquaredRatio, "ratio": compare.Ratio, "root": compare.Root}

type fitCommand struct {
	featureFlags
	dataFlags
	timeFlags
	resultFlags
	metric, stratify, normalisation string
	components, folds, splits       int
	alphas                          []float64
	perNeuroid                      bool
	trainFraction                   float64
	seed                            uint32
}

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

  pls          partial least squares
  ridge        ridge regression, α = 1 or --alphas
  ridge-loo    α chosen by leaving out each training stimulus, of Brain-Score's 99
               or --alphas; one for all neuroids, or --per-neuroid
  ridge-kfold  α chosen by 5 --folds, for each neuroid with --per-neuroid (himalaya)
  linear       ordinary least squares`,
		Example: `  ` + program + ` compare fit --features features.zarr --data it.nc --region IT
  ` + program + ` compare fit --features features.npz --data psth.npy \
      --data-axes stimulus,repetition,time_bin,neuroid --data-bins 70:10 \
      --data-coordinate stimulus_id@stimulus=stimuli.csv:stimulus_id --metric ridge-loo`,
		Args: noArguments,
		RunE: f.run,
	}
	f.featureFlags.register(cmd)
	f.dataFlags.register(cmd)
	f.timeFlags.register(cmd, compare.RefuseMissing, compare.DropNeuroids, compare.DropStimuli, compare.PerNeuroid)
	flags := cmd.Flags()
	flags.StringVar(&f.metric, "metric", "pls", "`METRIC`: "+strings.Join(metrics, ", "))
	addStratify(cmd, &f.stratify)
	flags.StringVar(&f.normalisation, "normalisation", "squared", "how the ceiling ρ makes a ceiled score of r, as a `NAME`: squared (r²/ρ), squared-ratio ((r/ρ)²), ratio (r/ρ), root (r/√ρ)")
	flags.IntVar(&f.components, "components", 25, "components of pls")
	flags.IntVar(&f.folds, "folds", 5, "folds of ridge-kfold")
	flags.IntVar(&f.splits, "splits", 10, "number of splits")
	flags.Float64SliceVar(&f.alphas, "alphas", nil, "ridge parameters to choose from, or the one of ridge")
	flags.BoolVar(&f.perNeuroid, "per-neuroid", false, "choose the ridge parameter for each neuroid")
	flags.Float64Var(&f.trainFraction, "train-fraction", 0.9, "part of the stimuli to train on")
	flags.Uint32Var(&f.seed, "seed", 1, "seed of the splits")
	f.resultFlags.register(cmd)
	_ = cmd.RegisterFlagCompletionFunc("metric", cobra.FixedCompletions(metrics, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// mapping parses the flags of the metric.
func (f *fitCommand) mapping(cmd *cobra.Command) (compare.Mapping, error) {
	for flag, of := range map[string][]string{"components": {"pls"}, "folds": {"ridge-kfold"}, "per-neuroid": {"ridge-loo", "ridge-kfold"}, "alphas": {"ridge", "ridge-loo", "ridge-kfold"}} {
		if cmd.Flags().Changed(flag) && !slices.Contains(of, f.metric) {
			return nil, usagef("--%s is for --metric %s", flag, strings.Join(of, " and "))
		}
	}
	for _, alpha := range f.alphas {
		if !(alpha > 0) {
			return nil, usagef("--alphas %g: ridge parameters are positive", alpha)
		}
	}
	alphas := f.alphas
	if len(alphas) == 0 {
		alphas = compare.BrainScoreAlphas()
	}
	switch f.metric {
	case "pls":
		if f.components < 1 {
			return nil, usagef("--components %d: it is at least 1", f.components)
		}
		return compare.PLS{Components: f.components}, nil
	case "ridge":
		if len(f.alphas) > 1 {
			return nil, usagef("--metric ridge has one alpha; ridge-loo and ridge-kfold choose among several")
		}
		return compare.Ridge{Alphas: f.alphas}, nil
	case "ridge-loo":
		return compare.Ridge{Alphas: alphas, PerNeuroid: f.perNeuroid}, nil
	case "ridge-kfold":
		if f.folds < 2 {
			return nil, usagef("--folds %d: it is at least 2", f.folds)
		}
		return compare.Ridge{Alphas: alphas, PerNeuroid: f.perNeuroid, Folds: f.folds}, nil
	case "linear":
		return compare.Linear{}, nil
	}
	return nil, usagef("unknown metric %q; there are %s", f.metric, strings.Join(metrics, ", "))
}

func (f *fitCommand) options(cmd *cobra.Command) (o compare.FitOptions, err error) {
	if o.Mapping, err = f.mapping(cmd); err != nil {
		return o, err
	}
	var known bool
	if o.Normalisation, known = normalisations[f.normalisation]; !known {
		return o, usagef("unknown normalisation %q; there are squared, squared-ratio, ratio and root", f.normalisation)
	}
	if f.splits < 1 || !(f.trainFraction > 0 && f.trainFraction < 1) {
		return o, usagef("--splits must be at least 1, and --train-fraction between 0 and 1")
	}
	if err := f.timeFlags.check(); err != nil {
		return o, err
	}
	o.Splits = compare.Splits{Count: f.splits, TrainFraction: f.trainFraction, Seed: &f.seed}
	o.Layers, o.Offset, o.Matrix, o.Missing, o.Shared = splitList(f.layers), f.offset, f.matrix, compare.Missing(f.missing), f.shared
	return o, f.resultFlags.check()
}

func (f *fitCommand) run(cmd *cobra.Command, _ []string) error {
	o, err := f.options(cmd)
	if err != nil {
		return err
	}
	return overTime(cmd, &f.featureFlags, &f.dataFlags, &f.resultFlags, func(c *comparison) error {
		c.result.Metric, c.result.Seed = o.Mapping.String(), seedOf(f.seed)
		c.result.Splits = fmt.Sprintf("%d splits, %g of the stimuli for training, seed %d", f.splits, f.trainFraction, f.seed)
		o.Stratify = c.strata(f.stratify)
		return c.progress("fitting", func(report func(done, of int64)) error {
			o.Progress = report
			fits, err := compare.FitOverTime(cmd.Context(), c.features, c.responses, o)
			if err == nil {
				c.result.Add(fits, !o.Matrix)
			}
			return err
		})
	})
}
