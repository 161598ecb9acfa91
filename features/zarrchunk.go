package features

import (
	"fmt"
	"math"
)

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
		return fmt.Errorf("%w: %d values after %d of %d rows of %d", ErrOrder, len(values), c.end, c.store.chunkRows, c.array.region.rowElements)
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
