package arrayfiles

import (
	"os"

	"golang.org/x/sys/unix"
)

// dropCached takes what of a file is on disk out of the system's cache. An output
// is not read again soon; without this it drives out what is, such as the pictures
// to come, and each page of it has to be found anew.
func dropCached(file *os.File) {
	_ = unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED) // advice
}
