//go:build !cgo || !(linux || darwin)

package libtf

import "unsafe"

// Without cgo Load always fails. The functions below, except open, are reached only with a
// loaded runtime, so they are never called.

const buildHasCgo = false

type openResult int

const (
	opened openResult = iota
	symbolsMissing
)

func open(string) (openResult, string) { return symbolsMissing, "" }
func version() string                  { return "" }
func tensorFloat32(int) int            { return -1 }
func trim()                            {}
func unmapFilePages()                  {}
func symbol(string) unsafe.Pointer     { return nil }

func allocateTensor(DataType, []int64, int) unsafe.Pointer { return nil }
func deleteTensor(unsafe.Pointer)                          {}
func describeTensor(unsafe.Pointer) (DataType, []int64, unsafe.Pointer, int) {
	return 0, nil, nil, 0
}

func newGraph() unsafe.Pointer                                  { return nil }
func deleteGraph(unsafe.Pointer)                                {}
func operationByName(unsafe.Pointer, string) unsafe.Pointer     { return nil }
func nextOperation(unsafe.Pointer, *uint64) unsafe.Pointer      { return nil }
func describeOperation(unsafe.Pointer) (string, string, int)    { return "", "", 0 }
func outputType(cOutput) DataType                               { return 0 }
func outputShape(unsafe.Pointer, cOutput) ([]int64, error)      { return nil, ErrNoCgo }
func newSession(unsafe.Pointer, []byte) (unsafe.Pointer, error) { return nil, ErrNoCgo }
func deleteSession(unsafe.Pointer) error                        { return ErrNoCgo }
func listDevices(unsafe.Pointer) ([]Device, error)              { return nil, ErrNoCgo }
func registeredKernels(string) ([]byte, error)                  { return nil, ErrNoCgo }
func loadSavedModel(unsafe.Pointer, string, []string, []byte) (unsafe.Pointer, error) {
	return nil, ErrNoCgo
}
func traceSession(unsafe.Pointer, []cOutput, []unsafe.Pointer, []cOutput, []unsafe.Pointer) ([]unsafe.Pointer, []byte,
	error) {
	return nil, nil, ErrNoCgo
}

func runSession(unsafe.Pointer, []cOutput, []unsafe.Pointer, []cOutput, []unsafe.Pointer) ([]unsafe.Pointer, error) {
	return nil, ErrNoCgo
}

func importGraph(unsafe.Pointer, []byte, string, []string, []cOutput) error { return ErrNoCgo }
