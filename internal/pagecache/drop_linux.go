// Package pagecache keeps what is written once out of the system's cache.
package pagecache

import (
	"os"

	"golang.org/x/sys/unix"
)

// Drop takes what of a file is on disk out of the system's cache. An output is not
// read again soon: left there it drives out what is, such as the pictures to come,
// and the system has to find new memory for all that is written.
func Drop(file *os.File) {
	_ = unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED) // advice
}
