package extraction

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/recordings"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// inPasses returns features that are kept nowhere. All passes compute the same batches as one run would.
func (x *deferred) inPasses() (*recordings.FeatureFile, error) {
	if err := x.begin(x.ctx, x.model, RunOptions{Warn: x.o.Warn}.defaults()); err != nil {
		return nil, err
	}
	const float = 4
	return recordings.PassingFeatures(x.ids, x.layers, x.layout.Provenance(), recordings.FeaturePasses{
		Room: int(x.o.Memory / float), Run: x.pass})
}

// pass runs the model for what one pass computes.
func (x *deferred) pass(ctx context.Context, what compare.Pass,
	visit func(which, stimulus int, row []float32) error) error {
	options := x.o.Pass(what).defaults()
	p, err := x.passPlan(what.Layers)
	if err != nil {
		return err
	}
	defer p.Close()
	f := &fileRun{plan: p, writer: &rowVisitor{layers: len(what.Layers), visit: visit}, options: &options,
		result: &Result{}}
	_, err = f.stream(ctx, func(p *Plan, first int) (engine, *reading, error) {
		return p.newEngine(ctx, x.model, options.worker(first))
	})
	return err
}

// passPlan is the plan of only some layers and timesteps. The error wraps tfconvrnn.ErrOption for those there are not.
func (x *deferred) passPlan(layers []compare.LayerBins) (*Plan, error) {
	for _, l := range layers {
		if l.Layer < 0 || l.Layer >= len(x.content.Layers) || len(l.Bins) == 0 || !slices.IsSorted(l.Bins) ||
			l.Bins[0] < 0 || l.Bins[len(l.Bins)-1] >= len(x.content.Layers[l.Layer].Timesteps) {
			return nil, fmt.Errorf("%w: no bins %v of layer %d to compute", tfconvrnn.ErrOption, l.Bins, l.Layer)
		}
	}
	p, err := x.plan()
	if err != nil {
		return nil, err
	}
	content := *x.content
	content.Layers, content.Logits = nil, false
	p.Recipe.Layers, p.Selections, p.Logits, p.timesteps = nil, nil, false, map[string][]int{}
	for _, l := range layers {
		of := x.content.Layers[l.Layer]
		of.LayerOutput = timestepsOf(of.LayerOutput, l.Bins)
		content.Layers = append(content.Layers, of)
		p.Recipe.Layers, p.timesteps[of.Name] = append(p.Recipe.Layers, of.Name), of.Timesteps
	}
	for _, text := range x.recipe.Selections {
		names, units, _ := strings.Cut(text, "=")
		for name := range strings.SplitSeq(names, ",") {
			if slices.Contains(p.Recipe.Layers, strings.TrimSpace(name)) {
				p.Selections = append(p.Selections, name+"="+units)
			}
		}
	}
	about, err := x.model.Plan(p.extractOptions()...)
	if err == nil {
		provenance := *x.recipe.Provenance
		provenance.Provenance = about.Provenance()
		p.Provenance, content.About = &provenance, &provenance
		p.contents = &content
		p.layout, err = content.Layout(p.Format)
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// timestepsOf is an output of some of its timesteps, by their positions in ascending order.
func timestepsOf(l tfconvrnn.LayerOutput, positions []int) tfconvrnn.LayerOutput {
	all := l
	l.Timesteps, l.Milliseconds, l.Driven = nil, nil, nil
	for _, at := range positions {
		l.Timesteps, l.Milliseconds = append(l.Timesteps, all.Timesteps[at]), append(l.Milliseconds, all.Milliseconds[at])
		l.Driven = append(l.Driven, all.Driven[at])
	}
	return l
}

// rowVisitor is a features.Writer that passes rows of layers on.
type rowVisitor struct {
	layers int
	visit  func(which, stimulus int, row []float32) error
}

func (v *rowVisitor) WriteRows(array, firstRow int, data []float32) error {
	if array >= v.layers { // the mask
		return nil
	}
	return v.visit(array, firstRow, data)
}

func (v *rowVisitor) Resumed() int                 { return 0 }
func (v *rowVisitor) Finish(context.Context) error { return nil }
func (v *rowVisitor) Suspend() error               { return nil }
func (v *rowVisitor) Abort() error                 { return nil }
