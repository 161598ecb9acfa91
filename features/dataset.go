package features

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tfconvrnn/go/internal/atomicfile"
)

// Dataset is arrays with named dimensions, as xarray has them: results, not features.
type Dataset struct {
	Attributes []Attribute
	Variables  []Variable
}

// Variable is an array of a Dataset. Values are those of a Constant, in C order. A variable
// called as its only dimension is that dimension's index.
type Variable struct {
	Name       string
	Dimensions []string
	Shape      []int
	Values     any
	// Coordinate makes it a coordinate of the others.
	Coordinate bool
	Attributes []Attribute
}

// lengths checks the variables, and returns the lengths of the dimensions.
func (d *Dataset) lengths() (map[string]int, error) {
	lengths, names := map[string]int{}, map[string]bool{}
	for _, v := range d.Variables {
		if err := checkName(v.Name); err != nil {
			return nil, err
		}
		n, kind := valuesOf(v.Values)
		size, ok := byteSize(v.Shape, 1)
		switch {
		case names[v.Name]:
			return nil, fmt.Errorf("%w: two variables are called %q", ErrLayout, v.Name)
		case kind == InvalidType:
			return nil, fmt.Errorf("%w: variable %q holds %T", ErrLayout, v.Name, v.Values)
		case !ok || n == 0 || size != int64(n) || len(v.Dimensions) != len(v.Shape):
			return nil, fmt.Errorf("%w: variable %q has %d values for the shape %v of %q", ErrLayout, v.Name, n, v.Shape,
				v.Dimensions)
		}
		names[v.Name] = true
		for i, name := range v.Dimensions {
			if known, twice := lengths[name]; twice && known != v.Shape[i] {
				return nil, fmt.Errorf("%w: dimension %q has the lengths %d and %d", ErrLayout, name, known, v.Shape[i])
			}
			lengths[name] = v.Shape[i]
		}
	}
	return lengths, nil
}

// coordinates are the names of the coordinates that are no index.
func (d *Dataset) coordinates() string {
	var names []string
	for _, v := range d.Variables {
		if v.Coordinate && !slices.Equal(v.Dimensions, []string{v.Name}) {
			names = append(names, v.Name)
		}
	}
	return strings.Join(names, " ")
}

// WriteDataset writes a dataset as netCDF or Zarr, which the name's ending tells. It appears
// whole or not at all, and replaces what is there; of folders only a Zarr store. The error wraps ErrLayout or
// ErrExists, or is of the file system.
func WriteDataset(path string, d *Dataset) error {
	if _, err := d.lengths(); err != nil {
		return err
	}
	switch format, _ := FormatOf(path); format {
	case NetCDF:
		return d.writeNetCDF(path)
	case Zarr:
		return d.writeZarr(path)
	}
	return fmt.Errorf("%w: the name %s is neither of netCDF nor of Zarr", ErrLayout, path)
}

func (d *Dataset) writeNetCDF(path string) error {
	f := &ncFile{}
	for _, a := range append(slices.Clone(d.Attributes), Attribute{"coordinates", d.coordinates()}) {
		f.attributes = append(f.attributes, ncAttribute{ncName(a.Name), strings.ToValidUTF8(a.Value, "\uFFFD")})
	}
	for _, v := range d.Variables {
		dimensions := []int{}
		for i, name := range v.Dimensions {
			dimensions = append(dimensions, f.dimension(name, v.Shape[i]))
		}
		if err := f.metadata(ncName(v.Name), dimensions, v.Values); err != nil {
			return err
		}
		last := &f.variables[len(f.variables)-1]
		for _, a := range v.Attributes {
			last.attributes = append(last.attributes, ncAttribute{ncName(a.Name), strings.ToValidUTF8(a.Value, "\uFFFD")})
		}
	}
	var p plan
	if err := f.plan(&p, path); err != nil {
		return err
	}
	var content bytes.Buffer
	for _, s := range p.files[0].sections {
		content.Write(make([]byte, s.offset-int64(content.Len()))) // padding
		if err := s.write(&content); err != nil {
			return err
		}
	}
	content.Write(make([]byte, p.files[0].size-int64(content.Len())))
	return atomicfile.Write(path, content.Bytes())
}

func (d *Dataset) writeZarr(path string) error {
	if info, err := os.Lstat(path); err == nil && !replaceable(path, info, zarrMarker) {
		return fmt.Errorf("%s: %w, and is no Zarr store", path, ErrExists)
	}
	store := &ZarrStore{}
	codec, err := store.compressed()
	if err != nil {
		return err
	}
	b := zarrBuilder{store: store, codec: codec, metadata: map[string]any{}, names: map[string]bool{},
		dimensions: map[string]int{}}
	group := map[string]any{"coordinates": d.coordinates()}
	for _, a := range d.Attributes {
		group[a.Name] = a.Value
	}
	if err := b.group(group); err != nil {
		return err
	}
	for _, v := range d.Variables {
		attributes := map[string]any{}
		for _, a := range v.Attributes {
			attributes[a.Name] = a.Value
		}
		if err := b.constant(v.Name, v.Shape, v.Dimensions, v.Values, attributes); err != nil {
			return err
		}
	}
	if err := b.consolidate(); err != nil {
		return err
	}
	return atomicfile.Directory(path, true, func(temporary string) error {
		return store.Files(func(name string, content []byte) error {
			to := filepath.Join(temporary, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
				return err
			}
			return atomicfile.Write(to, content)
		})
	})
}

// DatasetAttributes reads the attributes of a dataset that WriteDataset wrote. The error wraps
// ErrFormat for other files, or is of the file system.
func DatasetAttributes(path string) (map[string]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		var group map[string]any
		if err := readJSON(filepath.Join(path, ".zattrs"), &group); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				err = fmt.Errorf("%s: %w: no Zarr store", path, ErrFormat)
			}
			return nil, err
		}
		attributes := map[string]string{}
		for name, value := range group {
			if text, ok := value.(string); ok {
				attributes[name] = text
			}
		}
		return attributes, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	f, err := readNCHeader(file, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f.attributes, nil
}
