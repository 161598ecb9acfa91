package plotting

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
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"github.com/tfconvrnn/go/features"
)

// Zarr stores are read as package features writes them ("Zarr Storage
// Specification Version 2"): little-endian, C order, one chunk per group of
// presentations, compressed with zstd or not at all, shuffled or not.

const (
	// zarrMetadataBytes bounds the JSON files of a store.
	zarrMetadataBytes = 64 << 20
	// zarrChunkBytes bounds a chunk; package features writes no larger ones.
	zarrChunkBytes = math.MaxInt32
	// zarrWindow bounds what a compressed chunk makes the decoder allocate.
	zarrWindow = 64 << 20
)

// zarrArray reads an array whose chunks span all but the first dimension.
type zarrArray struct {
	path      string // of the folder
	dtype     string
	shape     []int
	chunkRows int
	rowValues int
	element   int
	zstd      bool
	shuffled  bool

	chunk  int    // whose bytes values holds, -1 for none
	values []byte // still shuffled
	row32  []float32
}

type zarrMetadata struct {
	Chunks     []int           `json:"chunks"`
	Compressor *zarrCompressor `json:"compressor"`
	DType      string          `json:"dtype"`
	Filters    []struct {
		ID          string `json:"id"`
		ElementSize int    `json:"elementsize"`
	} `json:"filters"`
	Order  string `json:"order"`
	Shape  []int  `json:"shape"`
	Format int    `json:"zarr_format"`
}

type zarrCompressor struct {
	ID string `json:"id"`
}

type zarrAttributes struct {
	Dimensions []string `json:"_ARRAY_DIMENSIONS"`
	Layer      string   `json:"layer"`
}

// zarrElements are the sizes of the types that are read; strings have their own.
var zarrElements = map[string]int{"<f2": 2, "<f4": 4, "<f8": 8, "<i4": 4, "<i8": 8, "|u1": 1, "|b1": 1}

func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s: %w: more than %d bytes", path, features.ErrFormat, most)
	}
	return text, err
}

func readZarrJSON(path string, value any) error {
	text, err := readBounded(path, zarrMetadataBytes)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, value); err != nil {
		return fmt.Errorf("%s: %w: %v", path, features.ErrFormat, err)
	}
	return nil
}

func openZarrArray(path string) (*zarrArray, error) {
	var m zarrMetadata
	if err := readZarrJSON(filepath.Join(path, ".zarray"), &m); err != nil {
		return nil, err
	}
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w: %s; plot reads Zarr stores that extract wrote", path, ErrUnsupported, fmt.Sprintf(format, args...))
	}
	a := &zarrArray{path: path, dtype: m.DType, shape: m.Shape, rowValues: 1, chunk: -1}
	if m.Format != 2 || m.Order != "C" || len(m.Shape) == 0 || len(m.Chunks) != len(m.Shape) {
		return nil, fail("zarr_format %d, order %q, shape %v, chunks %v", m.Format, m.Order, m.Shape, m.Chunks)
	}
	a.element = zarrElements[m.DType]
	if width, ok := strings.CutPrefix(m.DType, "<U"); ok {
		n, err := strconv.Atoi(width)
		if err != nil || n < 1 || n > 1<<20 {
			return nil, fail("type %q", m.DType)
		}
		a.element = 4 * n
	}
	if a.element == 0 {
		return nil, fail("type %q", m.DType)
	}
	chunkBytes := int64(a.element)
	for i, d := range m.Shape {
		if d < 0 || m.Chunks[i] < 1 || i > 0 && m.Chunks[i] != d {
			return nil, fail("shape %v in chunks %v", m.Shape, m.Chunks)
		}
		if chunkBytes > zarrChunkBytes/int64(m.Chunks[i]) {
			return nil, fail("chunks %v of more than 2 GiB", m.Chunks)
		}
		chunkBytes *= int64(m.Chunks[i])
		if i > 0 {
			a.rowValues *= d
		}
	}
	a.chunkRows = m.Chunks[0]
	if m.Compressor != nil {
		if m.Compressor.ID != "zstd" {
			return nil, fail("compressor %q", m.Compressor.ID)
		}
		a.zstd = true
	}
	for _, filter := range m.Filters {
		if filter.ID != "shuffle" || filter.ElementSize != a.element || len(m.Filters) > 1 {
			return nil, fail("filter %q", filter.ID)
		}
		a.shuffled = true
	}
	return a, nil
}

// load reads a chunk. What it allocates grows with what the file holds.
func (a *zarrArray) load(chunk int) error {
	if chunk == a.chunk {
		return nil
	}
	a.chunk = -1
	path := filepath.Join(a.path, strconv.Itoa(chunk)+strings.Repeat(".0", len(a.shape)-1))
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w: this chunk is missing; extract again", path, features.ErrFormat)
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
	want := int64(a.chunkRows) * int64(a.rowValues) * int64(a.element)
	buffer := bytes.NewBuffer(a.values[:0])
	n, err := io.Copy(buffer, io.LimitReader(in, want+1))
	if err != nil {
		return fmt.Errorf("%s: %w: %v", path, features.ErrFormat, err)
	}
	if n != want {
		return fmt.Errorf("%s: %w: the chunk does not have the %d bytes that .zarray says", path, features.ErrFormat, want)
	}
	a.values = buffer.Bytes()
	a.chunk = chunk
	return nil
}

// bytesOf returns the elements of a row. It is valid until the next call.
func (a *zarrArray) bytesOf(row int) ([]byte, error) {
	if row < 0 || row >= a.shape[0] {
		return nil, fmt.Errorf("%s: %w: row %d of %d", a.path, features.ErrRange, row, a.shape[0])
	}
	if err := a.load(row / a.chunkRows); err != nil {
		return nil, err
	}
	first, size := row%a.chunkRows*a.rowValues, a.rowValues
	out := make([]byte, size*a.element)
	if !a.shuffled {
		copy(out, a.values[first*a.element:(first+size)*a.element])
		return out, nil
	}
	// numcodecs' shuffle: byte k of every element of the chunk lies in plane k.
	n := len(a.values) / a.element
	for k := range a.element {
		plane := a.values[k*n+first : k*n+first+size]
		for i, b := range plane {
			out[i*a.element+k] = b
		}
	}
	return out, nil
}

func (a *zarrArray) row(stimulus int) ([]float32, error) {
	raw, err := a.bytesOf(stimulus)
	if err != nil {
		return nil, err
	}
	if a.row32 == nil {
		a.row32 = make([]float32, a.rowValues)
	}
	le := binary.LittleEndian
	for i := range a.row32 {
		switch a.dtype {
		case "<f2":
			a.row32[i] = features.Float32FromFloat16(le.Uint16(raw[2*i:]))
		case "<f4":
			a.row32[i] = math.Float32frombits(le.Uint32(raw[4*i:]))
		default:
			a.row32[i] = float32(math.Float64frombits(le.Uint64(raw[8*i:])))
		}
	}
	return a.row32, nil
}

// floats tells whether the elements are floating-point numbers.
func (a *zarrArray) floats() bool { return slices.Contains([]string{"<f2", "<f4", "<f8"}, a.dtype) }

func (a *zarrArray) integers() ([]int64, error) {
	if len(a.shape) != 1 {
		return nil, fmt.Errorf("%s: %w: shape %v", a.path, features.ErrRank, a.shape)
	}
	var values []int64
	for i := range a.shape[0] {
		raw, err := a.bytesOf(i)
		if err != nil {
			return nil, err
		}
		switch a.dtype {
		case "<i4":
			values = append(values, int64(int32(binary.LittleEndian.Uint32(raw))))
		case "<i8":
			values = append(values, int64(binary.LittleEndian.Uint64(raw)))
		case "|u1", "|b1":
			values = append(values, int64(raw[0]))
		default:
			return nil, fmt.Errorf("%s: %w: elements are %s, integers needed", a.path, features.ErrDataType, a.dtype)
		}
	}
	return values, nil
}

func (a *zarrArray) strings() ([]string, error) {
	if len(a.shape) != 1 || !strings.HasPrefix(a.dtype, "<U") {
		return nil, fmt.Errorf("%s: %w: shape %v of %s, strings needed", a.path, features.ErrDataType, a.shape, a.dtype)
	}
	var values []string
	for i := range a.shape[0] {
		raw, err := a.bytesOf(i)
		if err != nil {
			return nil, err
		}
		var text []byte
		for ; len(raw) >= 4; raw = raw[4:] {
			point := binary.LittleEndian.Uint32(raw)
			if point > utf8.MaxRune {
				point = utf8.RuneError
			}
			text = utf8.AppendRune(text, rune(point))
		}
		values = append(values, strings.TrimRight(string(text), "\x00"))
	}
	return values, nil
}

// openZarr opens a store: arrays with the attribute "layer", whose second
// dimension is named as the array of timesteps.
func openZarr(root string) (*Source, error) {
	var group struct {
		Provenance string `json:"provenance"`
	}
	if err := readZarrJSON(filepath.Join(root, ".zattrs"), &group); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	names, err := zarrNames(root)
	if err != nil {
		return nil, err
	}
	s := &Source{about: readAbout(group.Provenance)}
	integers := func(name string) ([]int64, error) {
		if !slices.Contains(names, name) {
			return nil, fs.ErrNotExist
		}
		a, err := openZarrArray(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		return a.integers()
	}
	if mask, err := integers("valid"); err == nil {
		s.valid = booleans(mask)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	rows := -1
	for _, name := range names {
		var attributes zarrAttributes
		if err := readZarrJSON(filepath.Join(root, name, ".zattrs"), &attributes); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		if attributes.Layer == "" || len(attributes.Dimensions) < 2 {
			continue
		}
		array, err := openZarrArray(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		if !array.floats() {
			return nil, fmt.Errorf("%s: %w: its elements are %s; features are floating-point numbers", array.path, features.ErrDataType, array.dtype)
		}
		if rows < 0 {
			rows = array.shape[0]
		}
		time := attributes.Dimensions[1]
		timesteps, err := integers(time)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: layer %s: %w: the array %q with its timesteps is missing", root, attributes.Layer, ErrInconsistent, time)
		} else if err != nil {
			return nil, err
		}
		l, err := newLayer(root, attributes.Layer, array.shape, rows, timesteps)
		if err != nil {
			return nil, err
		}
		if prefix, ok := strings.CutSuffix(time, "timestep"); ok {
			if ms, err := integers(prefix + "ms"); err == nil {
				l.setMilliseconds(ms)
			} else if !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
		if driven, err := integers(name + "_driven"); err == nil {
			l.Driven = booleans(driven)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		l.rows = array
		s.layers = append(s.layers, l)
	}
	for _, name := range stimulusNames {
		if rows <= 0 || !slices.Contains(names, name) {
			continue
		}
		array, err := openZarrArray(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		if len(array.shape) != 1 || array.shape[0] != rows {
			return nil, fmt.Errorf("%s: %w: %q has shape %v for %d stimuli", root, ErrInconsistent, name, array.shape, rows)
		}
		if s.stimuli, err = array.strings(); err != nil {
			return nil, err
		}
		return s, nil
	}
	if rows > 0 {
		return nil, fmt.Errorf("%s: %w: the array stimulus_id is missing", root, ErrInconsistent)
	}
	return s, nil
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
