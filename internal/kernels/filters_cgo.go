//go:build cgo && (linux || darwin)

package kernels

// #include "kernels.h"
import "C"

import "unsafe"

// kernels_read is called by the operations, on TensorFlow's threads.
//
//export kernels_read
func kernels_read(key *C.char, source C.int, to *C.float, count C.int64_t, problem *C.char, size C.int) C.int {
	err := readFilter(C.GoString(key), int(source), unsafe.Slice((*float32)(unsafe.Pointer(to)), int(count)))
	if err == nil {
		return C.KERNELS_OK
	}
	text := unsafe.Slice((*byte)(unsafe.Pointer(problem)), int(size))
	text[copy(text[:size-1], err.Error())] = 0
	return C.KERNELS_DATA
}
