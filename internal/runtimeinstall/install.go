// Package runtimeinstall puts libtensorflow into the project's cache
// directory, where internal/libtf finds it.
//
//	result, err := runtimeinstall.Install(ctx, runtimeinstall.Options{})
//
// The source is TensorFlow's Python wheel, fetched by pip from whatever index
// the machine is set up for; or a wheel or C tarball at a URL; or such a file.
// Only the two libraries and their licences are taken out. What is in the cache is complete at
// all times: it is made beside, checked, synced and then renamed.
package runtimeinstall

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/internal/cachedir"
	"github.com/tfconvrnn/go/internal/disk"
	"github.com/tfconvrnn/go/internal/fetchfile"
)

// Version is the version of TensorFlow that is installed.
const Version = "2.21.0"

// What can go wrong, apart from the network and the disk.
var (
	// ErrChecksum says that content is not what it should be.
	ErrChecksum = errors.New("checksum does not match")
	// ErrNoChecksum says that there is nothing to check content against.
	ErrNoChecksum = errors.New("no checksum is known")
	// ErrPlatform says that there is no wheel for this machine.
	ErrPlatform = errors.New("no TensorFlow wheel for this platform")
	// ErrArchive says that an archive is damaged or is not one of TensorFlow.
	ErrArchive = errors.New("not a usable TensorFlow archive")
	// ErrVersion says that an archive is of another version of TensorFlow.
	ErrVersion = errors.New("another version of TensorFlow")
	// ErrPip says that pip could not be run or could not download the wheel.
	ErrPip = errors.New("pip cannot download the wheel")
	// ErrDownload says that a URL could not be downloaded.
	ErrDownload = fetchfile.ErrDownload
	// ErrNotInstalled says that a directory holds no finished installation.
	ErrNotInstalled = errors.New("no runtime is installed there")
)

// Stages of an installation, as reported to Options.Progress.
const (
	StageWait     = "wait"     // for another process that is installing
	StageDownload = "download" // bytes of the archive
	StageVerify   = "verify"   // bytes of the archive or of the libraries
	StageExtract  = "extract"  // bytes of the libraries
)

// Options says what to install and where from. The zero value is the CPU
// build through pip.
type Options struct {
	// GPU takes the build with CUDA support. CUDA itself is not installed.
	GPU bool
	// File is a wheel or C tarball to take the libraries from.
	File string
	// URL is where to download a wheel or C tarball. An interrupted download
	// goes on where it stopped, also in a later Install, if the server can.
	URL string
	// SHA256 is the expected checksum of File or URL in hex. If empty, it is
	// that of the wheel that pip would fetch.
	SHA256 string
	// SkipChecksum takes File or URL without a checksum and whatever its
	// version is.
	SkipChecksum bool
	// Force installs again what is installed and intact.
	Force bool
	// Python is the interpreter whose pip is used; if empty, python3 and
	// python are looked up in PATH, then pip3 and pip.
	Python string
	// Progress, if not nil, is called now and then, from one goroutine at a
	// time; total is 0 if unknown. It must return soon.
	Progress func(stage string, done, total int64)

	root     string      // instead of the cache directory's folder of runtimes
	platform string      // GOOS/GOARCH, for tests
	wheel    *wheel      // instead of the pinned one, for tests
	cuda     []component // instead of the pinned ones, for tests
	maxBytes int64       // instead of maxLibraryBytes, for tests
}

// Manifest records an installation, in the file manifest.json beside the
// libraries.
type Manifest struct {
	Version      string `json:"version"`       // of TensorFlow
	Variant      string `json:"variant"`       // "cpu" or "gpu"
	Platform     string `json:"platform"`      // GOOS/GOARCH
	Source       string `json:"source"`        // name of the archive, without its directory
	SourceSHA256 string `json:"source_sha256"` // of the archive
	Verified     bool   `json:"verified"`      // whether that was checked against a known value
	Files        []File `json:"files"`
}

// File is a library in a Manifest.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Result says what Install did.
type Result struct {
	AlreadyInstalled bool     `json:"already_installed"` // nothing had to be done
	Dir              string   `json:"dir"`               // directory of the libraries
	Manifest         Manifest `json:"manifest"`
}

const manifestName = "manifest.json"

// Install puts the libraries into the cache directory. If they are there and
// intact it only says so. Several processes may install at once: one works,
// the others wait and find the result. On an error, or if ctx is cancelled,
// what was installed before is untouched, and nothing is left over but the
// part of a URL that has arrived.
func Install(ctx context.Context, o Options) (Result, error) {
	result, err := install(ctx, o)
	if err != nil {
		return Result{}, fmt.Errorf("install the TensorFlow runtime: %w", err)
	}
	return result, nil
}

func install(ctx context.Context, o Options) (Result, error) {
	if o.File != "" && o.URL != "" {
		return Result{}, errors.New("give a file or a URL, not both")
	}
	if o.File == "" && o.URL == "" && (o.SHA256 != "" || o.SkipChecksum) {
		return Result{}, errors.New(
			"the checksum of the wheel that pip fetches is fixed; it can be set or skipped only for a file or a URL")
	}
	if o.platform == "" {
		o.platform = runtime.GOOS + "/" + runtime.GOARCH
	}
	expected, err := o.expected()
	if err != nil {
		return Result{}, err
	}
	root, err := o.runtimes()
	if err != nil {
		return Result{}, err
	}
	return o.into(ctx, root, filepath.Join(root, Version+"-"+o.variant()), expected,
		func(work string, from archive, sum string) (Result, error) {
			content, err := extract(ctx, from.path, work, o.limit(), o.report(StageExtract))
			if err != nil {
				return Result{}, fmt.Errorf("%s: %w", from.name, err)
			}
			if content.version != Version && !o.SkipChecksum {
				return Result{}, fmt.Errorf("%s: %w: %q instead of %s", from.name, ErrVersion, content.version, Version)
			}
			m := Manifest{
				Version: content.version, Variant: o.variant(), Platform: o.platform,
				Source: from.name, SourceSHA256: sum, Verified: expected != "", Files: content.files,
			}
			cached, err := cachedir.Runtime(m.Version, m.Variant)
			if err != nil {
				return Result{}, err
			}
			dir := filepath.Join(root, filepath.Base(cached))
			return Result{Dir: dir, Manifest: m}, publish(filepath.Join(work, contentDir), dir, m)
		})
}

// runtimes returns the folder with one folder per runtime.
func (o Options) runtimes() (string, error) {
	if o.root != "" {
		return o.root, nil
	}
	return cachedir.Runtimes()
}

// into installs an archive below root, unless dir holds what is expected already. expected
// is the archive's SHA-256, or "" for any. put gets a folder to work in, the archive and
// its SHA-256, and publishes what the archive holds.
func (o Options) into(ctx context.Context, root, dir, expected string, put func(work string, from archive, sum string) (
	Result, error)) (Result, error) {
	if err := os.MkdirAll(root, 0o777); err != nil {
		return Result{}, err
	}
	unlock, err := o.lock(ctx, root)
	if err != nil {
		return Result{}, err
	}
	defer unlock()
	sweep(root)
	if expected != "" && !o.Force {
		if m, err := verify(ctx, dir, o.report(StageVerify)); err == nil && m.SourceSHA256 == expected {
			return Result{Dir: dir, AlreadyInstalled: true, Manifest: m}, nil
		}
	}
	work, err := atomicfile.MkdirTemp(root, workPrefix+"*")
	if err != nil {
		return Result{}, err
	}
	defer os.RemoveAll(work)
	from, err := o.obtain(ctx, root, work)
	if err != nil {
		return Result{}, err
	}
	sum, err := disk.Hash(ctx, from.path, sha256.New(), o.report(StageVerify))
	if err != nil {
		return Result{}, err
	}
	if expected != "" && sum != expected {
		from.discard()
		return Result{}, fmt.Errorf("%s: %w: its SHA-256 is %s, expected %s; download it again", from.name, ErrChecksum, sum,
			expected)
	}
	result, err := put(work, from, sum)
	if err != nil {
		return Result{}, err
	}
	from.discard()
	return result, nil
}

func (o Options) variant() string {
	if o.GPU {
		return cachedir.GPU
	}
	return cachedir.CPU
}

func (o Options) limit() int64 {
	if o.maxBytes > 0 {
		return o.maxBytes
	}
	return maxLibraryBytes
}

// expected returns the checksum that the archive must have, or "" if the caller skips
// the check.
func (o Options) expected() (string, error) {
	if o.SkipChecksum {
		return "", nil
	}
	if o.SHA256 != "" {
		sum := strings.ToLower(o.SHA256)
		if raw, err := hex.DecodeString(sum); err != nil || len(raw) != sha256.Size {
			return "", fmt.Errorf("%q is no SHA-256: 64 hexadecimal digits are needed", o.SHA256)
		}
		return sum, nil
	}
	w, err := o.pinned()
	if err != nil {
		if o.File == "" && o.URL == "" {
			return "", err
		}
		return "", fmt.Errorf("%w for a TensorFlow of %s",
			ErrNoChecksum, o.platform)
	}
	return w.sha256, nil
}

// report returns a function for one stage that passes on few of its calls.
func (o Options) report(stage string) func(done, total int64) {
	if o.Progress == nil {
		return func(int64, int64) {}
	}
	var last time.Time
	return func(done, total int64) {
		if now := time.Now(); done == total || now.Sub(last) >= 50*time.Millisecond {
			last = now
			o.Progress(stage, done, total)
		}
	}
}

func (o Options) lock(ctx context.Context, root string) (unlock func(), err error) {
	lock := flock.New(filepath.Join(root, ".lock"), flock.SetPermissions(0o666))
	locked, err := lock.TryLock()
	if err == nil && !locked {
		o.report(StageWait)(0, 0)
		locked, err = lock.TryLockContext(ctx, 200*time.Millisecond)
	}
	if err != nil || !locked {
		return nil, fmt.Errorf("lock %s: %w", lock.Path(), err)
	}
	return func() { _ = lock.Unlock() }, nil
}

const (
	workPrefix = ".install-"
	contentDir = "content" // in the work directory
)

// sweep removes what killed installations left. The lock is held, so nobody
// is using it.
func sweep(root string) {
	leftovers, _ := filepath.Glob(filepath.Join(root, workPrefix+"*"))
	for _, name := range leftovers {
		_ = os.RemoveAll(name)
	}
}

// archive is a wheel or tarball on disk.
type archive struct {
	path, name string
	discard    func() // removes it if it was downloaded
}

func (o Options) obtain(ctx context.Context, root, work string) (archive, error) {
	switch {
	case o.File != "":
		return archive{o.File, filepath.Base(o.File), func() {}}, nil
	case o.URL != "":
		return download(ctx, o.URL, root, o.report(StageDownload))
	default:
		return o.pipDownload(ctx, work)
	}
}

// publish completes the directory content by its manifest and puts it in the place of dir.
func publish(content, dir string, m Manifest) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(content, manifestName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = file.Write(append(text, '\n'))
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return put(content, dir)
}

// put puts the directory content, which is complete, in the place of dir.
func put(content, dir string) error {
	err := filepath.WalkDir(content, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		return disk.SyncFolder(name)
	})
	if err != nil {
		return err
	}
	// A directory cannot be replaced by a rename. The old one goes to the
	// work directory, which is removed in the end; processes that have its
	// libraries open keep them.
	old := filepath.Join(filepath.Dir(content), "old")
	err = os.Rename(dir, old)
	replaced := err == nil
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(content, dir); err != nil {
		if replaced {
			err = errors.Join(err, os.Rename(old, dir))
		}
		return err
	}
	return disk.SyncFolder(filepath.Dir(dir))
}

// Verify reads every library in an installation's directory and compares it
// with the manifest. It returns ErrNotInstalled if there is no manifest, and
// ErrChecksum naming the file if one is missing or differs.
func Verify(ctx context.Context, dir string) (Manifest, error) {
	m, err := verify(ctx, dir, func(int64, int64) {})
	if err != nil {
		return Manifest{}, fmt.Errorf("verify the TensorFlow runtime in %s: %w", dir, err)
	}
	return m, nil
}

const maxManifestBytes = 1 << 20

// ReadManifest returns the manifest of an installation's directory, without looking
// at the libraries. It returns ErrNotInstalled if there is none.
func ReadManifest(dir string) (Manifest, error) {
	file, err := os.Open(filepath.Join(dir, manifestName))
	if errors.Is(err, os.ErrNotExist) {
		return Manifest{}, fmt.Errorf("%w: there is no %s", ErrNotInstalled, manifestName)
	}
	if err != nil {
		return Manifest{}, err
	}
	text, err := io.ReadAll(io.LimitReader(file, maxManifestBytes))
	if err := errors.Join(err, file.Close()); err != nil {
		return Manifest{}, err
	}
	var m Manifest
	if err := json.Unmarshal(text, &m); err != nil || len(m.Files) == 0 {
		return Manifest{}, fmt.Errorf("%w: %s is damaged; install again", ErrNotInstalled, manifestName)
	}
	return m, nil
}

func verify(ctx context.Context, dir string, report func(done, total int64)) (Manifest, error) {
	m, err := ReadManifest(dir)
	if err != nil {
		return Manifest{}, err
	}
	var done, total int64
	for _, f := range m.Files {
		if !filepath.IsLocal(f.Name) {
			return Manifest{}, fmt.Errorf("%w: %s names %q; install again", ErrNotInstalled, manifestName, f.Name)
		}
		info, err := os.Stat(filepath.Join(dir, f.Name))
		if err != nil {
			return Manifest{}, fmt.Errorf("%w: %w; install again", ErrChecksum, err)
		}
		if info.Size() != f.Size {
			return Manifest{}, fmt.Errorf("%w: %s has %d bytes instead of %d; install again", ErrChecksum, f.Name, info.Size(),
				f.Size)
		}
		total += f.Size
	}
	for _, f := range m.Files {
		sum, err := disk.Hash(ctx, filepath.Join(dir, f.Name), sha256.New(), func(n, _ int64) { report(done+n, total) })
		if err != nil {
			return Manifest{}, err
		}
		if sum != f.SHA256 {
			return Manifest{}, fmt.Errorf("%w: %s has SHA-256 %s instead of %s; install again", ErrChecksum, f.Name, sum,
				f.SHA256)
		}
		done += f.Size
	}
	return m, nil
}
