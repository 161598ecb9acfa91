package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/recordings"
)

func newCompareOST() *cobra.Command {
	c, o := newComparison("ost --features FILE --data FILE [flags]"), recordings.OSTOptions{}
	c.featureFlags.register(c.cmd)
	c.cmd.Flags().StringVar(&c.Data, "data", "", "`FILE` of solution times: .csv, .tsv or BrainIO's netCDF-4")
	c.cmd.Flags().StringArrayVar(&c.Selection.Where, "where", nil,
		"`CONDITION` on a column or coordinate, such as decoder=svm; repeat it for several")
	addMissing(c.cmd, &o.Missing, &o.Shared, compare.RefuseMissing, compare.DropStimuli)
	addWindow(c.cmd, &c.Selection.From, &c.Selection.To, "time", "features within `FROM:TO` ms")
	setDefault(c.cmd, "time", "70:250")
	addParsed(c.cmd, &o.Decoder, "decoder", compare.BrainScoreOSTDecoder, compare.ParseOSTDecoder,
		"`DECODER` of objects: brain-score, converged", "brain-score", "converged")
	obey(c.cmd, needed("data", "which solution times? give --data FILE"))
	c.addResult()
	c.registerComputed(c.cmd)
	sections(c.cmd, featureSection, flagSection{title: "Solution times", names: []string{"data", "where", "time",
		"decoder", "missing", "shared-stimuli"}}, resultSection)
	c.runs("fitting", func(func(done, of int64)) (*compare.Result, error) {
		o.Layers = c.only
		return c.OST(c.cmd.Context(), o)
	})
	return c.cmd
}

func newCompareBehaviour() *cobra.Command {
	c, readout := newComparison("behaviour --features FILE --data FILE [flags]"), ""
	o := &recordings.BehaviourOptions{}
	flags := c.cmd.Flags()
	c.featureFlags.register(c.cmd)
	flags.StringVar(&c.Data, "data", "", "`FILE` of trials: .csv, .tsv or BrainIO's netCDF-4")
	flags.StringArrayVar(&c.Selection.Where, "where", nil,
		"`CONDITION` on a column of the trials; repeat it for several")
	addMissing(c.cmd, &o.Missing, &o.Shared, compare.RefuseMissing, compare.DropStimuli, compare.DropTrials)
	consistencies := []compare.Consistency{compare.I1, compare.I1n, compare.I2, compare.I2n}
	o.Consistencies = []compare.Consistency{compare.I2n}
	addList(c.cmd, &o.Consistencies, "consistency", "comma-separated `KINDS`: "+strings.Join(names(consistencies), ", "),
		consistencies...)
	addChoice(c.cmd, &readout, "readout", "logistic", "`KIND` of readout: logistic, logits", "logistic", "logits")
	flags.StringVar(&o.LabelsFile, "labels", "",
		"`FILE` with the labels of stimuli to fit on, .csv or .tsv with stimulus_id (default: the features' own)")
	flags.StringVar(&o.Label, "label", "", "`COLUMN` of the labels (default: object_name, image_label or truth)")
	flags.StringVar(&o.ClassesFile, "classes", "", "`FILE` with the classes of each object, for --readout logits")
	var from, to *float64
	addWindow(c.cmd, &from, &to, "time", "the mean of features within `FROM:TO` ms (default: each bin by itself)")
	logits := func() bool { return readout == "logits" }
	obey(c.cmd, onlyFor("--readout logistic", func() bool { return !logits() }, "labels", "label"),
		onlyFor("--readout logits", logits, "classes"),
		func(cmd *cobra.Command) error {
			switch {
			case logits() && o.ClassesFile == "":
				return usagef("which classes are the objects? give --classes FILE")
			case from != nil && to != nil:
				o.Bins = []compare.Bin{{Start: *from, End: *to}}
			case from != nil || to != nil:
				return usagef("--time %s: give both ends", cmd.Flag("time").Value)
			}
			return nil
		}, needed("data", "which trials? give --data FILE"))
	c.addResult()
	c.registerComputed(c.cmd)
	sections(c.cmd, featureSection,
		flagSection{title: "Trials", names: []string{"data", "where", "missing", "shared-stimuli"}},
		flagSection{title: "Readout", names: []string{"readout", "labels", "label", "classes", "time", "consistency"}},
		resultSection)
	c.runs("fitting", func(report func(done, of int64)) (*compare.Result, error) {
		o.Progress, o.Layers = report, c.only
		return c.Behaviour(c.cmd.Context(), *o)
	})
	return c.cmd
}
