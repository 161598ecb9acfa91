//go:build unix

package images

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What is no file is refused at once: a pipe would be waited for, a device has no end.
func TestOpenRefusesSpecialFiles(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe.png")
	require.NoError(t, unix.Mkfifo(pipe, 0o600))
	for _, path := range []string{pipe, "/dev/zero", t.TempDir()} {
		_, err := Open(path, Options{})
		require.ErrorIs(t, err, ErrUnreadable, path)
		assert.ErrorContains(t, err, "not a regular file")
	}
}
