package bundle

import (
	"encoding/binary"
	"math/bits"

	"github.com/tfconvrnn/go/internal/tfpb"
)

// box is one slice of a partitioned tensor: length[d] indices of dimension d from start[d] on.
type box struct {
	start, length []int64
}

// overlaps says whether two boxes of the same rank share an element.
func (b box) overlaps(o box) bool {
	for d := range b.start {
		if b.start[d]+b.length[d] <= o.start[d] || o.start[d]+o.length[d] <= b.start[d] {
			return false
		}
	}
	return true
}

// newBox resolves a slice of a tensor of the given shape, and says whether it lies inside and is not
// empty.
func newBox(slice *tfpb.TensorSliceProto, shape []int64) (box, bool) {
	if len(slice.GetExtent()) != len(shape) {
		return box{}, false
	}
	b := box{start: make([]int64, len(shape)), length: make([]int64, len(shape))}
	for d, extent := range slice.GetExtent() {
		b.start[d], b.length[d] = extent.GetStart(), shape[d]
		if extent.GetHasLength() != nil {
			b.length[d] = extent.GetLength()
		} else if b.start[d] != 0 {
			return box{}, false
		}
		if b.start[d] < 0 || b.length[d] <= 0 || b.length[d] > shape[d] || b.start[d] > shape[d]-b.length[d] {
			return box{}, false
		}
	}
	return b, true
}

// scatter copies src, the elements of b in C order, to their places in dst, a tensor of the given
// shape.
func (b box) scatter(dst, src []float32, shape []int64) {
	// run is the number of elements of b that lie side by side in dst; the dimensions from inner on
	// make one run.
	inner, run, stride := len(shape), int64(1), int64(1)
	for inner > 0 {
		inner--
		run *= b.length[inner]
		stride *= shape[inner]
		if b.length[inner] != shape[inner] {
			break
		}
	}
	// at holds the position of the current run, relative to b, in the dimensions before inner.
	at := make([]int64, inner)
	base := int64(0)
	if len(shape) > 0 {
		base = b.start[inner] * (stride / shape[inner])
	}
	for len(src) > 0 {
		offset, step := base, stride
		for d := inner - 1; d >= 0; d-- {
			offset += (b.start[d] + at[d]) * step
			step *= shape[d]
		}
		copy(dst[offset:offset+run], src[:run])
		src = src[run:]
		for d := inner - 1; d >= 0; d-- {
			if at[d]++; at[d] < b.length[d] {
				break
			}
			at[d] = 0
		}
	}
}

// sliceKey returns the key under which a bundle stores a slice of the tensor called name:
//
//	number 0, string name, number rank, then per dimension: signed start, signed length
//
// in the order-preserving code of tensorflow/core/lib/strings/ordered_code.h. A dimension that is
// taken whole has start 0 and length -1, however long it is.
func sliceKey(name string, slice *tfpb.TensorSliceProto) string {
	key := appendNumber(nil, 0)
	key = appendString(key, name)
	key = appendNumber(key, uint64(len(slice.GetExtent())))
	for _, extent := range slice.GetExtent() {
		length := int64(-1)
		if extent.GetHasLength() != nil {
			length = extent.GetLength()
		}
		key = appendSigned(key, extent.GetStart())
		key = appendSigned(key, length)
	}
	return string(key)
}

// appendNumber appends the count of significant bytes of v, then these, most significant first.
func appendNumber(dst []byte, v uint64) []byte {
	n := (bits.Len64(v) + 7) / 8
	dst = append(dst, byte(n))
	for i := n - 1; i >= 0; i-- {
		dst = append(dst, byte(v>>(8*i)))
	}
	return dst
}

// appendString appends s with the bytes 0x00 and 0xff escaped, and the terminator 0x00 0x01.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		switch s[i] {
		case 0x00:
			dst = append(dst, 0x00, 0xff)
		case 0xff:
			dst = append(dst, 0xff, 0x00)
		default:
			dst = append(dst, s[i])
		}
	}
	return append(dst, 0x00, 0x01)
}

// appendSigned appends v in two's complement, in the smallest number n of bytes that leaves v's sign
// bit and n header bits: the sign's complement n times, and its opposite if there is room.
func appendSigned(dst []byte, v int64) []byte {
	magnitude := v
	if v < 0 {
		magnitude = ^v
	}
	n := bits.Len64(uint64(magnitude))/7 + 1
	var b [10]byte
	if v < 0 {
		b[0], b[1] = 0xff, 0xff
	}
	binary.BigEndian.PutUint64(b[2:], uint64(v))
	code := b[len(b)-n:]
	// The header is n ones, from the top, of at most two bytes.
	header := uint16(0xffff) << (16 - min(n, 16))
	code[0] ^= byte(header >> 8)
	if n > 8 {
		code[1] ^= byte(header)
	}
	return append(dst, code...)
}
