package libtf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/tfconvrnn/go/internal/cachedir"
)

// Env is the environment variable that names the library to load, as a file
// or as the directory it is in.
const Env = "TFCONVRNN_LIBTENSORFLOW"

// Version is the version of TensorFlow this package is tested with.
const Version = "2.21.0"

// The oldest version accepted, in the major version 2.
const minMinor = 16

// A LoadCause says why a library could not be used, and how to mend that.
type LoadCause struct{ text, remedy string }

// Error returns the cause.
func (c *LoadCause) Error() string { return c.text }

// Remedy returns what to do about it, in one line.
func (c *LoadCause) Remedy() string { return c.remedy }

const install = "run `tfconvrnn-cli runtime install`"

// Why a library could not be used.
var (
	ErrNotFound = &LoadCause{"libtensorflow not found",
		install + ", or set " + Env + " to a libtensorflow 2 of your own"}
	ErrDependency = &LoadCause{"a library that libtensorflow needs cannot be loaded",
		"keep libtensorflow_framework beside libtensorflow, and install libstdc++ and glibc 2.27 or newer; or " + install}
	ErrSymbol = &LoadCause{"the library lacks functions of TensorFlow's C API",
		"name the libtensorflow or libtensorflow_cc of a TensorFlow 2 release, not another library; or " + install}
	ErrVersion = &LoadCause{"the library is of a version that does not fit",
		"use TensorFlow " + Version + ": " + install}
	ErrTruncated = &LoadCause{"the library file is cut short",
		"copy or download it again: " + install}
	ErrFormat = &LoadCause{"the file is not a shared library for this machine",
		"use the build for " + runtime.GOOS + "/" + runtime.GOARCH + ": " + install}
	ErrNoCgo = &LoadCause{"this program was built without cgo or for a system without support for libtensorflow",
		"build it with CGO_ENABLED=1 and a C compiler, on Linux or macOS"}
	ErrNoRandom = &LoadCause{"there is no " + randomDevice + ", without which TensorFlow ends the process",
		"mount /dev (in a chroot: mount --bind /dev DIR/dev)"}
	ErrAlreadyLoaded = &LoadCause{"another libtensorflow is already loaded, and a process can have only one",
		"use the same path throughout, or another process"}
)

// Try is one place where [Load] looked.
type Try struct {
	Source string // who named the place: "option", Env, "Python environment", "cache" or "system"
	Path   string // a file, a directory, or a name for the system's loader
	Err    error  // wraps one of the causes
}

// LoadError says that no library could be used. It matches the cause, with
// errors.Is, of the first try that found something, or else ErrNotFound.
type LoadError struct{ Tries []Try }

func (e *LoadError) cause() error {
	for _, try := range e.Tries {
		if !errors.Is(try.Err, ErrNotFound) {
			return try.Err
		}
	}
	return ErrNotFound
}

// Unwrap returns the error of the try that tells most.
func (e *LoadError) Unwrap() error { return e.cause() }

// Remedy returns what to do about it, in one line.
func (e *LoadError) Remedy() string {
	var cause *LoadCause
	if errors.As(e.cause(), &cause) {
		return cause.remedy
	}
	return ErrNotFound.remedy
}

// Error lists the places tried with what was wrong with each, and the remedy.
func (e *LoadError) Error() string {
	var text strings.Builder
	text.WriteString("libtf: cannot load libtensorflow; tried:\n")
	for _, try := range e.Tries {
		fmt.Fprintf(&text, "  %s (%s): %v\n", try.Path, try.Source, try.Err)
	}
	text.WriteString("To mend this: " + e.Remedy() + ".")
	return text.String()
}

// Runtime is the loaded library. It stays loaded until the process ends.
type Runtime struct {
	version, path string
	threads       atomic.Int32 // size of the pool; 0 until PoolThreads is called
}

// Version returns TensorFlow's version, for example "2.21.0".
func (r *Runtime) Version() string { return r.version }

// Path returns the file that was loaded.
func (r *Runtime) Path() string { return r.path }

// Symbol returns the address of a function of the library, nil if it has none of that
// name. It stays valid.
func (r *Runtime) Symbol(name string) unsafe.Pointer { return symbol(name) }

// PoolThreads returns how many threads sessions compute with when wanted are asked for.
// TensorFlow makes one pool of threads in a process, for its first session: what the
// first caller wants is what all later ones get. Safe for concurrent use.
func (r *Runtime) PoolThreads(wanted int) int {
	r.threads.CompareAndSwap(0, int32(wanted))
	return int(r.threads.Load())
}

// The one piece of global state: libtensorflow cannot be unloaded.
var (
	current atomic.Pointer[Runtime]
	loading sync.Mutex
	stuck   error // set for good once a library was opened that cannot be used
)

func loaded() bool { return current.Load() != nil }

// Loaded returns the runtime, or nil if [Load] has not succeeded yet.
func Loaded() *Runtime { return current.Load() }

// Load opens libtensorflow, once for the process. If path is not empty, it is
// the library or its directory. Else the environment variable
// TFCONVRNN_LIBTENSORFLOW says so in the same way. Else the Python environment that
// the project's wheel is in, the project's cache directory, and then the loader's path
// are searched. Somebody's explicit choice is never replaced by another library.
//
// Once loaded, Load returns the same Runtime again, or ErrAlreadyLoaded if
// path means another file. All other errors are a *LoadError. A library that
// could be opened and was found wrong afterwards cannot be unloaded, so
// every later Load returns that error too. Load is safe for concurrent use.
func Load(path string) (*Runtime, error) {
	loading.Lock()
	defer loading.Unlock()
	if r := current.Load(); r != nil {
		if path == "" || sameLibrary(path, r.path) {
			return r, nil
		}
		return nil, fmt.Errorf("libtf: cannot load %s: %w: %s; %s", path, ErrAlreadyLoaded, r.path, ErrAlreadyLoaded.remedy)
	}
	if stuck != nil {
		return nil, stuck
	}
	if !buildHasCgo {
		return nil, &LoadError{[]Try{{"option", cmpOr(path, "libtensorflow"), ErrNoCgo}}}
	}
	if err := checkRandom(randomDevice); err != nil {
		return nil, &LoadError{[]Try{{"system", randomDevice, err}}}
	}
	failure := &LoadError{}
	for _, place := range places(path) {
		r, final, err := place.load()
		if err == nil {
			current.Store(r)
			return r, nil
		}
		failure.Tries = append(failure.Tries, Try{place.source, place.path, err})
		if final {
			stuck = failure
			break
		}
	}
	return nil, failure
}

// randomDevice is where the C++ library finds random numbers; it throws where there is none, which nothing catches.
const randomDevice = "/dev/urandom"

func checkRandom(device string) error {
	if _, err := os.Stat(device); errors.Is(err, fs.ErrNotExist) {
		return ErrNoRandom
	}
	return nil
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

type place struct {
	source, path string
	system       bool // path is a name for the system's loader
}

func places(option string) []place {
	if option != "" {
		return []place{{source: "option", path: option}}
	}
	if path := os.Getenv(Env); path != "" {
		return []place{{source: Env, path: path}}
	}
	found := environmentPlaces()
	for _, dir := range cached() {
		found = append(found, place{source: "cache", path: dir})
	}
	for _, name := range libraryNames() {
		found = append(found, place{source: "system", path: name, system: true})
	}
	return found
}

// cached lists the directories of installed runtimes: the tested version
// first, then newer before older; within a version the GPU build first where
// there is an NVIDIA driver, else last.
func cached() []string {
	root, err := cachedir.Runtimes()
	if err != nil {
		return nil
	}
	expected := filepath.Join(root, Version+"-"+cachedir.CPU)
	entries, err := os.ReadDir(root)
	if err != nil {
		return []string{expected} // so that the error names it
	}
	type candidate struct {
		dir          string
		exact        bool
		version      []int
		preferredFor bool
	}
	gpuFirst := hasNvidiaDriver()
	var candidates []candidate
	for _, entry := range entries {
		dash := max(strings.LastIndexByte(entry.Name(), '-'), 0)
		version, variant := entry.Name()[:dash], strings.TrimPrefix(entry.Name()[dash:], "-")
		numbers, ok := parseVersion(version)
		if !ok || variant != cachedir.CPU && variant != cachedir.GPU {
			continue
		}
		candidates = append(candidates, candidate{filepath.Join(root, entry.Name()), version == Version, numbers,
			(variant == cachedir.GPU) == gpuFirst})
	}
	if len(candidates) == 0 {
		return []string{expected}
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int {
		if a.exact != b.exact {
			return btoi(b.exact) - btoi(a.exact)
		}
		if c := slices.Compare(b.version, a.version); c != 0 {
			return c
		}
		return btoi(b.preferredFor) - btoi(a.preferredFor)
	})
	dirs := make([]string, len(candidates))
	for i, c := range candidates {
		dirs[i] = c.dir
	}
	return dirs
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func hasNvidiaDriver() bool {
	for _, name := range []string{"/proc/driver/nvidia/version", "/dev/dxg"} { // the second is WSL's
		if _, err := os.Stat(name); err == nil {
			return true
		}
	}
	return false
}

// parseVersion returns the numbers that lead the parts of a version such as
// 2.21.0, 2.22.0-rc1 or 2.22.0rc1.
func parseVersion(text string) (numbers []int, ok bool) {
	for part := range strings.SplitSeq(text, ".") {
		digits := len(part) - len(strings.TrimLeft(part, "0123456789"))
		number, err := strconv.Atoi(part[:digits])
		if err != nil {
			break
		}
		numbers = append(numbers, number)
	}
	return numbers, len(numbers) >= 2
}

// libraryNames lists the file names of a library with the whole C API: that of
// the Python wheel, that of the C tarball, and its development name.
func libraryNames() []string {
	if runtime.GOOS == "darwin" {
		return []string{"libtensorflow_cc.2.dylib", "libtensorflow.2.dylib", "libtensorflow.dylib"}
	}
	return []string{"libtensorflow_cc.so.2", "libtensorflow.so.2", "libtensorflow.so"}
}

// resolve returns the library that path, a file or a directory, means. A
// directory may be that of the library, the root of the C tarball, or a Python
// site-packages directory.
func resolve(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNotFound, pathless(err))
	}
	if !info.IsDir() {
		return filepath.Abs(path)
	}
	for _, sub := range []string{".", "lib", "tensorflow"} {
		for _, name := range libraryNames() {
			file := filepath.Join(path, sub, name)
			if info, err := os.Stat(file); err == nil && !info.IsDir() {
				return filepath.Abs(file)
			}
		}
	}
	return "", fmt.Errorf("%w: the directory has none of %s", ErrNotFound, strings.Join(libraryNames(), ", "))
}

func pathless(err error) error {
	var withPath *fs.PathError
	if errors.As(err, &withPath) {
		return withPath.Err
	}
	return err
}

func sameLibrary(path, loaded string) bool {
	file, err := resolve(path)
	if err != nil {
		return false
	}
	a, errA := os.Stat(file)
	b, errB := os.Stat(loaded)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// load opens the library. final says that another must not be tried after
// this: it is in the process for good, and its libtensorflow_framework would be
// taken for that of the next.
func (p place) load() (r *Runtime, final bool, err error) {
	file := p.path
	if p.system {
		// The loader would die of a damaged file, so look for it as far as
		// its path can be known.
		for _, dir := range systemDirs() {
			if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
				if err := checkLibrary(filepath.Join(dir, file)); err != nil {
					return nil, false, err
				}
				break
			}
		}
	} else {
		if file, err = resolve(p.path); err != nil {
			return nil, false, err
		}
		if err := checkLibrary(file); err != nil {
			return nil, false, err
		}
	}
	var (
		result openResult
		text   string
	)
	if quiet.Load() {
		quietly(func() { result, text = open(file) })
	} else {
		result, text = open(file)
	}
	switch result {
	case opened:
	case symbolsMissing:
		return nil, true, fmt.Errorf("%w: %s", ErrSymbol, text)
	default:
		if p.system && strings.Contains(text, file+": cannot open shared object file") || runtime.GOOS == "darwin" &&
			p.system {
			return nil, false, fmt.Errorf("%w: %s", ErrNotFound, text)
		}
		return nil, false, fmt.Errorf("%w: %s", ErrDependency, text)
	}
	// Relocating and initializing touch 240 MB of the file, little of which is used again.
	unmapFilePages()
	if p.system {
		file = text
	}
	name := version()
	numbers, ok := parseVersion(name)
	if !ok || !usable(numbers) {
		return nil, true, fmt.Errorf("%w: it is TensorFlow %q, at least 2.%d and below 3 is needed", ErrVersion, name,
			minMinor)
	}
	return &Runtime{version: name, path: file}, false, nil
}

// usable says whether a version has the C API that is called here.
func usable(version []int) bool { return version[0] == 2 && version[1] >= minMinor }

func systemDirs() []string {
	var dirs []string
	for _, dir := range filepath.SplitList(os.Getenv("LD_LIBRARY_PATH")) {
		dirs = append(dirs, cmpOr(dir, "."))
	}
	return append(dirs, "/usr/local/lib", "/lib", "/usr/lib", "/lib64", "/usr/lib64",
		"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu")
}
