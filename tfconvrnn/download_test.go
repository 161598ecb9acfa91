package tfconvrnn

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/checkpointserver"
	"github.com/tfconvrnn/go/savedmodels"
)

// TestGoldenThroughDownload compares models that were downloaded, converted and
// loaded by their names with the published implementation: from an empty cache
// directory, with a local server in place of the published address. Each loses its
// checkpoint after conversion.
func TestGoldenThroughDownload(t *testing.T) {
	requireRuntime(t) // from the cache that is replaced next
	t.Setenv("TFCONVRNN_CACHE", t.TempDir())
	t.Setenv(savedmodels.CheckpointsEnv, "")
	models := []string{"timedecay_shallow", "simplernn_shallow", "rgc_intermediate", "timedecay_intermediate"}
	published := t.TempDir()
	for _, model := range models {
		require.NoError(t, checkpointserver.WriteSeeded(published, model, 1))
	}
	server := checkpointserver.New(published)
	defer server.Close()
	store, err := savedmodels.Open("")
	require.NoError(t, err)
	_, err = Load(models[0])
	require.ErrorIs(t, err, ErrNoWeights)
	var missing *savedmodels.NoWeightsError
	require.ErrorAs(t, err, &missing)
	require.Equal(t, models[0], missing.Model)

	results, err := store.Download(t.Context(), savedmodels.DownloadOptions{Models: models, From: server.URL,
		DiscardCheckpoint: true})
	require.NoError(t, err)
	require.Len(t, results, len(models))
	require.NoError(t, os.RemoveAll(published))
	stimuli := goldenStimuli(t)
	compared := 0
	for _, g := range goldenFiles(t) {
		if !strings.HasSuffix(g.path, ".default.npz") {
			continue
		}
		for _, r := range results {
			if r.Model != g.model {
				continue
			}
			m, err := Load(r.Model)
			require.NoError(t, err)
			assert.Equal(t, r.SavedModel.Dir, m.Dir())
			assert.True(t, m.Untrained(), "the reference checkpoints hold a seed's values")
			features, err := m.Extract(t.Context(), stimuli, WithPresentation(g.presentation), AllTimesteps(), Logits())
			require.NoError(t, err)
			worst, where, logits := compareGolden(t, g, features)
			t.Logf("%s: max |difference| / RMS %.1e (%s), logits %.1e", r.Model, worst, where, logits)
			assert.LessOrEqual(t, worst, g.tolerance(features.Provenance.Times), where)
			assert.LessOrEqual(t, logits, g.tolerance(features.Provenance.Times))
			require.NoError(t, m.Close())
			compared++
		}
	}
	assert.Equal(t, len(models), compared)
	_, err = os.Stat(filepath.Join(os.Getenv("TFCONVRNN_CACHE"), "checkpoints", "weights.lock"))
	assert.NoError(t, err)
}
