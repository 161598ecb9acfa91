// Package cachedir names the places where the project keeps what it can make
// again: the TensorFlow runtime and converted SavedModels.
//
// It only computes paths. Whoever writes to one creates it.
package cachedir

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Env is the environment variable that overrides the cache directory. Its
// value takes the place of <user cache>/tfconvrnn.
const Env = "TFCONVRNN_CACHE"

// Variants of the TensorFlow runtime.
const (
	CPU = "cpu"
	GPU = "gpu"
)

// Root returns the absolute path of the project's cache directory: the value
// of TFCONVRNN_CACHE, or tfconvrnn below os.UserCacheDir (which honours
// XDG_CACHE_HOME). The directory need not exist. An error says which
// variables to set.
func Root() (string, error) {
	if dir := os.Getenv(Env); dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return "", fmt.Errorf("cache directory %s=%q: %w", Env, dir, err)
		}
		return abs, nil
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache directory (set %s, XDG_CACHE_HOME or HOME): %w", Env, err)
	}
	return filepath.Join(base, "tfconvrnn"), nil
}

// Runtimes returns <root>/runtime, the directory that holds one directory per
// installed TensorFlow runtime.
func Runtimes() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "runtime"), nil
}

// Runtime returns <root>/runtime/<version>-<variant>, where the libraries of
// one TensorFlow runtime live, for example Runtime("2.21.0", CPU). The
// version and variant are file name parts, so they must not hold a path
// separator.
func Runtime(version, variant string) (string, error) {
	name := version + "-" + variant
	if version == "" || variant == "" || strings.ContainsAny(name, `/\`) || strings.HasPrefix(name, ".") {
		return "", fmt.Errorf("runtime version %q, variant %q: not usable as a directory name", version, variant)
	}
	runtimes, err := Runtimes()
	if err != nil {
		return "", err
	}
	return filepath.Join(runtimes, name), nil
}

// HDF5 returns <root>/hdf5, the directory that holds one directory per installed version
// of the HDF5 library.
func HDF5() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "hdf5"), nil
}

// Grams returns <root>/grams, where Gram matrices of features are kept, and the features that they are
// being made of.
func Grams() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "grams"), nil
}

// Store returns <root>/savedmodels, where converted SavedModels live.
func Store() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "savedmodels"), nil
}

// Checkpoints returns <root>/checkpoints, where downloaded checkpoints live, laid
// out like the published ones.
func Checkpoints() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "checkpoints"), nil
}
