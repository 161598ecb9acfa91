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

// Libraries are what libtensorflow 2.21's GPU build opens, apart from the driver, and what
// these need: nvJitLink for cuSPARSE, and zlib, which is no part of CUDA, for cuDNN.
// Without any of them it computes on the CPU, and only its log says why.
var Libraries = []string{
	"libcudart.so.12", "libcublas.so.12", "libcublasLt.so.12", "libcufft.so.11",
	"libcusolver.so.11", "libcusparse.so.12", "libnvJitLink.so.12", "libcudnn.so.9", "libz.so.1",
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
	// Found says in which folder each of Libraries was found; "" where the loader's cache knows it.
	Found map[string]string `json:"found,omitempty"`
	// Elsewhere are folders of Python environments that hold missing ones: nvidia/ in site-packages.
	// TensorFlow does not look there.
	Elsewhere []string `json:"elsewhere,omitempty"`
	// CUDA13 are such folders whose libraries are CUDA 13's, which TensorFlow cannot use.
	CUDA13 []string `json:"cuda_13,omitempty"`
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

	dirs := []string{"lib", "usr/lib", "lib64", "usr/lib64", "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu",
		"usr/lib/wsl/lib",
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
	find := func(name string) (dir string, ok bool) {
		for _, dir := range dirs {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				return dir, true
			}
		}
		return "", bytes.Contains(cache, []byte("\x00"+name+"\x00"))
	}
	_, s.HasDriverLibrary = find(DriverLibrary)
	for _, name := range Libraries {
		dir, ok := find(name)
		if !ok {
			s.Missing = append(s.Missing, name)
			continue
		}
		if s.Found == nil {
			s.Found = map[string]string{}
		}
		s.Found[name] = dir
	}
	if len(s.Missing) > 0 {
		s.Elsewhere, s.CUDA13 = elsewhere(root, env, s.Missing)
	}
	return s
}

// elsewhere returns the folders nvidia in Python environments that hold one of the libraries, and those that hold CUDA
// 13's.
func elsewhere(root string, env func(string) (string, bool), names []string) (found, cuda13 []string) {
	var prefixes []string
	for _, name := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		if prefix, ok := env(name); ok && prefix != "" {
			prefixes = append(prefixes, prefix)
		}
	}
	if home, ok := env("HOME"); ok && home != "" {
		prefixes = append(prefixes, filepath.Join(home, ".local"))
	}
	for _, prefix := range []string{"usr", "usr/local", "opt/*"} {
		prefixes = append(prefixes, filepath.Join(root, prefix))
	}
	for _, prefix := range prefixes {
		for _, packages := range []string{"site-packages", "dist-packages"} {
			folders, _ := filepath.Glob(filepath.Join(prefix, "lib", "python3*", packages, "nvidia"))
			for _, folder := range folders {
				usable := names
				if CuDNNOfCUDA13(folder) {
					usable = slices.DeleteFunc(slices.Clone(names), func(name string) bool {
						return strings.HasPrefix(name, "libcudnn")
					})
				}
				if holds(folder, usable) && !slices.Contains(found, folder) {
					found = append(found, folder)
				}
				if (holds(folder, []string{"libcublas.so.13"}) || CuDNNOfCUDA13(folder)) && !slices.Contains(cuda13, folder) {
					cuda13 = append(cuda13, folder)
				}
			}
		}
	}
	return found, cuda13
}

// CuDNNOfCUDA13 says whether the cuDNN in a folder nvidia of a Python environment is the build for CUDA 13. Its name
// is the same as that for CUDA 12, but it opens CUDA 13's cuBLAS, which TensorFlow's does not come with.
func CuDNNOfCUDA13(folder string) bool {
	found := func(build string) bool {
		names, _ := filepath.Glob(filepath.Join(filepath.Dir(folder), "nvidia_cudnn_"+build+"-*.dist-info"))
		return len(names) > 0
	}
	return found("cu13") && !found("cu12")
}

func holds(folder string, names []string) bool {
	for _, name := range names {
		if matches, _ := filepath.Glob(filepath.Join(folder, "*", "lib", name)); len(matches) > 0 {
			return true
		}
	}
	return false
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
		return "the library " +
			DriverLibrary + " is there, but no NVIDIA driver is loaded; load it (modprobe nvidia), and in a container start it with the GPUs (docker run --gpus all)"
	case !s.HasDriverLibrary:
		return "the NVIDIA driver (" + s.Driver + ") is loaded, but its library " + DriverLibrary +
			" is not found; in a container install NVIDIA's container toolkit and start it with docker run --gpus all"
	case s.Restricted && (s.Visible == "" || strings.HasPrefix(s.Visible, "-")):
		return "CUDA_VISIBLE_DEVICES hides all GPUs; unset it"
	case len(s.Missing) > 0:
		text := "the NVIDIA driver (" + s.Driver + ") is there, but libraries are missing: " + strings.Join(s.Missing, ", ")
		if len(s.Elsewhere) > 0 {
			text += "; " + strings.Join(s.Elsewhere, " and ") + " has some of them, where TensorFlow does not look"
		}
		if len(s.CUDA13) > 0 {
			text += "; " + strings.Join(s.CUDA13, " and ") + " has CUDA 13's, which this TensorFlow cannot use"
		}
		return text + "; install CUDA 12 and cuDNN 9.3 or newer"
	}
	return ""
}
