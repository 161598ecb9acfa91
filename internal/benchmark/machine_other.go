//go:build !darwin

package benchmark

func systemProcessorName() string { return "" }

func maxRSS() (int64, error) { return 0, errMemory }
