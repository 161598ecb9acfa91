package hdf5

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrPlaces means a library that cannot say where in a file the values of a dataset lie.
var ErrPlaces = errors.New("HDF5 files are written with version 1.10.5 of the library or later")

// Element is how the elements of a dataset are stored, little-endian.
type Element int

// The elements, in the order of the binding.
const (
	Float32 Element = iota
	Float64
	Float16
	Int8
	Uint8
	Int32
	Int64
	text
)

// Bytes is the size of an element.
func (e Element) Bytes() int { return [...]int{4, 8, 2, 1, 1, 4, 8, 16}[e] }

// Draft is a file to be made, whose large datasets are filled in later.
type Draft struct {
	// Attributes are those of the whole file.
	Attributes []DraftAttribute
	Datasets   []DraftDataset
}

// DraftAttribute has a string or []int64 as its value.
type DraftAttribute struct {
	Name  string
	Value any
}

// DraftDataset is a dataset of the root group.
type DraftDataset struct {
	Name string
	// Shape is in C order; empty for a single value.
	Shape []int
	// Values are all of them in C order, []string, []float32, []float64, []int8, []uint8, []int32 or
	// []int64; nil for a scale without values, and for a dataset in chunks.
	Values any
	// ChunkRows, if not 0, is how many of the first dimension a chunk has, which has all of the
	// others. The values, of the type Element, come later.
	ChunkRows int
	Element   Element
	// Scale makes the dataset a dimension scale of that name; "" for none.
	Scale string
	// Dimensions names the dataset of the scale of each dimension; none for a scale itself.
	Dimensions []string
	Attributes []DraftAttribute
}

// elementsOf returns how values are stored.
func elementsOf(values any) (Element, int, error) {
	switch v := values.(type) {
	case []string:
		return text, len(v), nil
	case []float32:
		return Float32, len(v), nil
	case []float64:
		return Float64, len(v), nil
	case []int8:
		return Int8, len(v), nil
	case []uint8:
		return Uint8, len(v), nil
	case []int32:
		return Int32, len(v), nil
	case []int64:
		return Int64, len(v), nil
	}
	return 0, 0, fmt.Errorf("%w: values of the type %T are not stored", ErrFormat, values)
}

// Place is where the chunks of a dataset lie in a file: one after the other from Offset on.
type Place struct{ Offset, Bytes int64 }

// drafting is one call of Make.
type drafting struct {
	name string
	file int64
	open map[string]int64
}

// Make makes a file, as HDF5 1.8 and later read it, and returns where the values of its datasets in chunks
// are to be written, by their names. The room for them is in the file, which holds nothing there yet: most file
// systems store none of it. Errors wrap ErrNoLibrary, ErrPlaces or ErrFormat.
func Make(name string, d Draft) (map[string]Place, error) {
	if err := Load(""); err != nil {
		return nil, err
	}
	chunks := uint64(0)
	for _, s := range d.Datasets {
		if s.ChunkRows > 0 && len(s.Shape) > 0 {
			chunks += uint64(s.Shape[0]/s.ChunkRows) + 1
		}
	}
	library.Lock()
	defer library.Unlock()
	if !knowsPlaces() {
		return nil, ErrPlaces
	}
	// The index of chunks must not come to lie between them: at most so many bytes a chunk, in one block.
	m := &drafting{name: name, file: createFile(name, 1<<16+512*chunks), open: map[string]int64{}}
	if m.file < 0 {
		return nil, m.failed("", nil)
	}
	defer m.close()
	for i := range d.Datasets {
		if err := m.dataset(&d.Datasets[i]); err != nil {
			return nil, err
		}
	}
	root := openObject(m.file, "/")
	if root < 0 {
		return nil, m.failed("/", nil)
	}
	defer closeObject(root)
	if err := m.attributes("/", root, d.Attributes); err != nil {
		return nil, err
	}
	if err := m.scales(d.Datasets); err != nil {
		return nil, err
	}
	places := map[string]Place{}
	for _, s := range d.Datasets {
		if s.ChunkRows > 0 {
			place, err := m.place(&s)
			if err != nil {
				return nil, err
			}
			places[s.Name] = place
		}
	}
	return places, nil
}

func (m *drafting) failed(path string, err error) error {
	if err == nil {
		err = errors.New(message())
	}
	return fmt.Errorf("%s: %s: %w: %w", m.name, path, ErrFormat, err)
}

func (m *drafting) close() {
	for _, handle := range m.open {
		closeDataset(handle)
	}
	closeFile(m.file)
}

func (m *drafting) dataset(s *DraftDataset) error {
	if m.open[s.Name] != 0 {
		return m.failed(s.Name, errors.New("two datasets have this name"))
	}
	element, count := s.Element, 0
	if s.Values != nil {
		var err error
		if element, count, err = elementsOf(s.Values); err != nil {
			return m.failed(s.Name, err)
		}
	}
	size := 1
	var dims, chunk []uint64
	for _, n := range s.Shape {
		size *= n
		dims = append(dims, uint64(n))
	}
	if s.Values != nil && count != size {
		return m.failed(s.Name, fmt.Errorf("%d values of the shape %v", count, s.Shape))
	}
	if s.ChunkRows > 0 {
		chunk = slices.Clone(dims)
		chunk[0] = uint64(s.ChunkRows)
	}
	handle := createDataset(m.file, s.Name, element, dims, chunk)
	if handle < 0 {
		return m.failed(s.Name, nil)
	}
	m.open[s.Name] = handle
	if count > 0 && !write(handle, element, s.Values) {
		return m.failed(s.Name, nil)
	}
	if s.Scale != "" && !makeScale(handle, s.Scale) {
		return m.failed(s.Name, nil)
	}
	return m.attributes(s.Name, handle, s.Attributes)
}

func write(dataset int64, element Element, values any) bool {
	switch v := values.(type) {
	case []string:
		return writeTexts(dataset, v)
	case []float32:
		return writeNumbers(dataset, element, v)
	case []float64:
		return writeNumbers(dataset, element, v)
	case []int8:
		return writeNumbers(dataset, element, v)
	case []uint8:
		return writeNumbers(dataset, element, v)
	case []int32:
		return writeNumbers(dataset, element, v)
	case []int64:
		return writeNumbers(dataset, element, v)
	}
	return false
}

func (m *drafting) attributes(path string, object int64, list []DraftAttribute) error {
	for _, a := range list {
		ok := false
		switch v := a.Value.(type) {
		case string:
			if strings.ContainsRune(v, 0) {
				return m.failed(path, fmt.Errorf("attribute %s has a zero character", a.Name))
			}
			ok = writeTextAttribute(object, a.Name, v)
		case []int64:
			ok = writeIntegerAttribute(object, a.Name, v)
		default:
			return m.failed(path, fmt.Errorf("attribute %s of the type %T", a.Name, a.Value))
		}
		if !ok {
			return m.failed(path, fmt.Errorf("attribute %s: %s", a.Name, message()))
		}
	}
	return nil
}

// scales ties dimensions to their scales, both ways.
func (m *drafting) scales(datasets []DraftDataset) error {
	users, axes := map[string][]string{}, map[string][]int32{}
	for _, s := range datasets {
		if len(s.Dimensions) == 0 {
			continue
		}
		var paths []string
		for axis, scale := range s.Dimensions {
			if m.open[scale] == 0 {
				return m.failed(s.Name, fmt.Errorf("there is no scale %s", scale))
			}
			paths = append(paths, "/"+scale)
			users[scale], axes[scale] = append(users[scale], "/"+s.Name), append(axes[scale], int32(axis))
		}
		if len(paths) != len(s.Shape) || !writeDimensions(m.file, m.open[s.Name], paths) {
			return m.failed(s.Name, nil)
		}
	}
	for _, s := range datasets {
		if users[s.Name] != nil && !writeScaleUsers(m.file, m.open[s.Name], users[s.Name], axes[s.Name]) {
			return m.failed(s.Name, nil)
		}
	}
	return nil
}

// place makes sure that the chunks of a dataset follow each other.
func (m *drafting) place(s *DraftDataset) (Place, error) {
	bytes := int64(s.Element.Bytes()) * int64(s.ChunkRows)
	for _, n := range s.Shape[1:] {
		bytes *= int64(n)
	}
	var p Place
	start := make([]uint64, len(s.Shape))
	for row := 0; row < s.Shape[0]; row += s.ChunkRows {
		start[0] = uint64(row)
		offset, size, ok := chunkPlace(m.open[s.Name], start)
		if !ok {
			return p, m.failed(s.Name, nil)
		}
		if row == 0 {
			p.Offset = int64(offset)
		}
		if int64(size) != bytes || int64(offset) != p.Offset+p.Bytes {
			return p, m.failed(s.Name, fmt.Errorf("the chunk of row %d lies at %d and not at %d", row, offset, p.Offset+p.Bytes))
		}
		p.Bytes += bytes
	}
	return p, nil
}
