package savedmodels

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/convert"
)

func reasons(removed []Removed) map[string]string {
	found := map[string]string{}
	for _, r := range removed {
		found[filepath.Base(r.Path)] = r.Reason
	}
	return found
}

func TestRemove(t *testing.T) {
	p := newPlace(t, published, one, "simplernn_shallow")
	_, err := p.download(t)
	require.NoError(t, err)
	partial := filepath.Join(p.checkpoints, "."+one+partialSuffix)
	require.NoError(t, os.MkdirAll(partial, 0o755))
	_, err = p.store.Remove(t.Context(), "nonesuch", true, p.checkpoints)
	assert.ErrorIs(t, err, ErrUnknownModel)

	list, err := p.store.List()
	require.NoError(t, err)
	for _, m := range list {
		require.NoError(t, os.MkdirAll(KeptConstantsDir(m.Dir), 0o755))
	}
	list, err = p.store.List()
	require.NoError(t, err)
	require.Len(t, list, 2)

	removed, err := p.store.Remove(t.Context(), one, false, p.checkpoints)
	require.NoError(t, err)
	require.Len(t, removed, 2)
	assert.Equal(t, "constants of a SavedModel", removed[0].Reason)
	assert.Greater(t, removed[1].Bytes, int64(16<<20))
	checkpoints, savedModels := p.requireWhole(t)
	assert.Len(t, checkpoints, 2)
	assert.Equal(t, []string{"simplernn_shallow"}, savedModels)

	removed, err = p.store.Remove(t.Context(), one, true, p.checkpoints)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{one: "checkpoint", "." + one + partialSuffix: "unfinished download"},
		reasons(removed))
	checkpoints, _ = p.requireWhole(t)
	assert.Equal(t, []string{"simplernn_shallow"}, checkpoints)
	removed, err = p.store.Remove(t.Context(), one, true, p.checkpoints)
	require.NoError(t, err)
	assert.Empty(t, removed)
}

func TestCollectGarbage(t *testing.T) {
	p := newPlace(t, published, one)
	removed, err := p.store.CollectGarbage(t.Context(), p.checkpoints, false)
	require.NoError(t, err)
	assert.Empty(t, removed, "nothing is there at all")
	_, err = p.download(t)
	require.NoError(t, err)
	removed, err = p.store.CollectGarbage(t.Context(), p.checkpoints, false)
	require.NoError(t, err)
	assert.Empty(t, removed, "nothing is left over")

	dir := filepath.Join(p.store.dir, one)
	list, err := p.store.List()
	require.NoError(t, err)
	gone := KeptConstantsDir(filepath.Join(dir, "seeded-7-times30-lightcone"))
	for _, path := range []string{gone, KeptConstantsDir(list[0].Dir)} {
		require.NoError(t, os.MkdirAll(path, 0o755))
	}
	removed, err = p.store.CollectGarbage(t.Context(), p.checkpoints, false)
	require.NoError(t, err)
	require.Equal(t, []Removed{{gone, 0, "constants of a SavedModel that is gone"}}, removed)
	require.NoError(t, os.RemoveAll(KeptConstantsDir(list[0].Dir)))
	text, err := os.ReadFile(filepath.Join(list[0].Dir, "manifest.json"))
	require.NoError(t, err)
	make := func(path, manifest string) {
		require.NoError(t, os.MkdirAll(path, 0o755))
		if manifest != "" {
			require.NoError(t, os.WriteFile(filepath.Join(path, "manifest.json"), []byte(manifest), 0o644))
		}
	}
	make(filepath.Join(dir, "seeded-2-times30-plain"), strings.Replace(string(text), `"converter": "`,
		`"converter": "0.`, 1))
	make(filepath.Join(dir, "seeded-3-times30-plain"), "")
	make(filepath.Join(dir, "seeded-4-times30-plain"), "{")
	make(filepath.Join(dir, ".seeded-1-times30-plain.123.partial"), "")
	make(filepath.Join(dir, "mine"), "")
	make(filepath.Join(p.checkpoints, "."+one+partialSuffix), "")
	make(filepath.Join(p.checkpoints, ".simplernn_shallow"+partialSuffix), "")
	old := filepath.Join(p.checkpoints, "."+LockFileName+".123")
	require.NoError(t, os.WriteFile(old, nil, 0o644))
	require.NoError(t, os.Chtimes(old, time.Time{}, time.Now().Add(-2*time.Hour)))
	require.NoError(t, os.WriteFile(filepath.Join(p.checkpoints, "."+LockFileName+".456"), nil, 0o644))
	busy := flock.New(filepath.Join(p.checkpoints, ".simplernn_shallow.lock"))
	require.NoError(t, busy.Lock())
	defer busy.Close()

	would, err := p.store.CollectGarbage(t.Context(), p.checkpoints, true)
	require.NoError(t, err)
	removed, err = p.store.CollectGarbage(t.Context(), p.checkpoints, false)
	require.NoError(t, err)
	assert.Equal(t, would, removed)
	found := reasons(removed)
	assert.Contains(t, found["seeded-2-times30-plain"], "converter version")
	delete(found, "seeded-2-times30-plain")
	assert.Equal(t, map[string]string{
		"seeded-3-times30-plain":              "no readable manifest",
		"seeded-4-times30-plain":              "no readable manifest",
		".seeded-1-times30-plain.123.partial": "unfinished conversion",
		"." + one + partialSuffix:             "unfinished download",
		"." + LockFileName + ".123":           "unfinished lock file",
	}, found)
	checkpoints, savedModels := p.requireWhole(t)
	assert.Equal(t, []string{one}, checkpoints)
	assert.Equal(t, []string{one}, savedModels)
	assert.DirExists(t, filepath.Join(dir, "mine"))
}

func TestVerifyCheckpoint(t *testing.T) {
	p := newPlace(t, published, one)
	found, err := VerifyCheckpoint(t.Context(), one, p.checkpoints, "", nil)
	require.NoError(t, err)
	assert.False(t, found)
	_, err = p.download(t)
	require.NoError(t, err)
	found, err = VerifyCheckpoint(t.Context(), one, p.checkpoints, "", nil)
	require.NoError(t, err)
	assert.True(t, found)
	lock := filepath.Join(p.checkpoints, LockFileName)
	text, err := os.ReadFile(lock)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(lock, []byte(strings.Repeat("0", 64)+string(text)[64:]), 0o644))
	_, err = VerifyCheckpoint(t.Context(), one, p.checkpoints, "", nil)
	assert.ErrorIs(t, err, ErrLocked)
	require.NoError(t, os.Truncate(filepath.Join(p.checkpoints, one, dataName), 100))
	_, err = VerifyCheckpoint(t.Context(), one, p.checkpoints, "", nil)
	assert.ErrorIs(t, err, convert.ErrCorrupt)
}
