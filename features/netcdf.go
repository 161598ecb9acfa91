package features

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// NetCDF is one netCDF file in the form of Brain-Score's BrainIO.
const NetCDF Format = "netcdf"

func init() {
	register(&formatSpec{format: NetCDF, title: "netCDF", suffix: ".nc",
		summary: "an assembly as Brain-Score and xarray read it; all timesteps from 0", oneTimeAxis: true, plan: planNetCDF,
		open: openNetCDF, magic: "CDF"})
}

// planNetCDF writes what Brain-Score's BrainIO and xarray load as one
// assembly: a single variable data [presentation, neuroid, time_bin]. Layers
// are concatenated along neuroid, each unit in C order of its layer's [H, W,
// C]. Coordinates: on presentation the columns and every streamed array of
// one value per row; on neuroid neuroid_id, neuroid_num (the number within
// the layer), model, layer, region, channel, channel_x (the row, as in
// Brain-Score's model tools), channel_y (the column; both -1 where the layer
// has no space), first_driven_ms (NaN where unknown or never, which no
// comparison with a time selects); on time_bin time_bin_start and time_bin_end in integer milliseconds.
//
// A streamed array that is neither a layer nor one value per row (logits)
// cannot be part of that variable. It goes to a companion "<stem>.<name>.nc",
// variable data [presentation, …].
func planNetCDF(path string, layout *Layout) (*plan, error) {
	var layers, single, others []int
	for i := range layout.Streamed {
		switch s := &layout.Streamed[i]; {
		case s.Layer != nil:
			layers = append(layers, i)
		case len(s.RowShape) == 0:
			single = append(single, i)
		default:
			others = append(others, i)
		}
	}
	p := &plan{regions: make([]region, len(layout.Streamed))}
	if len(layers) > 0 {
		if err := planAssembly(p, path, layout, layers, single); err != nil {
			return nil, err
		}
		single = nil
	}
	stem := strings.TrimSuffix(path, filepath.Ext(path))
	for _, i := range others {
		name := path
		if len(p.files) > 0 {
			name = stem + "." + strings.ReplaceAll(layout.Streamed[i].Name, "/", "_") + ".nc"
		}
		if err := planArray(p, name, layout, i, single); err != nil {
			return nil, err
		}
		single = nil
	}
	if len(p.files) == 0 {
		return nil, fmt.Errorf("%w: netCDF needs at least one layer", ErrLayout)
	}
	return p, nil
}

// newAssembly starts a file with what belongs to the presentations.
func newAssembly(layout *Layout, single []int, reserved ...string) (*ncFile, error) {
	f := &ncFile{attributes: []ncAttribute{
		{"identifier", layout.Identifier}, {"stimulus_set_identifier", layout.StimulusSet}, {"model", layout.Model}}}
	for _, a := range layout.Attributes {
		f.attributes = append(f.attributes, ncAttribute{ncName(a.Name), strings.ToValidUTF8(a.Value, "\uFFFD")})
	}
	presentation := []int{f.dimension("presentation", layout.Rows)}
	free := func(name string) (string, error) {
		name = ncName(name)
		if slices.Contains(reserved, name) {
			name = "stimulus_" + name
		}
		if f.has(name) {
			return "", fmt.Errorf("%w: two netCDF variables would be called %q", ErrLayout, name)
		}
		return name, nil
	}
	identified := false
	for _, c := range layout.Columns {
		name, err := free(c.Name)
		if err != nil {
			return nil, err
		}
		if err := f.metadata(name, presentation, c.Values); err != nil {
			return nil, err
		}
		if v := &f.variables[len(f.variables)-1]; c.Original != "" {
			v.attributes = append(v.attributes, ncAttribute{"original_name", strings.ToValidUTF8(c.Original, "\uFFFD")})
		}
		identified = identified || c.Name == "stimulus_id"
	}
	if !identified {
		return nil, fmt.Errorf("%w: netCDF needs a column stimulus_id", ErrLayout)
	}
	for _, i := range single {
		name, err := free(layout.Streamed[i].Name)
		if err != nil {
			return nil, err
		}
		v := ncVariable{name: name, dimensions: presentation}
		if err := v.stream(layout, i, layout.Streamed[i].DataType.Size(), 0); err != nil {
			return nil, err
		}
		f.variables = append(f.variables, v)
	}
	return f, nil
}

// stream makes rows of a streamed array part of v: rowBytes apart, within a row
// from offset on.
func (v *ncVariable) stream(layout *Layout, array int, rowBytes int, offset int64) error {
	s := &layout.Streamed[array]
	switch s.DataType {
	case Float32:
		v.kind = ncFloat
	case Float64:
		v.kind = ncDouble
	case Int32:
		v.kind = ncInt
	case Int64:
		v.kind = ncInt64
	case Bool:
		v.kind = ncByte
		v.attributes = []ncAttribute{{"dtype", "bool"}}
	default:
		return fmt.Errorf("%w: %q: netCDF's classic formats have no %v; choose float32 or another format", ErrDataType,
			s.Name, s.DataType)
	}
	r := contiguousRegion(0, offset, s)
	r.stride, r.order = int64(rowBytes), binary.BigEndian
	if s.Layer != nil {
		r.transpose = len(s.Layer.Timesteps)
	}
	v.parts = append(v.parts, ncPart{array, r})
	return nil
}

// finish adds the variable data after its coordinates.
func (f *ncFile) finish(data ncVariable) {
	var coordinates []string
	for _, v := range f.variables {
		coordinates = append(coordinates, v.name)
	}
	data.name = "data"
	data.attributes = append(data.attributes, ncAttribute{"coordinates", strings.Join(coordinates, " ")})
	f.variables = append(f.variables, data)
}

func planArray(p *plan, name string, layout *Layout, array int, single []int) error {
	f, err := newAssembly(layout, single, "data")
	if err != nil {
		return err
	}
	s := &layout.Streamed[array]
	data := ncVariable{dimensions: []int{0}}
	for i, length := range s.RowShape {
		d := f.dimension(s.dimension(i), length)
		data.dimensions = append(data.dimensions, d)
		for _, c := range layout.Constants { // such as the classes' names
			if len(c.Dimensions) == 1 && len(s.Dimensions) > 0 && c.Dimensions[0] == s.Dimensions[i] && c.Shape[0] == length &&
				!f.has(ncName(c.Name)) {
				if err := f.metadata(ncName(c.Name), []int{d}, c.Values); err != nil {
					return err
				}
			}
		}
	}
	if err := data.stream(layout, array, s.rowElements()*s.DataType.Size(), 0); err != nil {
		return err
	}
	f.finish(data)
	return f.plan(p, name)
}

// ncLayer is a layer's place among the neuroids.
type ncLayer struct {
	name, region           string
	units                  int
	height, width, channel int     // 0 where the layer has no space
	firstDriven            float64 // in ms
	selection              *Selection
}

// place is where a unit is: row and column -1 where the layer has no space, and its number among
// all units of the layer, also where only some of them are here.
func (l *ncLayer) place(u int) (row, column, channel, number int) {
	switch {
	case l.selection != nil:
		return l.selection.place(u)
	case l.channel == 0:
		return -1, -1, u, u
	}
	return u / l.channel / l.width, u / l.channel % l.width, u % l.channel, u
}

// firstDrivenMS is when an image can first have reached a layer, NaN where unknown or never.
func firstDrivenMS(l *Layer) float64 {
	at := slices.Index(l.Driven, true)
	if at < 0 || at == 0 && l.Timesteps[0] > 0 { // what came before is not reported
		return math.NaN()
	}
	return float64(l.Timesteps[at] * MillisecondsPerTimestep)
}

// neuroids are the units of all layers, and the coordinates that tell them apart.
type neuroids struct {
	f         *ncFile
	model     string
	layers    []ncLayer
	dimension int
}

func (n *neuroids) text(name string, longest int, value func(l *ncLayer, unit int) string) {
	v := ncVariable{name: name, dimensions: []int{n.dimension}}
	v.strings(n.f, max(1, longest), func(yield func(string) bool) {
		for i := range n.layers {
			for u := range n.layers[i].units {
				if !yield(value(&n.layers[i], u)) {
					return
				}
			}
		}
	})
	n.f.variables = append(n.f.variables, v)
}

func (n *neuroids) number(name string, value func(l *ncLayer, unit int) int) {
	n.f.variables = append(n.f.variables, ncVariable{name: name, dimensions: []int{n.dimension}, kind: ncInt,
		write: func(w io.Writer) error {
			for i := range n.layers {
				l := &n.layers[i]
				if err := counted(l.units, func(u int) int { return value(l, u) })(w); err != nil {
					return err
				}
			}
			return nil
		}})
}

// add adds the coordinates.
func (n *neuroids) add() {
	number := func(l *ncLayer, u int) int { _, _, _, number := l.place(u); return number }
	id := func(l *ncLayer, unit int) string { return n.model + "." + l.name + "." + strconv.Itoa(number(l, unit)) }
	longestID, longestLayer, longestRegion := 0, 0, 0
	for i := range n.layers {
		l := &n.layers[i]
		if longestID = max(longestID, len(id(l, l.units-1))); l.selection != nil { // channels may be in any order
			for u := range l.units {
				longestID = max(longestID, len(id(l, u)))
			}
		}
		longestLayer, longestRegion = max(longestLayer, len(l.name)), max(longestRegion, len(l.region))
	}
	n.text("neuroid_id", longestID, id)
	n.number("neuroid_num", number)
	n.text("model", len(n.model), func(*ncLayer, int) string { return n.model })
	n.text("layer", longestLayer, func(l *ncLayer, _ int) string { return l.name })
	n.text("region", longestRegion, func(l *ncLayer, _ int) string { return l.region })
	n.number("channel", func(l *ncLayer, u int) int { _, _, channel, _ := l.place(u); return channel })
	n.number("channel_x", func(l *ncLayer, u int) int { row, _, _, _ := l.place(u); return row })
	n.number("channel_y", func(l *ncLayer, u int) int { _, column, _, _ := l.place(u); return column })
	n.f.variables = append(n.f.variables, ncVariable{name: "first_driven_ms", dimensions: []int{n.dimension},
		kind: ncDouble, write: func(w io.Writer) error {
			for i := range n.layers {
				if err := bigEndian(slices.Repeat([]float64{n.layers[i].firstDriven}, n.layers[i].units))(w); err != nil {
					return err
				}
			}
			return nil
		}})
}

func planAssembly(p *plan, path string, layout *Layout, indices, single []int) error {
	f, err := newAssembly(layout, single, "data", "neuroid_id", "neuroid_num", "model", "layer", "region",
		"channel", "channel_x", "channel_y", "first_driven_ms", "time_bin_start", "time_bin_end",
		"presentation", "neuroid", "time_bin")
	if err != nil {
		return err
	}
	first := &layout.Streamed[indices[0]]
	times := first.Layer.Timesteps
	size := first.DataType.Size()
	var layers []ncLayer
	units := 0
	for _, i := range indices {
		s := &layout.Streamed[i]
		if !slices.Equal(s.Layer.Timesteps, times) {
			return fmt.Errorf("%w: netCDF has one time axis, but %s and %s have different timesteps; include all timesteps",
				ErrLayout, first.Name, s.Name)
		}
		if s.DataType != first.DataType {
			return fmt.Errorf("%w: netCDF has one variable, but %s is %v and %s is %v", ErrLayout, first.Name, first.DataType,
				s.Name, s.DataType)
		}
		l := ncLayer{name: s.Name, region: s.Layer.Region, units: s.rowElements() / len(times),
			firstDriven: firstDrivenMS(s.Layer), selection: s.Layer.Selection}
		if len(s.RowShape) == 4 {
			l.height, l.width, l.channel = s.RowShape[1], s.RowShape[2], s.RowShape[3]
		}
		layers = append(layers, l)
		units += l.units
	}
	neuroid := f.dimension("neuroid", units)
	bin := f.dimension("time_bin", len(times))

	(&neuroids{f, layout.Model, layers, neuroid}).add()
	for _, edge := range []struct {
		name string
		plus int
	}{{"time_bin_start", 0}, {"time_bin_end", MillisecondsPerTimestep}} {
		f.variables = append(f.variables, ncVariable{name: edge.name, dimensions: []int{bin}, kind: ncInt,
			write: counted(len(times), func(i int) int { return times[i]*MillisecondsPerTimestep + edge.plus })})
	}

	data := ncVariable{dimensions: []int{0, neuroid, bin}}
	rowBytes := units * len(times) * size
	offset := 0
	for k, i := range indices {
		if err := data.stream(layout, i, rowBytes, int64(offset)); err != nil {
			return err
		}
		offset += layers[k].units * len(times) * size
	}
	f.finish(data)
	return f.plan(p, path)
}

// openNetCDF reads the variable data [presentation, neuroid, time_bin] and its coordinates.
func openNetCDF(s *Store) error {
	file, err := os.Open(s.path)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, file)
	info, err := file.Stat()
	if err != nil {
		return err
	}
	f, err := readNCHeader(file, info.Size())
	if err != nil {
		return err
	}
	s.provenance = f.attributes["provenance"]
	data := f.variable("data")
	if data == nil {
		return fmt.Errorf("%w: no variable data", ErrFormat)
	}
	if len(data.shape) > 0 && f.dimensions[data.dimensions[0]].name == "presentation" {
		s.rows = data.shape[0]
	}
	s.column = func(name string) (any, error) { return f.coordinate(name, "presentation", 0, s.rows) }
	for i := range f.variables {
		v := &f.variables[i]
		if f.along(v) == "presentation" && v.name != "valid" {
			s.columns = append(s.columns, v.name)
		}
	}
	if f.variable("valid") != nil {
		mask, err := integersOf(s.column("valid"))
		if err != nil {
			return err
		}
		s.valid = booleans(mask)
	}
	var names []string
	for _, d := range data.dimensions {
		names = append(names, f.dimensions[d].name)
	}
	if !slices.Equal(names, []string{"presentation", "neuroid", "time_bin"}) {
		return s.addNCCompanion(f, data, "logits") // alone
	}
	if err := s.addNCLayers(f, data); err != nil {
		return err
	}
	return s.openNCCompanions()
}

// openNCCompanions opens the files beside that are called <stem>.<name>.nc.
func (s *Store) openNCCompanions() error {
	stem := strings.TrimSuffix(filepath.Base(s.path), filepath.Ext(s.path)) + "."
	entries, err := os.ReadDir(filepath.Dir(s.path))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(strings.TrimPrefix(e.Name(), stem), ".nc")
		if !ok || !strings.HasPrefix(e.Name(), stem) || name == "" || strings.Contains(name, ".") || !e.Type().IsRegular() {
			continue
		}
		file, err := os.Open(filepath.Join(filepath.Dir(s.path), e.Name()))
		if err != nil {
			return err
		}
		s.closers = append(s.closers, file)
		info, err := file.Stat()
		if err != nil {
			return err
		}
		f, err := readNCHeader(file, info.Size())
		if err != nil || f.attributes["provenance"] != s.provenance { // another program's, or another run's
			continue
		}
		if data := f.variable("data"); data != nil {
			if err := s.addNCCompanion(f, data, name); err != nil {
				return fmt.Errorf("%s: %w", e.Name(), err)
			}
		}
	}
	return nil
}

func (s *Store) addNCCompanion(f *storedNC, data *storedNCVariable, name string) error {
	if data.kind != ncFloat || len(data.shape) < 2 || f.dimensions[data.dimensions[0]].name != "presentation" {
		return nil
	}
	r := contiguousRegion(0, data.begin, &Streamed{DataType: Float32, RowShape: data.shape[1:]})
	r.order = binary.BigEndian
	return s.addCompanion(name, Float32, data.shape, &fileRows{file: f.file, region: r, steps: 1})
}

// addNCLayers finds the layers, which are runs of neuroids.
func (s *Store) addNCLayers(f *storedNC, data *storedNCVariable) error {
	starts, err := integersOf(f.coordinate("time_bin_start", "time_bin", 0, data.shape[2]))
	if err != nil {
		return err
	}
	timesteps := make([]int64, len(starts))
	for i, ms := range starts {
		if ms%MillisecondsPerTimestep != 0 {
			return fmt.Errorf("%w: a time bin starts at %d ms; timesteps are of %d ms", ErrFormat, ms, MillisecondsPerTimestep)
		}
		timesteps[i] = ms / MillisecondsPerTimestep
	}
	dataType := Float32
	switch data.kind {
	case ncFloat:
	case ncDouble:
		dataType = Float64
	default:
		return fmt.Errorf("%w: data are of type %d", ErrDataType, data.kind)
	}
	add := func(name string, from, to int) error {
		l := LayerInfo{Name: name, DataType: dataType}
		shape, err := f.describe(&l, from, to, starts)
		if err != nil {
			return fmt.Errorf("layer %s: %w", name, err)
		}
		size, steps := int64(dataType.Size()), len(starts)
		stride := int64(data.shape[1]) * int64(steps) * size
		r := region{offset: data.begin + int64(from)*int64(steps)*size, stride: stride,
			rowBytes:    int64(to-from) * int64(steps) * size,
			rowElements: (to - from) * steps, dataType: dataType, order: binary.BigEndian, transpose: steps}
		return s.addLayer(l, append([]int{s.rows, steps}, shape...), timesteps, starts,
			&fileRows{file: f.file, region: r, steps: steps})
	}
	const block = 1 << 14
	current, begun := "", 0
	for from := 0; from < data.shape[1]; from += block {
		to := min(from+block, data.shape[1])
		values, err := f.coordinate("layer", "neuroid", from, to)
		if err != nil {
			return err
		}
		names, ok := values.([]string)
		if !ok {
			return fmt.Errorf("%w: layer is no text", ErrFormat)
		}
		for i, name := range names {
			if from+i > 0 && name != current {
				if err := add(current, begun, from+i); err != nil {
					return err
				}
				begun = from + i
			}
			current = name
		}
		if len(s.layers) > ncMost {
			return fmt.Errorf("%w: more than %d layers", ErrFormat, ncMost)
		}
	}
	return add(current, begun, data.shape[1])
}
