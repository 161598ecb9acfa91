//go:build unix

package disk

import "golang.org/x/sys/unix"

// Free returns the bytes that can still be written to the file system that holds a
// directory, or -1 where it cannot be told.
func Free(dir string) int64 {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return -1
	}
	return int64(stat.Bavail) * int64(stat.Bsize)
}
