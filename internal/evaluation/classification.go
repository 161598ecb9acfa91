package evaluation

import (
	"context"
	"fmt"
	"io"
	"iter"
	"text/tabwriter"

	"github.com/tfconvrnn/go/internal/imagenet"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Classification is the classes of a stimulus, the likeliest first.
type Classification struct {
	Stimulus string `json:"stimulus"`
	// Driven says whether the image can have reached the timestep of the readout that
	// the decoder took.
	Driven  bool                   `json:"driven"`
	Classes []imagenet.Probability `json:"classes"`
	// OverTime is the same for the readout at every timestep.
	OverTime []TimestepClasses `json:"over_time,omitempty"`
}

// TimestepClasses is what the readout says at a timestep.
type TimestepClasses struct {
	Timestep     int `json:"timestep"`
	Milliseconds int `json:"milliseconds"`
	// Driven says whether the image can have reached the readout.
	Driven  bool                   `json:"driven"`
	Classes []imagenet.Probability `json:"classes"`
}

// Classify returns the top classes of a stimulus, and over time if that is asked for, from its
// logits and its readout, which output describes, from timestep 0 on. The error is
// CheckFinite's.
func Classify(info savedmodels.Model, output tfconvrnn.LayerOutput, stimulus string, logits, readout []float32, top int,
	overTime bool) (Classification, error) {
	c := Classification{Stimulus: stimulus}
	if err := CheckFinite(logits, readout); err != nil {
		return c, err
	}
	timesteps := Timesteps(output)
	c.Driven = DecodedDriven(info.Decoder, timesteps, readout, logits)
	c.Classes = imagenet.Top(logits, top)
	for i, t := range timesteps {
		if overTime {
			classes := imagenet.Top(readout[i*imagenet.Classes:(i+1)*imagenet.Classes], top)
			c.OverTime = append(c.OverTime, TimestepClasses{t.Timestep, t.Milliseconds, t.Driven, classes})
		}
	}
	return c, nil
}

// ClassifyOptions say how stimuli are classified.
type ClassifyOptions struct {
	// Presentation is how stimuli are shown; BatchSize how many are computed together, 0 to choose.
	Presentation tfconvrnn.Presentation
	BatchSize    int
	// Top is the number of classes of each stimulus. OverTime adds those at every timestep.
	Top      int
	OverTime bool
	// Progress, if not nil, is called with the number of stimuli that are done.
	Progress func(done int)
	// OnHalved is as in tfconvrnn.OnHalved; it may be nil.
	OnHalved func(from, to int, err error)
}

// Check tells, before anything is loaded, whether a model can classify so. Errors wrap
// tfconvrnn.ErrOption or tfconvrnn.ErrPresentation.
func (o ClassifyOptions) Check(info savedmodels.Model) error {
	if o.Top < 1 || o.Top > imagenet.Classes {
		return fmt.Errorf("%w: the %d likeliest classes; there are 1 … %d", tfconvrnn.ErrOption, o.Top, imagenet.Classes)
	}
	_, _, err := tfconvrnn.Outputs(info, o.extract(info)...)
	return err
}

// extract are the options of the extraction of the readout.
func (o ClassifyOptions) extract(info savedmodels.Model) []tfconvrnn.ExtractOption {
	return []tfconvrnn.ExtractOption{
		tfconvrnn.Layers(info.Layers[len(info.Layers)-1].Name), tfconvrnn.AllTimesteps(), tfconvrnn.Logits(),
		tfconvrnn.WithPresentation(o.Presentation), tfconvrnn.BatchSize(o.BatchSize), tfconvrnn.OnHalved(o.OnHalved),
	}
}

// Classifications are those of several stimuli.
type Classifications []Classification

// Print prints the classes of each stimulus.
func (c Classifications) Print(out io.Writer) error {
	for _, r := range c {
		fmt.Fprintln(out, r.Stimulus)
		if !r.Driven {
			fmt.Fprintln(out, "  (not yet driven: no image had reached the readout when it was decoded; this is the blank's)")
		}
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		for _, p := range r.Classes {
			fmt.Fprintf(table, "  %5.1f %%\t%s\t%s\n", 100*p.Probability, p.WordNetID, p.Name())
		}
		for _, t := range r.OverTime {
			fmt.Fprintf(table, "  %d ms", t.Milliseconds)
			if !t.Driven {
				fmt.Fprint(table, "\t(not yet driven)\n")
				continue
			}
			for _, p := range t.Classes {
				fmt.Fprintf(table, "\t%.1f %% %s", 100*p.Probability, p.Name())
			}
			fmt.Fprintln(table)
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// ClassifyStimuli runs a model over stimuli, such as those of a stimuli.Reader, and returns their
// classes. Errors are those of Check, of reading the stimuli, and of Model.Stream.
func ClassifyStimuli(ctx context.Context, m *tfconvrnn.Model, stimuli iter.Seq[tfconvrnn.Stimulus], o ClassifyOptions) (
	Classifications, error) {
	info := m.Info()
	if err := o.Check(info); err != nil {
		return nil, err
	}
	_, outputs, err := tfconvrnn.Outputs(info, o.extract(info)...)
	if err != nil {
		return nil, err
	}
	results := Classifications{}
	err = m.Stream(ctx, stimuli, func(b *tfconvrnn.Batch) error {
		for i, s := range b.Stimuli {
			logits, err := b.Logits(i)
			if err != nil {
				return err
			}
			readout, err := b.AppendFeatures(nil, 0, i)
			if err != nil {
				return err
			}
			one, err := Classify(info, outputs[0], s.ID, logits, readout, o.Top, o.OverTime)
			if err != nil {
				return fmt.Errorf("%s: %w", s.ID, err)
			}
			results = append(results, one)
		}
		if o.Progress != nil {
			o.Progress(b.First + len(b.Stimuli))
		}
		return nil
	}, o.extract(info)...)
	return results, err
}
