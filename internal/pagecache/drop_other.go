//go:build !linux

// Package pagecache keeps what is written once out of the system's cache.
package pagecache

import "os"

// Drop does nothing where the system takes no such advice.
func Drop(*os.File) {}
