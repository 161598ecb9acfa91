//go:build cgo && (linux || darwin)

package libtf

/*
#cgo CFLAGS: -std=gnu11 -O2 -Wall
#cgo linux LDFLAGS: -ldl
#include <stdlib.h>
#include "capi.h"
*/
import "C"

import "unsafe"

const buildHasCgo = true

type openResult int

const (
	opened         openResult = C.LIBTF_OPENED
	symbolsMissing openResult = C.LIBTF_SYMBOLS_MISSING
)

// open returns, with the result, the opened file, dlerror's text or the names
// of the missing symbols.
func open(path string) (openResult, string) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var text [8192]C.char
	result := C.libtf_open(name, &text[0], C.size_t(len(text)))
	return openResult(result), C.GoString(&text[0])
}

func tensorFloat32(allowed int) int { return int(C.libtf_tensor_float_32(C.int(allowed))) }
func trim()                         { C.libtf_trim() }
func unmapFilePages()               { C.libtf_unmap_file_pages() }

func symbol(name string) unsafe.Pointer {
	cName := C.CString(name)
	defer C.free(unsafe.Pointer(cName))
	return C.libtf_symbol(cName)
}

func version() string { return C.GoString(C.libtf_TF_Version()) }

// withStatus runs f with a fresh TF_Status and turns that into an error.
func withStatus(operation string, f func(s *C.TF_Status)) error {
	s := C.libtf_TF_NewStatus()
	defer C.libtf_TF_DeleteStatus(s)
	f(s)
	if code := Code(C.libtf_TF_GetCode(s)); code != codeOK {
		return &Error{Operation: operation, Code: code, Message: C.GoString(C.libtf_TF_Message(s))}
	}
	return nil
}

func allocateTensor(dtype DataType, shape []int64, bytes int) unsafe.Pointer {
	return unsafe.Pointer(C.libtf_TF_AllocateTensor(C.int(dtype),
		(*C.int64_t)(unsafe.Pointer(unsafe.SliceData(shape))), C.int(len(shape)), C.size_t(bytes)))
}

func deleteTensor(t unsafe.Pointer) { C.libtf_TF_DeleteTensor((*C.TF_Tensor)(t)) }

func describeTensor(t unsafe.Pointer) (dtype DataType, shape []int64, data unsafe.Pointer, bytes int) {
	var (
		cType  C.int
		cBytes C.size_t
		dims   [maxRank]C.int64_t
	)
	rank := C.libtf_describe((*C.TF_Tensor)(t), &cType, &cBytes, &data, &dims[0])
	shape = make([]int64, rank)
	for i := range shape {
		shape[i] = int64(dims[i])
	}
	return DataType(cType), shape, data, int(cBytes)
}

func newGraph() unsafe.Pointer { return unsafe.Pointer(C.libtf_new_graph()) }

func deleteGraph(g unsafe.Pointer) { C.libtf_TF_DeleteGraph((*C.TF_Graph)(g)) }

func importGraph(g unsafe.Pointer, graphDef []byte, prefix string, names []string, outputs []cOutput) error {
	name := C.CString(prefix)
	defer C.free(unsafe.Pointer(name))
	cNames := make([]*C.char, len(names))
	for i, n := range names {
		cNames[i] = C.CString(n)
		defer C.free(unsafe.Pointer(cNames[i]))
	}
	return withStatus("import a graph", func(s *C.TF_Status) {
		C.libtf_import((*C.TF_Graph)(g), unsafe.Pointer(unsafe.SliceData(graphDef)), C.size_t(len(graphDef)), name,
			unsafe.SliceData(cNames), (*C.TF_Output)(unsafe.Pointer(unsafe.SliceData(outputs))), C.int(len(outputs)), s)
	})
}

func operationByName(g unsafe.Pointer, name string) unsafe.Pointer {
	cName := C.CString(name)
	defer C.free(unsafe.Pointer(cName))
	return unsafe.Pointer(C.libtf_TF_GraphOperationByName((*C.TF_Graph)(g), cName))
}

func nextOperation(g unsafe.Pointer, position *uint64) unsafe.Pointer {
	cPosition := C.size_t(*position)
	operation := C.libtf_TF_GraphNextOperation((*C.TF_Graph)(g), &cPosition)
	*position = uint64(cPosition)
	return unsafe.Pointer(operation)
}

func describeOperation(o unsafe.Pointer) (name, opType string, outputs int) {
	operation := (*C.TF_Operation)(o)
	return C.GoString(C.libtf_TF_OperationName(operation)), C.GoString(C.libtf_TF_OperationOpType(operation)),
		int(C.libtf_TF_OperationNumOutputs(operation))
}

func outputType(o cOutput) DataType {
	return DataType(C.libtf_TF_OperationOutputType(*(*C.TF_Output)(unsafe.Pointer(&o))))
}

// outputShape returns nil for an unknown rank.
func outputShape(g unsafe.Pointer, o cOutput) (shape []int64, err error) {
	graph, output := (*C.TF_Graph)(g), *(*C.TF_Output)(unsafe.Pointer(&o))
	err = withStatus("infer a shape", func(s *C.TF_Status) {
		rank := C.libtf_TF_GraphGetTensorNumDims(graph, output, s)
		if rank < 0 || C.libtf_TF_GetCode(s) != 0 {
			return
		}
		shape = make([]int64, rank)
		if rank > 0 {
			C.libtf_TF_GraphGetTensorShape(graph, output, (*C.int64_t)(unsafe.Pointer(&shape[0])), rank, s)
		}
	})
	return shape, err
}

func newSession(g unsafe.Pointer, config []byte) (session unsafe.Pointer, err error) {
	err = withStatus("create a session", func(s *C.TF_Status) {
		session = unsafe.Pointer(C.libtf_new_session((*C.TF_Graph)(g),
			unsafe.Pointer(unsafe.SliceData(config)), C.size_t(len(config)), s))
	})
	return session, err
}

func loadSavedModel(g unsafe.Pointer, dir string, tags []string, config []byte) (session unsafe.Pointer, err error) {
	cDir := C.CString(dir)
	defer C.free(unsafe.Pointer(cDir))
	cTags := make([]*C.char, len(tags))
	for i, tag := range tags {
		cTags[i] = C.CString(tag)
		defer C.free(unsafe.Pointer(cTags[i]))
	}
	err = withStatus("load SavedModel "+dir, func(s *C.TF_Status) {
		session = unsafe.Pointer(C.libtf_load_saved_model((*C.TF_Graph)(g), cDir, unsafe.SliceData(cTags), C.int(len(cTags)),
			unsafe.Pointer(unsafe.SliceData(config)), C.size_t(len(config)), s))
	})
	return session, err
}

func deleteSession(session unsafe.Pointer) error {
	errClose := withStatus("close a session", func(s *C.TF_Status) {
		C.libtf_TF_CloseSession((*C.TF_Session)(session), s)
	})
	errDelete := withStatus("delete a session", func(s *C.TF_Status) {
		C.libtf_TF_DeleteSession((*C.TF_Session)(session), s)
	})
	if errClose != nil {
		return errClose
	}
	return errDelete
}

func listDevices(session unsafe.Pointer) (devices []Device, err error) {
	err = withStatus("list devices", func(s *C.TF_Status) {
		list := C.libtf_TF_SessionListDevices((*C.TF_Session)(session), s)
		if list == nil {
			return
		}
		defer C.libtf_TF_DeleteDeviceList(list)
		for i := C.int(0); i < C.libtf_TF_DeviceListCount(list) && C.libtf_TF_GetCode(s) == 0; i++ {
			devices = append(devices, Device{
				Name:             C.GoString(C.libtf_TF_DeviceListName(list, i, s)),
				Type:             C.GoString(C.libtf_TF_DeviceListType(list, i, s)),
				MemoryLimitBytes: int64(C.libtf_TF_DeviceListMemoryBytes(list, i, s)),
			})
		}
	})
	return devices, err
}

func runSession(session unsafe.Pointer, inputs []cOutput, values []unsafe.Pointer, outputs []cOutput,
	targets []unsafe.Pointer) ([]unsafe.Pointer, error) {
	results := make([]unsafe.Pointer, len(outputs))
	err := withStatus("run a session", func(s *C.TF_Status) {
		C.libtf_run((*C.TF_Session)(session),
			(*C.TF_Output)(unsafe.Pointer(unsafe.SliceData(inputs))), (**C.TF_Tensor)(unsafe.Pointer(unsafe.SliceData(values))),
			C.int(len(inputs)), (*C.TF_Output)(unsafe.Pointer(unsafe.SliceData(outputs))),
			(**C.TF_Tensor)(unsafe.Pointer(unsafe.SliceData(results))), C.int(len(outputs)),
			(**C.TF_Operation)(unsafe.Pointer(unsafe.SliceData(targets))), C.int(len(targets)), s)
	})
	return results, err
}

func traceSession(session unsafe.Pointer, inputs []cOutput, values []unsafe.Pointer, outputs []cOutput,
	targets []unsafe.Pointer) ([]unsafe.Pointer, []byte, error) {
	results := make([]unsafe.Pointer, len(outputs))
	buffer := (*C.TF_Buffer)(C.calloc(1, C.sizeof_TF_Buffer))
	defer C.free(unsafe.Pointer(buffer))
	defer C.libtf_free_buffer(buffer)
	err := withStatus("run a session", func(s *C.TF_Status) {
		C.libtf_trace((*C.TF_Session)(session),
			(*C.TF_Output)(unsafe.Pointer(unsafe.SliceData(inputs))), (**C.TF_Tensor)(unsafe.Pointer(unsafe.SliceData(values))),
			C.int(len(inputs)), (*C.TF_Output)(unsafe.Pointer(unsafe.SliceData(outputs))),
			(**C.TF_Tensor)(unsafe.Pointer(unsafe.SliceData(results))), C.int(len(outputs)),
			(**C.TF_Operation)(unsafe.Pointer(unsafe.SliceData(targets))), C.int(len(targets)), buffer, s)
	})
	metadata := append(make([]byte, 0, buffer.length), unsafe.Slice((*byte)(buffer.data), buffer.length)...)
	return results, metadata, err
}

func registeredKernels(op string) (kernels []byte, err error) {
	name := C.CString(op)
	defer C.free(unsafe.Pointer(name))
	err = withStatus("list the kernels of "+op, func(s *C.TF_Status) {
		buffer := C.libtf_TF_GetRegisteredKernelsForOp(name, s)
		if buffer == nil {
			return
		}
		defer C.libtf_TF_DeleteBuffer(buffer)
		// A copy by hand: C.GoBytes takes an int.
		kernels = append(make([]byte, 0, buffer.length), unsafe.Slice((*byte)(buffer.data), buffer.length)...)
	})
	return kernels, err
}
