package features

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

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
		if len(a.Timesteps) == 0 {
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
			return fmt.Errorf("layer %s: %w: features.npy has shape %v for %d rows of %v", a.Name, ErrFormat, info.Shape, s.rows, a.RowShape)
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
