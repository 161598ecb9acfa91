package features

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tfconvrnn/go/internal/hdf5"
)

// storedHDF5 reads rows of a dataset. All chunks of it are looked for in the file as it is, whoever has
// written it anew.
type storedHDF5 struct {
	data  *hdf5.Dataset
	steps int
}

func (h *storedHDF5) appendRow(dst []float32, row int, timesteps []int) ([]float32, error) {
	start, count := make([]int, len(h.data.Shape)), slices.Clone(h.data.Shape)
	start[0], count[0] = row, 1
	first, last := slices.Min(timesteps), slices.Max(timesteps)
	start[1], count[1] = first, last-first+1
	values, err := h.data.Float32s(start, count)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	units := len(values) / count[1]
	for _, t := range timesteps {
		dst = append(dst, values[(t-first)*units:][:units]...)
	}
	return dst, nil
}

func openHDF5(s *Store) error {
	file, err := hdf5.Open(s.path)
	if err != nil {
		if errors.Is(err, ErrNoHDF5) {
			return err
		}
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	s.closers = append(s.closers, file)
	o := &hdf5Opening{s: s, file: file}
	if err := o.open(); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return nil
}

// hdf5Opening fills in a Store.
type hdf5Opening struct {
	s    *Store
	file *hdf5.File
}

func (o *hdf5Opening) text(attribute string) (string, error) {
	value, err := o.file.Attribute("/", attribute)
	text, _ := value.(string)
	return text, err
}

func (o *hdf5Opening) open() error {
	layers, err := o.text(hdf5Layers)
	if err != nil {
		return err
	}
	if layers == "" {
		return fmt.Errorf("%w: HDF5 that extract has not written: it names no %s; netCDF-4 and others are recordings' and features' of other programs", ErrFormat, hdf5Layers)
	}
	if o.s.provenance, err = o.text("provenance"); err != nil {
		return err
	}
	for _, name := range strings.Fields(layers) {
		if err := o.layer(name); err != nil {
			return err
		}
	}
	members, err := o.file.Members("/")
	if err != nil {
		return err
	}
	for _, m := range members {
		if !m.Dataset || m.Name == "presentation" {
			continue
		}
		if err := o.column(m.Name); err != nil {
			return err
		}
	}
	o.s.column = func(name string) (any, error) { return o.read(name) }
	return nil
}

func (o *hdf5Opening) layer(name string) error {
	data, err := o.file.Dataset(name)
	if err != nil {
		return err
	}
	l := LayerInfo{Name: name}
	for attribute, to := range map[string]*string{"layer": &l.Name, "region": &l.Region} {
		value, err := data.Attribute(attribute)
		if err != nil {
			return err
		}
		if text, ok := value.(string); ok {
			*to = text
		}
	}
	switch {
	case data.Type != hdf5.Float:
		return fmt.Errorf("%w: layer %s holds %s", ErrDataType, name, data.Type)
	case data.Bytes == 2:
		l.DataType = Float16
	case data.Bytes == 8:
		l.DataType = Float64
	default:
		l.DataType = Float32
	}
	dimensions, err := data.Dimensions()
	if err != nil {
		return err
	}
	if len(dimensions) < 2 || !strings.HasSuffix(dimensions[1], "timestep") {
		return fmt.Errorf("%w: layer %s has no dimension of timesteps", ErrFormat, name)
	}
	timesteps, err := o.integers(dimensions[1])
	if err != nil {
		return err
	}
	ms, err := o.integers(strings.TrimSuffix(dimensions[1], "timestep") + "ms")
	if err != nil {
		return err
	}
	if o.has(name + "_driven") {
		flags, err := o.integers(name + "_driven")
		if err != nil {
			return err
		}
		for _, v := range flags {
			l.Driven = append(l.Driven, v != 0)
		}
	}
	return o.s.addLayer(l, data.Shape, timesteps, ms, &storedHDF5{data, len(timesteps)})
}

func (o *hdf5Opening) has(name string) bool {
	data, err := o.file.Dataset(name)
	if err != nil {
		return false
	}
	return data.Close() == nil
}

func (o *hdf5Opening) integers(name string) ([]int64, error) {
	data, err := o.file.Dataset(name)
	if err != nil {
		return nil, err
	}
	defer data.Close()
	if len(data.Shape) != 1 || data.Shape[0] > mostTimesteps {
		return nil, fmt.Errorf("%w: %s has the shape %v", ErrFormat, name, data.Shape)
	}
	return data.Int64s(nil, nil)
}

// mostTimesteps is what a layer can have of them.
const mostTimesteps = 1 << 20

// companion notes a dataset of several values for each stimulus, if it is no layer's.
func (o *hdf5Opening) companion(name string, data *hdf5.Dataset) error {
	dimensions, err := data.Dimensions()
	if err != nil || len(dimensions) == 0 || dimensions[0] != "/presentation" {
		return err
	}
	if layer, err := data.Attribute("layer"); err != nil || layer != nil {
		return err
	}
	kept, err := o.file.Dataset(name)
	if err != nil {
		return err
	}
	return o.s.addCompanion(name, Float32, data.Shape, hdf5Companion{kept})
}

// hdf5Companion reads whole rows.
type hdf5Companion struct{ data *hdf5.Dataset }

func (h hdf5Companion) appendRow(dst []float32, row int, _ []int) ([]float32, error) {
	start, count := make([]int, len(h.data.Shape)), slices.Clone(h.data.Shape)
	start[0], count[0] = row, 1
	values, err := h.data.Float32s(start, count)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return append(dst, values...), nil
}

// column notes a dataset that describes the stimuli.
func (o *hdf5Opening) column(name string) error {
	data, err := o.file.Dataset(name)
	if err != nil {
		return err
	}
	defer data.Close()
	if len(data.Shape) > 1 && data.Shape[0] == o.s.rows && data.Type == hdf5.Float {
		return o.companion(name, data)
	}
	if len(data.Shape) != 1 || data.Shape[0] != o.s.rows || data.Type == hdf5.Reference || data.Type == hdf5.Other {
		return nil
	}
	dimensions, err := data.Dimensions()
	if err != nil || len(dimensions) != 1 || dimensions[0] != "/presentation" {
		return err
	}
	if name != "valid" {
		o.s.columns = append(o.s.columns, name)
		return nil
	}
	values, err := o.read(name)
	if err != nil {
		return err
	}
	var ok bool
	if o.s.valid, ok = values.([]bool); !ok {
		return fmt.Errorf("%w: the mask valid is no boolean", ErrFormat)
	}
	return nil
}

// read returns the values of a column.
func (o *hdf5Opening) read(name string) (any, error) {
	data, err := o.file.Dataset(name)
	if err != nil {
		return nil, err
	}
	defer data.Close()
	switch data.Type {
	case hdf5.Text:
		return data.Strings(nil, nil)
	case hdf5.Float:
		return data.Float64s(nil, nil)
	}
	numbers, err := data.Int64s(nil, nil)
	if err != nil {
		return nil, err
	}
	kind, err := data.Attribute("dtype")
	if err != nil || kind != "bool" {
		return numbers, err
	}
	flags := make([]bool, len(numbers))
	for i, v := range numbers {
		flags[i] = v != 0
	}
	return flags, nil
}
