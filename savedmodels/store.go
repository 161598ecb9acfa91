package savedmodels

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/internal/cachedir"
	"github.com/tfconvrnn/go/internal/version"
	"github.com/tfconvrnn/go/internal/zoo"
)

// ErrNoWeights is wrapped by the error for a model that is neither in the store
// nor to be converted from a checkpoint; the message says what to do.
var ErrNoWeights = errors.New("no weights")

// ErrWeights is wrapped by errors about a description of weights that makes no
// sense.
var ErrWeights = errors.New("cannot tell which weights")

// CheckpointsEnv names a directory with checkpoints laid out like the published
// ones: <directory>/<model>/model.ckpt.*.
const CheckpointsEnv = "TFCONVRNN_CHECKPOINTS"

// lockRetry is the pause between two looks whether another process has finished its
// conversion.
const lockRetry = 100 * time.Millisecond

// Store is a directory of converted SavedModels. Any number of processes may use
// it at once. Its methods are safe for concurrent use.
type Store struct{ dir string }

// Open returns the store in dir, or in the user's cache directory if dir is
// empty. The directory need not exist.
func Open(dir string) (*Store, error) {
	if dir == "" {
		var err error
		if dir, err = cachedir.Store(); err != nil {
			return nil, err
		}
	}
	return &Store{dir}, nil
}

// Dir returns the store's directory.
func (s *Store) Dir() string { return s.dir }

// Request says which SavedModel is wanted.
type Request struct {
	Model   string
	Weights Weights
	// Times is the number of timesteps of the graph; 0 is the converter's default.
	Times int
	// Variant is the converter's default if empty.
	Variant convert.Variant
	// Progress is called while converting; it may be nil.
	Progress func(done, total int64)
}

// SavedModel is a SavedModel in the store.
type SavedModel struct {
	Dir      string
	Manifest *manifest.Manifest
}

// Get returns the SavedModel asked for: from the store, or converted from its
// checkpoint into it. Errors wrap ErrUnknownModel, ErrNoWeights, or those of
// package convert.
func (s *Store) Get(ctx context.Context, r Request) (SavedModel, error) {
	if _, err := Lookup(r.Model); err != nil {
		return SavedModel{}, err
	}
	if r.Variant == "" {
		r.Variant = convert.LightCone
	}
	if r.Times == 0 {
		r.Times = convert.DefaultTimes
	}
	if _, err := ParseWeights(string(r.Weights)); err != nil {
		return SavedModel{}, err
	}
	if seed, seeded := r.Weights.Seed(); seeded {
		source, err := convert.Seeded(r.Model, seed)
		if err != nil {
			return SavedModel{}, err
		}
		return s.getOrConvert(ctx, r, fmt.Sprintf("seeded-%d", seed), func() (*convert.Source, error) { return source, nil })
	}
	prefix, err := s.checkpoint(r)
	if err != nil {
		return SavedModel{}, err
	}
	if prefix == "" {
		return s.installed(r)
	}
	key, err := checkpointKey(prefix)
	if errors.Is(err, fs.ErrNotExist) && r.Weights.Checkpoints() == "" {
		return s.installed(r) // it was converted and discarded just now
	}
	if err != nil {
		return SavedModel{}, fmt.Errorf("checkpoint of %s: %w", r.Model, err)
	}
	return s.getOrConvert(ctx, r, key, func() (*convert.Source, error) { return convert.Checkpoint(r.Model, prefix) })
}

// checkpoint finds the checkpoint's prefix; "" if there is none and none was named.
func (s *Store) checkpoint(r Request) (string, error) {
	exists := func(prefix string) bool {
		_, err := os.Stat(prefix + ".index")
		return err == nil
	}
	if named := r.Weights.Checkpoints(); named != "" {
		prefixes := []string{filepath.Join(named, r.Model, CheckpointName), named, filepath.Join(named, CheckpointName)}
		for _, prefix := range prefixes {
			if exists(prefix) {
				return prefix, nil
			}
		}
		return "", fmt.Errorf(
			"%w for %s: none of %s.index exists; name a directory that holds %s/%s.index and .data-00000-of-00001",
			ErrNoWeights, r.Model, strings.Join(prefixes, ".index, "), r.Model, CheckpointName)
	}
	dirs := []string{}
	if dir := os.Getenv(CheckpointsEnv); dir != "" {
		dirs = append(dirs, dir)
	}
	if dir, err := cachedir.Checkpoints(); err == nil {
		dirs = append(dirs, dir)
	}
	for _, dir := range dirs {
		if prefix := filepath.Join(dir, r.Model, CheckpointName); exists(prefix) {
			return prefix, nil
		}
	}
	return "", nil
}

// checkpointKey identifies a checkpoint by its index, which holds the checksum
// of every tensor.
func checkpointKey(prefix string) (string, error) {
	f, err := os.Open(prefix + ".index")
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	const most = 64 << 20
	if info.Size() > most {
		return "", fmt.Errorf("%w: %s is %d bytes long", convert.ErrCorrupt, f.Name(), info.Size())
	}
	data := make([]byte, info.Size())
	if _, err := f.ReadAt(data, 0); err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return keyOf(hex.EncodeToString(sum[:])), nil
}

// keyOf returns the key of a checkpoint whose index has the given SHA-256.
func keyOf(sum string) string { return "checkpoint-" + sum[:12] }

func (r Request) name(key string) string {
	return fmt.Sprintf("%s-times%d-%s", key, r.Times, r.Variant)
}

// ConvertTo converts the SavedModel asked for into a directory outside the store, which is
// replaced only if replace is set: see convert.CheckOutput. Errors are those of Get.
func (s *Store) ConvertTo(ctx context.Context, r Request, dir string, replace bool) (SavedModel, error) {
	source, err := s.Source(r.Model, r.Weights)
	if err != nil {
		return SavedModel{}, err
	}
	defer source.Close()
	m, err := convert.Convert(ctx, r.Model, source, dir, convert.Options{Times: r.Times, Variant: r.Variant,
		Overwrite: replace, Progress: r.Progress})
	return SavedModel{Dir: dir, Manifest: m}, err
}

func (s *Store) getOrConvert(ctx context.Context, r Request, key string, open func() (*convert.Source, error)) (
	SavedModel, error) {
	dir := filepath.Join(s.dir, r.Model, r.name(key))
	if found, err := current(dir); err == nil {
		return found, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
		return SavedModel{}, err
	}
	lock := flock.New(filepath.Join(s.dir, r.Model, ".lock"), flock.SetPermissions(0o666))
	if _, err := lock.TryLockContext(ctx, lockRetry); err != nil {
		return SavedModel{}, fmt.Errorf("waiting for another conversion of %s: %w", r.Model, err)
	}
	defer lock.Close()
	// Another process may have converted it meanwhile.
	if found, err := current(dir); err == nil {
		return found, nil
	}
	removeLeftovers(filepath.Dir(dir))
	if _, err := os.Stat(filepath.Join(dir, manifest.Name)); err != nil { // nothing that anybody can load, perhaps a file
		if err := os.RemoveAll(dir); err != nil {
			return SavedModel{}, err
		}
	}
	source, err := open()
	if err != nil {
		return SavedModel{}, err
	}
	defer source.Close()
	m, err := convert.Convert(ctx, r.Model, source, dir, convert.Options{
		Times: r.Times, Variant: r.Variant, Overwrite: true, Progress: r.Progress,
	})
	if err != nil {
		return SavedModel{}, err
	}
	return SavedModel{dir, m}, nil
}

// current returns the SavedModel in dir if this version's converter wrote it.
func current(dir string) (SavedModel, error) {
	m, err := manifest.Read(dir)
	if err != nil {
		return SavedModel{}, err
	}
	if m.Converter != version.Converter {
		return SavedModel{}, fmt.Errorf("%s was converted by version %s", dir, m.Converter)
	}
	return SavedModel{dir, m}, nil
}

// installed finds the trained model in the store when its checkpoint is gone.
func (s *Store) installed(r Request) (SavedModel, error) {
	pattern := filepath.Join(s.dir, r.Model, r.name("checkpoint-*"))
	dirs, err := filepath.Glob(pattern)
	if err != nil {
		return SavedModel{}, err
	}
	var found []SavedModel
	for _, dir := range dirs {
		if m, err := current(dir); err == nil {
			found = append(found, m)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return SavedModel{}, &NoWeightsError{Model: r.Model, Store: s.dir}
	}
	var names []string
	for _, m := range found {
		names = append(names, m.Dir)
	}
	return SavedModel{}, fmt.Errorf("%w of %s: the store holds several: %s; name the checkpoint, or remove some",
		ErrWeights, r.Model, strings.Join(names, ", "))
}

// removeLeftovers removes what killed conversions left behind. The caller holds
// the lock.
func removeLeftovers(dir string) {
	leftovers, err := filepath.Glob(filepath.Join(dir, ".*.partial*"))
	if err != nil {
		return
	}
	for _, path := range leftovers {
		os.RemoveAll(path)
	}
}

// keptConstantsSuffix ends the hidden directories of KeptConstantsDir.
const keptConstantsSuffix = ".constants"

// KeptConstantsDir returns where processes keep what is the same for all stimuli of the
// SavedModel in a directory of a store: a hidden directory beside it.
func KeptConstantsDir(dir string) string {
	return filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+keptConstantsSuffix)
}

// List returns the SavedModels in the store.
func (s *Store) List() ([]SavedModel, error) {
	var list []SavedModel
	for _, m := range zoo.Models() {
		entries, err := os.ReadDir(filepath.Join(s.dir, m.Name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			dir := filepath.Join(s.dir, m.Name, e.Name())
			if strings.HasPrefix(e.Name(), ".") || !e.IsDir() {
				continue
			}
			if found, err := manifest.Read(dir); err == nil {
				list = append(list, SavedModel{dir, found})
			}
		}
	}
	return list, nil
}

// CheckConversion tells whether the SavedModel is one that this program's converter can
// have written, with any weights. Errors wrap convert.ErrForeign or convert.ErrCorrupt.
func (m SavedModel) CheckConversion() error { return convert.Check(m.Dir, m.Manifest) }
