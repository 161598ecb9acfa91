package tfconvrnn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/tfconvrnn/go/savedmodels"
)

// What Verify looks at.
const (
	VerifiedCheckpoint = "checkpoint"
	VerifiedSavedModel = "converted model"
)

// What became of the activations of a verified model.
const (
	ActivationsCompared = "compared"
	ActivationsRecorded = "recorded"
)

// A Verification is what Verify found of one checkpoint or one SavedModel.
type Verification struct {
	Model string `json:"model"`
	What  string `json:"what"` // VerifiedCheckpoint or VerifiedSavedModel
	// Dir is the SavedModel's directory.
	Dir string `json:"dir,omitempty"`
	// Activations is ActivationsCompared or ActivationsRecorded, or "" if the model was not run.
	Activations string `json:"activations,omitempty"`
	// Check says how well they agree, where they were compared.
	Check *ActivationCheck `json:"check,omitempty"`
	// Err says what is wrong; nil if nothing is.
	Err error `json:"-"`
}

// VerifyOptions say what Verify verifies; the zero value is all that is installed.
type VerifyOptions struct {
	// Models are those to verify, all if empty. One of these that is not installed is a fault.
	Models []string
	// Checkpoints is the directory of checkpoints, the cache's if empty; Lock is the file of
	// their SHA-256, the one in that directory if empty.
	Checkpoints, Lock string
	// ChecksumsOnly runs no model, so that no runtime is needed.
	ChecksumsOnly bool
	// Record records what the models compute now, in place of what was recorded.
	Record bool
	// Runtime, if not nil, is called before the first model is run and may install the
	// runtime; its error ends Verify.
	Runtime func() error
	// Begin, if not nil, is called before each checkpoint and each SavedModel is read. Progress,
	// if that returns one, gets the bytes read so far and in all; end is called afterwards.
	Begin func(model, what, dir string) (progress func(done, total int64), end func())
}

// Verify verifies checkpoints and the SavedModels of a store: the checksums of their files, the
// hashes of the lock file, and that each model computes of a built-in picture what was
// recorded (see CheckActivations); what has no record gets one. The faults found are in the
// results. The error is that of an unknown model, of Runtime, of reading the store or of ctx.
func Verify(ctx context.Context, store *savedmodels.Store, o VerifyOptions) ([]Verification, error) {
	for _, model := range o.Models {
		if _, err := savedmodels.Lookup(model); err != nil {
			return nil, err
		}
	}
	if o.Begin == nil {
		o.Begin = func(string, string, string) (func(done, total int64), func()) { return nil, func() {} }
	}
	names := o.Models
	if len(names) == 0 {
		names = savedmodels.Names()
	}
	var results []Verification
	for _, model := range names {
		progress, end := o.Begin(model, VerifiedCheckpoint, "")
		found, err := savedmodels.VerifyCheckpoint(ctx, model, o.Checkpoints, o.Lock, progress)
		end()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if found || err != nil {
			results = append(results, Verification{Model: model, What: VerifiedCheckpoint, Err: err})
		}
	}
	list, err := store.List()
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(m savedmodels.SavedModel) bool {
		return !slices.Contains(names, m.Manifest.Model)
	})
	if len(list) > 0 && !o.ChecksumsOnly && o.Runtime != nil {
		if err := o.Runtime(); err != nil {
			return nil, err
		}
	}
	for _, m := range list {
		_, end := o.Begin(m.Manifest.Model, VerifiedSavedModel, m.Dir)
		v := Verification{Model: m.Manifest.Model, What: VerifiedSavedModel, Dir: m.Dir}
		if v.Err = m.Manifest.Verify(m.Dir); v.Err == nil && !o.ChecksumsOnly {
			v.Err = v.run(ctx, o.Record)
		}
		end()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		results = append(results, v)
	}
	for _, model := range o.Models {
		if !slices.ContainsFunc(results, func(v Verification) bool { return v.Model == model }) {
			err := &savedmodels.NoWeightsError{Model: model, Store: store.Dir()}
			results = append(results, Verification{Model: model, What: VerifiedSavedModel, Err: err})
		}
	}
	return results, nil
}

// run compares the model's activations with those recorded, or records them.
func (v *Verification) run(ctx context.Context, record bool) error {
	return withSavedModel(ctx, v.Dir, func(model *Model) error {
		if !record {
			check, err := model.CheckActivations(ctx)
			if !errors.Is(err, ErrNotRecorded) {
				v.Check, v.Activations = &check, ActivationsCompared
				return err
			}
		}
		v.Activations = ActivationsRecorded
		return model.RecordActivations(ctx)
	})
}

// RecordActivations runs those SavedModels, one after the other, of which no activations are
// recorded, and records them: see Model.RecordActivations. Progress, if not nil, is called with
// the number that is done, and how many there are. Errors are those of LoadSavedModel, so
// ErrRuntimeNotFound where nothing can be run, and of Model.RecordActivations.
func RecordActivations(ctx context.Context, models []savedmodels.SavedModel, progress func(done, total int)) error {
	var missing []savedmodels.SavedModel
	for _, m := range models {
		if _, err := os.Stat(filepath.Join(m.Dir, ActivationsName)); m.Dir != "" && err != nil {
			missing = append(missing, m)
		}
	}
	for i, m := range missing {
		if err := withSavedModel(ctx, m.Dir, func(model *Model) error { return model.RecordActivations(ctx) }); err != nil {
			return fmt.Errorf("%s: recording activations: %w", m.Manifest.Model, err)
		}
		if progress != nil {
			progress(i+1, len(missing))
		}
	}
	return nil
}

func withSavedModel(ctx context.Context, dir string, do func(*Model) error) error {
	model, err := LoadSavedModel(ctx, dir)
	if err != nil {
		return err
	}
	return errors.Join(do(model), model.Close())
}
