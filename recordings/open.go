package recordings

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/hdf5"
)

// Layout says what is what in a file that does not say so itself.
type Layout struct {
	// Array is the variable, the dataset's path or the array's name; "" for netCDF's data, and
	// where there is only one. Of a long table it is the column of values.
	Array string
	// Axes are the names of its axes, in the order in which the format's own tools show
	// them: MATLAB's for MATLAB files. Besides the standard ones, any may be there.
	Axes []string
	// Coordinates are those along the axes.
	Coordinates []CoordinateFrom
	// FirstBin and BinWidth, in ms, are the time bins of an axis time_bin without coordinates, or the time of
	// the responses where there is no such axis.
	FirstBin, BinWidth float64
}

// CoordinateFrom says where the values of a coordinate along an axis are.
type CoordinateFrom struct {
	Name, Axis string
	// From is an array of the same file; or a file: a .npy, a text with a value in each line, or
	// FILE.csv:COLUMN. It is not used if there are Values.
	From   string
	Values []string
}

// ParseCoordinate reads NAME@AXIS=FROM. The error wraps ErrLayout.
func ParseCoordinate(text string) (CoordinateFrom, error) {
	left, from, ok := strings.Cut(text, "=")
	name, axis, both := strings.Cut(left, "@")
	if !ok || !both || name == "" || axis == "" || from == "" {
		return CoordinateFrom{}, fmt.Errorf("%w: %q is not NAME@AXIS=ARRAY or NAME@AXIS=FILE", ErrLayout, text)
	}
	return CoordinateFrom{Name: name, Axis: axis, From: from}, nil
}

// Open opens a file by what its first bytes say: netCDF-4 as BrainIO writes; HDF5, also
// MATLAB's and NWB, with a Layout; .npy and .npz with a Layout; MATLAB level 5 with a Layout; long
// CSV and TSV tables. Errors wrap ErrFormat, ErrLayout, ErrNoLibrary, or are of the file system.
func Open(name string, layout Layout) (*Assembly, error) {
	a, err := open(name, layout)
	if err == nil && layout.BinWidth > 0 && a.axis(TimeBin) < 0 {
		a.span = compare.Bin{Start: layout.FirstBin, End: layout.FirstBin + layout.BinWidth}
	}
	return a, err
}

func open(name string, layout Layout) (*Assembly, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	isHDF5, head := hdf5.Is(file), make([]byte, 128)
	n, _ := io.ReadFull(file, head)
	head = head[:n]
	file.Close()
	if isHDF5 {
		return openHDF5s(name, layout)
	}
	switch extension := strings.ToLower(filepath.Ext(name)); {
	case strings.HasPrefix(string(head), "\x93NUMPY") || strings.HasPrefix(string(head), "PK\x03\x04"):
		return openArrays(name, layout, openNumPy)
	case isMAT5(head):
		return openArrays(name, layout, openMAT)
	case extension == ".csv" || extension == ".tsv" || extension == ".txt":
		return openTable(name, layout)
	case strings.HasPrefix(string(head), "CDF"):
		return nil, fmt.Errorf("%s: %w: netCDF of the classic format; of recordings only netCDF-4 is read", name, ErrFormat)
	default:
		return nil, fmt.Errorf("%s: %w: it is none of netCDF-4, HDF5, MATLAB, .npy, .npz, .csv and .tsv", name, ErrFormat)
	}
}

// openHDF5s opens netCDF-4, NWB as DiCarlo's lab writes it, and, with a layout, any other HDF5.
func openHDF5s(name string, layout Layout) (*Assembly, error) {
	layout, notes, err := nwbLayout(name, layout)
	if err != nil {
		return nil, err
	}
	if len(layout.Axes) == 0 {
		return openNetCDF(name, layout)
	}
	a, err := openArrays(name, layout, openHDF5)
	if err == nil {
		a.Notes = append(a.Notes, notes...)
	}
	return a, err
}

// arrays is a file of named arrays.
type arrays interface {
	// open returns the values of an array and its shape, in the order of the format's own tools.
	open(array string) (source, []int, error)
	// has tells whether there is such an array.
	has(array string) bool
	// coordinate reads an array of one dimension that counts.
	coordinate(array, name, axis string) (*Coordinate, error)
	// close is for what open did not take over.
	close() error
}

// openArrays opens a file whose layout is given.
func openArrays(name string, layout Layout, open func(string) (arrays, error)) (_ *Assembly, err error) {
	if len(layout.Axes) == 0 {
		return nil, fmt.Errorf("%s: %w: name the axes of the array, such as stimulus,repetition,neuroid,time_bin", name,
			ErrLayout)
	}
	file, err := open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.close())
		}
	}()
	values, shape, err := file.open(layout.Array)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	a := &Assembly{Name: name, Axes: slices.Clone(layout.Axes), Shape: shape, values: values}
	if len(a.Axes) != len(a.Shape) {
		return nil, fmt.Errorf("%s: %w: %d axes are named, and the array's shape is %v", name, ErrLayout, len(a.Axes),
			a.Shape)
	}
	if err := a.addCoordinates(layout, file); err != nil {
		return nil, err
	}
	return a, a.check()
}

// addCoordinates reads the coordinates that a layout names.
func (a *Assembly) addCoordinates(layout Layout, file arrays) error {
	for _, from := range layout.Coordinates {
		var c *Coordinate
		var err error
		switch {
		case from.Values != nil:
			c = textCoordinate(from.Name, from.Axis, from.Values)
		case file != nil && file.has(from.From):
			c, err = file.coordinate(from.From, from.Name, from.Axis)
		default:
			c, err = coordinateFile(from)
		}
		if err != nil {
			return fmt.Errorf("%s: coordinate %s: %w", a.Name, from.Name, err)
		}
		a.Coordinates = append(a.Coordinates, *c)
	}
	if at := a.axis(TimeBin); layout.BinWidth > 0 && at >= 0 {
		if a.Coordinate("time_bin_start") != nil {
			return fmt.Errorf("%s: %w: it tells its time bins itself", a.Name, ErrLayout)
		}
		starts, ends := Coordinate{Name: "time_bin_start", Axis: TimeBin, Kind: Float},
			Coordinate{Name: "time_bin_end", Axis: TimeBin, Kind: Float}
		for i := range a.Shape[at] {
			b := compare.Bin{Start: layout.FirstBin + float64(i)*layout.BinWidth,
				End: layout.FirstBin + float64(i+1)*layout.BinWidth}
			starts.Numbers, ends.Numbers = append(starts.Numbers, b.Start), append(ends.Numbers, b.End)
		}
		a.Coordinates = append(a.Coordinates, starts, ends)
	}
	return nil
}

// textCoordinate makes a coordinate of texts: numbers if all of them are.
func textCoordinate(name, axis string, texts []string) *Coordinate {
	c := &Coordinate{Name: name, Axis: axis, Kind: Integer}
	for _, text := range texts {
		v, err := strconv.ParseFloat(text, 64)
		// A text that would print otherwise, such as 007, is a name.
		if err != nil || strconv.FormatFloat(v, 'g', -1, 64) != text && strconv.FormatFloat(v, 'f', -1, 64) != text &&
			!decimal(text) {
			return &Coordinate{Name: name, Axis: axis, Kind: Text, Texts: slices.Clone(texts)}
		}
		if v != float64(int64(v)) || strings.ContainsAny(text, ".eEnN") {
			c.Kind = Float
		}
		c.Numbers = append(c.Numbers, v)
	}
	return c
}

// decimal tells whether a text is a number with a decimal point.
func decimal(text string) bool {
	return strings.Contains(text, ".") && !strings.HasPrefix(strings.TrimLeft(text, "+-"), "00")
}

// coordinateFile reads a coordinate from a file of its own.
func coordinateFile(from CoordinateFrom) (*Coordinate, error) {
	name, column := from.From, ""
	if at := strings.LastIndexByte(name, ':'); at > 0 && !exists(name) {
		name, column = name[:at], name[at+1:]
	}
	if !exists(name) {
		return nil, fmt.Errorf("%w: %q is neither an array of the file nor a file", ErrLayout, from.From)
	}
	if strings.EqualFold(filepath.Ext(name), ".npy") {
		file, err := openNumPy(name)
		if err != nil {
			return nil, err
		}
		defer file.close()
		return file.coordinate("", from.Name, from.Axis)
	}
	if column != "" {
		t, err := readTable(name)
		if err != nil {
			return nil, err
		}
		values, err := t.column(column)
		if err != nil {
			return nil, err
		}
		return textCoordinate(from.Name, from.Axis, values), nil
	}
	text, err := readBounded(name, mostTable)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimRight(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n"), "\n")
	return textCoordinate(from.Name, from.Axis, lines), nil
}

func exists(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// numPy is an open .npy or .npz.
type numPy struct{ file *features.File }

func openNumPy(name string) (arrays, error) {
	file, err := features.OpenArrays(name)
	if err != nil {
		return nil, numPyError(err)
	}
	return &numPy{file}, nil
}

func numPyError(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrFormat, err)
}

func (n *numPy) close() error          { return n.file.Close() }
func (n *numPy) has(array string) bool { return slices.Contains(n.file.Names(), array) }

func (n *numPy) open(array string) (source, []int, error) {
	a, err := n.file.Array(array)
	if err != nil {
		return nil, nil, numPyError(err)
	}
	return &numPyRows{n.file, a}, a.Info().Shape, nil
}

func (n *numPy) coordinate(array, name, axis string) (*Coordinate, error) {
	a, err := n.file.Array(array)
	if err != nil {
		return nil, numPyError(err)
	}
	info := a.Info()
	if len(info.Shape) != 1 {
		return nil, fmt.Errorf("%w: %s has the shape %v", ErrLayout, array, info.Shape)
	}
	c := &Coordinate{Name: name, Axis: axis, Kind: Integer}
	switch info.DataType {
	case features.Text, features.Bytes:
		c.Kind = Text
		c.Texts, err = a.Strings(0, info.Shape[0])
	case features.Float16, features.Float32, features.Float64:
		c.Kind = Float
		c.Numbers, err = a.Float64s(0, info.Shape[0])
	default:
		if info.DataType == features.Bool {
			c.Kind = Boolean
		}
		c.Numbers, err = floats(a.Int64s(0, info.Shape[0]))
	}
	if err != nil {
		return nil, numPyError(err)
	}
	return c, nil
}

// numPyRows reads rows of the first axis, and parts of them.
type numPyRows struct {
	file  *features.File
	array *features.Array
}

func (n *numPyRows) close() error { return n.file.Close() }

func (n *numPyRows) read(start, count []int) ([]float64, error) {
	info := n.array.Info()
	rowSize := info.Elements() / max(info.Shape[0], 1)
	var out []float64
	for done := 0; done < count[0]; {
		rows := min(max(mostPart/max(rowSize, 1), 1), count[0]-done)
		values, err := n.floats(start[0]+done, rows)
		if err != nil {
			return nil, numPyError(err)
		}
		shape := slices.Clone(info.Shape)
		shape[0] = rows
		from, size := slices.Clone(start), slices.Clone(count)
		from[0], size[0] = 0, rows
		part, err := (&inMemory{shape, values}).read(from, size)
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
		done += rows
	}
	return out, nil
}

func (n *numPyRows) floats(first, count int) ([]float64, error) {
	switch n.array.Info().DataType {
	case features.Float16, features.Float32, features.Float64:
		return n.array.Float64s(first, count)
	}
	return floats(n.array.Int64s(first, count))
}

const mostTable = 1 << 30 // bytes

func readBounded(name string, most int64) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s: %w: %d bytes are more than the %d that are read", name, ErrFormat, info.Size(), most)
	}
	return os.ReadFile(name)
}

// table is a CSV or TSV file with a header.
type table struct {
	name   string
	header []string
	rows   [][]string
}

func readTable(name string) (*table, error) {
	text, err := readBounded(name, mostTable)
	if err != nil {
		return nil, err
	}
	separator := ','
	if strings.EqualFold(filepath.Ext(name), ".tsv") {
		separator = '\t'
	}
	return parseTable(name, string(text), separator)
}

func parseTable(name, text string, separator rune) (*table, error) {
	reader := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "\ufeff")))
	reader.Comma = separator
	rows, err := reader.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrFormat, err)
	}
	if len(rows) < 2 {
		return nil, fmt.Errorf("%s: %w: a table needs a header and rows", name, ErrFormat)
	}
	if twice := duplicate(rows[0]); twice != "" {
		return nil, fmt.Errorf("%s: %w: two columns are called %q", name, ErrFormat, twice)
	}
	return &table{name, rows[0], rows[1:]}, nil
}

func (t *table) column(name string) ([]string, error) {
	at := slices.Index(t.header, name)
	if at < 0 {
		return nil, fmt.Errorf("%s: %w: no column %q; there are %s", t.name, ErrLayout, name, strings.Join(t.header, ", "))
	}
	values := make([]string, len(t.rows))
	for i, row := range t.rows {
		values[i] = row[at]
	}
	return values, nil
}
