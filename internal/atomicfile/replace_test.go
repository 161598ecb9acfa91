package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What was there must not be removed when it cannot be put back.
func TestReplaceKeepsWhatItCannotPutBack(t *testing.T) {
	for failures, kept := range map[int]string{1: "path", 2: "temporary.old"} { // of the renames after the second
		dir := t.TempDir()
		temporary, path := filepath.Join(dir, "temporary"), filepath.Join(dir, "path")
		require.NoError(t, os.Mkdir(temporary, 0o777))
		require.NoError(t, os.Mkdir(path, 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(path, "precious"), nil, 0o666))
		full, calls := errors.New("full"), 0
		old, err := replace(temporary, path, func(from, to string) error {
			if calls++; calls == 1 || calls > 2 && calls <= 2+failures {
				return full
			}
			return os.Rename(from, to)
		})
		require.ErrorIs(t, err, full)
		assert.Empty(t, old, "the caller would remove it")
		assert.FileExists(t, filepath.Join(dir, kept, "precious"))
		if failures == 2 {
			assert.ErrorContains(t, err, filepath.Join(dir, kept))
		}
	}
}
