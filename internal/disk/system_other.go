//go:build !unix

package disk

// Free returns -1: it cannot be told here.
func Free(string) int64 { return -1 }

// SyncFolder does nothing where the system cannot.
func SyncFolder(string) error { return nil }
