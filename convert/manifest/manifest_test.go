package manifest_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/internal/disk"
)

var fileNames = []string{"saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"}

// valid returns a small manifest as the converter would write it.
func valid() *manifest.Manifest {
	seed := uint64(7)
	m := &manifest.Manifest{
		Format: manifest.Format, Model: "ugrnn_shallow", Times: 2, Variant: "lightcone", Converter: "1",
		Weights: manifest.Weights{SHA256: strings.Repeat("ab", 32), Kind: "seeded", Seed: &seed, Untrained: true},
		Files:   map[string]string{}, Frames: "frames", Schedule: "schedule",
		Layers: []manifest.Layer{{Name: "conv1", Shape: []int{4, 4, 3}, Timesteps: []manifest.Timestep{
			{Tensor: "a", Kind: "constant"},
			{Tensor: "b", Kind: "frame", Shown: 1, Needs: []int{0}, Known: []int{0}},
		}}},
		Logits:     []manifest.Logits{{Times: 2, Tensor: "l", Needs: []int{0}, Known: []int{0}}},
		Boundaries: []manifest.Boundary{{Tensor: "c", Shape: []int{1, 4, 4, 3}}},
		Known:      []manifest.KnownFrames{{Tensor: "k", Source: "b", Shape: []int{4, 4, 3}}},
	}
	for _, name := range fileNames {
		m.Files[name] = strings.Repeat("0", 64)
	}
	return m
}

func TestRoundTrip(t *testing.T) {
	m := valid()
	data, err := m.Bytes()
	require.NoError(t, err)
	parsed, err := manifest.Parse(data)
	require.NoError(t, err)
	assert.Equal(t, m, parsed)
	again, err := parsed.Bytes()
	require.NoError(t, err)
	assert.Equal(t, string(data), string(again))
	assert.True(t, bytes.HasSuffix(data, []byte("}\n")))
}

func TestParseRefuses(t *testing.T) {
	for name, spoil := range map[string]func(m *manifest.Manifest){
		"another format":           func(m *manifest.Manifest) { m.Format = 0 },
		"a later format":           func(m *manifest.Manifest) { m.Format++ },
		"no timesteps":             func(m *manifest.Manifest) { m.Times = 0 },
		"negative timesteps":       func(m *manifest.Manifest) { m.Times = -1 },
		"too many timesteps":       func(m *manifest.Manifest) { m.Times = manifest.MaxTimes + 1 },
		"fewer timesteps":          func(m *manifest.Manifest) { m.Layers[0].Timesteps = m.Layers[0].Timesteps[:1] },
		"no timesteps of a layer":  func(m *manifest.Manifest) { m.Layers[0].Timesteps = nil },
		"unknown kind":             func(m *manifest.Manifest) { m.Layers[0].Timesteps[0].Kind = "per_frame" },
		"negative frame":           func(m *manifest.Manifest) { m.Layers[0].Timesteps[1].Shown = -1 },
		"frame of the future":      func(m *manifest.Manifest) { m.Layers[0].Timesteps[0].Shown = 1 },
		"frame beyond":             func(m *manifest.Manifest) { m.Layers[0].Timesteps[1].Shown = 2 },
		"boundary beyond":          func(m *manifest.Manifest) { m.Layers[0].Timesteps[1].Needs = []int{1} },
		"negative boundary":        func(m *manifest.Manifest) { m.Layers[0].Timesteps[1].Needs = []int{-1} },
		"known frames beyond":      func(m *manifest.Manifest) { m.Layers[0].Timesteps[1].Known = []int{1} },
		"boundary of logits":       func(m *manifest.Manifest) { m.Logits[0].Needs = []int{5} },
		"known frames of logits":   func(m *manifest.Manifest) { m.Logits[0].Known = []int{-5} },
		"logits of no timesteps":   func(m *manifest.Manifest) { m.Logits[0].Times = 0 },
		"logits of more timesteps": func(m *manifest.Manifest) { m.Logits[0].Times = 3 },
		"a dimension of 0":         func(m *manifest.Manifest) { m.Layers[0].Shape[1] = 0 },
		"a negative dimension":     func(m *manifest.Manifest) { m.Layers[0].Shape[1] = -4 },
		"a huge dimension":         func(m *manifest.Manifest) { m.Layers[0].Shape[1] = 1 << 40 },
		"a huge product": func(m *manifest.Manifest) {
			m.Layers[0].Shape = []int{1 << 20, 1 << 20, 1 << 20, 1 << 20}
		},
		"a huge boundary":           func(m *manifest.Manifest) { m.Boundaries[0].Shape = []int{1 << 20, 1 << 20} },
		"huge known frames":         func(m *manifest.Manifest) { m.Known[0].Shape = []int{1 << 20, 1 << 20} },
		"no hashes":                 func(m *manifest.Manifest) { m.Files = nil },
		"no hash of the graph":      func(m *manifest.Manifest) { delete(m.Files, fileNames[0]) },
		"no hash of the variables":  func(m *manifest.Manifest) { delete(m.Files, fileNames[2]) },
		"a file outside":            func(m *manifest.Manifest) { m.Files["../../etc/passwd"] = "0" },
		"a file with its full path": func(m *manifest.Manifest) { m.Files["/dev/zero"] = "0" },
	} {
		m := valid()
		spoil(m)
		data, err := m.Bytes()
		require.NoError(t, err, name)
		_, err = manifest.Parse(data)
		assert.ErrorIs(t, err, manifest.ErrInvalid, name)
	}
	for _, data := range []string{
		"", "null", "[]", "{}", "{", `{"format":1}`, `{"format":"1"}`, `{"format":1e400}`, "\xff\xfe", "\x00",
		strings.Repeat(`{"layers":[`, 20000), `{"format":1,"times":99999999999999999999}`,
	} {
		_, err := manifest.Parse([]byte(data))
		assert.ErrorIs(t, err, manifest.ErrInvalid, "%.20q", data)
	}
}

// write makes a SavedModel's directory with the manifest of its files.
func write(t *testing.T) (dir string, m *manifest.Manifest) {
	dir = t.TempDir()
	m = valid()
	for _, name := range fileNames {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte("content of "+name), 0o644))
		var err error
		m.Files[name], err = disk.SHA256(t.Context(), path)
		require.NoError(t, err)
	}
	save(t, dir, m)
	return dir, m
}

func save(t *testing.T, dir string, m *manifest.Manifest) {
	data, err := m.Bytes()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, manifest.Name), data, 0o644))
}

func TestRead(t *testing.T) {
	dir, want := write(t)
	m, err := manifest.Read(dir)
	require.NoError(t, err)
	assert.Equal(t, want, m)

	_, err = manifest.Read(filepath.Join(dir, "nowhere"))
	assert.ErrorIs(t, err, fs.ErrNotExist)

	path := filepath.Join(dir, manifest.Name)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data[:len(data)/2], 0o644))
	_, err = manifest.Read(dir)
	assert.ErrorIs(t, err, manifest.ErrInvalid)
	assert.ErrorContains(t, err, path)

	require.NoError(t, os.Truncate(path, 1<<40)) // takes no space on disk
	_, err = manifest.Read(dir)
	assert.ErrorIs(t, err, manifest.ErrInvalid)
	assert.ErrorContains(t, err, "larger than")
}

func TestReadRefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, manifest.Name)
	require.NoError(t, os.Symlink("/dev/zero", path))
	_, err := manifest.Read(dir)
	assert.ErrorIs(t, err, manifest.ErrInvalid)
	require.NoError(t, os.Remove(path))
	require.NoError(t, syscall.Mkfifo(path, 0o600)) // opening it would wait for a writer
	_, err = manifest.Read(dir)
	assert.ErrorIs(t, err, manifest.ErrInvalid)
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Mkdir(path, 0o755))
	_, err = manifest.Read(dir)
	assert.ErrorIs(t, err, manifest.ErrInvalid)
}

func TestVerify(t *testing.T) {
	dir, m := write(t)
	require.NoError(t, m.Verify(dir))
	for _, name := range fileNames {
		path := filepath.Join(dir, filepath.FromSlash(name))
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		data[3] ^= 1
		require.NoError(t, os.WriteFile(path, data, 0o644))
		err = m.Verify(dir)
		assert.ErrorIs(t, err, manifest.ErrModified)
		assert.ErrorContains(t, err, path)
		require.NoError(t, os.Remove(path))
		err = m.Verify(dir)
		assert.ErrorIs(t, err, manifest.ErrModified)
		assert.ErrorIs(t, err, fs.ErrNotExist)
		require.NoError(t, os.Symlink("/dev/zero", path))
		assert.ErrorIs(t, m.Verify(dir), manifest.ErrModified)
		require.NoError(t, os.Remove(path))
		data[3] ^= 1
		require.NoError(t, os.WriteFile(path, data, 0o644))
		require.NoError(t, m.Verify(dir))
	}
}

// FuzzParse requires of every manifest that is accepted that indices into it are
// in range, and that what it is written as is read as the same.
func FuzzParse(f *testing.F) {
	data, err := valid().Bytes()
	require.NoError(f, err)
	f.Add(data)
	f.Add([]byte(`{"format":1,"times":1000}`))
	f.Add(bytes.Replace(data, []byte(`"shown": 1`), []byte(`"shown": 9`), 1))
	f.Add(bytes.Replace(data, []byte(`"needs"`), []byte(`"known"`), 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := manifest.Parse(data)
		if err != nil {
			require.ErrorIs(t, err, manifest.ErrInvalid)
			return
		}
		for _, l := range m.Layers {
			for time, step := range l.Timesteps {
				require.GreaterOrEqual(t, step.Shown, 0)
				require.LessOrEqual(t, step.Shown, time)
				for _, i := range step.Needs {
					_ = m.Boundaries[i]
				}
				for _, i := range step.Known {
					_ = m.Known[i]
				}
			}
		}
		for _, l := range m.Logits {
			for _, i := range l.Needs {
				_ = m.Boundaries[i]
			}
			for _, i := range l.Known {
				_ = m.Known[i]
			}
		}
		written, err := m.Bytes()
		require.NoError(t, err)
		again, err := manifest.Parse(written)
		require.NoError(t, err)
		rewritten, err := json.MarshalIndent(again, "", " ")
		require.NoError(t, err)
		require.Equal(t, string(written), string(rewritten)+"\n")
	})
}
