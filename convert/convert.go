// Package convert turns the checkpoint of a ConvRNN into a SavedModel that holds
// the graph of all its timesteps and its weights.
//
//	source, err := convert.Checkpoint("ugrnn_intermediate", "ckpts/ugrnn_intermediate/model.ckpt")
//	defer source.Close()
//	manifest, err := convert.Convert(ctx, "ugrnn_intermediate", source, "ugrnn_intermediate.savedmodel", convert.Options{})
//
// It is pure Go and needs no TensorFlow. The same weights and options give the
// same bytes.
package convert

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/internal/bundle"
	"github.com/tfconvrnn/go/internal/disk"
	"github.com/tfconvrnn/go/internal/seeded"
	"github.com/tfconvrnn/go/internal/unroll"
	"github.com/tfconvrnn/go/internal/weights"
	"github.com/tfconvrnn/go/internal/zoo"
)

// Errors that callers can test for with errors.Is. Those about checkpoints wrap
// one of them or an error of the file system.
var (
	// ErrUnknownModel means that there is no model of that name.
	ErrUnknownModel = errors.New("unknown model")
	// ErrMismatch means that the checkpoint is not one of the model.
	ErrMismatch = weights.ErrMismatch
	// ErrCorrupt means that the checkpoint's files are damaged.
	ErrCorrupt = bundle.ErrCorrupt
	// ErrNotFound means that the checkpoint's files are not there.
	ErrNotFound = bundle.ErrNotFound
	// ErrExists means that the SavedModel is already there.
	ErrExists = fs.ErrExist
	// ErrNotSavedModel means that what would be replaced is no SavedModel of this converter.
	ErrNotSavedModel = errors.New("not a converted model")
	// ErrTimes means a number of timesteps that no graph is unrolled for.
	ErrTimes = errors.New("impossible number of timesteps")
	// ErrVariant means that graphs have no such variant.
	ErrVariant = errors.New("unknown variant")
)

// A Source holds the values of a model's variables. The caller closes it. It is safe for
// concurrent use, apart from Close.
type Source struct{ values weights.Source }

// Variable returns the values of a variable, whose shape is given, in C order. The caller owns
// them.
func (s *Source) Variable(name string, shape []int) ([]float32, error) {
	return s.values.Variable(name, shape)
}

// String says where the values come from.
func (s *Source) String() string { return s.values.Describe().String() }

// Close releases files. It may be called more than once.
func (s *Source) Close() error { return s.values.Close() }

// Checkpoint opens the TensorFlow V2 checkpoint with the given prefix, such as
// "dir/model.ckpt", for the model. Optimizer slots and global_step are skipped;
// any other extra, missing or misshapen variable is an error that lists them
// all and wraps ErrMismatch.
func Checkpoint(model, prefix string) (*Source, error) {
	m, err := lookup(model)
	if err != nil {
		return nil, err
	}
	source, err := weights.OpenCheckpoint(prefix, m.Variables())
	var mismatch *weights.MismatchError
	if errors.As(err, &mismatch) {
		for _, other := range zoo.Models() {
			if mismatch.Fits(other.Variables()) {
				return nil, fmt.Errorf("%s is a checkpoint of %s: %w", prefix, other.Name, err)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return &Source{source}, nil
}

// Seeded returns untrained weights for the model, the same for the same seed.
func Seeded(model string, seed uint64) (*Source, error) {
	m, err := lookup(model)
	if err != nil {
		return nil, err
	}
	return &Source{weights.Seeded(seed, m.Variables())}, nil
}

func lookup(model string) (*zoo.Model, error) {
	m := zoo.Lookup(model)
	if m == nil {
		return nil, fmt.Errorf("%w %q", ErrUnknownModel, model)
	}
	return m, nil
}

// Variant says how the graph computes the model; the results are equal up to
// rounding.
type Variant string

// The variants.
const (
	// Plain computes every layer at every timestep for every stimulus, as the
	// published code does. It is the reference.
	Plain = Variant(unroll.Plain)
	// LightCone computes once what does not depend on the stimulus, or on one
	// frame of it only.
	LightCone = Variant(unroll.LightCone)
)

// ParseVariant reads lightcone or plain. The error wraps ErrVariant.
func ParseVariant(text string) (Variant, error) {
	switch v := Variant(text); v {
	case LightCone, Plain:
		return v, nil
	}
	return "", fmt.Errorf("%w %q; there are %s and %s", ErrVariant, text, LightCone, Plain)
}

// String returns what ParseVariant reads.
func (v Variant) String() string { return string(v) }

// Options steer a conversion; the zero value is the default.
type Options struct {
	// Times is the number of timesteps of the graph, the most a presentation can
	// have. 0 means the most that a standard presentation of the model needs, at
	// least DefaultTimes.
	Times int
	// Variant is LightCone if empty.
	Variant Variant
	// MatMulPixels overrides, where not 0, the largest map in pixels on which
	// convolutions run as matrix products.
	MatMulPixels int
	// Overwrite replaces a SavedModel that is there already.
	Overwrite bool
	// Progress, if not nil, is called with the number of parameters converted so
	// far and in all.
	Progress func(done, total int64)
}

// DefaultTimes is the least number of timesteps a graph has by default.
const DefaultTimes = 30

func (o *Options) complete(m *zoo.Model) error {
	if o.Times == 0 {
		o.Times = max(DefaultTimes, m.Default.Times, zoo.Neural.Times)
	}
	if o.Times < m.Default.Times || o.Times > manifest.MaxTimes {
		return fmt.Errorf("%w: %d; %s needs at least the %d of its default presentation, and %d are the most", ErrTimes,
			o.Times, m.Name, m.Default.Times, manifest.MaxTimes)
	}
	switch o.Variant {
	case "":
		o.Variant = LightCone
	case Plain, LightCone:
	default:
		return fmt.Errorf("%w %q; there are %s and %s", ErrVariant, o.Variant, LightCone, Plain)
	}
	if o.MatMulPixels == 0 {
		o.MatMulPixels = DefaultMatMulPixels
	}
	return nil
}

// DefaultMatMulPixels is Options.MatMulPixels where it is 0. It covers the 7×7 maps.
const DefaultMatMulPixels = 49

// CheckOutput finds out, before anything is computed, whether Convert can put a SavedModel at dir.
// The error wraps ErrExists if something is there and overwrite is not set; ErrNotSavedModel if
// what is there is neither empty nor a SavedModel with its manifest, so that a wrong name costs
// nobody a home directory; or it says why nothing can be written there.
func CheckOutput(dir string, overwrite bool) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !overwrite:
		return fmt.Errorf("%s: %w", dir, ErrExists)
	case len(entries) > 0:
		if _, err := os.Stat(filepath.Join(dir, manifest.Name)); err != nil {
			return fmt.Errorf("%s is %w (it has no %s), so it is not replaced", dir, ErrNotSavedModel, manifest.Name)
		}
	}
	return disk.CheckFolder(filepath.Dir(filepath.Clean(dir)))
}

// Convert writes the SavedModel of the model with the given weights to the
// directory dir, which must not exist unless Options.Overwrite is set. It holds
//
//	saved_model.pb      graph and signatures, tag "serve"
//	variables/          weights, as a tensor bundle that the SavedModel restores
//	manifest.json       what the SavedModel holds, and where from
//
// What is there is replaced as CheckOutput says. The directory appears when all of it is written and synced; after an
// error or cancellation nothing is left.
func Convert(ctx context.Context, model string, source *Source, dir string, options Options) (*manifest.Manifest,
	error) {
	m, err := lookup(model)
	if err != nil {
		return nil, err
	}
	if err := options.complete(m); err != nil {
		return nil, err
	}
	if err := CheckOutput(dir, options.Overwrite); err != nil {
		return nil, err
	}
	var result *manifest.Manifest
	err = atomicfile.Directory(dir, options.Overwrite, func(temporary string) error {
		result, err = write(ctx, m, source, temporary, options)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("converting %s: %w", model, err)
	}
	return result, nil
}

func write(ctx context.Context, m *zoo.Model, source *Source, dir string, options Options) (*manifest.Manifest, error) {
	network, graph, err := makeGraph(m, options)
	if err != nil {
		return nil, err
	}
	held, err := writeVariables(ctx, m, network, source, filepath.Join(dir, "variables"), options.Progress)
	if err != nil {
		return nil, err
	}
	if err := atomicfile.Write(filepath.Join(dir, graphName), graph); err != nil {
		return nil, err
	}
	result := newManifest(network)
	result.Weights = *held
	result.Files = map[string]string{}
	for _, name := range []string{graphName, "variables/variables.index", "variables/variables.data-00000-of-00001"} {
		if result.Files[name], err = disk.SHA256(ctx, filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			return nil, err
		}
	}
	data, err := result.Bytes()
	if err != nil {
		return nil, err
	}
	if err := atomicfile.Write(filepath.Join(dir, manifest.Name), data); err != nil {
		return nil, err
	}
	return result, context.Cause(ctx) // from here on the directory stays
}

const graphName = "saved_model.pb"

// makeGraph returns the network and the content of saved_model.pb, which do not depend
// on the weights.
func makeGraph(m *zoo.Model, options Options) (*unroll.Network, []byte, error) {
	network := unroll.Unroll(m, options.Times, unroll.Variant(options.Variant),
		unroll.Options{MatMulPixels: options.MatMulPixels})
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(newSavedModel(network))
	return network, data, err
}

// writeVariables writes the graph's variables and says which they are.
func writeVariables(ctx context.Context, m *zoo.Model, network *unroll.Network, source *Source, dir string,
	progress func(done, total int64)) (*manifest.Weights, error) {
	if err := os.Mkdir(dir, 0o777); err != nil {
		return nil, err
	}
	derived := map[string][]*unroll.Variable{}
	for _, v := range network.Variables {
		derived[v.Source] = append(derived[v.Source], v)
	}
	writer, err := bundle.Create(filepath.Join(dir, "variables"))
	if err != nil {
		return nil, err
	}
	defer writer.Abort()
	expected := m.Variables()
	sort.Slice(expected, func(i, j int) bool { return expected[i].Name < expected[j].Name })
	var done, total int64
	for _, v := range expected {
		total += elements(v.Shape)
	}
	hashing, recognizer := weights.Hashing(source.values), &seeded.Recognizer{}
	for _, v := range expected {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		values, err := hashing.Variable(v.Name, v.Shape)
		if err != nil {
			return nil, err
		}
		if err := checkFixed(m, v, values); err != nil {
			return nil, err
		}
		recognizer.Add(values, v.Name, v.Shape, v.Trainable)
		for _, d := range derived[v.Name] {
			shape := make([]int64, len(d.Shape))
			for i, size := range d.Shape {
				shape[i] = int64(size)
			}
			if err := writer.Add(d.Name, shape, d.Values(values)); err != nil {
				return nil, err
			}
		}
		done += elements(v.Shape)
		if progress != nil {
			progress(done, total)
		}
	}
	if err := writer.Finish(); err != nil {
		return nil, err
	}
	return describe(source.values.Describe(), hashing, recognizer, expected)
}

// describe says which weights were read. Values that a seed makes are recorded as
// seeded even if they were read from a checkpoint.
func describe(origin weights.Origin, hashing *weights.HashingSource, recognizer *seeded.Recognizer,
	expected []weights.Variable) (*manifest.Weights, error) {
	hash, err := hashing.SHA256(expected)
	if err != nil {
		return nil, err
	}
	w := &manifest.Weights{SHA256: hash, Kind: origin.Kind, Untrained: origin.Untrained || recognizer.Untrained()}
	if origin.Kind == weights.KindSeeded {
		w.Seed = &origin.Seed
	} else if seed, ok := recognizer.Seed(); ok {
		same, err := weights.SHA256(weights.Seeded(seed, expected), expected)
		if err != nil {
			return nil, err
		}
		if same == hash {
			w.Kind, w.Seed = weights.KindSeeded, &seed
		}
	}
	return w, nil
}

func elements(shape []int) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= int64(d)
	}
	return n
}

// checkFixed refuses a decay that is not 0 in a layer without a cell: the graph
// leaves such memories out.
func checkFixed(m *zoo.Model, v weights.Variable, values []float32) error {
	if v.Trainable || filepath.Base(v.Name) != "memory_decay" || values[0] == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s is %g, and must be 0 in %s", ErrMismatch, v.Name, values[0], m.Name)
}
