// Package weights gives a model's variables their values, from a checkpoint or from a seed.
package weights

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tfconvrnn/go/internal/bundle"
	"github.com/tfconvrnn/go/internal/seeded"
	"github.com/tfconvrnn/go/internal/zoo"
)

// Variable is a variable that a model has.
type Variable = zoo.Variable

// Origin says where values come from. It is meant for provenance records.
type Origin struct {
	Kind      string `json:"kind"`           // "checkpoint" or "seeded"
	Path      string `json:"path,omitempty"` // the checkpoint's prefix
	Seed      uint64 `json:"seed,omitempty"` // of seeded values
	Untrained bool   `json:"untrained"`      // true for seeded values
}

// The kinds of origin.
const (
	KindCheckpoint = "checkpoint"
	KindSeeded     = "seeded"
)

// String describes the origin in a few words.
func (o Origin) String() string {
	if o.Kind == KindSeeded {
		return fmt.Sprintf("seed %d (untrained)", o.Seed)
	}
	return "checkpoint " + o.Path
}

// Source holds the values of a model's variables. It is safe for concurrent use, apart from Close.
type Source interface {
	// Variable returns the values of a variable in C order. The caller owns them. The shape must be
	// the variable's.
	Variable(name string, shape []int) ([]float32, error)
	// Describe says where the values come from.
	Describe() Origin
	// Close releases files. It may be called more than once.
	Close() error
}

// ErrUnknownVariable is wrapped by the error of [Source.Variable] for a variable that the model of
// the source lacks, or that has another shape there.
var ErrUnknownVariable = errors.New("unknown variable")

// index maps the names of variables to them.
func index(variables []Variable) map[string]Variable {
	m := make(map[string]Variable, len(variables))
	for _, v := range variables {
		m[v.Name] = v
	}
	return m
}

func lookup(m map[string]Variable, name string, shape []int) (Variable, error) {
	v, ok := m[name]
	switch {
	case !ok:
		return v, fmt.Errorf("%w: the model has no variable %q", ErrUnknownVariable, name)
	case !slices.Equal(v.Shape, shape):
		return v, fmt.Errorf("%w: %q has shape %v, not %v", ErrUnknownVariable, name, v.Shape, shape)
	}
	return v, nil
}

// Seeded returns the untrained values that package seeded makes for the expected variables.
func Seeded(seed uint64, expected []Variable) Source {
	return &seededSource{seed: seed, expected: index(expected)}
}

type seededSource struct {
	seed     uint64
	expected map[string]Variable
}

func (s *seededSource) Variable(name string, shape []int) ([]float32, error) {
	v, err := lookup(s.expected, name, shape)
	if err != nil {
		return nil, err
	}
	return seeded.Values(v.Name, v.Shape, v.Trainable, s.seed), nil
}

func (s *seededSource) Describe() Origin {
	return Origin{Kind: KindSeeded, Seed: s.seed, Untrained: true}
}

func (s *seededSource) Close() error { return nil }

// OpenCheckpoint opens the TensorFlow V2 checkpoint with the given prefix, such as "dir/model.ckpt".
// It must hold exactly the expected variables, apart from optimizer slots and global_step, which are
// skipped: else the error is a [*MismatchError]. Other errors wrap [bundle.ErrNotFound],
// [bundle.ErrCorrupt] or [bundle.ErrUnsupported]. Values are read, and their checksums verified, by
// [Source.Variable]. The caller closes the source.
func OpenCheckpoint(prefix string, expected []Variable) (Source, error) {
	r, err := bundle.Open(prefix)
	if err != nil {
		return nil, err
	}
	s := &checkpointSource{prefix: prefix, reader: r, expected: index(expected)}
	if err := match(prefix, r.Entries(), s.expected); err != nil {
		r.Close()
		return nil, err
	}
	return s, nil
}

type checkpointSource struct {
	prefix   string
	reader   *bundle.Reader
	expected map[string]Variable
}

func (s *checkpointSource) Variable(name string, shape []int) ([]float32, error) {
	if _, err := lookup(s.expected, name, shape); err != nil {
		return nil, err
	}
	return s.reader.ReadFloat32(name)
}

func (s *checkpointSource) Describe() Origin {
	return Origin{Kind: KindCheckpoint, Path: s.prefix}
}

func (s *checkpointSource) Close() error { return s.reader.Close() }

// WriteCheckpoint writes the values of the expected variables as a TensorFlow V2 checkpoint with the
// given prefix, laid out like the published ones (sorted by name), without optimizer slots and
// global_step. An older checkpoint is replaced, at the end. Nothing is left behind after an error.
func WriteCheckpoint(prefix string, src Source, expected []Variable) error {
	w, err := bundle.Create(prefix)
	if err != nil {
		return err
	}
	defer w.Abort()
	variables := index(expected)
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		v := variables[name]
		values, err := src.Variable(v.Name, v.Shape)
		if err != nil {
			return err
		}
		shape := make([]int64, len(v.Shape))
		for i, d := range v.Shape {
			shape[i] = int64(d)
		}
		if err := w.Add(v.Name, shape, values); err != nil {
			return err
		}
	}
	return w.Finish()
}

// shapeString writes a shape as [8,8,3].
func shapeString(shape []int) string {
	parts := make([]string, len(shape))
	for i, d := range shape {
		parts[i] = strconv.Itoa(d)
	}
	return "[" + strings.Join(parts, ",") + "]"
}
