package cuda

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func write(t *testing.T, root, name, content string) {
	t.Helper()
	path := filepath.Join(root, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
}

func TestLook(t *testing.T) {
	root := t.TempDir()
	environment := map[string]string{}
	env := func(name string) (string, bool) { value, ok := environment[name]; return value, ok }

	s := look(root, env, "")
	assert.Equal(t, State{Missing: Libraries}, s)
	assert.False(t, s.HasDriver())
	assert.Contains(t, s.Problem(), "no NVIDIA driver on this machine")

	write(t, root, "usr/lib/x86_64-linux-gnu/libcuda.so.1", "")
	s = look(root, env, "")
	assert.Contains(t, s.Problem(), "no NVIDIA driver is loaded")
	require.NoError(t, os.Remove(filepath.Join(root, "usr/lib/x86_64-linux-gnu/libcuda.so.1")))

	write(t, root, "proc/driver/nvidia/version",
		"NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n")
	write(t, root, "dev/nvidia1", "")
	write(t, root, "dev/nvidia0", "")
	write(t, root, "dev/nvidiactl", "")
	for _, bus := range []string{"0000:01:00.0", "0000:02:00.0"} {
		write(t, root, "proc/driver/nvidia/gpus/"+bus+"/information", "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 120\n")
	}
	s = look(root, env, "")
	assert.Equal(t, "550.54.15", s.Driver)
	assert.Equal(t, []string{"nvidia0", "nvidia1"}, s.Devices)
	assert.Equal(t, []string{"NVIDIA H100 80GB HBM3"}, s.Models)
	assert.Contains(t, s.Problem(), "libcuda.so.1 is not found")

	write(t, root, "etc/ld.so.cache",
		"glibc-ld.so.cache1.1\x00libcuda.so.1\x00/usr/lib/libcuda.so.1\x00libcudnn.so.9\x00/opt/libcudnn.so.9\x00")
	s = look(root, env, "")
	assert.True(t, s.HasDriver())
	assert.NotContains(t, s.Missing, "libcudnn.so.9", "it is in the loader's cache")
	assert.Contains(t, s.Problem(), "libcudart.so.12")

	libraries := t.TempDir()
	for _, name := range Libraries {
		write(t, libraries, name, "")
	}
	environment["LD_LIBRARY_PATH"] = "/nowhere:" + libraries
	s = look(root, env, "")
	assert.Empty(t, s.Missing)
	assert.Empty(t, s.Problem())

	environment["CUDA_VISIBLE_DEVICES"] = "-1"
	assert.Contains(t, look(root, env, "").Problem(), "hides all GPUs")
	environment["CUDA_VISIBLE_DEVICES"] = "0"
	assert.Empty(t, look(root, env, "").Problem())
}

func TestLookBesideTheRuntime(t *testing.T) {
	packages := t.TempDir()
	for _, name := range Libraries {
		write(t, packages, filepath.Join("nvidia", "x", "lib", name), "")
	}
	env := func(string) (string, bool) { return "", false }
	assert.Empty(t, look(t.TempDir(), env, filepath.Join(packages, "tensorflow")).Missing)
	assert.NotEmpty(t, look(t.TempDir(), env, "").Missing)
}

func TestLookElsewhere(t *testing.T) {
	environment := t.TempDir()
	packages := filepath.Join(environment, "lib", "python3.12", "site-packages", "nvidia")
	write(t, packages, "cudnn/lib/libcudnn.so.9", "")
	write(t, packages, "cu13/lib/libcublas.so.13", "")
	env := func(name string) (string, bool) { return environment, name == "VIRTUAL_ENV" }
	s := look(t.TempDir(), env, "")
	assert.Equal(t, []string{packages}, s.Elsewhere)
	assert.Equal(t, []string{packages}, s.CUDA13)

	// The cuDNN of an environment for CUDA 13 has the same name, and is another.
	write(t, packages, "../nvidia_cudnn_cu13-9.14.0.64.dist-info/METADATA", "")
	root := t.TempDir()
	write(t, root, "proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06\n")
	write(t, root, "etc/ld.so.cache", "\x00libcuda.so.1\x00")
	s = look(root, env, "")
	assert.Empty(t, s.Elsewhere, "CUDA 13's cannot be used")
	assert.Equal(t, []string{packages}, s.CUDA13)
	assert.Contains(t, s.Problem(), packages+" has CUDA 13's, which this TensorFlow cannot use")
	write(t, packages, "cublas/lib/libcublas.so.12", "")
	assert.Equal(t, []string{packages}, look(root, env, "").Elsewhere)
	require.NoError(t, os.RemoveAll(packages))
	write(t, packages, "cufft/lib/libcufft.so.11", "")
	require.NoError(t, os.RemoveAll(filepath.Join(filepath.Dir(packages), "nvidia_cudnn_cu13-9.14.0.64.dist-info")))
	s = look(root, env, "")
	assert.Empty(t, s.CUDA13)
	assert.Equal(t, []string{packages}, s.Elsewhere)
}

func TestLookHere(t *testing.T) {
	s := Look("")
	if _, err := os.Stat("/proc/driver/nvidia/version"); err != nil {
		if _, err := os.Stat("/dev/dxg"); err != nil {
			assert.False(t, s.HasDriver())
			assert.NotEmpty(t, s.Problem())
			return
		}
	}
	assert.NotEmpty(t, s.Driver)
}
