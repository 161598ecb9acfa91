package features

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
)

// fileRows reads rows that lie in a file as a region says, which was checked against the
// file's size.
type fileRows struct {
	file io.ReaderAt
	region
	steps int // timesteps of a row

	buffer []byte
}

func (f *fileRows) appendRow(dst []float32, row int, timesteps []int) ([]float32, error) {
	units := f.rowElements / f.steps
	start := f.offset + int64(row)*f.stride
	size := int64(f.dataType.Size())
	at := len(dst)
	dst = slices.Grow(dst, units*len(timesteps))[:at+units*len(timesteps)]
	out := dst[at:]
	if f.transpose == 0 { // [timesteps][units]
		for _, t := range timesteps {
			offset := start + int64(t)*int64(units)*size
			for part := out[:units]; len(part) > 0; {
				n := min(len(part), pieceBytes/int(size))
				raw, err := f.read(offset, int64(n)*size)
				if err != nil {
					return nil, err
				}
				decodeFloat32s(part[:n], raw, f.dataType, f.order)
				part, offset = part[n:], offset+int64(n)*size
			}
			out = out[units:]
		}
		return dst, nil
	}
	element := make([]float32, f.steps) // [units][timesteps]
	group := max(1, pieceBytes/(f.steps*int(size)))
	for u := 0; u < units; u += group {
		n := min(group, units-u)
		raw, err := f.read(start+int64(u*f.steps)*size, int64(n*f.steps)*size)
		if err != nil {
			return nil, err
		}
		for i := range n {
			decodeFloat32s(element, raw[i*f.steps*int(size):], f.dataType, f.order)
			for k, t := range timesteps {
				out[k*units+u+i] = element[t]
			}
		}
	}
	return dst, nil
}

func (f *fileRows) read(offset, length int64) ([]byte, error) {
	f.buffer = slices.Grow(f.buffer[:0], int(length))[:length]
	return f.buffer, readAt(f.file, f.buffer, offset)
}

// readAt fills b; a file that ends before is damaged.
func readAt(r io.ReaderAt, b []byte, offset int64) error {
	n, err := r.ReadAt(b, offset)
	switch {
	case n == len(b):
		return nil
	case err == io.EOF:
		return fmt.Errorf("%w: truncated at byte %d", ErrFormat, offset+int64(n))
	}
	return err
}

// decodeFloat32s is the reverse of encodeFloat32s for floating-point numbers; float64 is
// rounded.
func decodeFloat32s(dst []float32, raw []byte, d DataType, order binary.ByteOrder) {
	switch d {
	case Float16:
		for i := range dst {
			dst[i] = Float32FromFloat16(order.Uint16(raw[2*i:]))
		}
	case Float32:
		if littleEndianHost && order == binary.ByteOrder(binary.LittleEndian) {
			copy(float32Bytes(dst), raw)
			return
		}
		for i := range dst {
			dst[i] = math.Float32frombits(order.Uint32(raw[4*i:]))
		}
	case Float64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(order.Uint64(raw[8*i:])))
		}
	}
}

// arrayRows reads rows of an array of NumPy's, of all timesteps at once.
type arrayRows struct {
	array *Array
	steps int
}

func (a arrayRows) appendRow(dst []float32, row int, timesteps []int) ([]float32, error) {
	values, err := a.array.Float32s(row, 1)
	if err != nil {
		return nil, err
	}
	units := len(values) / a.steps
	for _, t := range timesteps {
		dst = append(dst, values[t*units:(t+1)*units]...)
	}
	return dst, nil
}

// arrayColumn reads all values of an array of one dimension.
func arrayColumn(a *Array) (any, error) {
	if err := a.CheckRank(1); err != nil {
		return nil, err
	}
	n := a.info.Rows()
	switch a.info.DataType {
	case Text, Bytes:
		return a.Strings(0, n)
	case Float16, Float32, Float64:
		return a.Float64s(0, n)
	case Bool:
		values, err := a.Int64s(0, n)
		return booleans(values), err
	}
	return a.Int64s(0, n)
}

func booleans(values []int64) []bool {
	b := make([]bool, len(values))
	for i, v := range values {
		b[i] = v != 0
	}
	return b
}

// integersOf takes a column as integers.
func integersOf(values any, err error) ([]int64, error) {
	if err != nil {
		return nil, err
	}
	switch v := values.(type) {
	case []int64:
		return v, nil
	case []bool:
		list := make([]int64, len(v))
		for i, b := range v {
			if b {
				list[i] = 1
			}
		}
		return list, nil
	}
	return nil, fmt.Errorf("%w: integers are needed, not %T", ErrDataType, values)
}

// readBounded reads a small file of a folder. One that is missing makes the output a
// damaged one.
func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s: %w: more than %d bytes", path, ErrFormat, most)
	}
	return text, err
}
