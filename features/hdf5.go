package features

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tfconvrnn/go/internal/hdf5"
)

// HDF5 is one .h5 file with a dataset for each layer, as h5py, MATLAB's h5read and, of the types
// that netCDF has, xarray read it. It needs the HDF Group's library.
const HDF5 Format = "hdf5"

// ErrNoHDF5 means that the HDF5 library was not found; the message says where it was looked for.
var ErrNoHDF5 = hdf5.ErrNoLibrary

const (
	hdf5Magic = "\x89HDF\r\n\x1a\n"
	// hdf5Layers names, in an attribute of the file, the datasets that are layers.
	hdf5Layers = "layers"
	// hdf5ChunkBytes is about how much a chunk holds, unless there were more than hdf5MostChunks of them;
	// hdf5MostChunk is what HDF5 allows.
	hdf5ChunkBytes = 1 << 20
	hdf5MostChunks = 1 << 16
	hdf5MostChunk  = math.MaxUint32
	// hdf5MostDraft is how large a file without content file systems can be trusted to make.
	hdf5MostDraft = 4 << 40
	// netCDFDimension is what netCDF calls a dimension without values.
	netCDFDimension = "This is a netCDF dimension but not a netCDF variable.%10d"
)

func init() {
	register(&formatSpec{format: HDF5, title: "HDF5", suffix: ".h5",
		summary: "a dataset for each layer, as h5py and MATLAB's h5read read it; needs the HDF5 library", float16: true,
		plan: planHDF5, open: openHDF5, magic: hdf5Magic})
}

// planHDF5 has HDF5's own library make the file with everything but the rows, beside nothing and
// under a name of its own, and takes from it where the rows go: the chunks of a dataset, which hold whole
// presentations and are not compressed, lie one after the other. So rows are written, and an interrupted
// run is gone on with, as for the other formats. Names, dimensions and coordinates are those of Zarr.
func planHDF5(path string, layout *Layout) (*plan, error) {
	b := &hdf5Builder{names: map[string]bool{}, dimensions: map[string]int{}, valued: map[string]bool{}}
	if err := b.build(layout); err != nil {
		return nil, err
	}
	if b.bytes > hdf5MostDraft { // of which there is no draft, only the size
		return &plan{
			files: []plannedFile{{name: path, size: b.bytes, sections: []section{{size: 1, write: func(io.Writer) error {
				return fmt.Errorf("%w: %d bytes are more than the %d that an HDF5 file is laid out for; choose Zarr", ErrTooLarge,
					b.bytes, int64(hdf5MostDraft))
			}}}}}, regions: make([]region, len(layout.Streamed))}, nil
	}
	dir, err := os.MkdirTemp("", "tfconvrnn-hdf5-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	draft := filepath.Join(dir, "draft.h5")
	places, err := hdf5.Make(draft, b.draft)
	if err != nil {
		return nil, fmt.Errorf("laying out HDF5: %w", err)
	}
	p := &plan{}
	var taken []hdf5.Place
	for i := range layout.Streamed {
		place := places[zarrName(layout.Streamed[i].Name)]
		p.regions = append(p.regions, contiguousRegion(0, place.Offset, &layout.Streamed[i]))
		taken = append(taken, place)
	}
	file, err := os.Open(draft)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	planned, err := around(file, path, taken)
	if err != nil {
		return nil, err
	}
	p.files = []plannedFile{planned}
	return p, nil
}

// around is all of a file but some places.
func around(file *os.File, name string, taken []hdf5.Place) (plannedFile, error) {
	info, err := file.Stat()
	if err != nil {
		return plannedFile{}, err
	}
	planned := plannedFile{name: name, size: info.Size()}
	taken = slices.Clone(taken)
	slices.SortFunc(taken, func(a, b hdf5.Place) int { return int(min(max(a.Offset-b.Offset, -1), 1)) })
	at := int64(0)
	for _, place := range append(taken, hdf5.Place{Offset: info.Size()}) {
		if place.Offset < at {
			return planned, fmt.Errorf("%w: HDF5 put a dataset at %d into what ends at %d", ErrLayout, place.Offset, at)
		}
		if place.Offset > at {
			content, err := io.ReadAll(io.NewSectionReader(file, at, place.Offset-at))
			if err != nil {
				return planned, err
			}
			planned.sections = append(planned.sections, bytesSection(at, content))
		}
		at = place.Offset + place.Bytes
	}
	return planned, nil
}

// storedHDF5 reads rows of a dataset. All chunks of it are looked for in the file as it is, whoever has
// written it anew.
type storedHDF5 struct {
	data  *hdf5.Dataset
	steps int
}

func (h *storedHDF5) appendRow(dst []float32, row int, timesteps []int) ([]float32, error) {
	start, count := make([]int, len(h.data.Shape)), slices.Clone(h.data.Shape)
	start[0], count[0] = row, 1
	first, last := slices.Min(timesteps), slices.Max(timesteps)
	start[1], count[1] = first, last-first+1
	values, err := h.data.Float32s(start, count)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	units := len(values) / count[1]
	for _, t := range timesteps {
		dst = append(dst, values[(t-first)*units:][:units]...)
	}
	return dst, nil
}

func openHDF5(s *Store) error {
	file, err := hdf5.Open(s.path)
	if err != nil {
		if errors.Is(err, ErrNoHDF5) {
			return err
		}
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	s.closers = append(s.closers, file)
	o := &hdf5Opening{s: s, file: file}
	if err := o.open(); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return nil
}

// hdf5Opening fills in a Store.
type hdf5Opening struct {
	s    *Store
	file *hdf5.File
}

func (o *hdf5Opening) text(attribute string) (string, error) {
	value, err := o.file.Attribute("/", attribute)
	text, _ := value.(string)
	return text, err
}

func (o *hdf5Opening) open() error {
	layers, err := o.text(hdf5Layers)
	if err != nil {
		return err
	}
	if layers == "" {
		return fmt.Errorf("%w: HDF5 that extract has not written: it names no %s; netCDF-4 and others are recordings' and features' of other programs",
			ErrFormat, hdf5Layers)
	}
	if o.s.provenance, err = o.text("provenance"); err != nil {
		return err
	}
	for _, name := range strings.Fields(layers) {
		if err := o.layer(name); err != nil {
			return err
		}
	}
	members, err := o.file.Members("/")
	if err != nil {
		return err
	}
	for _, m := range members {
		if !m.Dataset || m.Name == "presentation" {
			continue
		}
		if err := o.column(m.Name); err != nil {
			return err
		}
	}
	o.s.column = func(name string) (any, error) { return o.read(name) }
	return nil
}

func (o *hdf5Opening) layer(name string) error {
	data, err := o.file.Dataset(name)
	if err != nil {
		return err
	}
	l := LayerInfo{Name: name}
	for attribute, to := range map[string]*string{"layer": &l.Name, "region": &l.Region} {
		value, err := data.Attribute(attribute)
		if err != nil {
			return err
		}
		if text, ok := value.(string); ok {
			*to = text
		}
	}
	switch {
	case data.Type != hdf5.Float:
		return fmt.Errorf("%w: layer %s holds %s", ErrDataType, name, data.Type)
	case data.Bytes == 2:
		l.DataType = Float16
	case data.Bytes == 8:
		l.DataType = Float64
	default:
		l.DataType = Float32
	}
	dimensions, err := data.Dimensions()
	if err != nil {
		return err
	}
	if len(dimensions) < 2 || !strings.HasSuffix(dimensions[1], "timestep") {
		return fmt.Errorf("%w: layer %s has no dimension of timesteps", ErrFormat, name)
	}
	timesteps, err := o.integers(dimensions[1])
	if err != nil {
		return err
	}
	ms, err := o.integers(strings.TrimSuffix(dimensions[1], "timestep") + "ms")
	if err != nil {
		return err
	}
	if o.has(name + "_driven") {
		flags, err := o.integers(name + "_driven")
		if err != nil {
			return err
		}
		for _, v := range flags {
			l.Driven = append(l.Driven, v != 0)
		}
	}
	return o.s.addLayer(l, data.Shape, timesteps, ms, &storedHDF5{data, len(timesteps)})
}

func (o *hdf5Opening) has(name string) bool {
	data, err := o.file.Dataset(name)
	if err != nil {
		return false
	}
	return data.Close() == nil
}

func (o *hdf5Opening) integers(name string) ([]int64, error) {
	data, err := o.file.Dataset(name)
	if err != nil {
		return nil, err
	}
	defer data.Close()
	if len(data.Shape) != 1 || data.Shape[0] > mostTimesteps {
		return nil, fmt.Errorf("%w: %s has the shape %v", ErrFormat, name, data.Shape)
	}
	return data.Int64s(nil, nil)
}

// mostTimesteps is what a layer can have of them.
const mostTimesteps = 1 << 20

// companion notes a dataset of several values for each stimulus, if it is no layer's.
func (o *hdf5Opening) companion(name string, data *hdf5.Dataset) error {
	dimensions, err := data.Dimensions()
	if err != nil || len(dimensions) == 0 || dimensions[0] != "/presentation" {
		return err
	}
	if layer, err := data.Attribute("layer"); err != nil || layer != nil {
		return err
	}
	kept, err := o.file.Dataset(name)
	if err != nil {
		return err
	}
	return o.s.addCompanion(name, Float32, data.Shape, hdf5Companion{kept})
}

// hdf5Companion reads whole rows.
type hdf5Companion struct{ data *hdf5.Dataset }

func (h hdf5Companion) appendRow(dst []float32, row int, _ []int) ([]float32, error) {
	start, count := make([]int, len(h.data.Shape)), slices.Clone(h.data.Shape)
	start[0], count[0] = row, 1
	values, err := h.data.Float32s(start, count)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return append(dst, values...), nil
}

// column notes a dataset that describes the stimuli.
func (o *hdf5Opening) column(name string) error {
	data, err := o.file.Dataset(name)
	if err != nil {
		return err
	}
	defer data.Close()
	if len(data.Shape) > 1 && data.Shape[0] == o.s.rows && data.Type == hdf5.Float {
		return o.companion(name, data)
	}
	if len(data.Shape) != 1 || data.Shape[0] != o.s.rows || data.Type == hdf5.Reference || data.Type == hdf5.Other {
		return nil
	}
	dimensions, err := data.Dimensions()
	if err != nil || len(dimensions) != 1 || dimensions[0] != "/presentation" {
		return err
	}
	if name != "valid" {
		o.s.columns = append(o.s.columns, name)
		return nil
	}
	values, err := o.read(name)
	if err != nil {
		return err
	}
	var ok bool
	if o.s.valid, ok = values.([]bool); !ok {
		return fmt.Errorf("%w: the mask valid is no boolean", ErrFormat)
	}
	return nil
}

// read returns the values of a column.
func (o *hdf5Opening) read(name string) (any, error) {
	data, err := o.file.Dataset(name)
	if err != nil {
		return nil, err
	}
	defer data.Close()
	switch data.Type {
	case hdf5.Text:
		return data.Strings(nil, nil)
	case hdf5.Float:
		return data.Float64s(nil, nil)
	}
	numbers, err := data.Int64s(nil, nil)
	if err != nil {
		return nil, err
	}
	kind, err := data.Attribute("dtype")
	if err != nil || kind != "bool" {
		return numbers, err
	}
	flags := make([]bool, len(numbers))
	for i, v := range numbers {
		flags[i] = v != 0
	}
	return flags, nil
}
