package runtimeinstall

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/tfconvrnn/go/internal/disk"
)

// StageUnpack is reported while parts are read: bytes of the libraries.
const StageUnpack = "unpack"

// An IncompleteError says that parts of a pack have not arrived, or not whole. What has arrived
// is kept; Unpack goes on with it.
type IncompleteError struct {
	Missing []string // names of parts that are not there
	Damaged []string // names of parts that are not what they should be
	Of      int      // how many parts the pack has
}

// Error names the parts.
func (e *IncompleteError) Error() string {
	var words []string
	if len(e.Damaged) > 0 {
		words = append(words, "damaged, and to be copied again: "+shortList(e.Damaged))
	}
	if len(e.Missing) > 0 {
		words = append(words, "missing: "+shortList(e.Missing))
	}
	return fmt.Sprintf("%d of %d parts are unpacked; %s", e.Of-len(e.Missing)-len(e.Damaged), e.Of,
		strings.Join(words, "; "))
}

func shortList(names []string) string {
	const most = 12
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// UnpackOptions steer Unpack.
type UnpackOptions struct {
	// Force unpacks again what is installed and intact.
	Force bool
	// Remove removes each part from the folder once it is unpacked, for a small disk.
	Remove bool
	// Progress is as in Options.
	Progress func(stage string, done, total int64)

	root, platform string // as in Options
}

// Unpack installs a pack that is, or is arriving, in the folder dir, in the cache directory: a
// runtime as Install does, and CUDA's libraries as InstallCUDA does. It takes the parts that are
// there and remembers them, whatever ends the process. While parts are missing or damaged it
// returns an *IncompleteError and installs nothing; a later call goes on. A folder without a
// pack, or a pack for another kind of machine, is an error that wraps ErrPack or ErrPlatform.
func Unpack(ctx context.Context, dir string, o UnpackOptions) ([]Result, error) {
	results, err := o.unpack(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("unpack the TensorFlow runtime in %s: %w", dir, err)
	}
	return results, nil
}

// unpacking is a pack that is being unpacked.
type unpacking struct {
	UnpackOptions
	index Index
	dir   string // of the parts
	root  string // of the runtimes
	state string // below root: files as far as they are written, and which parts these are
	done  map[int]bool
}

const (
	statePrefix   = ".unpack-"
	doneName      = "done"
	maxIndexBytes = 8 << 20
	maxPackBytes  = 32 << 30
)

func (o UnpackOptions) unpack(ctx context.Context, dir string) ([]Result, error) {
	options := Options{Progress: o.Progress, root: o.root}
	root, err := options.runtimes()
	if err != nil {
		return nil, err
	}
	if o.platform == "" {
		o.platform = runtime.GOOS + "/" + runtime.GOARCH
	}
	index, err := readIndex(dir)
	if err != nil {
		return nil, err
	}
	if index.Platform != o.platform {
		return nil, fmt.Errorf("%w: it is for %s, and this is %s", ErrPlatform, index.Platform, o.platform)
	}
	if err := os.MkdirAll(root, 0o777); err != nil {
		return nil, err
	}
	unlock, err := options.lock(ctx, root)
	if err != nil {
		return nil, err
	}
	defer unlock()
	u := &unpacking{o, index, dir, root, filepath.Join(root, statePrefix+index.ID[:16]), map[int]bool{}}
	if !o.Force {
		if results, ok := u.installed(ctx, options.report(StageVerify)); ok {
			return results, os.RemoveAll(u.state)
		}
	}
	if err := u.begin(); err != nil {
		return nil, err
	}
	if err := u.parts(ctx, options.report(StageUnpack)); err != nil {
		return nil, err
	}
	results, err := u.install(ctx, options.report(StageVerify))
	if err != nil {
		return nil, err
	}
	return results, os.RemoveAll(u.state)
}

// folderName is where an installation of a pack may be.
var folderName = regexp.MustCompile(`^(2\.[0-9]+\.[0-9]+-(cpu|gpu)|nvidia/[a-z0-9_]+)$`)

// readIndex reads and checks the index of a pack: nothing that it says leads outside of the folders of
// the runtimes, or to more than a runtime can be.
func readIndex(dir string) (Index, error) {
	text, err := disk.ReadFile(filepath.Join(dir, IndexName), maxIndexBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return Index{}, fmt.Errorf("%w: %s has not arrived", ErrPack, IndexName)
	}
	if err != nil {
		return Index{}, err
	}
	var x Index
	if err := json.Unmarshal(text, &x); err != nil {
		return Index{}, fmt.Errorf("%w: %s: %w", ErrPack, IndexName, err)
	}
	if err := x.check(); err != nil {
		return Index{}, fmt.Errorf("%w: %s: %w", ErrPack, IndexName, err)
	}
	return x, nil
}

func (x Index) check() error {
	if !isSHA256(x.ID) {
		return fmt.Errorf("its id is no SHA-256")
	}
	if len(x.Folders) == 0 || len(x.Parts) == 0 {
		return errors.New("it lists nothing")
	}
	seen := map[string]bool{}
	var total int64
	for _, folder := range x.Folders {
		if !folderName.MatchString(folder.Name) {
			return fmt.Errorf("%q is no place for a runtime", folder.Name)
		}
		for _, f := range folder.Files {
			name := folder.Name + "/" + f.Name
			if f.Name != filepath.ToSlash(filepath.Clean(f.Name)) || !filepath.IsLocal(f.Name) || f.Name == "." || seen[name] ||
				f.Size < 0 || f.Size > maxLibraryBytes || !isSHA256(f.SHA256) {
				return fmt.Errorf("the entry of %q is wrong", name)
			}
			seen[name] = true
			if total += f.Size; total > maxPackBytes {
				return fmt.Errorf("the files take more than %d bytes", int64(maxPackBytes))
			}
		}
		if !seen[folder.Name+"/"+manifestName] {
			return fmt.Errorf("%s is without a %s", folder.Name, manifestName)
		}
	}
	for i, p := range x.Parts {
		if p.Name != partName(i+1) || p.Size <= 0 || p.Bytes <= 0 || p.Bytes > total || !isSHA256(p.SHA256) {
			return fmt.Errorf("the entry of part %d is wrong", i+1)
		}
		total -= p.Bytes
	}
	if total != 0 {
		return errors.New("the parts do not add up to the files")
	}
	return nil
}

func isSHA256(text string) bool {
	raw, err := hex.DecodeString(text)
	return err == nil && len(raw) == 32
}

// installed says whether all of the pack is installed and intact.
func (u *unpacking) installed(ctx context.Context, report func(done, total int64)) ([]Result, bool) {
	var results []Result
	for _, folder := range u.index.Folders {
		dir := filepath.Join(u.root, filepath.FromSlash(folder.Name))
		m, err := verify(ctx, dir, report)
		if err != nil {
			return nil, false
		}
		for _, f := range folder.Files { // another build of the same version differs
			if f.Name != manifestName {
				continue
			}
			if sum, err := disk.SHA256(ctx, filepath.Join(dir, manifestName)); err != nil || sum != f.SHA256 {
				return nil, false
			}
		}
		results = append(results, Result{Dir: dir, AlreadyInstalled: true, Manifest: m})
	}
	return results, true
}

// begin finds what an earlier call did, or makes room for a first one.
func (u *unpacking) begin() error {
	list, err := os.ReadFile(filepath.Join(u.state, doneName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for line := range strings.Lines(string(list)) {
		// A line that was cut short has no end.
		if number, err := strconv.Atoi(strings.TrimSuffix(line, "\n")); err == nil && strings.HasSuffix(line, "\n") {
			u.done[number] = true
		}
	}
	var need int64
	for i, p := range u.index.Parts {
		if !u.done[i] {
			need += p.Bytes
		}
	}
	if err := disk.Check(u.root, need); err != nil {
		return err
	}
	return os.MkdirAll(u.state, 0o777)
}

// parts unpacks the parts that are there.
func (u *unpacking) parts(ctx context.Context, report func(done, total int64)) error {
	journal, err := os.OpenFile(filepath.Join(u.state, doneName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	defer journal.Close()
	// What a killed process wrote last may lack its end.
	if _, err := journal.WriteString("\n"); err != nil {
		return err
	}
	incomplete := &IncompleteError{Of: len(u.index.Parts)}
	var offset, unpacked int64
	total := u.index.bytes()
	for i, p := range u.index.Parts {
		begin := offset
		offset += p.Bytes
		if u.done[i] {
			unpacked += p.Bytes
			continue
		}
		name := filepath.Join(u.dir, p.Name)
		sum, err := disk.SHA256(ctx, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			incomplete.Missing = append(incomplete.Missing, p.Name)
			continue
		case err != nil:
			return err
		case sum != p.SHA256:
			incomplete.Damaged = append(incomplete.Damaged, p.Name)
			continue
		}
		if err := u.part(ctx, name, begin, p.Bytes); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		if _, err := fmt.Fprintf(journal, "%d\n", i); err != nil {
			return err
		}
		if err := journal.Sync(); err != nil {
			return err
		}
		if unpacked += p.Bytes; u.Remove {
			if err := os.Remove(name); err != nil {
				return err
			}
		}
		report(unpacked, total)
	}
	if len(incomplete.Missing)+len(incomplete.Damaged) > 0 {
		return incomplete
	}
	return nil
}

// part writes the bytes of one part where they belong.
func (u *unpacking) part(ctx context.Context, name string, begin, length int64) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	decoder, err := zstd.NewReader(file, zstd.WithDecoderMaxMemory(256<<20), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPack, err)
	}
	defer decoder.Close()
	var at int64 // of the stream, where the file begins
	for n, folder := range u.index.Folders {
		for _, f := range folder.Files {
			from, to := max(begin, at), min(begin+length, at+f.Size)
			if from < to || f.Size == 0 && at >= begin && at < begin+length {
				if err := u.piece(ctx, decoder, u.path(n, f.Name), from-at, to-from); err != nil {
					return err
				}
			}
			at += f.Size
		}
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(decoder, 1)); n > 0 || err != nil {
		return fmt.Errorf("%w: it does not end where it should: %w", ErrPack, cmp.Or(err, errors.New("there is more")))
	}
	return nil
}

// path returns where a file of folder n is until all parts are there.
func (u *unpacking) path(n int, name string) string {
	return filepath.Join(u.state, strconv.Itoa(n), contentDir, filepath.FromSlash(name))
}

// piece writes bytes into a file, synced to disk.
func (u *unpacking) piece(ctx context.Context, from io.Reader, name string, offset, length int64) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return err
	}
	below, err := filepath.Rel(u.state, name)
	if err != nil {
		return err
	}
	mode := os.FileMode(0o666)
	if parts := strings.Split(filepath.ToSlash(below), "/"); len(parts) > 2 {
		mode = fileMode(strings.Join(parts[2:], "/"))
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, mode)
	if err != nil {
		return err
	}
	n, err := disk.Copy(ctx, io.NewOffsetWriter(file, offset), io.LimitReader(from, length), nil)
	if err == nil && n < length {
		err = fmt.Errorf("%w: it is too short", ErrPack)
	}
	return errors.Join(err, file.Sync(), file.Close())
}

// install checks every file and puts the folders in their places.
func (u *unpacking) install(ctx context.Context, report func(done, total int64)) ([]Result, error) {
	var results []Result
	total := u.index.bytes()
	var checked int64
	for n, folder := range u.index.Folders {
		dir := filepath.Join(u.root, filepath.FromSlash(folder.Name))
		content := filepath.Join(u.state, strconv.Itoa(n), contentDir)
		if _, err := os.Stat(content); errors.Is(err, fs.ErrNotExist) {
			// An earlier call was ended between two folders.
			if m, err := verify(ctx, dir, func(int64, int64) {}); err == nil {
				results = append(results, Result{Dir: dir, Manifest: m})
				continue
			}
		}
		for _, f := range folder.Files {
			sum, err := disk.SHA256(ctx, u.path(n, f.Name))
			if err != nil || sum != f.SHA256 {
				// The disk, or somebody, changed what had been written: begin again.
				return nil, errors.Join(fmt.Errorf("%s/%s: %w after unpacking; unpack once more", folder.Name, f.Name, ErrChecksum),
					err, os.RemoveAll(u.state))
			}
			checked += f.Size
			report(checked, total)
		}
		m, err := ReadManifest(content)
		if err != nil {
			return nil, err
		}
		for _, f := range m.Files { // their bytes have been compared with the index
			if !slices.Contains(folder.Files, f) {
				return nil, fmt.Errorf("%w: %s of %s names %q otherwise than the index", ErrPack, manifestName, folder.Name, f.Name)
			}
		}
		if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
			return nil, err
		}
		if err := put(content, dir); err != nil {
			return nil, err
		}
		results = append(results, Result{Dir: dir, Manifest: m})
	}
	return results, nil
}
