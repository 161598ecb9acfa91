package main

import (
	"fmt"
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
	rsa                        bool
	rdm, similarity, alignment string
	splits                     int
	stratify                   string
	seed                       uint32
}

func newAlign(rsa bool, use, short, long string) (*alignCommand, *cobra.Command) {
	a := &alignCommand{rsa: rsa}
	cmd := &cobra.Command{Use: use + " --features FILE --data FILE [flags]", Short: short, Long: long, Args: noArguments, RunE: a.run,
		Example: `  ` + program + ` compare ` + use + ` --features features.zarr --data it.nc --region IT`}
	a.featureFlags.register(cmd)
	a.dataFlags.register(cmd)
	a.timeFlags.register(cmd, compare.RefuseMissing, compare.DropNeuroids, compare.DropStimuli)
	cmd.Flags().IntVar(&a.splits, "splits", 0, "the mean over so many random nine tenths of the stimuli, as Brain-Score's "+
		map[bool]string{true: "rdm_cv", false: "cka_cv"}[rsa]+" of 10, with an error; 0 for all stimuli at once")
	addStratify(cmd, &a.stratify)
	cmd.Flags().Uint32Var(&a.seed, "seed", 1, "seed of the splits")
	return a, cmd
}

func similarityNames() []string {
	var names []string
	for _, s := range compare.Similarities() {
		names = append(names, string(s))
	}
	return names
}

func newCompareRSA() *cobra.Command {
	a, cmd := newAlign(true, "rsa", "Compare the dissimilarities of stimuli",
		`Compare which stimuli are dissimilar for the features of each layer and for the
neuroids, in each bin of time. The defaults are Brain-Score's: 1 - Pearson's
correlation over all units, compared by Spearman's. With two subjects and more the noise
ceiling is computed from theirs (lower … upper); ceiled is r/upper, not squared.`)
	cmd.Flags().StringVar(&a.rdm, "rdm", "correlation", "`MEASURE` of dissimilarity: correlation, euclidean (squared, per unit)")
	cmd.Flags().StringVar(&a.similarity, "similarity", "spearman", "`SIMILARITY` of matrices: "+strings.Join(similarityNames(), ", "))
	a.resultFlags.register(cmd)
	return cmd
}

func newCompareCKA() *cobra.Command {
	a, cmd := newAlign(false, "cka", "Centred kernel alignment of features and responses",
		`The linear centred kernel alignment of the features of each layer and the responses,
in each bin of time: unbiased, as Brain-Score's, or biased. It has no ceiling.`)
	biased := cmd.Flags().Bool("biased", false, "the biased estimate")
	cmd.PreRun = func(*cobra.Command, []string) {
		a.alignment = string(compare.UnbiasedCKA)
		if *biased {
			a.alignment = string(compare.BiasedCKAlignment)
		}
	}
	a.resultFlags.register(cmd)
	return cmd
}

func (a *alignCommand) options() (o compare.AlignmentOptions, metric string, err error) {
	if err := a.timeFlags.check(); err != nil {
		return o, "", err
	}
	if a.splits < 0 {
		return o, "", usagef("--splits %d: it is at least 1, or 0 for none", a.splits)
	}
	o = compare.AlignmentOptions{Layers: splitList(a.layers), Offset: a.offset, Matrix: a.matrix, Missing: compare.Missing(a.missing), Shared: a.shared}
	if !a.rsa {
		o.Alignment = compare.Alignment(a.alignment)
		return o, a.alignment, a.resultFlags.check()
	}
	if !slices.Contains(similarityNames(), a.similarity) {
		return o, "", usagef("unknown similarity %q; there are %s", a.similarity, strings.Join(similarityNames(), ", "))
	}
	if a.rdm != "correlation" && a.rdm != "euclidean" {
		return o, "", usagef("unknown measure %q; there are correlation and euclidean", a.rdm)
	}
	o.Alignment, o.Similarity, o.Euclidean = compare.RSA, compare.Similarity(a.similarity), a.rdm == "euclidean"
	return o, fmt.Sprintf("rsa: %s dissimilarities, %s", a.rdm, a.similarity), a.resultFlags.check()
}

func (a *alignCommand) run(cmd *cobra.Command, _ []string) error {
	o, metric, err := a.options()
	if err != nil {
		return err
	}
	for _, flag := range []string{"stratify", "seed"} {
		if a.splits == 0 && cmd.Flags().Changed(flag) {
			return usagef("--%s is for --splits", flag)
		}
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
			o.Progress = report
			fits, err := compare.SimilarityOverTime(cmd.Context(), c.features, c.responses, o)
			if err == nil {
				c.result.Add(fits, !o.Matrix)
			}
			return err
		})
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
	cmd.Flags().StringVar(&c.kind, "kind", "internal", "`KIND` of ceiling: internal, noise")
	c.resultFlags.register(cmd)
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
