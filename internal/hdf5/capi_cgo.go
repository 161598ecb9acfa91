//go:build cgo && (linux || darwin)

package hdf5

/*
#cgo CFLAGS: -std=gnu11 -O2 -Wall
#cgo linux LDFLAGS: -ldl
#include <stdlib.h>
#include "capi.h"
*/
import "C"

import "unsafe"

func cName(name string) (*C.char, func()) {
	c := C.CString(name)
	return c, func() { C.free(unsafe.Pointer(c)) }
}

// openLibrary returns the path of the library that was opened, or why it was not.
func openLibrary(path string) (text string, ok bool) {
	name, free := cName(path)
	defer free()
	var buffer [4096]C.char
	result := C.hdf5_open_library(name, &buffer[0], C.size_t(len(buffer)))
	return C.GoString(&buffer[0]), result == 0
}

func quiet() { C.hdf5_quiet() }

func version() (major, minor, release int) {
	var a, b, c C.uint
	C.hdf5_version(&a, &b, &c)
	return int(a), int(b), int(c)
}

func message() string {
	var buffer [4096]C.char
	C.hdf5_message(&buffer[0], C.size_t(len(buffer)))
	if text := C.GoString(&buffer[0]); text != "" {
		return text
	}
	return "HDF5 gave no reason"
}

func openFile(path string) int64 {
	name, free := cName(path)
	defer free()
	return int64(C.hdf5_open_file(name))
}

func closeFile(file int64) { C.hdf5_close_file(C.int64_t(file)) }

func openDataset(file int64, path string) int64 {
	name, free := cName(path)
	defer free()
	return int64(C.hdf5_open_dataset(C.int64_t(file), name))
}

func openObject(file int64, path string) int64 {
	name, free := cName(path)
	defer free()
	return int64(C.hdf5_open_object(C.int64_t(file), name))
}

func closeObject(object int64) { C.hdf5_close_object(C.int64_t(object)) }

func closeDataset(dataset int64) { C.hdf5_close_dataset(C.int64_t(dataset)) }

type description struct {
	dims           []uint64
	elements       Type
	size           int
	variable, utf8 bool
	chunk, stored  uint64
	signed         bool
	elsewhere      bool
}

func describe(dataset int64) (description, bool) {
	var s C.hdf5_shape
	if C.hdf5_describe(C.int64_t(dataset), &s) < 0 {
		return description{}, false
	}
	d := description{size: int(s.size), variable: s.variable != 0, utf8: s.utf8 != 0, chunk: uint64(s.chunk),
		elements: Other, stored: uint64(s.stored), signed: s.sign != 0, elsewhere: s.is_virtual != 0}
	switch s.class {
	case C.HDF5_INTEGER:
		d.elements = Integer
	case C.HDF5_FLOAT:
		d.elements = Float
	case C.HDF5_STRING:
		d.elements = Text
	case C.HDF5_REFERENCE:
		d.elements = Reference
	case C.HDF5_ENUM:
		d.elements = Boolean
	}
	for i := range int(s.rank) {
		d.dims = append(d.dims, uint64(s.dims[i]))
	}
	return d, true
}

func kindOf(file int64, path string) int {
	name, free := cName(path)
	defer free()
	return int(C.hdf5_kind(C.int64_t(file), name))
}

func members(file int64, group string) int64 {
	name, free := cName(group)
	defer free()
	return int64(C.hdf5_members(C.int64_t(file), name))
}

func member(file int64, group string, index uint64) (string, bool) {
	name, free := cName(group)
	defer free()
	buffer := make([]byte, mostName)
	n := C.hdf5_member(C.int64_t(file), name, C.uint64_t(index), (*C.char)(unsafe.Pointer(&buffer[0])),
		C.size_t(len(buffer)))
	if n < 0 || int(n) >= len(buffer) {
		return "", false
	}
	return string(buffer[:n]), true
}

func first(values []uint64) *C.uint64_t {
	return (*C.uint64_t)(unsafe.Pointer(unsafe.SliceData(values)))
}

func readDoubles(dataset int64, start, count []uint64, values []float64) bool {
	return C.hdf5_read_doubles(C.int64_t(dataset), first(start), first(count),
		(*C.double)(unsafe.Pointer(&values[0]))) >= 0
}

func readFloats(dataset int64, start, count []uint64, values []float32) bool {
	return C.hdf5_read_floats(C.int64_t(dataset), first(start), first(count), (*C.float)(unsafe.Pointer(&values[0]))) >= 0
}

func readBytes(dataset int64, start, count []uint64, values []uint8) bool {
	return C.hdf5_read_bytes(C.int64_t(dataset), first(start), first(count),
		(*C.uint8_t)(unsafe.Pointer(&values[0]))) >= 0
}

func readIntegers(dataset int64, start, count []uint64, values []int64) bool {
	return C.hdf5_read_integers(C.int64_t(dataset), first(start), first(count),
		(*C.int64_t)(unsafe.Pointer(&values[0]))) >= 0
}

func readStrings(dataset int64, start, count []uint64, size int, values []byte) bool {
	return C.hdf5_read_strings(C.int64_t(dataset), first(start), first(count), C.size_t(size),
		(*C.char)(unsafe.Pointer(&values[0]))) >= 0
}

func readVariableStrings(dataset int64, start, count []uint64, utf8 bool, n int) ([]string, bool) {
	// The library writes pointers of its own, so the memory is C's.
	list := (*[1 << 30]*C.char)(C.calloc(C.size_t(n), C.size_t(unsafe.Sizeof(uintptr(0)))))
	if list == nil {
		return nil, false
	}
	defer C.free(unsafe.Pointer(list))
	set := C.int(0)
	if utf8 {
		set = 1
	}
	ok := C.hdf5_read_variable_strings(C.int64_t(dataset), first(start), first(count), set, &list[0]) >= 0
	values := make([]string, n)
	for i := range values {
		if list[i] != nil {
			if ok {
				values[i] = C.GoString(list[i])
			}
			C.hdf5_free(list[i])
		}
	}
	return values, ok
}

func readReference(dataset int64, at []uint64) (string, bool) {
	buffer := make([]byte, mostName)
	n := C.hdf5_read_reference(C.int64_t(dataset), first(at), (*C.char)(unsafe.Pointer(&buffer[0])), C.size_t(len(buffer)))
	if n <= 0 || int(n) >= len(buffer) {
		return "", false
	}
	return string(buffer[:n]), true
}

func attribute(dataset int64, key string) (any, bool) {
	name, free := cName(key)
	defer free()
	buffer := make([]byte, mostAttribute)
	var number C.double
	switch C.hdf5_attribute(C.int64_t(dataset), name, (*C.char)(unsafe.Pointer(&buffer[0])), C.size_t(len(buffer)),
		&number) {
	case 0:
		return nil, true
	case 1:
		return C.GoString((*C.char)(unsafe.Pointer(&buffer[0]))), true
	case 2:
		return float64(number), true
	}
	return nil, false
}

func dimension(dataset int64, axis int) (string, bool) {
	buffer := make([]byte, mostName)
	n := C.hdf5_dimension(C.int64_t(dataset), C.int(axis), (*C.char)(unsafe.Pointer(&buffer[0])), C.size_t(len(buffer)))
	if n < 0 || int(n) >= len(buffer) {
		return "", false
	}
	return string(buffer[:n]), true
}

func createFile(path string, meta uint64) int64 {
	name, free := cName(path)
	defer free()
	return int64(C.hdf5_create_file(name, C.uint64_t(meta)))
}

func createDataset(file int64, path string, element Element, dims, chunk []uint64) int64 {
	name, free := cName(path)
	defer free()
	return int64(C.hdf5_create_dataset(C.int64_t(file), name, C.int(element), C.int(len(dims)), first(dims), first(chunk)))
}

// writeNumbers writes values, a slice of the element's type that is not empty.
func writeNumbers[T any](dataset int64, element Element, values []T) bool {
	return C.hdf5_write(C.int64_t(dataset), C.int(element), unsafe.Pointer(unsafe.SliceData(values))) >= 0
}

// cNames returns strings in C's memory.
func cNames(names []string) (list **C.char, free func()) {
	memory := C.malloc(C.size_t(max(len(names), 1)) * C.size_t(unsafe.Sizeof(uintptr(0))))
	all := unsafe.Slice((**C.char)(memory), len(names))
	for i, name := range names {
		all[i] = C.CString(name)
	}
	return (**C.char)(memory), func() {
		for _, name := range all {
			C.free(unsafe.Pointer(name))
		}
		C.free(memory)
	}
}

func writeTexts(dataset int64, values []string) bool {
	list, free := cNames(values)
	defer free()
	return C.hdf5_write(C.int64_t(dataset), C.int(text), unsafe.Pointer(list)) >= 0
}

func knowsPlaces() bool { return C.hdf5_knows_places() != 0 }

func chunkPlace(dataset int64, start []uint64) (offset, size uint64, ok bool) {
	var at, bytes C.uint64_t
	ok = C.hdf5_chunk_place(C.int64_t(dataset), first(start), &at, &bytes) >= 0
	return uint64(at), uint64(bytes), ok
}

func writeTextAttribute(object int64, key, value string) bool {
	name, free := cName(key)
	defer free()
	content, freeContent := cName(value)
	defer freeContent()
	return C.hdf5_write_text_attribute(C.int64_t(object), name, content) >= 0
}

func writeIntegerAttribute(object int64, key string, values []int64) bool {
	name, free := cName(key)
	defer free()
	return C.hdf5_write_integer_attribute(C.int64_t(object), name, C.uint64_t(len(values)),
		(*C.int64_t)(unsafe.Pointer(unsafe.SliceData(values)))) >= 0
}

func makeScale(dataset int64, scale string) bool {
	name, free := cName(scale)
	defer free()
	return C.hdf5_make_scale(C.int64_t(dataset), name) >= 0
}

func writeDimensions(file, dataset int64, scales []string) bool {
	list, free := cNames(scales)
	defer free()
	return C.hdf5_write_dimensions(C.int64_t(file), C.int64_t(dataset), C.int(len(scales)), list) >= 0
}

func writeScaleUsers(file, scale int64, datasets []string, axes []int32) bool {
	list, free := cNames(datasets)
	defer free()
	return C.hdf5_write_scale_users(C.int64_t(file), C.int64_t(scale), C.uint64_t(len(datasets)), list,
		(*C.int)(unsafe.Pointer(unsafe.SliceData(axes)))) >= 0
}
