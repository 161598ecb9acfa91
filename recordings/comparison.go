package recordings

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/version"
)

// Comparison is of features with data: what they are, what is taken of them, and where the result goes. Each method is
// a kind of comparison, in one call: it opens the files, compares, and returns a result that also says how was
// compared, and what was left out and assumed. It is safe for concurrent use, unless features are Opened.
//
// Errors are those of OpenFeatures, Open and Select, of the function of package compare that a method names, and of
// WriteResult.
type Comparison struct {
	// Features is a file that OpenFeatures opens.
	Features string
	// Opened, if not nil, are features that are open and stay open; Features then is what the result calls them.
	Opened *FeatureFile
	// Data is a file of recordings that Open opens by its Layout, of which Selection is taken.
	Data      string
	Layout    Layout
	Selection Selection
	// StratifyIfThere leaves stimuli without the coordinate that they are to be stratified by unstratified, and says
	// so in the result. Otherwise that is an error.
	StratifyIfThere bool
	// Out is a file to write the result to, which is replaced; "" for none. See WriteResult.
	Out string
	// Software is what the result says it was made by; "" is this library.
	Software string
}

// comparing is one call.
type comparing struct {
	*Comparison
	features  *FeatureFile
	assembly  *Assembly
	responses *Recording
	result    *compare.Result
}

// run opens what is needed, works, and writes the result.
func (c *Comparison) run(ctx context.Context, analysis string, features, responses bool,
	work func(*comparing) error) (_ *compare.Result, err error) {
	r := &comparing{Comparison: c, features: c.Opened, result: &compare.Result{Analysis: analysis, Data: c.Data,
		Software: cmp.Or(c.Software, version.Software), Scores: []compare.ResultScore{}}}
	if err := c.checkOut(); err != nil {
		return nil, err
	}
	if features {
		r.result.Features = c.Features
		if r.features == nil {
			if r.features, err = OpenFeatures(c.Features); err != nil {
				return nil, err
			}
			defer r.features.Close()
		}
	}
	if responses {
		if r.assembly, err = Open(c.Data, c.Layout); err != nil {
			return nil, err
		}
		defer r.assembly.Close()
		if r.responses, err = Select(r.assembly, c.Selection); err != nil {
			return nil, err
		}
		r.responses.Said(r.result)
	}
	if err := work(r); err != nil {
		return nil, err
	}
	if c.Out == "" {
		return r.result, nil
	}
	if err := Describe(ctx, r.result, r.features, r.responses); err != nil {
		return nil, err
	}
	return r.result, WriteResult(c.Out, r.result)
}

// checkOut refuses a result that would replace what is compared; the error wraps features.ErrOwnInput.
func (c *Comparison) checkOut() error { return features.CheckInputs(c.Out, c.Features, c.Data) }

// leftOut adds what was left out, if anything was.
func (r *comparing) leftOut(note string) {
	if note != "" {
		r.result.LeftOut = append(r.result.LeftOut, note)
	}
}

// split says how stimuli are split, and returns the coordinate to stratify by.
func (r *comparing) split(how string, seed *uint32, stratify string) string {
	one := int64(1)
	if seed != nil {
		one = int64(*seed)
	}
	r.result.Splits, r.result.Seed = how, &one
	if stratify != "" && r.StratifyIfThere && r.responses.Labels(stratify) == nil {
		r.result.Note("not stratified: the stimuli have no %s", stratify)
		stratify = ""
	}
	if stratify == "" {
		r.result.Splits += ", not stratified"
	} else {
		r.result.Splits += ", stratified by " + stratify
	}
	return stratify
}

// fit says what is fitted, and sets what depends on the recordings.
func (r *comparing) fit(o *compare.FitOptions) {
	if o.Mapping == nil {
		o.Mapping = compare.PLS{}
	}
	r.result.Metric = o.Mapping.String()
	o.Stratify = r.split(o.Splits.String(), o.Splits.Seed, o.Stratify)
	if o.Subjects == nil {
		o.Subjects = r.responses.NeuroidLabels("subject")
	}
	if o.SpanTime {
		r.result.Metric += ", one for all bins"
	}
	if o.Reverse {
		r.result.Metric += ", of features from responses"
	}
	if len(o.Bootstrap) > 0 {
		var over []string
		for _, b := range o.Bootstrap {
			over = append(over, string(b))
		}
		r.result.Metric += ", error by a bootstrap over " + strings.Join(over, " and ")
	}
}

// Fit is compare.FitOverTime. Where the options have no Subjects, here and in the other methods, they are those of the
// recordings.
func (c *Comparison) Fit(ctx context.Context, o compare.FitOptions) (*compare.Result, error) {
	return c.run(ctx, "fit", true, true, func(r *comparing) error {
		r.fit(&o)
		fits, err := compare.FitOverTime(ctx, r.features, r.responses, o)
		if err == nil {
			r.result.Add(fits, !o.Matrix)
		}
		return err
	})
}

// Best is compare.BestOverTime, for the neuroids of each region by themselves.
func (c *Comparison) Best(ctx context.Context, o compare.BestOptions) (*compare.Result, error) {
	return c.run(ctx, "best", true, true, func(r *comparing) error {
		r.fit(&o.FitOptions)
		if o.NotNested {
			r.result.Splits += "; the choice is not nested but made on the stimuli that score: the score is too high"
		} else {
			r.result.Splits += fmt.Sprintf("; the choice by %d splits of each training set", cmp.Or(o.Inner, 5))
		}
		return EachRegion(r.assembly, c.Selection, func(region string, responses *Recording) error {
			o.Subjects = nil
			best, fits, err := compare.BestOverTime(ctx, r.features, responses, o)
			if err != nil {
				return err
			}
			for _, note := range fits.Notes {
				r.result.Note("region %s: %s", cmp.Or(region, "unknown"), note)
			}
			r.result.AddBest(region, best)
			return nil
		})
	})
}

// Similarity is compare.SimilarityOverTime: RSA or CKA.
func (c *Comparison) Similarity(ctx context.Context, o compare.AlignmentOptions) (*compare.Result, error) {
	return c.run(ctx, analysisOf(o.Alignment), true, true, func(r *comparing) error {
		r.result.Metric = o.String()
		if o.Subjects == nil {
			o.Subjects = r.responses.NeuroidLabels("subject")
		}
		if o.Splits != nil {
			o.Stratify = r.split(o.Splits.Samples(), o.Splits.Seed, o.Stratify)
		}
		fits, err := compare.SimilarityOverTime(ctx, r.features, r.responses, o)
		if err == nil {
			r.result.Add(fits, !o.Matrix)
		}
		return err
	})
}

// analysisOf names an alignment in results.
func analysisOf(a compare.Alignment) string {
	if a == "" || a == compare.RSA {
		return "rsa"
	}
	return "cka"
}

// BetweenLayers is compare.BetweenLayers. There is no Data; From, To and AverageTime of the Selection choose the times
// of the features, if the options have no Bins.
func (c *Comparison) BetweenLayers(ctx context.Context, o compare.BetweenOptions) (*compare.Result, error) {
	how := compare.AlignmentOptions{Alignment: o.Alignment, Measure: o.Measure, Similarity: o.Similarity}
	return c.run(ctx, analysisOf(o.Alignment), true, false, func(r *comparing) error {
		r.result.Data = ""
		r.result.Metric = how.String() + ", between layers"
		s := &c.Selection
		switch {
		case len(o.Bins) > 0:
		case s.AverageTime && (s.From == nil || s.To == nil):
			return fmt.Errorf("%w: the mean over which time?", ErrSelection)
		default:
			if o.Bins = compare.BinsWithin(r.features, s.From, s.To); len(o.Bins) == 0 {
				return fmt.Errorf("%w: no layer has a timestep in that time", ErrSelection)
			}
			if s.AverageTime {
				o.Bins = []compare.Bin{{Start: *s.From, End: *s.To}}
			}
		}
		similarities, err := compare.BetweenLayers(ctx, r.features, o)
		r.result.AddBetween(similarities)
		return err
	})
}

// Ceiling is compare.CeilingOverTime. There are no features.
func (c *Comparison) Ceiling(ctx context.Context, noise bool) (*compare.Result, error) {
	return c.run(ctx, "ceiling", false, true, func(r *comparing) error {
		if r.result.Metric = "internal consistency"; noise {
			r.result.Metric = "noise ceiling"
		}
		scores, err := compare.CeilingOverTime(ctx, r.responses, noise)
		r.result.AddCeilings(scores)
		return err
	})
}

// OSTOptions say how OST compares.
type OSTOptions struct {
	// Layers are those to compare; none means all.
	Layers  []string
	Decoder compare.OSTDecoder
	// Missing says what is done about images that lack something: RefuseMissing, if "", or DropStimuli.
	Missing compare.Missing
	// Shared leaves out images without features; otherwise they are an error.
	Shared bool
}

// OST is compare.OSTOverLayers, with Data that ReadSolutionTimes reads. Where of the Selection chooses among its rows,
// From and To among the times of the features.
func (c *Comparison) OST(ctx context.Context, o OSTOptions) (*compare.Result, error) {
	return c.run(ctx, "ost", true, false, func(r *comparing) error {
		r.result.Metric = "object solution times, Spearman's correlation, decoder " + o.Decoder.String()
		r.result.Splits = "10 splits, 0.1 of the images for testing, seed 1, not stratified"
		measured, repeated, err := ReadSolutionTimes(c.Data, c.Selection.Where...)
		if err != nil {
			return err
		}
		if repeated > 0 {
			r.leftOut(fmt.Sprintf("%d rows left out: images that are there twice", repeated))
		}
		measured, note, err := measured.Complete(o.Missing)
		if err != nil {
			return err
		}
		r.leftOut(note)
		if o.Shared {
			measured, note = measured.Among(r.features)
			r.leftOut(note)
		}
		from, to := c.Selection.bounds()
		scores, err := compare.OSTOverLayers(ctx, r.features, measured, o.Decoder, o.Layers, from, to)
		if err == nil {
			r.result.AddOST(scores, measured)
		}
		return err
	})
}

// BehaviourOptions say how Behaviour compares. Labels and Classes of compare.BehaviourOptions are read from files
// where they are nil.
type BehaviourOptions struct {
	compare.BehaviourOptions
	// LabelsFile is one that ReadLabels reads; "" takes the labels that the features have. Label is its column, or
	// their coordinate; "" means object_name, and of the features also image_label or truth.
	LabelsFile, Label string
	// ClassesFile is one that ReadClasses reads: the features are logits of its classes. "" fits a readout.
	ClassesFile string
	// Missing says what is done about trials without a choice: RefuseMissing, if "", DropTrials or DropStimuli.
	Missing compare.Missing
	// Shared leaves out trials of stimuli without features; otherwise they are an error.
	Shared bool
}

// ErrNoLabels means that features do not tell which objects the stimuli show.
var ErrNoLabels = errors.New("the features do not tell which objects the stimuli show")

// Behaviour is compare.BehaviourOverTime, with Data that ReadTrials reads. Where of the Selection chooses among its
// rows.
func (c *Comparison) Behaviour(ctx context.Context, o BehaviourOptions) (*compare.Result, error) {
	return c.run(ctx, "behaviour", true, false, func(r *comparing) error {
		readout, err := r.readout(&o)
		if err != nil {
			return err
		}
		trials, err := ReadTrials(c.Data, c.Selection.Where...)
		if err != nil {
			return err
		}
		trials, note, err := compare.CompleteTrials(trials, o.Missing)
		if err != nil {
			return err
		}
		r.leftOut(note)
		if o.Shared {
			trials, note = compare.TrialsAmong(r.features, trials)
			r.leftOut(note)
		}
		if len(o.Consistencies) == 0 {
			o.Consistencies = []compare.Consistency{compare.I2n}
		}
		for _, kind := range o.Consistencies {
			r.result.Metric += string(kind) + ", "
		}
		r.result.Metric += readout
		r.result.Splits = "2 halvings of the trials, seed 0"
		scores, err := compare.BehaviourOverTime(ctx, r.features, trials, o.BehaviourOptions)
		r.result.AddBehaviour(scores)
		return err
	})
}

// readout reads the labels or classes, and says what the readout is.
func (r *comparing) readout(o *BehaviourOptions) (what string, err error) {
	if o.ClassesFile != "" && o.Classes == nil {
		o.Classes, err = ReadClasses(o.ClassesFile)
	}
	if o.Classes != nil || err != nil {
		return "softmax of logits", err
	}
	names := []string{"object_name", "image_label", "truth"}
	if o.Label != "" {
		names = []string{o.Label}
	}
	switch {
	case o.Labels != nil:
	case o.LabelsFile != "":
		o.Labels, err = ReadLabels(o.LabelsFile, names[0])
	default:
		if o.Labels = r.features.LabelsByStimulus(names...); o.Labels == nil {
			err = ErrNoLabels
		}
	}
	return "logistic readout with C = 0.001", err
}
