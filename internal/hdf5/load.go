package hdf5

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/tfconvrnn/go/internal/cachedir"
)

// Env is the environment variable that names the library to load.
const Env = "TFCONVRNN_LIBHDF5"

var loaded struct {
	sync.Mutex
	path    string
	version string
}

// Load loads the library at path, once per process; an empty path looks for one: where
// Env says, in the Python environment that VIRTUAL_ENV or CONDA_PREFIX names, where
// runtimeinstall puts it, and where the system has it. The error wraps ErrNoLibrary.
func Load(path string) error {
	loaded.Lock()
	defer loaded.Unlock()
	if loaded.path != "" {
		return nil
	}
	candidates := []string{path}
	if path == "" {
		candidates = places()
	}
	var tried []string
	library.Lock()
	defer library.Unlock()
	for _, candidate := range candidates {
		text, ok := openLibrary(candidate)
		if !ok {
			tried = append(tried, fmt.Sprintf("%s: %s", candidate, text))
			continue
		}
		major, minor, release := version()
		if major == 1 && minor < 10 {
			return fmt.Errorf("%w: %s is of version %d.%d.%d, and 1.10 is needed", ErrNoLibrary, text, major, minor, release)
		}
		loaded.path, loaded.version = text, fmt.Sprintf("%d.%d.%d", major, minor, release)
		return nil
	}
	return fmt.Errorf("%w; tried %s", ErrNoLibrary, strings.Join(tried, "; "))
}

// Loaded returns the path and the version of the library, empty if it is not loaded.
func Loaded() (path, version string) {
	loaded.Lock()
	defer loaded.Unlock()
	return loaded.path, loaded.version
}

// places lists where the library may be, best first.
func places() []string {
	if named := os.Getenv(Env); named != "" {
		return []string{named}
	}
	var list []string
	for _, variable := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		if prefix := os.Getenv(variable); prefix != "" {
			list = append(list, in(prefix)...)
		}
	}
	if root, err := cachedir.HDF5(); err == nil {
		found, _ := filepath.Glob(filepath.Join(root, "*", "libhdf5-*.so*")) // the pattern is right
		slices.Sort(found)
		slices.Reverse(found)
		list = append(list, found...)
	}
	if runtime.GOOS == "darwin" {
		return append(list, "libhdf5.dylib", "/opt/homebrew/lib/libhdf5.dylib")
	}
	return append(list, "libhdf5_serial.so.103", "libhdf5.so.103", "libhdf5.so.200", "libhdf5.so.310", "libhdf5.so.320",
		"libhdf5_serial.so.310", "libhdf5.so")
}

// in lists the libraries of a Python environment: h5py's own, or Conda's.
func in(prefix string) []string {
	var list []string
	for _, pattern := range []string{"lib/python3*/site-packages/h5py.libs/libhdf5-*.so*", "lib/libhdf5.so.*",
		"lib/libhdf5.dylib"} {
		found, _ := filepath.Glob(filepath.Join(prefix, pattern)) // the pattern is right
		slices.Sort(found)
		list = append(list, found...)
	}
	return list
}
