//go:build !linux

package arrayfiles

import "os"

// dropCached does nothing where the system takes no such advice.
func dropCached(*os.File) {}
