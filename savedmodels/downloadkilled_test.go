package savedmodels

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/internal/bundle"
	"github.com/tfconvrnn/go/internal/checkpointserver"
	"github.com/tfconvrnn/go/internal/fetchfile"
)

// childEnv makes the test binary download: "<from>|<root>|<models, joined by commas>".
const childEnv = "TFCONVRNN_TEST_CHILD"

func child() int {
	parts := strings.Split(os.Getenv(childEnv), "|")
	from, root, models := parts[0], parts[1], strings.Split(parts[2], ",")
	store, err := Open(filepath.Join(root, "store"))
	if err == nil {
		_, err = store.Download(context.Background(), DownloadOptions{
			Models: models, From: from, Checkpoints: filepath.Join(root, "checkpoints"),
			fetch: fetchfile.Options{Pause: time.Millisecond},
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func startChild(t *testing.T, from, root string, models []string, environment ...string) *exec.Cmd {
	executable, err := os.Executable()
	require.NoError(t, err)
	command := exec.Command(executable)
	command.Env = append(append(os.Environ(), childEnv+"="+from+"|"+root+"|"+strings.Join(models, ",")), environment...)
	command.Stderr = os.Stderr
	require.NoError(t, command.Start())
	return command
}

// TestKilled kills 30 downloads of four models at random times: whatever is there
// is whole, and in the end a download completes.
func TestKilled(t *testing.T) {
	t.Parallel()
	const kills = 30
	server := checkpointserver.New(published)
	defer server.Close()
	server.BytesPerSecond = 32 << 20
	p := newPlace(t, server.URL, small...)
	root := filepath.Dir(p.checkpoints)
	random := rand.New(rand.NewPCG(30, 6))
	states := map[string]int{}
	for range kills {
		command := startChild(t, server.URL, root, small)
		time.Sleep(time.Duration(50+random.IntN(900)) * time.Millisecond)
		require.NoError(t, command.Process.Kill())
		_ = command.Wait()
		checkpoints, savedModels := p.requireWhole(t)
		states[fmt.Sprintf("%d checkpoints, %d SavedModels", len(checkpoints), len(savedModels))]++
		if len(savedModels) == len(small) { // begin anew
			require.NoError(t, os.RemoveAll(p.checkpoints))
			require.NoError(t, os.RemoveAll(p.store.dir))
		}
	}
	t.Logf("states after %d kills: %v", kills, states)
	server.BytesPerSecond = 0
	command := startChild(t, server.URL, root, small)
	require.NoError(t, command.Wait())
	checkpoints, savedModels := p.requireWhole(t)
	assert.Equal(t, small, checkpoints)
	assert.ElementsMatch(t, small, savedModels)
	entries, err := os.ReadDir(p.checkpoints)
	require.NoError(t, err)
	for _, e := range entries {
		assert.NotContains(t, e.Name(), partialSuffix)
	}
}

// TestBitFlips flips a bit at each of 1,000 random offsets of a checkpoint.
func TestBitFlips(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	prefix := filepath.Join(dir, CheckpointName)
	data, index := read(t, one, dataName), read(t, one, indexName)
	require.NoError(t, os.WriteFile(filepath.Join(dir, dataName), data, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, indexName), index, 0o644))
	lock := weightsLock{}
	sums, _, err := hashFiles(t.Context(), dir)
	require.NoError(t, err)
	for name, sum := range sums {
		lock[name] = sum
	}
	f, err := os.OpenFile(filepath.Join(dir, dataName), os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	r, err := bundle.Open(prefix)
	require.NoError(t, err)
	defer r.Close()
	random := rand.New(rand.NewPCG(1000, 6))
	inIndex, byLock := 0, 0
	for range 1000 {
		// The index is a thousandth of the checkpoint: it gets a fifth of the flips.
		if random.IntN(5) == 0 {
			inIndex++
			flipped := append([]byte(nil), index...)
			flipped[random.IntN(len(index))] ^= 1 << random.IntN(8)
			require.NoError(t, os.WriteFile(filepath.Join(dir, indexName), flipped, 0o644))
			opened, err := bundle.ReadIndex(prefix)
			if err == nil {
				err = fits(one, prefix, opened)
			}
			if err == nil {
				// No checksum in the checkpoint covers these bytes, so only the lock
				// file tells that they changed.
				byLock++
				sums, _, hashErr := hashFiles(t.Context(), dir)
				require.NoError(t, hashErr)
				err = lock.check("weights.lock", weightsLock(sums))
			}
			require.Error(t, err)
			continue
		}
		offset := random.IntN(len(data))
		bit := byte(1) << random.IntN(8)
		_, err := f.WriteAt([]byte{data[offset] ^ bit}, int64(offset))
		require.NoError(t, err)
		found := false
		for _, e := range r.Entries() {
			if int64(offset) >= e.Offset && int64(offset) < e.Offset+e.Size {
				_, err := r.ReadFloat32(e.Name)
				require.ErrorIs(t, err, convert.ErrCorrupt, "offset %d", offset)
				found = true
			}
		}
		require.True(t, found, "offset %d belongs to no tensor", offset)
		_, err = f.WriteAt([]byte{data[offset]}, int64(offset))
		require.NoError(t, err)
	}
	t.Logf("%d flips in the index, %d of them in bytes that only the lock file covers; %d in the data", inIndex, byLock,
		1000-inIndex)
	require.NoError(t, r.VerifyAll(t.Context(), nil))
	_, err = manifest.Read(dir)
	assert.ErrorIs(t, err, fs.ErrNotExist)
}
