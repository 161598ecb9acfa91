//go:build !cgo || !(linux || darwin)

package hdf5

// Without cgo the library is never loaded, so nothing below it is ever called.

type description struct {
	dims           []uint64
	elements       Type
	size           int
	variable, utf8 bool
	chunk, stored  uint64
	signed         bool
	elsewhere      bool
}

func openLibrary(string) (string, bool) {
	return "this program was built without cgo", false
}
func version() (major, minor, release int)                                      { return 0, 0, 0 }
func message() string                                                           { return "" }
func openFile(string) int64                                                     { return -1 }
func closeFile(int64)                                                           {}
func openDataset(int64, string) int64                                           { return -1 }
func closeDataset(int64)                                                        {}
func describe(int64) (description, bool)                                        { return description{}, false }
func kindOf(int64, string) int                                                  { return -1 }
func members(int64, string) int64                                               { return -1 }
func member(int64, string, uint64) (string, bool)                               { return "", false }
func readDoubles(int64, []uint64, []uint64, []float64) bool                     { return false }
func readIntegers(int64, []uint64, []uint64, []int64) bool                      { return false }
func readStrings(int64, []uint64, []uint64, int, []byte) bool                   { return false }
func readVariableStrings(int64, []uint64, []uint64, bool, int) ([]string, bool) { return nil, false }
func readReference(int64, []uint64) (string, bool)                              { return "", false }
func attribute(int64, string) (any, bool)                                       { return nil, false }
func dimension(int64, int) (string, bool)                                       { return "", false }

func quiet()                                                         {}
func openObject(int64, string) int64                                 { return -1 }
func closeObject(int64)                                              {}
func readBytes(int64, []uint64, []uint64, []uint8) bool              { return false }
func readFloats(int64, []uint64, []uint64, []float32) bool           { return false }
func createFile(string, uint64) int64                                { return -1 }
func createDataset(int64, string, Element, []uint64, []uint64) int64 { return -1 }
func writeNumbers[T any](int64, Element, []T) bool                   { return false }
func writeTexts(int64, []string) bool                                { return false }
func knowsPlaces() bool                                              { return false }
func chunkPlace(int64, []uint64) (offset, size uint64, ok bool)      { return 0, 0, false }
func writeTextAttribute(int64, string, string) bool                  { return false }
func writeIntegerAttribute(int64, string, []int64) bool              { return false }
func makeScale(int64, string) bool                                   { return false }
func writeDimensions(int64, int64, []string) bool                    { return false }
func writeScaleUsers(int64, int64, []string, []int32) bool           { return false }
