// Package cuda says what of NVIDIA's driver and CUDA libraries a machine has,
// without loading any of it: enough to tell the user what is missing before, and
// after, TensorFlow finds no GPU.
package cuda

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// Libraries are what libtensorflow 2.21's GPU build opens, apart from the driver.
// Without any of them it computes on the CPU, and only its log says why.
var Libraries = []string{
	"libcudart.so.12", "libcublas.so.12", "libcublasLt.so.12", "libcufft.so.11",
	"libcusolver.so.11", "libcusparse.so.12", "libcudnn.so.9",
}

// DriverLibrary belongs to the driver; in a container the container runtime puts
// it there.
const DriverLibrary = "libcuda.so.1"

// State is what was found.
type State struct {
	// Driver is the version of NVIDIA's kernel driver, "" without one. In WSL,
	// where the driver is Windows's, it is "WSL".
	Driver string `json:"driver,omitempty"`
	// Devices are the GPUs' device files.
	Devices []string `json:"devices,omitempty"`
	// Models are the GPUs' names, each once.
	Models []string `json:"models,omitempty"`
	// HasDriverLibrary says whether DriverLibrary was found.
	HasDriverLibrary bool `json:"driver_library"`
	// Missing lists those of Libraries that were not found.
	Missing []string `json:"missing,omitempty"`
	// Visible is CUDA_VISIBLE_DEVICES, if Restricted.
	Visible    string `json:"cuda_visible_devices,omitempty"`
	Restricted bool   `json:"restricted,omitempty"`
}

// Look looks at this machine. runtimeDir is the directory of the libtensorflow in
// use, beside which Python's CUDA packages may be; "" if none.
func Look(runtimeDir string) State { return look("/", os.LookupEnv, runtimeDir) }

var driverVersion = regexp.MustCompile(`\b\d{3,}\.\d+(\.\d+)?\b`)

func look(root string, env func(string) (string, bool), runtimeDir string) State {
	var s State
	if text, err := os.ReadFile(filepath.Join(root, "proc/driver/nvidia/version")); err == nil {
		s.Driver = "of unknown version"
		if version := driverVersion.Find(text); version != nil {
			s.Driver = string(version)
		}
	} else if _, err := os.Stat(filepath.Join(root, "dev/dxg")); err == nil {
		s.Driver = "WSL"
	}
	devices, _ := filepath.Glob(filepath.Join(root, "dev/nvidia[0-9]*"))
	for _, name := range devices {
		s.Devices = append(s.Devices, filepath.Base(name))
	}
	sort.Strings(s.Devices)
	s.Models = models(root)
	s.Visible, s.Restricted = env("CUDA_VISIBLE_DEVICES")

	dirs := []string{"lib", "usr/lib", "lib64", "usr/lib64", "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/wsl/lib",
		"usr/local/cuda/lib64", "usr/local/nvidia/lib64"}
	for i, dir := range dirs {
		dirs[i] = filepath.Join(root, dir)
	}
	if path, ok := env("LD_LIBRARY_PATH"); ok {
		dirs = append(filepath.SplitList(path), dirs...)
	}
	if runtimeDir != "" {
		// libtensorflow's RUNPATH.
		packages, _ := filepath.Glob(filepath.Join(filepath.Dir(runtimeDir), "nvidia", "*", "lib"))
		dirs = append(dirs, packages...)
	}
	// The loader's cache holds names ended by a zero byte.
	cache, _ := os.ReadFile(filepath.Join(root, "etc/ld.so.cache"))
	has := func(name string) bool {
		for _, dir := range dirs {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				return true
			}
		}
		return bytes.Contains(cache, []byte("\x00"+name+"\x00"))
	}
	s.HasDriverLibrary = has(DriverLibrary)
	for _, name := range Libraries {
		if !has(name) {
			s.Missing = append(s.Missing, name)
		}
	}
	return s
}

// models returns the names of the GPUs that the driver lists.
func models(root string) []string {
	var names []string
	paths, _ := filepath.Glob(filepath.Join(root, "proc/driver/nvidia/gpus/*/information"))
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for _, line := range strings.Split(string(text), "\n") {
			if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "Model" {
				names = append(names, strings.TrimSpace(value))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// HasDriver says whether there is a driver that a program can use.
func (s State) HasDriver() bool { return s.Driver != "" && s.HasDriverLibrary }

// Problem says why a GPU build of TensorFlow finds no GPU, and what to do; "" if
// nothing is seen to be missing.
func (s State) Problem() string {
	switch {
	case s.Driver == "" && !s.HasDriverLibrary:
		return "there is no NVIDIA driver on this machine; install one for CUDA 12 (525 or newer), and in a container start it with the GPUs (docker run --gpus all)"
	case s.Driver == "":
		return "the library " + DriverLibrary + " is there, but no NVIDIA driver is loaded; load it (modprobe nvidia), and in a container start it with the GPUs (docker run --gpus all)"
	case !s.HasDriverLibrary:
		return "the NVIDIA driver (" + s.Driver + ") is loaded, but its library " + DriverLibrary + " is not found; in a container install NVIDIA's container toolkit and start it with docker run --gpus all"
	case s.Restricted && (s.Visible == "" || strings.HasPrefix(s.Visible, "-")):
		return "CUDA_VISIBLE_DEVICES hides all GPUs; unset it"
	case len(s.Missing) > 0:
		return "the NVIDIA driver (" + s.Driver + ") is there, but CUDA libraries are missing: " + strings.Join(s.Missing, ", ") +
			"; install CUDA 12 and cuDNN 9.3 or newer and name their directories in LD_LIBRARY_PATH, or use the GPU image"
	}
	return ""
}
