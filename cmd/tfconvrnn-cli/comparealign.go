package main

import (
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/compare"
)

type alignCommand struct {
	featureFlags
	dataFlags
	timeFlags
	resultFlags
	splitFlags
	rsa, biased, betweenLayers bool
	rdm, featuresRDM           compare.Measure
	similarity                 compare.Similarity
	inference                  compare.BootstrapKind
	samples                    int
	inferenceSeed              uint32
}

func newAlign(rsa bool, use, short, long string) (*alignCommand, *cobra.Command) {
	a := &alignCommand{rsa: rsa, splitFlags: splitFlags{trainFraction: 0.9}}
	cmd := &cobra.Command{Use: use + " --features FILE --data FILE [flags]", Short: short, Long: long, Args: noArguments,
		RunE: a.run,
		Example: `  ` + program + ` compare ` + use + ` --features features.zarr --data it.nc --region IT
  ` + program + ` compare ` + use + ` --features features.zarr --between-layers --time 70:170 --average-time --out layers.nc`}
	a.featureFlags.register(cmd)
	a.dataFlags.register(cmd)
	a.timeFlags.register(cmd)
	cmd.Flags().BoolVar(&a.betweenLayers, "between-layers",
		false, "compare every two layers with each other instead of with responses, at each timestep or --time; there is no --data")
	cmd.Flags().IntVar(&a.splits, "splits", 0,
		"the mean over so many random nine tenths of the stimuli, as Brain-Score's "+
			map[bool]string{true: "rdm_cv", false: "cka_cv"}[rsa]+" of 10, with an error; 0 for all stimuli at once")
	cmd.Flags().StringVar(&a.stratify, "stratify", "object_name",
		"`COORDINATE` of stimuli that all splits have in the same proportions; none for none")
	cmd.Flags().Uint32Var(&a.seed, "seed", 1, "seed of the splits")
	a.resultFlags.register(cmd)
	a.featureFlags.registerGrams(cmd)
	sections(cmd, featureSection, dataSection, formatSection, timeSection,
		flagSection{title: map[bool]string{true: "Dissimilarities", false: "Alignment"}[rsa],
			names: []string{"rdm", "features-rdm", "similarity", "biased", "between-layers"}}, splitSection,
		flagSection{title: "Inference", names: []string{"inference", "samples", "inference-seed"}}, resultSection)
	return a, cmd
}

// fixedInference draws nothing.
const fixedInference compare.BootstrapKind = "fixed"

func newCompareRSA() *cobra.Command {
	a, cmd := newAlign(true, "rsa", "Compare the dissimilarities of stimuli",
		`Compare which stimuli are dissimilar for the features of each layer and for the
neuroids, in each bin of time. The defaults are Brain-Score's: 1 - Pearson's
correlation over all units, compared by Spearman's. With two subjects and more the noise
ceiling is computed from theirs (lower … upper); ceiled is r/upper, not squared.

With --inference a score is the mean over subjects, with the error, the 95 % interval
and probabilities (not corrected for several tests), as rsatoolbox's: fixed, a t-test
over subjects; or a bootstrap over stimuli, subjects, both, or dual, which corrects
both. The probabilities of differences between layers are in --json.`)
	flags := cmd.Flags()
	addChoice(cmd, &a.rdm, "rdm", compare.CorrelationMeasure, "`MEASURE` of responses: "+
		strings.Join(names(compare.Measures()), ", ")+"; mahalanobis and crossnobis need repetitions", compare.Measures()...)
	addChoice(cmd, &a.featuresRDM, "features-rdm", "",
		"`MEASURE` of features: correlation, euclidean (default: that of --rdm if it is one of these, else euclidean)",
		compare.CorrelationMeasure, compare.EuclideanMeasure)
	addChoice(cmd, &a.similarity, "similarity", compare.RankCorrelation, "`SIMILARITY` of matrices: "+
		strings.Join(names(compare.Similarities()), ", "), compare.Similarities()...)
	addChoice(cmd, &a.inference, "inference", "", "`KIND` of inference: fixed, stimuli, subjects, both, dual",
		fixedInference, compare.BootstrapStimuli, compare.BootstrapSubjects, compare.BootstrapBoth, compare.BootstrapDual)
	flags.IntVar(&a.samples, "samples", 1000, "samples of a bootstrap")
	flags.Uint32Var(&a.inferenceSeed, "inference-seed", 0, "seed of a bootstrap")
	return cmd
}

func newCompareCKA() *cobra.Command {
	a, cmd := newAlign(false, "cka", "Centred kernel alignment of features and responses",
		`The linear centred kernel alignment of the features of each layer and the responses,
in each bin of time: unbiased, as Brain-Score's, or biased. It has no ceiling.`)
	cmd.Flags().BoolVar(&a.biased, "biased", false, "the biased estimate")
	return cmd
}

func (a *alignCommand) options(cmd *cobra.Command) (o compare.AlignmentOptions, err error) {
	if err := a.timeFlags.check(); err != nil {
		return o, err
	}
	if a.splits < 0 {
		return o, usagef("--splits %d: it is at least 1, or 0 for none", a.splits)
	}
	bootstrap := a.inference != "" && a.inference != fixedInference
	for _, of := range []struct {
		flag, is string
		there    bool
	}{
		{"stratify", "--splits", a.splits > 0}, {"seed", "--splits", a.splits > 0},
		{"samples", "a bootstrap", bootstrap}, {"inference-seed", "a bootstrap", bootstrap},
	} {
		if !of.there && cmd.Flags().Changed(of.flag) {
			return o, usagef("--%s is for %s", of.flag, of.is)
		}
	}
	o = compare.AlignmentOptions{Offsets: a.offsets, Matrix: a.matrix, Missing: a.missing, Shared: a.shared}
	switch {
	case a.biased:
		o.Alignment = compare.BiasedCKAlignment
	case !a.rsa:
		o.Alignment = compare.UnbiasedCKA
	default:
		o.Alignment, o.Similarity, o.Measure, o.FeatureMeasure = compare.RSA, a.similarity, a.rdm, a.featuresRDM
	}
	if a.splits > 0 {
		o.Splits = &compare.Splits{Count: a.splits, TestFraction: 0.9, Seed: &a.seed}
	}
	if a.inference != "" {
		if a.samples < 2 {
			return o, usagef("--samples %d: it is at least 2", a.samples)
		}
		o.Inference = &compare.InferenceOptions{Samples: a.samples, Seed: a.inferenceSeed}
		if bootstrap {
			o.Inference.Bootstrap = a.inference
		}
	}
	return o, a.resultFlags.check()
}

func (a *alignCommand) run(cmd *cobra.Command, _ []string) error {
	o, err := a.options(cmd)
	if err != nil {
		return err
	}
	debug.SetGCPercent(25) // few and large matrices, one after the other: those that are free are looked for at once
	if a.betweenLayers {
		return a.runBetween(cmd, o)
	}
	c := newComparison(cmd, &a.resultFlags, a.features, a.data)
	o.Stratify = c.stratified(a.stratify)
	return c.compared(&a.featureFlags, &a.dataFlags, "comparing",
		func(report func(done, of int64)) (*compare.Result, error) {
			o.Progress, o.Layers, o.Cache = report, c.layers, c.grams
			return c.Similarity(cmd.Context(), o)
		})
}

// forResponses are the flags that say nothing where layers are compared with each other.
var forResponses = []string{"data", "region", "subject", "reliability", "where", "missing", "shared-stimuli",
	"offset-ms", "matrix",
	"data-array", "data-axes", "data-bins", "data-coordinate", "stimulus-coordinate", "ignore", "splits", "stratify",
	"seed", "features-rdm",
	"inference", "samples", "inference-seed"}

func (a *alignCommand) runBetween(cmd *cobra.Command, align compare.AlignmentOptions) (err error) {
	for _, name := range forResponses {
		if cmd.Flags().Changed(name) {
			return usagef("--%s is for responses, and --between-layers compares features with features", name)
		}
	}
	c := newComparison(cmd, &a.resultFlags, a.features, "")
	s := &c.Selection
	if s.From, s.To, err = window("time", a.time); err != nil {
		return err
	}
	if s.AverageTime = a.averageTime; s.AverageTime && (s.From == nil || s.To == nil) {
		return usagef("--average-time: the mean over which time? give --time FROM:TO")
	}
	return c.compared(&a.featureFlags, nil, "comparing", func(report func(done, of int64)) (*compare.Result, error) {
		return c.BetweenLayers(cmd.Context(), compare.BetweenOptions{Alignment: align.Alignment, Measure: align.Measure,
			Similarity: align.Similarity, Layers: c.layers, Cache: c.grams, Progress: report})
	})
}

type ceilingCommand struct {
	dataFlags
	resultFlags
	kind string
}

func newCompareCeiling() *cobra.Command {
	c := &ceilingCommand{}
	cmd := &cobra.Command{
		Use:   "ceiling --data FILE [flags]",
		Short: "How reliable responses are",
		Long: `The ceiling of the responses in each bin of time. Kinds:

  internal      Brain-Score's: 10 halvings of the repetitions (seed 1), the correlation of
                the halves' averages over stimuli, corrected to all repetitions by
                2r/(1+r); the median over neuroids, the mean over halvings
  noise         the Natural Scenes Dataset's noise ceiling, as a part of the variance;
                the median over neuroids`,
		Example: `  ` + program + ` compare ceiling --data it.nc --region IT --time 70:170 --average-time`,
		Args:    noArguments, RunE: c.run,
	}
	c.dataFlags.register(cmd)
	addChoice(cmd, &c.kind, "kind", "internal", "`KIND` of ceiling: internal, noise", "internal", "noise")
	c.resultFlags.register(cmd)
	sections(cmd, flagSection{title: "Ceiling", names: []string{"kind"}}, dataSection, formatSection, resultSection)
	return cmd
}

func (f *ceilingCommand) run(cmd *cobra.Command, _ []string) error {
	if err := f.resultFlags.check(); err != nil {
		return err
	}
	c := newComparison(cmd, &f.resultFlags, "", f.data)
	if err := f.dataFlags.set(&c.Comparison); err != nil {
		return err
	}
	return c.emit(c.Ceiling(cmd.Context(), f.kind == "noise"))
}
