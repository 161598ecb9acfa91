package recordings

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tfconvrnn/go/compare"
)

// The standard names of axes.
const (
	Presentation = "presentation"
	Stimulus     = "stimulus"
	Repetition   = "repetition"
	Neuroid      = "neuroid"
	TimeBin      = "time_bin"
)

// Assembly is an array with named axes and with coordinates along them, in a file. Its
// values are read in parts. It is safe for concurrent use. The caller closes it.
type Assembly struct {
	// Name is the file's.
	Name string
	// Axes are the names of the axes, of lengths Shape.
	Axes  []string
	Shape []int
	// Coordinates are in the order of the file's variables.
	Coordinates []Coordinate
	// Notes say what was assumed about the file.
	Notes []string

	values source
	span   compare.Bin // of all values, if there is no axis of time
}

// source is where the values of an assembly are.
type source interface {
	// read returns count elements from start in each dimension, in C order.
	read(start, count []int) ([]float64, error)
	close() error
}

// Close closes the file. It is idempotent.
func (a *Assembly) Close() error { return a.values.close() }

// Read returns a part of the values, in C order: count elements from start along each axis.
func (a *Assembly) Read(start, count []int) ([]float64, error) {
	if len(start) != len(a.Shape) || len(count) != len(a.Shape) {
		return nil, fmt.Errorf("%s: %w: a part of %d axes of %d", a.Name, ErrFormat, len(start), len(a.Shape))
	}
	for i := range start {
		if start[i] < 0 || count[i] < 0 || start[i] > a.Shape[i]-count[i] {
			return nil, fmt.Errorf("%s: %w: the part from %v of size %v is not within %v", a.Name, ErrFormat, start, count,
				a.Shape)
		}
	}
	return a.values.read(start, count)
}

// axis returns the position of an axis, -1 if there is none.
func (a *Assembly) axis(name string) int { return slices.Index(a.Axes, name) }

// Coordinate returns the first coordinate that has one of the names, or nil.
func (a *Assembly) Coordinate(names ...string) *Coordinate {
	for _, name := range names {
		for i := range a.Coordinates {
			if a.Coordinates[i].Name == name {
				return &a.Coordinates[i]
			}
		}
	}
	return nil
}

// Kind is the type of a coordinate's values.
type Kind string

// The kinds of coordinates.
const (
	Text    Kind = "text"
	Integer Kind = "integer"
	Boolean Kind = "boolean"
	Float   Kind = "float"
)

// Coordinate has a value for each place along an axis.
type Coordinate struct {
	Name, Axis string
	Kind       Kind
	// Texts are the values of Text, Numbers those of the other kinds.
	Texts   []string
	Numbers []float64
}

// Len is the number of values.
func (c *Coordinate) Len() int { return max(len(c.Texts), len(c.Numbers)) }

// At returns a value as text; booleans are True and False.
func (c *Coordinate) At(i int) string {
	switch c.Kind {
	case Text:
		return c.Texts[i]
	case Boolean:
		if c.Numbers[i] != 0 {
			return "True"
		}
		return "False"
	case Integer:
		return strconv.FormatFloat(c.Numbers[i], 'f', -1, 64) // 1000000, not 1e+06
	}
	return strconv.FormatFloat(c.Numbers[i], 'g', -1, 64)
}

// Strings returns all values as texts.
func (c *Coordinate) Strings() []string {
	if c.Kind == Text {
		return slices.Clone(c.Texts)
	}
	list := make([]string, c.Len())
	for i := range list {
		list[i] = c.At(i)
	}
	return list
}

// compare orders two places: numbers as numbers, strings by code point.
func (c *Coordinate) compare(i, j int) int {
	if c.Kind == Text {
		return strings.Compare(c.Texts[i], c.Texts[j]) // UTF-8 keeps the order of code points
	}
	return cmp.Compare(c.Numbers[i], c.Numbers[j])
}

func (c *Coordinate) hasNaN() bool { return slices.ContainsFunc(c.Numbers, math.IsNaN) }

// check makes sure that what is used later fits together.
func (a *Assembly) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w: %s", a.Name, ErrLayout, fmt.Sprintf(format, args...))
	}
	if len(a.Axes) != len(a.Shape) || len(a.Axes) == 0 {
		return bad("%d names of axes for the shape %v", len(a.Axes), a.Shape)
	}
	for i, axis := range a.Axes {
		if axis == "" || slices.Contains(a.Axes[:i], axis) {
			return bad("the axes are called %q", a.Axes)
		}
	}
	for i, c := range a.Coordinates {
		axis := a.axis(c.Axis)
		if axis < 0 {
			return bad("the coordinate %s is along %q, and the axes are %q", c.Name, c.Axis, a.Axes)
		}
		if c.Len() != a.Shape[axis] {
			return bad("the coordinate %s has %d values, and the axis %s has %d places", c.Name, c.Len(), c.Axis, a.Shape[axis])
		}
		for _, other := range a.Coordinates[:i] {
			if other.Name == c.Name {
				return bad("two coordinates are called %s", c.Name)
			}
		}
	}
	return nil
}

// inMemory is a source of values that are there, in C order.
type inMemory struct {
	shape  []int
	values []float64
}

func (m *inMemory) close() error { return nil }

func (m *inMemory) read(start, count []int) ([]float64, error) {
	n := 1
	for _, c := range count {
		n *= c
	}
	out := make([]float64, 0, n)
	if n == 0 {
		return out, nil
	}
	at := make([]int, len(count))
	last := len(count) - 1
	for {
		offset := 0
		for i := range count {
			offset = offset*m.shape[i] + start[i] + at[i]
		}
		out = append(out, m.values[offset:offset+count[last]]...)
		i := last - 1
		for ; i >= 0; i-- {
			if at[i]++; at[i] < count[i] {
				break
			}
			at[i] = 0
		}
		if i < 0 {
			return out, nil
		}
	}
}
