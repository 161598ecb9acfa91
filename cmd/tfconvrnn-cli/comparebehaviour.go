package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/recordings"
)

type ostCommand struct {
	featureFlags
	resultFlags
	missingFlags
	data, time string
	decoder    compare.OSTDecoder
	where      []string
}

func newCompareOST() *cobra.Command {
	o := &ostCommand{}
	cmd := &cobra.Command{
		Use:   "ost --features FILE --data FILE [flags]",
		Short: "Compare object solution times",
		Long: `When a decoder on the features first tells the object of each image as well as
behaviour does, correlated with when one on neurons does (Kar et al. 2019). The
data are a table with the columns stimulus_id, label, ost (ms) and i1 (the
behavioural d'), or BrainIO's netCDF. Ceiled is ρ/0.79, as Brain-Score's. Bins
before the stimulus reaches a layer count, as there: extract --include-all-times
writes them.

Decoders: brain-score is its own, which stops before it converges; converged is the
optimum of the same loss.`,
		Example: `  ` + program +
			` compare ost --features features.zarr --layers conv10 --data kar2019.nc --where decoder=svm`,
		Args: noArguments, RunE: o.run,
	}
	o.featureFlags.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.data, "data", "", "`FILE` of solution times: .csv, .tsv or BrainIO's netCDF-4")
	flags.StringArrayVar(&o.where, "where", nil,
		"`CONDITION` on a column or coordinate, such as decoder=svm; repeat it for several")
	o.missingFlags.register(cmd, compare.RefuseMissing, compare.DropStimuli)
	flags.StringVar(&o.time, "time", "70:250", "features within `FROM:TO` ms")
	addParsed(cmd, &o.decoder, "decoder", compare.BrainScoreOSTDecoder, compare.ParseOSTDecoder,
		"`DECODER` of objects: brain-score, converged", "brain-score", "converged")
	o.resultFlags.register(cmd)
	sections(cmd, featureSection, flagSection{title: "Solution times", names: []string{"data", "where", "time", "decoder",
		"missing", "shared-stimuli"}}, resultSection)
	return cmd
}

func (o *ostCommand) run(cmd *cobra.Command, _ []string) (err error) {
	c := newComparison(cmd, &o.resultFlags, o.features, o.data)
	if c.Selection.From, c.Selection.To, err = window("time", o.time); err != nil {
		return err
	}
	if o.data == "" {
		return usagef("which solution times? give --data FILE")
	}
	if err := o.resultFlags.check(); err != nil {
		return err
	}
	c.Selection.Where = o.where
	return c.compared(&o.featureFlags, nil, "fitting", func(func(done, of int64)) (*compare.Result, error) {
		return c.OST(cmd.Context(), recordings.OSTOptions{Layers: c.layers, Decoder: o.decoder, Missing: o.missing,
			Shared: o.shared})
	})
}

type behaviourCommand struct {
	featureFlags
	resultFlags
	missingFlags
	data, time, readout  string
	of                   recordings.BehaviourOptions
	consistencies, where []string
}

// consistencies are the kinds of --consistency.
var consistencies = []string{string(compare.I1), string(compare.I1n), string(compare.I2), string(compare.I2n)}

func newCompareBehaviour() *cobra.Command {
	b := &behaviourCommand{}
	cmd := &cobra.Command{
		Use:   "behaviour --features FILE --data FILE [flags]",
		Short: "Compare choices between objects",
		Long: `Fit a readout of objects to the features of each layer in each bin of time, and
correlate what it takes images for with what subjects took them for (Rajalingham
et al. 2018). The data are trials: a table with the columns stimulus_id,
sample_obj, dist_obj and choice, or BrainIO's netCDF. The readout is fitted on the
stimuli that have features and a label and are not in the trials: multinomial
logistic regression on z-scored features, C = 0.001, as Brain-Score's. Ceiled is
r/√ceiling. Correct is the part of the images whose own object is the likeliest.

With --readout logits nothing is fitted: the features are logits of imnetds, and the
probability of an object is the mean over its classes of their softmax. --classes is
a table with the columns class (0 … 999, or WordNet's id, such as n01440764) and
label.`,
		Example: `  ` +
			program + ` compare behaviour --features features.zarr --layers conv10 --labels objectome.csv --label object --data trials.csv
  ` + program + ` compare behaviour --features features.zarr --layers imnetds --readout logits --classes classes.csv --data trials.csv`,
		Args: noArguments, RunE: b.run,
	}
	b.featureFlags.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&b.data, "data", "", "`FILE` of trials: .csv, .tsv or BrainIO's netCDF-4")
	flags.StringArrayVar(&b.where, "where", nil, "`CONDITION` on a column of the trials; repeat it for several")
	b.missingFlags.register(cmd, compare.RefuseMissing, compare.DropStimuli, compare.DropTrials)
	flags.StringArrayVar(&b.consistencies, "consistency", []string{"i2n"}, "comma-separated `KINDS`: "+
		strings.Join(consistencies, ", "))
	addChoice(cmd, &b.readout, "readout", "logistic", "`KIND` of readout: logistic, logits", "logistic", "logits")
	flags.StringVar(&b.of.LabelsFile, "labels", "",
		"`FILE` with the labels of stimuli to fit on, .csv or .tsv with stimulus_id (default: the features' own)")
	flags.StringVar(&b.of.Label, "label", "", "`COLUMN` of the labels (default: object_name, image_label or truth)")
	flags.StringVar(&b.of.ClassesFile, "classes", "", "`FILE` with the classes of each object, for --readout logits")
	flags.StringVar(&b.time, "time", "", "the mean of features within `FROM:TO` ms (default: each bin by itself)")
	b.resultFlags.register(cmd)
	sections(cmd, featureSection,
		flagSection{title: "Trials", names: []string{"data", "where", "missing", "shared-stimuli"}},
		flagSection{title: "Readout", names: []string{"readout", "labels", "label", "classes", "time", "consistency"}},
		resultSection)
	return cmd
}

// check checks the flags, and completes what they say.
func (b *behaviourCommand) check(cmd *cobra.Command) error {
	for _, kind := range splitList(b.consistencies) {
		if !slices.Contains(consistencies, kind) {
			return usagef("unknown consistency %q; there are %s", kind, strings.Join(consistencies, ", "))
		}
		b.of.Consistencies = append(b.of.Consistencies, compare.Consistency(kind))
	}
	for _, of := range []struct{ flag, readout string }{{"labels", "logistic"}, {"label", "logistic"},
		{"classes", "logits"}} {
		if cmd.Flags().Changed(of.flag) && b.readout != of.readout {
			return usagef("--%s is for --readout %s", of.flag, of.readout)
		}
	}
	switch {
	case b.readout == "logits" && b.of.ClassesFile == "":
		return usagef("which classes are the objects? give --classes FILE")
	case b.data == "":
		return usagef("which trials? give --data FILE")
	}
	from, to, err := window("time", b.time)
	if err != nil {
		return err
	}
	if b.time != "" {
		if from == nil || to == nil {
			return usagef("--time %s: give both ends", b.time)
		}
		b.of.Bins = []compare.Bin{{Start: *from, End: *to}}
	}
	b.of.Missing, b.of.Shared = b.missing, b.shared
	return b.resultFlags.check()
}

func (b *behaviourCommand) run(cmd *cobra.Command, _ []string) error {
	if err := b.check(cmd); err != nil {
		return err
	}
	c := newComparison(cmd, &b.resultFlags, b.features, b.data)
	c.Selection.Where = b.where
	return c.compared(&b.featureFlags, nil, "fitting", func(report func(done, of int64)) (*compare.Result, error) {
		b.of.Progress, b.of.Layers = report, c.layers
		return c.Behaviour(cmd.Context(), b.of)
	})
}
