package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/local"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// laboratory is what all tests use: the command line tool, pictures, a store of
// converted models.
var laboratory struct {
	cli, models string
	missing     error // the runtime
}

func TestMain(m *testing.M) {
	flag.Parse()
	beam.Init()
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "beam-test-*")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		laboratory.cli, laboratory.models = filepath.Join(dir, "tfconvrnn-cli"), filepath.Join(dir, "models")
		if laboratory.missing = tfconvrnn.RuntimeError(); laboratory.missing == nil {
			build := exec.Command("go", "build", "-o", laboratory.cli, "./cmd/tfconvrnn-cli")
			build.Dir = "../../.."
			if out, err := build.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "%v: %s\n", err, out)
				return 1
			}
		}
		return m.Run()
	}())
}

// extraction makes a folder with pictures and a plan of them, in chunks of two, and
// the store that the command line tool makes of the same.
type planned struct {
	dir, plan, store, reference string
}

func newPlan(t *testing.T, arguments ...string) *planned {
	t.Helper()
	if laboratory.missing != nil {
		require.NotEqual(t, "1", os.Getenv("TFCONVRNN_REQUIRE_RUNTIME"), "%v", laboratory.missing)
		t.Skip("needs libtensorflow:", laboratory.missing)
	}
	dir := t.TempDir()
	p := &planned{dir, filepath.Join(dir, "it.plan"), filepath.Join(dir, "it.zarr"), filepath.Join(dir, "reference.zarr")}
	pictures := filepath.Join(dir, "pictures")
	require.NoError(t, os.CopyFS(pictures, os.DirFS("../../../testdata/pictures")))
	for i, name := range []string{"astronaut.png", "rocket.jpg", "coffee.png"} { // seven: the last chunk is a short one
		data, err := os.ReadFile(filepath.Join(pictures, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(pictures, fmt.Sprintf("copy%d%s", i, filepath.Ext(name))), data, 0o666))
	}
	for i := range arguments { // what the tests put among the pictures
		if arguments[i] == "broken" {
			data, err := os.ReadFile(filepath.Join(pictures, "chelsea.png"))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(pictures, "broken.png"), data[:len(data)/2], 0o666))
			arguments = append(arguments[:i:i], arguments[i+1:]...)
			break
		}
	}
	same := append([]string{"--model", "timedecay_shallow", "--weights", "seeded:1", "--store", laboratory.models,
		"--layers", "conv5,imnetds",
		"--include-logits", "--batch", "2", "--chunk", "2", "--quiet"}, arguments...)
	p.cli(t, append(append([]string{"extract", "--out", p.reference}, same...), pictures)...)
	p.cli(t, append(append([]string{"extract", "plan", "--plan", p.plan, "--out", p.store}, same...), pictures)...)
	return p
}

func (p *planned) cli(t *testing.T, arguments ...string) {
	t.Helper()
	out, err := exec.Command(laboratory.cli, arguments...).CombinedOutput()
	require.NoError(t, err, "%v: %s", arguments, out)
}

// run runs the pipeline on Prism, in this process, and returns the counters.
func (p *planned) run(t *testing.T) (map[string]int64, error) {
	t.Helper()
	pipeline, s := beam.NewPipelineWithRoot()
	Build(s, Options{
		Plan: p.plan, Attempts: 3, Failures: filepath.Join(p.dir, "failures.jsonl"),
		Load: Load{Store: laboratory.models, Concurrency: 2},
	})
	result, err := beam.Run(context.Background(), "prism", pipeline)
	if err != nil {
		return nil, err
	}
	counts := map[string]int64{}
	results := result.Metrics()
	all := results.AllMetrics()
	for _, c := range all.Counters() {
		if c.Key.Namespace == Namespace {
			counts[c.Key.Name] += max(c.Committed, c.Attempted)
		}
	}
	return counts, nil
}

func (p *planned) failures(t *testing.T) []Failure {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "failures.jsonl"))
	require.NoError(t, err)
	list := []Failure{}
	for _, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var f Failure
		require.NoError(t, json.Unmarshal(line, &f))
		list = append(list, f)
	}
	return list
}

// files returns the contents of a folder.
func files(t *testing.T, folder string) map[string]string {
	t.Helper()
	contents := map[string]string{}
	require.NoError(t, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		contents[path[len(folder):]] = string(data)
		return err
	}))
	require.NotEmpty(t, contents)
	return contents
}

// requireSameStore compares the pipeline's store with the command line tool's, byte
// for byte.
func (p *planned) requireSameStore(t *testing.T) {
	t.Helper()
	want, got := files(t, p.reference), files(t, p.store)
	for name := range want {
		require.Contains(t, got, name)
		require.True(t, want[name] == got[name], name)
	}
	require.Len(t, got, len(want))
}

// hook sets what happens when a model is loaded and before a chunk is computed.
func hook(t *testing.T, loaded func(), chunk func(int)) {
	before := testHook
	t.Cleanup(func() { testHook = before })
	testHook.loaded, testHook.chunk = loaded, chunk
}

func TestSameStoreAsCommandLine(t *testing.T) {
	p := newPlan(t)
	var loads atomic.Int32
	hook(t, func() { loads.Add(1) }, func(int) {})
	counts, err := p.run(t)
	require.NoError(t, err)
	p.requireSameStore(t)
	assert.Equal(t, map[string]int64{CountChunks: 4, CountStimuli: 7, CountSealed: 1}, counts)
	assert.Empty(t, p.failures(t))
	assert.EqualValues(t, 1, loads.Load(), "one model for all bundles of a process")
	require.NoError(t, Close())
	assert.Empty(t, process.models)

	// Again: there is nothing to do.
	counts, err = p.run(t)
	require.NoError(t, err)
	assert.Equal(t, map[string]int64{CountSealed: 1}, counts)
	require.NoError(t, Close())
}

// Prism does not try a bundle again; the DoFn does.
func TestChunkThatPanicsOnceIsTriedAgain(t *testing.T) {
	p := newPlan(t)
	var once sync.Once
	hook(t, func() {}, func(chunk int) {
		if chunk == 1 {
			once.Do(func() { panic("a bug, once") })
		}
	})
	counts, err := p.run(t)
	require.NoError(t, err)
	require.NoError(t, Close())
	p.requireSameStore(t)
	assert.Equal(t, map[string]int64{CountChunks: 4, CountStimuli: 7, CountRetries: 1, CountSealed: 1}, counts)
	assert.Empty(t, p.failures(t))
}

func TestChunkThatAlwaysPanicsIsAFailure(t *testing.T) {
	p := newPlan(t)
	spoiled := true
	hook(t, func() {}, func(chunk int) {
		if chunk == 2 && spoiled {
			panic("a bug, always")
		}
	})
	counts, err := p.run(t)
	require.NoError(t, err)
	assert.Equal(t, map[string]int64{CountChunks: 3, CountStimuli: 5, CountRetries: 2, CountFailures: 1,
		CountIncomplete: 1}, counts)
	failures := p.failures(t)
	require.Len(t, failures, 1)
	assert.Equal(t, 2, failures[0].Chunk)
	assert.Equal(t, -1, failures[0].Row)
	assert.Contains(t, failures[0].Error, "a bug, always")
	assert.NoDirExists(t, p.store)

	spoiled = false // what is missing is made good
	counts, err = p.run(t)
	require.NoError(t, err)
	require.NoError(t, Close())
	p.requireSameStore(t)
	assert.Equal(t, map[string]int64{CountChunks: 4, CountStimuli: 7, CountSealed: 1}, counts)
}

func TestPoisonedPictureGoesToFailures(t *testing.T) {
	p := newPlan(t, "broken", "--on-error", "skip")
	counts, err := p.run(t)
	require.NoError(t, err)
	require.NoError(t, Close())
	p.requireSameStore(t)
	assert.Equal(t, map[string]int64{CountChunks: 4, CountStimuli: 8, CountFailures: 1, CountSealed: 1}, counts)
	failures := p.failures(t)
	require.Len(t, failures, 1)
	assert.Equal(t, "broken.png", filepath.Base(failures[0].Stimulus))
	assert.Equal(t, 1, failures[0].Row)
	assert.NotEmpty(t, failures[0].Error)
}

// Without --on-error skip the chunk fails as a whole.
func TestPoisonedPictureOfAStrictPlanFailsItsChunk(t *testing.T) {
	p := newPlan(t)
	broken := filepath.Join(p.dir, "pictures", "chelsea.png")
	data, err := os.ReadFile(broken)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(broken, data[:len(data)/2], 0o666))
	counts, err := p.run(t)
	require.NoError(t, Close())
	require.Error(t, err, "%v", counts) // it is not the picture that was planned
	require.ErrorContains(t, err, "chelsea.png")
}

func TestMissingPlanFailsThePipeline(t *testing.T) {
	p := &planned{dir: t.TempDir(), plan: filepath.Join(t.TempDir(), "it.plan")}
	_, err := p.run(t)
	require.ErrorContains(t, err, "it.plan")
}
