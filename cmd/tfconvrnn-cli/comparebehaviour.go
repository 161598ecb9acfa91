package main

import (
	"cmp"
	"fmt"
	"math"
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
	data, time, decoder string
	where               []string
}

func newCompareOST() *cobra.Command {
	o := &ostCommand{}
	cmd := &cobra.Command{
		Use:   "ost --features FILE --data FILE [flags]",
		Short: "Compare object solution times",
		Long: `When a decoder on the features first tells the object of each image as well as
behaviour does, correlated with when one on neurons does (Kar et al. 2019). The
data are a table with the columns stimulus_id, label, ost (ms) and i1 (the
behavioural d'), or BrainIO's netCDF. Ceiled is ρ/0.79, as Brain-Score's.

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
	flags.StringVar(&o.decoder, "decoder", "brain-score", "`DECODER` of objects: brain-score, converged")
	o.resultFlags.register(cmd)
	sections(cmd, featureSection, flagSection{title: "Solution times", names: []string{"data", "where", "time", "decoder",
		"missing", "shared-stimuli"}}, resultSection)
	return cmd
}

func (o *ostCommand) run(cmd *cobra.Command, _ []string) error {
	decoders := map[string]compare.OSTDecoder{"brain-score": compare.BrainScoreOSTDecoder,
		"converged": compare.ConvergedOSTDecoder}
	decoder, known := decoders[o.decoder]
	if !known {
		return usagef("unknown decoder %q; there are brain-score and converged", o.decoder)
	}
	from, to := math.Inf(-1), math.Inf(1)
	start, end, err := window("time", o.time)
	if err != nil {
		return err
	}
	if start != nil {
		from = *start
	}
	if end != nil {
		to = *end
	}
	if o.data == "" {
		return usagef("which solution times? give --data FILE")
	}
	if err := cmp.Or(o.missingFlags.check(), o.resultFlags.check()); err != nil {
		return err
	}
	c := newComparison(cmd, &o.resultFlags, o.features, o.data)
	if c.features, err = o.featureFlags.open(); err != nil {
		return err
	}
	defer c.features.Close()
	measured, repeated, err := recordings.ReadSolutionTimes(o.data, o.where...)
	if err != nil {
		return dataError(err)
	}
	c.result.Metric = "object solution times, Spearman's correlation, decoder " + o.decoder
	c.result.Splits = "10 splits, 0.1 of the images for testing, seed 1, not stratified"
	if repeated > 0 {
		c.result.LeftOut = append(c.result.LeftOut, fmt.Sprintf("%d rows left out: images that are there twice", repeated))
	}
	measured, note, err := measured.Complete(compare.Missing(o.missing))
	if err != nil {
		return hinted(err)
	}
	c.leftOut(note)
	if o.shared {
		measured, note = measured.Among(c.features)
		c.leftOut(note)
	}
	scores, err := compare.OSTOverLayers(cmd.Context(), c.features, measured, decoder, splitList(o.layers), from, to)
	if err != nil {
		return hinted(err)
	}
	c.result.AddOST(scores, measured)
	return c.emit()
}

type behaviourCommand struct {
	featureFlags
	resultFlags
	missingFlags
	data, labels, label, time, readout, classes string
	consistencies, where                        []string
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
	flags.StringVar(&b.readout, "readout", "logistic", "`KIND` of readout: logistic, logits")
	flags.StringVar(&b.labels, "labels", "",
		"`FILE` with the labels of stimuli to fit on, .csv or .tsv with stimulus_id (default: the features' own)")
	flags.StringVar(&b.label, "label", "", "`COLUMN` of the labels (default: object_name, image_label or truth)")
	flags.StringVar(&b.classes, "classes", "", "`FILE` with the classes of each object, for --readout logits")
	flags.StringVar(&b.time, "time", "", "the mean of features within `FROM:TO` ms (default: each bin by itself)")
	b.resultFlags.register(cmd)
	sections(cmd, featureSection,
		flagSection{title: "Trials", names: []string{"data", "where", "missing", "shared-stimuli"}},
		flagSection{title: "Readout", names: []string{"readout", "labels", "label", "classes", "time", "consistency"}},
		resultSection)
	return cmd
}

// options checks the flags.
func (b *behaviourCommand) options(cmd *cobra.Command) (o compare.BehaviourOptions, err error) {
	o.Layers = splitList(b.layers)
	for _, kind := range splitList(b.consistencies) {
		if !slices.Contains(consistencies, kind) {
			return o, usagef("unknown consistency %q; there are %s", kind, strings.Join(consistencies, ", "))
		}
		o.Consistencies = append(o.Consistencies, compare.Consistency(kind))
	}
	for _, of := range []struct{ flag, readout string }{{"labels", "logistic"}, {"label", "logistic"},
		{"classes", "logits"}} {
		if cmd.Flags().Changed(of.flag) && b.readout != of.readout {
			return o, usagef("--%s is for --readout %s", of.flag, of.readout)
		}
	}
	switch {
	case b.readout != "logistic" && b.readout != "logits":
		return o, usagef("unknown readout %q; there are logistic and logits", b.readout)
	case b.readout == "logits" && b.classes == "":
		return o, usagef("which classes are the objects? give --classes FILE")
	case b.data == "":
		return o, usagef("which trials? give --data FILE")
	}
	from, to, err := window("time", b.time)
	if err != nil {
		return o, err
	}
	if b.time != "" {
		if from == nil || to == nil {
			return o, usagef("--time %s: give both ends", b.time)
		}
		o.Bins = []compare.Bin{{Start: *from, End: *to}}
	}
	return o, cmp.Or(b.missingFlags.check(), b.resultFlags.check())
}

func (b *behaviourCommand) run(cmd *cobra.Command, _ []string) error {
	o, err := b.options(cmd)
	if err != nil {
		return err
	}
	c := newComparison(cmd, &b.resultFlags, b.features, b.data)
	if c.features, err = b.featureFlags.open(); err != nil {
		return err
	}
	defer c.features.Close()
	readout := "logistic readout with C = 0.001"
	if b.readout == "logits" {
		readout = "softmax of logits"
		o.Classes, err = recordings.ReadClasses(b.classes)
	} else {
		o.Labels, err = b.readLabels(c.features)
	}
	if err != nil {
		return dataError(err)
	}
	trials, err := recordings.ReadTrials(b.data, b.where...)
	if err != nil {
		return dataError(err)
	}
	trials, note, err := compare.CompleteTrials(trials, compare.Missing(b.missing))
	if err != nil {
		return hinted(err)
	}
	c.leftOut(note)
	if b.shared {
		trials, note = compare.TrialsAmong(c.features, trials)
		c.leftOut(note)
	}
	c.result.Metric = strings.Join(splitList(b.consistencies), ", ") + ", " + readout
	c.result.Splits = "2 halvings of the trials, seed 0"
	err = c.progress("fitting", func(report func(done, of int64)) error {
		o.Progress = report
		scores, err := compare.BehaviourOverTime(cmd.Context(), c.features, trials, o)
		c.result.AddBehaviour(scores)
		return err
	})
	if err != nil {
		return hinted(err)
	}
	return c.emit()
}

// readLabels reads the labels from --labels, or takes the features' own.
func (b *behaviourCommand) readLabels(features *recordings.FeatureFile) (map[string]string, error) {
	if b.labels != "" {
		return recordings.ReadLabels(b.labels, cmp.Or(b.label, "object_name"))
	}
	names := []string{"object_name", "image_label", "truth"}
	if b.label != "" {
		names = []string{b.label}
	}
	if labels := features.LabelsByStimulus(names...); labels != nil {
		return labels, nil
	}
	return nil, usagef(
		"which objects are the stimuli of? The features do not tell; give --labels FILE, and --label COLUMN")
}
