package features

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/klauspost/compress/zstd"
)

// ZarrStore is a Zarr store whose parts are encoded one by one, in any order and on
// any machine, and written by the caller: the same layout and the same rows give the
// same bytes as Create. It is safe for concurrent use.
//
//	store, err := features.NewZarrStore(layout, features.Options{ChunkRows: 64})
//	chunk := store.NewChunk(0)
//	err = chunk.Append(row)               // for each of its rows
//	data, err := chunk.Encode(nil)        // to be written as store.ChunkName(0, 17)
//	err = store.Files(write)              // all but the chunks and later columns
type ZarrStore struct {
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
}

// zarrStream is a streamed array.
type zarrStream struct {
	name      string // of the folder
	region    region // encodes; offsets are unused
	separator string // the chunk indices after the first
}

// NewZarrStore lays out a store. Of the options only ChunkRows and Uncompressed count.
// Errors: ErrLayout, ErrDataType, ErrTooLarge.
func NewZarrStore(layout *Layout, options Options) (*ZarrStore, error) {
	if err := layout.validate(); err != nil {
		return nil, err
	}
	z := &ZarrStore{total: layout.Rows}
	var codec *zarrCodec
	if !options.Uncompressed {
		var err error
		if codec, err = z.compressed(); err != nil {
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
		return nil, fmt.Errorf("%w: a chunk of %d presentations has %d bytes; readers take 2 GiB", ErrTooLarge, z.chunkRows,
			largest*int64(z.chunkRows))
	}
	b := zarrBuilder{store: z, codec: codec, metadata: map[string]any{}, names: map[string]bool{},
		dimensions: map[string]int{"presentation": layout.Rows}}
	return z, b.build(layout)
}

// compressed makes the encoders. Like numcodecs', they write no checksums of their own. A sealed store has
// better ones.
func (z *ZarrStore) compressed() (codec *zarrCodec, err error) {
	common := []zstd.EOption{zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false)}
	if z.encoder, err = zstd.NewWriter(nil, append(common, zstd.WithEncoderConcurrency(0))...); err != nil {
		return nil, err
	}
	z.tiny, err = zstd.NewWriter(nil, append(common, zstd.WithEncoderConcurrency(1), zstd.WithSingleSegment(true))...)
	return &zarrCodec{ID: "zstd", Level: 1}, err
}

// ZarrChunkRows is the number of presentations in a Zarr chunk that Options.ChunkRows
// chooses when it is 0 and there are as many.
func (l *Layout) ZarrChunkRows() int {
	largest := int64(1)
	for i := range l.Streamed {
		largest = max(largest, int64(l.Streamed[i].rowElements())*int64(l.Streamed[i].DataType.Size()))
	}
	return int(min(max(zarrChunkBytes/largest, 1), zarrMaxRows))
}

// ChunkRows is the number of presentations in a chunk of the streamed arrays.
func (z *ZarrStore) ChunkRows() int { return z.chunkRows }

// ChunkName is the name of a streamed array's chunk within the store, with a slash.
func (z *ZarrStore) ChunkName(array, chunk int) string { return z.arrays[array].chunkName(chunk) }

// Files passes the name and content of everything in the store but the chunks of
// streamed arrays and of columns without values. The file by which readers know a
// store comes last.
func (z *ZarrStore) Files(put func(name string, content []byte) error) error {
	write := func(f *plannedFile) error {
		var content bytes.Buffer
		for _, s := range f.sections {
			if err := s.write(&content); err != nil {
				return err
			}
		}
		return put(f.name, content.Bytes())
	}
	var marker *plannedFile
	for i := range z.files {
		f := &z.files[i]
		if f.name == zarrMarker {
			marker = f
			continue
		}
		if err := write(f); err != nil {
			return err
		}
	}
	return write(marker)
}

// ColumnRows is the number of values in a chunk of a column.
func (z *ZarrStore) ColumnRows(column int) int { return z.columns[column].chunkRows }

// Column encodes a chunk of a column: values, []string, []float64, []int64 or []bool,
// are the column's from chunk·ColumnRows on. The error wraps ErrLayout.
func (z *ZarrStore) Column(column, chunk int, values any) (name string, content []byte, err error) {
	c := &z.columns[column]
	raw, err := c.encode(values)
	if err != nil {
		return "", nil, err
	}
	return c.folder + "/" + strconv.Itoa(chunk), z.compress(raw, nil), nil
}

// NewChunk returns an empty chunk of a streamed array; its Encode gives what is to be
// written as ChunkName, whichever of the array's chunks it is.
func (z *ZarrStore) NewChunk(array int) *ZarrChunk { return z.newChunk(&z.arrays[array]) }

// zarrColumn is an array of one value per presentation.
type zarrColumn struct {
	folder      string
	dataType    DataType
	width       int // of texts
	elementSize int
	chunkRows   int
}

// column adds the array of a column, and its chunks if there are values.
func (b *zarrBuilder) column(c Column, rows int) error {
	_, d := valuesOf(c.Values)
	width := 0
	if later, ok := c.Values.(ColumnType); ok {
		d, width = later.DataType, later.Width
	} else if text, ok := c.Values.([]string); ok {
		width = textWidth(text)
	}
	column := zarrColumn{dataType: d, width: width, elementSize: d.Size()}
	descr := d.descr()
	if d == Text {
		column.elementSize, descr = 4*width, fmt.Sprintf("<U%d", width)
	}
	if column.elementSize > math.MaxInt32 {
		return fmt.Errorf("%w: a value of %q does not fit a Zarr chunk; shorten its values", ErrTooLarge, c.Name)
	}
	column.chunkRows = min(rows, zarrColumnRows, max(1, zarrColumnBytes/column.elementSize))
	var err error
	var attributes map[string]any
	if c.Original != "" {
		attributes = map[string]any{"original_name": c.Original}
	}
	column.folder, err = b.array(c.Name, descr, []int{rows}, []int{column.chunkRows}, nil, []string{"presentation"},
		attributes)
	if err != nil {
		return err
	}
	b.store.columns = append(b.store.columns, column)
	if _, later := c.Values.(ColumnType); later {
		return nil
	}
	for first, chunk := 0, 0; first < rows; first, chunk = first+column.chunkRows, chunk+1 {
		raw, err := column.encode(sliceValues(c.Values, first, min(first+column.chunkRows, rows)))
		if err != nil {
			return err
		}
		b.addFile(column.folder+"/"+strconv.Itoa(chunk), b.store.compress(raw, nil))
	}
	return nil
}

func sliceValues(values any, from, to int) any {
	switch v := values.(type) {
	case []string:
		return v[from:to]
	case []float64:
		return v[from:to]
	case []int64:
		return v[from:to]
	case []bool:
		return v[from:to]
	}
	return nil
}

// encode returns a chunk before compression, the last padded with zeros.
func (c *zarrColumn) encode(values any) ([]byte, error) {
	n, d := valuesOf(values)
	if d != c.dataType || n == 0 || n > c.chunkRows {
		return nil, fmt.Errorf("%w: %d values %T for up to %d of column %s", ErrLayout, n, values, c.chunkRows, c.folder)
	}
	if text, ok := values.([]string); ok && textWidth(text) > c.width {
		return nil, fmt.Errorf("%w: column %s has a text longer than %d characters", ErrLayout, c.folder, c.width)
	}
	var raw bytes.Buffer
	raw.Grow(c.chunkRows * c.elementSize)
	if err := writeValues(&raw, values, c.width, binary.LittleEndian); err != nil {
		return nil, err
	}
	return append(raw.Bytes(), make([]byte, c.chunkRows*c.elementSize-raw.Len())...), nil
}

// compress appends to dst.
func (z *ZarrStore) compress(raw, dst []byte) []byte {
	if z.encoder == nil {
		return append(dst, raw...)
	}
	if len(raw) < tinyChunk {
		return z.tiny.EncodeAll(raw, dst)
	}
	return z.encoder.EncodeAll(raw, dst)
}

// Size is the most bytes that the store takes on a disk. It counts what compression cannot
// save: incompressible chunks grow by a few bytes, and files take whole blocks.
func (z *ZarrStore) Size() int64 {
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

func (a *zarrStream) chunkName(index int) string {
	return a.name + "/" + strconv.Itoa(index) + a.separator
}
