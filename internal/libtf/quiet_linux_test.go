package libtf

import (
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestQuietly(t *testing.T) {
	const stderr = 2
	read, write, err := os.Pipe()
	require.NoError(t, err)
	defer read.Close()
	before, err := unix.FcntlInt(stderr, unix.F_DUPFD_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(before)
	say := func(text string) { _, err = unix.Write(stderr, []byte(text)) }

	require.NoError(t, unix.Dup3(int(write.Fd()), stderr, 0))
	quietly(func() {
		say("WARNING: " + greetings[1] + "\nI0000 port.cc:153] " + greetings[0] + " You may see\nsomething else\n")
	})
	say("after\n")
	require.NoError(t, unix.Dup3(before, stderr, 0))
	require.NoError(t, err)
	require.NoError(t, write.Close())
	said, err := io.ReadAll(read)
	require.NoError(t, err)
	assert.Equal(t, "something else\nafter\n", string(said))
}
