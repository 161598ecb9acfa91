package recordings

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/hdf5"
)

// FeatureFile is features in a file: what extract writes, or BrainIO's
// netCDF-4; or in a folder of their Gram matrices. It is not safe for concurrent use. The caller closes it.
type FeatureFile struct {
	stimuli []string
	layers  []compare.FeatureLayer
	rows    func(layer, stimulus int, bins []int) ([]float32, error) // of all bins if nil
	close   func() error
	labels  map[string][]string
	grams   *compare.GramFolder // nil where the features themselves are there
	// made makes features that are computed when they are needed, passes those that are kept nowhere; both are nil of a
	// file.
	made   func() (*FeatureFile, error)
	passes *FeaturePasses

	provenance string
	identity   string
}

// Stimuli are the stimuli's ids.
func (f *FeatureFile) Stimuli() []string { return f.stimuli }

// Layers are the layers.
func (f *FeatureFile) Layers() []compare.FeatureLayer { return f.layers }

// Row returns the features of a stimulus, [bins][features], valid until the next call.
func (f *FeatureFile) Row(layer, stimulus int) ([]float32, error) {
	return f.rows(layer, stimulus, nil)
}

// RowAt is Row of some bins.
func (f *FeatureFile) RowAt(layer, stimulus int, bins []int) ([]float32, error) {
	return f.rows(layer, stimulus, bins)
}

// Multiplied tells whether there are only Gram matrices of the features. Row is an error then.
func (f *FeatureFile) Multiplied() bool { return f.grams != nil }

// Gram returns one of them; see compare.GramFolder.
func (f *FeatureFile) Gram(layer int, stimuli []int, weights []float64) (*compare.Gram, error) {
	return f.grams.Gram(layer, stimuli, weights)
}

// Labels are the values of a coordinate of the stimuli, nil if there is none.
func (f *FeatureFile) Labels(name string) []string { return f.labels[name] }

// LabelsByStimulus are the values of the first of some coordinates that is there, by stimulus; nil if there is none.
func (f *FeatureFile) LabelsByStimulus(names ...string) map[string]string {
	for _, name := range names {
		if values := f.labels[name]; values != nil {
			labels := map[string]string{}
			for i, id := range f.stimuli {
				labels[id] = values[i]
			}
			return labels
		}
	}
	return nil
}

// Provenance is the JSON text that says how extract made the features, "" of others'.
func (f *FeatureFile) Provenance() string { return f.provenance }

// Identity is a hash of what made computed features, or of where a file is, how large, and when it
// was changed last; "" of features that are read in no time.
func (f *FeatureFile) Identity() string { return f.identity }

// Close closes the file. It is idempotent.
func (f *FeatureFile) Close() error { return f.close() }

// OpenFeatures opens a file of features. The error wraps ErrFormat, ErrLayout or
// ErrDuplicate, or is of the file system.
func OpenFeatures(name string) (*FeatureFile, error) {
	f, err := openFeatures(name)
	const readAtOnce = 1 << 18 // features of all stimuli
	if err == nil && slices.ContainsFunc(f.layers, func(l compare.FeatureLayer) bool {
		return l.Size*len(f.stimuli) >= readAtOnce
	}) {
		f.identity = stateOf(name)
	}
	return f, err
}

// openGrams opens what compare.MakeGrams makes.
func openGrams(name string) (*FeatureFile, error) {
	grams, err := compare.OpenGrams(name)
	if err != nil {
		return nil, err
	}
	f := &FeatureFile{stimuli: grams.Stimuli(), layers: grams.Layers(), grams: grams, provenance: grams.About(),
		close: func() error { return nil }}
	f.rows = func(layer, stimulus int, _ []int) ([]float32, error) { return grams.Row(layer, stimulus) }
	return f, f.check(name)
}

func openFeatures(name string) (*FeatureFile, error) {
	if _, err := os.Stat(filepath.Join(name, compare.GramFolderName)); err == nil {
		return openGrams(name)
	}
	store, err := features.Open(name)
	if errors.Is(err, features.ErrFormat) {
		if file, openErr := os.Open(name); openErr == nil { // a folder opens too, and is not HDF5
			isHDF5 := hdf5.Is(file)
			file.Close()
			if isHDF5 { // of another program
				return openFeatureAssembly(name)
			}
		}
	}
	if err != nil {
		if errors.Is(err, ErrNoLibrary) || errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	f := &FeatureFile{close: store.Close, provenance: store.Provenance()}
	var at []int // in the store: stimuli that could not be read have no features
	valid := store.Valid()
	for i, id := range store.Stimuli() {
		if valid == nil || valid[i] {
			at = append(at, i)
			f.stimuli = append(f.stimuli, id)
		}
	}
	if f.labels, err = labelsOf(store, at); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrFormat, err), store.Close())
	}
	layers := store.Layers()
	if len(layers) == 0 {
		return nil, errors.Join(fmt.Errorf("%s: %w: no layer with timesteps in it", name, ErrFormat), store.Close())
	}
	for _, l := range layers {
		f.layers = append(f.layers, compare.FeatureLayer{Name: l.Name, Bins: compare.TimestepBins(l.Timesteps...),
			Driven: l.Driven, Size: l.Units()})
	}
	f.rows = func(layer, stimulus int, bins []int) ([]float32, error) {
		var timesteps []int
		for _, b := range bins {
			timesteps = append(timesteps, layers[layer].Timesteps[b])
		}
		return store.Read(context.Background(), layers[layer].Name, at[stimulus], 1, timesteps)
	}
	return f, f.check(name)
}

// labelsOf reads the columns of some stimuli of a store as texts.
func labelsOf(store *features.Store, at []int) (map[string][]string, error) {
	labels := map[string][]string{}
	for _, name := range store.Columns() {
		column, err := store.Column(name)
		if err != nil {
			return nil, err
		}
		if texts := texts(&column, at); texts != nil {
			labels[name] = texts
		}
	}
	return labels, nil
}

// texts are values of a column as texts, nil if they are no labels.
func texts(column *features.Column, at []int) []string {
	c := Coordinate{Name: column.Name}
	switch values := column.Values.(type) {
	case []string:
		c.Kind, c.Texts = Text, values
	case []float64:
		c.Kind, c.Numbers = Float, values
	case []int64:
		c.Kind = Integer
		for _, v := range values {
			c.Numbers = append(c.Numbers, float64(v))
		}
	default:
		return nil
	}
	return picked(&c, at)
}

func (f *FeatureFile) check(name string) error {
	if twice := duplicate(f.stimuli); twice != "" {
		return errors.Join(fmt.Errorf("%s: %w: stimulus %s has features twice", name, ErrDuplicate, twice), f.Close())
	}
	return nil
}

// openFeatureAssembly opens features as Brain-Score's models give them: presentation × neuroid × time_bin,
// neuroids of layers.
func openFeatureAssembly(name string) (*FeatureFile, error) {
	a, err := Open(name, Layout{})
	if err != nil {
		return nil, err
	}
	f, err := featuresOf(a)
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return f, f.check(name)
}

func featuresOf(a *Assembly) (*FeatureFile, error) {
	p, q, t := a.axis(Presentation), a.axis(Neuroid), a.axis(TimeBin)
	if p < 0 || q < 0 || len(a.Axes) > 3 || len(a.Axes) == 3 && t < 0 {
		return nil, fmt.Errorf("%s: %w: features must be %s × %s, perhaps × %s, and these are %s", a.Name, ErrLayout,
			Presentation, Neuroid, TimeBin, strings.Join(a.Axes, " × "))
	}
	ids := a.Coordinate(stimulusIDs...)
	if ids == nil || ids.Axis != Presentation {
		return nil, fmt.Errorf("%s: %w: no coordinate stimulus_id of the presentations", a.Name, ErrLayout)
	}
	bins, err := a.timeBins()
	if err != nil {
		return nil, err
	}
	if t >= 0 && bins == nil {
		return nil, fmt.Errorf("%s: %w: no coordinates time_bin_start and time_bin_end", a.Name, ErrLayout)
	}
	if !slices.IsSortedFunc(bins, func(x, y compare.Bin) int { return cmp.Compare(x.Start, y.Start) }) {
		return nil, fmt.Errorf("%s: %w: the time bins are not in ascending order", a.Name, ErrLayout)
	}
	f := &FeatureFile{stimuli: ids.Strings(), close: a.Close, labels: map[string][]string{}}
	for i := range a.Coordinates {
		if c := &a.Coordinates[i]; c.Axis == Presentation {
			f.labels[c.Name] = c.Strings()
		}
	}
	var units [][]int // of each layer
	layer := a.Coordinate("layer")
	for j := range a.Shape[q] {
		of := "features"
		if layer != nil {
			of = layer.At(j)
		}
		at := slices.IndexFunc(f.layers, func(l compare.FeatureLayer) bool { return l.Name == of })
		if at < 0 {
			at = len(f.layers)
			f.layers, units = append(f.layers, compare.FeatureLayer{Name: of, Bins: bins}), append(units, nil)
		}
		f.layers[at].Size++
		units[at] = append(units[at], j)
	}
	f.rows = (&assemblyRows{a: a, units: units, p: p, q: q, t: t}).row
	return f, nil
}

// assemblyRows reads presentations of features, several at once.
type assemblyRows struct {
	a           *Assembly
	units       [][]int
	p, q, t     int // axes
	first, last int
	values      []float64
	out         []float32
}

func (r *assemblyRows) row(layer, stimulus int, some []int) ([]float32, error) {
	start, count := make([]int, len(r.a.Shape)), slices.Clone(r.a.Shape)
	if stimulus < r.first || stimulus >= r.last {
		perRow := 1
		for i, n := range r.a.Shape {
			if i != r.p {
				perRow *= n
			}
		}
		start[r.p] = stimulus
		count[r.p] = min(max(mostPart/max(perRow, 1), 1), r.a.Shape[r.p]-stimulus)
		values, err := r.a.Read(start, count)
		if err != nil {
			return nil, err
		}
		r.values, r.first, r.last = values, stimulus, stimulus+count[r.p]
	}
	count[r.p] = r.last - r.first
	strides := make([]int, len(count))
	n := 1
	for i := len(count) - 1; i >= 0; i-- {
		strides[i], n = n, n*count[i]
	}
	if some == nil {
		some = []int{0}
		for b := 1; r.t >= 0 && b < r.a.Shape[r.t]; b++ {
			some = append(some, b)
		}
	}
	r.out = r.out[:0]
	for _, b := range some {
		at := (stimulus - r.first) * strides[r.p]
		if r.t >= 0 {
			at += b * strides[r.t]
		}
		for _, j := range r.units[layer] {
			r.out = append(r.out, float32(r.values[at+j*strides[r.q]]))
		}
	}
	return r.out, nil
}
