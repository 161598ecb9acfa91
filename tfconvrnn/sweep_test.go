package tfconvrnn

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What a killed process left is removed once nobody can be reading it, and nothing else.
func TestSweepGraphs(t *testing.T) {
	dir, variables := t.TempDir(), t.TempDir()
	kept := filepath.Join(variables, "variables.index")
	require.NoError(t, os.WriteFile(kept, nil, 0o666))
	old := time.Now().Add(-2 * graphAge)
	for _, name := range []string{"tfconvrnn-graph-1", "tfconvrnn-graph-2", "other-1"} {
		folder := filepath.Join(dir, name)
		require.NoError(t, os.Mkdir(folder, 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(folder, "saved_model.pb"), nil, 0o666))
		require.NoError(t, os.Symlink(variables, filepath.Join(folder, "variables")))
		if name != "tfconvrnn-graph-2" {
			require.NoError(t, os.Chtimes(folder, old, old))
		}
	}
	sweepGraphs(dir)
	assert.NoDirExists(t, filepath.Join(dir, "tfconvrnn-graph-1"))
	assert.FileExists(t, filepath.Join(dir, "tfconvrnn-graph-2", "saved_model.pb"))
	assert.FileExists(t, filepath.Join(dir, "other-1", "saved_model.pb"))
	assert.FileExists(t, kept, "links are not followed")
}
