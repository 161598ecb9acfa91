package savedmodels

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofrs/flock"

	"github.com/tfconvrnn/go/internal/atomicfile"
	"github.com/tfconvrnn/go/internal/disk"
)

// LockFileName is the usual name of the file that records which weights were
// obtained. It has a line
//
//	<SHA-256 in hexadecimal>  <model>/<file>
//
// for each file, sorted by name, so that "sha256sum --check" reads it in the
// directory of the checkpoints.
const LockFileName = "weights.lock"

// ErrLocked is wrapped by the error for weights that differ from those which a
// lock file records.
var ErrLocked = errors.New("the weights differ from the lock file")

// weightsLock maps <model>/<file> to a SHA-256.
type weightsLock map[string]string

// maxLockBytes bounds what is read of a lock file; that of all models has 5 KB.
const maxLockBytes = 1 << 20

// readWeightsLock reads a lock file; a missing one is empty.
func readWeightsLock(path string) (weightsLock, error) {
	lock := weightsLock{}
	data, err := disk.ReadFile(path, maxLockBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return lock, nil
	case errors.Is(err, disk.ErrTooLarge):
		return nil, fmt.Errorf("%s is no lock file: it is longer than %d bytes", path, maxLockBytes)
	case err != nil:
		return nil, err
	}
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimRight(line, "\r")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		sum, name, found := strings.Cut(line, "  ")
		sum = strings.ToLower(sum)
		if raw, err := hex.DecodeString(sum); !found || err != nil || len(raw) != 32 || name == "" {
			return nil, fmt.Errorf("%s, line %d: %q is not \"<SHA-256>  <model>/<file>\"; mend or remove the line", path,
				i+1, line)
		}
		if other, twice := lock[name]; twice && other != sum {
			return nil, fmt.Errorf("%s, line %d: %s is there twice, with different hashes; remove the wrong line", path,
				i+1, name)
		}
		lock[name] = sum
	}
	return lock, nil
}

func (l weightsLock) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(l)) {
		fmt.Fprintf(&b, "%s  %s\n", l[name], name)
	}
	return b.String()
}

// check compares the hashes of obtained files with those recorded.
func (l weightsLock) check(path string, obtained weightsLock) error {
	var differences []string
	for _, name := range slices.Sorted(maps.Keys(obtained)) {
		if want, ok := l[name]; ok && want != obtained[name] {
			differences = append(differences, fmt.Sprintf("%s has SHA-256 %s, and %s says %s", name, obtained[name], path, want))
		}
	}
	if differences == nil {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrLocked, strings.Join(differences, "; "))
}

// updateWeightsLock adds hashes to a lock file, while no other process does. With
// replace, different ones are replaced; otherwise they are an error that wraps
// ErrLocked.
func updateWeightsLock(ctx context.Context, path, guard string, obtained weightsLock, replace bool) error {
	// The guard lies beside the checkpoints: beside the lock file it would be in
	// the way of those who commit it.
	mutex := flock.New(guard, flock.SetPermissions(0o666))
	if _, err := mutex.TryLockContext(ctx, lockRetry); err != nil {
		return fmt.Errorf("waiting for %s: %w", path, err)
	}
	defer mutex.Close()
	lock, err := readWeightsLock(path)
	if err != nil {
		return err
	}
	if !replace {
		if err := lock.check(path, obtained); err != nil {
			return err
		}
	}
	before := lock.String()
	maps.Copy(lock, obtained)
	text := lock.String()
	if text == before {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return atomicfile.Write(path, []byte(text))
}
