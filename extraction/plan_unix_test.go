//go:build unix

package extraction

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// created makes a plan of a table and opens it.
func created(t testing.TB, request *Request) *Plan {
	t.Helper()
	name := filepath.Join(t.TempDir(), "test.plan")
	require.NoError(t, Create(t.Context(), name, request, false))
	p, err := Open(t.Context(), name)
	require.NoError(t, err)
	t.Cleanup(func() { p.Close() })
	return p
}

func all(t testing.TB, p *Plan) (list []stimuli.Record) {
	t.Helper()
	require.NoError(t, p.records().each(t.Context(), 0, p.Stimuli, func(r *stimuli.Record) error {
		list = append(list, *r)
		return nil
	}))
	return list
}

// A plan holds what stimuli.Find finds: ids, columns and their types, and the hashes.
func TestPlanHoldsTheStimuli(t *testing.T) {
	dir := t.TempDir()
	table := writeStimuli(t, dir, 9000, false)
	more := filepath.Join(dir, "more.csv")
	require.NoError(t, os.WriteFile(more, []byte("path,number,other\n0.png,,x\n1.png,7,\n1.png,8,\n"), 0o666))
	folder := filepath.Join(dir, "folder")
	for i, name := range []string{"a/0.png", "b/0.png", "1.png"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte{byte(i)}, 0o666))
	}
	inputs := []string{table, more, folder, filepath.Join(folder, "1.png"), filepath.Join(dir, "1.png")}
	request := testRequest(table, filepath.Join(dir, "x.zarr"), 4)
	request.Inputs.Inputs = inputs
	p := created(t, request)
	found, summary, err := stimuli.Find(t.Context(), stimuli.Options{Inputs: inputs})
	require.NoError(t, err)
	records := all(t, p)
	require.Len(t, records, len(found))
	fingerprint := sha256.New()
	for i, r := range records {
		require.Equal(t, found[i].ID, r.ID)
		data, err := os.ReadFile(r.Picture)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("%x", sha256.Sum256(data)), r.SHA256)
		fmt.Fprintf(fingerprint, "%q %s\n", r.ID, r.SHA256)
	}
	assert.Equal(t, fmt.Sprintf("%x", fingerprint.Sum(nil)), p.Provenance.StimuliSHA256)
	require.Len(t, p.Columns, 2+len(summary.Columns))
	for i, name := range summary.Columns {
		assert.Equal(t, name, p.Columns[2+i].Name)
		assert.Equal(t, summary.Kinds[i], p.Columns[2+i].Kind, name)
	}

	// The store's columns, written piece by piece, are those of the whole.
	written := map[string][]byte{}
	require.NoError(t, p.writeColumns(t.Context(), func(name string, content []byte) error {
		written[name] = slices.Clone(content)
		return nil
	}))
	content, err := p.content()
	require.NoError(t, err)
	require.NoError(t, p.readColumns(content, func(each func([]stimuli.Record) error) error { return each(records) }))
	layout, err := content.Layout(features.Zarr)
	require.NoError(t, err)
	whole, err := features.NewZarrStore(layout, features.Options{ChunkRows: p.ZarrChunkRows})
	require.NoError(t, err)
	compared := 0
	require.NoError(t, whole.Files(func(name string, content []byte) error {
		if other, ok := written[name]; ok {
			compared++
			assert.Equal(t, content, other, name)
		}
		return nil
	}))
	assert.Equal(t, len(written), compared)

	// The stimuli themselves decide what the plan is, not where they lie.
	moved := filepath.Join(t.TempDir(), filepath.Base(dir)) // ids made of paths have the folder's name
	require.NoError(t, os.Rename(dir, moved))
	for i := range inputs {
		inputs[i] = strings.Replace(inputs[i], dir, moved, 1)
	}
	request.Output = filepath.Join(moved, "y.zarr")
	again := created(t, request)
	assert.Equal(t, p.Hash(), again.Hash())
	request.BatchSize = 5
	assert.NotEqual(t, p.Hash(), created(t, request).Hash())
}

func TestGivenIDsMustDiffer(t *testing.T) {
	dir := t.TempDir()
	writeStimuli(t, dir, 3, false)
	table := filepath.Join(dir, "twice.csv")
	require.NoError(t, os.WriteFile(table, []byte("path,stimulus_id\n0.png,a\n1.png,b\n2.png,a\n"), 0o666))
	err := Create(t.Context(), filepath.Join(dir, "p.plan"), testRequest(table, filepath.Join(dir, "x.zarr"), 4), false)
	assert.ErrorIs(t, err, stimuli.ErrDuplicate)
	assert.ErrorContains(t, err, "line 4")
	left, err := filepath.Glob(filepath.Join(dir, ".plan*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestChunks(t *testing.T) {
	for _, c := range []struct{ stimuli, batch, natural, asked, chunk, zarr int }{
		{1000, 8, 20, 0, 16, 16}, {1000, 8, 3, 0, 8, 2}, {1000, 1, 512, 0, 16, 16}, {100000, 8, 512, 0, 512, 512},
		{5, 8, 20, 0, 8, 5},
		{1000, 8, 20, 100, 96, 96}, {1000, 6, 4, 0, 6, 3}, {1000, 7, 4, 0, 7, 1}, {3, 8, 2, 0, 8, 2},
	} {
		r := Recipe{Stimuli: c.stimuli, BatchSize: c.batch}
		r.settleChunks(c.natural, c.asked)
		assert.Equal(t, []int{c.chunk, c.zarr}, []int{r.ChunkStimuli, r.ZarrChunkRows}, "%+v", c)
		assert.Zero(t, r.ChunkStimuli%r.BatchSize)
	}
}

func TestShards(t *testing.T) {
	dir := t.TempDir()
	p := created(t, testRequest(writeStimuli(t, dir, 103, false), filepath.Join(dir, "x.zarr"), 4))
	for n := 1; n < 40; n++ {
		next := 0
		for i := range n {
			first, end, err := p.Shard(i, n)
			require.NoError(t, err)
			assert.Equal(t, next, first)
			next = end
		}
		assert.Equal(t, p.Chunks(), next)
	}
	for _, bad := range [][2]int{{0, 0}, {1, 1}, {-1, 2}, {5, 3}} {
		_, _, err := p.Shard(bad[0], bad[1])
		assert.Error(t, err)
	}
	assert.Equal(t, "0, 2–4, 9", ranges([]int{0, 2, 3, 4, 9}))
}

// A damaged plan is an error, never a panic, and never another plan.
func TestDamagedPlans(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "test.plan")
	require.NoError(t, Create(t.Context(), name, testRequest(writeStimuli(t, dir, 60, false), filepath.Join(dir, "x.zarr"),
		4), false))
	good, err := os.ReadFile(name)
	require.NoError(t, err)
	read := func(content []byte) error {
		other := filepath.Join(dir, "other.plan")
		require.NoError(t, os.WriteFile(other, content, 0o666))
		p, err := Open(context.Background(), other)
		if err != nil {
			return err
		}
		defer p.Close()
		return p.records().each(context.Background(), 0, p.Stimuli, func(*stimuli.Record) error { return nil })
	}
	require.NoError(t, read(good))
	for n := range len(good) {
		if n%37 == 0 || n < 64 || n > len(good)-64 {
			assert.Error(t, read(good[:n]), "first %d bytes", n)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		bad := slices.Clone(good)
		bad[random.IntN(len(bad))] ^= 1 << random.IntN(8)
		if err := read(bad); err != nil {
			assert.ErrorIs(t, err, ErrPlan)
		}
	}
	_, err = Open(t.Context(), filepath.Join(dir, "none.plan"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// A plan of 10 million stimuli: TFCONVRNN_PLAN_STIMULI sets their number, and
// scripts/prove_plan.sh runs it with that many. The memory is the peak of a process that
// does nothing else.
func TestLargePlan(t *testing.T) {
	count := 50_000
	if n, err := strconv.Atoi(os.Getenv("TFCONVRNN_PLAN_STIMULI")); err == nil {
		count = n
	}
	dir := t.TempDir()
	table := writeStimuli(t, dir, count, false)
	name := filepath.Join(dir, "large.plan")
	begun := time.Now()
	require.NoError(t, Create(t.Context(), name, testRequest(table, filepath.Join(dir, "x.zarr"), 8), false))
	took := time.Since(begun)
	var usage syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	info, err := os.Stat(name)
	require.NoError(t, err)
	begun = time.Now()
	p, err := Open(t.Context(), name)
	require.NoError(t, err)
	defer p.Close()
	first, end := p.Rows(p.Chunks() - 1)
	require.NoError(t, p.records().each(t.Context(), first, end, func(r *stimuli.Record) error {
		assert.Contains(t, r.ID, "stimulus-")
		return nil
	}))
	opened := time.Since(begun)
	t.Logf("%s stimuli planned in %s, peak RSS %s, plan of %s (table %s); opened at the last chunk in %s",
		humanize.Comma(int64(count)), took.Round(100*time.Millisecond), humanize.IBytes(uint64(usage.Maxrss)<<10),
		humanize.Bytes(uint64(info.Size())), humanize.Bytes(uint64(sizeOfFile(t, table))), opened.Round(time.Millisecond))
	assert.Less(t, usage.Maxrss<<10, int64(1)<<30)
}

func sizeOfFile(t *testing.T, name string) int64 {
	info, err := os.Stat(name)
	require.NoError(t, err)
	return info.Size()
}

func TestRecipeJSON(t *testing.T) {
	dir := t.TempDir()
	p := created(t, testRequest(writeStimuli(t, dir, 5, false), filepath.Join(dir, "x.zarr"), 4))
	text, err := json.Marshal(&p.Recipe)
	require.NoError(t, err)
	var again Recipe
	require.NoError(t, json.Unmarshal(text, &again))
	require.NoError(t, again.check())
	assert.Equal(t, p.Presentation.String(), again.Presentation.String())
}

// A shard of a sealed store is no error, and needs no model.
func TestWorkOnSealedStore(t *testing.T) {
	dir := t.TempDir()
	p := created(t, testRequest(writeStimuli(t, dir, 9, false), filepath.Join(dir, "out.zarr"), 4))
	load := func(context.Context) (*tfconvrnn.Model, error) { return nil, errors.New("loaded") }
	_, err := p.Work(t.Context(), 0, 1, WorkOptions{Load: load})
	require.ErrorIs(t, err, ErrNotBegun)
	require.NoError(t, p.Begin(t.Context(), false))
	_, err = p.Work(t.Context(), 2, 2, WorkOptions{Load: load})
	require.ErrorIs(t, err, tfconvrnn.ErrOption)
	_, err = p.Work(t.Context(), 0, 1, WorkOptions{Load: load})
	require.EqualError(t, err, "loaded", "there is something to compute")
	require.NoError(t, p.newWorker(WorkerOptions{}, fakeEngine(p, func() {})).Work(t.Context(),
		chunkRange(0, p.Chunks()), nil))
	worked, err := p.Work(t.Context(), 1, 2, WorkOptions{Load: load})
	require.NoError(t, err)
	first, end, err := p.Shard(1, 2)
	require.NoError(t, err)
	assert.Equal(t, Worked{Chunks: end - first}, Worked{Chunks: worked.Chunks, Computed: worked.Computed,
		Sealed: worked.Sealed})
	_, err = p.Finish(t.Context(), nil)
	require.NoError(t, err)
	worked, err = p.Work(t.Context(), 0, 1, WorkOptions{Load: load})
	require.NoError(t, err)
	assert.True(t, worked.Sealed)
}
