package extraction

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/version"
	"github.com/tfconvrnn/go/recordings"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// gramsRequest asks for the Gram matrices of conv5, with a window, and imnetds.
func gramsRequest(table, output string) *Request {
	q := testRequest(table, output, 4)
	q.Grams = &Grams{Windows: []compare.Bin{{Start: 30, End: 60}}}
	return q
}

// gramsPlan makes a plan and begins it.
func gramsPlan(t *testing.T, q *Request, name string) *Plan {
	t.Helper()
	p, err := NewPlan(t.Context(), name, q, RunOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { p.Close() })
	return p
}

// compute has a worker that does not use a model write chunks.
func compute(t *testing.T, p *Plan, first, end int) {
	t.Helper()
	require.NoError(t, p.newWorker(WorkerOptions{}, fakeEngine(p, func() {})).Work(t.Context(), chunkRange(first, end),
		nil))
}

// folder lists a folder.
func folder(t *testing.T, name string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(name)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// wholeGrams makes one.grams in one process, whose matrices are those of the features, and returns its content.
func wholeGrams(t *testing.T, dir, table string) map[string]string {
	t.Helper()
	q := gramsRequest(table, filepath.Join(dir, "one.grams"))
	q.Grams.KeepFeatures = true
	d, err := Prepare(t.Context(), q)
	require.NoError(t, err)
	defer d.Close()
	require.NoError(t, d.complete(nil))
	var made int64
	result, err := d.runStore(t.Context(), RunOptions{Multiplied: func(done, _ int64) { made = done }}.defaults(),
		dying(1000))
	require.NoError(t, err)
	assert.Len(t, result.Skipped, 5)
	want := content(t, filepath.Join(dir, "one.grams"))
	for _, file := range []string{"grams.json", "manifest.sha256", "sealed.json", "conv5-30-60.gram", "conv5-70-80.gram",
		"imnetds-70-80.gram"} {
		assert.Contains(t, want, file)
	}
	store, err := recordings.OpenFeatures(filepath.Join(dir, "one.grams.zarr"))
	require.NoError(t, err)
	defer store.Close()
	direct := filepath.Join(dir, "direct")
	_, err = compare.MakeGrams(t.Context(), direct, store, compare.GramFolderOptions{
		Windows: []compare.Bin{{Start: 30, End: 60}}, About: store.Provenance()})
	require.NoError(t, err)
	of := maps.Clone(want)
	delete(of, manifestName)
	delete(of, sealName)
	assert.Equal(t, content(t, direct), of)
	assert.Equal(t, len(of)-1, int(made))
	require.NoError(t, VerifyStore(t.Context(), filepath.Join(dir, "one.grams")))
	return want
}

// Gram matrices that workers make of a plan, of which one is interrupted, are to the byte those of one process; nothing
// else is left.
func TestGramMatricesOfPlan(t *testing.T) {
	dir := fastFolder(t)
	table := writeStimuli(t, dir, 37, true)
	want := wholeGrams(t, dir, table)
	p := gramsPlan(t, gramsRequest(table, filepath.Join(dir, "many.grams")), filepath.Join(dir, "many.plan"))
	assert.Equal(t, len(want)-3, p.Matrices())
	compute(t, p, 4, p.Chunks())
	_, err := p.Finish(t.Context(), nil)
	require.ErrorIs(t, err, ErrIncomplete)
	worked, err := p.Work(t.Context(), 1, 2, WorkOptions{})
	require.NoError(t, err)
	assert.Equal(t, 4, worked.Awaited, "the features of the other shard come first")
	compute(t, p, 0, 4)

	ctx, cancel := context.WithCancel(t.Context())
	_, err = p.Work(ctx, 1, 2, WorkOptions{Multiplied: func(int64, int64) { cancel() }})
	require.ErrorIs(t, err, context.Canceled)
	status, err := p.Status(t.Context(), true)
	require.NoError(t, err)
	assert.Equal(t, status.Chunks, status.Done)
	assert.Equal(t, p.Matrices(), status.Matrices)
	assert.Equal(t, 1, status.MatricesDone, "the one that was made when the worker was stopped")
	worked, err = p.Work(t.Context(), 1, 2, WorkOptions{})
	require.NoError(t, err)
	half := p.Matrices() / 2
	assert.Equal(t, p.Matrices()-half-1, worked.Matrices)
	assert.Equal(t, half, worked.MatricesMissing)
	assert.False(t, worked.Sealed)
	require.NoError(t, p.Wait(t.Context(), nil), "the features are there")
	p.Provenance.Software = "tfconvrnn 0.0.0"
	_, err = p.Work(t.Context(), 0, 2, WorkOptions{})
	require.ErrorIs(t, err, ErrModel)
	p.Provenance.Software = version.Software
	worked, err = p.Work(t.Context(), 0, 2, WorkOptions{})
	require.NoError(t, err)
	assert.Equal(t, half, worked.Matrices)

	// One that is damaged afterwards is made again.
	damaged := filepath.Join(p.grams.chunks.String(), "conv5-70-80.gram")
	bytes, err := os.ReadFile(damaged)
	require.NoError(t, err)
	bytes[len(bytes)/2] ^= 1
	require.NoError(t, os.WriteFile(damaged, bytes, 0o666))
	finished, err := p.Finish(t.Context(), nil)
	require.NoError(t, err)
	assert.False(t, finished.Already)
	assert.Equal(t, p.Matrices(), finished.Matrices)
	assert.Equal(t, want, content(t, filepath.Join(dir, "many.grams")))
	assert.Empty(t, slices.DeleteFunc(folder(t, dir), func(name string) bool {
		return !strings.HasPrefix(name, "many.grams") || name == "many.grams"
	}), "the features, and what only workers need, are gone")
	again, err := p.Finish(t.Context(), nil)
	require.NoError(t, err)
	assert.True(t, again.Already)
	worked, err = p.Work(t.Context(), 0, 2, WorkOptions{})
	require.NoError(t, err)
	assert.True(t, worked.Sealed)
	status, err = p.Status(t.Context(), true)
	require.NoError(t, err)
	assert.Equal(t, p.Matrices(), status.Sealed.Matrices)
}

// Any number of processes work and finish at once.
func TestGramMatricesAtOnce(t *testing.T) {
	dir := fastFolder(t)
	table, out, name := writeStimuli(t, dir, 37, true), filepath.Join(dir, "x.grams"), filepath.Join(dir, "x.plan")
	want := wholeGrams(t, dir, table)
	p := gramsPlan(t, gramsRequest(table, out), name)
	compute(t, p, 0, p.Chunks())
	var group errgroup.Group
	for i := range 6 {
		group.Go(func() error {
			p, err := Open(t.Context(), name)
			if err != nil {
				return err
			}
			defer p.Close()
			if _, err := p.Work(t.Context(), i%2, 2, WorkOptions{}); err != nil || i%3 > 0 {
				return err
			}
			_, err = p.Finish(t.Context(), nil)
			return err
		})
	}
	require.NoError(t, group.Wait())
	assert.Equal(t, want, content(t, out))
	finished, err := p.Finish(t.Context(), nil)
	require.NoError(t, err)
	assert.True(t, finished.Already)
	left, err := filepath.Glob(out + "*")
	require.NoError(t, err)
	assert.Equal(t, []string{out}, left)
}

// A chunk of features that is damaged is found before matrices are made of it.
func TestGramMatricesOfDamagedFeatures(t *testing.T) {
	dir := fastFolder(t)
	p := gramsPlan(t, gramsRequest(writeStimuli(t, dir, 37, false), filepath.Join(dir, "x.grams")),
		filepath.Join(dir, "x.plan"))
	compute(t, p, 0, p.Chunks())
	record, err := p.Record(t.Context(), 3)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(p.place.chunks.String(), record.Files[0].Name), []byte{1}, 0o666))
	_, err = p.Work(t.Context(), 0, 1, WorkOptions{})
	var incomplete *IncompleteError
	require.ErrorAs(t, err, &incomplete)
	assert.Equal(t, []int{3}, incomplete.Corrupt)
	compute(t, p, 3, 4)
	worked, err := p.Work(t.Context(), 0, 1, WorkOptions{})
	require.NoError(t, err)
	assert.Equal(t, p.Matrices(), worked.Matrices)
}

// An output of Gram matrices is one plan's at a time, also when its features are complete, and a plan of the same
// content goes on with them.
func TestGramMatricesOfOtherPlan(t *testing.T) {
	dir := fastFolder(t)
	table, out := writeStimuli(t, dir, 37, false), filepath.Join(dir, "x.grams")
	first := gramsPlan(t, gramsRequest(table, out), filepath.Join(dir, "first.plan"))
	compute(t, first, 0, first.Chunks())
	other := gramsRequest(table, out)
	other.Grams.Windows = nil
	_, err := NewPlan(t.Context(), filepath.Join(dir, "second.plan"), other, RunOptions{})
	require.ErrorIs(t, err, ErrOtherPlan)
	ctx, cancel := context.WithCancel(t.Context())
	_, err = first.Work(ctx, 0, 1, WorkOptions{Multiplied: func(int64, int64) { cancel() }})
	require.ErrorIs(t, err, context.Canceled)
	_, err = NewPlan(t.Context(), filepath.Join(dir, "second.plan"), other, RunOptions{})
	require.ErrorIs(t, err, features.ErrExists)

	same := gramsPlan(t, gramsRequest(table, out), filepath.Join(dir, "same.plan"))
	worked, err := same.Work(t.Context(), 0, 1, WorkOptions{})
	require.NoError(t, err)
	assert.Equal(t, same.Matrices()-1, worked.Matrices)

	other.Replace = true
	taken, err := NewPlan(t.Context(), filepath.Join(dir, "second.plan"), other, RunOptions{Replace: true})
	require.NoError(t, err)
	defer taken.Close()
	_, err = first.Work(t.Context(), 0, 1, WorkOptions{})
	require.ErrorIs(t, err, ErrOtherPlan)
	_, err = first.Finish(t.Context(), nil)
	require.ErrorIs(t, err, ErrOtherPlan)
	compute(t, taken, 0, taken.Chunks())
	finished, err := taken.Finish(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, first.Matrices()-2, finished.Matrices, "without the window of two layers")
	require.NoError(t, VerifyStore(t.Context(), out))

	_, err = NewPlan(t.Context(), filepath.Join(dir, "third.plan"), gramsRequest(table, out), RunOptions{})
	require.ErrorIs(t, err, features.ErrExists)
}

// A run of one process that is interrupted while it multiplies goes on.
func TestGramMatricesGoOn(t *testing.T) {
	dir := fastFolder(t)
	q := gramsRequest(writeStimuli(t, dir, 37, false), filepath.Join(dir, "x.grams"))
	run := func(ctx context.Context, options RunOptions) error {
		d, err := Prepare(t.Context(), q)
		require.NoError(t, err)
		defer d.Close()
		require.NoError(t, d.complete(nil))
		_, err = d.runStore(ctx, options.defaults(), dying(1000))
		return err
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := run(ctx, RunOptions{Multiplied: func(int64, int64) { cancel() }})
	var kept *KeptError
	require.ErrorAs(t, err, &kept)
	require.ErrorIs(t, err, context.Canceled)
	resuming, err := CheckOutput(t.Context(), q.Output, RunOptions{Resume: true})
	require.NoError(t, err)
	assert.True(t, resuming)
	made := 0
	require.NoError(t, run(t.Context(), RunOptions{Resume: true, Multiplied: func(int64, int64) { made++ }}))
	assert.Positive(t, made)
	require.NoError(t, VerifyStore(t.Context(), q.Output))
	left := folder(t, dir)
	assert.Contains(t, left, "x.grams")
	assert.False(t, slices.ContainsFunc(left, func(name string) bool { return strings.HasPrefix(name, "x.grams.") }), left)
}

// A window that a layer's features do not cover is told of, before anything is computed.
func TestGramWindowsLeftOut(t *testing.T) {
	q := gramsRequest(writeStimuli(t, t.TempDir(), 3, false), filepath.Join(t.TempDir(), "x.grams"))
	q.AllTimesteps, q.Layers = false, []string{"conv4", "conv5"}
	q.Grams.Windows = []compare.Bin{{Start: 40, End: 80}, {Start: 60, End: 80}}
	var told []string
	q.Inputs.Warn = func(message string) { told = append(told, message) }
	draft, err := Prepare(t.Context(), q)
	require.NoError(t, err)
	require.NoError(t, draft.Close())
	require.Len(t, told, 1)
	assert.Contains(t, told[0], "there is no matrix of 40-80 ms for conv5 (")
}

// What cannot become Gram matrices is refused before anything is computed.
func TestGramMatricesThatCannotBe(t *testing.T) {
	table := writeStimuli(t, t.TempDir(), 3, false)
	for why, change := range map[string]func(*Request){
		"not in an object store": func(q *Request) { q.Output = "s3://bucket/x.grams" },
		"no layer has features of all of 70-170 ms": func(q *Request) {
			q.Grams.Windows[0] = compare.Bin{Start: 70, End: 170}
		},
		"no layer has features over time": func(q *Request) {
			q.Layers, q.Logits, q.Reductions, q.Grams.Windows = nil, true, nil, nil
		},
	} {
		q := gramsRequest(table, filepath.Join(t.TempDir(), "x.grams"))
		change(q)
		_, err := Prepare(t.Context(), q)
		require.ErrorIs(t, err, tfconvrnn.ErrOption, why)
		assert.ErrorContains(t, err, why)
	}
}
