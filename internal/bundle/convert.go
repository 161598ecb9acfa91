package bundle

import (
	"encoding/binary"
	"math"

	"github.com/tfconvrnn/go/internal/tfpb"
)

// decoder converts len(dst) stored little-endian elements to float32.
type decoder func(dst []float32, src []byte)

// decoders holds the types that ReadFloat32 converts.
var decoders = map[tfpb.DataType]decoder{
	tfpb.DataType_DT_FLOAT: func(dst []float32, src []byte) {
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	},
	tfpb.DataType_DT_DOUBLE: func(dst []float32, src []byte) {
		for i := range dst {
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
		}
	},
	tfpb.DataType_DT_HALF: func(dst []float32, src []byte) {
		for i := range dst {
			dst[i] = halfToFloat32(binary.LittleEndian.Uint16(src[2*i:]))
		}
	},
	tfpb.DataType_DT_BFLOAT16: func(dst []float32, src []byte) {
		for i := range dst {
			// bfloat16 is the upper half of a float32.
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
		}
	},
	tfpb.DataType_DT_INT64: func(dst []float32, src []byte) {
		for i := range dst {
			dst[i] = float32(int64(binary.LittleEndian.Uint64(src[8*i:])))
		}
	},
}

// Readable says whether [Reader.ReadFloat32] reads tensors of the given type.
func Readable(dataType tfpb.DataType) bool { return decoders[dataType] != nil }

// halfToFloat32 widens an IEEE 754 binary16, which every float32 can hold.
func halfToFloat32(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exponent, fraction := uint32(h>>10)&0x1f, uint32(h)&0x3ff
	switch exponent {
	case 0: // zero or subnormal: fraction · 2^-24
		f := float32(fraction) * 0x1p-24
		return math.Float32frombits(math.Float32bits(f) | sign)
	case 0x1f: // infinity or NaN
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}
