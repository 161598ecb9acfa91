package savedmodels

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/internal/cachedir"
	"github.com/tfconvrnn/go/internal/version"
	"github.com/tfconvrnn/go/internal/zoo"
)

// A Removed is something that Remove or CollectGarbage removed.
type Removed struct {
	Path   string `json:"path"`
	Bytes  int64  `json:"bytes"`
	Reason string `json:"reason"`
}

// checkpointsDir returns dir, or the cache's directory of checkpoints if it is "".
func checkpointsDir(dir string) (string, error) {
	if dir != "" {
		return dir, nil
	}
	return cachedir.Checkpoints()
}

// lockFile locks a file in a directory, which is made, and returns the unlocking.
func lockFile(ctx context.Context, path, waitingFor string) (func(), error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	lock := flock.New(path, flock.SetPermissions(0o666))
	if _, err := lock.TryLockContext(ctx, lockRetry); err != nil {
		return nil, fmt.Errorf("waiting for %s: %w", waitingFor, err)
	}
	return func() { lock.Close() }, nil
}

// Remove removes the SavedModels of a model from the store and, if alsoCheckpoint is
// set, its checkpoint from the directory checkpoints (the cache's if ""). It waits for
// conversions and downloads of the model. A process that has loaded the model keeps it.
// The error wraps ErrUnknownModel, or comes from the file system or ctx; it is no error
// if nothing is there.
func (s *Store) Remove(ctx context.Context, model string, alsoCheckpoint bool, checkpoints string) ([]Removed, error) {
	if _, err := Lookup(model); err != nil {
		return nil, err
	}
	var removed []Removed
	dir := filepath.Join(s.dir, model)
	if _, err := os.Stat(dir); err == nil {
		unlock, err := lockFile(ctx, filepath.Join(dir, ".lock"), "a conversion of "+model)
		if err != nil {
			return nil, err
		}
		defer unlock()
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			reason := "SavedModel"
			if _, kept := keptConstantsOf(e.Name()); kept {
				reason = "constants of a SavedModel"
			} else if !ourName.MatchString(e.Name()) {
				continue
			}
			if !e.IsDir() {
				continue
			}
			r, err := removeDirectory(filepath.Join(dir, e.Name()), reason)
			if err != nil {
				return removed, err
			}
			removed = append(removed, r)
		}
	}
	if !alsoCheckpoint {
		return removed, nil
	}
	checkpoints, err := checkpointsDir(checkpoints)
	if err != nil {
		return removed, err
	}
	if _, err := os.Stat(checkpoints); errors.Is(err, fs.ErrNotExist) {
		return removed, nil
	}
	unlock, err := lockFile(ctx, filepath.Join(checkpoints, "."+model+".lock"), "a download of "+model)
	if err != nil {
		return removed, err
	}
	defer unlock()
	var size int64
	for _, name := range []string{indexName, dataName, metaName} {
		if info, err := os.Stat(filepath.Join(checkpoints, model, name)); err == nil {
			size += info.Size()
		}
	}
	if err := removeCheckpoint(checkpoints, model); err != nil {
		return removed, err
	}
	if size > 0 {
		removed = append(removed, Removed{filepath.Join(checkpoints, model), size, "checkpoint"})
	}
	partial := filepath.Join(checkpoints, "."+model+partialSuffix)
	if _, err := os.Stat(partial); err == nil {
		r, err := removeDirectory(partial, "unfinished download")
		if err != nil {
			return removed, err
		}
		removed = append(removed, r)
	}
	return removed, nil
}

// ourName matches the directories that a store makes of a model.
var ourName = regexp.MustCompile(`^(checkpoint-[0-9a-f]{12}|seeded-[0-9]+)-times[0-9]+-[a-z]+$`)

// keptConstantsOf returns the name of the SavedModel whose constants are kept in the
// directory called name, and whether that is a directory of kept constants.
func keptConstantsOf(name string) (string, bool) {
	of, hidden := strings.CutPrefix(name, ".")
	of, kept := strings.CutSuffix(of, keptConstantsSuffix)
	return of, hidden && kept && ourName.MatchString(of)
}

// folderBytes returns the bytes of the files in a folder.
func folderBytes(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}

// Description is what is worth knowing of a SavedModel.
type Description struct {
	Model   string           `json:"model"`
	Weights manifest.Weights `json:"weights"`
	// Times is the most timesteps of a presentation, Variant how the graph computes.
	Times     int    `json:"times"`
	Variant   string `json:"plan"`
	Converter string `json:"converter"` // the version that wrote it
	Bytes     int64  `json:"bytes"`
	Dir       string `json:"dir"`
}

// Describe describes the SavedModel. The error is the file system's.
func (m SavedModel) Describe() (Description, error) {
	bytes, err := folderBytes(m.Dir)
	return Description{m.Manifest.Model, m.Manifest.Weights, m.Manifest.Times, m.Manifest.Variant, m.Manifest.Converter,
		bytes, m.Dir}, err
}

// removeDirectory gives a directory the name of a leftover before it removes it, so
// that what an interrupted removal leaves is not taken for a model.
func removeDirectory(path, reason string) (Removed, error) {
	r := Removed{Path: path, Reason: reason}
	var err error
	if r.Bytes, err = folderBytes(path); err != nil {
		return r, err
	}
	doomed := path
	if !strings.HasPrefix(filepath.Base(path), ".") {
		doomed = filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".removed"+partialSuffix)
		if err := os.RemoveAll(doomed); err != nil {
			return r, err
		}
		if err := os.Rename(path, doomed); err != nil {
			return r, err
		}
	}
	return r, os.RemoveAll(doomed)
}

// temporaryAge is the age from which an unfinished replacement of a file counts as left
// over.
const temporaryAge = time.Hour

// CollectGarbage removes what nobody will use: what killed conversions and
// downloads left behind (a download can then not go on where it stopped),
// SavedModels that other versions of the converter wrote, and those without a
// readable manifest, and what was kept of SavedModels that are gone, in the store and in the directory checkpoints (the
// cache's if ""). Models that other processes are converting or downloading are left out. With
// dryRun it only says what it would remove.
func (s *Store) CollectGarbage(ctx context.Context, checkpoints string, dryRun bool) ([]Removed, error) {
	checkpoints, err := checkpointsDir(checkpoints)
	if err != nil {
		return nil, err
	}
	c := collector{dryRun: dryRun}
	for _, m := range zoo.Models() {
		if err := context.Cause(ctx); err != nil {
			return c.removed, err
		}
		dir := filepath.Join(s.dir, m.Name)
		err := c.locked(filepath.Join(dir, ".lock"), func() error { return c.savedModels(dir) })
		if err != nil {
			return c.removed, err
		}
		partial := filepath.Join(checkpoints, "."+m.Name+partialSuffix)
		if _, err := os.Stat(partial); err != nil {
			continue
		}
		err = c.locked(filepath.Join(checkpoints, "."+m.Name+".lock"), func() error {
			return c.remove(partial, "unfinished download")
		})
		if err != nil {
			return c.removed, err
		}
	}
	temporary, err := filepath.Glob(filepath.Join(checkpoints, "."+LockFileName+".*"))
	if err != nil {
		return c.removed, err
	}
	for _, path := range temporary {
		if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > temporaryAge {
			if err := c.remove(path, "unfinished lock file"); err != nil {
				return c.removed, err
			}
		}
	}
	return c.removed, nil
}

type collector struct {
	dryRun  bool
	removed []Removed
}

// locked calls do under the lock at path. It skips do if another process holds the
// lock, or if the directory is not there.
func (c *collector) locked(path string, do func() error) error {
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock := flock.New(path, flock.SetPermissions(0o666))
	locked, err := lock.TryLock()
	if err != nil {
		return err
	}
	if !locked {
		return nil
	}
	defer lock.Close()
	return do()
}

func (c *collector) remove(path, reason string) error {
	if c.dryRun {
		size, _ := folderBytes(path) // what vanishes meanwhile does not count
		c.removed = append(c.removed, Removed{path, size, reason})
		return nil
	}
	r, err := removeDirectory(path, reason)
	if err == nil {
		c.removed = append(c.removed, r)
	}
	return err
}

// savedModels collects garbage in a model's directory of the store.
func (c *collector) savedModels(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		reason := ""
		switch {
		case !e.IsDir():
		case leftover(e.Name()):
			reason = "unfinished conversion"
		case ourName.MatchString(e.Name()):
			m, err := manifest.Read(path)
			switch {
			case errors.Is(err, fs.ErrNotExist) || errors.Is(err, manifest.ErrInvalid):
				reason = "no readable manifest"
			case err != nil:
				return err
			case m.Converter != version.Converter:
				reason = fmt.Sprintf("written by converter version %q, and this one is %q", m.Converter, version.Converter)
			}
		default:
			if of, kept := keptConstantsOf(e.Name()); kept {
				if _, err := os.Stat(filepath.Join(dir, of)); errors.Is(err, fs.ErrNotExist) {
					reason = "constants of a SavedModel that is gone"
				}
			}
		}
		if reason != "" {
			if err := c.remove(path, reason); err != nil {
				return err
			}
		}
	}
	return nil
}

// leftover says whether a name is one that removeLeftovers removes.
func leftover(name string) bool {
	matched, err := filepath.Match(".*.partial*", name)
	return err == nil && matched
}

// VerifyCheckpoint verifies the checksum of every tensor of a model's checkpoint
// in the directory checkpoints (the cache's if ""), that it holds the model's
// variables, and that its files are those of the lock file (that of the directory
// if ""). found is false where there is no checkpoint. Errors wrap
// convert.ErrCorrupt, convert.ErrMismatch or ErrLocked, or come from the file system
// or ctx.
func VerifyCheckpoint(ctx context.Context, model, checkpoints, lock string, progress func(done, total int64)) (
	found bool, err error) {
	if _, err := Lookup(model); err != nil {
		return false, err
	}
	if checkpoints, err = checkpointsDir(checkpoints); err != nil {
		return false, err
	}
	dir := filepath.Join(checkpoints, model)
	if _, err := os.Stat(filepath.Join(dir, indexName)); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	hashes, _, err := verifyCheckpoint(ctx, model, dir, progress)
	if err != nil {
		return true, err
	}
	if lock == "" {
		lock = filepath.Join(checkpoints, LockFileName)
	}
	recorded, err := readWeightsLock(lock)
	if err != nil {
		return true, err
	}
	obtained := weightsLock{}
	for name, sum := range hashes {
		obtained[model+"/"+name] = sum
	}
	return true, recorded.check(lock, obtained)
}
