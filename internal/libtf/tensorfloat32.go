package libtf

// SetTensorFloat32 says for the whole process whether GPUs may compute float32
// convolutions and matrix products in TensorFloat-32, which keeps 10 bits of the
// mantissa of 23. TensorFlow's own default is that they may. It does what
// tf.config.experimental.enable_tensor_float_32_execution does, and returns false
// if the library has no such switch or is not loaded.
func SetTensorFloat32(allowed bool) bool {
	if !loaded() {
		return false
	}
	if allowed {
		return tensorFloat32(1) == 1
	}
	return tensorFloat32(0) == 0
}

// TensorFloat32 says whether GPUs may compute in TensorFloat-32; known is false if
// the library cannot tell or is not loaded.
func TensorFloat32() (allowed, known bool) {
	if !loaded() {
		return false, false
	}
	state := tensorFloat32(-1)
	return state == 1, state >= 0
}
