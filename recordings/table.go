package recordings

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// valueColumns are the usual names of the column of responses in a long table.
var valueColumns = []string{"rate", "response", "value", "data"}

// openTable opens a long table: a row for each response, of a stimulus, perhaps a repetition, a
// neuroid, perhaps a time bin.
func openTable(name string, layout Layout) (*Assembly, error) {
	t, err := readTable(name)
	if err != nil {
		return nil, err
	}
	return tableAssembly(t, layout)
}

// longTable sorts out the columns of a table.
type longTable struct {
	*table
	values                         []string
	renamed                        map[string]string // coordinate by column
	axes                           map[string]string // of columns
	presentations, neuroids, times keys
	atPresentation, atNeuroid, at  []int // of each row
}

// keys numbers the different combinations of some columns' values.
type keys struct {
	columns []string
	place   map[string]int
	first   []int // the row where each was met first
}

func tableAssembly(t *table, layout Layout) (*Assembly, error) {
	if len(layout.Axes) > 0 || layout.BinWidth > 0 {
		return nil, fmt.Errorf("%s: %w: a long table has its axes in columns", t.name, ErrLayout)
	}
	l := &longTable{table: t, renamed: map[string]string{}, axes: map[string]string{}}
	if err := l.sortColumns(layout); err != nil {
		return nil, err
	}
	l.presentations, l.atPresentation = l.number(Presentation)
	l.neuroids, l.atNeuroid = l.number(Neuroid)
	l.times, l.at = l.number(TimeBin)
	return l.assembly()
}

// sortColumns says along which axis each column is: the standard names' is known; of others, what is
// the same for all rows of a neuroid, but not of a stimulus, is the neuroids'.
func (l *longTable) sortColumns(layout Layout) (err error) {
	value := layout.Array
	if value == "" {
		var there []string
		for _, c := range valueColumns {
			if slices.Contains(l.header, c) {
				there = append(there, c)
			}
		}
		if len(there) != 1 {
			return fmt.Errorf("%s: %w: which column holds the responses? There are %s", l.name, ErrLayout,
				strings.Join(l.header, ", "))
		}
		value = there[0]
	}
	if l.values, err = l.column(value); err != nil {
		return err
	}
	for _, c := range layout.Coordinates {
		if _, err := l.column(c.From); err != nil {
			return err
		}
		if c.Axis != Presentation && c.Axis != Neuroid && c.Axis != TimeBin {
			return fmt.Errorf("%s: %w: columns of a long table are along %s, %s or %s, not %s", l.name, ErrLayout, Presentation,
				Neuroid, TimeBin, c.Axis)
		}
		l.renamed[c.From], l.axes[c.From] = c.Name, c.Axis
	}
	known := map[string]string{"neuroid_id": Neuroid, "region": Neuroid, "time_bin_start": TimeBin,
		"time_bin_end": TimeBin, "time_bin_stop": TimeBin, "repetition": Presentation, "repetition_id": Presentation}
	for _, name := range subjectNames {
		known[name] = Neuroid
	}
	for _, name := range stimulusIDs {
		known[name] = Presentation
	}
	var neuroid, stimulus string
	for _, column := range l.header {
		if column != value && l.axes[column] == "" && known[column] != "" {
			l.renamed[column], l.axes[column] = column, known[column]
		}
		switch {
		case l.renamed[column] == "neuroid_id":
			neuroid = column
		case slices.Contains(stimulusIDs, l.renamed[column]):
			stimulus = column
		}
	}
	if stimulus == "" {
		return fmt.Errorf("%s: %w: no column stimulus_id; there are %s", l.name, ErrLayout, strings.Join(l.header, ", "))
	}
	for _, column := range l.header {
		if column == value || l.axes[column] != "" {
			continue
		}
		l.renamed[column], l.axes[column] = column, Presentation
		if neuroid != "" && l.constant(column, neuroid) && !l.constant(column, stimulus) {
			l.axes[column] = Neuroid
		}
	}
	return nil
}

// constant tells whether all rows with the same value of one column have the same of another.
func (l *longTable) constant(column, within string) bool {
	values, _ := l.column(column) // they are there
	groups, _ := l.column(within)
	seen := map[string]string{}
	for i, group := range groups {
		if before, ok := seen[group]; ok && before != values[i] {
			return false
		}
		seen[group] = values[i]
	}
	return true
}

// number numbers the places along an axis.
func (l *longTable) number(axis string) (keys, []int) {
	k := keys{place: map[string]int{}}
	var columns []int
	for i, column := range l.header {
		if l.axes[column] == axis {
			k.columns, columns = append(k.columns, column), append(columns, i)
		}
	}
	at := make([]int, len(l.rows))
	for i, row := range l.rows {
		var key strings.Builder
		for _, c := range columns {
			key.WriteString(strconv.Itoa(len(row[c])) + ":" + row[c])
		}
		place, ok := k.place[key.String()]
		if !ok {
			place = len(k.first)
			k.place[key.String()] = place
			k.first = append(k.first, i)
		}
		at[i] = place
	}
	return k, at
}

func (l *longTable) assembly() (*Assembly, error) {
	shape := []int{len(l.presentations.first), len(l.neuroids.first), len(l.times.first)}
	const most = mostTable / 8
	if shape[0] > most/shape[1] || shape[0]*shape[1] > most/shape[2] {
		return nil, fmt.Errorf("%s: %w: %d × %d × %d values of a table are more than are read", l.name, ErrFormat, shape[0],
			shape[1], shape[2])
	}
	values := slices.Repeat([]float64{math.NaN()}, shape[0]*shape[1]*shape[2])
	filled := make([]bool, len(values))
	for i, text := range l.values {
		place := (l.atPresentation[i]*shape[1]+l.atNeuroid[i])*shape[2] + l.at[i]
		if filled[place] {
			return nil, fmt.Errorf("%s: row %d: %w of the same stimulus, repetition, neuroid and time", l.name, i+2,
				ErrDuplicate)
		}
		filled[place] = true
		if text == "" || strings.EqualFold(text, "nan") || text == "NA" {
			continue
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: row %d: %w: %q is no number", l.name, i+2, ErrFormat, text)
		}
		values[place] = v
	}
	a := &Assembly{Name: l.name, Axes: []string{Presentation, Neuroid, TimeBin}, Shape: shape,
		values: &inMemory{shape, values}}
	for _, k := range []keys{l.presentations, l.neuroids, l.times} {
		for _, column := range k.columns {
			all, err := l.column(column)
			if err != nil {
				return nil, err
			}
			a.Coordinates = append(a.Coordinates, *textCoordinate(l.renamed[column], l.axes[column], pickTexts(all, k.first)))
		}
	}
	return a, a.check()
}

func pickTexts(values []string, places []int) []string {
	list := make([]string, len(places))
	for i, at := range places {
		list[i] = values[at]
	}
	return list
}
