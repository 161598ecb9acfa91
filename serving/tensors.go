package serving

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// tensor is an input as it came.
type tensor struct {
	name, datatype string
	shape          []int64
	// data has the values in C order, little-endian; those of BYTES are in items.
	data  []byte
	items [][]byte
}

// Sizes of the data types of the protocol, in bytes; BYTES has none of its own.
var datatypeSizes = map[string]int{
	"BOOL": 1, "UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8, "INT8": 1, "INT16": 2, "INT32": 4, "INT64": 8, "FP16": 2,
	"BF16": 2, "FP32": 4, "FP64": 8, "BYTES": 0,
}

// elements is the product of the shape.
func (t *tensor) elements() (int, error) {
	n := int64(1)
	for _, d := range t.shape {
		if d < 0 || d > math.MaxInt32 || n > math.MaxInt32 {
			return 0, requestf("input %s: impossible shape %v", t.name, t.shape)
		}
		n *= d
	}
	if n > math.MaxInt32 {
		return 0, requestf("input %s: impossible shape %v", t.name, t.shape)
	}
	return int(n), nil
}

// setRaw takes the values of a tensor in the binary form, which become the tensor's.
func (t *tensor) setRaw(raw []byte) error {
	n, err := t.elements()
	if err != nil {
		return err
	}
	if t.datatype == "BYTES" {
		items := make([][]byte, 0, min(n, len(raw)/4))
		for len(raw) > 0 {
			if len(raw) < 4 || uint64(binary.LittleEndian.Uint32(raw)) > uint64(len(raw)-4) {
				return requestf("input %s: element %d of BYTES is cut short", t.name, len(items))
			}
			size := int(binary.LittleEndian.Uint32(raw))
			items = append(items, raw[4:4+size])
			raw = raw[4+size:]
		}
		if len(items) != n {
			return requestf("input %s: the shape %v has %d elements, but there are %d", t.name, t.shape, n, len(items))
		}
		t.items = items
		return nil
	}
	size, known := datatypeSizes[t.datatype]
	if !known {
		return requestf("input %s: unknown data type %q", t.name, t.datatype)
	}
	if len(raw) != n*size {
		return requestf("input %s: the shape %v of %s takes %d bytes, but there are %d", t.name, t.shape, t.datatype, n*size,
			len(raw))
	}
	t.data = raw
	return nil
}

// float32s returns the values of an FP32.
func (t *tensor) float32s() []float32 {
	values := make([]float32, len(t.data)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.data[4*i:]))
	}
	return values
}

// output is a tensor to be put out. One of floats, ints, bools and texts holds the values.
type output struct {
	name, datatype string
	shape          []int64
	// floats are parts of the values, one after the other.
	floats [][]float32
	ints   []int32
	bools  []bool
	texts  []string
	binary bool
}

func newShape(dimensions ...int) []int64 {
	shape := make([]int64, len(dimensions))
	for i, d := range dimensions {
		shape[i] = int64(d)
	}
	return shape
}

// size is the number of bytes of the binary form.
func (o *output) size() int {
	n := 4*len(o.ints) + len(o.bools)
	for _, part := range o.floats {
		n += 4 * len(part)
	}
	for _, text := range o.texts {
		n += 4 + len(text)
	}
	return n
}

// appendRaw passes the binary form in parts, in a buffer that is used again.
func (o *output) writeRaw(write func([]byte) error) error {
	const most = 64 << 10
	buffer := make([]byte, 0, min(most, o.size()))
	flush := func() error {
		err := write(buffer)
		buffer = buffer[:0]
		return err
	}
	for _, part := range o.floats {
		for chunk := range slices.Chunk(part, most/4) {
			if len(buffer)+4*len(chunk) > most {
				if err := flush(); err != nil {
					return err
				}
			}
			start := len(buffer)
			buffer = slices.Grow(buffer, 4*len(chunk))[:start+4*len(chunk)]
			dst := buffer[start:]
			for i, v := range chunk {
				binary.LittleEndian.PutUint32(dst[4*i:4*i+4], math.Float32bits(v))
			}
		}
	}
	for _, v := range o.ints {
		buffer = binary.LittleEndian.AppendUint32(buffer, uint32(v))
	}
	for _, v := range o.bools {
		b := byte(0)
		if v {
			b = 1
		}
		buffer = append(buffer, b)
	}
	for _, text := range o.texts {
		buffer = binary.LittleEndian.AppendUint32(buffer, uint32(len(text)))
		buffer = append(buffer, text...)
	}
	if len(buffer) == 0 {
		return nil
	}
	return flush()
}

// checkFinite returns an error if values cannot be written as JSON.
func (o *output) checkFinite() error {
	for _, part := range o.floats {
		for _, v := range part {
			if math.IsInf(float64(v), 0) || v != v {
				return fmt.Errorf("%w: output %s has the value %v, which JSON cannot hold; ask for it in binary form", ErrRequest,
					o.name, v)
			}
		}
	}
	return nil
}
