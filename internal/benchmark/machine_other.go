//go:build !darwin

package benchmark

func maxRSS() (int64, error) { return 0, errMemory }
