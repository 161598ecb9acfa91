package savedmodels

import (
	"fmt"

	"github.com/tfconvrnn/go/convert"
)

// Source returns the weights of a model that convert.Convert takes. The caller
// closes it. Errors wrap ErrUnknownModel, ErrNoWeights or those of package convert.
func (s *Store) Source(model string, w Weights) (convert.Source, error) {
	if _, err := Lookup(model); err != nil {
		return nil, err
	}
	if w.Seeded {
		return convert.Seeded(model, w.Seed)
	}
	prefix, err := s.checkpoint(Request{Model: model, Weights: w})
	if err != nil {
		return nil, err
	}
	if prefix == "" {
		return nil, fmt.Errorf("%w for %s: there is no checkpoint; get it with \"tfconvrnn-cli download %s\", or name a directory that holds %s/%s.index and .data-00000-of-00001 (--weights DIR, or %s), "+
			"or try the model untrained with --weights seeded:1", ErrNoWeights, model, model, model, CheckpointName, CheckpointsEnv)
	}
	return convert.Checkpoint(model, prefix)
}
