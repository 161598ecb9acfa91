// Package disk is what the project does with files beside reading and writing them.
package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dustin/go-humanize"
)

// ErrNoSpace is wrapped by errors about a disk that is too full.
var ErrNoSpace = errors.New("not enough disk space")

// Check returns an error that wraps ErrNoSpace if fewer than need bytes can be written
// below the directory dir, which need not exist yet.
func Check(dir string, need int64) error {
	free := Free(existing(dir))
	if free < 0 || free >= need {
		return nil
	}
	return fmt.Errorf("%w in %s: %s are needed and %s are free",
		ErrNoSpace, dir, humanize.Bytes(uint64(need)), humanize.Bytes(uint64(free)))
}

// existing returns the nearest directory above dir that exists.
func existing(dir string) string {
	dir = filepath.Clean(dir)
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}
