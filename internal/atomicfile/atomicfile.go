// Package atomicfile makes files and directories appear whole or not at all.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tfconvrnn/go/internal/disk"
)

// Write writes a file: beside, synced, then renamed, replacing what is there. Its
// permissions are the umask's.
func Write(path string, data []byte) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Abort())
	}
	return f.Commit()
}

// Directory makes a directory: fill writes into a temporary one beside it, which
// is then put in place. Unless overwrite is set, a path that exists is an error
// that wraps fs.ErrExist. After an error nothing is left, and what was there is
// still there. Its permissions are the umask's.
func Directory(path string, overwrite bool, fill func(temporary string) error) (err error) {
	path = filepath.Clean(path)
	if _, statErr := os.Lstat(path); statErr == nil && !overwrite {
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	parent := filepath.Dir(path)
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return err
	}
	temporary, err := MkdirTemp(parent, "."+filepath.Base(path)+".*.partial")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	if err := fill(temporary); err != nil {
		return err
	}
	if err := disk.SyncFolder(temporary); err != nil {
		return err
	}
	if overwrite {
		var old string
		if old, err = replace(temporary, path, os.Rename); old != "" {
			defer os.RemoveAll(old)
		}
	} else {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		if overwrite {
			return err
		}
		if _, statErr := os.Lstat(path); statErr == nil {
			return fmt.Errorf("%s: %w", path, fs.ErrExist)
		}
		return err
	}
	return disk.SyncFolder(parent)
}

// replace renames a directory to path, whatever is there. If that fails, what was there
// is there again, or the error says where it is. What was replaced is left in old, if
// that is not empty, for the caller to remove.
func replace(temporary, path string, rename func(from, to string) error) (old string, err error) {
	if err := rename(temporary, path); err == nil {
		return "", nil
	} else if _, statErr := os.Lstat(path); statErr != nil {
		return "", err
	}
	// A directory that holds something cannot be renamed over: move it away.
	old = temporary + ".old"
	if err := rename(path, old); err != nil {
		return "", err
	}
	if err := rename(temporary, path); err != nil {
		if back := rename(old, path); back != nil {
			return "", fmt.Errorf("%w; what was there is in %s, and cannot be put back: %w", err, old, back)
		}
		return "", err
	}
	return old, nil
}
