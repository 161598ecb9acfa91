package features

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Stores are read as this package writes them: little-endian, C order, one chunk per group
// of presentations, compressed with zstd or not at all, shuffled or not.

const (
	// zarrMostChunk bounds a chunk; no larger ones are written.
	zarrMostChunk = math.MaxInt32
	// zarrWindow bounds what a compressed chunk makes the decoder allocate.
	zarrWindow = 64 << 20
)

// storedZarr reads an array whose chunks span all but the first dimension.
type storedZarr struct {
	path      string // of the folder
	info      Info
	chunkRows int
	zstd      bool
	shuffled  bool

	chunk  int    // whose bytes values holds, -1 for none
	values []byte // still shuffled
}

type zarrAttributes struct {
	Dimensions []string `json:"_ARRAY_DIMENSIONS"`
	Layer      string   `json:"layer"`
	Region     string   `json:"region"`
}

func readJSON(path string, value any) error {
	text, err := readBounded(path, mostMetadata)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, value); err != nil {
		return fmt.Errorf("%s: %w: %v", path, ErrFormat, err)
	}
	return nil
}

func openZarrArray(path string) (*storedZarr, error) {
	var m struct {
		Chunks     []int `json:"chunks"`
		Compressor *struct {
			ID string `json:"id"`
		} `json:"compressor"`
		DType   string       `json:"dtype"`
		Filters []zarrFilter `json:"filters"`
		Order   string       `json:"order"`
		Shape   []int        `json:"shape"`
		Format  int          `json:"zarr_format"`
	}
	if err := readJSON(filepath.Join(path, ".zarray"), &m); err != nil {
		return nil, err
	}
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w: %s, which extract does not write", path, ErrFormat, fmt.Sprintf(format, args...))
	}
	if m.Format != 2 || m.Order != "C" || len(m.Shape) == 0 || len(m.Chunks) != len(m.Shape) {
		return nil, fail("zarr_format %d, order %q, shape %v, chunks %v", m.Format, m.Order, m.Shape, m.Chunks)
	}
	a := &storedZarr{path: path, info: Info{Shape: m.Shape, Descr: m.DType}, chunkRows: m.Chunks[0], chunk: -1}
	var err error
	a.info.DataType, a.info.ElementSize, a.info.BigEndian, err = parseDescr(m.DType)
	if err != nil || a.info.DataType == InvalidType || a.info.BigEndian || a.info.ElementSize < 1 || a.info.ElementSize > 4<<20 {
		return nil, fail("type %q", m.DType)
	}
	chunkBytes := int64(a.info.ElementSize)
	for i, d := range m.Shape {
		if d < 0 || m.Chunks[i] < 1 || i > 0 && m.Chunks[i] != d {
			return nil, fail("shape %v in chunks %v", m.Shape, m.Chunks)
		}
		if chunkBytes > zarrMostChunk/int64(m.Chunks[i]) {
			return nil, fail("chunks %v of more than 2 GiB", m.Chunks)
		}
		chunkBytes *= int64(m.Chunks[i])
	}
	if m.Compressor != nil {
		if m.Compressor.ID != "zstd" {
			return nil, fail("compressor %q", m.Compressor.ID)
		}
		a.zstd = true
	}
	for _, filter := range m.Filters {
		if filter.ID != "shuffle" || filter.ElementSize != a.info.ElementSize || len(m.Filters) > 1 {
			return nil, fail("filter %q", filter.ID)
		}
		a.shuffled = true
	}
	return a, nil
}

// load reads a chunk. What it allocates grows with what the file holds.
func (a *storedZarr) load(chunk int) error {
	if chunk == a.chunk {
		return nil
	}
	a.chunk = -1
	path := filepath.Join(a.path, strconv.Itoa(chunk)+strings.Repeat(".0", len(a.info.Shape)-1))
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w: this chunk is missing; extract again", path, ErrFormat)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	var in io.Reader = f
	if a.zstd {
		decoder, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zarrWindow))
		if err != nil {
			return err
		}
		defer decoder.Close()
		in = decoder
	}
	want := int64(a.chunkRows) * int64(a.info.RowElements()) * int64(a.info.ElementSize)
	buffer := bytes.NewBuffer(a.values[:0])
	n, err := io.Copy(buffer, io.LimitReader(in, want+1))
	if err != nil {
		return fmt.Errorf("%s: %w: %v", path, ErrFormat, err)
	}
	if n != want {
		return fmt.Errorf("%s: %w: the chunk does not have the %d bytes that .zarray says", path, ErrFormat, want)
	}
	a.values, a.chunk = buffer.Bytes(), chunk
	return nil
}

// elements appends the bytes of count elements of the loaded chunk.
func (a *storedZarr) elements(dst []byte, first, count int) []byte {
	size := a.info.ElementSize
	if !a.shuffled {
		return append(dst, a.values[first*size:(first+count)*size]...)
	}
	// numcodecs' shuffle: byte k of every element of the chunk lies in plane k.
	at := len(dst)
	dst = slices.Grow(dst, count*size)[:at+count*size]
	n := len(a.values) / size
	for k := range size {
		for i, b := range a.values[k*n+first : k*n+first+count] {
			dst[at+i*size+k] = b
		}
	}
	return dst
}

type zarrRows struct {
	*storedZarr
	steps  int
	buffer []byte
}

func (a *zarrRows) appendRow(dst []float32, row int, timesteps []int) ([]float32, error) {
	if err := a.load(row / a.chunkRows); err != nil {
		return nil, err
	}
	perRow := a.info.RowElements()
	units := perRow / a.steps
	first := row % a.chunkRows * perRow
	for _, t := range timesteps {
		for u := 0; u < units; u += chunkPieceValues {
			n := min(chunkPieceValues, units-u)
			a.buffer = a.elements(a.buffer[:0], first+t*units+u, n)
			at := len(dst)
			dst = slices.Grow(dst, n)[:at+n]
			decodeFloat32s(dst[at:], a.buffer, a.info.DataType, binary.LittleEndian)
		}
	}
	return dst, nil
}

// column reads an array of one dimension as columns have it.
func (a *storedZarr) column() (any, error) {
	if len(a.info.Shape) != 1 {
		return nil, fmt.Errorf("%s: %w: shape %v", a.path, ErrRank, a.info.Shape)
	}
	var raw []byte
	for row := 0; row < a.info.Shape[0]; row += a.chunkRows {
		if err := a.load(row / a.chunkRows); err != nil {
			return nil, err
		}
		raw = a.elements(raw, 0, min(a.chunkRows, a.info.Shape[0]-row))
	}
	a.values, a.chunk = nil, -1
	// The same bytes as a one-dimensional .npy has.
	array := &Array{owner: &File{path: a.path}, info: a.info}
	array.section = io.NewSectionReader(bytes.NewReader(raw), 0, int64(len(raw)))
	return arrayColumn(array)
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
			if err := s.addCompanion(name, array.info.DataType, array.info.Shape, &zarrRows{storedZarr: array, steps: 1}); err != nil {
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
