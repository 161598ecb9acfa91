package runtimeinstall

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/tfconvrnn/go/internal/cachedir"
)

// HDF5Version is the version of h5py whose HDF5 library is installed.
const HDF5Version = "3.16.0"

// hdf5Wheels are of h5py for CPython 3.12. The library in them needs no Python.
var hdf5Wheels = map[string]wheel{
	"linux/amd64": {"h5py", "manylinux_2_28_x86_64", "dfc21898ff025f1e8e67e194965a95a8d4754f452f83454538f98f8a3fcb207e",
		5405250, HDF5Version},
	"linux/arm64": {"h5py", "manylinux_2_28_aarch64", "ff24039e2573297787c3063df64b60aab0591980ac898329a08b0320e0cf2527",
		5198852, HDF5Version},
}

// maxHDF5Bytes bounds a library: ten times what the largest takes.
const maxHDF5Bytes = 64 << 20

// What is taken out of the wheel: libhdf5, and libsz and libaec, which it is linked with and
// finds beside itself; their licences.
var (
	hdf5Library  = regexp.MustCompile(`^h5py\.libs/(lib(?:hdf5|sz|aec)-[0-9a-f]+\.so[0-9.]*)$`)
	hdf5Notice   = regexp.MustCompile(`^h5py-[0-9.]+\.dist-info/licenses/(?:licenses/(hdf5\.txt)|(LICENSE))$`)
	hdf5Metadata = regexp.MustCompile(`^h5py-([0-9][0-9A-Za-z.]*)\.dist-info/METADATA$`)
)

// InstallHDF5 puts the HDF5 library into the cache directory, where internal/hdf5 finds it, from
// h5py's wheel, which pip fetches, or which is Options.File. Of the other options Python, Force and Progress count.
// Otherwise it is as Install.
func InstallHDF5(ctx context.Context, o Options) (Result, error) {
	if o.platform == "" {
		o.platform = runtime.GOOS + "/" + runtime.GOARCH
	}
	if o.wheel == nil {
		w, ok := hdf5Wheels[o.platform]
		if !ok {
			return Result{}, fmt.Errorf("install the HDF5 library: %w (%s); install the system's", ErrPlatform, o.platform)
		}
		o.wheel = &w
	}
	result, err := installHDF5(ctx, o)
	if err != nil {
		return Result{}, fmt.Errorf("install the HDF5 library: %w", err)
	}
	return result, nil
}

func installHDF5(ctx context.Context, o Options) (Result, error) {
	root, err := cachedir.HDF5()
	if err != nil {
		return Result{}, err
	}
	dir := filepath.Join(root, o.wheel.of())
	return o.into(ctx, root, dir, o.wheel.sha256, func(work string, from archive, sum string) (Result, error) {
		files, err := extractHDF5(ctx, from.path, work, o.report(StageExtract))
		if err != nil {
			return Result{}, fmt.Errorf("%s: %w", from.name, err)
		}
		m := Manifest{Version: o.wheel.of(), Variant: "hdf5", Platform: o.platform, Source: from.name, SourceSHA256: sum,
			Verified: true, Files: files}
		return Result{Dir: dir, Manifest: m}, publish(filepath.Join(work, contentDir), dir, m)
	})
}

// extractHDF5 takes the libraries and licences out of a wheel, into contentDir below work.
func extractHDF5(ctx context.Context, name, work string, report func(done, total int64)) ([]File, error) {
	version := false
	files, err := extractWheel(ctx, name, work, maxHDF5Bytes, report, func(entry string) (library, notice string) {
		version = version || hdf5Metadata.MatchString(entry)
		return submatches(hdf5Library, entry), submatches(hdf5Notice, entry)
	})
	if err != nil {
		return nil, err
	}
	if !version || !slices.ContainsFunc(files, func(f File) bool { return strings.HasPrefix(f.Name, "libhdf5-") }) {
		return nil, fmt.Errorf("%w: it is no wheel of h5py with libhdf5", ErrArchive)
	}
	return files, nil
}
