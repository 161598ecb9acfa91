package convert

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/internal/bundle"
	"github.com/tfconvrnn/go/internal/tfpb"
	"github.com/tfconvrnn/go/internal/version"
)

// ErrForeign means that Convert cannot have written a SavedModel.
var ErrForeign = errors.New("the SavedModel is not what this converter writes")

// Check tells whether Convert, with any weights, can have written the SavedModel in
// dir, whose manifest is m: whether the manifest's hash of the graph is that of the
// graph it would write, and the variables have the names and shapes it would give them.
// A graph of harmless ops is not enough: some ops abort the process if an input has a
// rank that they do not expect. It takes a tenth of a second, for graphs of 30
// timesteps, and reads no values. Errors wrap ErrForeign, ErrUnknownModel or
// ErrCorrupt.
func Check(dir string, m *manifest.Manifest) error {
	model, err := lookup(m.Model)
	if err != nil {
		return err
	}
	options := Options{Times: m.Times, Variant: Variant(m.Variant)}
	if m.Times < 1 {
		return fmt.Errorf("%w: %d timesteps", ErrForeign, m.Times)
	}
	if err := options.complete(model); err != nil {
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	network, graph, err := makeGraph(model, options)
	if err != nil {
		return err
	}
	if m.VerifyBytes(graphName, graph) != nil {
		return fmt.Errorf("%w: it has another graph; it was made by converter %q, and this is %q", ErrForeign, m.Converter,
			version.Converter)
	}
	reader, err := bundle.Open(filepath.Join(dir, "variables", "variables"))
	if err != nil {
		return err
	}
	defer reader.Close()
	for _, v := range network.Variables {
		entry, ok := reader.Entry(v.Name)
		same := ok && entry.DataType == tfpb.DataType_DT_FLOAT && slices.EqualFunc(entry.Shape, v.Shape,
			func(a int64, b int) bool { return a == int64(b) })
		if !same {
			return fmt.Errorf("%w: variable %s is missing, or is not float32 of shape %v", ErrForeign, v.Name, v.Shape)
		}
	}
	return nil
}
