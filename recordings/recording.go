package recordings

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tfconvrnn/go/compare"
)

// Recording is a selection of an assembly with its rows sorted out: which stimulus and
// which repetition each is of. Stimuli are in the order in which Brain-Score has averaged
// presentations, on which its splits depend. It is safe for concurrent use.
type Recording struct {
	// Dropped says what was left out, Notes what was assumed.
	Dropped []Dropped
	Notes   []string

	a           *Assembly
	stimuli     []string
	labels      map[string][]string // of the stimuli
	numbered    map[string]bool     // whether these are numbers; "" is that of the ids
	neuroids    []string
	along       map[string][]string // coordinates of the neuroids
	described   []*Coordinate       // the same, in the order of the file
	repetitions []string
	bins        []compare.Bin
	average     bool // over time

	rows      []row
	neuroidAt []int // places in the file
	binAt     []int
	others    []int // the place along each other axis; those of rows, neuroids and bins are not used

	cache sync.Mutex
	means block[compare.Targets]
	each  block[compare.Trials]
}

// row is one presentation: of a stimulus, for the time of a repetition.
type row struct {
	at                   [2]int // places along the axes of rows
	stimulus, repetition int
}

// block is what was read last: some time bins at once.
type block[T any] struct {
	first  int
	values []T
}

// Stimuli are the stimuli's ids. Not the caller's to change, as with all these.
func (r *Recording) Stimuli() []string { return r.stimuli }

// Neuroids are the neuroids' ids, in the order of the file.
func (r *Recording) Neuroids() []string { return r.neuroids }

// Bins are the time bins, in the order of their starts; a recording without time has none, and is read as bin 0.
func (r *Recording) Bins() []compare.Bin { return r.bins }

// Repetitions are the repetitions, sorted.
func (r *Recording) Repetitions() []string { return r.repetitions }

// Labels are the values of a coordinate of the stimuli, nil if there is none.
func (r *Recording) Labels(name string) []string { return r.labels[name] }

// Numbered tells whether Labels of that name are numbers; "" are the ids of the stimuli.
func (r *Recording) Numbered(name string) bool { return r.numbered[name] }

// LabelNames are the coordinates of the stimuli.
func (r *Recording) LabelNames() []string {
	var names []string
	for name := range r.labels {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// NeuroidLabels are the values of a coordinate of the neuroids, nil if there is none. Of subjects,
// any of the names in use finds the one that is there.
func (r *Recording) NeuroidLabels(name string) []string {
	if found := r.along[name]; found != nil || !slices.Contains(subjectNames, name) {
		return found
	}
	for _, other := range subjectNames {
		if found := r.along[other]; found != nil {
			return found
		}
	}
	return nil
}

// NeuroidCoordinates are all coordinates of some neuroids, by their ids; none if some are not of the recording, such
// as features that were predicted.
func (r *Recording) NeuroidCoordinates(ids []string) []compare.ResultCoordinate {
	place := map[string]int{}
	for i, id := range r.neuroids {
		place[id] = r.neuroidAt[i]
	}
	var list []compare.ResultCoordinate
	if slices.ContainsFunc(ids, func(id string) bool { _, known := place[id]; return !known }) {
		return nil
	}
	for _, c := range r.described {
		values := compare.ResultCoordinate{Name: c.Name}
		for _, id := range ids {
			if c.Kind == Text || c.Kind == Boolean {
				values.Texts = append(values.Texts, c.At(place[id]))
			} else {
				values.Numbers = append(values.Numbers, compare.Number(c.Numbers[place[id]]))
			}
		}
		list = append(list, values)
	}
	return list
}

func (r *Recording) bad(kind error, format string, args ...any) error {
	return fmt.Errorf("%s: %w: %s", r.a.Name, kind, fmt.Sprintf(format, args...))
}

// Select takes from an assembly what a selection names, and sorts out its rows. The
// assembly stays open as long as the recording is used.
func Select(a *Assembly, s Selection) (*Recording, error) {
	r := &Recording{a: a, average: s.AverageTime, Notes: slices.Clone(a.Notes), labels: map[string][]string{},
		numbered: map[string]bool{},
		along:    map[string][]string{}}
	c := everything(a)
	if _, err := a.rowAxes(); err != nil {
		return nil, err
	}
	if err := c.apply(s); err != nil {
		return nil, err
	}
	if err := r.selectTime(c, s); err != nil {
		return nil, err
	}
	r.others = make([]int, len(a.Axes))
	for i, axis := range a.Axes {
		switch axis {
		case Presentation, Stimulus, Repetition, Neuroid, TimeBin:
		default:
			if len(c.keep[i]) != 1 {
				return nil, r.bad(ErrSelection,
					"the axis %s has %d places, and one must be chosen by a condition on its coordinates", axis, len(c.keep[i]))
			}
			r.others[i] = c.keep[i][0]
		}
	}
	r.neuroidAt, r.neuroids = []int{0}, []string{"0"}
	if at := a.axis(Neuroid); at >= 0 {
		r.neuroidAt, r.neuroids = c.keep[at], nil
		for _, i := range c.keep[at] {
			r.neuroids = append(r.neuroids, c.name(Neuroid, i))
		}
		if a.Coordinate("neuroid_id", "neuroid") == nil {
			r.Notes = append(r.Notes, "neuroids have no ids, and are numbered")
		}
		if twice := duplicate(r.neuroids); twice != "" {
			return nil, r.bad(ErrDuplicate, "several neuroids are called %s; select a region or subject", twice)
		}
		for i := range a.Coordinates {
			if c := &a.Coordinates[i]; c.Axis == Neuroid {
				r.along[c.Name] = picked(c, r.neuroidAt)
				r.described = append(r.described, c)
			}
		}
	}
	if err := r.sortRows(c, s); err != nil {
		return nil, err
	}
	r.Dropped = c.dropped
	return r, nil
}

// EachRegion selects the neuroids of each region by itself, of those that s has, sorted. Neuroids without regions are
// one, called "". It stops at the first error.
func EachRegion(a *Assembly, s Selection, do func(region string, r *Recording) error) error {
	all, err := Select(a, s)
	if err != nil {
		return err
	}
	regions := slices.Compact(slices.Sorted(slices.Values(all.NeuroidLabels("region"))))
	if len(regions) == 0 {
		return do("", all)
	}
	for _, region := range regions {
		s.Regions = []string{region}
		r, err := Select(a, s)
		if err != nil {
			return err
		}
		if err := do(region, r); err != nil {
			return fmt.Errorf("region %s: %w", region, err)
		}
	}
	return nil
}

func picked(c *Coordinate, places []int) []string {
	list := make([]string, len(places))
	for i, at := range places {
		list[i] = c.At(at)
	}
	return list
}

// duplicate returns a value that occurs twice, or "".
func duplicate(values []string) string {
	seen := map[string]bool{}
	for _, v := range values {
		if seen[v] {
			return v
		}
		seen[v] = true
	}
	return ""
}

func (r *Recording) selectTime(c *chosen, s Selection) error {
	r.binAt = []int{0}
	at := r.a.axis(TimeBin)
	if at < 0 {
		if s.From != nil || s.To != nil || s.AverageTime {
			return r.bad(ErrSelection, "it has no axis %s to take times of", TimeBin)
		}
		if r.a.span != (compare.Bin{}) {
			r.bins = []compare.Bin{r.a.span}
		}
		return nil
	}
	bins, err := r.a.timeBins()
	if err != nil {
		return err
	}
	if err := c.within(s, bins); err != nil {
		return err
	}
	r.binAt = c.keep[at]
	if bins == nil {
		if len(r.binAt) > 1 {
			return r.bad(ErrLayout, "%d time bins without time_bin_start and time_bin_end", len(r.binAt))
		}
		return nil
	}
	// In the order of time, which the rows of a table need not have.
	r.binAt = slices.SortedStableFunc(slices.Values(r.binAt), func(i, j int) int {
		return cmp.Or(cmp.Compare(bins[i].Start, bins[j].Start), cmp.Compare(bins[i].End, bins[j].End))
	})
	for _, i := range r.binAt {
		r.bins = append(r.bins, bins[i])
	}
	if r.average && len(r.bins) > 1 {
		whole := r.bins[0]
		for _, b := range r.bins {
			if b.Start > whole.End {
				r.Notes = append(r.Notes,
					fmt.Sprintf("the mean over time has nothing of %g-%g ms: there are no such bins", whole.End, b.Start))
			}
			whole.End = max(whole.End, b.End) // bins may be within others
		}
		r.bins = []compare.Bin{whole}
	}
	return nil
}

// rowAxes are the positions of the axes of rows: presentations, or stimuli and perhaps repetitions.
func (a *Assembly) rowAxes() ([]int, error) {
	presentation, stimulus, repetition := a.axis(Presentation), a.axis(Stimulus), a.axis(Repetition)
	switch {
	case presentation >= 0 && stimulus < 0 && repetition < 0:
		return []int{presentation}, nil
	case presentation < 0 && stimulus >= 0 && repetition < 0:
		return []int{stimulus}, nil
	case presentation < 0 && stimulus >= 0:
		return []int{stimulus, repetition}, nil
	}
	return nil, fmt.Errorf("%s: %w: the axes %q; there must be %s, or %s and perhaps %s", a.Name, ErrLayout, a.Axes,
		Presentation, Stimulus, Repetition)
}

// sortRows groups the rows by stimulus and repetition.
func (r *Recording) sortRows(c *chosen, s Selection) error {
	axes, err := r.a.rowAxes()
	if err != nil {
		return err
	}
	names := stimulusIDs
	if s.Stimulus != "" {
		names = []string{s.Stimulus}
	}
	main := r.a.Axes[axes[0]]
	ids := r.a.Coordinate(names...)
	if ids == nil || ids.Axis != main {
		return r.bad(ErrLayout, "no coordinate %s along %s, by which stimuli are known", strings.Join(names, " or "), main)
	}
	var repetition *Coordinate
	var grouping []*Coordinate
	for i := range r.a.Coordinates {
		coordinate := &r.a.Coordinates[i]
		switch {
		case slices.Contains(s.Ignore, coordinate.Name):
		case (coordinate.Name == "repetition" || coordinate.Name == "repetition_id") &&
			(coordinate.Axis == main || coordinate.Axis == Repetition):
			repetition = coordinate
		case coordinate.Axis != main:
		case coordinate.hasNaN():
			r.Notes = append(r.Notes, fmt.Sprintf("the coordinate %s has NaN, and does not tell presentations apart",
				coordinate.Name))
		default:
			grouping = append(grouping, coordinate)
		}
	}
	groups, of, err := r.groups(c.keep[axes[0]], grouping, ids)
	if err != nil {
		return err
	}
	for _, coordinate := range grouping {
		r.labels[coordinate.Name] = picked(coordinate, groups)
		r.numbered[coordinate.Name] = coordinate.Kind == Integer || coordinate.Kind == Float
	}
	r.stimuli, r.numbered[""] = picked(ids, groups), ids.Kind == Integer || ids.Kind == Float
	return r.number(c, axes, of, repetition)
}

// groups returns the first row of each group of rows that have the same coordinates, sorted,
// and the group of each row.
func (r *Recording) groups(rows []int, grouping []*Coordinate, ids *Coordinate) (groups []int, of map[int]int,
	err error) {
	sorted := slices.Clone(rows)
	order := byTuple(grouping)
	slices.SortStableFunc(sorted, order)
	of = map[int]int{}
	for i, at := range sorted {
		if i == 0 || order(sorted[i-1], at) != 0 {
			groups = append(groups, at)
		}
		of[at] = len(groups) - 1
	}
	seen := map[string]int{}
	for _, at := range groups {
		id := ids.At(at)
		if other, twice := seen[id]; twice {
			var differ []string
			for _, c := range grouping {
				if c.compare(other, at) != 0 {
					differ = append(differ, c.Name)
				}
			}
			return nil, nil, r.bad(ErrDuplicate,
				"presentations of stimulus %s differ in %s; choose some of them, or ignore the coordinate", id,
				strings.Join(differ, ", "))
		}
		seen[id] = at
	}
	return groups, of, nil
}

// number says which stimulus and repetition each row is of.
func (r *Recording) number(c *chosen, axes []int, of map[int]int, repetition *Coordinate) error {
	second := []int{0}
	if len(axes) == 2 {
		second = c.keep[axes[1]]
	}
	if repetition == nil && len(axes) == 1 && len(of) > len(r.stimuli) {
		r.Notes = append(r.Notes,
			"the presentations of each stimulus are numbered in the order of the file: there is no coordinate repetition")
	}
	numbers := map[int]int{} // of presentations of each stimulus so far
	var list []int           // places along the repetition coordinate, or numbers
	for _, i := range c.keep[axes[0]] {
		for _, k := range second {
			stimulus := of[i]
			at := numbers[stimulus]
			numbers[stimulus]++
			switch {
			case repetition != nil && repetition.Axis == Repetition:
				at = k
			case repetition != nil:
				at = i
			}
			r.rows = append(r.rows, row{at: [2]int{i, k}, stimulus: stimulus})
			list = append(list, at)
		}
	}
	order := func(i, j int) int { return i - j }
	name := func(i int) string { return fmt.Sprint(i) }
	if repetition != nil {
		if repetition.hasNaN() {
			return r.bad(ErrLayout, "the coordinate %s has NaN", repetition.Name)
		}
		order, name = repetition.compare, repetition.At
	}
	distinct := slices.Clone(list)
	slices.SortStableFunc(distinct, order)
	distinct = slices.CompactFunc(distinct, func(i, j int) bool { return order(i, j) == 0 })
	taken := make(map[[2]int]bool, len(r.rows))
	for i, at := range list {
		k, _ := slices.BinarySearchFunc(distinct, at, order)
		r.rows[i].repetition = k
		place := [2]int{r.rows[i].stimulus, k}
		if taken[place] {
			return r.bad(ErrDuplicate,
				"stimulus %s has several presentations of repetition %s; ignore the coordinate %s to number them",
				r.stimuli[place[0]], name(at), repetition.Name)
		}
		taken[place] = true
	}
	for _, at := range distinct {
		r.repetitions = append(r.repetitions, name(at))
	}
	if missing := len(r.stimuli)*len(r.repetitions) - len(r.rows); missing > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%d of %d repetitions of stimuli are missing", missing,
			len(r.stimuli)*len(r.repetitions)))
	}
	return nil
}
