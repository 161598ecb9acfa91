//go:build !linux

package respond

import "fmt"

// SharedMemory is a memory file of the other side, which only Linux has.
type SharedMemory struct{ FD int }

func (m *SharedMemory) bytes(int) ([]byte, error) {
	return nil, fmt.Errorf("%w: shared memory is for Linux; send the images", ErrRequest)
}
