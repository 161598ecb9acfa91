package features

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tfconvrnn/go/internal/hdf5"
)

// hdf5Builder collects the datasets of a file.
type hdf5Builder struct {
	draft      hdf5.Draft
	names      map[string]bool
	dimensions map[string]int // lengths
	scales     []string       // dimensions, in the order in which they came
	valued     map[string]bool
	bytes      int64 // of all rows
}

func (b *hdf5Builder) build(layout *Layout) error {
	var layers []string
	for _, a := range [][2]string{{"model", layout.Model}, {"identifier", layout.Identifier},
		{"stimulus_set_identifier", layout.StimulusSet}} {
		b.draft.Attributes = append(b.draft.Attributes, hdf5.DraftAttribute{Name: a[0], Value: a[1]})
	}
	for _, a := range layout.Attributes {
		b.draft.Attributes = append(b.draft.Attributes, hdf5.DraftAttribute{Name: a.Name, Value: a.Value})
	}
	presentation := b.dimension("presentation", "presentation", layout.Rows)
	var coordinates []string
	for _, c := range layout.Columns {
		coordinates = append(coordinates, zarrName(c.Name))
		attributes := []hdf5.DraftAttribute{}
		if c.Original != "" && c.Original != c.Name {
			attributes = append(attributes, hdf5.DraftAttribute{Name: "original_name", Value: c.Original})
		}
		if err := b.values(c.Name, []int{layout.Rows}, []string{presentation}, c.Values, attributes); err != nil {
			return err
		}
	}
	for i := range layout.Streamed {
		if s := &layout.Streamed[i]; len(s.RowShape) == 0 {
			coordinates = append(coordinates, zarrName(s.Name))
		}
	}
	for _, c := range layout.Constants {
		var dimensions []string
		for i, length := range c.Shape {
			name := zarrName(c.Name) + "_" + strconv.Itoa(i)
			if i < len(c.Dimensions) {
				name = c.Dimensions[i]
			}
			dimensions = append(dimensions, b.dimension(c.Name, name, length))
		}
		if err := b.values(c.Name, c.Shape, dimensions, c.Values, nil); err != nil {
			return err
		}
	}
	shared := sharedTimesteps(layout)
	for i := range layout.Streamed {
		s := &layout.Streamed[i]
		if err := b.streamed(layout, s, presentation, coordinates, shared); err != nil {
			return err
		}
		if s.Layer != nil {
			layers = append(layers, zarrName(s.Name))
		}
	}
	b.draft.Attributes = append(b.draft.Attributes,
		hdf5.DraftAttribute{Name: hdf5Layers, Value: strings.Join(layers, " ")})
	return b.scaleDatasets()
}

// dimension returns a name under which no other length is known.
func (b *hdf5Builder) dimension(owner, name string, length int) string {
	for candidate, n := name, 1; ; n++ {
		known, ok := b.dimensions[candidate]
		if !ok {
			b.scales = append(b.scales, candidate)
			b.dimensions[candidate] = length
			return candidate
		}
		if known == length {
			return candidate
		}
		if candidate = zarrName(owner) + "_" + name; n > 1 {
			candidate += strconv.Itoa(n)
		}
	}
}

func (b *hdf5Builder) add(d hdf5.DraftDataset) error {
	if b.names[d.Name] {
		return fmt.Errorf("%w: two datasets would be called %q", ErrLayout, d.Name)
	}
	b.names[d.Name] = true
	b.draft.Datasets = append(b.draft.Datasets, d)
	return nil
}

// values adds an array that is known beforehand. Booleans are int8 with the attribute dtype = bool,
// as xarray has them in netCDF: netCDF and MATLAB know no others.
func (b *hdf5Builder) values(name string, shape []int, dimensions []string, values any,
	attributes []hdf5.DraftAttribute) error {
	if flags, ok := values.([]bool); ok {
		numbers := make([]int8, len(flags))
		for i, v := range flags {
			if v {
				numbers[i] = 1
			}
		}
		values, attributes = numbers, append(attributes, isBool)
	}
	if texts, ok := values.([]string); ok {
		for i, text := range texts {
			if strings.ContainsRune(text, 0) {
				return fmt.Errorf("%w: %q: value %d has a zero character, at which texts of HDF5 end", ErrLayout, name, i)
			}
		}
	}
	d := hdf5.DraftDataset{Name: zarrName(name), Shape: shape, Values: values, Attributes: attributes,
		Dimensions: dimensions}
	if len(dimensions) == 1 && dimensions[0] == d.Name { // it is the scale itself
		d.Scale, d.Dimensions = d.Name, nil
		b.valued[d.Name] = true
	}
	return b.add(d)
}

var isBool = hdf5.DraftAttribute{Name: "dtype", Value: "bool"}

var hdf5Elements = map[DataType]hdf5.Element{
	Float16: hdf5.Float16, Float32: hdf5.Float32, Float64: hdf5.Float64, Int32: hdf5.Int32, Int64: hdf5.Int64,
	Uint8: hdf5.Uint8, Bool: hdf5.Int8,
}

// streamed adds an array whose rows come later.
func (b *hdf5Builder) streamed(layout *Layout, s *Streamed, presentation string, coordinates []string,
	shared bool) error {
	d := hdf5.DraftDataset{
		Name: zarrName(s.Name), Shape: append([]int{layout.Rows}, s.RowShape...), Element: hdf5Elements[s.DataType],
		Dimensions: []string{presentation},
	}
	rowBytes := int64(s.rowElements()) * int64(s.DataType.Size())
	if rowBytes > hdf5MostChunk {
		return fmt.Errorf("%w: %q has %d bytes for a presentation; a chunk of HDF5 holds 4 GiB", ErrTooLarge, s.Name,
			rowBytes)
	}
	b.bytes += rowBytes * int64(layout.Rows)
	chunkBytes := max(hdf5ChunkBytes, rowBytes*int64(layout.Rows)/hdf5MostChunks)
	d.ChunkRows = min(max(int(chunkBytes/rowBytes), 1), layout.Rows)
	own := slices.Clone(coordinates)
	if s.DataType == Bool {
		d.Attributes = append(d.Attributes, isBool)
	}
	if s.Layer != nil {
		d.Attributes = append(d.Attributes, hdf5.DraftAttribute{Name: "layer", Value: s.Name})
		if s.Layer.Region != "" {
			d.Attributes = append(d.Attributes, hdf5.DraftAttribute{Name: "region", Value: s.Layer.Region})
		}
		names, err := b.timesteps(s, &d, shared)
		if err != nil {
			return err
		}
		own = append(own, names...)
	}
	for i := len(d.Dimensions) - 1; i < len(s.RowShape); i++ {
		name := s.dimension(i)
		if s.Layer != nil {
			name = zarrName(s.Name) + "_" + name
		}
		d.Dimensions = append(d.Dimensions, b.dimension(s.Name, name, s.RowShape[i]))
	}
	for _, c := range layout.Constants { // such as the classes' names
		if len(c.Dimensions) == 1 && slices.Contains(d.Dimensions, c.Dimensions[0]) && zarrName(c.Name) != c.Dimensions[0] {
			own = append(own, zarrName(c.Name))
		}
	}
	if len(s.RowShape) > 0 {
		d.Attributes = append(d.Attributes, hdf5.DraftAttribute{Name: "coordinates", Value: strings.Join(own, " ")})
	}
	return b.add(d)
}

// timesteps adds what a layer's timesteps and units are, and returns the names of the coordinates.
func (b *hdf5Builder) timesteps(s *Streamed, d *hdf5.DraftDataset, shared bool) (coordinates []string, err error) {
	prefix := ""
	if !shared {
		prefix = zarrName(s.Name) + "_"
	}
	time := prefix + "timestep"
	timesteps, ms := s.Layer.times()
	shape := []int{len(timesteps)}
	d.Dimensions = append(d.Dimensions, b.dimension(s.Name, time, len(timesteps)))
	if !b.valued[time] {
		if err := b.values(time, shape, []string{time}, timesteps, nil); err != nil {
			return nil, err
		}
		if err := b.values(prefix+"ms", shape, []string{time}, ms, nil); err != nil {
			return nil, err
		}
	}
	coordinates = append(coordinates, prefix+"ms")
	if s.Layer.Driven != nil {
		name := zarrName(s.Name) + "_driven"
		if err := b.values(name, shape, []string{time}, s.Layer.Driven, nil); err != nil {
			return nil, err
		}
		coordinates = append(coordinates, name)
	}
	if s.Layer.Selection == nil {
		return coordinates, nil
	}
	var whole []int64
	for _, n := range s.Layer.Selection.Map {
		whole = append(whole, int64(n))
	}
	d.Attributes = append(d.Attributes, hdf5.DraftAttribute{Name: "map_shape", Value: whole})
	for _, c := range s.Layer.Selection.constants() {
		name, dimensions := zarrName(s.Name)+"_"+c.Name, []string(nil)
		if len(c.Shape) > 0 {
			name = b.dimension(s.Name, zarrName(s.Name)+"_"+s.dimension(len(s.RowShape)-1), c.Shape[0])
			dimensions = []string{name}
		} else {
			coordinates = append(coordinates, name)
		}
		if err := b.values(name, c.Shape, dimensions, c.Values, nil); err != nil {
			return nil, err
		}
	}
	return coordinates, nil
}

// scaleDatasets adds the dimensions that have no values, as netCDF does.
func (b *hdf5Builder) scaleDatasets() error {
	for _, name := range b.scales {
		if b.valued[name] {
			continue
		}
		n := b.dimensions[name]
		d := hdf5.DraftDataset{Name: name, Shape: []int{n}, Element: hdf5.Float32, Scale: fmt.Sprintf(netCDFDimension, n)}
		if err := b.add(d); err != nil {
			return err
		}
	}
	return nil
}
