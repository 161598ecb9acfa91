package runtimeinstall

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/internal/disk"
)

// A pack is a runtime in parts that fit through a narrow door, for machines without a
// network. Its files, one after the other, are one stream of bytes; each part is a piece of
// the stream, compressed by itself, so that parts may come one by one and in any order. The
// index says which files there are and which bytes each part holds.

// IndexName is the name of a pack's index. It is written last.
const IndexName = "pack.json"

// sumsName is the name of the file with which sha256sum checks a pack.
const sumsName = "SHA256SUMS"

// Limits of parts.
const (
	// DefaultMaxPart is how large parts are unless somebody says otherwise.
	DefaultMaxPart = 56 << 20
	// MinMaxPart is the least size of parts that can be asked for.
	MinMaxPart = 1 << 20
	// packPiece is how much is compressed between two looks at the part's size.
	packPiece = 256 << 10
)

// ErrPack says that a folder holds no pack that can be used.
var ErrPack = errors.New("not a usable pack of a runtime")

// Index is what a pack consists of.
type Index struct {
	// ID tells packs apart: the SHA-256 of what their files are.
	ID       string   `json:"id"`
	Platform string   `json:"platform"`
	Folders  []Folder `json:"folders"` // in the order of the stream
	Parts    []Part   `json:"parts"`   // in the order of the stream
}

// Folder is one installation: the runtime, or a component of CUDA.
type Folder struct {
	// Name is its place below the folder of runtimes, with slashes.
	Name  string `json:"name"`
	Files []File `json:"files"` // in the order of the stream, manifest.json too
}

// Part is a file of a pack.
type Part struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"` // of the stream
}

// bytes returns the length of the stream.
func (x Index) bytes() (total int64) {
	for _, folder := range x.Folders {
		for _, f := range folder.Files {
			total += f.Size
		}
	}
	return total
}

// PackOptions says what to pack.
type PackOptions struct {
	Options // GPU, File, URL, SHA256, Python, Progress
	// CUDA packs CUDA's libraries too, all components but Without.
	CUDA    bool
	Without []string
	// MaxPart bounds the size of a part in bytes; DefaultMaxPart if 0.
	MaxPart int64
	// Overwrite replaces a pack that is in the folder.
	Overwrite bool
}

// StagePack is reported while parts are written: bytes of the libraries.
const StagePack = "pack"

// packWork is the folder in a pack's that keeps what was fetched, until the pack is complete.
const packWork = ".work"

// Pack makes a pack of a runtime in the folder dir, which it creates. What was fetched when
// a call was interrupted is kept there for the next. The static symbol tables of
// libtensorflow are left out. The same archives give the same parts.
func Pack(ctx context.Context, dir string, o PackOptions) (Index, error) {
	index, err := pack(ctx, dir, o)
	if err != nil {
		return Index{}, fmt.Errorf("pack the TensorFlow runtime in %s: %w", dir, err)
	}
	return index, nil
}

func pack(ctx context.Context, dir string, o PackOptions) (Index, error) {
	if o.MaxPart == 0 {
		o.MaxPart = DefaultMaxPart
	}
	if o.MaxPart < MinMaxPart {
		return Index{}, fmt.Errorf("parts of %d bytes are too small; the least is %d", o.MaxPart, MinMaxPart)
	}
	if err := makeRoom(dir, o.Overwrite); err != nil {
		return Index{}, err
	}
	work := filepath.Join(dir, packWork)
	o.root = work
	result, err := install(ctx, o.Options)
	if err != nil {
		return Index{}, err
	}
	if err := stripFolder(ctx, result.Dir); err != nil {
		return Index{}, err
	}
	if o.CUDA {
		if _, err := InstallCUDA(ctx, o.Options, o.Without); err != nil {
			return Index{}, err
		}
	}
	index, err := o.index(ctx, work)
	if err != nil {
		return Index{}, err
	}
	index.Platform = result.Manifest.Platform
	if index.Parts, err = o.writeParts(ctx, dir, work, index); err != nil {
		return Index{}, err
	}
	var sums bytes.Buffer
	for _, p := range index.Parts {
		fmt.Fprintf(&sums, "%s  %s\n", p.SHA256, p.Name)
	}
	if err := atomicfile.Write(filepath.Join(dir, sumsName), sums.Bytes()); err != nil {
		return Index{}, err
	}
	text, err := json.MarshalIndent(index, "", " ")
	if err != nil {
		return Index{}, err
	}
	if err := atomicfile.Write(filepath.Join(dir, IndexName), append(text, '\n')); err != nil {
		return Index{}, err
	}
	return index, os.RemoveAll(work)
}

// partName returns the name of a part, from 1.
func partName(number int) string { return fmt.Sprintf("part-%03d.zst", number) }

// makeRoom creates the folder, and refuses one that holds anything but an unfinished pack, or a pack that may be
// overwritten.
func makeRoom(dir string, overwrite bool) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	parts, err := filepath.Glob(filepath.Join(dir, "part-*.zst"))
	if err != nil {
		return err
	}
	complete := false
	for _, e := range entries {
		switch name := e.Name(); {
		case name == IndexName:
			complete = true
		case name == packWork, name == sumsName, strings.HasPrefix(name, "."),
			slices.Contains(parts, filepath.Join(dir, name)):
		default:
			return fmt.Errorf("%w: %s is not of a pack; choose an empty folder", fs.ErrExist, name)
		}
	}
	if complete && !overwrite {
		return fmt.Errorf("a pack is there: %w", fs.ErrExist)
	}
	for _, name := range append(parts, filepath.Join(dir, IndexName), filepath.Join(dir, sumsName)) {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// stripFolder strips the libraries of an installation and corrects its manifest.
func stripFolder(ctx context.Context, dir string) error {
	m, err := ReadManifest(dir)
	if err != nil {
		return err
	}
	for i, f := range m.Files {
		name := filepath.Join(dir, f.Name)
		if err := strip(name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		if info.Size() == f.Size {
			continue // nothing to strip
		}
		m.Files[i].Size = info.Size()
		if m.Files[i].SHA256, err = disk.SHA256(ctx, name); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, manifestName), append(text, '\n'))
}

// index lists what is installed below root: CUDA's components first, because the runtime is of use with them only.
func (o PackOptions) index(ctx context.Context, root string) (Index, error) {
	var names []string
	if o.CUDA {
		chosen, err := o.components(o.Without)
		if err != nil {
			return Index{}, err
		}
		for _, c := range chosen {
			names = append(names, "nvidia/"+c.Name)
		}
	}
	runtimes, err := filepath.Glob(filepath.Join(root, "[0-9]*-*", manifestName))
	if err != nil || len(runtimes) != 1 {
		return Index{}, fmt.Errorf("%w: %d runtimes are in %s instead of one", ErrPack, len(runtimes), root)
	}
	names = append(names, filepath.Base(filepath.Dir(runtimes[0])))
	index := Index{}
	id := sha256.New()
	for _, name := range names {
		folder := Folder{Name: name}
		dir := filepath.Join(root, filepath.FromSlash(name))
		m, err := ReadManifest(dir)
		if err != nil {
			return Index{}, err
		}
		err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			below, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			sum, err := m.sum(ctx, dir, filepath.ToSlash(below), info.Size())
			folder.Files = append(folder.Files, File{filepath.ToSlash(below), info.Size(), sum})
			fmt.Fprintf(id, "%s %s %s\n", name, filepath.ToSlash(below), sum)
			return err
		})
		if err != nil {
			return Index{}, err
		}
		index.Folders = append(index.Folders, folder)
	}
	index.ID = hex.EncodeToString(id.Sum(nil))
	return index, nil
}

// sum is the SHA-256 of a file in an installation's directory: that which was computed when it was written, or
// of one that is not in the manifest, such as a licence.
func (m Manifest) sum(ctx context.Context, dir, name string, size int64) (string, error) {
	for _, f := range m.Files {
		if f.Name == name && f.Size == size {
			return f.SHA256, nil
		}
	}
	return disk.SHA256(ctx, filepath.Join(dir, filepath.FromSlash(name)))
}

// stream reads a pack's files one after the other.
func (x Index) stream(root string) io.ReadCloser {
	s := &fileStream{}
	for _, folder := range x.Folders {
		for _, f := range folder.Files {
			s.names = append(s.names, filepath.Join(root, filepath.FromSlash(folder.Name), filepath.FromSlash(f.Name)))
		}
	}
	return s
}

type fileStream struct {
	names []string
	file  *os.File
}

func (s *fileStream) Read(p []byte) (int, error) {
	for {
		if s.file == nil {
			if len(s.names) == 0 {
				return 0, io.EOF
			}
			file, err := os.Open(s.names[0])
			if err != nil {
				return 0, err
			}
			s.file, s.names = file, s.names[1:]
		}
		n, err := s.file.Read(p)
		if !errors.Is(err, io.EOF) {
			return n, err
		}
		if err := s.Close(); err != nil || n > 0 {
			return n, err
		}
	}
}

func (s *fileStream) Close() error {
	if s.file == nil {
		return nil
	}
	file := s.file
	s.file = nil
	return file.Close()
}

func (o PackOptions) writeParts(ctx context.Context, dir, root string, index Index) ([]Part, error) {
	stream := index.stream(root)
	defer stream.Close()
	report := o.report(StagePack)
	total := index.bytes()
	var parts []Part
	for done := int64(0); done < total; {
		part, err := o.writePart(ctx, filepath.Join(dir, partName(len(parts)+1)), stream, func(n int64) {
			report(done+n, total)
		})
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
		done += part.Bytes
	}
	return parts, nil
}

// countingWriter hashes and counts what is written.
type countingWriter struct {
	io.Writer
	hash hash.Hash
	n    int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.hash.Write(p[:n])
	w.n += int64(n)
	return n, err
}

// writePart compresses as much of the stream as a part takes.
func (o PackOptions) writePart(ctx context.Context, name string, stream io.Reader, report func(n int64)) (_ Part,
	err error) {
	file, err := atomicfile.Create(name)
	if err != nil {
		return Part{}, err
	}
	defer func() { err = errors.Join(err, file.Abort()) }()
	counted := &countingWriter{Writer: file, hash: sha256.New()}
	// One goroutine, so that the bytes are always the same.
	encoder, err := zstd.NewWriter(counted, zstd.WithEncoderLevel(zstd.SpeedBetterCompression),
		zstd.WithEncoderConcurrency(1))
	if err != nil {
		return Part{}, err
	}
	defer encoder.Close()
	part := Part{Name: filepath.Base(name)}
	piece := make([]byte, packPiece)
	// What does not compress grows by a few bytes a block; the rest is for the end of the frame.
	for counted.n+packPiece+packPiece/16 <= o.MaxPart {
		if err := context.Cause(ctx); err != nil {
			return Part{}, err
		}
		n, err := io.ReadFull(stream, piece)
		if n == 0 && errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return Part{}, err
		}
		if _, err := encoder.Write(piece[:n]); err != nil {
			return Part{}, err
		}
		if err := encoder.Flush(); err != nil {
			return Part{}, err
		}
		part.Bytes += int64(n)
		report(part.Bytes)
	}
	if err := encoder.Close(); err != nil {
		return Part{}, err
	}
	if err := file.Commit(); err != nil {
		return Part{}, err
	}
	part.Size, part.SHA256 = counted.n, hex.EncodeToString(counted.hash.Sum(nil))
	return part, nil
}
