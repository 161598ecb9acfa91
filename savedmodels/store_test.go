package savedmodels

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/internal/checkpointserver"
	"github.com/tfconvrnn/go/internal/version"
)

func TestLookup(t *testing.T) {
	require.Len(t, Names(), 20)
	for _, name := range Names() {
		m, err := Lookup(name)
		require.NoError(t, err)
		assert.Equal(t, name, m.Name)
		assert.Equal(t, PublishedURL+"/"+name+"/model.ckpt", m.URL)
		assert.Positive(t, m.Parameters)
	}
	for wrong, near := range map[string]string{
		"ugrnn_intermediat": "ugrnn_intermediate", "UGRNN_SHALLOW": "ugrnn_shallow", "rgc": "rgc_shallow",
		"lstmshallow":                    "lstm_shallow",
		"ugrnn_intermediate_t30_tmaxcnf": "ugrnn_intermediate_t30_tmaxconf",
	} {
		_, err := Lookup(wrong)
		assert.ErrorIs(t, err, ErrUnknownModel)
		assert.ErrorContains(t, err, near)
	}
	for _, wrong := range []string{"", "../../etc/passwd", strings.Repeat("x", 1<<20), "\x00", "ugrnn_shallow "} {
		_, err := Lookup(wrong)
		assert.ErrorIs(t, err, ErrUnknownModel)
	}
}

func TestLayersAndAreas(t *testing.T) {
	shallow, err := Lookup("rgc_shallow")
	require.NoError(t, err)
	intermediate, err := Lookup("rgc_intermediate")
	require.NoError(t, err)
	for _, c := range []struct {
		model *Model
		area  string
		want  []string
	}{
		{&shallow, "V4", []string{"conv3"}},
		{&shallow, "IT", []string{"conv4", "conv5"}},
		{&intermediate, "v4", []string{"conv5", "conv6"}},
		{&intermediate, "pIT", []string{"conv7", "conv8"}},
		{&intermediate, "PIT", []string{"conv7", "conv8"}},
		{&intermediate, "cIT", []string{"conv9", "conv10"}},
		{&intermediate, "ait", []string{"conv9", "conv10"}},
		{&intermediate, "cIT/aIT", []string{"conv9", "conv10"}},
		{&intermediate, "it", []string{"conv7", "conv8", "conv9", "conv10"}},
	} {
		layers, err := c.model.AreaLayers(c.area)
		require.NoError(t, err, c.area)
		assert.Equal(t, c.want, layers, c.area)
	}
	for _, area := range []string{"", "V1", "T", "/", "cIT/"} {
		_, err := shallow.AreaLayers(area)
		assert.ErrorIs(t, err, ErrUnknownLayer, area)
	}
	l, err := intermediate.Layer("conv10")
	require.NoError(t, err)
	assert.Equal(t, Layer{Name: "conv10", Shape: []int{4, 4, 512}, DrivenFrom: 9, ReportedFrom: 10,
		Areas: []string{"cIT/aIT"}}, l)
	_, err = shallow.Layer("conv6")
	assert.ErrorIs(t, err, ErrUnknownLayer)
	assert.ErrorContains(t, err, "conv5")
	assert.ErrorContains(t, err, "rgc_shallow")
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"conv1", "conv10", 1}, {"ab", "ba", 2}} {
		assert.Equal(t, c.want, distance(c.a, c.b), "%s, %s", c.a, c.b)
	}
}

func TestParseWeights(t *testing.T) {
	for s, want := range map[string]Weights{
		"": Trained, "trained": Trained, "seeded:1": Seeded(1), "seeded:18446744073709551615": Seeded(1<<64 - 1),
		"seeded:0": Seeded(0), "ckpts": "ckpts", "./seeded": "./seeded",
	} {
		w, err := ParseWeights(s)
		require.NoError(t, err, s)
		assert.Equal(t, want, w, s)
		again, err := ParseWeights(w.String())
		require.NoError(t, err)
		assert.Equal(t, w, again)
		seed, seeded := w.Seed()
		assert.Equal(t, strings.Contains(s, ":"), seeded, s)
		assert.Equal(t, seeded, w == Seeded(seed), s)
		assert.Equal(t, !seeded && w != Trained, w.Checkpoints() != "", s)
	}
	for _, s := range []string{"seeded", "seeded:", "seeded:x", "seeded:-1", "seeded:1.5", "seeded:18446744073709551616",
		"seeded: 1"} {
		_, err := ParseWeights(s)
		assert.ErrorIs(t, err, ErrWeights, s)
		assert.ErrorContains(t, err, "seeded:1")
	}
}

func seededRequest(seed uint64) Request {
	return Request{Model: one, Weights: Seeded(seed)}
}

func emptyStore(t *testing.T) *Store {
	t.Setenv("TFCONVRNN_CACHE", filepath.Join(t.TempDir(), "cache"))
	t.Setenv(CheckpointsEnv, "")
	s, err := Open(filepath.Join(t.TempDir(), "store"))
	require.NoError(t, err)
	return s
}

func TestGetConvertsOnce(t *testing.T) {
	s := emptyStore(t)
	conversions := 0
	r := seededRequest(1)
	r.Progress = func(done, total int64) {
		if done == total {
			conversions++
		}
	}
	first, err := s.Get(t.Context(), r)
	require.NoError(t, err)
	second, err := s.Get(t.Context(), r)
	require.NoError(t, err)
	assert.Equal(t, first, second)
	assert.Equal(t, 1, conversions)
	require.NoError(t, first.Manifest.Verify(first.Dir))
	list, err := s.List()
	require.NoError(t, err)
	assert.Equal(t, []SavedModel{first}, list)

	// Other weights, times and variants lie beside it.
	for _, other := range []Request{seededRequest(2), {Model: one, Weights: r.Weights, Times: 31},
		{Model: one, Weights: r.Weights, Variant: convert.Plain}} {
		found, err := s.Get(t.Context(), other)
		require.NoError(t, err)
		assert.NotEqual(t, first.Dir, found.Dir)
	}
	list, err = s.List()
	require.NoError(t, err)
	assert.Len(t, list, 4)
}

func TestGetConvertsAgainWhatIsDamaged(t *testing.T) {
	s := emptyStore(t)
	first, err := s.Get(t.Context(), seededRequest(1))
	require.NoError(t, err)
	path := filepath.Join(first.Dir, manifest.Name)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	for name, damage := range map[string]func() error{
		"garbage":           func() error { return os.WriteFile(path, []byte("{"), 0o644) },
		"empty":             func() error { return os.WriteFile(path, nil, 0o644) },
		"missing":           func() error { return os.Remove(path) },
		"a directory":       func() error { _ = os.Remove(path); return os.Mkdir(path, 0o755) },
		"another converter": func() error { return os.WriteFile(path, replace(text, version.Converter), 0o644) },
		"all gone but name": func() error { _ = os.RemoveAll(first.Dir); return os.Mkdir(first.Dir, 0o755) },
		"a file":            func() error { _ = os.RemoveAll(first.Dir); return os.WriteFile(first.Dir, nil, 0o644) },
	} {
		require.NoError(t, damage(), name)
		list, err := s.List()
		require.NoError(t, err)
		if name != "another converter" {
			assert.Empty(t, list, name)
		}
		again, err := s.Get(t.Context(), seededRequest(1))
		require.NoError(t, err, name)
		assert.Equal(t, first, again, name)
		require.NoError(t, again.Manifest.Verify(again.Dir), name)
	}
}

func replace(text []byte, converter string) []byte {
	return []byte(strings.Replace(string(text), fmt.Sprintf(`"converter": %q`, converter), `"converter": "0"`, 1))
}

func TestWhereCheckpointsAreFound(t *testing.T) {
	s := emptyStore(t)
	_, err := s.Get(t.Context(), Request{Model: one})
	require.ErrorIs(t, err, ErrNoWeights)
	assert.ErrorContains(t, err, s.Dir())
	assert.Equal(t, &NoWeightsError{Model: one, Store: s.Dir()}, err)
	_, err = s.Get(t.Context(), Request{Model: "nobody"})
	assert.ErrorIs(t, err, ErrUnknownModel)
	_, err = s.Get(t.Context(), Request{Model: one, Weights: Weights(t.TempDir())})
	assert.ErrorIs(t, err, ErrNoWeights)

	// A directory like the published one, a model's directory, and a prefix.
	var dirs []string
	for _, named := range []string{published, filepath.Join(published, one),
		filepath.Join(published, one, CheckpointName)} {
		found, err := s.Get(t.Context(), Request{Model: one, Weights: Weights(named)})
		require.NoError(t, err, named)
		dirs = append(dirs, found.Dir)
	}
	assert.Equal(t, dirs[0], dirs[1])
	assert.Equal(t, dirs[0], dirs[2])

	// The environment's directory, and the store's own when the checkpoint is gone.
	t.Setenv(CheckpointsEnv, published)
	found, err := s.Get(t.Context(), Request{Model: one})
	require.NoError(t, err)
	assert.Equal(t, dirs[0], found.Dir)
	t.Setenv(CheckpointsEnv, filepath.Join(t.TempDir(), "gone"))
	found, err = s.Get(t.Context(), Request{Model: one})
	require.NoError(t, err)
	assert.Equal(t, dirs[0], found.Dir)
	assert.True(t, found.Manifest.Weights.Untrained, "its values are a seed's")

	// Seeded weights are never taken for trained ones.
	_, err = s.Get(t.Context(), Request{Model: "simplernn_shallow", Weights: Seeded(1)})
	require.NoError(t, err)
	_, err = s.Get(t.Context(), Request{Model: "simplernn_shallow"})
	assert.ErrorIs(t, err, ErrNoWeights)
}

func TestSeveralCheckpointsAreAmbiguous(t *testing.T) {
	s := emptyStore(t)
	var dirs []string
	for seed := range uint64(2) {
		dir := t.TempDir()
		require.NoError(t, checkpointserver.WriteSeeded(dir, one, seed))
		found, err := s.Get(t.Context(), Request{Model: one, Weights: Weights(dir)})
		require.NoError(t, err)
		dirs = append(dirs, found.Dir)
	}
	require.NotEqual(t, dirs[0], dirs[1])
	_, err := s.Get(t.Context(), Request{Model: one})
	require.ErrorIs(t, err, ErrWeights)
	for _, dir := range dirs {
		assert.ErrorContains(t, err, dir)
	}
	require.NoError(t, os.RemoveAll(dirs[0]))
	found, err := s.Get(t.Context(), Request{Model: one})
	require.NoError(t, err)
	assert.Equal(t, dirs[1], found.Dir)
}

func TestDamagedCheckpointLeavesNothing(t *testing.T) {
	s := emptyStore(t)
	dir := t.TempDir()
	require.NoError(t, checkpointserver.WriteSeeded(dir, one, 1))
	path := filepath.Join(dir, one, dataName)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	data[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(path, data, 0o644))
	_, err = s.Get(t.Context(), Request{Model: one, Weights: Weights(dir)})
	require.ErrorIs(t, err, convert.ErrCorrupt)
	_, err = s.Get(t.Context(), Request{Model: "simplernn_shallow", Weights: Weights(filepath.Join(dir, one))})
	require.ErrorIs(t, err, convert.ErrMismatch)
	require.NoError(t, os.Truncate(filepath.Join(dir, one, indexName), 65<<20))
	_, err = s.Get(t.Context(), Request{Model: one, Weights: Weights(dir)})
	require.ErrorIs(t, err, convert.ErrCorrupt)
	list, err := s.List()
	require.NoError(t, err)
	assert.Empty(t, list)
	requireOnlyLock(t, filepath.Join(s.Dir(), one))
}

func requireOnlyLock(t *testing.T, dir string, others ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		if e.Name() != ".lock" {
			names = append(names, e.Name())
		}
	}
	require.ElementsMatch(t, others, names)
}

func TestWaitingIsCancelled(t *testing.T) {
	s := emptyStore(t)
	require.NoError(t, os.MkdirAll(filepath.Join(s.Dir(), one), 0o755))
	unlock, err := lockFile(t.Context(), filepath.Join(s.Dir(), one, ".lock"), "nobody")
	require.NoError(t, err)
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = s.Get(ctx, seededRequest(1))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, "another conversion")
}

func TestGetAtOnceInOneProcess(t *testing.T) {
	s := emptyStore(t)
	var group sync.WaitGroup
	var mu sync.Mutex
	conversions := 0
	for range 6 {
		group.Go(func() {
			r := seededRequest(1)
			r.Progress = func(done, total int64) {
				if done == total {
					mu.Lock()
					conversions++
					mu.Unlock()
				}
			}
			found, err := s.Get(context.Background(), r)
			if assert.NoError(t, err) {
				assert.NoError(t, found.Manifest.Verify(found.Dir))
			}
		})
	}
	group.Wait()
	assert.Equal(t, 1, conversions)
}

// storeEnv makes the test below convert into that store: the other process.
const storeEnv = "TFCONVRNN_TEST_STORE_CHILD"

func TestStoreChild(t *testing.T) {
	dir := os.Getenv(storeEnv)
	if dir == "" {
		t.Skip("it is the other process of tests of the store")
	}
	s, err := Open(dir)
	require.NoError(t, err)
	r := seededRequest(1)
	steps := 0
	r.Progress = func(done, total int64) {
		if steps++; steps == 3 {
			fmt.Println("converting")
			_, _ = io.Copy(io.Discard, os.Stdin) // until the parent lets it go on
		}
	}
	_, err = s.Get(t.Context(), r)
	require.NoError(t, err)
	fmt.Println("done")
}

// startConversion starts a process that holds the store's lock in the middle of a
// conversion until goOn is closed.
func startConversion(t *testing.T, s *Store) (command *exec.Cmd, goOn io.Closer) {
	command = exec.Command(os.Args[0], "-test.run=^TestStoreChild$", "-test.v")
	command.Env = append(os.Environ(), storeEnv+"="+s.Dir())
	in, err := command.StdinPipe()
	require.NoError(t, err)
	out, err := command.StdoutPipe()
	require.NoError(t, err)
	command.Stderr = os.Stderr
	require.NoError(t, command.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "converting") {
			go io.Copy(io.Discard, out)
			return command, in
		}
	}
	t.Fatal("the other process ended early")
	return nil, nil
}

func TestTwoProcessesAtOnce(t *testing.T) {
	s := emptyStore(t)
	child, goOn := startConversion(t, s)
	result := make(chan error, 1)
	conversions := 0
	go func() {
		r := seededRequest(1)
		r.Progress = func(done, total int64) { conversions++ }
		_, err := s.Get(context.Background(), r)
		result <- err
	}()
	select {
	case err := <-result:
		t.Fatalf("it did not wait for the other process: %v", err)
	case <-time.After(3 * lockRetry):
	}
	require.NoError(t, goOn.Close())
	require.NoError(t, <-result)
	require.NoError(t, child.Wait())
	assert.Zero(t, conversions, "what the other process converted is used")
	list, err := s.List()
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.NoError(t, list[0].Manifest.Verify(list[0].Dir))
	requireOnlyLock(t, filepath.Join(s.Dir(), one), filepath.Base(list[0].Dir))
}

func TestLeftoversOfAKilledConversionAreRemoved(t *testing.T) {
	s := emptyStore(t)
	child, _ := startConversion(t, s)
	require.NoError(t, child.Process.Kill())
	require.Error(t, child.Wait())
	leftovers, err := filepath.Glob(filepath.Join(s.Dir(), one, ".*.partial"))
	require.NoError(t, err)
	require.Len(t, leftovers, 1)
	list, err := s.List()
	require.NoError(t, err)
	assert.Empty(t, list, "an unfinished conversion is no SavedModel")
	found, err := s.Get(t.Context(), seededRequest(1))
	require.NoError(t, err)
	require.NoError(t, found.Manifest.Verify(found.Dir))
	requireOnlyLock(t, filepath.Join(s.Dir(), one), filepath.Base(found.Dir))
}

// TestLinksInTheStore: a link that stands for a SavedModel is followed for reading,
// and replaced, not followed, for writing.
func TestLinksInTheStore(t *testing.T) {
	s, other := emptyStore(t), emptyStore(t)
	converted, err := other.Get(t.Context(), seededRequest(1))
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(s.Dir(), one), 0o755))
	link := filepath.Join(s.Dir(), one, filepath.Base(converted.Dir))
	require.NoError(t, os.Symlink(converted.Dir, link))
	found, err := s.Get(t.Context(), seededRequest(1))
	require.NoError(t, err)
	assert.Equal(t, link, found.Dir)

	path := filepath.Join(converted.Dir, manifest.Name)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, replace(text, version.Converter), 0o644))
	_, err = s.Get(t.Context(), seededRequest(1))
	require.NoError(t, err)
	info, err := os.Lstat(link)
	require.NoError(t, err)
	assert.True(t, info.IsDir())
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(replace(text, version.Converter)), string(after), "the link's target is left alone")
}

// TestModes: others may read, only the owner may write, and nothing is executable.
func TestModes(t *testing.T) {
	s := emptyStore(t)
	found, err := s.Get(t.Context(), seededRequest(1))
	require.NoError(t, err)
	require.NoError(t, filepath.Walk(found.Dir, func(path string, info os.FileInfo, err error) error {
		if assert.NoError(t, err) {
			assert.Zero(t, info.Mode().Perm()&0o022, path)
			assert.Equal(t, info.IsDir(), info.Mode().Perm()&0o111 != 0, path)
		}
		return nil
	}))
}
