// Package processor says what TensorFlow computes with on this machine's processor:
// libraries choose by its instructions how they add, so the last bits of what they
// compute depend on them.
package processor

import (
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/cpu"
)

// Field returns the first value of a field in text of lines "name: value", as in
// /proc/cpuinfo.
func Field(text, name string) string {
	for line := range strings.Lines(text) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Name is what the system calls the processor.
func Name() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		if name := Field(string(text), "model name"); name != "" {
			return name
		}
	}
	if name := systemName(); name != "" {
		return name
	}
	return "unknown " + runtime.GOARCH + " processor"
}

// Kind is Name with the numbers that tell processors apart whose names are equal, as far
// as the system knows them, such as "AMD EPYC (family 26, model 2)".
func Kind() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return Name()
	}
	return kind(Name(), string(text))
}

func kind(name, cpuinfo string) string {
	var numbers []string
	for _, f := range []struct{ field, word string }{
		{"cpu family", "family"}, {"model", "model"}, {"CPU implementer", "implementer"}, {"CPU part", "part"},
	} {
		if value := Field(cpuinfo, f.field); value != "" {
			numbers = append(numbers, f.word+" "+value)
		}
	}
	if len(numbers) == 0 {
		return name
	}
	return name + " (" + strings.Join(numbers, ", ") + ")"
}

// Features names the vector instructions that TensorFlow makes use of; slow says that
// the processor lacks those without which it is slow.
func Features() (names []string, slow bool) {
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"AVX2", cpu.X86.HasAVX2}, {"FMA", cpu.X86.HasFMA}, {"AVX-512", cpu.X86.HasAVX512F},
		{"AVX512-VNNI", cpu.X86.HasAVX512VNNI},
		{"AVX512-BF16", cpu.X86.HasAVX512BF16}, {"AMX-BF16", cpu.X86.HasAMXBF16},
		{"NEON", cpu.ARM64.HasASIMD}, {"SVE", cpu.ARM64.HasSVE}, {"SVE2", cpu.ARM64.HasSVE2},
	} {
		if f.has {
			names = append(names, f.name)
		}
	}
	return names, runtime.GOARCH == "amd64" && !(cpu.X86.HasAVX2 && cpu.X86.HasFMA)
}
