//go:build unix

package main

import "golang.org/x/sys/unix"

// freeSpace returns the bytes that can still be written to the file system that
// holds a folder, or -1 where it cannot be told.
func freeSpace(folder string) int64 {
	var stat unix.Statfs_t
	if err := unix.Statfs(folder, &stat); err != nil {
		return -1
	}
	return int64(stat.Bavail) * int64(stat.Bsize)
}
