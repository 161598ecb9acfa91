//go:build !cgo || !linux

package onearena

// Limited says whether the limit was set: not without cgo and Linux.
func Limited() bool { return false }
