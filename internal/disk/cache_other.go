//go:build !linux

package disk

import "os"

// DropCache does nothing where the system takes no such advice.
func DropCache(*os.File) {}
