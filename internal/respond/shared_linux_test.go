package respond

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestSharedMemory(t *testing.T) {
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	require.NoError(t, err)
	defer unix.Close(fd)
	m := &SharedMemory{FD: fd}
	require.NoError(t, unix.Ftruncate(fd, 3))
	_, err = m.bytes(3)
	assert.ErrorIs(t, err, ErrRequest, "it could be taken away")
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK)
	require.NoError(t, err)
	_, err = m.bytes(4)
	assert.ErrorIs(t, err, ErrRequest, "it is too small")
	_, err = unix.Pwrite(fd, []byte{1, 2, 3}, 0)
	require.NoError(t, err)
	data, err := m.bytes(3)
	require.NoError(t, err)
	assert.Equal(t, []byte{1, 2, 3}, data)
	assert.Error(t, unix.Ftruncate(fd, 1), "the seal holds")
	require.NoError(t, unix.Ftruncate(fd, 1<<20))
	data, err = m.bytes(1 << 20)
	require.NoError(t, err)
	assert.Equal(t, []byte{1, 2, 3, 0}, data[:4])
	_, err = (&SharedMemory{FD: 9999}).bytes(1)
	assert.ErrorIs(t, err, ErrRequest)
}
