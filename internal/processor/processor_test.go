package processor

import (
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestField(t *testing.T) {
	assert.Equal(t, "a: b", Field("x y : 1\nmodel name\t: a: b\nmodel name: c\n", "model name"))
	assert.Empty(t, Field("", "model name"))
}

func TestKind(t *testing.T) {
	for want, cpuinfo := range map[string]string{
		"P (family 26, model 2)":           "processor\t: 0\ncpu family\t: 26\nmodel\t\t: 2\nmodel name\t: P\n",
		"P (implementer 0x41, part 0xd40)": "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n",
		"P":                                "",
		"P (family 6, model 85)":           "cpu family : 6\nmodel : 85\n\ncpu family : 7\nmodel : 86\n",
	} {
		assert.Equal(t, want, kind("P", cpuinfo))
	}
	assert.NotEmpty(t, Name())
	assert.Contains(t, Kind(), Name())
}

func TestOneDNN(t *testing.T) {
	for value, want := range map[string]bool{"0": false, "FALSE": false, "1": true, "true": true} {
		t.Setenv("TF_ENABLE_ONEDNN_OPTS", value)
		assert.Equal(t, want, OneDNNEnabled(), value)
		assert.Equal(t, !want, OneDNN() == "off", value)
	}
	if runtime.GOARCH == "amd64" {
		t.Setenv("TF_ENABLE_ONEDNN_OPTS", "1")
		t.Setenv("DNNL_MAX_CPU_ISA", "AVX")
		t.Setenv("ONEDNN_MAX_CPU_ISA", "sse41")
		assert.Equal(t, "SSE41", OneDNN())
		t.Setenv("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")
		assert.Equal(t, "SSE41, BF16", OneDNN())
	}
}

func TestInstructionSet(t *testing.T) {
	genoa := []string{"SSE41", "AVX", "AVX2", "AVX512_CORE", "AVX512_CORE_VNNI", "AVX512_CORE_BF16"}
	laptop := []string{"SSE41", "AVX", "AVX2", "AVX2_VNNI"}
	for _, test := range []struct {
		limit string
		has   []string
		want  string
	}{
		{"", genoa, "AVX512_CORE_BF16"},
		{"NONSENSE", genoa, "AVX512_CORE_BF16"},
		{"AVX512_CORE_AMX", genoa, "AVX512_CORE_BF16"},
		{"AVX512_CORE", genoa, "AVX512_CORE"},
		{"AVX2_VNNI", genoa, "AVX2"},
		{"AVX2", genoa, "AVX2"},
		{"", laptop, "AVX2_VNNI"},
		{"AVX2_VNNI", laptop, "AVX2_VNNI"},
		{"AVX512_CORE", laptop, "AVX2"}, // AVX-512 does not hold AVX-VNNI
		{"AVX2", nil, "SSE41"},
	} {
		assert.Equal(t, test.want, instructionSet(test.limit, func(name string) bool {
			return slices.Contains(test.has, name)
		}), "%+v", test)
	}
}
