package runtimeinstall

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zip"

	"github.com/tfconvrnn/go/internal/disk"
)

// maxNoticeBytes bounds the licences: nine times what they take now.
const maxNoticeBytes = 4 << 20

// maxLibraryBytes bounds what one library may take when unpacked: three times
// what the largest takes now.
const maxLibraryBytes = 4 << 30

// Where the libraries are in the archives. Nothing else is written, and only
// to the names here, so no name in an archive can lead elsewhere.
//
// A wheel holds tensorflow/libtensorflow_cc.so.2 and …_framework.so.2
// (….2.dylib on macOS). A tarball holds lib/libtensorflow.so.2.21.0 and
// …_framework.so.2.21.0 with symbolic links from .so.2 and .so.
var (
	wheelLibrary   = regexp.MustCompile(`^tensorflow/(libtensorflow_(?:cc|framework))(\.so\.2|\.2\.dylib)$`)
	wheelMetadata  = regexp.MustCompile(`^tensorflow[a-z_]*-([0-9][0-9A-Za-z.]*)\.dist-info/METADATA$`)
	wheelNotice    = regexp.MustCompile(`^tensorflow/(THIRD_PARTY_NOTICES\.txt)$`)
	tarballNotice  = regexp.MustCompile(`^(LICENSE|THIRD_PARTY_TF_C_LICENSES)$`)
	tarballLibrary = regexp.MustCompile(
		`^lib/(libtensorflow(?:_framework)?)(?:\.so\.(2\.[0-9A-Za-z.]+)|\.(2\.[0-9A-Za-z.]+)\.dylib)$`)
)

type extracted struct {
	version string
	files   []File
}

// extractor writes libraries into a directory.
type extractor struct {
	ctx      context.Context
	dir      string
	maxBytes int64
	report   func(done, total int64)
	done     int64
	total    int64
	files    []File
}

// newExtractor makes an extractor that writes into contentDir below work.
func newExtractor(ctx context.Context, work string, maxBytes int64, report func(done, total int64)) (*extractor,
	error) {
	x := &extractor{ctx: ctx, dir: filepath.Join(work, contentDir), maxBytes: maxBytes, report: report}
	return x, os.Mkdir(x.dir, 0o777)
}

// extract takes the two libraries out of a wheel or tarball, into contentDir
// below work, synced to disk.
func extract(ctx context.Context, name, work string, maxBytes int64, report func(done, total int64)) (extracted,
	error) {
	file, err := os.Open(name)
	if err != nil {
		return extracted{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return extracted{}, err
	}
	x, err := newExtractor(ctx, work, maxBytes, report)
	if err != nil {
		return extracted{}, err
	}
	magic := make([]byte, 4)
	if _, err := file.ReadAt(magic, 0); err != nil {
		return extracted{}, fmt.Errorf("%w: %w", ErrArchive, err)
	}
	var version string
	switch {
	case string(magic) == "PK\x03\x04":
		err = x.wheel(file, info.Size(), func(entry string) (library, notice string) {
			if v := submatches(wheelMetadata, entry); v != "" {
				version = v
			}
			return submatches(wheelLibrary, entry), submatches(wheelNotice, entry)
		})
	case magic[0] == 0x1f && magic[1] == 0x8b:
		version, err = x.tarball(file)
	default:
		err = fmt.Errorf("%w: it is neither a wheel (zip) nor a .tar.gz", ErrArchive)
	}
	if err != nil {
		return extracted{}, err
	}
	if len(x.files) != 2 {
		return extracted{}, fmt.Errorf(
			"%w: it does not hold libtensorflow and libtensorflow_framework for this project (%d of 2 found)",
			ErrArchive, len(x.files))
	}
	if version == "" {
		return extracted{}, fmt.Errorf("%w: it does not say its version", ErrArchive)
	}
	slices.SortFunc(x.files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return extracted{version, x.files}, nil
}

// wheel takes out of a zip archive what choose names for an entry: a file to write, or a licence, or neither.
func (x *extractor) wheel(file io.ReaderAt, size int64, choose func(entry string) (library, notice string)) error {
	archive, err := zip.NewReader(file, size)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	var wanted []*zip.File
	for _, entry := range archive.File {
		library, notice := choose(entry.Name)
		if library == "" && notice == "" || !entry.Mode().IsRegular() {
			continue
		}
		if library != "" && entry.UncompressedSize64 > uint64(x.maxBytes) {
			return x.tooLarge(entry.Name)
		}
		wanted = append(wanted, entry)
		if library != "" {
			x.total += int64(entry.UncompressedSize64)
		}
	}
	for _, entry := range wanted {
		content, err := entry.Open()
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrArchive, entry.Name, err)
		}
		if library, notice := choose(entry.Name); notice != "" {
			err = x.notice(notice, content)
		} else {
			err = x.library(library, content)
		}
		if err := errors.Join(err, content.Close()); err != nil {
			return err
		}
	}
	return nil
}

// extractWheel takes files and licences out of a wheel, into contentDir below work, synced to disk; see
// extractor.wheel.
func extractWheel(ctx context.Context, name, work string, maxBytes int64, report func(done, total int64),
	choose func(entry string) (library, notice string)) ([]File, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	x, err := newExtractor(ctx, work, maxBytes, report)
	if err != nil {
		return nil, err
	}
	if err := x.wheel(file, info.Size(), choose); err != nil {
		return nil, err
	}
	slices.SortFunc(x.files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return x.files, nil
}

// submatches are the groups that a pattern finds in a text, one after the other; "" where it finds nothing.
func submatches(pattern *regexp.Regexp, text string) string {
	m := pattern.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	return strings.Join(m[1:], "")
}

func (x *extractor) tarball(file io.Reader) (version string, err error) {
	unzipped, err := gzip.NewReader(bufio.NewReaderSize(file, 1<<20))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrArchive, err)
	}
	// The limit is that of two libraries, and 1 GiB for the headers beside them, which
	// are small.
	limited := io.LimitReader(unzipped, 2*x.maxBytes+1<<30)
	archive := tar.NewReader(limited)
	for {
		entry, err := archive.Next()
		if errors.Is(err, io.EOF) {
			// gzip's checksum comes after tar's end.
			if _, err := io.Copy(io.Discard, limited); err != nil {
				return "", fmt.Errorf("%w: %w", ErrArchive, err)
			}
			return version, nil
		}
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrArchive, err)
		}
		if err := x.ctx.Err(); err != nil {
			return "", err
		}
		if notice := tarballNotice.FindStringSubmatch(path.Clean(entry.Name)); notice != nil &&
			entry.Typeflag == tar.TypeReg {
			if err := x.notice(notice[1], archive); err != nil {
				return "", err
			}
			continue
		}
		m := tarballLibrary.FindStringSubmatch(path.Clean(entry.Name))
		if m == nil || entry.Typeflag != tar.TypeReg {
			continue
		}
		if entry.Size > x.maxBytes {
			return "", x.tooLarge(entry.Name)
		}
		name := m[1] + ".so.2"
		if version = m[2]; version == "" {
			name, version = m[1]+".2.dylib", m[3]
		}
		if err := x.library(name, archive); err != nil {
			return "", err
		}
	}
}

func (x *extractor) tooLarge(name string) error {
	return fmt.Errorf("%w: %s takes more than %d bytes", ErrArchive, name, x.maxBytes)
}

// sourceReader keeps errors of reading the archive, so that they can be told from
// errors of writing to the disk.
type sourceReader struct {
	io.Reader
	err error
}

func (r *sourceReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// notice writes licences, which have to accompany the libraries.
func (x *extractor) notice(name string, content io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(content, maxNoticeBytes+1))
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrArchive, name, err)
	}
	if len(text) > maxNoticeBytes {
		return fmt.Errorf("%w: %s takes more than %d bytes", ErrArchive, name, maxNoticeBytes)
	}
	file, err := os.OpenFile(filepath.Join(x.dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%w: it holds %s twice", ErrArchive, name)
	}
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	return errors.Join(err, file.Sync(), file.Close())
}

// library writes a file, which may be in folders of its own. Programs, which are in bin, may be run.
func (x *extractor) library(name string, content io.Reader) error {
	for _, f := range x.files {
		if f.Name == name {
			return fmt.Errorf("%w: it holds %s twice", ErrArchive, name)
		}
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Join(x.dir, name)), 0o777); err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(x.dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode(name))
	if err != nil {
		return err
	}
	hash := sha256.New()
	source := &sourceReader{Reader: io.LimitReader(content, x.maxBytes+1)}
	size, err := disk.Copy(x.ctx, io.MultiWriter(file, hash), source, func(n int64) { x.report(x.done+n, x.total) })
	if source.err != nil {
		err = fmt.Errorf("%w: %s: %w", ErrArchive, name, source.err)
	}
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if size > x.maxBytes {
		return x.tooLarge(name)
	}
	x.done += size
	x.files = append(x.files, File{Name: name, Size: size, SHA256: hex.EncodeToString(hash.Sum(nil))})
	return nil
}

// fileMode returns the permissions of a file, which the umask restricts.
func fileMode(name string) os.FileMode {
	if path.Dir(name) == "bin" {
		return 0o777
	}
	return 0o666
}
