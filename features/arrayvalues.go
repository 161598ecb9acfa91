package features

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// CheckRank returns ErrRank unless the array has the given number of
// dimensions.
func (a *Array) CheckRank(rank int) error {
	if len(a.info.Shape) != rank {
		return fmt.Errorf("%s: %w: shape %v, %d dimensions are needed", a.label(), ErrRank, a.info.Shape, rank)
	}
	return nil
}

// Uint8s reads count rows from first on of an array of uint8, in C order. The
// slice is the caller's. Errors: ErrDataType, ErrRange, ErrFormat.
func (a *Array) Uint8s(first, count int) ([]uint8, error) {
	if a.info.DataType != Uint8 {
		return nil, a.wrongType("uint8")
	}
	return a.rawRows(first, count)
}

// Float32s reads count rows from first on of an array of float16, float32 or
// float64 (rounded to float32), in C order. The slice is the caller's.
// Errors: ErrDataType, ErrRange, ErrFormat.
func (a *Array) Float32s(first, count int) ([]float32, error) {
	switch a.info.DataType {
	case Float16, Float32, Float64:
	default:
		return nil, a.wrongType("float16, float32 or float64")
	}
	raw, err := a.rawRows(first, count)
	if err != nil {
		return nil, err
	}
	order := a.byteOrder()
	values := make([]float32, len(raw)/a.info.ElementSize)
	switch {
	case a.info.DataType == Float32 && littleEndianHost && !a.info.BigEndian:
		copy(float32Bytes(values), raw)
	case a.info.DataType == Float32:
		for i := range values {
			values[i] = math.Float32frombits(order.Uint32(raw[4*i:]))
		}
	case a.info.DataType == Float16:
		for i := range values {
			values[i] = Float32FromFloat16(order.Uint16(raw[2*i:]))
		}
	default:
		for i := range values {
			values[i] = float32(math.Float64frombits(order.Uint64(raw[8*i:])))
		}
	}
	return values, nil
}

// Float64s is Float32s without the rounding.
func (a *Array) Float64s(first, count int) ([]float64, error) {
	if a.info.DataType != Float64 {
		narrow, err := a.Float32s(first, count)
		if err != nil {
			return nil, err
		}
		values := make([]float64, len(narrow))
		for i, v := range narrow {
			values[i] = float64(v)
		}
		return values, nil
	}
	raw, err := a.rawRows(first, count)
	if err != nil {
		return nil, err
	}
	order := a.byteOrder()
	values := make([]float64, len(raw)/8)
	for i := range values {
		values[i] = math.Float64frombits(order.Uint64(raw[8*i:]))
	}
	return values, nil
}

// Int64s reads count rows from first on of an array of integers of any width
// or booleans (0, 1). An unsigned value beyond the largest int64 is
// ErrDataType.
func (a *Array) Int64s(first, count int) ([]int64, error) {
	switch a.info.DataType {
	case Bool, Int8, Int16, Int32, Int64, Uint8, Uint16, Uint32, Uint64:
	default:
		return nil, a.wrongType("integer or bool")
	}
	raw, err := a.rawRows(first, count)
	if err != nil {
		return nil, err
	}
	order := a.byteOrder()
	values := make([]int64, len(raw)/a.info.ElementSize)
	for i := range values {
		element := raw[i*a.info.ElementSize:]
		switch a.info.DataType {
		case Bool, Uint8:
			values[i] = int64(element[0])
		case Int8:
			values[i] = int64(int8(element[0]))
		case Int16:
			values[i] = int64(int16(order.Uint16(element)))
		case Uint16:
			values[i] = int64(order.Uint16(element))
		case Int32:
			values[i] = int64(int32(order.Uint32(element)))
		case Uint32:
			values[i] = int64(order.Uint32(element))
		default:
			v := order.Uint64(element)
			if a.info.DataType == Uint64 && v > math.MaxInt64 {
				return nil, fmt.Errorf("%s: %w: %d exceeds int64", a.label(), ErrDataType, v)
			}
			values[i] = int64(v)
		}
	}
	return values, nil
}

// Strings reads count rows from first on of an array of Unicode or byte
// strings; trailing NULs are padding. Code points that are not Unicode become
// U+FFFD.
func (a *Array) Strings(first, count int) ([]string, error) {
	if a.info.DataType != Text && a.info.DataType != Bytes || a.info.ElementSize == 0 {
		return nil, a.wrongType("strings")
	}
	raw, err := a.rawRows(first, count)
	if err != nil {
		return nil, err
	}
	order := a.byteOrder()
	values := make([]string, len(raw)/a.info.ElementSize)
	for i := range values {
		element := raw[i*a.info.ElementSize : (i+1)*a.info.ElementSize]
		if a.info.DataType == Bytes {
			values[i] = strings.ToValidUTF8(string(bytes.TrimRight(element, "\x00")), "\uFFFD")
			continue
		}
		for len(element) >= 4 && order.Uint32(element[len(element)-4:]) == 0 {
			element = element[:len(element)-4]
		}
		var text []byte
		for ; len(element) >= 4; element = element[4:] {
			point := order.Uint32(element)
			if point > utf8.MaxRune {
				point = utf8.RuneError
			}
			text = utf8.AppendRune(text, rune(point))
		}
		values[i] = string(text)
	}
	return values, nil
}

func (a *Array) wrongType(want string) error {
	return fmt.Errorf("%s: %w: elements are %v (%s), %s needed", a.label(), ErrDataType, a.info.DataType,
		a.info.Descr, want)
}

func (a *Array) byteOrder() binary.ByteOrder {
	if a.info.BigEndian {
		return binary.BigEndian
	}
	return binary.LittleEndian
}
