package features

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// NPYFolder is a folder with one folder per layer, as thingsvision writes:
// features.npy (n × d) and file_names.txt.
const NPYFolder Format = "npy"

func init() {
	register(&formatSpec{format: NPYFolder, title: "thingsvision", suffix: ".npy", folder: true, marker: npyFolderMarker,
		summary: "a folder for each layer, with features.npy and file_names.txt",
		float16: true, holdsColumn: entryName, plan: planNPYFolder, open: openNPYFolder})
}

// npyFolderMarker describes the whole output; it lies at the root.
const npyFolderMarker = "features.json"

// planNPYFolder lays an output out as thingsvision does: a folder per layer
// with features.npy (n × d, each row a presentation's features flattened in C
// order) and file_names.txt (n lines). Beside them: layer.json (the shape to
// give the rows, timesteps, ms, driven, region), and at the root stimuli.csv
// (all columns), features.json (model, arrays, attributes) and one .npy per
// constant and mask. Masks are columns of stimuli.csv too.
func planNPYFolder(_ string, layout *Layout) (*plan, error) {
	p := &plan{}
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

	masks, err := layout.masks()
	if err != nil {
		return nil, err
	}
	text, err := describeAll(layout, masks)
	if err != nil {
		return nil, err
	}
	if err := addBytes(npyFolderMarker, text); err != nil {
		return nil, err
	}
	if err := planStimuliTable(p, layout, masks, add); err != nil {
		return nil, err
	}
	for _, c := range layout.Constants {
		size, write, err := npyConstant(c)
		if err != nil {
			return nil, err
		}
		if err := add(plannedFile{name: c.Name + ".npy", size: size,
			sections: []section{{size: size, write: write}}}); err != nil {
			return nil, err
		}
	}

	fileNames, err := fileNames(layout)
	if err != nil {
		return nil, err
	}
	for i := range layout.Streamed {
		s := &layout.Streamed[i]
		name, shape := path.Join(s.Name, "features.npy"), []int{layout.Rows, s.rowElements()}
		mask := slices.Contains(masks, i)
		if mask {
			name, shape = s.Name+".npy", shape[:1]
		}
		header := npyHeader(s.DataType.descr(), shape)
		r := contiguousRegion(len(p.files), int64(len(header)), s)
		p.regions = append(p.regions, r)
		if err := add(plannedFile{name: name, size: r.offset + int64(layout.Rows)*r.rowBytes,
			sections: []section{bytesSection(0, header)}}); err != nil {
			return nil, err
		}
		if mask {
			continue
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
	return p, checkFolders(names)
}

// checkFolders refuses a name that is a file for one array and a folder for another.
func checkFolders(names map[string]bool) error {
	for name := range names {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if names[dir] {
				return fmt.Errorf("%w: %q would be a file and a folder", ErrLayout, dir)
			}
		}
	}
	return nil
}

// planStimuliTable adds stimuli.csv. Its masks are known after the last row; until then
// there is room for their longest values.
func planStimuliTable(p *plan, layout *Layout, masks []int, add func(plannedFile) error) error {
	if len(layout.Columns)+len(masks) == 0 {
		return nil
	}
	columns := slices.Clone(layout.Columns)
	known := columnsCSV(columns, layout.Rows)
	for _, m := range masks {
		columns = append(columns, Column{Name: layout.Streamed[m].Name, Values: make([]bool, layout.Rows)})
	}
	file := len(p.files)
	table := plannedFile{name: "stimuli.csv", size: int64(len(columnsCSV(columns, layout.Rows))),
		sections: []section{bytesSection(0, known)}}
	if err := add(table); err != nil || len(masks) == 0 {
		return err
	}
	p.final = func(w written) ([]patch, error) {
		for k, m := range masks {
			rows, err := w.rows(m)
			if err != nil {
				return nil, err
			}
			values := make([]bool, len(rows))
			for i, b := range rows {
				values[i] = b != 0
			}
			columns[len(layout.Columns)+k].Values = values
		}
		return []patch{{file: file, bytes: columnsCSV(columns, layout.Rows), last: true}}, nil
	}
	return nil
}

// describeAll is the JSON description of the output.
func describeAll(layout *Layout, masks []int) ([]byte, error) {
	summary := map[string]any{"presentations": layout.Rows, "model": layout.Model,
		"identifier": layout.Identifier, "stimulus_set": layout.StimulusSet}
	var arrays []any
	for i := range layout.Streamed {
		if !slices.Contains(masks, i) {
			arrays = append(arrays, describe(&layout.Streamed[i]))
		}
	}
	summary["arrays"] = arrays
	attributes := map[string]string{}
	for _, a := range layout.Attributes {
		attributes[a.Name] = a.Value
	}
	summary["attributes"] = attributes
	return indented(summary)
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
		if sel := s.Layer.Selection; sel != nil {
			d["map_shape"] = sel.Map
			if sel.Row != nil {
				d["row"], d["column"] = *sel.Row, *sel.Column
			}
			if sel.Channels != nil {
				d["channels"] = sel.Channels
			}
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

func columnsCSV(columns []Column, rows int) []byte {
	var text bytes.Buffer
	w := csv.NewWriter(&text) // writes to memory do not fail
	record := make([]string, len(columns))
	for i, c := range columns {
		record[i] = c.Name
	}
	w.Write(record)
	for row := range rows {
		for i, c := range columns {
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

// mostMetadata bounds the JSON files of an output.
const mostMetadata = 64 << 20

// openNPYFolder reads features.json, which names the layers, the arrays of the layers,
// and stimuli.csv.
func openNPYFolder(s *Store) error {
	text, err := readBounded(filepath.Join(s.path, npyFolderMarker), mostMetadata)
	if err != nil {
		return err
	}
	var about struct {
		Presentations int `json:"presentations"`
		Arrays        []struct {
			Name      string  `json:"name"`
			RowShape  []int   `json:"row_shape"`
			Timesteps []int64 `json:"timesteps"`
			MS        []int64 `json:"ms"`
			Driven    []bool  `json:"driven"`
			Region    string  `json:"region"`
		} `json:"arrays"`
		Attributes map[string]string `json:"attributes"`
	}
	if err := json.Unmarshal(text, &about); err != nil {
		return fmt.Errorf("%s: %w: %v", npyFolderMarker, ErrFormat, err)
	}
	s.rows, s.provenance = about.Presentations, about.Attributes["provenance"]
	for _, a := range about.Arrays {
		if len(a.Timesteps) == 0 && len(a.RowShape) == 0 {
			continue
		}
		if checkName(a.Name) != nil {
			return fmt.Errorf("%s: %w: a layer is called %q", npyFolderMarker, ErrFormat, a.Name)
		}
		array, err := s.npyOf(filepath.Join(filepath.FromSlash(a.Name), "features.npy"))
		if err != nil {
			return err
		}
		size, ok := byteSize(a.RowShape, 1)
		if info := array.Info(); !ok || !slices.Equal(info.Shape, []int{s.rows, int(size)}) {
			return fmt.Errorf("layer %s: %w: features.npy has shape %v for %d rows of %v", a.Name, ErrFormat, info.Shape, s.rows,
				a.RowShape)
		}
		if len(a.Timesteps) == 0 {
			if err := s.addCompanion(a.Name, array.info.DataType, append([]int{s.rows}, a.RowShape...),
				arrayRows{array, 1}); err != nil {
				return err
			}
			continue
		}
		l := LayerInfo{Name: a.Name, Region: a.Region, Driven: a.Driven, DataType: array.info.DataType}
		err = s.addLayer(l, append([]int{s.rows}, a.RowShape...), a.Timesteps, a.MS, arrayRows{array, len(a.Timesteps)})
		if err != nil {
			return err
		}
	}
	mask, err := s.npyOf("valid.npy")
	if err == nil {
		var values []int64
		if values, err = integersOf(arrayColumn(mask)); err == nil {
			s.valid = booleans(values)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.openStimuliTable()
}

// npyOf opens an .npy of the folder.
func (s *Store) npyOf(name string) (*Array, error) {
	file, err := OpenArrays(filepath.Join(s.path, name))
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, file)
	return file.Array("")
}

// openStimuliTable reads the header of stimuli.csv, and later a column at a time.
func (s *Store) openStimuliTable() error {
	path := filepath.Join(s.path, "stimuli.csv")
	var header []string
	s.column = func(name string) (any, error) {
		at := slices.Index(header, name)
		values := []string{}
		err := readTable(path, func(record []string) error {
			values = append(values, record[at])
			return nil
		})
		if err != nil {
			return nil, err
		}
		return values[1:], nil
	}
	err := readTable(path, func(record []string) error {
		header = slices.Clone(record)
		return io.EOF
	})
	if err == io.EOF || errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for _, name := range header {
		if name != "valid" || s.valid == nil {
			s.columns = append(s.columns, name)
		}
	}
	return err
}

func readTable(path string, each func([]string) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	table := csv.NewReader(file)
	table.ReuseRecord = true
	for {
		record, err := table.Read()
		if err == io.EOF {
			return nil
		}
		var malformed *csv.ParseError
		if errors.As(err, &malformed) {
			return fmt.Errorf("%s: %w: %v", path, ErrFormat, err)
		}
		if err == nil {
			err = each(record)
		}
		if err != nil {
			return err
		}
	}
}
