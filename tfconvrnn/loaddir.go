package tfconvrnn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/savedmodels"
)

// LoadSavedModel loads the SavedModel in a directory that convert.Convert, or the
// store, made. Options that say which SavedModel is wanted (WithStore, WithWeights,
// WithTimes, WithVariant) have no effect. Errors wrap fs.ErrNotExist where there is
// none, ErrModified, ErrRuntimeNotFound and others of this package. The caller
// closes the model.
func LoadSavedModel(ctx context.Context, dir string, options ...Option) (*Model, error) {
	o := loadOptions{session: defaultSessionOptions()}
	for _, option := range options {
		if err := option(&o); err != nil {
			return nil, err
		}
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	m, err := manifest.Read(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not a converted model: %w", dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrModified, err)
	}
	info, err := savedmodels.Lookup(m.Model)
	if err != nil {
		return nil, err
	}
	if o.verify {
		if err := m.Verify(dir); err != nil {
			return nil, err
		}
	}
	return open(info, savedmodels.SavedModel{Dir: dir, Manifest: m}, o)
}
