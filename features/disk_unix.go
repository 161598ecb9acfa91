//go:build unix

package features

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// noFollow makes opening a symbolic link fail.
const noFollow = unix.O_NOFOLLOW

// usedSpace returns the bytes on disk of the file, which may have holes.
func usedSpace(info os.FileInfo) int64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Blocks * 512
	}
	return 0
}

// lockFile takes an exclusive lock on an open file or folder without waiting.
// It ends with the file, or with the process.
func lockFile(file *os.File) error {
	err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%s: %w", file.Name(), ErrBusy)
	}
	return nil // file systems without locks are written to all the same
}

// diskError turns the ways of saying that the disk is full into ErrNoSpace,
// and a file system's refusal of long files into ErrTooLarge.
func diskError(err error) error {
	switch {
	case errors.Is(err, ErrNoSpace), errors.Is(err, ErrTooLarge):
		return err
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	case errors.Is(err, unix.EFBIG):
		return fmt.Errorf("%w and file system: %w", ErrTooLarge, err)
	}
	return err
}
