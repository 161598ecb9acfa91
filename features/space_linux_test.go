package features

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A disk that fills up under a writer: a clear error, and once there is room
// the run goes on from what was finished.
func TestDiskFillsUp(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("a small tmpfs cannot be mounted here: %v", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	eachJournaled(t, func(t *testing.T, format Format) {
		layout := sample(40)
		layout.Streamed[0].RowShape = []int{3, 10, 20, 5}
		want := uninterrupted(t, format, layout)
		ballast := filepath.Join(dir, "ballast")
		require.NoError(t, os.WriteFile(ballast, make([]byte, 600<<10), 0o600))

		path := filepath.Join(dir, "out")
		options := resumable()
		_, err := Create(path, format, layout, options)
		require.ErrorIs(t, err, ErrNoSpace)
		options.ForceSize = true
		w, err := Create(path, format, layout, options)
		require.NoError(t, err)
		first := values(layout, 0)
		for row := 0; err == nil && row < layout.Rows; row++ {
			for i := range layout.Streamed {
				n := layout.Streamed[i].rowElements()
				data := first
				if i > 0 {
					data = values(layout, i)
				}
				if err = w.WriteRows(i, row, data[row*n:(row+1)*n]); err != nil {
					break
				}
			}
		}
		require.ErrorIs(t, err, ErrNoSpace)
		assert.ErrorIs(t, w.Finish(context.Background()), ErrNoSpace)
		require.NoError(t, w.Suspend())
		require.NoError(t, os.Remove(ballast))

		options = withResume(resumable())
		options.ForceSize = true
		w, err = Create(path, format, layout, options)
		require.NoError(t, err)
		writeRange(t, w, layout, w.Resumed(), layout.Rows, 3)
		require.NoError(t, w.Finish(context.Background()))
		assert.Equal(t, want, contents(t, dir))
		for name := range contents(t, dir) {
			require.NoError(t, os.RemoveAll(filepath.Join(dir, name)))
		}
		require.NoError(t, os.RemoveAll(path))
	})
}
