package benchmark

import (
	"context"
	"errors"
	"os"
	"os/exec"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/cachedir"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Request says what is measured of a model in processes of their own as well.
type Request struct {
	Options
	// Weights are those that Options.Load names.
	Weights tfconvrnn.Weights
	// Store is the directory of converted models, the cache's if empty. TemporaryStore converts
	// into one that is removed again instead.
	Store          string
	TemporaryStore bool
	// Arguments returns those with which this program calls Child with a measurement, on models of
	// a store. nil measures neither first results nor memory.
	Arguments func(store, measurement string) []string
	// Photographs is how many are extracted too, to a file of PhotographsTo: see ExtractPhotographs.
	Photographs   int
	PhotographsTo features.Format
}

// Measure is Run with all that a Report says. Errors are those of Run and of the file system.
func Measure(ctx context.Context, q Request) (_ *Report, err error) {
	o, store := q.Options, q.Store
	if q.TemporaryStore {
		var root string
		if root, err = cachedir.Root(); err == nil {
			err = os.MkdirAll(root, 0o777)
		}
		if err == nil {
			store, err = os.MkdirTemp(root, "bench-")
		}
		if err != nil {
			return nil, err
		}
		temporary := store
		defer func() { err = errors.Join(err, os.RemoveAll(temporary)) }()
	}
	o.Load = append(o.Load, tfconvrnn.WithStore(store))
	if q.Arguments != nil {
		executable, err := os.Executable()
		if err != nil {
			return nil, err
		}
		o.Child = func(ctx context.Context, measurement string) *exec.Cmd {
			return exec.CommandContext(ctx, executable, q.Arguments(store, measurement)...)
		}
	}
	result, err := Run(ctx, o)
	if err != nil {
		return nil, err
	}
	r := &Report{Result: *result, WeightsFrom: q.Weights}
	if q.Photographs > 0 {
		if o.Note != nil {
			o.Note("extracting photographs")
		}
		r.Photographs, err = ExtractPhotographs(ctx, o, q.Photographs, q.PhotographsTo)
	}
	return r, err
}
