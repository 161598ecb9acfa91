package features

import (
	"bytes"
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
	"unicode"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"
)

// zarrArray is the content of .zarray.
type zarrArray struct {
	Chunks     []int        `json:"chunks"`
	Compressor *zarrCodec   `json:"compressor"`
	DType      string       `json:"dtype"`
	FillValue  *int         `json:"fill_value"` // null: xarray would take any value for missing
	Filters    []zarrFilter `json:"filters"`
	Order      string       `json:"order"`
	Shape      []int        `json:"shape"`
	Format     int          `json:"zarr_format"`
}

type zarrCodec struct {
	ID    string `json:"id"`
	Level int    `json:"level"`
}

// zarrFilter is numcodecs' shuffle: first the first byte of every element,
// then the second of every element, and so on. Features compress twice as
// fast with it, and further.
type zarrFilter struct {
	ID          string `json:"id"`
	ElementSize int    `json:"elementsize"`
}

// asciiJSON is indented with everything beyond ASCII escaped: zarr before 2.13 reads
// nothing else.
func asciiJSON(value any) ([]byte, error) {
	text, err := indented(value)
	var ascii []byte
	for _, r := range string(text) {
		if r <= unicode.MaxASCII {
			ascii = append(ascii, byte(r))
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			ascii = fmt.Appendf(ascii, `\u%04x`, unit)
		}
	}
	return ascii, err
}

// group begins the store with the attributes of the whole.
func (b *zarrBuilder) group(attributes map[string]any) error {
	if err := b.addJSON(".zgroup", map[string]int{"zarr_format": 2}); err != nil {
		return err
	}
	return b.addJSON(".zattrs", attributes)
}

// consolidate ends the store with a copy of all metadata.
func (b *zarrBuilder) consolidate() error {
	text, err := asciiJSON(map[string]any{"zarr_consolidated_format": 1, "metadata": b.metadata})
	if err != nil {
		return err
	}
	b.addFile(".zmetadata", text)
	return nil
}

// ZarrChunk collects the values of a chunk of a streamed array. It stores them as they
// are compressed, byte k of all values after byte k-1 of all, so that each value is
// copied once. It must not be used concurrently.
type ZarrChunk struct {
	store *ZarrStore
	array *zarrStream
	// planes parts of data, with a part of every value each, which takes unit bytes.
	planes, unit  int
	data          []byte
	capacity, end int // in values
	scratch       []byte
}

// chunkPieceValues is how many values are converted at a time.
const chunkPieceValues = 4096

// firstChunkValues bounds what a chunk takes before it has values: a plan may claim
// more than its stimuli fill.
const firstChunkValues = 1 << 26

func (z *ZarrStore) newChunk(a *zarrStream) *ZarrChunk {
	c := &ZarrChunk{store: z, array: a, planes: 1, unit: a.region.dataType.Size()}
	if z.encoder != nil {
		c.planes, c.unit = c.unit, 1
	}
	return c
}

// size is the number of values of a whole chunk.
func (c *ZarrChunk) size() int { return c.store.chunkRows * c.array.region.rowElements }

// Rows is the number of whole rows that were appended since the last Encode.
func (c *ZarrChunk) Rows() int { return c.end / c.array.region.rowElements }

// Append adds values, in C order, of which rows may be appended in several parts. The
// error wraps ErrOrder where they do not fit the chunk.
func (c *ZarrChunk) Append(values []float32) error {
	if c.end+len(values) > c.size() {
		return fmt.Errorf("%w: %d values after %d of %d rows of %d", ErrOrder, len(values), c.end, c.store.chunkRows,
			c.array.region.rowElements)
	}
	if c.end+len(values) > c.capacity {
		c.grow(max(c.end+len(values), 2*c.capacity, firstChunkValues))
	}
	if c.planes == 4 && c.array.region.dataType == Float32 {
		c.shuffleFloat32s(values)
		return nil
	}
	element := c.planes * c.unit
	if c.scratch == nil {
		c.scratch = make([]byte, chunkPieceValues*element)
	}
	for len(values) > 0 {
		n := min(len(values), chunkPieceValues)
		raw := c.scratch[:n*element]
		if err := encodeFloat32s(raw, values[:n], c.array.region.dataType, c.array.region.order); err != nil {
			return err
		}
		if c.planes == 1 {
			copy(c.data[c.end*element:], raw)
		} else {
			for k := range c.planes {
				plane := c.data[k*c.capacity+c.end:][:n]
				for i := range plane {
					plane[i] = raw[i*element+k]
				}
			}
		}
		c.end += n
		values = values[n:]
	}
	return nil
}

// shuffleFloat32s is the usual case of Append, which the speed of writing depends on.
func (c *ZarrChunk) shuffleFloat32s(values []float32) {
	n := len(values)
	part := func(k int) []byte { return c.data[k*c.capacity+c.end:][:n] }
	p0, p1, p2, p3 := part(0), part(1), part(2), part(3)
	for i, v := range values {
		bits := math.Float32bits(v)
		p0[i], p1[i], p2[i], p3[i] = byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24)
	}
	c.end += n
}

// grow makes room for a number of values, at most a whole chunk's.
func (c *ZarrChunk) grow(values int) {
	values = min(values, c.size())
	data := make([]byte, values*c.planes*c.unit)
	for k := range c.planes {
		copy(data[k*values*c.unit:], c.data[k*c.capacity*c.unit:][:c.end*c.unit])
	}
	c.data, c.capacity = data, values
}

// Encode appends the chunk's file to dst, padded with zeros where rows are missing, and
// empties the chunk. The error wraps ErrOrder where there are no rows, or not whole ones.
func (c *ZarrChunk) Encode(dst []byte) ([]byte, error) {
	if c.end == 0 || c.end%c.array.region.rowElements != 0 {
		return nil, fmt.Errorf("%w: %d values are not whole rows of %d", ErrOrder, c.end, c.array.region.rowElements)
	}
	if c.capacity < c.size() {
		c.grow(c.size())
	}
	for k := range c.planes {
		clear(c.data[(k*c.capacity+c.end)*c.unit : (k+1)*c.capacity*c.unit])
	}
	c.end = 0
	return c.store.compress(c.data, dst), nil
}

// Stores are read as this package writes them: little-endian, C order, one chunk per group
// of presentations, compressed with zstd or not at all, shuffled or not.

const (
	// zarrMostChunk bounds a chunk; no larger ones are written.
	zarrMostChunk = math.MaxInt32
	// zarrWindow bounds what a compressed chunk makes the decoder allocate.
	zarrWindow = 64 << 20
	// zarrMostAhead bounds chunks that are read ahead.
	zarrMostAhead = 2 * zarrChunkBytes
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
	// ahead is the chunk that is being read meanwhile, nil for none; spare is a buffer for the next.
	ahead *zarrAhead
	spare []byte
}

// zarrAhead is a chunk that is read before it is asked for.
type zarrAhead struct {
	chunk  int
	done   chan struct{} // closed when what follows is there
	values []byte
	err    error
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
	if err != nil || a.info.DataType == InvalidType || a.info.BigEndian || a.info.ElementSize < 1 ||
		a.info.ElementSize > 4<<20 {
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

// load has a chunk in values. Where chunks are asked for one after the other, the next one is read on another
// core meanwhile, unless it is large.
func (a *storedZarr) load(chunk int) error {
	if chunk == a.chunk {
		return nil
	}
	last := a.chunk
	a.chunk = -1
	if next := a.ahead; next != nil {
		a.ahead = nil
		<-next.done
		if next.chunk == chunk && next.err == nil {
			a.spare, a.values = a.values, next.values
			a.chunk = chunk
		} else {
			a.spare = next.values
		}
	}
	if a.chunk < 0 {
		var err error
		if a.values, err = a.read(chunk, a.values); err != nil {
			return err
		}
		a.chunk = chunk
	}
	if last >= 0 && chunk == last+1 && (chunk+1)*a.chunkRows < a.info.Shape[0] && len(a.values) <= zarrMostAhead {
		next := &zarrAhead{chunk: chunk + 1, done: make(chan struct{})}
		buffer := a.spare
		a.ahead, a.spare = next, nil
		go func() {
			defer close(next.done)
			next.values, next.err = a.read(next.chunk, buffer)
		}()
	}
	return nil
}

// Close waits for what is read ahead.
func (a *storedZarr) Close() error {
	if a.ahead != nil {
		<-a.ahead.done
		a.ahead = nil
	}
	return nil
}

// read returns the bytes of a chunk, in buffer if they fit. What it allocates grows with what the file holds.
func (a *storedZarr) read(chunk int, into []byte) ([]byte, error) {
	path := filepath.Join(a.path, strconv.Itoa(chunk)+strings.Repeat(".0", len(a.info.Shape)-1))
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return into, fmt.Errorf("%s: %w: this chunk is missing; extract again", path, ErrFormat)
	}
	if err != nil {
		return into, err
	}
	defer f.Close()
	var in io.Reader = f
	if a.zstd {
		decoder, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(zarrWindow))
		if err != nil {
			return into, err
		}
		defer decoder.Close()
		in = decoder
	}
	want := int64(a.chunkRows) * int64(a.info.RowElements()) * int64(a.info.ElementSize)
	buffer := bytes.NewBuffer(into[:0])
	n, err := io.Copy(buffer, io.LimitReader(in, want+1))
	if err != nil {
		return into, fmt.Errorf("%s: %w: %v", path, ErrFormat, err)
	}
	if n != want {
		return into, fmt.Errorf("%s: %w: the chunk does not have the %d bytes that .zarray says", path, ErrFormat, want)
	}
	return buffer.Bytes(), nil
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

// float32s fills dst with shuffled float32 values of the loaded chunk.
func (a *storedZarr) float32s(dst []float32, first int) {
	n := len(a.values) / 4
	plane := func(k int) []byte { return a.values[k*n+first:][:len(dst)] }
	b0, b1, b2, b3 := plane(0), plane(1), plane(2), plane(3)
	for i := range dst {
		dst[i] = math.Float32frombits(uint32(b0[i]) | uint32(b1[i])<<8 | uint32(b2[i])<<16 | uint32(b3[i])<<24)
	}
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
		if a.shuffled && a.info.DataType == Float32 {
			dst = slices.Grow(dst, units)[:len(dst)+units]
			a.float32s(dst[len(dst)-units:], first+t*units)
			continue
		}
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
