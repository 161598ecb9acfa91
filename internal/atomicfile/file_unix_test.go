//go:build unix

package atomicfile_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/atomicfile"
)

// The umask is the whole process's, so it is changed in a child.
const (
	umaskEnv = "TFCONVRNN_TEST_UMASK"
	killEnv  = "TFCONVRNN_TEST_KILLED_IN"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(umaskEnv); text != "" {
		mask, err := strconv.ParseInt(text, 8, 32)
		if err != nil {
			panic(err)
		}
		syscall.Umask(int(mask))
	}
	if dir := os.Getenv(killEnv); dir != "" {
		f, err := atomicfile.Create(filepath.Join(dir, "set.plan"))
		if err == nil {
			_, err = f.WriteString("half")
		}
		if err == nil {
			_, err = os.Stdout.WriteString("written\n")
		}
		if err != nil {
			panic(err)
		}
		time.Sleep(time.Minute)
	}
	os.Exit(m.Run())
}

func TestUmaskDecides(t *testing.T) {
	if os.Getenv(umaskEnv) == "" {
		for _, mask := range []string{"002", "077", "022"} {
			child := exec.Command(os.Args[0], "-test.run=^TestUmaskDecides$", "-test.v")
			child.Env = append(os.Environ(), umaskEnv+"="+mask)
			out, err := child.CombinedOutput()
			require.NoError(t, err, "umask %s: %s", mask, out)
			require.Contains(t, string(out), "--- PASS", "umask %s", mask)
		}
		return
	}
	mask := fs.FileMode(syscall.Umask(0))
	syscall.Umask(int(mask))
	dir := t.TempDir()
	mode := func(name string) fs.FileMode {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		return info.Mode().Perm()
	}
	file, folder := 0o666&^mask, 0o777&^mask
	require.NoError(t, atomicfile.Write(filepath.Join(dir, "written"), []byte("x")))
	assert.Equal(t, file, mode("written"))
	require.NoError(t, atomicfile.Directory(filepath.Join(dir, "made", "folder"), false, func(string) error {
		return nil
	}))
	assert.Equal(t, folder, mode("made"))
	assert.Equal(t, folder, mode("made/folder"))
	f, err := atomicfile.Create(filepath.Join(dir, "created"))
	require.NoError(t, err)
	require.NoError(t, f.Commit())
	assert.Equal(t, file, mode("created"))
}

func TestKilledWritersLeaveNothingForLong(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "set.plan")
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), killEnv+"="+dir)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	_, err = out.Read(make([]byte, 100))
	require.NoError(t, err)
	require.Len(t, names(t, dir), 1)

	// While it lives its file stays, and others of other names always do.
	other := filepath.Join(dir, ".other.plan.ABCDEFGHIJ.unfinished")
	require.NoError(t, os.WriteFile(other, nil, 0o666))
	require.NoError(t, atomicfile.Write(path, []byte("first")))
	require.Len(t, names(t, dir), 3)

	require.NoError(t, child.Process.Kill())
	_ = child.Wait()
	require.NoError(t, atomicfile.Write(path, []byte("second")))
	require.Equal(t, []string{filepath.Base(other), "set.plan"}, names(t, dir))
	requireContent(t, path, "second")
}

func TestCreate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	f, err := atomicfile.Create(path)
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(f.Name(), ".unfinished"))
	another, err := f.Another()
	require.NoError(t, err)
	require.Len(t, names(t, dir), 2, "one does not remove the other")
	require.NoError(t, f.Abort())
	require.NoError(t, f.Abort())
	require.NoError(t, f.Commit())
	require.Equal(t, []string{filepath.Base(another.Name())}, names(t, dir))
	_, err = another.WriteString("content")
	require.NoError(t, err)
	require.NoError(t, another.Commit())
	require.NoError(t, another.Commit())
	require.NoError(t, another.Abort())
	requireContent(t, path, "content")
	require.Equal(t, []string{"file"}, names(t, dir))
}
