package plotting

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
)

// FuzzZarr opens stores in which the metadata and the chunk of a layer, or those of its
// timesteps, are made up, as in one from a stranger: errors, no panic, and no
// allocation far beyond what the files hold.
func FuzzZarr(f *testing.F) {
	layout := madeUp(3)
	seed := write(f, filepath.Join(f.TempDir(), "seed.zarr"), features.Zarr, layout, features.Options{}, nil)
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(seed, filepath.FromSlash(name)))
		require.NoError(f, err)
		return text
	}
	layer := layout.Streamed[0].Name
	for _, name := range []string{layer, layer + "_timestep", "stimulus_id"} {
		chunk := "0"
		if name == layer {
			chunk = "0.0.0.0.0"
		}
		f.Add(name, read(name+"/.zarray"), read(name+"/.zattrs"), read(name+"/"+chunk))
	}
	f.Fuzz(func(t *testing.T, name string, array, attributes, chunk []byte) {
		if name != layer && name != layer+"_timestep" && name != "stimulus_id" {
			return
		}
		dir := t.TempDir()
		require.NoError(t, os.CopyFS(dir, os.DirFS(seed)))
		for file, content := range map[string][]byte{".zarray": array, ".zattrs": attributes, "0": chunk, "0.0.0.0.0": chunk} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name, file), content, 0o666))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s, err := Open(dir)
		if err == nil {
			for _, l := range s.Layers() {
				if row, err := l.rows.row(0); err == nil {
					assert.Len(t, row, len(l.Timesteps)*l.size())
				}
			}
			assert.NoError(t, s.Close())
		}
		runtime.ReadMemStats(&after)
		assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<30))
	})
}
