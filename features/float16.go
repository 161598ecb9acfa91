package features

import "math"

// Float16FromFloat32 converts to IEEE 754 binary16, rounding to nearest, ties
// to even, as NumPy's astype(float16) does. Values beyond ±65504 become
// infinite (from 65520 on), NaN stays NaN.
func Float16FromFloat32(v float32) uint16 {
	bits := math.Float32bits(v)
	sign := uint16(bits>>16) & 0x8000
	magnitude := bits & 0x7fffffff
	switch {
	case magnitude > 0x7f800000: // NaN: keep the upper payload, never become infinity
		payload := uint16(magnitude>>13) & 0x3ff
		if payload == 0 {
			payload = 1
		}
		return sign | 0x7c00 | payload
	case magnitude >= 0x477ff000: // ≥ 65520
		return sign | 0x7c00
	case magnitude >= 0x38800000: // normal: ≥ 2^-14
		rounded := magnitude + 0xfff + (magnitude>>13)&1
		return sign | uint16((rounded-0x38000000)>>13)
	case magnitude <= 0x33000000: // ≤ 2^-25 rounds to zero
		return sign
	}
	exponent := magnitude >> 23
	mantissa := magnitude&0x7fffff | 0x800000
	shift := 126 - exponent // the result counts units of 2^-24
	rounded := mantissa + (1<<(shift-1) - 1) + (mantissa>>shift)&1
	return sign | uint16(rounded>>shift)
}

// Float32FromFloat16 converts IEEE 754 binary16 to float32, exactly.
func Float32FromFloat16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exponent := uint32(h>>10) & 0x1f
	mantissa := uint32(h) & 0x3ff
	switch exponent {
	case 0:
		v := float32(mantissa) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | mantissa<<13)
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | mantissa<<13)
}
