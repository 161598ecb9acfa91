package tensorcache

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/bundle"
	"github.com/tfconvrnn/go/internal/disk"
)

func testCache(t *testing.T, most int) *Cache {
	c := New(filepath.Join(t.TempDir(), "cache"), most)
	c.spare = 0
	return c
}

// get reads tensors of two values each.
func get(c *Cache, key string, names ...string) (map[string][]float32, error) {
	got := map[string][]float32{}
	err := c.Read(key, names, func(name string, shape []int64) ([]float32, error) {
		got[name] = make([]float32, 2)
		return got[name], nil
	})
	return got, err
}

func pair(name string, a, b float32) Tensor { return Tensor{name, []int64{1, 2}, []float32{a, b}} }

func TestReadWhatWasWritten(t *testing.T) {
	c, key := testCache(t, 2), Key("a")
	_, err := get(c, key, "x")
	require.ErrorIs(t, err, fs.ErrNotExist)

	negative := float32(math.Copysign(0, -1))
	require.NoError(t, c.Write(key, []Tensor{pair("x", 1, negative), pair("y", 3, 4)}))
	got, err := get(c, key, "y", "x")
	require.NoError(t, err)
	assert.Equal(t, map[string][]float32{"x": {1, negative}, "y": {3, 4}}, got)
	assert.True(t, math.Signbit(float64(got["x"][1])))

	_, err = get(c, key, "x", "z")
	require.ErrorIs(t, err, ErrMissing)
	refuse := errors.New("no memory")
	require.ErrorIs(t, c.Read(key, []string{"x"}, func(string, []int64) ([]float32, error) { return nil, refuse }), refuse)
	require.ErrorIs(t, c.Read(key, []string{"x"}, func(string, []int64) ([]float32, error) {
		return make([]float32, 3), nil
	}), ErrMissing)

	require.NoError(t, c.Write(key, []Tensor{pair("x", 5, 6)}), "it is replaced")
	got, err = get(c, key, "x")
	require.NoError(t, err)
	assert.Equal(t, []float32{5, 6}, got["x"])
}

func TestKey(t *testing.T) {
	assert.Equal(t, Key("a", "b"), Key("a", "b"))
	assert.NotEqual(t, Key("a", "b"), Key("ab"))
	assert.NotEqual(t, Key("a", "b"), Key("b", "a"))
	assert.Regexp(t, ours, Key())
}

func TestDamage(t *testing.T) {
	c, key := testCache(t, 2), Key("a")
	require.NoError(t, c.Write(key, []Tensor{pair("x", 1, 2), pair("y", 3, 4)}))
	data := filepath.Join(c.dir, key, prefix+".data-00000-of-00001")
	content, err := os.ReadFile(data)
	require.NoError(t, err)
	content[1] ^= 4
	require.NoError(t, os.WriteFile(data, content, 0o600))
	_, err = get(c, key, "x")
	require.ErrorIs(t, err, bundle.ErrCorrupt)
	require.NoError(t, os.Truncate(data, 3))
	_, err = get(c, key, "y")
	require.Error(t, err)

	require.NoError(t, c.Write(key, []Tensor{pair("x", 1, 2)}))
	_, err = get(c, key, "x")
	require.NoError(t, err)
}

func TestOldSetsGo(t *testing.T) {
	c := testCache(t, 2)
	keys := []string{Key("0"), Key("1"), Key("2")}
	foreign := filepath.Join(c.dir, "somebody's")
	require.NoError(t, os.MkdirAll(foreign, 0o755))
	old, leftover := time.Now().Add(-2*temporaryAge), filepath.Join(c.dir, "."+keys[0]+".123.partial")
	require.NoError(t, os.Mkdir(leftover, 0o755))
	require.NoError(t, os.Chtimes(leftover, old, old))
	require.NoError(t, os.Chtimes(foreign, old, old))
	for i, key := range keys {
		require.NoError(t, c.Write(key, []Tensor{pair("x", 1, 2)}))
		if i < 2 {
			earlier := time.Now().Add(time.Duration(i-10) * time.Minute)
			require.NoError(t, os.Chtimes(filepath.Join(c.dir, key), earlier, earlier))
		}
		if i == 1 {
			_, err := get(c, keys[0], "x") // now it is the younger one
			require.NoError(t, err)
		}
	}
	for i, there := range []bool{true, false, true} {
		_, err := get(c, keys[i], "x")
		assert.Equal(t, there, err == nil, "set %d: %v", i, err)
	}
	assert.NoDirExists(t, leftover)
	assert.DirExists(t, foreign)
}

// TestNotElsewhere: nothing is written, or removed, where a link leads.
func TestNotElsewhere(t *testing.T) {
	elsewhere := t.TempDir()
	c := New(filepath.Join(t.TempDir(), "link"), 1)
	require.NoError(t, os.Symlink(elsewhere, c.dir))
	require.Error(t, c.Write(Key("a"), []Tensor{pair("x", 1, 2)}))
	entries, err := os.ReadDir(elsewhere)
	require.NoError(t, err)
	assert.Empty(t, entries)
}

func TestNoRoom(t *testing.T) {
	c := testCache(t, 2)
	c.spare = math.MaxInt64 - 8
	require.ErrorIs(t, c.Write(Key("a"), []Tensor{pair("x", 1, 2)}), disk.ErrNoSpace)
	_, err := get(c, Key("a"), "x")
	require.ErrorIs(t, err, fs.ErrNotExist)
	c = New(filepath.Join(t.TempDir(), "file"), 1)
	require.NoError(t, os.WriteFile(c.dir, nil, 0o600))
	require.Error(t, c.Write(Key("a"), nil))
}

// TestAtOnce: readers see a whole set or none, whatever writers do.
func TestAtOnce(t *testing.T) {
	c := testCache(t, 2)
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			for i := range 30 {
				key, v := Key(fmt.Sprint(i%3)), float32(i%3)
				_ = c.Write(key, []Tensor{pair("x", v, v), pair("y", v, -v)}) // others replace it meanwhile
				if got, err := get(c, key, "x", "y"); err == nil {
					assert.Equal(t, map[string][]float32{"x": {v, v}, "y": {v, -v}}, got, g)
				}
			}
		})
	}
	group.Wait()
}
