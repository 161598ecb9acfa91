//go:build !cgo || !(linux || darwin)

package hdf5

// Without cgo the library is never loaded, so nothing below it is ever called.

type description struct {
	dims           []uint64
	elements       Type
	size           int
	variable, utf8 bool
	chunk          uint64
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
