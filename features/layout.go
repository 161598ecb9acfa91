package features

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tfconvrnn/go/internal/dimensions"
)

// MillisecondsPerTimestep is the time that one timestep of the models stands
// for.
const MillisecondsPerTimestep = dimensions.MillisecondsPerTimestep

// Layout says everything that an output will hold but the rows themselves. It
// must not change while a Writer made from it is in use.
type Layout struct {
	// Rows is the number of presentations: the first dimension of every
	// streamed array. At least 1.
	Rows int
	// Model, Identifier and StimulusSet name the network, this set of features
	// and the stimuli; formats that have a place for them store them.
	Model, Identifier, StimulusSet string
	// Streamed are the arrays whose rows arrive through Writer.WriteRows,
	// which refers to them by their index here.
	Streamed []Streamed
	// Columns describe the presentations: stimulus ids, paths, labels ….
	Columns []Column
	// Constants are further small arrays. NetCDF stores only those that name
	// the dimension of a streamed array as their own single one.
	Constants []Constant
	// Attributes are strings about the whole output, such as the provenance.
	Attributes []Attribute
}

// Streamed is an array that is written row by row.
type Streamed struct {
	// Name is the layer's name, or another such as "logits".
	Name string
	// DataType is how elements are stored: Float32, Float16, Float64, Int32,
	// Int64, Uint8 or Bool. Rows always arrive as float32.
	DataType DataType
	// RowShape is the shape of one row, without the presentation dimension.
	// For a layer its first dimension is the timesteps.
	RowShape []int
	// Dimensions names the dimensions of RowShape, such as "timestep",
	// "height", "width", "channel". May be empty.
	Dimensions []string
	// Layer is set for features of a layer, nil for anything else.
	Layer *Layer
}

// Layer describes the features of one layer.
type Layer struct {
	// Region is the brain area that the layer matches, or "".
	Region string
	// Timesteps are the reported timesteps, in rising order; their number is
	// the first dimension of the row shape.
	Timesteps []int
	// Driven tells for each of Timesteps whether an image can have reached the
	// layer. Nil where unknown.
	Driven []bool
	// Selection is which units of the layer the rows hold; nil for all.
	Selection *Selection
}

// Selection is some units of a layer.
type Selection struct {
	// Map is the shape of the whole layer: [height, width, channels] or [classes].
	Map []int
	// Row and Column are the only position that there is; nil where all are.
	Row, Column *int
	// Channels are those of the last dimension of the rows; nil where all are.
	Channels []int
}

// constants are what formats with named arrays say of it, under the names row, column and channels.
func (s *Selection) constants() []Constant {
	var list []Constant
	if s == nil {
		return nil
	}
	if s.Row != nil {
		list = append(list, Constant{Name: "row", Shape: []int{}, Values: []int32{int32(*s.Row)}},
			Constant{Name: "column", Shape: []int{}, Values: []int32{int32(*s.Column)}})
	}
	if s.Channels != nil {
		channels := Constant{Name: "channels", Shape: []int{len(s.Channels)}}
		values := make([]int32, len(s.Channels))
		for i, c := range s.Channels {
			values[i] = int32(c)
		}
		channels.Values = values
		list = append(list, channels)
	}
	return list
}

// place is where unit u of those taken is: row and column -1 where the layer has no space, and
// its number among all units of the layer.
func (s *Selection) place(u int) (row, column, channel, number int) {
	channels := s.Map[len(s.Map)-1]
	taken := channels
	if s.Channels != nil {
		taken = len(s.Channels)
	}
	channel = u % taken
	if s.Channels != nil {
		channel = s.Channels[channel]
	}
	if len(s.Map) != 3 {
		return -1, -1, channel, channel
	}
	row, column = u/taken/s.Map[1], u/taken%s.Map[1]
	if s.Row != nil {
		row, column = *s.Row, *s.Column
	}
	return row, column, channel, (row*s.Map[1]+column)*channels + channel
}

// Column holds one value per presentation. Values is []string, []float64,
// []int64 or []bool of Layout.Rows elements, or, for NewZarrStore, a ColumnType.
type Column struct {
	Name string
	// Original is the column's name where it comes from, if that is another; netCDF and
	// Zarr keep it as the attribute original_name.
	Original string
	Values   any
}

// ColumnType stands for a column's values where they come later.
type ColumnType struct {
	// DataType is Text, Float64, Int64 or Bool.
	DataType DataType
	// Width is the most characters of a Text, at least 1.
	Width int
}

// Constant is a small array known beforehand. Values is a flat []string,
// []float32, []float64, []int32, []int64, []uint8 or []bool in C order.
type Constant struct {
	Name string
	// Shape is empty for a scalar.
	Shape []int
	// Dimensions names the dimensions of Shape. May be empty.
	Dimensions []string
	Values     any
}

// Attribute is a string about the whole output.
type Attribute struct {
	Name, Value string
}

// Index returns the index in Streamed of the array called name, or -1.
func (l *Layout) Index(name string) int {
	return slices.IndexFunc(l.Streamed, func(s Streamed) bool { return s.Name == name })
}

// Provenance is the JSON text that says how the features are made, "" if there is none.
func (l *Layout) Provenance() string {
	for _, a := range l.Attributes {
		if a.Name == "provenance" {
			return a.Value
		}
	}
	return ""
}

// masks returns the indices of the streamed arrays of one value per row, which formats
// with a file for each layer do not give a file like a layer's. They must be Bool.
func (l *Layout) masks() ([]int, error) {
	var masks []int
	for i := range l.Streamed {
		s := &l.Streamed[i]
		if len(s.RowShape) > 0 {
			continue
		}
		if s.DataType != Bool {
			return nil, fmt.Errorf("%w: %q: one value for each presentation is a mask here, so bool, not %v", ErrDataType,
				s.Name, s.DataType)
		}
		masks = append(masks, i)
	}
	return masks, nil
}

// rowElements is the number of elements of one row.
func (s *Streamed) rowElements() int {
	n := 1
	for _, d := range s.RowShape {
		n *= d
	}
	return n
}

// dimension names dimension i of the row shape.
func (s *Streamed) dimension(i int) string {
	if i < len(s.Dimensions) {
		return s.Dimensions[i]
	}
	return fmt.Sprintf("dim_%d", i+1)
}

// validate checks what every format relies on.
func (l *Layout) validate() error {
	if l.Rows < 1 {
		return fmt.Errorf("%w: %d presentations", ErrLayout, l.Rows)
	}
	if len(l.Streamed) == 0 {
		return fmt.Errorf("%w: no arrays", ErrLayout)
	}
	names := map[string]bool{}
	unique := func(name string) error {
		if err := checkName(name); err != nil {
			return err
		}
		if names[name] {
			return fmt.Errorf("%w: two arrays are called %q", ErrLayout, name)
		}
		names[name] = true
		return nil
	}
	for i := range l.Streamed {
		s := &l.Streamed[i]
		if err := unique(s.Name); err != nil {
			return err
		}
		if err := s.validate(l.Rows); err != nil {
			return err
		}
	}
	for _, c := range l.Columns {
		if err := unique(c.Name); err != nil {
			return err
		}
		n, d := valuesOf(c.Values)
		if later, ok := c.Values.(ColumnType); ok {
			n, d = l.Rows, later.DataType
			if d == Text && (later.Width < 1 || later.Width > math.MaxInt32/16) {
				return fmt.Errorf("%w: column %q of texts of %d characters", ErrLayout, c.Name, later.Width)
			}
		}
		if d == InvalidType || d == Float32 || d == Int32 || d == Uint8 {
			return fmt.Errorf("%w: column %q holds %T", ErrLayout, c.Name, c.Values)
		}
		if n != l.Rows {
			return fmt.Errorf("%w: column %q has %d values for %d presentations", ErrLayout, c.Name, n, l.Rows)
		}
	}
	for _, c := range l.Constants {
		if err := unique(c.Name); err != nil {
			return err
		}
		n, d := valuesOf(c.Values)
		if d == InvalidType {
			return fmt.Errorf("%w: array %q holds %T", ErrLayout, c.Name, c.Values)
		}
		if size, ok := byteSize(c.Shape, 1); !ok || size != int64(n) {
			return fmt.Errorf("%w: array %q has %d values for shape %v", ErrLayout, c.Name, n, c.Shape)
		}
		if len(c.Dimensions) > 0 && len(c.Dimensions) != len(c.Shape) {
			return fmt.Errorf("%w: array %q: %d dimension names for shape %v", ErrLayout, c.Name, len(c.Dimensions), c.Shape)
		}
	}
	for _, a := range l.Attributes {
		if err := unique(a.Name); err != nil {
			return err
		}
	}
	return nil
}

// validate checks one streamed array of so many rows.
func (s *Streamed) validate(rows int) error {
	switch s.DataType {
	case Float32, Float16, Float64, Int32, Int64, Uint8, Bool:
	default:
		return fmt.Errorf("%w: array %q: cannot stream rows as %v: %w", ErrLayout, s.Name, s.DataType, ErrDataType)
	}
	for _, d := range s.RowShape {
		if d < 1 {
			return fmt.Errorf("%w: array %q has row shape %v", ErrLayout, s.Name, s.RowShape)
		}
	}
	if size, ok := byteSize(append([]int{rows}, s.RowShape...), s.DataType.Size()); !ok || size > math.MaxInt64/1024 {
		return fmt.Errorf("%w: array %q: %d × %v is too large", ErrLayout, s.Name, rows, s.RowShape)
	}
	if len(s.Dimensions) > 0 && len(s.Dimensions) != len(s.RowShape) {
		return fmt.Errorf("%w: array %q: %d dimension names for row shape %v", ErrLayout, s.Name, len(s.Dimensions),
			s.RowShape)
	}
	if layer := s.Layer; layer != nil {
		if len(s.RowShape) == 0 || s.RowShape[0] != len(layer.Timesteps) {
			return fmt.Errorf("%w: layer %q: %d timesteps for row shape %v", ErrLayout, s.Name, len(layer.Timesteps), s.RowShape)
		}
		if layer.Driven != nil && len(layer.Driven) != len(layer.Timesteps) {
			return fmt.Errorf("%w: layer %q: driven has %d values for %d timesteps", ErrLayout, s.Name, len(layer.Driven),
				len(layer.Timesteps))
		}
		if sel := layer.Selection; sel != nil {
			if n := len(sel.Map); n != 1 && n != 3 || (sel.Row == nil) != (sel.Column == nil) || sel.Row != nil && n != 3 ||
				sel.Channels != nil && s.RowShape[len(s.RowShape)-1] != len(sel.Channels) {
				return fmt.Errorf("%w: layer %q: the selection %+v does not fit row shape %v", ErrLayout, s.Name, *sel, s.RowShape)
			}
		}
	}
	return nil
}

// checkName makes sure that a name can be an entry of a zip, a file name and a
// variable.
func checkName(name string) error {
	switch {
	case name == "" || len(name) > 200:
		return fmt.Errorf("%w: name of %d bytes; 1 to 200 are possible", ErrLayout, len(name))
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool {
		return r < ' ' || r == 0x7f || r == '\\'
	}):
		return fmt.Errorf("%w: name %q has control characters or a backslash", ErrLayout, name)
	case path.IsAbs(name) || path.Clean(name) != name || strings.HasPrefix(name, ".") || strings.Contains(name, "/."):
		return fmt.Errorf("%w: name %q is not a plain relative path", ErrLayout, name)
	}
	return nil
}

// valuesOf returns the length and stored type of a metadata array.
func valuesOf(values any) (int, DataType) {
	switch v := values.(type) {
	case []string:
		return len(v), Text
	case []float32:
		return len(v), Float32
	case []float64:
		return len(v), Float64
	case []int32:
		return len(v), Int32
	case []int64:
		return len(v), Int64
	case []uint8:
		return len(v), Uint8
	case []bool:
		return len(v), Bool
	}
	return 0, InvalidType
}

// metadata lists, for formats with named arrays, everything that is known
// beforehand: columns, per layer its timesteps, ms and driven, constants.
// Attributes are not included.
func (l *Layout) metadata() []Constant {
	var all []Constant
	for _, c := range l.Columns {
		all = append(all, Constant{Name: c.Name, Shape: []int{l.Rows}, Values: c.Values})
	}
	for i := range l.Streamed {
		s := &l.Streamed[i]
		if s.Layer == nil {
			continue
		}
		timesteps, ms := s.Layer.times()
		shape := []int{len(timesteps)}
		all = append(all,
			Constant{Name: s.Name + "/timesteps", Shape: shape, Values: timesteps},
			Constant{Name: s.Name + "/ms", Shape: shape, Values: ms})
		if s.Layer.Driven != nil {
			all = append(all, Constant{Name: s.Name + "/driven", Shape: shape, Values: s.Layer.Driven})
		}
		for _, c := range s.Layer.Selection.constants() {
			c.Name = s.Name + "/" + c.Name
			all = append(all, c)
		}
	}
	return append(all, l.Constants...)
}

// times returns the timesteps and the milliseconds at which they start.
func (l *Layer) times() (timesteps, ms []int32) {
	for _, t := range l.Timesteps {
		timesteps = append(timesteps, int32(t))
		ms = append(ms, int32(t*MillisecondsPerTimestep))
	}
	return timesteps, ms
}
