package processor

import (
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/cpu"
)

// OneDNNEnabled says whether TensorFlow computes with oneDNN. Its default on x86 Linux
// is yes only for processors with instructions for neural networks
// (tensorflow/core/util/util.cc, IsMKLEnabled), and on arm64 for those that it
// knows by name, of which this can see none.
func OneDNNEnabled() bool {
	switch strings.ToLower(os.Getenv("TF_ENABLE_ONEDNN_OPTS")) {
	case "1", "true":
		return true
	case "0", "false":
		return false
	}
	x := cpu.X86
	return runtime.GOOS == "linux" && (x.HasAVX512VNNI || x.HasAVX512BF16 || x.HasAVXVNNI || x.HasAMXTile ||
		x.HasAMXInt8 || x.HasAMXBF16)
}

// OneDNN says in a word how TensorFlow computes with oneDNN: "off", or the largest
// instruction set that oneDNN may use here, as its variable ONEDNN_MAX_CPU_ISA calls it
// ("on" where that is not known). A default of oneDNN's for reduced precision follows, where the
// environment sets one.
func OneDNN() string {
	if !OneDNNEnabled() {
		return "off"
	}
	name := "on"
	if runtime.GOARCH == "amd64" {
		name = instructionSet(oneDNNVariable("MAX_CPU_ISA"), hasSet)
	}
	if mode := oneDNNVariable("DEFAULT_FPMATH_MODE"); mode != "" && mode != "STRICT" {
		name += ", " + mode
	}
	return name
}

// oneDNNVariable returns a setting of oneDNN's in capitals; the old prefix counts where
// the new one is not set.
func oneDNNVariable(name string) string {
	for _, prefix := range []string{"ONEDNN_", "DNNL_"} {
		if value := os.Getenv(prefix + name); value != "" {
			return strings.ToUpper(value)
		}
	}
	return ""
}

// instructionSets are in the order of what they hold, by the names of
// ONEDNN_MAX_CPU_ISA, but that those of AVX-512 do not hold AVX2_VNNI.
var instructionSets = []string{
	"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI", "AVX512_CORE_BF16", "AVX512_CORE_FP16",
	"AVX512_CORE_AMX",
}

func hasSet(name string) bool {
	x := cpu.X86
	core := x.HasAVX512F && x.HasAVX512BW && x.HasAVX512VL && x.HasAVX512DQ
	switch name {
	case "AVX":
		return x.HasAVX
	case "AVX2":
		return x.HasAVX2
	case "AVX2_VNNI":
		return x.HasAVXVNNI
	case "AVX512_CORE":
		return core
	case "AVX512_CORE_VNNI":
		return core && x.HasAVX512VNNI
	case "AVX512_CORE_BF16":
		return core && x.HasAVX512BF16
	case "AVX512_CORE_AMX":
		return core && x.HasAVX512BF16 && x.HasAMXTile && x.HasAMXInt8 && x.HasAMXBF16
	}
	return false // AVX512_CORE_FP16 cannot be seen; it changes nothing in float32
}

// instructionSet returns the largest instruction set that there is, within the limit if
// it names one.
func instructionSet(limit string, has func(string) bool) string {
	most := slices.Index(instructionSets, limit)
	limited := most >= 0
	if !limited {
		most = len(instructionSets) - 1
	}
	for i := most; i > 0; i-- {
		name := instructionSets[i]
		if has(name) && (name != "AVX2_VNNI" || !limited || limit == name) {
			return name
		}
	}
	return instructionSets[0]
}
