package features

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Store is an output of features, opened for reading, whatever its format. Its methods may
// be called from several goroutines; reads are done one after the other. What it returns
// is the caller's own.
type Store struct {
	path       string
	format     Format
	rows       int
	layers     []*storedLayer
	companions []*storedLayer // of one timestep each
	stimuli    []string
	valid      []bool
	provenance string
	columns    []string
	// column reads the values of one of columns.
	column func(name string) (any, error)

	mu      sync.Mutex
	closers []io.Closer
	closed  bool
}

// LayerInfo describes the features of a layer in a Store.
type LayerInfo struct {
	Name string
	// Region is the brain area that the layer matches, "" where the output does not tell.
	Region string
	// Timesteps are those reported, rising; Milliseconds their starts.
	Timesteps    []int
	Milliseconds []float64
	// Driven tells for each timestep whether an image can have reached the layer. Nil
	// where the output does not tell.
	Driven []bool
	// Shape is that of the features at one timestep: [height, width, channels], or
	// [units].
	Shape []int
	// DataType is how the features are stored: Float16, Float32 or Float64.
	DataType DataType
	// Reduction is how the layer was made smaller, such as "gap", or "".
	Reduction string
}

// Units is the number of features at one timestep.
func (l *LayerInfo) Units() int {
	n := 1
	for _, d := range l.Shape {
		n *= d
	}
	return n
}

// Between returns the timesteps that start at from ≤ t < to, in milliseconds.
func (l *LayerInfo) Between(from, to float64) []int {
	timesteps := []int{}
	for i, ms := range l.Milliseconds {
		if ms >= from && ms < to {
			timesteps = append(timesteps, l.Timesteps[i])
		}
	}
	return timesteps
}

type storedLayer struct {
	LayerInfo
	source rowSource
}

// rowSource reads the features of one presentation at the timesteps with these indices
// and appends them in C order, [timesteps × units]. What it allocates is bounded by what
// the file holds.
type rowSource interface {
	appendRow(dst []float32, row int, timesteps []int) ([]float32, error)
}

// Open opens an output of any format, which its content tells and not its name. The
// caller closes the Store. An output that is damaged, or none, gives ErrFormat; features
// that are no floating-point numbers give ErrDataType.
func Open(path string) (*Store, error) {
	spec, err := recognize(path)
	if err != nil {
		return nil, err
	}
	s := &Store{path: path, format: spec.format, rows: -1}
	err = spec.open(s)
	if err == nil {
		err = s.settle()
	}
	if err != nil {
		if !strings.Contains(err.Error(), path) {
			err = fmt.Errorf("%s: %w", path, err)
		}
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// recognize tells the format by the marker in a folder or by the first bytes of a file.
func recognize(path string) (*formatSpec, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		for _, s := range registry {
			if s.folder && exists(filepath.Join(path, s.marker)) {
				return s, nil
			}
		}
		return nil, fmt.Errorf("%s: %w: the folder is no output of features: it has no %s", path, ErrFormat, markers())
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w: not a regular file", path, ErrFormat)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	start := make([]byte, 8)
	n, err := io.ReadFull(file, start)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	start = start[:n]
	for _, s := range registry {
		if s.magic != "" && strings.HasPrefix(string(start), s.magic) {
			return s, nil
		}
	}
	what := fmt.Sprintf("it starts with %q", start)
	switch {
	case strings.HasPrefix(string(start), npyMagic):
		what = "it is one .npy array, without timesteps"
	case strings.HasPrefix(string(start), "\x89HDF"):
		what = "it is HDF5, as netCDF-4 is; features are written as classic netCDF"
	}
	return nil, fmt.Errorf("%s: %w: no output of features: %s", path, ErrFormat, what)
}

func markers() string {
	var names []string
	for _, s := range registry {
		if s.folder {
			names = append(names, s.marker)
		}
	}
	return strings.Join(names, ", ")
}

// stimulusColumns name the stimuli, the best first.
var stimulusColumns = []string{"stimuli", "stimulus_id", "stimulus_path"}

// settle makes sure that what was found fits together, and adds what all formats share.
func (s *Store) settle() error {
	if s.rows < 1 {
		if len(s.layers) == 0 {
			return nil // perhaps only logits: nothing that can be read here
		}
		return fmt.Errorf("%w: no presentations", ErrFormat)
	}
	if s.valid != nil && len(s.valid) != s.rows {
		return fmt.Errorf("%w: the mask \"valid\" has %d values for %d stimuli", ErrFormat, len(s.valid), s.rows)
	}
	var about struct {
		Reductions map[string]string `json:"reductions"`
	}
	_ = json.Unmarshal([]byte(s.provenance), &about) // another program's may be no JSON
	for _, l := range s.layers {
		l.Reduction = about.Reductions[l.Name]
		if l.Reduction == "none" {
			l.Reduction = ""
		}
		if err := l.check(); err != nil {
			return fmt.Errorf("layer %s: %w", l.Name, err)
		}
	}
	for _, name := range stimulusColumns {
		if !slices.Contains(s.columns, name) {
			continue
		}
		values, err := s.columnOf(name)
		if err != nil {
			return err
		}
		if text, ok := values.([]string); ok {
			s.stimuli = text
			return nil
		}
	}
	s.stimuli = make([]string, s.rows)
	for i := range s.stimuli {
		s.stimuli[i] = "stimulus " + strconv.Itoa(i)
	}
	return nil
}

func (l *storedLayer) check() error {
	n := len(l.Timesteps)
	switch {
	case len(l.Milliseconds) != n:
		return fmt.Errorf("%w: %d times in ms for %d timesteps", ErrFormat, len(l.Milliseconds), n)
	case l.Driven != nil && len(l.Driven) != n:
		return fmt.Errorf("%w: driven has %d values for %d timesteps", ErrFormat, len(l.Driven), n)
	case n == 0 || l.Units() == 0:
		return fmt.Errorf("%w: %d timesteps of shape %v hold no features", ErrFormat, n, l.Shape)
	}
	for i := range n {
		if l.Timesteps[i] < 0 || l.Timesteps[i] > math.MaxInt32 || i > 0 && l.Timesteps[i] <= l.Timesteps[i-1] {
			return fmt.Errorf("%w: its timesteps do not rise: %d after %d", ErrFormat, l.Timesteps[i], l.Timesteps[max(i-1, 0)])
		}
		if ms := l.Milliseconds[i]; math.IsNaN(ms) || math.IsInf(ms, 0) || i > 0 && ms <= l.Milliseconds[i-1] {
			return fmt.Errorf("%w: its times in ms do not rise: %g", ErrFormat, ms)
		}
	}
	switch l.DataType {
	case Float16, Float32, Float64:
		return nil
	}
	return fmt.Errorf("%w: its elements are %v; features are floating-point numbers", ErrDataType, l.DataType)
}

// addLayer adds a layer of a shape [presentations, timesteps, …]. ms may be nil.
func (s *Store) addLayer(l LayerInfo, shape []int, timesteps, ms []int64, source rowSource) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("layer %s: %w: %s", l.Name, ErrFormat, fmt.Sprintf(format, args...))
	}
	if len(shape) < 2 {
		return fail("shape %v; it must be [stimuli, timesteps, …]", shape)
	}
	if s.rows < 0 {
		s.rows = shape[0]
	}
	if shape[0] != s.rows {
		return fail("%d stimuli, elsewhere %d", shape[0], s.rows)
	}
	if shape[1] != len(timesteps) {
		return fail("shape %v for %d timesteps", shape, len(timesteps))
	}
	l.Shape = slices.Clone(shape[2:])
	for _, t := range timesteps {
		if t < 0 || t > math.MaxInt32 {
			return fail("timestep %d", t)
		}
		l.Timesteps = append(l.Timesteps, int(t))
		if ms == nil {
			l.Milliseconds = append(l.Milliseconds, float64(t)*MillisecondsPerTimestep)
		}
	}
	for _, v := range ms {
		l.Milliseconds = append(l.Milliseconds, float64(v))
	}
	s.layers = append(s.layers, &storedLayer{l, source})
	return nil
}

// Close closes the output; it is idempotent.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	for _, c := range s.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// Path is what the output was opened by.
func (s *Store) Path() string { return s.path }

// Format is the output's format.
func (s *Store) Format() Format { return s.format }

// Layers describes the layers, in the output's order.
func (s *Store) Layers() []LayerInfo {
	list := make([]LayerInfo, len(s.layers))
	for i, l := range s.layers {
		list[i] = l.clone()
	}
	return list
}

func (l *LayerInfo) clone() LayerInfo {
	c := *l
	c.Timesteps, c.Milliseconds = slices.Clone(l.Timesteps), slices.Clone(l.Milliseconds)
	c.Driven, c.Shape = slices.Clone(l.Driven), slices.Clone(l.Shape)
	return c
}

// Layer describes one layer. ErrNoArray lists what there is.
func (s *Store) Layer(name string) (LayerInfo, error) {
	l, err := s.find(name)
	if err != nil {
		return LayerInfo{}, err
	}
	return l.clone(), nil
}

func (s *Store) find(name string) (*storedLayer, error) {
	var known []string
	for _, l := range s.layers {
		if l.Name == name {
			return l, nil
		}
		known = append(known, l.Name)
	}
	return nil, fmt.Errorf("%s: %w: layer %q; there are %s", s.path, ErrNoArray, name, strings.Join(known, ", "))
}

// Stimuli returns the ids of the stimuli, "stimulus 0" … where the output has none.
func (s *Store) Stimuli() []string { return slices.Clone(s.stimuli) }

// Valid tells for each stimulus whether it could be read when features were extracted;
// the others' features are NaN. Nil: all could.
func (s *Store) Valid() []bool { return slices.Clone(s.valid) }

// Provenance returns the JSON text that says how the features were made, or "".
func (s *Store) Provenance() string { return s.provenance }

// Columns names the columns that describe the stimuli; of .npz and .mat, which do not tell
// them apart, also other arrays of one value per stimulus.
func (s *Store) Columns() []string { return slices.Clone(s.columns) }

// Column reads a column: Values is []string, []float64, []int64 or []bool with an element
// per stimulus; of a folder of .npy, whose table keeps no types, always []string. An
// unknown name gives ErrNoArray.
func (s *Store) Column(name string) (Column, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Column{}, fmt.Errorf("%s: %w", s.path, ErrClosed)
	}
	if !slices.Contains(s.columns, name) {
		return Column{}, fmt.Errorf("%s: %w: column %q; there are %s", s.path, ErrNoArray, name,
			strings.Join(s.columns, ", "))
	}
	values, err := s.columnOf(name)
	if err != nil {
		return Column{}, fmt.Errorf("%s: %w", s.path, err)
	}
	return Column{Name: name, Values: values}, nil
}

func (s *Store) columnOf(name string) (any, error) {
	values, err := s.column(name)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err != nil {
		return nil, fmt.Errorf("column %s: %w", name, err)
	}
	if n, _ := valuesOf(values); n != s.rows {
		return nil, fmt.Errorf("column %s: %w: %d values for %d stimuli", name, ErrFormat, n, s.rows)
	}
	return values, nil
}

// Read reads the features of count stimuli from first on, at some timesteps, nil for all:
// [stimuli × timesteps × Shape] in C order, rounded to float32 if stored as float64.
// Memory is that of the result and of one chunk of the file, so a caller reads as many
// stimuli at a time as it has room for. Errors: ErrNoArray for a layer that is not there,
// ErrRange for stimuli or timesteps, ErrFormat for damage, ErrClosed, and ctx's.
func (s *Store) Read(ctx context.Context, layer string, first, count int, timesteps []int) ([]float32, error) {
	l, err := s.find(layer)
	if err != nil {
		return nil, err
	}
	fail := func(err error) ([]float32, error) { return nil, fmt.Errorf("%s: layer %s: %w", s.path, layer, err) }
	indices := make([]int, 0, len(l.Timesteps))
	if timesteps == nil {
		timesteps = l.Timesteps
	}
	for _, t := range timesteps {
		i := slices.Index(l.Timesteps, t)
		if i < 0 {
			return fail(fmt.Errorf("%w: timestep %d; there are %v", ErrRange, t, l.Timesteps))
		}
		indices = append(indices, i)
	}
	return s.readRows(ctx, l, "layer "+layer, first, count, indices)
}

// readRows reads rows at the timesteps with these indices.
func (s *Store) readRows(ctx context.Context, l *storedLayer, name string, first, count int, indices []int) ([]float32,
	error) {
	fail := func(err error) ([]float32, error) { return nil, fmt.Errorf("%s: %s: %w", s.path, name, err) }
	if first < 0 || count < 0 || first > s.rows-count {
		return fail(fmt.Errorf("%w: stimuli %d to %d of %d", ErrRange, first, int64(first)+int64(count), s.rows))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fail(ErrClosed)
	}
	var values []float32
	for row := first; row < first+count; row++ {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		var err error
		if values, err = l.source.appendRow(values, row, indices); err != nil {
			return fail(fmt.Errorf("stimulus %d: %w", row, err))
		}
		if row == first { // the first shows that the features are there
			values = slices.Grow(values, (count-1)*len(values))
		}
	}
	return values, nil
}
