package benchmark

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/tfconvrnn/go/internal/processor"
)

var errMemory = errors.New("the system does not tell the peak resident memory")

// peakRSS returns the largest resident set of this process so far, in bytes.
func peakRSS() (int64, error) {
	// The maximum that getrusage knows on Linux covers the parent's, too.
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return maxRSS()
	}
	kilobytes, err := strconv.ParseInt(strings.TrimSuffix(processor.Field(string(text), "VmHWM"), " kB"), 10, 64)
	if err != nil {
		return 0, errMemory
	}
	return kilobytes << 10, nil
}
