package tfconvrnn

import (
	"fmt"
	"slices"

	"github.com/tfconvrnn/go/internal/trust"
	"github.com/tfconvrnn/go/savedmodels"
)

// ErrUntrusted means a SavedModel that this project's converter cannot have
// written, or whose graph is not the one its manifest describes. A graph is a
// program that could read and write files.
var ErrUntrusted = trust.ErrUntrusted

// WithTrust opens SavedModels that would otherwise be refused with ErrUntrusted: it
// lets their graphs do what they like, as any program. Without it only graphs that
// the converter writes, byte for byte, are opened, with variables of the shapes that it
// gives them, and only those whose graph and list of variables have the hashes that
// the manifest says. Values of variables are compared with the manifest by
// WithVerification.
func WithTrust() Option {
	return func(o *loadOptions) error { o.trust = true; return nil }
}

// checkTrust checks a SavedModel before TensorFlow sees it, and that its manifest
// describes the model, which holds for trusted ones too.
func (o *loadOptions) checkTrust(info savedmodels.Model, found savedmodels.SavedModel) error {
	m := found.Manifest
	if m.Model != info.Name {
		return fmt.Errorf("%w: %s holds %q, not %s; convert the model again", ErrModified, found.Dir, m.Model, info.Name)
	}
	same := len(m.Layers) == len(info.Layers)
	for i := 0; same && i < len(m.Layers); i++ {
		same = m.Layers[i].Name == info.Layers[i].Name && slices.Equal(m.Layers[i].Shape, info.Layers[i].Shape)
	}
	if !same {
		return fmt.Errorf("%w: the layers in %s are not those of %s; convert the model again", ErrModified, found.Dir,
			info.Name)
	}
	if o.trust {
		return nil
	}
	if err := trust.Check(found.Dir, m); err != nil {
		return mistrust(err)
	}
	return nil
}

func mistrust(err error) error {
	return fmt.Errorf("%w; convert the model again, or trust it if you know where it is from", err)
}

// checkConversion starts the comparison that checkTrust leaves out, in a goroutine,
// because it can run while the runtime loads. It returns a function that waits for the
// result, to be called once.
func (o *loadOptions) checkConversion(found savedmodels.SavedModel) func() error {
	if o.trust || o.unloaded {
		return func() error { return nil }
	}
	checked := make(chan error, 1)
	go func() { checked <- found.CheckConversion() }()
	return func() error {
		if err := <-checked; err != nil {
			return mistrust(fmt.Errorf("%w: %s: %w", ErrUntrusted, found.Dir, err))
		}
		return nil
	}
}
