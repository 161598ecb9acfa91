package features

import (
	"fmt"
	"slices"
	"strings"
)

// openNPZ reads arrays named by layer, <layer>/timesteps, <layer>/ms and <layer>/driven,
// the columns, and the scalar provenance.
func openNPZ(s *Store) error {
	file, err := OpenArrays(s.path)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, file)
	names := file.Names()
	optional := func(name string) ([]int64, error) {
		if !slices.Contains(names, name) {
			return nil, nil
		}
		array, err := file.Array(name)
		if err != nil {
			return nil, err
		}
		return integersOf(arrayColumn(array))
	}
	for _, name := range names {
		if !slices.Contains(names, name+"/timesteps") {
			continue
		}
		if err := s.addNPZLayer(file, name, optional); err != nil {
			return err
		}
	}
	mask, err := optional("valid")
	if err != nil {
		return err
	}
	if mask != nil {
		s.valid = booleans(mask)
	}
	s.column = func(name string) (any, error) {
		array, err := file.Array(name)
		if err != nil {
			return nil, err
		}
		return arrayColumn(array)
	}
	for _, a := range file.arrays {
		ofLayer := slices.ContainsFunc(s.layers, func(l *storedLayer) bool { return strings.HasPrefix(a.info.Name, l.Name+"/") })
		named := slices.Contains(stimulusColumns, a.info.Name)
		if (len(a.info.Shape) == 1 && a.info.Rows() == s.rows || named) && !ofLayer && a.info.DataType != InvalidType && a.info.Name != "valid" {
			s.columns = append(s.columns, a.info.Name)
		}
	}
	if slices.Contains(names, "provenance") {
		array, err := file.Array("provenance")
		if err != nil {
			return err
		}
		if info := array.Info(); info.Elements() == 1 && info.ElementSize > 0 {
			text, err := array.Strings(0, 1)
			if err != nil {
				return err
			}
			s.provenance = text[0]
		}
	}
	return nil
}

func (s *Store) addNPZLayer(file *File, name string, optional func(string) ([]int64, error)) error {
	array, err := file.Array(name)
	if err != nil {
		return err
	}
	info := array.Info()
	timesteps, err := optional(name + "/timesteps")
	if err != nil {
		return err
	}
	ms, err := optional(name + "/ms")
	if err == nil && ms == nil {
		ms, err = optional(name + "/milliseconds")
	}
	if err != nil {
		return err
	}
	l := LayerInfo{Name: name, DataType: info.DataType}
	driven, err := optional(name + "/driven")
	if err != nil {
		return err
	}
	if driven != nil {
		l.Driven = booleans(driven)
	}
	if info.DataType == InvalidType {
		return fmt.Errorf("layer %s: %w: its elements are %s", name, ErrDataType, info.Descr)
	}
	return s.addLayer(l, info.Shape, timesteps, ms, arrayRows{array, len(timesteps)})
}
