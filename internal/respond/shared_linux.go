package respond

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// SharedMemory is a memory file of the other side, in which it lays its images. It must be sealed
// against shrinking: nothing that is mapped can then be taken away, which would end the process.
type SharedMemory struct {
	FD   int
	data []byte
}

// bytes returns the first n bytes, which the other side may change. They are valid until the next
// call. The error wraps ErrRequest.
func (m *SharedMemory) bytes(n int) ([]byte, error) {
	if n <= len(m.data) {
		return m.data[:n], nil
	}
	seals, err := unix.FcntlInt(uintptr(m.FD), unix.F_GET_SEALS, 0)
	if err != nil || seals&unix.F_SEAL_SHRINK == 0 {
		return nil, fmt.Errorf("%w: file descriptor %d is no memory file that is sealed against shrinking", ErrRequest, m.FD)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(m.FD, &stat); err != nil {
		return nil, fmt.Errorf("%w: shared memory: %w", ErrRequest, err)
	}
	if stat.Size < int64(n) || stat.Size > maxPayload {
		return nil, fmt.Errorf("%w: %d bytes in shared memory of %d; at most %d are possible", ErrRequest, n, stat.Size,
			int64(maxPayload))
	}
	if m.data != nil {
		if err := unix.Munmap(m.data); err != nil {
			return nil, err
		}
		m.data = nil
	}
	if m.data, err = unix.Mmap(m.FD, 0, int(stat.Size), unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("%w: shared memory: %w", ErrRequest, err)
	}
	return m.data[:n], nil
}
