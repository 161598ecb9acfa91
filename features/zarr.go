package features

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Zarr is a folder: a Zarr store of version 2, compressed, with consolidated metadata.
const Zarr Format = "zarr"

func init() {
	register(&formatSpec{format: Zarr, title: "Zarr", suffix: ".zarr", folder: true, marker: zarrMarker,
		summary: "a compressed store as xarray.open_zarr reads it", float16: true,
		create: createZarr, open: openZarrStore, size: func(layout *Layout) (int64, error) {
			if err := layout.checkColumns(); err != nil {
				return 0, err
			}
			store, err := NewZarrStore(layout, Options{})
			if err != nil {
				return 0, err
			}
			return store.Size(), nil
		}})
}

// A Zarr store of version 2 ("Zarr Storage Specification Version 2"): a folder
// with .zgroup, .zattrs and .zmetadata (a copy of all metadata), and a folder
// per array with .zarray, .zattrs and one file per chunk, named by the
// chunk's indices with dots between. xarray reads the names of dimensions
// from the attribute _ARRAY_DIMENSIONS. Chunks span ChunkRows presentations
// and all of the other dimensions; the last one is padded with zeros.
const (
	zarrMarker     = ".zgroup"
	zarrChunkBytes = 8 << 20
	zarrMaxRows    = 512
	// Columns are cut where they are longer or larger than this.
	zarrColumnRows  = 1 << 16
	zarrColumnBytes = 32 << 20
	// tinyChunk is the size below which a zstd frame says how long its content is only if
	// it is a single segment. numcodecs before 0.16 reads no frame that does not say it.
	tinyChunk = 256
)

// zarrBuilder lays out metadata and the arrays that are known beforehand.
type zarrBuilder struct {
	store      *ZarrStore
	codec      *zarrCodec
	metadata   map[string]any
	names      map[string]bool
	dimensions map[string]int
}

func (b *zarrBuilder) addJSON(name string, value any) error {
	text, err := asciiJSON(value)
	if err != nil {
		return err
	}
	b.metadata[name] = value
	b.addFile(name, text)
	return nil
}

func (b *zarrBuilder) addFile(name string, content []byte) {
	b.store.files = append(b.store.files, plannedFile{name: name, size: int64(len(content)),
		sections: []section{bytesSection(0, content)}})
}

// array adds an array's metadata and returns its folder's name.
func (b *zarrBuilder) array(name, dtype string, shape, chunks []int, filters []zarrFilter, dimensions []string,
	attributes map[string]any) (string, error) {
	name = zarrName(name)
	if b.names[name] {
		return "", fmt.Errorf("%w: two Zarr arrays would be called %q", ErrLayout, name)
	}
	b.names[name] = true
	if err := b.addJSON(name+"/.zarray", zarrArray{Chunks: chunks, Compressor: b.codec, DType: dtype, Filters: filters,
		Order: "C", Shape: shape, Format: 2}); err != nil {
		return "", err
	}
	if attributes == nil {
		attributes = map[string]any{}
	}
	if dimensions == nil {
		dimensions = []string{}
	}
	attributes["_ARRAY_DIMENSIONS"] = dimensions
	return name, b.addJSON(name+"/.zattrs", attributes)
}

// zarrName makes one folder name: arrays lie side by side.
func zarrName(name string) string { return strings.ReplaceAll(name, "/", "_") }

// constant adds an array of known values as one chunk.
func (b *zarrBuilder) constant(name string, shape []int, dimensions []string, values any,
	attributes map[string]any) error {
	_, d := valuesOf(values)
	descr, width := d.descr(), 0
	elements, ok := byteSize(shape, 1)
	if text, isText := values.([]string); isText {
		width = textWidth(text)
		descr = fmt.Sprintf("<U%d", width)
	}
	if !ok || elements*int64(max(4*width, 8)) > math.MaxInt32 {
		return fmt.Errorf("%w: %q does not fit one Zarr chunk; shorten its values", ErrTooLarge, name)
	}
	chunks := make([]int, len(shape))
	indices := make([]string, len(shape))
	for i, d := range shape {
		chunks[i], indices[i] = max(d, 1), "0"
	}
	folder, err := b.array(name, descr, shape, chunks, nil, dimensions, attributes)
	if err != nil || elements == 0 {
		return err
	}
	var raw bytes.Buffer
	if err := writeValues(&raw, values, width, binary.LittleEndian); err != nil {
		return err
	}
	key := strings.Join(indices, ".")
	if key == "" {
		key = "0"
	}
	b.addFile(folder+"/"+key, b.store.compress(raw.Bytes(), nil))
	return nil
}

// dimension returns a name under which no other length is known.
func (b *zarrBuilder) dimension(owner, name string, length int) string {
	for candidate, n := name, 1; ; n++ {
		if known, ok := b.dimensions[candidate]; !ok || known == length {
			b.dimensions[candidate] = length
			return candidate
		}
		if candidate = zarrName(owner) + "_" + name; n > 1 {
			candidate += strconv.Itoa(n)
		}
	}
}

func (b *zarrBuilder) build(layout *Layout) error {
	group := map[string]any{"model": layout.Model, "identifier": layout.Identifier,
		"stimulus_set_identifier": layout.StimulusSet}
	for _, a := range layout.Attributes {
		group[a.Name] = a.Value
	}
	if err := b.group(group); err != nil {
		return err
	}

	var coordinates []string // of the presentations
	for _, c := range layout.Columns {
		coordinates = append(coordinates, zarrName(c.Name))
		if err := b.column(c, layout.Rows); err != nil {
			return err
		}
	}
	for i := range layout.Streamed {
		if s := &layout.Streamed[i]; len(s.RowShape) == 0 {
			coordinates = append(coordinates, zarrName(s.Name))
		}
	}
	for _, c := range layout.Constants {
		dimensions := make([]string, len(c.Shape))
		for i, length := range c.Shape {
			name := zarrName(c.Name) + "_" + strconv.Itoa(i)
			if i < len(c.Dimensions) {
				name = c.Dimensions[i]
			}
			dimensions[i] = b.dimension(c.Name, name, length)
		}
		if err := b.constant(c.Name, c.Shape, dimensions, c.Values, nil); err != nil {
			return err
		}
	}

	shared := sharedTimesteps(layout)
	timeWritten := map[string]bool{}
	for i := range layout.Streamed {
		if err := b.streamed(layout, i, coordinates, shared, timeWritten); err != nil {
			return err
		}
	}
	return b.consolidate()
}

// streamed adds the array of streamed array i; coordinates are those of the presentations.
func (b *zarrBuilder) streamed(layout *Layout, i int, coordinates []string, shared bool,
	timeWritten map[string]bool) error {
	s := &layout.Streamed[i]
	dimensions := []string{"presentation"}
	own := append([]string{}, coordinates...)
	attributes := map[string]any{}
	if s.Layer != nil {
		time, names, err := b.timesteps(s, shared, timeWritten)
		if err != nil {
			return err
		}
		dimensions, own = append(dimensions, time), append(own, names...)
		attributes["layer"] = s.Name
		if s.Layer.Region != "" {
			attributes["region"] = s.Layer.Region
		}
	}
	if s.Layer != nil {
		names, err := b.selection(s, attributes)
		if err != nil {
			return err
		}
		own = append(own, names...)
	}
	for d := len(dimensions) - 1; d < len(s.RowShape); d++ {
		name := s.dimension(d)
		if s.Layer != nil {
			name = zarrName(s.Name) + "_" + name
		}
		dimensions = append(dimensions, b.dimension(s.Name, name, s.RowShape[d]))
	}
	for _, c := range layout.Constants { // such as the classes' names
		if len(c.Dimensions) == 1 && slices.Contains(dimensions, c.Dimensions[0]) && zarrName(c.Name) != c.Dimensions[0] {
			own = append(own, zarrName(c.Name))
		}
	}
	if len(s.RowShape) > 0 {
		attributes["coordinates"] = strings.Join(own, " ")
	}
	shape := append([]int{layout.Rows}, s.RowShape...)
	chunks := append([]int{b.store.chunkRows}, s.RowShape...)
	var filters []zarrFilter
	if size := s.DataType.Size(); b.codec != nil && size > 1 {
		filters = []zarrFilter{{"shuffle", size}}
	}
	folder, err := b.array(s.Name, s.DataType.descr(), shape, chunks, filters, dimensions, attributes)
	if err != nil {
		return err
	}
	b.store.arrays = append(b.store.arrays, zarrStream{name: folder, region: contiguousRegion(0, 0, s),
		separator: strings.Repeat(".0", len(s.RowShape))})
	return nil
}

// timesteps adds what a layer's timesteps are, if no other layer has, and returns the name
// of their dimension and those of the coordinates along it.
func (b *zarrBuilder) timesteps(s *Streamed, shared bool, timeWritten map[string]bool) (time string,
	coordinates []string, err error) {
	prefix := ""
	if !shared {
		prefix = zarrName(s.Name) + "_"
	}
	time = prefix + "timestep"
	b.dimensions[time] = len(s.Layer.Timesteps)
	if !timeWritten[time] {
		timeWritten[time] = true
		timesteps, ms := s.Layer.times()
		if err := b.constant(time, []int{len(timesteps)}, []string{time}, timesteps, nil); err != nil {
			return "", nil, err
		}
		if err := b.constant(prefix+"ms", []int{len(timesteps)}, []string{time}, ms, nil); err != nil {
			return "", nil, err
		}
	}
	coordinates = append(coordinates, prefix+"ms")
	if s.Layer.Driven != nil {
		name := zarrName(s.Name) + "_driven"
		if err := b.constant(name, []int{len(s.Layer.Driven)}, []string{time}, s.Layer.Driven, nil); err != nil {
			return "", nil, err
		}
		coordinates = append(coordinates, name)
	}
	return time, coordinates, nil
}

// selection adds which units of a layer there are, as coordinates, of which it returns the names:
// that of channels is the one of their dimension.
func (b *zarrBuilder) selection(s *Streamed, attributes map[string]any) (names []string, err error) {
	if s.Layer.Selection == nil {
		return nil, nil
	}
	attributes["map_shape"] = s.Layer.Selection.Map
	for _, c := range s.Layer.Selection.constants() {
		name, dimensions := zarrName(s.Name)+"_"+c.Name, []string{}
		if len(c.Shape) > 0 {
			name = zarrName(s.Name) + "_" + s.dimension(len(s.RowShape)-1)
			dimensions = []string{name}
			b.dimensions[name] = c.Shape[0]
		} else {
			names = append(names, name)
		}
		if err := b.constant(name, c.Shape, dimensions, c.Values, nil); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// sharedTimesteps tells whether all layers report the same timesteps, so that
// they can share a dimension.
func sharedTimesteps(layout *Layout) bool {
	var first *Layer
	for i := range layout.Streamed {
		layer := layout.Streamed[i].Layer
		if layer == nil {
			continue
		}
		if first == nil {
			first = layer
		}
		if fmt.Sprint(layer.Timesteps) != fmt.Sprint(first.Timesteps) {
			return false
		}
	}
	return true
}

func createZarr(path string, layout *Layout, options Options) (Writer, error) {
	if options.Identity != nil || options.Resume {
		return nil, fmt.Errorf("%s: %w: Zarr has no journal; package extraction goes on with interrupted stores", path,
			ErrLayout)
	}
	if err := layout.checkColumns(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	store, err := NewZarrStore(layout, options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := checkSpace(path, store.Size(), options); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	out, err := openOutput(path, true, zarrMarker, options)
	if err != nil {
		return nil, err
	}
	z := &zarrWriter{store: store, path: path, out: out, rows: layout.Rows,
		received: make([]int, len(layout.Streamed)), chunks: make([]*ZarrChunk, len(layout.Streamed))}
	for i := range z.chunks {
		z.chunks[i] = store.NewChunk(i)
	}
	return z, nil
}

// openZarrStore opens a store: arrays with the attribute "layer", whose second dimension
// is named as the array of timesteps.
func openZarrStore(s *Store) error {
	var group struct {
		Provenance string `json:"provenance"`
	}
	if err := readJSON(filepath.Join(s.path, ".zattrs"), &group); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.provenance = group.Provenance
	names, err := zarrNames(s.path)
	if err != nil {
		return err
	}
	s.column = func(name string) (any, error) {
		a, err := openZarrArray(filepath.Join(s.path, name))
		if err != nil {
			return nil, err
		}
		return a.column()
	}
	optional := func(name string) ([]int64, error) {
		if !slices.Contains(names, name) {
			return nil, nil
		}
		return integersOf(s.column(name))
	}
	mask, err := optional("valid")
	if err != nil {
		return err
	}
	if mask != nil {
		s.valid = booleans(mask)
	}
	for _, name := range names {
		var attributes zarrAttributes
		if err := readJSON(filepath.Join(s.path, name, ".zattrs"), &attributes); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		switch d := attributes.Dimensions; {
		case attributes.Layer != "" && len(d) >= 2:
			if err := s.addZarrLayer(name, &attributes, optional); err != nil {
				return err
			}
		case attributes.Layer == "" && len(d) >= 2 && d[0] == "presentation":
			array, err := openZarrArray(filepath.Join(s.path, name))
			if err != nil {
				return err
			}
			s.closers = append(s.closers, array)
			if err := s.addCompanion(name, array.info.DataType, array.info.Shape,
				&zarrRows{storedZarr: array, steps: 1}); err != nil {
				return err
			}
		case len(d) == 1 && d[0] == "presentation" && name != "valid":
			s.columns = append(s.columns, name)
		}
	}
	return nil
}

func (s *Store) addZarrLayer(name string, attributes *zarrAttributes, optional func(string) ([]int64, error)) error {
	array, err := openZarrArray(filepath.Join(s.path, name))
	if err != nil {
		return err
	}
	time := attributes.Dimensions[1]
	timesteps, err := optional(time)
	if err != nil {
		return err
	}
	if timesteps == nil {
		return fmt.Errorf("layer %s: %w: the array %q with its timesteps is missing", attributes.Layer, ErrFormat, time)
	}
	l := LayerInfo{Name: attributes.Layer, Region: attributes.Region, DataType: array.info.DataType}
	var ms []int64
	if prefix, ok := strings.CutSuffix(time, "timestep"); ok {
		if ms, err = optional(prefix + "ms"); err != nil {
			return err
		}
	}
	driven, err := optional(name + "_driven")
	if err != nil {
		return err
	}
	if driven != nil {
		l.Driven = booleans(driven)
	}
	s.closers = append(s.closers, array)
	return s.addLayer(l, array.info.Shape, timesteps, ms, &zarrRows{storedZarr: array, steps: len(timesteps)})
}

// zarrNames lists a store's arrays, by number where their names end in one: conv9
// before conv10.
func zarrNames(root string) ([]string, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && exists(filepath.Join(root, e.Name(), ".zarray")) {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		stemA, numberA := splitNumber(a)
		stemB, numberB := splitNumber(b)
		return cmp.Or(strings.Compare(stemA, stemB), cmp.Compare(numberA, numberB), strings.Compare(a, b))
	})
	return names, nil
}

// splitNumber splits a trailing number off a name.
func splitNumber(name string) (string, int) {
	stem := strings.TrimRight(name, "0123456789")
	number, err := strconv.Atoi(name[len(stem):])
	if err != nil {
		return name, 0
	}
	return stem, number
}
