package convert

import (
	"context"
	"sync/atomic"

	"github.com/tfconvrnn/go/internal/weights"
)

// WriteCheckpoint writes a source of a model as a TensorFlow V2 checkpoint with the given
// prefix, such as "dir/model.ckpt", whose directory must exist; it replaces one that is there.
// Progress, if not nil, is called with the number of parameters written so far and in all. It
// ends early when ctx does.
func WriteCheckpoint(ctx context.Context, model string, source *Source, prefix string,
	progress func(done, total int64)) error {
	m, err := lookup(model)
	if err != nil {
		return err
	}
	variables := m.Variables()
	watched := &watchedSource{Source: source.values, ctx: ctx, progress: progress}
	for _, v := range variables {
		n := int64(1)
		for _, d := range v.Shape {
			n *= int64(d)
		}
		watched.total += n
	}
	return weights.WriteCheckpoint(prefix, watched, variables)
}

// watchedSource reports how much of a source was read and ends when its context
// does.
type watchedSource struct {
	weights.Source
	ctx      context.Context
	progress func(done, total int64)
	done     atomic.Int64
	total    int64
}

// Variable returns the values of a variable; see weights.Source.
func (s *watchedSource) Variable(name string, shape []int) ([]float32, error) {
	if err := context.Cause(s.ctx); err != nil {
		return nil, err
	}
	values, err := s.Source.Variable(name, shape)
	if done := s.done.Add(int64(len(values))); s.progress != nil {
		s.progress(done, s.total)
	}
	return values, err
}
