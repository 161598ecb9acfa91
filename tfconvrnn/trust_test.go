package tfconvrnn

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/internal/disk"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/tfpb"
)

// convertedModel makes a small SavedModel.
func convertedModel(t testing.TB) string {
	source, err := convert.Seeded("timedecay_shallow", 1)
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "model")
	_, err = convert.Convert(t.Context(), "timedecay_shallow", source, dir, convert.Options{Times: 16})
	require.NoError(t, err)
	return dir
}

// changeManifest rewrites a SavedModel's manifest, with the hashes of its files as
// they are: what a stranger would do.
func changeManifest(t testing.TB, dir string, change func(m *manifest.Manifest)) {
	m, err := manifest.Read(dir)
	require.NoError(t, err)
	for name := range m.Files {
		m.Files[name], err = disk.SHA256(t.Context(), filepath.Join(dir, filepath.FromSlash(name)))
		require.NoError(t, err)
	}
	if change != nil {
		change(m)
	}
	data, err := m.Bytes()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, manifest.Name), data, 0o644))
}

func changeGraph(t testing.TB, dir string, change func(g *tfpb.GraphDef)) {
	path := filepath.Join(dir, "saved_model.pb")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	saved := &tfpb.SavedModel{}
	require.NoError(t, proto.Unmarshal(data, saved))
	change(saved.MetaGraphs[0].GraphDef)
	data, err = proto.Marshal(saved)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data, 0o644))
}

// TestStrangersSavedModels: a graph that reads a file is opened only if the user
// trusts it, and never if its manifest describes something else.
func TestStrangersSavedModels(t *testing.T) {
	requireRuntime(t)
	before := libtf.LiveObjects()
	dir := convertedModel(t)
	load := func(options ...Option) error {
		m, err := LoadSavedModel(t.Context(), dir, options...)
		if err == nil {
			require.NoError(t, m.Close())
		}
		return err
	}
	require.NoError(t, load())
	require.NoError(t, load(WithVerification()))

	changeGraph(t, dir, func(g *tfpb.GraphDef) {
		g.Node = append(g.Node, &tfpb.NodeDef{Name: "read", Op: "ReadFile", Input: []string{"save/filename"}})
	})
	err := load()
	require.ErrorIs(t, err, ErrUntrusted)
	require.ErrorIs(t, err, ErrModified, "the hash is wrong")
	changeManifest(t, dir, nil)
	err = load()
	require.ErrorIs(t, err, ErrUntrusted)
	require.NotErrorIs(t, err, ErrModified)
	assert.ErrorContains(t, err, "ReadFile")
	assert.ErrorContains(t, err, "trust it")
	assert.ErrorContains(t, err, dir)
	require.NoError(t, load(WithTrust()))
	assert.Equal(t, before, libtf.LiveObjects())
}

func TestManifestsThatDescribeSomethingElse(t *testing.T) {
	requireRuntime(t)
	for name, change := range map[string]func(m *manifest.Manifest){
		"another model": func(m *manifest.Manifest) { m.Model = "gru_shallow" }, // with other cells of the same shapes
		"fewer layers":  func(m *manifest.Manifest) { m.Layers = m.Layers[1:] },
		"another shape": func(m *manifest.Manifest) { m.Layers[0].Shape[0]++ },
		"another name":  func(m *manifest.Manifest) { m.Layers[0].Name = "conv9" },
	} {
		dir := convertedModel(t)
		changeManifest(t, dir, change)
		m, err := LoadSavedModel(t.Context(), dir, WithTrust())
		if name == "another model" && err == nil {
			// Nothing but the model's name differs.
			require.NoError(t, m.Close())
			continue
		}
		assert.ErrorIs(t, err, ErrModified, name)
	}

	// What only shows when it runs is an error of the run, not a panic or an abort.
	stimuli := testStimuli(t, 1)
	for name, change := range map[string]func(m *manifest.Manifest){
		"no such tensor": func(m *manifest.Manifest) { m.Layers[0].Timesteps[3].Tensor = "nowhere" },
		"no output":      func(m *manifest.Manifest) { m.Layers[0].Timesteps[3].Tensor = "save/restore_all" },
		"strings":        func(m *manifest.Manifest) { m.Layers[0].Timesteps[3].Tensor = "save/names" },
		"integers":       func(m *manifest.Manifest) { m.Layers[0].Timesteps[3].Tensor = "schedule" },
		"too small":      func(m *manifest.Manifest) { m.Layers[0].Timesteps[3].Tensor = "preprocess/mean" },
		"a handle": func(m *manifest.Manifest) {
			m.Layers[0].Timesteps[3].Tensor = "tnn_model/conv1/pre_0/bias"
		},
		"images are missing":    func(m *manifest.Manifest) { m.Layers[0].Timesteps[3].Tensor = "images" },
		"frames elsewhere":      func(m *manifest.Manifest) { m.Frames = "schedule" },
		"schedule elsewhere":    func(m *manifest.Manifest) { m.Schedule = "frames" },
		"frames nowhere":        func(m *manifest.Manifest) { m.Frames = "" },
		"schedule is no output": func(m *manifest.Manifest) { m.Schedule = "save/restore_all" },
		"a zero in a name":      func(m *manifest.Manifest) { m.Frames = "a\x00b" },
		"constant is not":       func(m *manifest.Manifest) { m.Layers[4].Timesteps[0].Tensor = "save/restore_all" },
		"constant of a run":     func(m *manifest.Manifest) { m.Layers[0].Timesteps[3].Kind = "constant" },
		"frame of stimuli":      func(m *manifest.Manifest) { m.Layers[4].Timesteps[12].Kind = "frame" },
		"boundary nowhere": func(m *manifest.Manifest) {
			for i := range m.Boundaries {
				m.Boundaries[i].Tensor = "nowhere"
			}
		},
		"boundary elsewhere": func(m *manifest.Manifest) {
			for i := range m.Boundaries {
				m.Boundaries[i].Tensor = "frames"
			}
		},
		"known frames elsewhere": func(m *manifest.Manifest) {
			for i := range m.Known {
				m.Known[i].Source = "schedule"
			}
		},
		"logits elsewhere": func(m *manifest.Manifest) {
			for i := range m.Logits {
				m.Logits[i].Tensor = "preprocess/mean"
			}
		},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			dir := convertedModel(t)
			changeManifest(t, dir, change)
			m, err := LoadSavedModel(t.Context(), dir)
			require.NoError(t, err)
			defer m.Close()
			_, err = m.Extract(context.Background(), stimuli, AllTimesteps(), Logits())
			if name == "frame of stimuli" {
				return // the same values by another way, or too few
			}
			require.Error(t, err)
		})
	}
	requireNoObjects(t)
}
