package features

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// precious makes a folder that must stay as it is, and a function that says whether it did.
func precious(t *testing.T) (dir string, untouched func()) {
	t.Helper()
	dir = t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, []byte("precious"), 0o644))
	return dir, func() {
		t.Helper()
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Len(t, entries, 1)
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.Equal(t, "precious", string(data))
	}
}

// Links where an output keeps what it has not finished lead to what is not ours: they
// are refused, also with force.
func TestPlantedLinks(t *testing.T) {
	eachFormat(t, func(t *testing.T, format Format) {
		for _, suffix := range []string{".partial", ".journal", ".journal.new", ".replaced"} {
			for _, force := range []bool{false, true} {
				victim, untouched := precious(t)
				for _, target := range []string{victim, filepath.Join(victim, "file"), filepath.Join(t.TempDir(), "dangling")} {
					path := filepath.Join(t.TempDir(), "out")
					require.NoError(t, os.Symlink(target, path+suffix))
					_, err := Create(path, format, sample(4), Options{Force: force})
					assert.Error(t, err, "%s to %s", suffix, target)
					untouched()
					_, err = os.Lstat(path + suffix)
					assert.NoError(t, err, "the link is not ours to remove")
				}
			}
		}
	})
}

// Links inside a .partial folder that is resumed lead nowhere either.
func TestPlantedLinksInside(t *testing.T) {
	eachJournaled(t, func(t *testing.T, format Format) {
		victim, untouched := precious(t)
		path := filepath.Join(t.TempDir(), "out")
		layout := sample(12)
		w, err := Create(path, format, layout, resumable())
		require.NoError(t, err)
		writeRange(t, w, layout, 0, 4, 2)
		require.NoError(t, w.Suspend())
		if info, err := os.Stat(partialPath(path)); err != nil || !info.IsDir() {
			return // one file, opened before
		}
		// Everything inside becomes a link to the precious folder or file.
		links := 0
		entries, err := os.ReadDir(partialPath(path))
		require.NoError(t, err)
		for _, e := range entries {
			name, target := filepath.Join(partialPath(path), e.Name()), filepath.Join(victim, "file")
			if e.IsDir() {
				target = victim
			}
			require.NoError(t, os.RemoveAll(name))
			require.NoError(t, os.Symlink(target, name))
			links++
		}
		require.Positive(t, links)
		w, err = Create(path, format, layout, withResume(resumable()))
		if err == nil {
			func() {
				defer w.Abort()
				for row := w.Resumed(); row < layout.Rows && err == nil; row++ {
					for i := range layout.Streamed {
						size := len(values(layout, i)) / layout.Rows
						if err = w.WriteRows(i, row, values(layout, i)[row*size:(row+1)*size]); err != nil {
							break
						}
					}
				}
				if err == nil {
					err = w.Finish(context.Background())
				}
			}()
		}
		assert.Error(t, err)
		untouched()
	})
}
