package tfconvrnn

import (
	"fmt"
	"slices"

	"github.com/tfconvrnn/go/savedmodels"
)

// Outputs returns the resolved presentation and the layers that an extraction with
// the given options puts out, as Model.Plan does, but needs neither the model's
// weights nor the runtime. Errors wrap ErrUnknownLayer, ErrPresentation or
// ErrOption.
func Outputs(model savedmodels.Model, options ...ExtractOption) (Presentation, []LayerOutput, error) {
	var o extractOptions
	for _, option := range options {
		option(&o)
	}
	outputs, err := o.resolve(model)
	return o.presentation, outputs, err
}

// resolve checks the options, and fills in the presentation and the layers that
// they leave to the model.
func (o *extractOptions) resolve(model savedmodels.Model) ([]LayerOutput, error) {
	resolved, err := o.presentation.Resolve(model)
	if err != nil {
		return nil, err
	}
	o.presentation = resolved
	for _, n := range []int{o.batchSize, o.largestBatch} {
		if n < 0 || n > maxBatchSize {
			return nil, fmt.Errorf("%w: a batch of %d; it must be 1 … %d, or 0 to choose", ErrOption, n, maxBatchSize)
		}
	}
	if len(o.layers) == 0 && !o.onlyLogits {
		for _, l := range model.Layers {
			o.layers = append(o.layers, l.Name)
		}
	}
	if err := o.settleSelections(); err != nil {
		return nil, err
	}
	if err := o.settleAverages(model); err != nil {
		return nil, err
	}
	if err := o.settleTimesteps(); err != nil {
		return nil, err
	}
	imageOn := resolved.ImageOn()
	var outputs []LayerOutput
	for i, name := range o.layers {
		layer, err := model.Layer(name)
		if err != nil {
			return nil, err
		}
		if slices.Contains(o.layers[:i], name) {
			return nil, fmt.Errorf("%w: layer %s is asked for twice", ErrOption, name)
		}
		first := layer.ReportedFrom
		if o.allTimesteps {
			first = 0
		}
		if first >= resolved.times {
			return nil, fmt.Errorf(
				"%w: %s is reported from timestep %d on, and there are %d; ask for more timesteps, or for all timesteps",
				ErrPresentation, name, first, resolved.times)
		}
		end := resolved.times
		if w := o.window; w != nil {
			if w[0] < 0 || w[1] <= w[0] || w[0]%MillisecondsPerTimestep != 0 || w[1]%MillisecondsPerTimestep != 0 {
				return nil, fmt.Errorf("%w: the window %d…%d ms; it begins and ends with a timestep of %d ms", ErrPresentation,
					w[0], w[1], MillisecondsPerTimestep)
			}
			if first, end = max(first, w[0]/MillisecondsPerTimestep), w[1]/MillisecondsPerTimestep; end > resolved.times ||
				first >= end {
				return nil, fmt.Errorf("%w: the window %d…%d ms is not within what %s reports, %d…%d ms", ErrPresentation, w[0],
					w[1], name,
					first*MillisecondsPerTimestep, resolved.times*MillisecondsPerTimestep)
			}
		}
		output := LayerOutput{Name: name, Shape: layer.Shape}
		if output.Selection, err = o.selection(layer); err != nil {
			return nil, err
		}
		if output.Selection != nil {
			output.Shape = output.Selection.shape()
		}
		if output.Averaged = slices.Contains(o.averaged, name); output.Averaged {
			output.Shape = layer.Shape[2:]
		}
		if pool, shape, err := o.poolOf(layer); err != nil {
			return nil, err
		} else if pool != nil {
			output.pool, output.Shape = pool, shape
		}
		if err := o.reportTimesteps(&output, first, end, imageOn+layer.DrivenFrom); err != nil {
			return nil, err
		}
		outputs = append(outputs, output)
	}
	return outputs, nil
}

// settleTimesteps makes sure that the layers of which some timesteps are asked for are extracted.
func (o *extractOptions) settleTimesteps() error {
	for name, asked := range o.timesteps {
		if !slices.Contains(o.layers, name) || len(asked) == 0 {
			return fmt.Errorf("%w: %d timesteps of layer %s, which must be extracted, and at least one", ErrOption,
				len(asked), name)
		}
	}
	return nil
}

// reportTimesteps fills in the timesteps of a layer from first to before end, or those of them that are asked for. It
// is driven from a timestep on.
func (o *extractOptions) reportTimesteps(output *LayerOutput, first, end, driven int) error {
	asked, some := o.timesteps[output.Name]
	for _, t := range asked {
		if t < first || t >= end {
			return fmt.Errorf("%w: %s is reported from timestep %d to %d, and not at %d", ErrPresentation, output.Name, first,
				end-1, t)
		}
	}
	for t := first; t < end; t++ {
		if some && !slices.Contains(asked, t) {
			continue
		}
		output.Timesteps = append(output.Timesteps, t)
		output.Milliseconds = append(output.Milliseconds, t*MillisecondsPerTimestep)
		output.Driven = append(output.Driven, t >= driven)
	}
	return nil
}
