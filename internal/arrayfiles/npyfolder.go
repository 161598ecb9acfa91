package arrayfiles

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// npyFolderMarker describes the whole output; it lies at the root.
const npyFolderMarker = "features.json"

// planNPYFolder lays an output out as thingsvision does: a folder per layer
// with features.npy (n × d, each row a presentation's features flattened in C
// order) and file_names.txt (n lines). Beside them: layer.json (the shape to
// give the rows, timesteps, ms, driven, region), and at the root stimuli.csv
// (all columns), features.json (model, arrays, attributes) and one .npy per
// constant.
func planNPYFolder(layout *Layout) (*plan, error) {
	p := &plan{folder: true, marker: npyFolderMarker}
	names := map[string]bool{}
	add := func(f plannedFile) error {
		if names[f.name] {
			return fmt.Errorf("%w: two files would be called %q", ErrLayout, f.name)
		}
		names[f.name] = true
		p.files = append(p.files, f)
		return nil
	}
	addBytes := func(name string, content []byte) error {
		return add(plannedFile{name: name, size: int64(len(content)), sections: []section{bytesSection(0, content)}})
	}

	summary := map[string]any{"presentations": layout.Rows, "model": layout.Model,
		"identifier": layout.Identifier, "stimulus_set": layout.StimulusSet}
	var arrays []any
	for i := range layout.Streamed {
		arrays = append(arrays, describe(&layout.Streamed[i]))
	}
	summary["arrays"] = arrays
	attributes := map[string]string{}
	for _, a := range layout.Attributes {
		attributes[a.Name] = a.Value
	}
	summary["attributes"] = attributes
	text, err := indented(summary)
	if err != nil {
		return nil, err
	}
	if err := addBytes(npyFolderMarker, text); err != nil {
		return nil, err
	}
	if len(layout.Columns) > 0 {
		if err := addBytes("stimuli.csv", columnsCSV(layout)); err != nil {
			return nil, err
		}
	}
	for _, c := range layout.Constants {
		size, write, err := npyConstant(c)
		if err != nil {
			return nil, err
		}
		if err := add(plannedFile{name: c.Name + ".npy", size: size, sections: []section{{size: size, write: write}}}); err != nil {
			return nil, err
		}
	}

	fileNames, err := fileNames(layout)
	if err != nil {
		return nil, err
	}
	for i := range layout.Streamed {
		s := &layout.Streamed[i]
		header := npyHeader(s.DataType.descr(), []int{layout.Rows, s.rowElements()})
		r := contiguousRegion(len(p.files), int64(len(header)), s)
		p.regions = append(p.regions, r)
		if err := add(plannedFile{name: path.Join(s.Name, "features.npy"), size: r.offset + int64(layout.Rows)*r.rowBytes,
			sections: []section{bytesSection(0, header)}}); err != nil {
			return nil, err
		}
		if err := addBytes(path.Join(s.Name, "file_names.txt"), fileNames); err != nil {
			return nil, err
		}
		text, err := indented(describe(s))
		if err != nil {
			return nil, err
		}
		if err := addBytes(path.Join(s.Name, "layer.json"), text); err != nil {
			return nil, err
		}
	}
	// A name that is a file for one array and a folder for another.
	for name := range names {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if names[dir] {
				return nil, fmt.Errorf("%w: %q would be a file and a folder", ErrLayout, dir)
			}
		}
	}
	return p, nil
}

// describe is the JSON description of a streamed array.
func describe(s *Streamed) map[string]any {
	shape := s.RowShape
	if shape == nil {
		shape = []int{}
	}
	d := map[string]any{"name": s.Name, "dtype": s.DataType.String(), "row_shape": shape}
	if len(s.Dimensions) > 0 {
		d["dimensions"] = s.Dimensions
	}
	if s.Layer != nil {
		d["timesteps"], d["ms"] = s.Layer.times()
		if s.Layer.Driven != nil {
			d["driven"] = s.Layer.Driven
		}
		if s.Layer.Region != "" {
			d["region"] = s.Layer.Region
		}
	}
	return d
}

func indented(value any) ([]byte, error) {
	text, err := json.MarshalIndent(value, "", "  ")
	return append(text, '\n'), err
}

// fileNames is the text of file_names.txt: the column stimulus_path, else
// stimulus_id, else the first column of strings, else row numbers.
func fileNames(layout *Layout) ([]byte, error) {
	var names []string
	for _, c := range layout.Columns {
		values, ok := c.Values.([]string)
		if !ok {
			continue
		}
		if c.Name == "stimulus_path" {
			names = values
			break
		}
		if names == nil || c.Name == "stimulus_id" {
			names = values
		}
	}
	var text bytes.Buffer
	for i := range layout.Rows {
		name := strconv.Itoa(i)
		if names != nil {
			name = names[i]
		}
		if strings.ContainsAny(name, "\n\r") {
			return nil, fmt.Errorf("%w: file_names.txt has one name per line, and %q has a line break", ErrLayout, name)
		}
		text.WriteString(name)
		text.WriteByte('\n')
	}
	return text.Bytes(), nil
}

func columnsCSV(layout *Layout) []byte {
	var text bytes.Buffer
	w := csv.NewWriter(&text) // writes to memory do not fail
	record := make([]string, len(layout.Columns))
	for i, c := range layout.Columns {
		record[i] = c.Name
	}
	w.Write(record)
	for row := range layout.Rows {
		for i, c := range layout.Columns {
			switch values := c.Values.(type) {
			case []string:
				record[i] = values[row]
			case []float64:
				record[i] = strconv.FormatFloat(values[row], 'g', -1, 64)
			case []int64:
				record[i] = strconv.FormatInt(values[row], 10)
			case []bool:
				record[i] = strconv.FormatBool(values[row])
			}
		}
		w.Write(record)
	}
	w.Flush()
	return text.Bytes()
}
