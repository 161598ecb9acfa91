package serving

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// smallDisk makes temporary files go to a disk of 1 MB, as root or in a namespace in which the test is root. Elsewhere
// the test runs again in such a namespace, or is skipped where there may be none.
func smallDisk(t *testing.T) (dir string, here bool) {
	const inside = "TFCONVRNN_TEST_IN_NAMESPACE"
	dir = t.TempDir()
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m")
	if err == nil {
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		t.Setenv("TMPDIR", dir)
		return dir, true
	}
	if os.Getenv(inside) != "" {
		t.Skipf("a small tmpfs cannot be mounted here: %v", err)
	}
	again := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	again.Env = append(os.Environ(), inside+"=1")
	again.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := again.CombinedOutput()
	t.Logf("%s", out)
	if _, failed := err.(*exec.ExitError); err != nil && !failed {
		t.Skipf("no namespace can be made here: %v", err)
	}
	require.NoError(t, err)
	return "", false
}

// Where the disk is full, what needs it is refused as such, leaves nothing behind, and everything else goes on.
func TestDiskIsFull(t *testing.T) {
	loaded(t) // whose files are elsewhere
	dir, here := smallDisk(t)
	if !here {
		return
	}
	_, url := newTestService(t, Options{})
	picture := pngOf(t, randomPixels(1, 1))
	ask := func(fields map[string]string) int {
		form, contentType := formBody(t, fields, map[string][]byte{"a.png": picture})
		response, err := http.Post(url+"/v1/extract", contentType, newReader(form))
		require.NoError(t, err)
		response.Body.Close()
		return response.StatusCode
	}
	assert.Equal(t, http.StatusInsufficientStorage, ask(map[string]string{"layers": "conv1", "format": "npz"})) // 13 MB
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left)
	assert.Equal(t, http.StatusOK, ask(map[string]string{"layers": "conv1", "reduce": "gap", "format": "npz"}))
	assert.Equal(t, http.StatusOK, ask(map[string]string{"layers": "conv5"}))
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	require.NoError(t, err)
	defer ballast.Close()
	for err = nil; err == nil; {
		_, err = ballast.Write(make([]byte, 4096))
	}
	require.ErrorIs(t, err, unix.ENOSPC)
	assert.Equal(t, http.StatusInsufficientStorage,
		ask(map[string]string{"layers": "conv1", "reduce": "gap", "format": "npz"}))
	assert.Equal(t, http.StatusOK, ask(map[string]string{"layers": "conv5"}))
}
