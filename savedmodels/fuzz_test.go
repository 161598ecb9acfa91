package savedmodels

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzWeightsLock requires that a lock file that is accepted is written as one that
// reads the same, and has nothing but hashes and names.
func FuzzWeightsLock(f *testing.F) {
	sum := strings.Repeat("0123456789abcdef", 4)
	f.Add([]byte(sum + "  ugrnn_shallow/model.ckpt.index\n"))
	f.Add([]byte("# comment\r\n\n" + strings.ToUpper(sum) + "  a  b\r\n"))
	f.Add([]byte(strings.ToUpper(sum) + "  a  b\r\r")) // was written as another name
	f.Add([]byte(sum + " a\n"))
	f.Add([]byte(sum + "  a\n" + sum + "  a\n"))
	path := filepath.Join(f.TempDir(), LockFileName)
	f.Fuzz(func(t *testing.T, data []byte) {
		require.NoError(t, os.WriteFile(path, data, 0o644))
		lock, err := readWeightsLock(path)
		if err != nil {
			return
		}
		for name, sum := range lock {
			require.Len(t, sum, 64)
			require.Equal(t, strings.ToLower(sum), sum)
			require.NotEmpty(t, name)
			require.NotContains(t, name, "\n")
		}
		require.NoError(t, lock.check(path, lock))
		require.NoError(t, os.WriteFile(path, []byte(lock.String()), 0o644))
		again, err := readWeightsLock(path)
		require.NoError(t, err)
		require.Equal(t, lock, again)
	})
}

func TestWeightsLockTwice(t *testing.T) {
	sum := strings.Repeat("0123456789abcdef", 4)
	path := filepath.Join(t.TempDir(), LockFileName)
	require.NoError(t, os.WriteFile(path, []byte(sum+"  a\n"+strings.ToUpper(sum)+"  a\r\n"), 0o644))
	lock, err := readWeightsLock(path) // the same hash, whatever its case
	require.NoError(t, err)
	require.Equal(t, weightsLock{"a": sum}, lock)
	require.NoError(t, os.WriteFile(path, []byte(sum+"  a\n"+strings.Repeat("0", 64)+"  a\n"), 0o644))
	_, err = readWeightsLock(path)
	require.ErrorContains(t, err, "line 2: a is there twice, with different hashes")
}

// FuzzNames gives anything to what reads names from the command line.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"", "trained", "seeded:1", "seeded:x", "ugrnn_intermediate", "IT", "cIT/aIT", "conv10",
		"../.."} {
		f.Add(s)
	}
	m, err := Lookup(one)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, s string) {
		if w, err := ParseWeights(s); err == nil {
			again, err := ParseWeights(w.String())
			require.NoError(t, err)
			require.Equal(t, w, again)
		} else {
			require.ErrorIs(t, err, ErrWeights)
		}
		if found, err := Lookup(s); err == nil {
			require.Equal(t, s, found.Name)
		} else {
			require.ErrorIs(t, err, ErrUnknownModel)
		}
		if layers, err := m.AreaLayers(s); err == nil {
			require.NotEmpty(t, layers)
		}
		_, _ = m.Layer(s)
	})
}
