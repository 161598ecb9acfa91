package atomicfile

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"

	"github.com/tfconvrnn/go/internal/disk"
)

// unfinishedSuffix ends the names of files that Create makes.
const unfinishedSuffix = ".unfinished"

// File is a file that takes a path's place when it is complete. It must not be used
// concurrently.
type File struct {
	*os.File
	path string
	lock *flock.Flock // tells others that the file has a living writer
	done bool
}

// Create makes a file beside path, and removes those that killed processes left there.
// The caller ends it with Commit or Abort. Its permissions are the umask's.
func Create(path string) (*File, error) {
	return CreateIn(filepath.Dir(path), path)
}

// CreateIn is Create with the unfinished file in another folder. If that is of another
// file system than path, Commit fails: the caller takes the content elsewhere and
// calls Abort.
func CreateIn(folder, path string) (*File, error) {
	pattern := "." + filepath.Base(path) + ".*" + unfinishedSuffix
	removeUnfinished(folder, pattern)
	for range 10 {
		file, err := CreateTemp(folder, pattern)
		if err != nil {
			return nil, err
		}
		f := &File{File: file, path: path, lock: flock.New(file.Name(), flock.SetFlag(os.O_RDONLY))}
		// A failure is ignored: on a file system without locks no other process gets
		// one to remove the file either.
		_, _ = f.lock.TryLock()
		// Somebody may have removed it before it was locked.
		mine, err1 := file.Stat()
		there, err2 := os.Stat(file.Name())
		if err1 == nil && err2 == nil && os.SameFile(mine, there) {
			return f, nil
		}
		if err := errors.Join(err1, f.lock.Close(), file.Close()); err != nil {
			return nil, err
		}
	}
	return nil, &os.PathError{Op: "create", Path: filepath.Join(folder, pattern),
		Err: errors.New("it is removed again and again")}
}

// Another makes a second unfinished file for the same path in the same folder.
func (f *File) Another() (*File, error) { return CreateIn(filepath.Dir(f.Name()), f.path) }

// removeUnfinished removes unfinished files that no living process writes.
func removeUnfinished(folder, pattern string) {
	before, after, _ := strings.Cut(pattern, "*")
	entries, err := os.ReadDir(folder)
	if err != nil {
		return // the caller meets the same error when it makes the file
	}
	for _, entry := range entries {
		name := entry.Name()
		if !entry.Type().IsRegular() || !strings.HasPrefix(name, before) || !strings.HasSuffix(name, after) ||
			len(name) != len(before)+len(after)+randomCharacters {
			continue
		}
		lock := flock.New(filepath.Join(folder, name), flock.SetFlag(os.O_RDONLY))
		if locked, err := lock.TryLock(); err == nil && locked {
			_ = os.Remove(lock.Path())
		}
		_ = lock.Close()
	}
}

// Commit syncs the file and puts it in place of what is there. After an error nothing
// is left of it. Calls after the first, or after Abort, do nothing.
func (f *File) Commit() (err error) {
	if f.done {
		return nil
	}
	defer func() { err = errors.Join(err, f.Abort()) }() // only closes what was renamed
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), f.path); err != nil {
		return err
	}
	f.done = true
	return errors.Join(f.File.Close(), f.lock.Close(), disk.SyncFolder(filepath.Dir(f.path)))
}

// Abort closes and removes the file. It is idempotent, and without effect after Commit.
func (f *File) Abort() error {
	if f.done {
		return nil
	}
	f.done = true
	err := errors.Join(f.File.Close(), os.Remove(f.Name()))
	return errors.Join(err, f.lock.Close())
}

// randomCharacters are those that CreateTemp puts into a name.
const randomCharacters = 10

// CreateTemp makes a new file in a folder like os.CreateTemp, but leaves its permissions
// to the umask: it is for files that stay, under another name.
func CreateTemp(folder, pattern string) (*os.File, error) {
	return os.OpenFile(filepath.Join(folder, temporaryName(pattern)), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
}

// MkdirTemp is CreateTemp for a folder.
func MkdirTemp(folder, pattern string) (string, error) {
	name := filepath.Join(folder, temporaryName(pattern))
	return name, os.Mkdir(name, 0o777)
}

// temporaryName replaces the star of a pattern by what no other name has.
func temporaryName(pattern string) string {
	before, after, _ := strings.Cut(pattern, "*")
	return before + rand.Text()[:randomCharacters] + after
}
