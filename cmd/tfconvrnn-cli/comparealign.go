package main

import (
	"fmt"
	"runtime/debug"
	"slices"
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
	rsa, biased, betweenLayers              bool
	rdm, featuresRDM, similarity, inference string
	samples                                 int
	inferenceSeed                           uint32
}

func newAlign(rsa bool, use, short, long string) (*alignCommand, *cobra.Command) {
	a := &alignCommand{rsa: rsa, splitFlags: splitFlags{trainFraction: 0.9}}
	cmd := &cobra.Command{Use: use + " --features FILE --data FILE [flags]", Short: short, Long: long, Args: noArguments,
		RunE: a.run,
		Example: `  ` + program + ` compare ` + use + ` --features features.zarr --data it.nc --region IT
  ` + program + ` compare ` + use + ` --features features.zarr --between-layers --time 70:170 --average-time --out layers.nc`}
	a.featureFlags.register(cmd)
	a.dataFlags.register(cmd)
	a.timeFlags.register(cmd, compare.RefuseMissing, compare.DropNeuroids, compare.DropStimuli, compare.PerNeuroid)
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

// names are values as texts.
func names[T ~string](values []T) []string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = string(v)
	}
	return list
}

// inferences are by the names of --inference; "" draws nothing.
var inferences = map[string]compare.BootstrapKind{"fixed": "", "stimuli": compare.BootstrapStimuli,
	"subjects": compare.BootstrapSubjects, "both": compare.BootstrapBoth, "dual": compare.BootstrapDual}

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
	flags.StringVar(&a.rdm, "rdm", "correlation", "`MEASURE` of responses: "+strings.Join(names(compare.Measures()), ", ")+
		"; mahalanobis and crossnobis need repetitions")
	flags.StringVar(&a.featuresRDM, "features-rdm", "",
		"`MEASURE` of features: correlation, euclidean (default: that of --rdm if it is one of these, else euclidean)")
	flags.StringVar(&a.similarity, "similarity", "spearman", "`SIMILARITY` of matrices: "+
		strings.Join(names(compare.Similarities()), ", "))
	flags.StringVar(&a.inference, "inference", "", "`KIND` of inference: fixed, stimuli, subjects, both, dual")
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

func (a *alignCommand) options(cmd *cobra.Command) (o compare.AlignmentOptions, metric string, err error) {
	if err := a.timeFlags.check(); err != nil {
		return o, "", err
	}
	if a.splits < 0 {
		return o, "", usagef("--splits %d: it is at least 1, or 0 for none", a.splits)
	}
	for _, of := range []struct {
		flag, is string
		there    bool
	}{
		{"stratify", "--splits", a.splits > 0}, {"seed", "--splits", a.splits > 0},
		{"samples", "a bootstrap", inferences[a.inference] != ""},
		{"inference-seed", "a bootstrap", inferences[a.inference] != ""},
	} {
		if !of.there && cmd.Flags().Changed(of.flag) {
			return o, "", usagef("--%s is for %s", of.flag, of.is)
		}
	}
	o = compare.AlignmentOptions{Layers: splitList(a.layers), Offsets: a.offsets, Matrix: a.matrix,
		Missing: compare.Missing(a.missing), Shared: a.shared}
	if !a.rsa {
		if o.Alignment = compare.UnbiasedCKA; a.biased {
			o.Alignment = compare.BiasedCKAlignment
		}
		return o, string(o.Alignment), a.resultFlags.check()
	}
	if !slices.Contains(names(compare.Similarities()), a.similarity) {
		return o, "", usagef("unknown similarity %q; there are %s", a.similarity,
			strings.Join(names(compare.Similarities()), ", "))
	}
	if !slices.Contains(names(compare.Measures()), a.rdm) {
		return o, "", usagef("unknown measure %q; there are %s", a.rdm, strings.Join(names(compare.Measures()), ", "))
	}
	o.Alignment, o.Similarity, o.Measure, o.FeatureMeasure = compare.RSA, compare.Similarity(a.similarity),
		compare.Measure(a.rdm), compare.Measure(a.featuresRDM)
	metric = fmt.Sprintf("rsa: %s dissimilarities, %s", a.rdm, a.similarity)
	if features := o.OfFeatures(); features != o.Measure {
		metric = fmt.Sprintf("rsa: %s dissimilarities of responses, %s of features, %s", a.rdm, features, a.similarity)
	}
	if a.inference != "" {
		kind, known := inferences[a.inference]
		if !known {
			return o, "", usagef("unknown inference %q; there are fixed, stimuli, subjects, both and dual", a.inference)
		}
		if a.samples < 2 {
			return o, "", usagef("--samples %d: it is at least 2", a.samples)
		}
		o.Inference = &compare.InferenceOptions{Bootstrap: kind, Samples: a.samples, Seed: a.inferenceSeed}
		if metric += "; inference: t over subjects"; kind != "" {
			metric = fmt.Sprintf("%s and %d samples of %s, seed %d", metric, a.samples, a.inference, a.inferenceSeed)
		}
	}
	return o, metric, a.resultFlags.check()
}

func (a *alignCommand) run(cmd *cobra.Command, _ []string) error {
	o, metric, err := a.options(cmd)
	if err != nil {
		return err
	}
	debug.SetGCPercent(25) // few and large matrices, one after the other: those that are free are looked for at once
	if a.betweenLayers {
		return a.runBetween(cmd, o, metric)
	}
	return overTime(cmd, &a.featureFlags, &a.dataFlags, &a.resultFlags, func(c *comparison) error {
		c.result.Metric, o.Subjects = metric, c.responses.NeuroidLabels("subject")
		if a.splits > 0 {
			c.result.Splits = fmt.Sprintf("%d splits, nine tenths of the stimuli each, seed %d", a.splits, a.seed)
			c.result.Seed = seedOf(a.seed)
			o.Splits = &compare.Splits{Count: a.splits, TestFraction: 0.9, Seed: &a.seed}
			o.Stratify = c.strata(a.stratify)
		}
		return c.progress("comparing", func(report func(done, of int64)) error {
			o.Progress, o.Layers, o.Cache = report, c.layers, c.grams
			fits, err := compare.SimilarityOverTime(cmd.Context(), c.features, c.responses, o)
			if err == nil {
				c.result.Add(fits, !o.Matrix)
			}
			return err
		})
	})
}

// forResponses are the flags that say nothing where layers are compared with each other.
var forResponses = []string{"data", "region", "subject", "reliability", "where", "missing", "shared-stimuli",
	"offset-ms", "matrix",
	"data-array", "data-axes", "data-bins", "data-coordinate", "stimulus-coordinate", "ignore", "splits", "stratify",
	"seed", "features-rdm",
	"inference", "samples", "inference-seed"}

func (a *alignCommand) runBetween(cmd *cobra.Command, align compare.AlignmentOptions, metric string) error {
	for _, name := range forResponses {
		if cmd.Flags().Changed(name) {
			return usagef("--%s is for responses, and --between-layers compares features with features", name)
		}
	}
	from, to, err := window("time", a.time)
	if err != nil {
		return err
	}
	if a.averageTime && (from == nil || to == nil) {
		return usagef("--average-time: the mean over which time? give --time FROM:TO")
	}
	c := newComparison(cmd, &a.resultFlags, a.features, "")
	done, err := c.openFeatures(&a.featureFlags)
	if err != nil {
		return err
	}
	defer func() { done(err == nil) }()
	o := compare.BetweenOptions{Alignment: align.Alignment, Measure: align.Measure, Similarity: align.Similarity,
		Layers: c.layers, Cache: c.grams}
	if o.Bins = compare.BinsWithin(c.features, from, to); len(o.Bins) == 0 {
		return usagef("--time %s: no layer has a timestep in it", a.time)
	}
	if a.averageTime {
		o.Bins = []compare.Bin{{Start: *from, End: *to}}
	}
	c.result.Metric = metric + ", between layers"
	err = c.progress("comparing", func(report func(done, of int64)) error {
		o.Progress = report
		similarities, err := compare.BetweenLayers(cmd.Context(), c.features, o)
		c.result.AddBetween(similarities)
		return err
	})
	if err == nil {
		err = c.emit()
	}
	return hinted(err)
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
	cmd.Flags().StringVar(&c.kind, "kind", "internal", "`KIND` of ceiling: internal, noise")
	c.resultFlags.register(cmd)
	sections(cmd, flagSection{title: "Ceiling", names: []string{"kind"}}, dataSection, formatSection, resultSection)
	return cmd
}

func (f *ceilingCommand) run(cmd *cobra.Command, _ []string) error {
	if f.kind != "internal" && f.kind != "noise" {
		return usagef("unknown kind %q; there are internal and noise", f.kind)
	}
	if err := f.resultFlags.check(); err != nil {
		return err
	}
	a, r, err := f.dataFlags.open()
	if err != nil {
		return err
	}
	defer a.Close()
	c := newComparison(cmd, &f.resultFlags, "", f.data)
	c.responses = r
	c.result.Metric = map[string]string{"internal": "internal consistency", "noise": "noise ceiling"}[f.kind]
	r.Said(c.result)
	scores, err := compare.CeilingOverTime(cmd.Context(), r, f.kind == "noise")
	if err != nil {
		return hinted(err)
	}
	c.result.AddCeilings(scores)
	return c.emit()
}
