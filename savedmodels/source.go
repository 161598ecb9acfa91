package savedmodels

import (
	"fmt"

	"github.com/tfconvrnn/go/convert"
)

// A NoWeightsError says that nothing of a model was found. It wraps ErrNoWeights.
type NoWeightsError struct {
	Model string
	// Store is the store of SavedModels that holds none either; "" if only a checkpoint was
	// looked for.
	Store string
}

// Error says what was looked for.
func (e *NoWeightsError) Error() string {
	if e.Store == "" {
		return fmt.Sprintf("%v for %s: there is no checkpoint", ErrNoWeights, e.Model)
	}
	return fmt.Sprintf("%v for %s: there is no SavedModel in %s and no checkpoint", ErrNoWeights, e.Model, e.Store)
}

// Unwrap returns ErrNoWeights.
func (e *NoWeightsError) Unwrap() error { return ErrNoWeights }

// Source returns the weights of a model that convert.Convert takes. The caller
// closes it. Errors wrap ErrUnknownModel, ErrNoWeights or those of package convert.
func (s *Store) Source(model string, w Weights) (*convert.Source, error) {
	if _, err := Lookup(model); err != nil {
		return nil, err
	}
	if _, err := ParseWeights(string(w)); err != nil {
		return nil, err
	}
	if seed, seeded := w.Seed(); seeded {
		return convert.Seeded(model, seed)
	}
	prefix, err := s.checkpoint(Request{Model: model, Weights: w})
	if err != nil {
		return nil, err
	}
	if prefix == "" {
		return nil, &NoWeightsError{Model: model}
	}
	return convert.Checkpoint(model, prefix)
}
