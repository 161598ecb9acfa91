package storage

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/internal/disk"
)

// Folder is a Store in a folder, which must exist for something to be written: a
// worker that outlives the end of an extraction must not make it anew. Objects lie
// there directly or in folders of it.
type Folder struct{ root, temporary string }

// NewFolder returns the store in a folder. Unfinished files lie in another folder of
// the same file system, so that a process that is killed leaves nothing in root.
func NewFolder(root, temporary string) *Folder { return &Folder{root, temporary} }

// String is the folder.
func (f *Folder) String() string { return f.root }

// Close does nothing.
func (f *Folder) Close() error { return nil }

func (f *Folder) path(name string) string { return filepath.Join(f.root, filepath.FromSlash(name)) }

// Put writes beside, syncs and renames.
func (f *Folder) Put(ctx context.Context, name string, content []byte) error {
	return f.write(ctx, name, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// PutFrom is Put with the bytes of a reader.
func (f *Folder) PutFrom(ctx context.Context, name string, content io.Reader) error {
	return f.write(ctx, name, func(w io.Writer) error {
		_, err := io.Copy(w, content)
		return err
	})
}

func (f *Folder) write(ctx context.Context, name string, fill func(io.Writer) error) (err error) {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	file, err := atomicfile.CreateTemp(f.temporary, "unfinished-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			file.Close()
			os.Remove(file.Name())
		}
	}()
	if err := fill(file); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	disk.DropCache(file)
	if err := file.Close(); err != nil {
		return err
	}
	target := f.path(name)
	err = os.Rename(file.Name(), target)
	if errors.Is(err, fs.ErrNotExist) && strings.Contains(name, "/") {
		// Not MkdirAll: the root is not ours to make.
		if err := os.Mkdir(filepath.Dir(target), 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		err = os.Rename(file.Name(), target)
	}
	if err != nil {
		return err
	}
	return disk.SyncFolder(filepath.Dir(target))
}

// Get reads a file.
func (f *Folder) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	r, err := f.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readAll(r, f.path(name), limit)
}

// Open opens a file.
func (f *Folder) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return os.Open(f.path(name))
}

// ReadAt reads a part of a file.
func (f *Folder) ReadAt(ctx context.Context, name string, p []byte, offset int64) (int, error) {
	if err := context.Cause(ctx); err != nil {
		return 0, err
	}
	file, err := os.Open(f.path(name))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	return file.ReadAt(p, offset)
}

// Stat describes a file.
func (f *Folder) Stat(ctx context.Context, name string) (Object, error) {
	if err := context.Cause(ctx); err != nil {
		return Object{}, err
	}
	info, err := os.Stat(f.path(name))
	if err != nil {
		return Object{}, err
	}
	return Object{name, info.Size(), info.ModTime()}, nil
}

// List walks through the folder and those in it.
func (f *Folder) List(ctx context.Context, prefix string, each func(Object) error) error {
	return f.list(ctx, "", prefix, each)
}

func (f *Folder) list(ctx context.Context, folder, prefix string, each func(Object) error) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	entries, err := os.ReadDir(f.path(folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	key := func(e fs.DirEntry) string {
		if e.IsDir() {
			return e.Name() + "/"
		}
		return e.Name()
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(key(a), key(b)) })
	for _, entry := range entries {
		name := path.Join(folder, entry.Name())
		if entry.IsDir() {
			if !strings.HasPrefix(name+"/", prefix) && !strings.HasPrefix(prefix, name+"/") {
				continue
			}
			if err := f.list(ctx, name, prefix, each); err != nil {
				return err
			}
			continue
		}
		if !strings.HasPrefix(name, prefix) || strings.HasPrefix(entry.Name(), "unfinished-") {
			continue
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := each(Object{name, info.Size(), info.ModTime()}); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes a file.
func (f *Folder) Remove(ctx context.Context, name string) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := os.Remove(f.path(name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// RemoveAll removes the folder.
func (f *Folder) RemoveAll(context.Context) error { return os.RemoveAll(f.root) }
