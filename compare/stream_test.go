package compare

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/disk"
)

// Where features go between reading and multiplying changes no bit: in memory or in a file, whole or in parts, read
// once or several times.
func TestFeaturesBetweenReadingAndMultiplying(t *testing.T) {
	f := &counted{n: 30, size: 1300}
	stimuli := upTo(f.n)
	weights := [][]float64{{1, 0}, {0, 1}, {0.5, 0.5}}
	want, err := Grams(t.Context(), f, 0, stimuli, weights)
	require.NoError(t, err)
	assert.Equal(t, f.n, f.reads, "each once")
	block, shelved, spilled := mostBlock, mostShelved, mostSpilled
	defer func() { mostBlock, mostShelved, mostSpilled = block, shelved, spilled }()
	for name, c := range map[string]struct{ block, shelved, spilled, reads int }{
		"in parts": {1, 1 << 20, 1 << 20, 1}, "in a file": {1, 0, 1 << 20, 1}, "in a file, whole": {1 << 20, 0, 1 << 20, 1},
		"half in a file": {1, 30 * 2000, 1 << 20, 1}, "three times": {1, 0, 30 * 1300, 3},
	} {
		mostBlock, mostShelved, mostSpilled = c.block, c.shelved, c.spilled
		folder := t.TempDir()
		t.Setenv("TMPDIR", folder)
		f.reads = 0
		got, err := Grams(t.Context(), f, 0, stimuli, weights)
		require.NoError(t, err)
		assert.Equal(t, c.reads*f.n, f.reads, name)
		for i := range want {
			assert.Equal(t, want[i].matrix(), got[i].matrix(), name)
			assert.Equal(t, want[i].sums, got[i].sums, name)
		}
		left, err := os.ReadDir(folder)
		require.NoError(t, err)
		assert.Empty(t, left)
	}
	mostBlock, mostShelved, mostSpilled = 1, 0, 1<<20
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "nowhere"))
	_, err = Grams(t.Context(), f, 0, stimuli, weights)
	assert.ErrorIs(t, err, os.ErrNotExist)

	// Without room for the file they are read more often.
	defer func() { checkDisk = disk.Check }()
	checkDisk = func(string, int64) error { return disk.ErrNoSpace }
	mostShelved, f.reads = f.n*1400, 0
	got, err := Grams(t.Context(), f, 0, stimuli, weights)
	require.NoError(t, err)
	assert.Equal(t, 3*f.n, f.reads)
	for i := range want {
		assert.Equal(t, want[i].matrix(), got[i].matrix())
	}
	mostBlock, mostShelved = block, shelved
	failed := errors.New("failed")
	calls := 0
	assert.ErrorIs(t, EachGram(t.Context(), f, stimuli, []Wanted{{0, weights}}, func(int, int, *Gram) error {
		calls++
		return failed
	}), failed)
	assert.Equal(t, 1, calls)
}

// A folder is refused where it is damaged, incomplete or another's.
func TestGramFolder(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "grams")
	f := &counted{n: 12, size: 50, identity: "x"}
	o := GramFolderOptions{Windows: []Bin{{50, 70}}}
	f.fail = 5
	_, err := MakeGrams(t.Context(), folder, f, o)
	require.Error(t, err)
	_, err = OpenGrams(folder)
	assert.ErrorIs(t, err, ErrGramsMissing)
	f.fail = 0
	made, err := MakeGrams(t.Context(), folder, f, o)
	require.NoError(t, err)
	assert.Equal(t, GramsMade{Of: 3, Made: 3, Bytes: made.Bytes}, *made)
	grams, err := OpenGrams(folder)
	require.NoError(t, err)
	assert.Equal(t, f.Stimuli(), grams.Stimuli())
	assert.Equal(t, f.Layers(), grams.Layers())

	some := []int{9, 2, 5, 7}
	var cache *GramCache
	weights := [][]float64{{0, 1}, {1, 1}}
	want, err := cache.Grams(t.Context(), f, 0, some, weights)
	require.NoError(t, err)
	got, err := cache.Grams(t.Context(), grams, 0, some, weights)
	require.NoError(t, err)
	for i := range want {
		assert.Equal(t, want[i].matrix(), got[i].matrix())
		assert.Equal(t, want[i].sums, got[i].sums)
		assert.Equal(t, want[i].Constant(), got[i].Constant())
		assert.Equal(t, want[i].Stimuli(), got[i].Stimuli())
	}
	_, err = cache.Grams(t.Context(), grams, 0, some, [][]float64{{1, 2}})
	assert.ErrorIs(t, err, ErrData)
	_, err = grams.Row(0, 0)
	assert.ErrorIs(t, err, ErrData)

	for name, other := range map[string]struct {
		f *counted
		o GramFolderOptions
	}{
		"features": {&counted{n: 12, size: 50, identity: "y"}, o}, "size": {&counted{n: 12, size: 51, identity: "x"}, o},
		"stimuli": {&counted{n: 11, size: 50, identity: "x"}, o}, "windows": {f, GramFolderOptions{}},
	} {
		_, err := MakeGrams(t.Context(), folder, other.f, other.o)
		assert.ErrorIs(t, err, ErrOtherGrams, name)
	}
	_, err = MakeGrams(t.Context(), folder, f, GramFolderOptions{Shard: 2, Shards: 2})
	assert.ErrorIs(t, err, ErrOptions)
	_, err = MakeGrams(t.Context(), folder, f, GramFolderOptions{Layers: []string{"b"}})
	assert.ErrorIs(t, err, ErrNoLayer)
	taken := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(taken, "mine.txt"), nil, 0o600))
	_, err = MakeGrams(t.Context(), taken, f, o)
	assert.ErrorIs(t, err, os.ErrExist)

	file := filepath.Join(folder, "a-60-70.gram")
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	content[len(content)/2] ^= 1
	require.NoError(t, os.WriteFile(file, content, 0o600))
	_, err = cache.Grams(t.Context(), grams, 0, some, weights)
	assert.ErrorIs(t, err, ErrData)
	made, err = MakeGrams(t.Context(), folder, f, o)
	require.NoError(t, err)
	assert.Equal(t, 1, made.Made, "the damaged one is made again")
	for _, text := range []string{"", "{", `{"format":"x"}`,
		`{"format":"tfconvrnn Gram matrices 1","stimuli":["a"],"layers":[{"Name":"a","Size":0}]}`,
		`{"format":"tfconvrnn Gram matrices 1","stimuli":["a"],"layers":[{"Name":"a","Size":1,"windows":[{"file":"../x","weights":[1]}]}]}`} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, GramFolderName), []byte(text), 0o600))
		_, err := OpenGrams(folder)
		assert.ErrorIs(t, err, ErrData, text)
	}
}
