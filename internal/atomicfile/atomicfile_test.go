package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/atomicfile"
)

// names lists everything in a directory, hidden files too.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	list := []string{}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func requireContent(t *testing.T, path, want string) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, string(data))
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	require.NoError(t, atomicfile.Write(path, []byte("first")))
	require.NoError(t, atomicfile.Write(path, []byte("2nd")))
	requireContent(t, path, "2nd")
	assert.Equal(t, []string{"file"}, names(t, dir))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o644), info.Mode())
}

func TestWriteFailuresLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	err := atomicfile.Write(filepath.Join(dir, "nowhere", "file"), []byte("x"))
	assert.ErrorIs(t, err, fs.ErrNotExist)
	// A directory cannot be replaced by a file: the last step fails.
	path := filepath.Join(dir, "directory")
	require.NoError(t, os.MkdirAll(filepath.Join(path, "full"), 0o755))
	assert.Error(t, atomicfile.Write(path, []byte("x")))
	assert.Equal(t, []string{"directory"}, names(t, dir))
	assert.Equal(t, []string{"full"}, names(t, path))
}

func TestWriteReplacesLinksNotTheirTargets(t *testing.T) {
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "precious")
	require.NoError(t, os.WriteFile(elsewhere, []byte("precious"), 0o600))
	path := filepath.Join(dir, "file")
	require.NoError(t, os.Symlink(elsewhere, path))
	require.NoError(t, atomicfile.Write(path, []byte("new")))
	requireContent(t, path, "new")
	requireContent(t, elsewhere, "precious")
}

func TestConcurrentWritesAreWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	contents := map[string]bool{}
	var group sync.WaitGroup
	for i := range 8 {
		data := make([]byte, 10000+i)
		for j := range data {
			data[j] = byte('a' + i)
		}
		contents[string(data)] = true
		group.Go(func() { assert.NoError(t, atomicfile.Write(path, data)) })
	}
	group.Wait()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.True(t, contents[string(data)])
	assert.Equal(t, []string{"file"}, names(t, dir))
}

func fill(content string) func(string) error {
	return func(dir string) error {
		return os.WriteFile(filepath.Join(dir, "content"), []byte(content), 0o644)
	}
}

func TestDirectory(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "made", "too")
	path := filepath.Join(parent, "directory")
	require.NoError(t, atomicfile.Directory(path+"/", false, fill("first")))
	requireContent(t, filepath.Join(path, "content"), "first")
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o755), info.Mode().Perm())

	err = atomicfile.Directory(path, false, func(string) error {
		t.Error("it is not filled in vain")
		return nil
	})
	assert.ErrorIs(t, err, fs.ErrExist)
	requireContent(t, filepath.Join(path, "content"), "first")

	require.NoError(t, atomicfile.Directory(path, true, fill("second")))
	requireContent(t, filepath.Join(path, "content"), "second")
	assert.Equal(t, []string{"directory"}, names(t, parent))
	assert.Equal(t, []string{"content"}, names(t, path))
}

func TestDirectoryFailuresLeaveNothing(t *testing.T) {
	parent := t.TempDir()
	path := filepath.Join(parent, "directory")
	failed := errors.New("failed")
	fails := func(dir string) error {
		require.NoError(t, fill("half")(dir))
		return failed
	}
	assert.ErrorIs(t, atomicfile.Directory(path, false, fails), failed)
	assert.Empty(t, names(t, parent))

	require.NoError(t, atomicfile.Directory(path, false, fill("old")))
	assert.ErrorIs(t, atomicfile.Directory(path, true, fails), failed)
	requireContent(t, filepath.Join(path, "content"), "old")
	assert.Equal(t, []string{"directory"}, names(t, parent))
}

func TestDirectoryPanicsLeaveNothing(t *testing.T) {
	parent := t.TempDir()
	assert.Panics(t, func() {
		_ = atomicfile.Directory(filepath.Join(parent, "directory"), true, func(dir string) error {
			require.NoError(t, fill("half")(dir))
			panic("a mistake")
		})
	})
	assert.Empty(t, names(t, parent))
}

func TestDirectoryThatAppearsMeanwhile(t *testing.T) {
	parent := t.TempDir()
	path := filepath.Join(parent, "directory")
	err := atomicfile.Directory(path, false, func(dir string) error {
		require.NoError(t, os.Mkdir(path, 0o755))
		require.NoError(t, fill("theirs")(path))
		return fill("ours")(dir)
	})
	assert.ErrorIs(t, err, fs.ErrExist)
	requireContent(t, filepath.Join(path, "content"), "theirs")
	assert.Equal(t, []string{"directory"}, names(t, parent))
}

func TestDirectoryReplacesLinksNotTheirTargets(t *testing.T) {
	parent, elsewhere := t.TempDir(), t.TempDir()
	require.NoError(t, fill("precious")(elsewhere))
	path := filepath.Join(parent, "directory")
	require.NoError(t, os.Symlink(elsewhere, path))
	assert.ErrorIs(t, atomicfile.Directory(path, false, fill("new")), fs.ErrExist)
	require.NoError(t, atomicfile.Directory(path, true, fill("new")))
	requireContent(t, filepath.Join(path, "content"), "new")
	requireContent(t, filepath.Join(elsewhere, "content"), "precious")
	assert.Equal(t, []string{"directory"}, names(t, parent))
}

func TestDirectoryWhereNoneCanBe(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	assert.Error(t, atomicfile.Directory(filepath.Join(file, "directory"), false, fill("x")))
	if os.Geteuid() != 0 { // for whom modes mean nothing
		require.NoError(t, os.Chmod(dir, 0o555))
		defer os.Chmod(dir, 0o755)
		assert.ErrorIs(t, atomicfile.Directory(filepath.Join(dir, "directory"), false, fill("x")), fs.ErrPermission)
	}
	assert.Equal(t, []string{"file"}, names(t, dir))
}
