// Package atomicfile makes files and directories appear whole or not at all.
package atomicfile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Write writes a file: beside, synced, then renamed, replacing what is there.
func Write(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Chmod(0o644); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDirectory(filepath.Dir(path))
}

// Directory makes a directory: fill writes into a temporary one beside it, which
// is then put in place. Unless overwrite is set, a path that exists is an error
// that wraps fs.ErrExist. After an error nothing is left, and what was there is
// still there.
func Directory(path string, overwrite bool, fill func(temporary string) error) (err error) {
	path = filepath.Clean(path)
	if _, statErr := os.Lstat(path); statErr == nil && !overwrite {
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	parent := filepath.Dir(path)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(parent, "."+filepath.Base(path)+".*.partial")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	if err := os.Chmod(temporary, 0o755); err != nil {
		return err
	}
	if err := fill(temporary); err != nil {
		return err
	}
	if err := SyncDirectory(temporary); err != nil {
		return err
	}
	err = os.Rename(temporary, path)
	if err != nil && overwrite {
		// A directory that holds something cannot be renamed over: move it away.
		old := temporary + ".old"
		if err := os.Rename(path, old); err != nil {
			return err
		}
		defer os.RemoveAll(old)
		if err = os.Rename(temporary, path); err != nil {
			os.Rename(old, path)
			return err
		}
	}
	if err != nil {
		if _, statErr := os.Lstat(path); statErr == nil {
			return fmt.Errorf("%s: %w", path, fs.ErrExist)
		}
		return err
	}
	return SyncDirectory(parent)
}

// SyncDirectory makes what was renamed in a directory lasting.
func SyncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
