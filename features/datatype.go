package features

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unsafe"
)

// DataType is the type of an array's elements.
type DataType uint8

// The element types that are read and written. Text is Unicode (NumPy's <U),
// Bytes is NumPy's S.
const (
	InvalidType DataType = iota
	Bool
	Int8
	Int16
	Int32
	Int64
	Uint8
	Uint16
	Uint32
	Uint64
	Float16
	Float32
	Float64
	Text
	Bytes
)

var dataTypeNames = [...]string{"invalid", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16",
	"uint32", "uint64", "float16", "float32", "float64", "text", "bytes"}

// String returns NumPy's name of the type.
func (d DataType) String() string {
	if int(d) < len(dataTypeNames) {
		return dataTypeNames[d]
	}
	return "DataType(" + strconv.Itoa(int(d)) + ")"
}

// ParseDataType reads what String returns. The error wraps ErrDataType.
func ParseDataType(text string) (DataType, error) {
	if i := slices.Index(dataTypeNames[:], text); i > 0 {
		return DataType(i), nil
	}
	return InvalidType, fmt.Errorf("%w: there is no type %q; there are %s", ErrDataType, text,
		strings.Join(dataTypeNames[1:], ", "))
}

// MarshalText returns the type's name, "" of InvalidType.
func (d DataType) MarshalText() ([]byte, error) {
	if d == InvalidType {
		return nil, nil
	}
	return []byte(d.String()), nil
}

// UnmarshalText reads what MarshalText returns.
func (d *DataType) UnmarshalText(text []byte) (err error) {
	if *d = InvalidType; len(text) > 0 {
		*d, err = ParseDataType(string(text))
	}
	return err
}

// Size returns the bytes of one element, 0 for Text and Bytes, whose size
// depends on the array.
func (d DataType) Size() int {
	switch d {
	case Bool, Int8, Uint8:
		return 1
	case Int16, Uint16, Float16:
		return 2
	case Int32, Uint32, Float32:
		return 4
	case Int64, Uint64, Float64:
		return 8
	}
	return 0
}

// descr is NumPy's little-endian type string.
func (d DataType) descr() string {
	switch d {
	case Bool:
		return "|b1"
	case Int8:
		return "|i1"
	case Uint8:
		return "|u1"
	case Int16, Int32, Int64:
		return "<i" + strconv.Itoa(d.Size())
	case Uint16, Uint32, Uint64:
		return "<u" + strconv.Itoa(d.Size())
	case Float16, Float32, Float64:
		return "<f" + strconv.Itoa(d.Size())
	}
	return ""
}

var littleEndianHost = func() bool {
	var probe = uint16(1)
	return *(*byte)(unsafe.Pointer(&probe)) == 1
}()

// float32Bytes views data as bytes in the host's order, without a copy.
func float32Bytes(data []float32) []byte {
	if len(data) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&data[0])), 4*len(data))
}

// encodeFloat32s stores src as elements of type d into dst, which must hold
// len(src)*d.Size() bytes. Integers are rounded to nearest and saturate;
// NaN becomes 0; booleans are src != 0.
func encodeFloat32s(dst []byte, src []float32, d DataType, order binary.ByteOrder) error {
	little := order == binary.ByteOrder(binary.LittleEndian)
	switch d {
	case Float32:
		switch {
		case little && littleEndianHost:
			copy(dst, float32Bytes(src))
		case little:
			for i, v := range src {
				binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
			}
		default:
			for i, v := range src {
				binary.BigEndian.PutUint32(dst[4*i:], math.Float32bits(v))
			}
		}
	case Float16:
		for i, v := range src {
			order.PutUint16(dst[2*i:], Float16FromFloat32(v))
		}
	case Float64:
		for i, v := range src {
			order.PutUint64(dst[8*i:], math.Float64bits(float64(v)))
		}
	case Int32:
		for i, v := range src {
			order.PutUint32(dst[4*i:], uint32(int32(saturate(v, math.MinInt32, math.MaxInt32))))
		}
	case Int64:
		for i, v := range src {
			order.PutUint64(dst[8*i:], uint64(saturate(v, math.MinInt64, math.MaxInt64)))
		}
	case Uint8:
		for i, v := range src {
			dst[i] = byte(saturate(v, 0, 255))
		}
	case Bool:
		for i, v := range src {
			dst[i] = 0
			if v != 0 {
				dst[i] = 1
			}
		}
	default:
		return fmt.Errorf("%w: cannot stream rows as %v", ErrDataType, d)
	}
	return nil
}

func saturate(v float32, low, high int64) int64 {
	f := math.RoundToEven(float64(v))
	switch {
	case f != f:
		return 0
	case f <= float64(low):
		return low
	case f >= float64(high): // float64(MaxInt64) is 2⁶³
		return high
	}
	return int64(f)
}
