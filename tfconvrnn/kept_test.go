package tfconvrnn

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/savedmodels"
)

// withConstants fetches constants, values of the blank, and what is computed from both.
var withConstants = []ExtractOption{Layers("conv1", "conv2", "conv4"), WithPresentation(Custom(7, 3)), AllTimesteps(),
	Logits()}

func extractKept(t *testing.T, store string, options ...Option) *Features {
	t.Helper()
	m, err := Load("timedecay_shallow", append([]Option{WithWeights("seeded:1"), WithStore(store)}, options...)...)
	require.NoError(t, err)
	defer m.Close()
	features, err := m.Extract(t.Context(), testStimuli(t, 2), withConstants...)
	require.NoError(t, err)
	return features
}

// keptFiles returns the data of all sets of constants in a store.
func keptFiles(t *testing.T, store string) []string {
	files, err := filepath.Glob(filepath.Join(store, "*", ".*.constants", "*", "*.data*"))
	require.NoError(t, err)
	return files
}

func TestKeptConstants(t *testing.T) {
	requireRuntime(t)
	store := t.TempDir()
	want := extractKept(t, store, WithoutKeptConstants())
	extractKept(t, store, WithVerification())
	require.Empty(t, keptFiles(t, store))

	assert.Empty(t, difference(want, extractKept(t, store)), "computed with others")
	files := keptFiles(t, store)
	require.Len(t, files, 2, "the constants, and the blank's values")
	assert.Empty(t, difference(want, extractKept(t, store)), "read")
	assert.Equal(t, files, keptFiles(t, store))

	t.Run("other fetches find theirs", func(t *testing.T) {
		before, err := os.Stat(files[0])
		require.NoError(t, err)
		m, err := Load("timedecay_shallow", WithWeights("seeded:1"), WithStore(store))
		require.NoError(t, err)
		defer m.Close()
		_, err = m.Extract(t.Context(), testStimuli(t, 1))
		require.NoError(t, err)
		after, err := os.Stat(files[0])
		require.NoError(t, err)
		assert.True(t, os.SameFile(before, after), "nothing was computed and kept again")
	})
	t.Run("they are really read", func(t *testing.T) {
		m, err := Load("timedecay_shallow", WithWeights("seeded:1"), WithStore(store))
		require.NoError(t, err)
		defer m.Close()
		set := m.kept.constantSet()
		names := set.names(nil)
		have := map[string]*libtf.Tensor{}
		require.NoError(t, set.read(names, have))
		var tensors []*libtf.Tensor
		for _, name := range names {
			data, err := libtf.Data[float32](have[name])
			require.NoError(t, err)
			for i := range data {
				data[i]++
			}
			tensors = append(tensors, have[name])
		}
		require.NoError(t, set.write(names, tensors))
		libtf.CloseAll(tensors)
		assert.NotEmpty(t, difference(want, extractKept(t, store)))
		assert.Empty(t, difference(want, extractKept(t, store, WithVerification())), "not when files are to be verified")
		require.NoError(t, os.RemoveAll(savedmodels.KeptConstantsDir(m.Dir())))
	})
	t.Run("damaged ones are computed and kept again", func(t *testing.T) {
		extractKept(t, store)
		for _, file := range keptFiles(t, store) {
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			for i := range content {
				content[i] ^= 1
			}
			require.NoError(t, os.WriteFile(file, content, 0o600))
		}
		assert.Empty(t, difference(want, extractKept(t, store)))
		assert.Empty(t, difference(want, extractKept(t, store)))
		require.Len(t, keptFiles(t, store), 2)
	})
	t.Run("what changes the bytes has a key of its own", func(t *testing.T) {
		m, err := Load("timedecay_shallow", WithWeights("seeded:1"), WithStore(store))
		require.NoError(t, err)
		defer m.Close()
		t.Setenv("TF_CPP_MIN_LOG_LEVEL", "1")
		same, err := newKeptConstants(m)
		require.NoError(t, err)
		assert.Equal(t, m.kept.key, same.key)
		t.Setenv("TF_ENABLE_ONEDNN_OPTS", "0")
		other, err := newKeptConstants(m)
		require.NoError(t, err)
		assert.NotEqual(t, m.kept.key, other.key)
		m.session.threads++
		threads, err := newKeptConstants(m)
		require.NoError(t, err)
		assert.NotEqual(t, other.key, threads.key)
		m.manifest.Weights.SHA256 = "other"
		weights, err := newKeptConstants(m)
		require.NoError(t, err)
		assert.NotEqual(t, threads.key, weights.key)
		black := make([]float32, 3)
		assert.NotEqual(t, m.kept.blankSet(black).key, m.kept.blankSet([]float32{0, 0, 1}).key)
	})
	t.Run("nowhere to keep them", func(t *testing.T) {
		kept := filepath.Dir(filepath.Dir(keptFiles(t, store)[0]))
		require.NoError(t, os.RemoveAll(kept))
		require.NoError(t, os.WriteFile(kept, nil, 0o600))
		assert.Empty(t, difference(want, extractKept(t, store)))
		assert.Empty(t, keptFiles(t, store))
	})
	requireNoObjects(t)
}
