package benchmark

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/cpu"
)

// oneDNN says whether TensorFlow computes with oneDNN. Its default on x86 Linux is
// yes only for processors with instructions for neural networks
// (tensorflow/core/util/util.cc, IsMKLEnabled), and on arm64 for those that it
// knows by name, of which this can see none.
func oneDNN() bool {
	enabled, err := strconv.ParseBool(os.Getenv("TF_ENABLE_ONEDNN_OPTS"))
	if err != nil {
		x := cpu.X86
		return runtime.GOOS == "linux" && (x.HasAVX512VNNI || x.HasAVX512BF16 || x.HasAVXVNNI || x.HasAMXTile || x.HasAMXInt8 || x.HasAMXBF16)
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
