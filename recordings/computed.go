package recordings

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/features"
)

// ComputedFeatures are features of which only the shape is known until they are first asked for: then
// open makes them. columns of the stimuli are labels. identity is equal only for equal features. provenance says how
// they would be made, until those that are made say it themselves. Closing them closes what open returned.
func ComputedFeatures(stimuli []string, columns []features.Column, layers []compare.FeatureLayer, identity,
	provenance string, open func() (*FeatureFile, error)) (*FeatureFile, error) {
	var made *FeatureFile
	f := &FeatureFile{stimuli: stimuli, layers: layers, identity: identity, provenance: provenance,
		labels: map[string][]string{}}
	all := make([]int, len(stimuli))
	for i := range all {
		all[i] = i
	}
	for i := range columns {
		if texts := texts(&columns[i], all); len(texts) == len(stimuli) {
			f.labels[columns[i].Name] = texts
		}
	}
	f.made = func() (_ *FeatureFile, err error) {
		if made != nil {
			return made, nil
		}
		if made, err = open(); err != nil {
			return nil, err
		}
		f.provenance = made.provenance
		same := func(a, b compare.FeatureLayer) bool { return a.Name == b.Name && a.Size == b.Size }
		if !slices.Equal(made.stimuli, stimuli) || !slices.EqualFunc(made.layers, layers, same) {
			return nil, fmt.Errorf("%w: the features are not those that were to be computed", ErrFormat)
		}
		return made, nil
	}
	f.rows = func(layer, stimulus int, bins []int) ([]float32, error) {
		made, err := f.made()
		if err != nil {
			return nil, err
		}
		return made.rows(layer, stimulus, bins)
	}
	f.close = func() error {
		if made == nil {
			return nil
		}
		return made.Close()
	}
	return f, f.check("features")
}

// FeaturePasses compute features in passes over all stimuli. Room and Run are those of compare.Passing.
type FeaturePasses struct {
	Room int
	Run  func(ctx context.Context, p compare.Pass, visit func(which, stimulus int, row []float32) error) error
}

// PassingFeatures are features that are kept nowhere: they come in passes, and no Row has them. provenance is a JSON
// text that says how they are made.
func PassingFeatures(stimuli []string, layers []compare.FeatureLayer, provenance string, passes FeaturePasses) (
	*FeatureFile, error) {
	f := &FeatureFile{stimuli: stimuli, layers: layers, provenance: provenance, passes: &passes,
		close: func() error { return nil }}
	f.rows = func(int, int, []int) ([]float32, error) {
		return nil, fmt.Errorf("%w: features that come in passes are not read one by one", compare.ErrData)
	}
	return f, f.check("features")
}

// InPasses tells whether the features come in passes; see compare.Passing. Those that are computed when they are needed
// are computed here otherwise.
func (f *FeatureFile) InPasses(context.Context) (bool, error) {
	passes, err := f.inPasses()
	return passes != nil, err
}

func (f *FeatureFile) inPasses() (*FeaturePasses, error) {
	if f.made == nil {
		return f.passes, nil
	}
	made, err := f.made()
	if err != nil {
		return nil, err
	}
	return made.passes, nil
}

// Room is how many values of features in passes are in memory at once, 0 of others.
func (f *FeatureFile) Room() int {
	passes, err := f.inPasses()
	if passes == nil || err != nil {
		return 0
	}
	return passes.Room
}

// Pass computes features of a pass; see compare.Passing. The error wraps compare.ErrData if they do not come in passes.
func (f *FeatureFile) Pass(ctx context.Context, p compare.Pass,
	visit func(which, stimulus int, row []float32) error) error {
	passes, err := f.inPasses()
	if err == nil && passes == nil {
		err = fmt.Errorf("%w: the features do not come in passes", compare.ErrData)
	}
	if err != nil {
		return err
	}
	return passes.Run(ctx, p, visit)
}

// MemoryFeatures keeps features in memory: the rows that an extraction writes, which then are features to compare. It
// is a features.Writer.
type MemoryFeatures struct {
	layout *features.Layout
	arrays [][]float32
	at     []int // the array of each layer
}

// NewMemoryFeatures returns room for the rows of a layout.
func NewMemoryFeatures(layout *features.Layout) *MemoryFeatures {
	m := &MemoryFeatures{layout: layout}
	for i, s := range layout.Streamed {
		size := layout.Rows
		for _, n := range s.RowShape {
			size *= n
		}
		m.arrays = append(m.arrays, make([]float32, 0, size))
		if s.Layer != nil {
			m.at = append(m.at, i)
		}
	}
	return m
}

// WriteRows adds rows; the error wraps features.ErrOrder.
func (m *MemoryFeatures) WriteRows(array, firstRow int, data []float32) error {
	a := m.arrays[array]
	if row := cap(a) / m.layout.Rows; len(a) != firstRow*row || len(a)+len(data) > cap(a) {
		return fmt.Errorf("%w: %d values from row %d on, after %d of %d", features.ErrOrder, len(data), firstRow, len(a),
			cap(a))
	}
	m.arrays[array] = append(a, data...)
	return nil
}

// Resumed is 0.
func (m *MemoryFeatures) Resumed() int { return 0 }

// Finish returns an error that wraps features.ErrIncomplete where rows are missing.
func (m *MemoryFeatures) Finish(context.Context) error {
	for i, a := range m.arrays {
		if len(a) < cap(a) {
			return fmt.Errorf("%w: %d of %d values of %s", features.ErrIncomplete, len(a), cap(a), m.layout.Streamed[i].Name)
		}
	}
	return nil
}

// Suspend does nothing.
func (m *MemoryFeatures) Suspend() error { return nil }

// Abort does nothing.
func (m *MemoryFeatures) Abort() error { return nil }

// Features are what was written, of stimuli with these ids.
func (m *MemoryFeatures) Features(stimuli []string) (*FeatureFile, error) {
	f := &FeatureFile{stimuli: stimuli, layers: LayersOf(m.layout), provenance: m.layout.Provenance(),
		close: func() error { return nil }}
	var some []float32
	f.rows = func(layer, stimulus int, bins []int) ([]float32, error) {
		l := f.layers[layer]
		row := m.arrays[m.at[layer]][stimulus*len(l.Bins)*l.Size:][:len(l.Bins)*l.Size]
		if bins == nil {
			return row, nil
		}
		some = some[:0]
		for _, b := range bins {
			some = append(some, row[b*l.Size:][:l.Size]...)
		}
		return some, nil
	}
	return f, f.check("features")
}

// LayersOf are the layers of a layout.
func LayersOf(layout *features.Layout) (layers []compare.FeatureLayer) {
	for _, s := range layout.Streamed {
		if s.Layer == nil {
			continue
		}
		l := compare.FeatureLayer{Name: s.Name, Bins: compare.TimestepBins(s.Layer.Timesteps...), Driven: s.Layer.Driven,
			Size: 1}
		for _, n := range s.RowShape[1:] {
			l.Size *= n
		}
		layers = append(layers, l)
	}
	return layers
}

// stateOf is a hash of the names, sizes and times of the files of features; "" if they cannot be seen.
func stateOf(name string) string {
	h := sha256.New()
	absolute, err := filepath.Abs(name)
	if err != nil {
		return ""
	}
	fmt.Fprintf(h, "%q\n", absolute)
	err = filepath.WalkDir(absolute, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Stat(path) // of what a link names
		if err == nil && !info.IsDir() {
			fmt.Fprintf(h, "%q %d %d\n", path, info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	if err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}
