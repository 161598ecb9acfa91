package benchmark

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// oneDNN says whether TensorFlow computes with oneDNN, which on these processors
// is its default.
func oneDNN() bool {
	enabled, err := strconv.ParseBool(os.Getenv("TF_ENABLE_ONEDNN_OPTS"))
	if err != nil {
		return runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64" && runtime.GOOS == "linux"
	}
	return enabled
}

// procField returns the first value of a field in text of lines "name: value".
func procField(text []byte, name string) string {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		if strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// processorName is that by which the system calls the processor.
func processorName() string {
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if name := procField(text, "model name"); name != "" {
			return name
		}
	}
	if name := systemProcessorName(); name != "" {
		return name
	}
	return "unknown " + runtime.GOARCH + " processor"
}

var errMemory = errors.New("the system does not tell the peak resident memory")

// peakRSS returns the largest resident set of this process so far, in bytes.
func peakRSS() (int64, error) {
	// The maximum that getrusage knows on Linux covers the parent's, too.
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return maxRSS()
	}
	kilobytes, err := strconv.ParseInt(strings.TrimSuffix(procField(text, "VmHWM"), " kB"), 10, 64)
	if err != nil {
		return 0, errMemory
	}
	return kilobytes << 10, nil
}
