package extraction

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Computed features are where there is room for them.
func TestWhereDeferredFeaturesAre(t *testing.T) {
	out := filepath.Join(t.TempDir(), "features.npz")
	keep := func(size int64, asked Keep) (Keep, error) {
		d := &Draft{size: size}
		d.recipe.Output = out
		return (&deferred{Draft: d, o: DeferredOptions{Memory: 1 << 20, Keep: asked}}).keep()
	}
	const small, large, endless = 1 << 20, 1<<20 + 1, 1 << 62
	for _, c := range []struct {
		size        int64
		asked, want Keep
	}{
		{small, KeepAuto, KeepInMemory}, {large, KeepAuto, KeepInFile}, {endless, KeepAuto, KeepNowhere},
		{small, "", KeepInMemory}, {small, KeepNowhere, KeepNowhere}, {small, KeepInFile, KeepInFile},
		{large, KeepInMemory, KeepInMemory}, {endless, KeepInFile, KeepInFile},
	} {
		got, err := keep(c.size, c.asked)
		require.NoError(t, err)
		assert.Equal(t, c.want, got, "%d bytes, %q", c.size, c.asked)
	}
	_, err := keep(endless, KeepInMemory)
	assert.ErrorIs(t, err, compare.ErrRoom)
	_, err = keep(small, "elsewhere")
	assert.ErrorIs(t, err, tfconvrnn.ErrOption)
	require.NoError(t, os.WriteFile(out+".journal", nil, 0o666))
	got, err := keep(small, KeepAuto)
	require.NoError(t, err)
	assert.Equal(t, KeepInFile, got, "an interrupted run goes on")
}
