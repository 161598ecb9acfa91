package extraction

import (
	"context"
	"os"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/internal/processor"
	"github.com/tfconvrnn/go/recordings"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// deferred is an extraction that runs when features are needed.
type deferred struct {
	*Draft
	key     string // of what decides the features
	ids     []string
	extract func(into features.Writer) error
}

// Deferred returns features to compare before they are computed. They are when a value is first asked for, which it is
// not where a compare.GramCache has what is needed. Then they stay in memory, if they take a quarter of what is
// available at most; else they are written to the output, with which a later call goes on after an interruption, and
// which stays until remove is called. It is for formats whose single timesteps are read fast, such as features.NPZ.
//
// Run computes them by Draft.Run, with its argument as RunOptions.Writer, and Resume; nil does just that. The draft and
// the model must stay open while the features are.
func (d *Draft) Deferred(ctx context.Context, model *tfconvrnn.Model, run func(into features.Writer) error) (
	f *recordings.FeatureFile, remove func() error, err error) {
	x := &deferred{Draft: d, extract: run}
	if run == nil {
		x.extract = func(into features.Writer) error {
			_, err := d.Run(ctx, model, RunOptions{Resume: true, Writer: into})
			return err
		}
	}
	if x.key, err = d.Key(model); err != nil {
		return nil, nil, err
	}
	if x.ids, err = d.StimulusIDs(); err != nil {
		return nil, nil, err
	}
	f, err = recordings.ComputedFeatures(x.ids, recordings.LayersOf(d.layout), x.key, x.compute)
	return f, x.remove, err
}

// complete is a file that says of which key the features are, when all are there.
func (x *deferred) complete() string { return x.recipe.Output + ".key" }

func (x *deferred) compute() (*recordings.FeatureFile, error) {
	out := x.recipe.Output
	if text, err := os.ReadFile(x.complete()); err == nil && string(text) == x.key {
		if made, err := recordings.OpenFeatures(out); err == nil {
			return made, nil
		}
	}
	if err := os.RemoveAll(out); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(out + ".journal"); err != nil && x.size < processor.AvailableMemory()/4 {
		m := recordings.NewMemoryFeatures(x.layout)
		if err := x.extract(m); err != nil {
			return nil, err
		}
		return m.Features(x.ids)
	}
	err := x.extract(nil)
	if err == nil {
		err = atomicfile.Write(x.complete(), []byte(x.key))
	}
	if err != nil {
		return nil, err
	}
	return recordings.OpenFeatures(out)
}

func (x *deferred) remove() error {
	if err := os.Remove(x.complete()); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.RemoveAll(x.recipe.Output)
}
