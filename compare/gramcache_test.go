package compare

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// counted are made-up features that count what is read of them.
type counted struct {
	n, size  int
	identity string
	reads    int
	fail     int // the read that fails
}

func (c *counted) Identity() string { return c.identity }
func (c *counted) Stimuli() (ids []string) {
	for i := range c.n {
		ids = append(ids, fmt.Sprint("s", i))
	}
	return ids
}
func (c *counted) Layers() []FeatureLayer {
	return []FeatureLayer{{Name: "a", Bins: TimestepBins(5, 6), Size: c.size}}
}
func (c *counted) Row(_, stimulus int) ([]float32, error) {
	c.reads++
	if c.reads == c.fail {
		return nil, context.Canceled
	}
	row := make([]float32, 2*c.size)
	for i := range row {
		row[i] = float32((stimulus*31+i*17)%101) - 50
	}
	return row, nil
}

// Grams has all matrices at once.
func (c *GramCache) Grams(ctx context.Context, f Features, layer int, stimuli []int, weights [][]float64) ([]*Gram,
	error) {
	grams := make([]*Gram, len(weights))
	err := c.EachGram(ctx, f, stimuli, []Wanted{{layer, weights}}, func(_, i int, g *Gram) error {
		grams[i] = g
		return nil
	})
	return grams, err
}

var twoBins = [][]float64{{1, 0}, {0, 1}}

func TestGramsAreKept(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "grams")
	f := &counted{n: 40, size: 300, identity: "x"}
	stimuli := []int{7, 3, 39, 0, 12, 5, 1, 2, 20, 33}
	for i := range 40 {
		if !slices.Contains(stimuli, i) {
			stimuli = append(stimuli, i)
		}
	}
	plain, err := Grams(t.Context(), f, 0, stimuli, twoBins)
	require.NoError(t, err)
	same := func(got []*Gram) {
		t.Helper()
		for i := range plain {
			assert.Equal(t, plain[i].matrix(), got[i].matrix())
			assert.Equal(t, plain[i].sums, got[i].sums)
			assert.Equal(t, plain[i].Features(), got[i].Features())
			assert.False(t, got[i].Constant())
		}
	}
	f.reads = 0
	cache := NewGramCache(folder, 1<<20)
	made, err := cache.Grams(t.Context(), f, 0, stimuli, twoBins)
	require.NoError(t, err)
	same(made)
	read := f.reads
	assert.Positive(t, read)
	again := NewGramCache(folder, 1<<20)
	kept, err := again.Grams(t.Context(), f, 0, stimuli, twoBins)
	require.NoError(t, err)
	same(kept)
	assert.Equal(t, read, f.reads, "nothing is read again")
	assert.Contains(t, again.String(), "2 of 2 were kept")

	// Of other features nothing is known.
	other := &counted{n: 40, size: f.size, identity: "y"}
	_, err = again.Grams(t.Context(), other, 0, stimuli, twoBins[:1])
	require.NoError(t, err)
	assert.Positive(t, other.reads)

	// What is damaged is made again; each by itself.
	files, err := filepath.Glob(filepath.Join(folder, "*.gram"))
	require.NoError(t, err)
	require.Len(t, files, 3)
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		content[len(content)/2] ^= 1
		require.NoError(t, os.WriteFile(file, content[:len(content)-len(file)%2], 0o600))
	}
	f.reads = 0
	mended, err := again.Grams(t.Context(), f, 0, stimuli, twoBins)
	require.NoError(t, err)
	same(mended)
	assert.Positive(t, f.reads)
	require.NoError(t, again.Clear())
	files, err = filepath.Glob(filepath.Join(folder, "*"))
	require.NoError(t, err)
	assert.Empty(t, files)
}

// An interrupted comparison reads only what was not complete.
func TestGramsGoOnWhereTheyStopped(t *testing.T) {
	cache := NewGramCache(t.TempDir(), 1<<20)
	f := &counted{n: 4, size: 100, identity: "x"}
	all := []int{0, 1, 2, 3}
	_, err := cache.Grams(t.Context(), f, 0, all, twoBins[:1])
	require.NoError(t, err)
	whole := f.reads
	f.fail = f.reads + 2
	_, err = cache.Grams(t.Context(), f, 0, all, twoBins)
	require.ErrorIs(t, err, context.Canceled)
	f.fail, f.reads = 0, 0
	_, err = cache.Grams(t.Context(), f, 0, all, twoBins)
	require.NoError(t, err)
	assert.Equal(t, whole, f.reads, "only the second bin's")
}

func TestGramCacheIsBounded(t *testing.T) {
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "mine.txt"), []byte("x"), 0o600))
	cache := NewGramCache(folder, 2*gramBytes(4))
	f := &counted{n: 4, size: 100}
	for i, identity := range []string{"a", "b", "a", "c", ""} {
		f.identity = identity
		_, err := cache.Grams(t.Context(), f, 0, []int{0, 1, 2, 3}, twoBins[:1])
		require.NoError(t, err)
		files, _ := filepath.Glob(filepath.Join(folder, "*.gram"))
		for _, file := range files { // the clock of a file system may be coarse
			info, err := os.Stat(file)
			require.NoError(t, err)
			require.NoError(t, os.Chtimes(file, time.Time{}, info.ModTime().Add(-time.Hour)))
		}
		assert.LessOrEqual(t, len(files), 2, "%d", i)
	}
	f.identity, f.reads = "a", 0
	_, err := cache.Grams(t.Context(), f, 0, []int{0, 1, 2, 3}, twoBins[:1])
	require.NoError(t, err)
	assert.Zero(t, f.reads, "b was not used for longest")
	assert.FileExists(t, filepath.Join(folder, "mine.txt"))
	var none *GramCache
	_, err = none.Grams(t.Context(), f, 0, []int{3, 1}, twoBins)
	require.NoError(t, err)
}

// Neither the order of the features nor the number of cores changes a bit of a score.
func TestFitsAreTheSameBytes(t *testing.T) {
	f := &counted{n: 60, size: 300}
	stimuli := make([]int, f.n)
	targets := make(Targets, f.n)
	for i := range stimuli {
		stimuli[i] = (i * 7) % f.n
		targets[i] = []float64{float64(i*i%13) - 0.1*float64(i), float64(i % 5)}
	}
	splits, err := Splits{Count: 3}.Of(f.n, nil)
	require.NoError(t, err)
	var none *GramCache
	fit := func(cores int, mapping Mapping) *Fit {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
		grams, err := none.Grams(t.Context(), f, 0, stimuli, twoBins[:1])
		require.NoError(t, err)
		fit, err := FitTargets(grams[0], targets, splits, mapping)
		require.NoError(t, err)
		return fit
	}
	for _, mapping := range []Mapping{PLS{Components: 5}, Ridge{}, Ridge{Alphas: BrainScoreAlphas(), PerNeuroid: true},
		Ridge{Alphas: []float64{1, 10}, Folds: 3}} {
		assert.Equal(t, fit(1, mapping), fit(4, mapping), mapping.String())
	}
}
