package recordings

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tfconvrnn/go/compare"
)

// Selection says what is taken of an assembly. The zero value takes all.
type Selection struct {
	// Regions and Subjects are those of the neuroids.
	Regions, Subjects []string
	// Reliability is a condition on the neuroids' reliability, such as ">0.4"; with the name of the
	// coordinate before it where there are several.
	Reliability string
	// Where are conditions on any coordinate, such as "decoder=svm" or "variation>=3"; all must hold.
	Where []string
	// From and To bound the time bins, in ms: those that lie within. Both nil: all.
	From, To *float64
	// AverageTime takes the mean over the time bins, weighted by their lengths.
	AverageTime bool
	// Stimulus names the coordinate of stimulus ids; "" means stimulus_id or image_id.
	Stimulus string
	// Ignore are coordinates of presentations that do not tell presentations of a stimulus apart.
	Ignore []string
}

// Dropped says what was left out.
type Dropped struct {
	// Axis is what the places are of, and Why they were left out.
	Axis, Why string
	// Names are those of the places.
	Names []string
}

func (d Dropped) String() string {
	const most = 5
	names := strings.Join(d.Names[:min(len(d.Names), most)], ", ")
	if len(d.Names) > most {
		names += ", …"
	}
	return fmt.Sprintf("%d × %s left out, %s: %s", len(d.Names), d.Axis, d.Why, names)
}

var condition = regexp.MustCompile(`^\s*([\pL_][\pL\pN_.-]*)?\s*(>=|<=|!=|==|=|>|<)\s*(.*?)\s*$`)

// keeper decides which places along an axis are kept.
func (a *Assembly) keeper(expression string, standard []string) (c *Coordinate, keep func(i int) bool, err error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w: %s", a.Name, ErrSelection, fmt.Sprintf(format, args...))
	}
	m := condition.FindStringSubmatch(expression)
	if m == nil {
		return nil, nil, bad("%q is no condition such as name>0.4 or name=value", expression)
	}
	name, operator, value := m[1], m[2], m[3]
	if name == "" {
		var found []string
		for _, c := range a.Coordinates {
			if slices.Contains(standard, c.Name) {
				found = append(found, c.Name)
			}
		}
		if len(found) != 1 {
			return nil, nil, bad("%q does not name a coordinate, and %d of %s are there", expression, len(found),
				strings.Join(standard, ", "))
		}
		name = found[0]
	}
	if c = a.Coordinate(name); c == nil {
		return nil, nil, bad("no coordinate %q; there are %s", name, strings.Join(a.coordinateNames(), ", "))
	}
	number, err := strconv.ParseFloat(value, 64)
	isNumber := err == nil
	switch operator {
	case "=", "==", "!=":
		want := operator != "!="
		if c.Kind == Integer || c.Kind == Float {
			if !isNumber {
				return nil, nil, bad("%q: %s holds numbers", expression, name)
			}
			return c, func(i int) bool { return (c.Numbers[i] == number) == want }, nil
		}
		if c.Kind == Boolean { // True, true, 1
			yes, err := strconv.ParseBool(value)
			if err != nil {
				return nil, nil, bad("%q: %s holds True and False", expression, name)
			}
			return c, func(i int) bool { return (c.Numbers[i] != 0 == yes) == want }, nil
		}
		return c, func(i int) bool { return (c.At(i) == value) == want }, nil
	}
	if c.Kind == Text || !isNumber {
		return nil, nil, bad("%q compares numbers, and %s holds %s", expression, name, c.Kind)
	}
	holds := map[string]func(v float64) bool{
		">": func(v float64) bool { return v > number }, ">=": func(v float64) bool { return v >= number },
		"<": func(v float64) bool { return v < number }, "<=": func(v float64) bool { return v <= number },
	}[operator]
	return c, func(i int) bool { return holds(c.Numbers[i]) }, nil
}

func (a *Assembly) coordinateNames() []string {
	var names []string
	for _, c := range a.Coordinates {
		names = append(names, c.Name)
	}
	return names
}

// chosen are the places along each axis that are kept.
type chosen struct {
	a       *Assembly
	keep    [][]int
	dropped []Dropped
}

func everything(a *Assembly) *chosen {
	c := &chosen{a: a}
	for _, n := range a.Shape {
		places := make([]int, n)
		for i := range places {
			places[i] = i
		}
		c.keep = append(c.keep, places)
	}
	return c
}

// names are those of places along an axis.
func (c *chosen) name(axis string, i int) string {
	standard := map[string][]string{
		Neuroid: {"neuroid_id", "neuroid"}, Presentation: stimulusIDs, Stimulus: stimulusIDs, TimeBin: {"time_bin_start"},
	}
	if found := c.a.Coordinate(standard[axis]...); found != nil && found.Axis == axis {
		return found.At(i)
	}
	return strconv.Itoa(i)
}

func (c *chosen) only(axis, why string, keep func(i int) bool) error {
	at := c.a.axis(axis)
	d := Dropped{Axis: axis, Why: why}
	var kept []int
	for _, i := range c.keep[at] {
		if keep(i) {
			kept = append(kept, i)
		} else {
			d.Names = append(d.Names, c.name(axis, i))
		}
	}
	if len(kept) == 0 {
		return fmt.Errorf("%s: %w: nothing of the axis %s is left: %s", c.a.Name, ErrSelection, axis, why)
	}
	if len(d.Names) > 0 {
		c.dropped = append(c.dropped, d)
	}
	c.keep[at] = kept
	return nil
}

var (
	stimulusIDs   = []string{"stimulus_id", "image_id"}
	subjectNames  = []string{"subject", "animal", "monkey", "subject_id"}
	reliabilities = []string{"reliability", "internal_consistency", "split_half_reliability", "consistency",
		"noise_ceiling", "ncsnr", "nc"}
)

// apply keeps what a selection names.
func (c *chosen) apply(s Selection) error {
	among := func(what string, names, values []string) error {
		if len(values) == 0 {
			return nil
		}
		coordinate := c.a.Coordinate(names...)
		if coordinate == nil {
			return fmt.Errorf("%s: %w: it does not tell the %s: no coordinate %s", c.a.Name, ErrSelection, what,
				strings.Join(names, ", "))
		}
		all := coordinate.Strings()
		for _, v := range values {
			if !slices.Contains(all, v) {
				slices.Sort(all)
				return fmt.Errorf("%s: %w: no %s %q; there are %s", c.a.Name, ErrSelection, what, v,
					strings.Join(slices.Compact(all), ", "))
			}
		}
		return c.only(coordinate.Axis, fmt.Sprintf("%s not %s", what, strings.Join(values, ", ")),
			func(i int) bool { return slices.Contains(values, coordinate.At(i)) })
	}
	if err := among("region", []string{"region", "area"}, s.Regions); err != nil {
		return err
	}
	if err := among("subject", subjectNames, s.Subjects); err != nil {
		return err
	}
	where := slices.Clone(s.Where)
	if s.Reliability != "" {
		where = append(where, s.Reliability)
	}
	for _, expression := range where {
		coordinate, keep, err := c.a.keeper(expression, reliabilities)
		if err != nil {
			return err
		}
		if err := c.only(coordinate.Axis, "not "+expression, keep); err != nil {
			return err
		}
	}
	return nil
}

// within keeps the time bins that lie in the window.
func (c *chosen) within(s Selection, bins []compare.Bin) error {
	if s.From == nil && s.To == nil {
		return nil
	}
	if bins == nil {
		return fmt.Errorf("%s: %w: it does not tell its time bins", c.a.Name, ErrSelection)
	}
	from, to := s.bounds()
	return c.only(TimeBin, fmt.Sprintf("not within %g-%g ms", from, to), func(i int) bool {
		return bins[i].Start >= from && bins[i].End <= to
	})
}

// timeBins are those of the file, nil if it has none or does not tell.
func (a *Assembly) timeBins() ([]compare.Bin, error) {
	starts, ends := a.Coordinate("time_bin_start"), a.Coordinate("time_bin_end", "time_bin_stop")
	if starts == nil || ends == nil {
		return nil, nil
	}
	if starts.Axis != TimeBin || ends.Axis != TimeBin || starts.Kind == Text || ends.Kind == Text {
		return nil, fmt.Errorf("%s: %w: time_bin_start and time_bin_end must be numbers along %s", a.Name, ErrLayout, TimeBin)
	}
	bins := make([]compare.Bin, starts.Len())
	for i := range bins {
		bins[i] = compare.Bin{Start: starts.Numbers[i], End: ends.Numbers[i]}
		if !(bins[i].Start < bins[i].End) {
			return nil, fmt.Errorf("%s: %w: a time bin from %g to %g ms", a.Name, ErrLayout, bins[i].Start, bins[i].End)
		}
	}
	return bins, nil
}

// byTuple orders rows as Brain-Score's averages are: by all coordinates, one after the other.
func byTuple(coordinates []*Coordinate) func(i, j int) int {
	return func(i, j int) int {
		for _, c := range coordinates {
			if order := c.compare(i, j); order != 0 {
				return order
			}
		}
		return cmp.Compare(0, 0)
	}
}
