package features

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// addCompanion adds an array of several values for each stimulus that is no layer. Arrays that hold
// no floating-point numbers are passed over: no output has such ones.
func (s *Store) addCompanion(name string, d DataType, shape []int, source rowSource) error {
	if len(shape) < 2 || d != Float16 && d != Float32 && d != Float64 {
		return nil
	}
	if s.rows < 0 {
		s.rows = shape[0]
	}
	if shape[0] != s.rows {
		return fmt.Errorf("%s: %w: %d stimuli, elsewhere %d", name, ErrFormat, shape[0], s.rows)
	}
	s.companions = append(s.companions, &storedLayer{LayerInfo{Name: name, DataType: d, Shape: slices.Clone(shape[1:])},
		source})
	return nil
}

// Companions names what the output holds of every stimulus besides features and columns: "logits".
func (s *Store) Companions() []string {
	names := make([]string, len(s.companions))
	for i, c := range s.companions {
		names[i] = c.Name
	}
	return names
}

// ReadCompanion reads what Companions names, of count stimuli from first on: the values,
// [stimuli × shape] in C order, and the shape for each stimulus. Errors are those of Read.
func (s *Store) ReadCompanion(ctx context.Context, name string, first, count int) (values []float32, shape []int,
	err error) {
	i := slices.IndexFunc(s.companions, func(c *storedLayer) bool { return c.Name == name })
	if i < 0 {
		return nil, nil, fmt.Errorf("%s: %w: %q; there are %s", s.path, ErrNoArray, name, strings.Join(s.Companions(), ", "))
	}
	values, err = s.readRows(ctx, s.companions[i], name, first, count, []int{0})
	return values, slices.Clone(s.companions[i].Shape), err
}
