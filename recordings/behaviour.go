package recordings

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/internal/imagenet"
)

// column returns the first of some columns of a table, or coordinates of a netCDF file, that is there, or nil.
type columns func(names ...string) []string

// openColumns opens a table or a netCDF file for its columns of presentations; those of the
// netCDF file's values are called data, where they are numbers.
func openColumns(name string, where []string) (columns, error) {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".csv", ".tsv", ".txt":
		t, err := readTable(name)
		if err != nil {
			return nil, err
		}
		a := &Assembly{Name: name, Axes: []string{Presentation}, Shape: []int{len(t.rows)}}
		for _, column := range t.header {
			values, err := t.column(column)
			if err != nil {
				return nil, err
			}
			a.Coordinates = append(a.Coordinates, *textCoordinate(column, Presentation, values))
		}
		return a.columns(where, nil)
	}
	a, err := Open(name, Layout{})
	if err != nil {
		return nil, err
	}
	defer a.Close()
	return a.columns(where, func(c *chosen) ([]string, error) {
		if h, ok := a.values.(*hdf5Source); ok && h.data.Type != "float" && h.data.Type != "integer" {
			return nil, nil // behaviour: the choices, which are a coordinate too
		}
		start, count := make([]int, len(a.Shape)), slices.Repeat([]int{1}, len(a.Shape))
		p := a.axis(Presentation)
		for i, axis := range a.Axes {
			if i != p && len(c.keep[i]) != 1 {
				return nil, fmt.Errorf(
					"%s: %w: the axis %s has %d places, and one must be chosen by a condition on its coordinates", name, ErrSelection,
					axis, len(c.keep[i]))
			}
			start[i] = c.keep[i][0]
		}
		start[p], count[p] = 0, a.Shape[p]
		values, err := a.Read(start, count)
		if err != nil {
			return nil, err
		}
		var list []string
		for _, i := range c.keep[p] {
			list = append(list, strconv.FormatFloat(values[i], 'g', -1, 64))
		}
		return list, nil
	})
}

func (a *Assembly) columns(where []string, values func(*chosen) ([]string, error)) (columns, error) {
	p := a.axis(Presentation)
	if p < 0 {
		return nil, fmt.Errorf("%s: %w: no axis %s", a.Name, ErrLayout, Presentation)
	}
	c := everything(a)
	if err := c.apply(Selection{Where: where}); err != nil {
		return nil, err
	}
	var data []string
	if values != nil {
		var err error
		if data, err = values(c); err != nil {
			return nil, err
		}
	}
	return func(names ...string) []string {
		if found := a.Coordinate(names...); found != nil && found.Axis == Presentation {
			return picked(found, c.keep[p])
		}
		if slices.Contains(names, "data") {
			return data
		}
		return nil
	}, nil
}

// need returns columns, or what is missing.
func (c columns) need(file, what string, names ...string) ([]string, error) {
	if found := c(names...); found != nil {
		return found, nil
	}
	return nil, fmt.Errorf("%s: %w: no %s; it is looked for as %s", file, ErrLayout, what, strings.Join(names, ", "))
}

// ReadTrials reads behavioural trials, one in each row of a table, or each presentation of BrainIO's
// netCDF: stimulus_id, sample_obj (or truth), dist_obj and choice. where are conditions as
// Selection's. A choice that is missing is "". The error wraps ErrFormat, ErrLayout or ErrSelection.
func ReadTrials(name string, where ...string) ([]compare.Trial, error) {
	c, err := openColumns(name, where)
	if err != nil {
		return nil, err
	}
	var lists [4][]string
	for i, names := range [][]string{{"stimulus_id", "image_id", "image"}, {"sample_obj", "sample", "truth"},
		{"dist_obj", "distractor"}, {"choice"}} {
		if lists[i], err = c.need(name, []string{"image", "sample", "distractor", "choice"}[i], names...); err != nil {
			return nil, err
		}
	}
	trials := make([]compare.Trial, len(lists[0]))
	objects := map[string]string{} // of images
	for i := range trials {
		trials[i] = compare.Trial{Image: lists[0][i], Sample: lists[1][i], Distractor: lists[2][i], Choice: lists[3][i]}
		if strings.EqualFold(trials[i].Choice, "nan") {
			trials[i].Choice = ""
		}
		if t := trials[i]; t.Sample == "" || t.Distractor == "" || t.Sample == t.Distractor {
			return nil, fmt.Errorf("%s: trial %d: %w: a choice between %q and %q", name, i, ErrFormat, t.Sample, t.Distractor)
		}
		if before, known := objects[lists[0][i]]; known && before != trials[i].Sample {
			return nil, fmt.Errorf("%s: trial %d: %w: image %s is of %q, and of %q before", name, i, ErrFormat, lists[0][i],
				trials[i].Sample, before)
		}
		objects[lists[0][i]] = trials[i].Sample
		if t := trials[i]; t.Choice != "" && t.Choice != t.Sample && t.Choice != t.Distractor {
			return nil, fmt.Errorf("%s: trial %d: %w: %q was chosen between %q and %q", name, i, ErrFormat, t.Choice, t.Sample,
				t.Distractor)
		}
	}
	return trials, nil
}

// ReadSolutionTimes reads object solution times in ms: stimulus_id, a label (truth, image_label,
// object_name or label), ost and i1, of a table, or of BrainIO's netCDF, whose values are the times. Of an image that
// is there twice the first is taken; their number is returned. The error wraps ErrFormat, ErrLayout or ErrSelection.
func ReadSolutionTimes(name string, where ...string) (times *compare.SolutionTimes, repeated int, err error) {
	c, err := openColumns(name, where)
	if err != nil {
		return nil, 0, err
	}
	ids, err := c.need(name, "image", "stimulus_id", "image_id", "image")
	if err != nil {
		return nil, 0, err
	}
	labels, err := c.need(name, "label", "truth", "image_label", "object_name", "label")
	if err != nil {
		return nil, 0, err
	}
	osts, err := c.need(name, "solution time", "ost", "data")
	if err != nil {
		return nil, 0, err
	}
	thresholds, err := c.need(name, "threshold", "i1")
	if err != nil {
		return nil, 0, err
	}
	times = &compare.SolutionTimes{}
	seen := map[string]bool{}
	for i, id := range ids {
		if seen[id] {
			repeated++
			continue
		}
		seen[id] = true
		ost, err := number(osts[i])
		if err != nil {
			return nil, 0, fmt.Errorf("%s: image %s: %w: %w", name, id, ErrFormat, err)
		}
		threshold, err := number(thresholds[i])
		if err != nil {
			return nil, 0, fmt.Errorf("%s: image %s: %w: %w", name, id, ErrFormat, err)
		}
		times.Images, times.Labels = append(times.Images, id), append(times.Labels, labels[i])
		times.Times, times.Thresholds = append(times.Times, ost), append(times.Thresholds, threshold)
	}
	return times, repeated, nil
}

// number reads a number; an empty text is NaN.
func number(text string) (float64, error) {
	if text == "" {
		return math.NaN(), nil
	}
	return strconv.ParseFloat(text, 64)
}

// ReadLabels reads the labels of stimuli from a table: the columns stimulus_id (or image_id) and another.
// The error wraps ErrFormat, ErrLayout or ErrDuplicate.
func ReadLabels(name, column string) (map[string]string, error) {
	c, err := openColumns(name, nil)
	if err != nil {
		return nil, err
	}
	ids, err := c.need(name, "stimulus", "stimulus_id", "image_id", "image")
	if err != nil {
		return nil, err
	}
	values, err := c.need(name, "label", column)
	if err != nil {
		return nil, err
	}
	labels := map[string]string{}
	for i, id := range ids {
		if before, twice := labels[id]; twice && before != values[i] {
			return nil, fmt.Errorf("%s: %w: stimulus %s is %q and %q", name, ErrDuplicate, id, before, values[i])
		}
		labels[id] = values[i]
	}
	return labels, nil
}

// ReadClasses reads which ImageNet classes an object has from a table with the columns class, 0 … 999 or WordNet's
// id, and label. The error wraps ErrFormat, ErrLayout or ErrDuplicate.
func ReadClasses(name string) (map[string][]int, error) {
	c, err := openColumns(name, nil)
	if err != nil {
		return nil, err
	}
	classes, err := c.need(name, "class", "class", "wordnet_id", "synset")
	if err != nil {
		return nil, err
	}
	labels, err := c.need(name, "label", "label", "object_name")
	if err != nil {
		return nil, err
	}
	byID := map[string]int{}
	for i := range imagenet.Classes {
		byID[imagenet.At(i).WordNetID] = i
	}
	of, seen := map[string][]int{}, map[int]string{}
	for i, text := range classes {
		class, known := byID[text]
		if n, err := strconv.Atoi(text); !known && (err != nil || n < 0 || n >= imagenet.Classes) {
			return nil, fmt.Errorf("%s: %w: class %q is neither 0 … %d nor an id of WordNet's such as %s", name, ErrFormat, text,
				imagenet.Classes-1, imagenet.At(1).WordNetID)
		} else if !known {
			class = n
		}
		if before, twice := seen[class]; twice {
			return nil, fmt.Errorf("%s: %w: class %s is of %q and %q", name, ErrDuplicate, text, before, labels[i])
		}
		seen[class] = labels[i]
		of[labels[i]] = append(of[labels[i]], class)
	}
	return of, nil
}
