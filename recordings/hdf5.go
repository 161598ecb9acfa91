package recordings

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/tfconvrnn/go/internal/hdf5"
)

// hdf5File is HDF5 with a layout; MATLAB's dimensions are the other way round.
type hdf5File struct {
	file *hdf5.File
}

func openHDF5(name string) (arrays, error) {
	file, err := hdf5.Open(name)
	if err != nil {
		return nil, hdf5Error(err)
	}
	return &hdf5File{file}, nil
}

func (h *hdf5File) close() error { return h.file.Close() }

func (h *hdf5File) has(array string) bool {
	d, err := h.file.Dataset(array)
	if err != nil {
		return false
	}
	d.Close()
	return true
}

// ofMATLAB returns MATLAB's class of a dataset, "" if it is not MATLAB's.
func ofMATLAB(d *hdf5.Dataset) (string, error) {
	class, err := d.Attribute("MATLAB_class")
	if err != nil {
		return "", hdf5Error(err)
	}
	text, _ := class.(string)
	return text, nil
}

func (h *hdf5File) open(array string) (source, []int, error) {
	if array == "" {
		members, err := h.file.Members("/")
		if err != nil {
			return nil, nil, hdf5Error(err)
		}
		var names []string
		for _, m := range members {
			if m.Dataset {
				names = append(names, m.Name)
			}
		}
		if len(names) != 1 {
			return nil, nil, fmt.Errorf("%w: name the dataset; there are %s", ErrLayout, strings.Join(names, ", "))
		}
		array = names[0]
	}
	d, err := h.file.Dataset(array)
	if err != nil {
		return nil, nil, hdf5Error(err)
	}
	s := &hdf5Source{file: h.file, data: d}
	class, err := ofMATLAB(d)
	if err == nil {
		err = s.attributes()
	}
	if err == nil && d.Type != hdf5.Float && d.Type != hdf5.Integer && d.Type != hdf5.Boolean {
		err = fmt.Errorf("%w: %s holds %s, not numbers", ErrLayout, array, d.Type)
	}
	if err != nil {
		d.Close()
		return nil, nil, err
	}
	shape := slices.Clone(d.Shape)
	if class != "" {
		slices.Reverse(shape)
		return &reversed{s, shape}, shape, nil
	}
	return s, shape, nil
}

// reversed is a source whose axes are the other way round.
type reversed struct {
	source
	shape []int
}

func (r *reversed) read(start, count []int) ([]float64, error) {
	from, size := slices.Clone(start), slices.Clone(count)
	slices.Reverse(from)
	slices.Reverse(size)
	values, err := r.source.read(from, size)
	if err != nil {
		return nil, err
	}
	return transposed(values, size), nil
}

// transposed returns values of a shape in C order with the axes reversed.
func transposed(values []float64, shape []int) []float64 {
	out := make([]float64, len(values))
	at := make([]int, len(shape))
	strides := make([]int, len(shape)) // in the result
	n := 1
	for i := range shape {
		strides[i], n = n, n*shape[i]
	}
	to := 0
	for i := range values {
		out[to] = values[i]
		for axis := len(shape) - 1; axis >= 0; axis-- {
			at[axis]++
			to += strides[axis]
			if at[axis] < shape[axis] {
				break
			}
			to -= strides[axis] * shape[axis]
			at[axis] = 0
		}
	}
	return out
}

func (h *hdf5File) coordinate(array, name, axis string) (*Coordinate, error) {
	d, err := h.file.Dataset(array)
	if err != nil {
		return nil, hdf5Error(err)
	}
	defer d.Close()
	class, err := ofMATLAB(d)
	if err != nil {
		return nil, err
	}
	switch {
	case d.Type == hdf5.Reference:
		paths, err := d.Pointed()
		if err != nil {
			return nil, hdf5Error(err)
		}
		if len(paths) > mostCoordinate {
			return nil, fmt.Errorf("%w: %d cells", ErrFormat, len(paths))
		}
		c := &Coordinate{Name: name, Axis: axis, Kind: Text}
		for _, path := range paths {
			text, err := h.text(path)
			if err != nil {
				return nil, err
			}
			c.Texts = append(c.Texts, text)
		}
		return c, nil
	case class == "char":
		lines, err := charRows(d)
		return &Coordinate{Name: name, Axis: axis, Kind: Text, Texts: lines}, err
	}
	counting := 0
	for _, n := range d.Shape {
		if n > 1 {
			counting++
		}
	}
	if counting > 1 {
		return nil, fmt.Errorf("%w: %s has the shape %v, and a coordinate has one dimension", ErrLayout, array, d.Shape)
	}
	return hdf5Coordinate(d, name, axis)
}

// text reads a cell that holds one text.
func (h *hdf5File) text(path string) (string, error) {
	d, err := h.file.Dataset(path)
	if err != nil {
		return "", hdf5Error(err)
	}
	defer d.Close()
	class, err := ofMATLAB(d)
	if err != nil {
		return "", err
	}
	if class != "char" {
		return "", fmt.Errorf("%w: a cell holds %s, not a text", ErrFormat, class)
	}
	empty, err := d.Attribute("MATLAB_empty")
	if err != nil {
		return "", hdf5Error(err)
	}
	if v, ok := empty.(float64); ok && v != 0 {
		return "", nil
	}
	lines, err := charRows(d)
	if err != nil {
		return "", err
	}
	if len(lines) != 1 {
		return "", fmt.Errorf("%w: a cell holds %d texts", ErrFormat, len(lines))
	}
	return lines[0], nil
}

// charRows reads an array of UTF-16 characters, [length, texts] as MATLAB stores it.
func charRows(d *hdf5.Dataset) ([]string, error) {
	if len(d.Shape) != 2 || d.Type != hdf5.Integer {
		return nil, fmt.Errorf("%w: characters of the shape %v", ErrFormat, d.Shape)
	}
	if n := d.Shape[0]; n > 0 && d.Shape[1] > mostCoordinate/n {
		return nil, fmt.Errorf("%w: characters of the shape %v", ErrFormat, d.Shape)
	}
	units, err := d.Int64s(nil, nil)
	if err != nil {
		return nil, hdf5Error(err)
	}
	length, count := d.Shape[0], d.Shape[1]
	lines := make([]string, count)
	for i := range lines {
		text := make([]uint16, length)
		for k := range text {
			text[k] = uint16(units[k*count+i])
		}
		lines[i] = strings.TrimRight(string(utf16.Decode(text)), " ")
		if count == 1 {
			lines[i] = string(utf16.Decode(text)) // only rows of several are padded
		}
	}
	return lines, nil
}
