// Package tensorcache keeps float32 tensors that take long to compute, in sets that
// appear whole or not at all. What it keeps can always be computed again, so whoever
// uses it goes on without when it fails.
package tensorcache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/internal/bundle"
	"github.com/tfconvrnn/go/internal/disk"
)

// Tensor is a tensor in C order.
type Tensor struct {
	Name  string
	Shape []int64
	Data  []float32
}

// ErrMissing means a set that is not there, or is not what was asked for.
var ErrMissing = errors.New("not in the cache")

// Cache is a directory of sets. Any number of processes may use it at once, and its
// methods are safe for concurrent use.
type Cache struct {
	dir   string
	most  int
	spare int64
}

// New returns the cache in dir, which need not exist. It holds at most so many sets;
// those not used for the longest time go first.
func New(dir string, most int) *Cache { return &Cache{dir: dir, most: most, spare: 1 << 30} }

// Key returns the key of a set made from all that determines its bytes.
func Key(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s,", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))[:32]
}

// prefix is the name of the checkpoint in a set's directory.
const prefix = "tensors"

// ours matches the directories of sets, and those that are unfinished.
var ours = regexp.MustCompile(`^(\.[0-9a-f]{32}\.[^/]*\.partial[^/]*|[0-9a-f]{32})$`)

// Read reads tensors of the set with the key into the memory that allocate returns for
// each. Every checksum is verified. Errors wrap ErrMissing, fs.ErrNotExist or
// bundle.ErrCorrupt, or come from allocate or the file system; some tensors may have
// been read by then.
func (c *Cache) Read(key string, names []string, allocate func(name string, shape []int64) ([]float32, error)) error {
	dir := filepath.Join(c.dir, key)
	set, err := bundle.Open(filepath.Join(dir, prefix))
	if err != nil {
		return err
	}
	defer set.Close()
	for _, name := range names {
		entry, ok := set.Entry(name)
		if !ok {
			return fmt.Errorf("%w: %s holds no %s", ErrMissing, dir, name)
		}
		data, err := allocate(name, entry.Shape)
		if err != nil {
			return err
		}
		if int64(len(data)) != entry.Elements() {
			return fmt.Errorf("%w: %s in %s has the shape %v", ErrMissing, name, dir, entry.Shape)
		}
		if err := set.ReadInto(name, data); err != nil {
			return err
		}
	}
	now := time.Now()
	_ = os.Chtimes(dir, now, now) // a failure only makes Write remove another set
	return nil
}

// Write puts a set in place of what there is under the key, and removes sets that are
// too many. Errors wrap disk.ErrNoSpace or come from the file system.
func (c *Cache) Write(key string, tensors []Tensor) error {
	if err := os.MkdirAll(c.dir, 0o777); err != nil {
		return err
	}
	// A link or a file in the place of the directory is refused, because what is
	// removed below must be this cache's own.
	if info, err := os.Lstat(c.dir); err != nil || !info.IsDir() {
		return errors.Join(fmt.Errorf("%s is no directory of its own", c.dir), err)
	}
	size := int64(0)
	for _, t := range tensors {
		size += 4 * int64(len(t.Data))
	}
	if err := disk.Check(c.dir, size+c.spare); err != nil {
		return err
	}
	err := atomicfile.Directory(filepath.Join(c.dir, key), true, func(temporary string) error {
		w, err := bundle.Create(filepath.Join(temporary, prefix))
		if err != nil {
			return err
		}
		for _, t := range tensors {
			if err := w.Add(t.Name, t.Shape, t.Data); err != nil {
				return errors.Join(err, w.Abort())
			}
		}
		return w.Finish()
	})
	return errors.Join(err, c.clean())
}

// temporaryAge is how old an unfinished set must be to count as left over.
const temporaryAge = time.Hour

// clean removes what killed processes left, and the oldest sets that are too many.
func (c *Cache) clean() error {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	type set struct {
		path string
		used time.Time
	}
	var sets []set
	for _, e := range entries {
		if !e.IsDir() || !ours.MatchString(e.Name()) {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // another process was faster
		}
		if err != nil {
			return err
		}
		s := set{filepath.Join(c.dir, e.Name()), info.ModTime()}
		if !strings.HasPrefix(e.Name(), ".") {
			sets = append(sets, s)
		} else if time.Since(s.used) > temporaryAge {
			if err := os.RemoveAll(s.path); err != nil {
				return err
			}
		}
	}
	slices.SortFunc(sets, func(a, b set) int { return b.used.Compare(a.used) })
	for _, s := range sets[min(len(sets), c.most):] {
		if err := os.RemoveAll(s.path); err != nil {
			return err
		}
	}
	return nil
}
