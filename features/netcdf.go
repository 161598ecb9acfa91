package features

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// NetCDF is one netCDF file in the form of Brain-Score's BrainIO.
const NetCDF Format = "netcdf"

func init() {
	register(&formatSpec{format: NetCDF, title: "netCDF", suffix: ".nc",
		summary: "an assembly as Brain-Score and xarray read it; all timesteps from 0", oneTimeAxis: true, plan: planNetCDF, open: openNetCDF, magic: "CDF"})
}

// The classic netCDF formats (Unidata, "NetCDF Classic Format Specification"):
// CDF-2, which every reader knows, and CDF-5, which differs in 64-bit counts
// and more types, for what CDF-2 cannot hold. Everything is big endian.
const (
	ncDimensionTag = 0x0a
	ncVariableTag  = 0x0b
	ncAttributeTag = 0x0c

	ncByte   = 1
	ncChar   = 2
	ncInt    = 4
	ncFloat  = 5
	ncDouble = 6
	ncInt64  = 10 // CDF-5 only

	// cdf2Limit is kept below what CDF-2 allows, since readers differ beyond.
	cdf2Limit = math.MaxInt32
)

type ncAttribute struct{ name, value string }

type ncDimension struct {
	name   string
	length int
}

type ncVariable struct {
	name       string
	dimensions []int // into ncFile.dimensions
	attributes []ncAttribute
	kind       uint32
	write      func(io.Writer) error // nil for streamed data
	parts      []ncPart              // else
}

// ncPart is where a streamed array lies within its variable.
type ncPart struct {
	array  int
	region region // offset is relative to the variable
}

// ncFile collects dimensions and variables before anything has an offset.
type ncFile struct {
	dimensions []ncDimension
	attributes []ncAttribute
	variables  []ncVariable
}

// dimension returns the index of the dimension, adding it if need be. A name
// in use with another length gets the length appended.
func (f *ncFile) dimension(name string, length int) int {
	name = ncName(name)
	for i, d := range f.dimensions {
		if d.name != name {
			continue
		}
		if d.length == length {
			return i
		}
		return f.dimension(name+"_"+strconv.Itoa(length), length)
	}
	f.dimensions = append(f.dimensions, ncDimension{name, length})
	return len(f.dimensions) - 1
}

// ncName replaces what a name (or the space-separated list of coordinates)
// cannot hold.
func ncName(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || unicode.IsSpace(r) {
			return '_'
		}
		return r
	}, name)
}

func ncTypeSize(kind uint32) int64 {
	switch kind {
	case ncByte, ncChar:
		return 1
	case ncInt, ncFloat:
		return 4
	}
	return 8
}

func (f *ncFile) has(name string) bool {
	return slices.ContainsFunc(f.variables, func(v ncVariable) bool { return v.name == name })
}

// metadata adds a variable of known values.
func (f *ncFile) metadata(name string, dimensions []int, values any) error {
	v := ncVariable{name: name, dimensions: slices.Clone(dimensions)}
	switch values := values.(type) {
	case []string:
		width := 1
		for i, s := range values {
			values = withValidUTF8(values, i, s)
			width = max(width, len(values[i]))
		}
		v.strings(f, width, slices.Values(values))
	case []float64:
		v.kind, v.write = ncDouble, bigEndian(values)
	case []float32:
		v.kind, v.write = ncFloat, bigEndian(values)
	case []int32:
		v.kind, v.write = ncInt, bigEndian(values)
	case []uint8:
		wide := make([]int32, len(values))
		for i, x := range values {
			wide[i] = int32(x)
		}
		v.kind, v.write = ncInt, bigEndian(wide)
	case []int64:
		narrow := make([]int32, len(values))
		fits := true
		for i, x := range values {
			narrow[i] = int32(x)
			fits = fits && int64(narrow[i]) == x
		}
		if fits {
			v.kind, v.write = ncInt, bigEndian(narrow)
		} else {
			v.kind, v.write = ncInt64, bigEndian(values)
		}
	case []bool:
		v.kind, v.write = ncByte, bigEndian(values)
		v.attributes = []ncAttribute{{"dtype", "bool"}} // as xarray marks booleans
	default:
		return fmt.Errorf("%w: %q holds %T", ErrLayout, name, values)
	}
	f.variables = append(f.variables, v)
	return nil
}

func withValidUTF8(values []string, i int, s string) []string {
	if valid := strings.ToValidUTF8(s, "\uFFFD"); valid != s {
		values = slices.Clone(values)
		values[i] = valid
	}
	return values
}

// strings makes v an array of fixed-width UTF-8 text, which gives it one more
// dimension.
func (v *ncVariable) strings(f *ncFile, width int, values func(func(string) bool)) {
	v.kind = ncChar
	v.attributes = append(v.attributes, ncAttribute{"_Encoding", "utf-8"})
	v.dimensions = append(v.dimensions, f.dimension("string"+strconv.Itoa(width), width))
	v.write = func(w io.Writer) error {
		element := make([]byte, width)
		for s := range values {
			clear(element[copy(element, s):])
			if _, err := w.Write(element); err != nil {
				return err
			}
		}
		return nil
	}
}

func bigEndian(values any) func(io.Writer) error {
	return func(w io.Writer) error { return binary.Write(w, binary.BigEndian, values) }
}

// counted writes an array of int32 made one by one.
func counted(count int, value func(i int) int) func(io.Writer) error {
	return func(w io.Writer) error {
		buffer := make([]byte, 0, 4*4096)
		for i := range count {
			buffer = binary.BigEndian.AppendUint32(buffer, uint32(int32(value(i))))
			if len(buffer) == cap(buffer) || i == count-1 {
				if _, err := w.Write(buffer); err != nil {
					return err
				}
				buffer = buffer[:0]
			}
		}
		return nil
	}
}

func (f *ncFile) bytes(v *ncVariable) (int64, bool) {
	shape := make([]int, len(v.dimensions))
	for i, d := range v.dimensions {
		shape[i] = f.dimensions[d].length
	}
	return byteSize(shape, int(ncTypeSize(v.kind)))
}

// plan fixes the offsets and adds the file and its regions to p.
func (f *ncFile) plan(p *plan, name string) error {
	version := byte(2)
	total := int64(0)
	for i := range f.variables {
		v := &f.variables[i]
		size, ok := f.bytes(v)
		if !ok || total > math.MaxInt64/2-size {
			return fmt.Errorf("%w: variable %q", ErrTooLarge, v.name)
		}
		total += size
		if v.kind == ncInt64 {
			version = 5
		}
	}
	if total > cdf2Limit {
		version = 5
	}
	for _, d := range f.dimensions {
		if d.length > math.MaxInt32 {
			version = 5
		}
	}
	at := int64(len(f.header(version, 0)))
	file := plannedFile{name: name, sections: []section{bytesSection(0, f.header(version, at))}}
	for i := range f.variables {
		v := &f.variables[i]
		size, _ := f.bytes(v)
		if v.write != nil {
			file.sections = append(file.sections, section{offset: at, size: size, write: v.write})
		}
		for _, part := range v.parts {
			part.region.file = len(p.files)
			part.region.offset += at
			p.regions[part.array] = part.region
		}
		at += padded(size)
	}
	file.size = at
	p.files = append(p.files, file)
	return nil
}

func padded(n int64) int64 { return (n + 3) &^ 3 }

// header writes the header; the first variable's data begin at start.
func (f *ncFile) header(version byte, start int64) []byte {
	var b []byte
	be := binary.BigEndian
	count := func(n int64) { // NON_NEG of the specification
		if version == 5 {
			b = be.AppendUint64(b, uint64(n))
		} else {
			b = be.AppendUint32(b, uint32(n))
		}
	}
	text := func(s string) {
		count(int64(len(s)))
		b = append(b, s...)
		b = append(b, make([]byte, padded(int64(len(s)))-int64(len(s)))...)
	}
	list := func(tag uint32, n int) {
		if n == 0 {
			tag = 0
		}
		b = be.AppendUint32(b, tag)
		count(int64(n))
	}
	attributes := func(all []ncAttribute) {
		list(ncAttributeTag, len(all))
		for _, a := range all {
			text(a.name)
			b = be.AppendUint32(b, ncChar)
			text(a.value)
		}
	}
	b = append(b, 'C', 'D', 'F', version)
	count(0) // records: no dimension is unlimited
	list(ncDimensionTag, len(f.dimensions))
	for _, d := range f.dimensions {
		text(d.name)
		count(int64(d.length))
	}
	attributes(f.attributes)
	list(ncVariableTag, len(f.variables))
	for i := range f.variables {
		v := &f.variables[i]
		text(v.name)
		count(int64(len(v.dimensions)))
		for _, d := range v.dimensions {
			count(int64(d))
		}
		attributes(v.attributes)
		b = be.AppendUint32(b, v.kind)
		size, _ := f.bytes(v)
		count(padded(size))
		b = be.AppendUint64(b, uint64(start))
		start += padded(size)
	}
	return b
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
		return fmt.Errorf("%w: %q: netCDF's classic formats have no %v; choose float32 or another format", ErrDataType, s.Name, s.DataType)
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
			if len(c.Dimensions) == 1 && len(s.Dimensions) > 0 && c.Dimensions[0] == s.Dimensions[i] && c.Shape[0] == length && !f.has(ncName(c.Name)) {
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
}

// firstDrivenMS is when an image can first have reached a layer, NaN where unknown or never.
func firstDrivenMS(l *Layer) float64 {
	at := slices.Index(l.Driven, true)
	if at < 0 || at == 0 && l.Timesteps[0] > 0 { // what came before is not reported
		return math.NaN()
	}
	return float64(l.Timesteps[at] * MillisecondsPerTimestep)
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
	neuroids := 0
	for _, i := range indices {
		s := &layout.Streamed[i]
		if !slices.Equal(s.Layer.Timesteps, times) {
			return fmt.Errorf("%w: netCDF has one time axis, but %s and %s have different timesteps; include all timesteps", ErrLayout, first.Name, s.Name)
		}
		if s.DataType != first.DataType {
			return fmt.Errorf("%w: netCDF has one variable, but %s is %v and %s is %v", ErrLayout, first.Name, first.DataType, s.Name, s.DataType)
		}
		l := ncLayer{name: s.Name, region: s.Layer.Region, units: s.rowElements() / len(times), firstDriven: firstDrivenMS(s.Layer)}
		if len(s.RowShape) == 4 {
			l.height, l.width, l.channel = s.RowShape[1], s.RowShape[2], s.RowShape[3]
		}
		layers = append(layers, l)
		neuroids += l.units
	}
	neuroid := f.dimension("neuroid", neuroids)
	bin := f.dimension("time_bin", len(times))

	text := func(name string, longest int, value func(l *ncLayer, unit int) string) {
		v := ncVariable{name: name, dimensions: []int{neuroid}}
		v.strings(f, max(1, longest), func(yield func(string) bool) {
			for i := range layers {
				for u := range layers[i].units {
					if !yield(value(&layers[i], u)) {
						return
					}
				}
			}
		})
		f.variables = append(f.variables, v)
	}
	number := func(name string, value func(l *ncLayer, unit int) int) {
		f.variables = append(f.variables, ncVariable{name: name, dimensions: []int{neuroid}, kind: ncInt,
			write: func(w io.Writer) error {
				for i := range layers {
					l := &layers[i]
					if err := counted(l.units, func(u int) int { return value(l, u) })(w); err != nil {
						return err
					}
				}
				return nil
			}})
	}
	id := func(l *ncLayer, unit int) string { return layout.Model + "." + l.name + "." + strconv.Itoa(unit) }
	longestID, longestLayer, longestRegion := 0, 0, 0
	for i := range layers {
		l := &layers[i]
		longestID = max(longestID, len(id(l, l.units-1)))
		longestLayer, longestRegion = max(longestLayer, len(l.name)), max(longestRegion, len(l.region))
	}
	text("neuroid_id", longestID, id)
	number("neuroid_num", func(_ *ncLayer, u int) int { return u })
	text("model", len(layout.Model), func(*ncLayer, int) string { return layout.Model })
	text("layer", longestLayer, func(l *ncLayer, _ int) string { return l.name })
	text("region", longestRegion, func(l *ncLayer, _ int) string { return l.region })
	number("channel", func(l *ncLayer, u int) int {
		if l.channel == 0 {
			return u
		}
		return u % l.channel
	})
	number("channel_x", func(l *ncLayer, u int) int {
		if l.channel == 0 {
			return -1
		}
		return u / l.channel / l.width
	})
	number("channel_y", func(l *ncLayer, u int) int {
		if l.channel == 0 {
			return -1
		}
		return u / l.channel % l.width
	})
	f.variables = append(f.variables, ncVariable{name: "first_driven_ms", dimensions: []int{neuroid}, kind: ncDouble, write: func(w io.Writer) error {
		for i := range layers {
			if err := bigEndian(slices.Repeat([]float64{layers[i].firstDriven}, layers[i].units))(w); err != nil {
				return err
			}
		}
		return nil
	}})
	for _, edge := range []struct {
		name string
		plus int
	}{{"time_bin_start", 0}, {"time_bin_end", MillisecondsPerTimestep}} {
		f.variables = append(f.variables, ncVariable{name: edge.name, dimensions: []int{bin}, kind: ncInt,
			write: counted(len(times), func(i int) int { return times[i]*MillisecondsPerTimestep + edge.plus })})
	}

	data := ncVariable{dimensions: []int{0, neuroid, bin}}
	rowBytes := neuroids * len(times) * size
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
