package runtimeinstall

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/tfconvrnn/go/internal/cuda"
)

// A component is one wheel of NVIDIA's, of which some files are kept.
type component struct {
	// Name is that of the wheel's folder below nvidia/, where libtensorflow looks for it.
	Name string
	wheel
	keep *regexp.Regexp // paths below the folder
}

// components are what the GPU build of Version opens, with what these libraries open
// themselves, of the newest versions that TensorFlow's wheel allows. Left out of the wheels
// are headers, static libraries, and libraries that nothing here opens: nvblas, cufftw,
// cusolverMg, the profilers beside CUPTI and second builds of nvrtc.
//
// TensorFlow's wheel also asks for curand, which it never opens, and for NCCL, which it opens
// for collective operations only: models here have none, each GPU has a session of its own.
var components = []component{
	{"cuda_runtime", wheel{"nvidia-cuda-runtime-cu12", "manylinux2014_x86_64",
		"25bba2dfb01d48a9b59ca474a1ac43c6ebf7011f1b0b8cc44f54eb6ac48a96c3", 3493179, "12.9.79"},
		regexp.MustCompile(`^lib/libcudart\.so\.12$`)},
	{"cublas", wheel{"nvidia-cublas-cu12", "manylinux_2_27_x86_64",
		"d7d51055f161b317c7105ddaae90e71eda059026074ffef93cf7cde2886bfe72", 581217458, "12.9.3.13"},
		regexp.MustCompile(`^lib/libcublas(Lt)?\.so\.12$`)},
	{"cudnn", wheel{"nvidia-cudnn-cu12", "manylinux_2_27_x86_64",
		"9ff58b7f36dacd0a93e89f8f2957b52466889217963701daa15e577317cfa375", 716538495, "9.28.0.42"},
		regexp.MustCompile(`^lib/libcudnn[a-z_]*\.so\.9$`)},
	{"cufft", wheel{"nvidia-cufft-cu12", "manylinux2014_x86_64",
		"c67884f2a7d276b4b80eb56a79322a95df592ae5e765cf1243693365ccab4e28", 200877592, "11.4.1.4"},
		regexp.MustCompile(`^lib/libcufft\.so\.11$`)},
	{"cusolver", wheel{"nvidia-cusolver-cu12", "manylinux_2_27_x86_64",
		"15da72d1340d29b5b3cf3fd100e3cd53421dde36002eda6ed93811af63c40d88", 338117415, "11.7.5.82"},
		regexp.MustCompile(`^lib/libcusolver\.so\.11$`)},
	{"cusparse", wheel{"nvidia-cusparse-cu12", "manylinux2014_x86_64",
		"73060ce019ac064a057267c585bf1fd5a353734151f87472ff02b2c5c9984e78", 366465088, "12.5.10.65"},
		regexp.MustCompile(`^lib/libcusparse\.so\.12$`)},
	{"nvjitlink", wheel{"nvidia-nvjitlink-cu12", "manylinux2010_x86_64",
		"e3f1171dbdc83c5932a45f0f4c99180a70de9bd2718c1ab77d14104f6d7147f9", 39748338, "12.9.86"},
		regexp.MustCompile(`^lib/libnvJitLink\.so\.12$`)},
	{"cuda_nvrtc", wheel{"nvidia-cuda-nvrtc-cu12", "manylinux2010_x86_64",
		"210cf05005a447e29214e9ce50851e83fc5f4358df8b453155d5e1918094dcb4", 89568129, "12.9.86"},
		regexp.MustCompile(`^lib/libnvrtc(-builtins\.so\.12\.9|\.so\.12)$`)},
	{"cuda_cupti", wheel{"nvidia-cuda-cupti-cu12", "manylinux2014_x86_64",
		"ea0cb07ebda26bb9b29ba82cda34849e73c166c18162d3913575b0c9db9a6182", 10248621, "12.8.90"},
		regexp.MustCompile(`^lib/libcupti\.so\.12$`)},
	{"cuda_nvcc", wheel{"nvidia-cuda-nvcc-cu12", "manylinux2010_x86_64",
		"5d6a0d32fdc7ea39917c20065614ae93add6f577d840233237ff08e9a38f58f0", 40546229, "12.9.86"},
		regexp.MustCompile(`^(bin/ptxas|nvvm/libdevice/libdevice\.10\.bc)$`)},
}

// nvidiaNotice is the licence in a wheel of NVIDIA's.
var nvidiaNotice = regexp.MustCompile(
	`^nvidia_[a-z0-9_]+-[0-9.]+\.dist-info/(?:licenses/)?(License\.txt|LICENSE(?:\.txt)?)$`)

// ErrComponent says that CUDA has no component of a name.
var ErrComponent = errors.New("no such component of CUDA")

// CUDAComponents returns the names of the parts of CUDA that the GPU build uses.
func CUDAComponents() []string {
	var names []string
	for _, c := range components {
		names = append(names, c.Name)
	}
	return names
}

// A Download is an archive that an installation fetches.
type Download struct {
	Project, Version string
	Bytes            int64
}

// CUDA says which of CUDA's libraries come along with the GPU build. The zero value is none.
type CUDA struct {
	// Wheels takes them from NVIDIA's wheels, but for the components in Without.
	Wheels  bool
	Without []string
	// From links those that a Python environment has instead, as LinkCUDA does.
	From string
}

// Downloads returns what InstallCUDA and, without a File or a URL in the options, Install fetch.
func (c CUDA) Downloads(o Options) (list []Download, total int64, err error) {
	if o.File == "" && o.URL == "" {
		d, err := runtimeDownload(o)
		if err != nil {
			return nil, 0, err
		}
		list = append(list, d)
	}
	if c.Wheels {
		chosen, err := Options{}.components(c.Without)
		if err != nil {
			return nil, 0, err
		}
		for _, of := range chosen {
			list = append(list, Download{of.project, of.of(), of.bytes})
		}
	}
	for _, d := range list {
		total += d.Bytes
	}
	return list, total, nil
}

// runtimeDownload returns what Install fetches with these options.
func runtimeDownload(o Options) (Download, error) {
	if o.platform == "" {
		o.platform = runtime.GOOS + "/" + runtime.GOARCH
	}
	w, err := o.pinned()
	return Download{w.project, w.of(), w.bytes}, err
}

// components returns those of CUDA that are not left out.
func (o Options) components(without []string) ([]component, error) {
	for _, name := range without {
		if !slices.Contains(CUDAComponents(), name) {
			return nil, fmt.Errorf("%w: %q; there are %s", ErrComponent, name, strings.Join(CUDAComponents(), ", "))
		}
	}
	all := components
	if o.cuda != nil {
		all = o.cuda
	}
	return slices.DeleteFunc(slices.Clone(all), func(c component) bool { return slices.Contains(without, c.Name) }), nil
}

// InstallCUDA puts the libraries of CUDA 12 and cuDNN 9 that the GPU build of TensorFlow
// opens beside it in the cache directory, where it finds them without LD_LIBRARY_PATH: from
// NVIDIA's wheels, which pip fetches. Components in without are left out. Of the options
// Python, Force and Progress count. What is there and intact is not fetched again. Each
// component is complete or absent; an error leaves those before it installed.
func InstallCUDA(ctx context.Context, o Options, without []string) ([]Result, error) {
	chosen, err := o.components(without)
	if err != nil {
		return nil, err
	}
	root, err := o.runtimes()
	if err != nil {
		return nil, err
	}
	var results []Result
	for _, c := range chosen {
		result, err := o.installComponent(ctx, root, c)
		if err != nil {
			return results, fmt.Errorf("install CUDA's %s: %w", c.Name, err)
		}
		results = append(results, result)
	}
	return results, nil
}

// nvidiaDir is the folder below root in which libtensorflow looks for CUDA's components.
func nvidiaDir(root string) string { return filepath.Join(root, "nvidia") }

func (o Options) installComponent(ctx context.Context, root string, c component) (Result, error) {
	if o.platform == "" {
		o.platform = runtime.GOOS + "/" + runtime.GOARCH
	}
	if o.platform != "linux/amd64" {
		return Result{}, fmt.Errorf("%w (%s)", ErrPlatform, o.platform)
	}
	o.wheel, o.File, o.URL = &c.wheel, "", "" // these are of the runtime
	dir := filepath.Join(nvidiaDir(root), c.Name)
	return o.into(ctx, nvidiaDir(root), dir, c.sha256, func(work string, from archive, sum string) (Result, error) {
		files, err := extractComponent(ctx, c, from.path, work, o.report(StageExtract))
		if err != nil {
			return Result{}, fmt.Errorf("%s: %w", from.name, err)
		}
		m := Manifest{Version: c.of(), Variant: "cuda", Platform: o.platform, Source: from.name, SourceSHA256: sum,
			Verified: true, Files: files}
		return Result{Dir: dir, Manifest: m}, publish(filepath.Join(work, contentDir), dir, m)
	})
}

// extractComponent takes what a component keeps, and its licence, out of a wheel, into contentDir below work.
func extractComponent(ctx context.Context, c component, name, work string, report func(done, total int64)) ([]File,
	error) {
	files, err := extractWheel(ctx, name, work, maxLibraryBytes, report, func(entry string) (library, notice string) {
		if below, ok := strings.CutPrefix(entry, path.Join("nvidia", c.Name)+"/"); ok && c.keep.MatchString(below) {
			library = below
		}
		return library, submatches(nvidiaNotice, entry)
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%w: it holds nothing of %s that is needed", ErrArchive, c.Name)
	}
	return files, err
}

// ErrNoCUDA says that a folder holds no library of CUDA that the GPU build can use.
var ErrNoCUDA = errors.New("none of CUDA 12's libraries are there")

// LinkCUDA lets the GPU build use components of CUDA 12 and cuDNN 9 that a Python environment has: dir
// is nvidia in its site-packages. It links them beside the runtime, in the place of what is there,
// and returns their names. CUDA 13's components, cuDNN's build for it too, are not taken.
func LinkCUDA(dir string) (linked []string, err error) {
	root, err := Options{}.runtimes()
	if err != nil {
		return nil, err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	for _, c := range components {
		if !c.completeIn(filepath.Join(dir, c.Name)) || c.Name == "cudnn" && cuda.CuDNNOfCUDA13(dir) {
			continue
		}
		link := filepath.Join(nvidiaDir(root), c.Name)
		if err := os.MkdirAll(nvidiaDir(root), 0o777); err != nil {
			return linked, err
		}
		if err := os.RemoveAll(link); err != nil {
			return linked, err
		}
		if err := os.Symlink(filepath.Join(dir, c.Name), link); err != nil {
			return linked, err
		}
		linked = append(linked, c.Name)
	}
	if len(linked) == 0 {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoCUDA)
	}
	return linked, nil
}

// completeIn says whether a folder has the component's main library, or program.
func (c component) completeIn(folder string) bool {
	for _, pattern := range []string{"lib/*.so.*", "bin/*"} {
		names, _ := filepath.Glob(filepath.Join(folder, filepath.FromSlash(pattern)))
		for _, name := range names {
			below, err := filepath.Rel(folder, name)
			if err == nil && c.keep.MatchString(filepath.ToSlash(below)) {
				return true
			}
		}
	}
	return false
}
