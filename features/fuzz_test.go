package features

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzZarr opens stores in which the metadata and the chunk of a layer, or those of its
// timesteps, are made up, as in one from a stranger: errors, no panic, and no
// allocation far beyond what the files hold.
func FuzzZarr(f *testing.F) {
	layout := sample(3)
	seed := filepath.Join(f.TempDir(), "seed.zarr")
	writeAll(f, seed, Zarr, layout, 3, Options{})
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(seed, filepath.FromSlash(name)))
		require.NoError(f, err)
		return text
	}
	layer := layout.Streamed[0].Name
	for _, name := range []string{layer, "timestep", "stimulus_id"} {
		chunk := "0"
		if name == layer {
			chunk = "0.0.0.0.0"
		}
		f.Add(name, read(name+"/.zarray"), read(name+"/.zattrs"), read(name+"/"+chunk))
	}
	f.Fuzz(func(t *testing.T, name string, array, attributes, chunk []byte) {
		if name != layer && name != "timestep" && name != "stimulus_id" {
			return
		}
		dir := t.TempDir()
		require.NoError(t, os.CopyFS(dir, os.DirFS(seed)))
		for file, content := range map[string][]byte{".zarray": array, ".zattrs": attributes, "0": chunk,
			"0.0.0.0.0": chunk} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name, file), content, 0o666))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s, err := Open(dir)
		if err == nil {
			for _, l := range s.Layers() {
				if row, err := s.Read(t.Context(), l.Name, 0, 1, nil); err == nil {
					assert.Len(t, row, len(l.Timesteps)*l.Units())
				}
			}
			assert.NoError(t, s.Close())
		}
		runtime.ReadMemStats(&after)
		assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<30))
	})
}

// FuzzOpen reads outputs of which one file is made up, as from a stranger: errors that
// wrap what Open promises, no panic, and no allocation far beyond what the files hold.
func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	var outputs [][2]string // the output, a file of it
	for _, format := range Formats() {
		if writable(format) != nil {
			continue
		}
		path := filepath.Join(dir, string(format)+format.Suffix())
		writeAll(f, path, format, sample(3), 2, Options{ChunkRows: 2})
		for _, file := range filesOf(f, path) {
			if len(outputs) > 255 {
				break
			}
			content, err := os.ReadFile(file)
			require.NoError(f, err)
			f.Add(uint8(len(outputs)), content)
			outputs = append(outputs, [2]string{path, file})
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, content []byte) {
		output := outputs[int(which)%len(outputs)]
		target := filepath.Join(t.TempDir(), "x")
		name, err := filepath.Rel(output[0], output[1])
		require.NoError(t, err)
		if name == "." {
			require.NoError(t, os.WriteFile(target, content, 0o600))
		} else {
			require.NoError(t, os.CopyFS(target, os.DirFS(output[0])))
			require.NoError(t, os.WriteFile(filepath.Join(target, name), content, 0o600))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := readAll(target); err != nil {
			expected := false
			for _, cause := range []error{ErrFormat, ErrDataType, ErrRank, ErrRange, ErrFortranOrder, ErrNoArray} {
				expected = expected || errors.Is(err, cause)
			}
			assert.True(t, expected, "%v", err)
		}
		runtime.ReadMemStats(&after)
		assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<30))
	})
}
