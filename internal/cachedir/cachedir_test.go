package cachedir

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRootPrefersOwnVariable(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(Env, dir)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	root, err := Root()
	require.NoError(t, err)
	assert.Equal(t, dir, root)
}

func TestRootMakesPathAbsolute(t *testing.T) {
	t.Setenv(Env, "relative")
	root, err := Root()
	require.NoError(t, err)
	wd, err := os.Getwd()
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(wd, "relative"), root)
}

func TestRootFollowsUserCacheDir(t *testing.T) {
	t.Setenv(Env, "")
	base, err := os.UserCacheDir()
	require.NoError(t, err)
	root, err := Root()
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(base, "tfconvrnn"), root)
}

func TestRootWithoutAnyVariable(t *testing.T) {
	t.Setenv(Env, "")
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	_, err := Root()
	if err == nil {
		t.Skip("this system names a cache directory without HOME")
	}
	assert.ErrorContains(t, err, Env)
	_, err = Store()
	assert.Error(t, err)
	_, err = Runtime("1.0", CPU)
	assert.Error(t, err)
}

func TestLayout(t *testing.T) {
	root := t.TempDir()
	t.Setenv(Env, root)
	runtime, err := Runtime("2.21.0", CPU)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(root, "runtime", "2.21.0-cpu"), runtime)
	store, err := Store()
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(root, "savedmodels"), store)
}

func TestRuntimeRefusesPathParts(t *testing.T) {
	t.Setenv(Env, t.TempDir())
	for _, bad := range [][2]string{{"../2", CPU}, {"2.21.0", "a/b"}, {"", CPU}, {"2", ""}, {`2\3`, CPU}, {"..", CPU}} {
		_, err := Runtime(bad[0], bad[1])
		assert.Error(t, err, "%q", bad)
	}
}
