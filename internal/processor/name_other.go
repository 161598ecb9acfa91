//go:build !darwin

package processor

func systemName() string { return "" }
