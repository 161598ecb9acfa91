package features

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"

	"github.com/tfconvrnn/go/internal/pagecache"
)

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

// zarrSink writes a chunk when it is full.
type zarrSink struct {
	root      string
	chunkRows int
	total     int
	arrays    []zarrStream
	// files are all that is known beforehand, in order.
	files []plannedFile
	// columns have one element per column of the layout.
	columns []zarrColumn
	// encoder is nil where nothing is compressed; tiny is the one for tinyChunk.
	encoder, tiny *zstd.Encoder
	dataBytes     int64

	mu       sync.Mutex
	unsynced []string // files written since the last synced
}

type zarrStream struct {
	name      string // of the folder
	region    region // encodes; offsets are unused
	separator string // the chunk indices after the first
	rows      int    // in finished chunks
	sum       uint32 // of the finished chunks' bytes
	chunk     *ZarrChunk
	file      []byte
}

func newZarrSink(path string, layout *Layout, options Options) (*zarrSink, error) {
	z := &zarrSink{root: partialPath(path), total: layout.Rows}
	codec := &zarrCodec{ID: "zstd", Level: 1}
	if options.Uncompressed {
		codec = nil
	} else {
		var err error
		// Like numcodecs: without checksums of its own. A sealed store has better ones.
		common := []zstd.EOption{zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false)}
		if z.encoder, err = zstd.NewWriter(nil, append(common, zstd.WithEncoderConcurrency(0))...); err != nil {
			return nil, err
		}
		z.tiny, err = zstd.NewWriter(nil, append(common, zstd.WithEncoderConcurrency(1), zstd.WithSingleSegment(true))...)
		if err != nil {
			return nil, err
		}
	}
	largest := int64(1)
	for i := range layout.Streamed {
		s := &layout.Streamed[i]
		rowBytes := int64(s.rowElements()) * int64(s.DataType.Size())
		largest = max(largest, rowBytes)
		z.dataBytes += int64(layout.Rows) * rowBytes
	}
	z.chunkRows = options.ChunkRows
	if z.chunkRows <= 0 {
		z.chunkRows = layout.ZarrChunkRows()
	}
	z.chunkRows = min(z.chunkRows, layout.Rows)
	if largest*int64(z.chunkRows) > math.MaxInt32 {
		return nil, fmt.Errorf("%w: a chunk of %d presentations has %d bytes; readers take 2 GiB", ErrTooLarge, z.chunkRows, largest*int64(z.chunkRows))
	}
	b := zarrBuilder{sink: z, codec: codec, metadata: map[string]any{}, names: map[string]bool{}, dimensions: map[string]int{"presentation": layout.Rows}}
	return z, b.build(layout)
}

// zarrBuilder lays out metadata and the arrays that are known beforehand.
type zarrBuilder struct {
	sink       *zarrSink
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

func (b *zarrBuilder) addFile(name string, content []byte) {
	b.sink.files = append(b.sink.files, plannedFile{name: name, size: int64(len(content)), sections: []section{bytesSection(0, content)}})
}

// array adds an array's metadata and returns its folder's name.
func (b *zarrBuilder) array(name, dtype string, shape, chunks []int, filters []zarrFilter, dimensions []string, attributes map[string]any) (string, error) {
	name = zarrName(name)
	if b.names[name] {
		return "", fmt.Errorf("%w: two Zarr arrays would be called %q", ErrLayout, name)
	}
	b.names[name] = true
	if err := b.addJSON(name+"/.zarray", zarrArray{Chunks: chunks, Compressor: b.codec, DType: dtype, Filters: filters, Order: "C", Shape: shape, Format: 2}); err != nil {
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
func (b *zarrBuilder) constant(name string, shape []int, dimensions []string, values any) error {
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
	folder, err := b.array(name, descr, shape, chunks, nil, dimensions, nil)
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
	b.addFile(folder+"/"+key, b.sink.compress(raw.Bytes(), nil))
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
	group := map[string]any{"model": layout.Model, "identifier": layout.Identifier, "stimulus_set_identifier": layout.StimulusSet}
	for _, a := range layout.Attributes {
		group[a.Name] = a.Value
	}
	if err := b.addJSON(".zgroup", map[string]int{"zarr_format": 2}); err != nil {
		return err
	}
	if err := b.addJSON(".zattrs", group); err != nil {
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
		if err := b.constant(c.Name, c.Shape, dimensions, c.Values); err != nil {
			return err
		}
	}

	shared := sharedTimesteps(layout)
	timeWritten := map[string]bool{}
	for i := range layout.Streamed {
		s := &layout.Streamed[i]
		dimensions := []string{"presentation"}
		own := append([]string{}, coordinates...)
		attributes := map[string]any{}
		if s.Layer != nil {
			prefix := ""
			if !shared {
				prefix = zarrName(s.Name) + "_"
			}
			time := prefix + "timestep"
			b.dimensions[time] = len(s.Layer.Timesteps)
			dimensions = append(dimensions, time)
			if !timeWritten[time] {
				timeWritten[time] = true
				timesteps, ms := s.Layer.times()
				if err := b.constant(time, []int{len(timesteps)}, []string{time}, timesteps); err != nil {
					return err
				}
				if err := b.constant(prefix+"ms", []int{len(timesteps)}, []string{time}, ms); err != nil {
					return err
				}
			}
			own = append(own, prefix+"ms")
			if s.Layer.Driven != nil {
				name := zarrName(s.Name) + "_driven"
				if err := b.constant(name, []int{len(s.Layer.Driven)}, []string{time}, s.Layer.Driven); err != nil {
					return err
				}
				own = append(own, name)
			}
			attributes["layer"] = s.Name
			if s.Layer.Region != "" {
				attributes["region"] = s.Layer.Region
			}
		}
		for d := len(dimensions) - 1; d < len(s.RowShape); d++ {
			name := s.dimension(d)
			if s.Layer != nil {
				name = zarrName(s.Name) + "_" + name
			}
			dimensions = append(dimensions, b.dimension(s.Name, name, s.RowShape[d]))
		}
		for _, c := range layout.Constants { // such as the classes' names
			if len(c.Dimensions) == 1 && contains(dimensions, c.Dimensions[0]) && zarrName(c.Name) != c.Dimensions[0] {
				own = append(own, zarrName(c.Name))
			}
		}
		if len(s.RowShape) > 0 {
			attributes["coordinates"] = strings.Join(own, " ")
		}
		shape := append([]int{layout.Rows}, s.RowShape...)
		chunks := append([]int{b.sink.chunkRows}, s.RowShape...)
		var filters []zarrFilter
		if size := s.DataType.Size(); b.codec != nil && size > 1 {
			filters = []zarrFilter{{"shuffle", size}}
		}
		folder, err := b.array(s.Name, s.DataType.descr(), shape, chunks, filters, dimensions, attributes)
		if err != nil {
			return err
		}
		b.sink.arrays = append(b.sink.arrays, zarrStream{name: folder, region: contiguousRegion(0, 0, s),
			separator: strings.Repeat(".0", len(s.RowShape))})
	}
	text, err := asciiJSON(map[string]any{"zarr_consolidated_format": 1, "metadata": b.metadata})
	if err != nil {
		return err
	}
	b.addFile(".zmetadata", text)
	return nil
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
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

// compress appends to dst.
func (z *zarrSink) compress(raw, dst []byte) []byte {
	if z.encoder == nil {
		return append(dst, raw...)
	}
	if len(raw) < tinyChunk {
		return z.tiny.EncodeAll(raw, dst)
	}
	return z.encoder.EncodeAll(raw, dst)
}

// size counts what compression cannot save: incompressible chunks grow by a
// few bytes, and files take whole blocks.
func (z *zarrSink) size() int64 {
	const block = 4096
	total := z.dataBytes
	for _, f := range z.files {
		total += (f.size + block - 1) / block * block
	}
	chunks := int64((z.total + z.chunkRows - 1) / z.chunkRows)
	padding := chunks*int64(z.chunkRows) - int64(z.total)
	for _, a := range z.arrays {
		total += chunks*block + padding*a.region.rowBytes
	}
	return total
}

func (z *zarrSink) fingerprint() (string, error) {
	hash := sha256.New()
	fmt.Fprintf(hash, "chunks of %d\n", z.chunkRows)
	for _, f := range z.files {
		fmt.Fprintf(hash, "%q %d\n", f.name, f.size)
		for _, s := range f.sections {
			if err := s.write(hash); err != nil {
				return "", err
			}
		}
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func (z *zarrSink) open(*os.File) error { return nil }
func (z *zarrSink) close()              {}

func (z *zarrSink) used() int64 {
	total := int64(0)
	filepath.WalkDir(z.root, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil // what cannot be counted counts as nothing
		}
		if info, err := entry.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}

func (z *zarrSink) begin() error {
	for _, f := range z.files {
		var content bytes.Buffer
		for _, s := range f.sections {
			if err := s.write(&content); err != nil {
				return err
			}
		}
		if err := z.put(f.name, content.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// put writes one file; nobody looks at it before the whole folder is renamed. Links
// in a folder that someone else left lead nowhere.
func (z *zarrSink) put(name string, content []byte) error {
	root, err := os.OpenRoot(z.root)
	if err != nil {
		return err
	}
	defer root.Close()
	name = filepath.FromSlash(name)
	path := filepath.Join(z.root, name)
	err = root.WriteFile(name, content, 0o666)
	if errors.Is(err, fs.ErrNotExist) {
		if err := root.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			return err
		}
		err = root.WriteFile(name, content, 0o666)
	}
	if err != nil {
		return err
	}
	z.mu.Lock()
	z.unsynced = append(z.unsynced, path)
	z.mu.Unlock()
	return nil
}

func (a *zarrStream) chunkName(index int) string {
	return a.name + "/" + strconv.Itoa(index) + a.separator
}

func (z *zarrSink) state(array int) (int, uint32) { return z.arrays[array].rows, z.arrays[array].sum }

func (z *zarrSink) restore(rows int, sums []uint32) {
	for i := range z.arrays {
		z.arrays[i].rows, z.arrays[i].sum = rows, sums[i]
	}
}

func (z *zarrSink) write(array, _ int, data []float32) error {
	a := &z.arrays[array]
	if a.chunk == nil {
		a.chunk = z.newChunk(a)
	}
	row := a.region.rowElements
	for len(data) > 0 {
		n := min(len(data), (z.chunkRows-a.chunk.Rows())*row)
		if err := a.chunk.Append(data[:n]); err != nil {
			return err
		}
		data = data[n:]
		// The last chunk may have fewer rows.
		if rows := a.chunk.Rows(); rows == z.chunkRows || a.rows+rows == z.total {
			if err := z.writeChunk(a); err != nil {
				return err
			}
		}
	}
	return nil
}

func (z *zarrSink) writeChunk(a *zarrStream) (err error) {
	rows := a.chunk.Rows()
	if a.file, err = a.chunk.Encode(a.file[:0]); err != nil {
		return err
	}
	if err := z.put(a.chunkName(a.rows/z.chunkRows), a.file); err != nil {
		return err
	}
	a.sum = crc32.Update(a.sum, crc32.IEEETable, a.file)
	a.rows += rows
	return nil
}

// readBack sums the files of whole chunks.
func (z *zarrSink) readBack(array, from, to int, sum uint32, buffer []byte) (uint32, error) {
	a := &z.arrays[array]
	if from%z.chunkRows != 0 || to%z.chunkRows != 0 && to != z.total {
		return ^sum, nil // no checkpoint of ours
	}
	for row := from; row < to; row += z.chunkRows {
		file, err := os.Open(filepath.Join(z.root, filepath.FromSlash(a.chunkName(row/z.chunkRows))))
		if errors.Is(err, fs.ErrNotExist) {
			return ^sum, nil
		}
		if err != nil {
			return sum, err
		}
		info, err := file.Stat()
		if err == nil {
			sum, err = sumFile(file, 0, info.Size(), sum, buffer)
		}
		file.Close()
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

func (z *zarrSink) synced() func() error {
	z.mu.Lock()
	names := z.unsynced
	z.unsynced = nil
	z.mu.Unlock()
	return func() error {
		folders := map[string]bool{}
		for _, name := range names {
			file, err := os.Open(name)
			if err != nil {
				return err
			}
			if err = file.Sync(); err == nil {
				pagecache.Drop(file)
			}
			file.Close()
			if err != nil {
				return err
			}
			folders[filepath.Dir(name)] = true
		}
		for folder := range folders {
			if err := syncFolder(folder); err != nil {
				return err
			}
		}
		return syncFolder(z.root)
	}
}

// complete has nothing left to write: every chunk and all metadata are there.
// A chunk beyond what the journal vouched for has been written again.
func (z *zarrSink) complete() error { return nil }
