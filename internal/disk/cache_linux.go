package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// DropCache takes what of a file is on disk out of the system's cache. An output is not
// read again soon: left there it drives out what is, such as the pictures to come,
// and the system has to find new memory for all that is written.
func DropCache(file *os.File) {
	_ = unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED) // advice
}
