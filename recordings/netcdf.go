package recordings

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/tfconvrnn/go/internal/hdf5"
)

// Limits on what a file may ask for.
const (
	mostCoordinate = 1 << 26 // values
	mostVariables  = 4096
	exactInteger   = 1 << 53 // beyond it float64 has gaps
)

// hdf5Source reads a dataset.
type hdf5Source struct {
	file *hdf5.File
	data *hdf5.Dataset
	fill *float64 // what stands for a missing value, if not NaN
}

func (h *hdf5Source) read(start, count []int) ([]float64, error) {
	if h.data.Type == hdf5.Boolean {
		return floats(h.data.Int64s(start, count))
	}
	values, err := h.data.Float64s(start, count)
	if h.fill != nil {
		for i, v := range values {
			if v == *h.fill {
				values[i] = math.NaN()
			}
		}
	}
	return values, err
}

// attributes heeds those that change what values mean.
func (h *hdf5Source) attributes() error {
	for _, name := range []string{"scale_factor", "add_offset"} {
		value, err := h.data.Attribute(name)
		if err != nil {
			return hdf5Error(err)
		}
		if value != nil {
			return fmt.Errorf("%w: %s has a %s, and packed values are not read", ErrFormat, h.data.Path, name)
		}
	}
	value, err := h.data.Attribute("_FillValue")
	if err != nil {
		return hdf5Error(err)
	}
	if fill, ok := value.(float64); ok && !math.IsNaN(fill) {
		h.fill = &fill
	}
	return nil
}

func (h *hdf5Source) close() error { return errors.Join(h.data.Close(), h.file.Close()) }

func floats(integers []int64, err error) ([]float64, error) {
	values := make([]float64, len(integers))
	for i, v := range integers {
		values[i] = float64(v)
	}
	return values, err
}

// hdf5Error makes faults of a file those of this package; that the library is missing stays
// as it is.
func hdf5Error(err error) error {
	if errors.Is(err, hdf5.ErrFormat) {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return err
}

// openNetCDF opens a netCDF-4 file as BrainIO writes: one variable of values and a variable
// for each coordinate.
func openNetCDF(name string, layout Layout) (_ *Assembly, err error) {
	file, err := hdf5.Open(name)
	if err != nil {
		return nil, hdf5Error(err)
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	members, err := file.Members("/")
	if err != nil {
		return nil, hdf5Error(err)
	}
	if len(members) > mostVariables {
		return nil, fmt.Errorf("%s: %w: %d variables", name, ErrFormat, len(members))
	}
	variable, err := dataVariable(name, members, layout.Array)
	if err != nil {
		return nil, err
	}
	data, err := file.Dataset(variable)
	if err != nil {
		return nil, hdf5Error(err)
	}
	defer func() {
		if err != nil {
			data.Close()
		}
	}()
	scales, err := data.Dimensions()
	if err != nil {
		return nil, hdf5Error(err)
	}
	source := &hdf5Source{file: file, data: data}
	if err := source.attributes(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	a := &Assembly{Name: name, Shape: slices.Clone(data.Shape), values: source}
	for i, scale := range scales {
		if scale == "" {
			return nil, fmt.Errorf("%s: %w: dimension %d of %s has no name, as netCDF's have", name, ErrLayout, i, variable)
		}
		a.Axes = append(a.Axes, path.Base(scale))
	}
	for _, member := range members {
		if !member.Dataset || member.Name == variable {
			continue
		}
		c, err := netCDFCoordinate(file, member.Name, a)
		if err != nil {
			return nil, err
		}
		if c != nil {
			a.Coordinates = append(a.Coordinates, *c)
		}
	}
	if err := a.addCoordinates(layout, nil); err != nil {
		return nil, err
	}
	return a, a.check()
}

// dataVariable returns the variable that holds the values: "data", or the one that is named.
func dataVariable(name string, members []hdf5.Member, variable string) (string, error) {
	var list []string
	for _, m := range members {
		if m.Dataset {
			list = append(list, m.Name)
		}
	}
	if variable == "" {
		variable = "data"
	}
	if !slices.Contains(list, variable) {
		return "", fmt.Errorf("%s: %w: no variable %q; there are %s", name, ErrLayout, variable, strings.Join(list, ", "))
	}
	return variable, nil
}

// netCDFCoordinate reads a variable along one of the assembly's axes; nil for what is none.
func netCDFCoordinate(file *hdf5.File, name string, a *Assembly) (*Coordinate, error) {
	d, err := file.Dataset(name)
	if err != nil {
		return nil, hdf5Error(err)
	}
	defer d.Close()
	if len(d.Shape) != 1 || d.Type == hdf5.Other || d.Type == hdf5.Reference {
		return nil, nil
	}
	title, err := d.Attribute("NAME")
	if err != nil {
		return nil, hdf5Error(err)
	}
	if text, ok := title.(string); ok && strings.HasPrefix(text, "This is a netCDF dimension but not a netCDF variable") {
		return nil, nil
	}
	scales, err := d.Dimensions()
	if err != nil {
		return nil, hdf5Error(err)
	}
	axis := path.Base(scales[0])
	if scales[0] == "" { // a dimension's own variable
		axis = name
	}
	if a.axis(axis) < 0 {
		return nil, nil
	}
	return hdf5Coordinate(d, name, axis)
}

// hdf5Coordinate reads a coordinate from a dataset, whatever its shape.
func hdf5Coordinate(d *hdf5.Dataset, name, axis string) (_ *Coordinate, err error) {
	n := 1
	for _, length := range d.Shape {
		if length > 0 && n > mostCoordinate/length {
			return nil, fmt.Errorf("%w: %s: %v values are too many for a coordinate", ErrFormat, name, d.Shape)
		}
		n *= length
	}
	c := &Coordinate{Name: name, Axis: axis}
	switch d.Type {
	case hdf5.Text:
		c.Kind = Text
		c.Texts, err = d.Strings(nil, nil)
	case hdf5.Float:
		c.Kind = Float
		c.Numbers, err = d.Float64s(nil, nil)
	case hdf5.Boolean:
		c.Kind = Boolean
		c.Numbers, err = floats(d.Int64s(nil, nil))
	case hdf5.Integer:
		c.Kind = Integer
		if kind, err := d.Attribute("dtype"); err == nil && kind == "bool" {
			c.Kind = Boolean
		}
		var integers []int64
		if integers, err = d.Int64s(nil, nil); err == nil {
			for _, v := range integers {
				if v > exactInteger || v < -exactInteger {
					return nil, fmt.Errorf("%w: %s holds %d, which is beyond %d", ErrFormat, name, v, int64(exactInteger))
				}
			}
			c.Numbers, err = floats(integers, nil)
		}
	default:
		return nil, fmt.Errorf("%w: %s: %s is no coordinate", ErrFormat, name, d.Type)
	}
	if err != nil {
		return nil, hdf5Error(err)
	}
	return c, nil
}
