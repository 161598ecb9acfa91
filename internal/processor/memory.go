package processor

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// assumedMemory is the memory taken to be available where the system does not say.
const assumedMemory = 4 << 30

// AvailableMemory is what Linux says can be had without swapping.
func AvailableMemory() int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return assumedMemory
	}
	defer f.Close()
	available := int64(assumedMemory)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 1 && fields[0] == "MemAvailable:" {
			if n, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
				available = n << 10
			}
		}
	}
	// A container may have less than the machine.
	if limit, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(string(limit)), 10, 64); err == nil {
			available = min(available, n)
		}
	}
	return available
}
