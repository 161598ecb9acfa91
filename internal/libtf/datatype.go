package libtf

import "fmt"

// DataType is the type of a tensor's elements; the values are those of
// TF_DataType and of tensorflow.DataType in the protocol buffers.
type DataType int32

// The data types. Those without a Go type in [Element] can be outputs of a
// graph but not be viewed with [Data].
const (
	Float      DataType = 1
	Double     DataType = 2
	Int32      DataType = 3
	Uint8      DataType = 4
	Int16      DataType = 5
	Int8       DataType = 6
	String     DataType = 7
	Complex64  DataType = 8
	Int64      DataType = 9
	Bool       DataType = 10
	BFloat16   DataType = 14
	Uint16     DataType = 17
	Complex128 DataType = 18
	Half       DataType = 19
	Resource   DataType = 20
	Variant    DataType = 21
	Uint32     DataType = 22
	Uint64     DataType = 23
)

var dataTypes = map[DataType]struct {
	name string
	size int
}{
	Float: {"float32", 4}, Double: {"float64", 8}, Int32: {"int32", 4}, Uint8: {"uint8", 1}, Int16: {"int16", 2},
	Int8: {"int8", 1}, String: {"string", 0}, Complex64: {"complex64", 8}, Int64: {"int64", 8}, Bool: {"bool", 1},
	BFloat16: {"bfloat16", 2}, Uint16: {"uint16", 2}, Complex128: {"complex128", 16}, Half: {"float16", 2},
	Resource: {"resource", 0}, Variant: {"variant", 0}, Uint32: {"uint32", 4}, Uint64: {"uint64", 8},
}

// String returns the NumPy name of the type, for example "float32".
func (d DataType) String() string {
	if t, ok := dataTypes[d]; ok {
		return t.name
	}
	return fmt.Sprintf("DataType(%d)", int32(d))
}

// Size returns the bytes one element takes, or 0 for a type whose elements
// have no fixed size.
func (d DataType) Size() int { return dataTypes[d].size }

// BFloat16Bits holds one bfloat16 number: the upper half of a float32.
type BFloat16Bits uint16

// HalfBits holds one IEEE 754 binary16 number.
type HalfBits uint16

// Element is a Go type that a tensor can hold.
type Element interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 |
		bool | complex64 | complex128 | BFloat16Bits | HalfBits
}

// DataTypeOf returns the data type that holds elements of type T.
func DataTypeOf[T Element]() DataType {
	var zero T
	switch any(zero).(type) {
	case float32:
		return Float
	case float64:
		return Double
	case int8:
		return Int8
	case int16:
		return Int16
	case int32:
		return Int32
	case int64:
		return Int64
	case uint8:
		return Uint8
	case uint16:
		return Uint16
	case uint32:
		return Uint32
	case uint64:
		return Uint64
	case bool:
		return Bool
	case complex64:
		return Complex64
	case complex128:
		return Complex128
	case BFloat16Bits:
		return BFloat16
	default: // HalfBits, the last of Element
		return Half
	}
}
