package main

import (
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/compare"
)

// alignment compares what features and responses, or two layers, make of the same stimuli.
type alignment struct {
	*comparison
	compare.AlignmentOptions
	splits        compare.Splits // none if their count is 0
	inference     compare.BootstrapKind
	draws         compare.InferenceOptions
	betweenLayers bool
}

// fixedInference draws nothing.
const fixedInference compare.BootstrapKind = "fixed"

// forResponses are the flags that say nothing where layers are compared with each other.
var forResponses = []string{"data", "region", "subject", "reliability", "where", "missing", "shared-stimuli",
	"offset-ms", "matrix", "data-array", "data-axes", "data-bins", "data-coordinate", "stimulus-coordinate", "ignore",
	"splits", "stratify", "seed", "features-rdm", "inference", "samples", "inference-seed"}

// newAlignment returns the subcommand without its own flags, which its help shows under a title.
func newAlignment(use, title, brainScores string) *alignment {
	a := &alignment{comparison: newComparison(use + " --features FILE --data FILE [flags]")}
	cmd, flags := a.cmd, a.cmd.Flags()
	a.featureFlags.register(cmd)
	a.addData()
	addTimes(cmd, &a.Offsets, &a.Matrix)
	addMissing(cmd, &a.Missing, &a.Shared, compare.RefuseMissing, compare.DropNeuroids, compare.DropStimuli,
		compare.PerNeuroid)
	flags.BoolVar(&a.betweenLayers, "between-layers",
		false, "compare every two layers with each other instead of with responses, at each timestep or --time; there is no --data")
	a.splits.TestFraction = 0.9
	addCount(cmd, &a.splits.Count, "splits", 0, 0, "the mean over so many random nine tenths of the stimuli, as "+
		"Brain-Score's "+brainScores+" of 10, with an error; 0 for all stimuli at once")
	flags.StringVar(&a.stratify, "stratify", "object_name",
		"`COORDINATE` of stimuli that all splits have in the same proportions; none for none")
	a.splits.Seed = flags.Uint32("seed", 1, "seed of the splits")
	obey(cmd, a.check, onlyFor("--splits", func() bool { return a.splits.Count > 0 }, "stratify", "seed"),
		onlyFor("a bootstrap", a.draw, "samples", "inference-seed"))
	a.addResult()
	a.registerGrams(cmd)
	sections(cmd, featureSection, dataSection, formatSection, timeSection,
		flagSection{title: title, names: []string{"rdm", "features-rdm", "similarity", "biased", "between-layers"}},
		splitSection,
		flagSection{title: "Inference", names: []string{"inference", "samples", "inference-seed"}}, resultSection)
	a.runs("comparing", a.work)
	return a
}

// draw says whether samples are drawn.
func (a *alignment) draw() bool { return a.inference != "" && a.inference != fixedInference }

// check is the rule for what is compared.
func (a *alignment) check(cmd *cobra.Command) error {
	if !a.betweenLayers {
		return needed("data", whichRecordings)(cmd)
	}
	if of := given(cmd, forResponses...); len(of) > 0 {
		return usagef("--%s is for responses, and --between-layers compares features with features", of[0])
	}
	if s := a.Selection; s.AverageTime && (s.From == nil || s.To == nil) {
		return usagef("--average-time: the mean over which time? give --time FROM:TO")
	}
	return nil
}

func (a *alignment) work(report func(done, of int64)) (*compare.Result, error) {
	debug.SetGCPercent(25) // few and large matrices, one after the other: those that are free are looked for at once
	if a.betweenLayers {
		return a.BetweenLayers(a.cmd.Context(), compare.BetweenOptions{Alignment: a.Alignment, Measure: a.Measure,
			Similarity: a.AlignmentOptions.Similarity, Layers: a.only, Cache: a.cache, Progress: report})
	}
	o := a.AlignmentOptions
	o.Stratify, o.Layers, o.Cache, o.Progress = a.stratified(), a.only, a.cache, report
	if a.splits.Count > 0 {
		o.Splits = &a.splits
	}
	if a.inference != "" {
		o.Inference = &a.draws
	}
	if a.draw() {
		a.draws.Bootstrap = a.inference
	}
	return a.comparison.Similarity(a.cmd.Context(), o)
}

func newCompareRSA() *cobra.Command {
	a := newAlignment("rsa", "Dissimilarities", "rdm_cv")
	a.Alignment = compare.RSA
	addChoice(a.cmd, &a.Measure, "rdm", compare.CorrelationMeasure, "`MEASURE` of responses: "+
		strings.Join(names(compare.Measures()), ", ")+"; mahalanobis and crossnobis need repetitions", compare.Measures()...)
	addChoice(a.cmd, &a.FeatureMeasure, "features-rdm", "",
		"`MEASURE` of features: correlation, euclidean (default: that of --rdm if it is one of these, else euclidean)",
		compare.CorrelationMeasure, compare.EuclideanMeasure)
	addChoice(a.cmd, &a.AlignmentOptions.Similarity, "similarity", compare.RankCorrelation, "`SIMILARITY` of matrices: "+
		strings.Join(names(compare.Similarities()), ", "), compare.Similarities()...)
	addChoice(a.cmd, &a.inference, "inference", "", "`KIND` of inference: fixed, stimuli, subjects, both, dual",
		fixedInference, compare.BootstrapStimuli, compare.BootstrapSubjects, compare.BootstrapBoth, compare.BootstrapDual)
	addCount(a.cmd, &a.draws.Samples, "samples", 1000, 2, "samples of a bootstrap")
	a.cmd.Flags().Uint32Var(&a.draws.Seed, "inference-seed", 0, "seed of a bootstrap")
	return a.cmd
}

func newCompareCKA() *cobra.Command {
	a := newAlignment("cka", "Alignment", "cka_cv")
	a.Alignment = compare.UnbiasedCKA
	biased := a.cmd.Flags().Bool("biased", false, "the biased estimate")
	obey(a.cmd, func(*cobra.Command) error {
		if *biased {
			a.Alignment = compare.BiasedCKAlignment
		}
		return nil
	})
	return a.cmd
}

func newCompareCeiling() *cobra.Command {
	c, kind := newComparison("ceiling --data FILE [flags]"), ""
	c.addData()
	obey(c.cmd, needed("data", whichRecordings))
	addChoice(c.cmd, &kind, "kind", "internal", "`KIND` of ceiling: internal, noise", "internal", "noise")
	c.addResult()
	sections(c.cmd, flagSection{title: "Ceiling", names: []string{"kind"}}, dataSection, formatSection, resultSection)
	c.cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c.console = commandConsole(cmd)
		return c.emit(c.Ceiling(cmd.Context(), kind == "noise"))
	}
	return c.cmd
}
