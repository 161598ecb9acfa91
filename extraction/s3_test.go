package extraction

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/s3server"
	"github.com/tfconvrnn/go/internal/storage"
	"github.com/tfconvrnn/go/stimuli"
)

// Stimuli, plan and store in an object store whose connections break all the time:
// the store is the same as in a folder, byte for byte.
func TestObjectStore(t *testing.T) {
	server := s3server.Start(t)
	dir := t.TempDir()
	var table bytes.Buffer
	table.WriteString("stimulus_id,path,n\n")
	bucket, err := storage.Open(t.Context(), server.Bucket+"/set")
	require.NoError(t, err)
	defer bucket.Close()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "pictures"), 0o777))
	for i := range 40 {
		img := image.NewNRGBA(image.Rect(0, 0, 260, 240))
		for k := range img.Pix {
			img.Pix[k] = uint8(k*k>>7 + 11*i)
		}
		img.Set(0, 0, color.White)
		var b bytes.Buffer
		require.NoError(t, png.Encode(&b, img))
		name := fmt.Sprintf("pictures/%03d.png", i)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o666))
		require.NoError(t, bucket.Put(t.Context(), name, b.Bytes()))
		fmt.Fprintf(&table, "s%d,%s,%d\n", i, name, i)
	}
	table.WriteString("gone,pictures/gone.png,40\n")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "set.csv"), table.Bytes(), 0o666))
	require.NoError(t, bucket.Put(t.Context(), "set.csv", table.Bytes()))

	// run plans, works in two shares and finishes.
	run := func(planFile, table, output string) {
		request := testRequest(table, output, 4)
		request.ChunkStimuli = 4
		require.NoError(t, Create(t.Context(), planFile, request, false))
		assert.ErrorIs(t, Create(t.Context(), planFile, request, false), ErrExists)
		p, err := Open(t.Context(), planFile)
		require.NoError(t, err)
		defer p.Close()
		require.NoError(t, p.Begin(t.Context(), true))
		for shard := range 2 {
			first, end, err := p.Shard(shard, 2)
			require.NoError(t, err)
			reader, err := stimuli.NewReader(t.Context(), stimuli.Options{MaxFrames: p.MaxFrames}, nil)
			require.NoError(t, err)
			fake := fakeEngine(p, func() {})
			w := p.newWorker(WorkerOptions{}, func(ctx context.Context, records iter.Seq[*stimuli.Record], rows rowSink) error {
				return fake(ctx, func(yield func(*stimuli.Record) bool) {
					for r := range records {
						pixels, err := reader.Stimulus(r).Frames[0].Pixels()
						if r.SHA256 == "missing" {
							assert.ErrorIs(t, err, stimuli.ErrMissing)
						} else if assert.NoError(t, err) {
							assert.Len(t, pixels, 224*224*3)
						}
						if !yield(r) {
							return
						}
					}
				}, rows)
			})
			require.NoError(t, w.Work(t.Context(), chunkRange(first, end), nil))
			require.NoError(t, reader.Close())
		}
		status, err := p.Status(t.Context(), true)
		require.NoError(t, err)
		assert.Zero(t, status.Missing+status.Corrupt)
		_, err = p.Finish(t.Context(), nil)
		require.NoError(t, err)
		require.NoError(t, VerifyStore(t.Context(), output))
		again, err := p.Finish(t.Context(), nil)
		require.NoError(t, err)
		assert.True(t, again.Already)
	}
	local := filepath.Join(dir, "local.zarr")
	run(filepath.Join(dir, "local.plan"), filepath.Join(dir, "set.csv"), local)
	server.Cut(40 << 10)
	remote := server.Bucket + "/results/features.zarr"
	run(server.Bucket+"/results/set.plan", server.Bucket+"/set/set.csv", remote)
	server.Cut(0)
	t.Logf("%d connections cut", server.Cuts())
	assert.Positive(t, server.Cuts())

	want, got := map[string][]byte{}, map[string][]byte{}
	read := func(s storage.Store, into map[string][]byte) {
		require.NoError(t, s.List(t.Context(), "", func(o storage.Object) error {
			content, err := s.Get(t.Context(), o.Name, 1<<30)
			into[o.Name] = content
			return err
		}))
	}
	read(storage.NewFolder(local, local), want)
	store, err := storage.Open(t.Context(), remote)
	require.NoError(t, err)
	defer store.Close()
	read(store, got)
	require.NotEmpty(t, want)
	require.Len(t, got, len(want))
	for name := range want {
		assert.True(t, bytes.Equal(want[name], got[name]), name)
	}
	for _, suffix := range []string{".work", ".partial"} {
		left, err := storage.Open(t.Context(), remote+suffix)
		require.NoError(t, err)
		defer left.Close()
		require.NoError(t, left.List(t.Context(), "", func(o storage.Object) error {
			assert.Fail(t, "left behind", o.Name)
			return nil
		}))
	}
}

// Two plans for one output in an object store, where nothing can be renamed: what an old
// worker or finisher does late is neither in the store nor left behind.
func TestObjectStoreOfTwoPlans(t *testing.T) {
	server := s3server.Start(t)
	dir, ctx := t.TempDir(), t.Context()
	output := server.Bucket + "/contest.zarr"
	var plans []*Plan
	for i := range 2 {
		request := testRequest(writeStimuli(t, dir, 12, false), output, 2)
		request.ChunkStimuli, request.BlankSHA256 = 2, fmt.Sprint(i)
		name := fmt.Sprintf("%s/%d.plan", server.Bucket, i)
		require.NoError(t, Create(ctx, name, request, false))
		p, err := Open(ctx, name)
		require.NoError(t, err)
		defer p.Close()
		plans = append(plans, p)
	}
	a, b := plans[0], plans[1]
	list := func(url string) (names []string) {
		s, err := storage.Open(ctx, url)
		require.NoError(t, err)
		defer s.Close()
		require.NoError(t, s.List(ctx, "", func(o storage.Object) error { names = append(names, o.Name); return nil }))
		return names
	}
	work := func(p *Plan, from int) error {
		return p.newWorker(WorkerOptions{}, fakeEngine(p, func() {})).Work(ctx, chunkRange(from, p.Chunks()), nil)
	}
	require.NoError(t, a.Begin(ctx, false))
	require.NoError(t, work(a, 2))
	var other *OtherPlanError
	require.ErrorAs(t, b.Begin(ctx, false), &other)
	assert.Equal(t, OtherPlanError{Output: output, Plan: a.name, Hash: a.Hash(), Chunks: 6, Written: 4}, *other)

	// A worker of the first is stopped before it writes chunk 0, and a finisher before it
	// copies, while the output becomes the second's.
	stopped := a.newWorker(WorkerOptions{}, func(ctx context.Context, records iter.Seq[*stimuli.Record],
		rows rowSink) error {
		return fakeEngine(a, func() {})(ctx, func(yield func(*stimuli.Record) bool) {
			for r := range records {
				if !yield(r) {
					return
				}
			}
		}, rowSink{add: rows.add, end: func(failed error) error {
			if plans[0] != nil {
				plans[0] = nil
				require.NoError(t, b.Begin(ctx, true))
			}
			return rows.end(failed)
		}})
	})
	assert.ErrorIs(t, stopped.Work(ctx, chunkRange(0, 1), nil), ErrOtherPlan)
	assert.Empty(t, list(output+".partial"))
	assert.ErrorIs(t, a.place.copyOut(ctx), fs.ErrNotExist)
	assert.ErrorIs(t, storage.Copy(ctx, a.place.chunks, a.place.final, "conv5/2.0.0"), fs.ErrNotExist)
	assert.Empty(t, list(output))
	_, err := a.Finish(ctx, nil)
	assert.ErrorIs(t, err, ErrOtherPlan)

	require.NoError(t, work(b, 0))
	_, err = b.Finish(ctx, nil)
	require.NoError(t, err)
	require.NoError(t, VerifyStore(ctx, output))
	assert.Empty(t, list(output+".partial"))
	assert.Empty(t, list(output+".work"))
	before := list(output)
	assert.ErrorIs(t, work(a, 0), ErrOtherPlan)
	assert.ErrorIs(t, a.Begin(ctx, false), fs.ErrExist, "a finished store is not discarded unasked")
	assert.Equal(t, before, list(output))
	require.NoError(t, VerifyStore(ctx, output))
	require.NoError(t, a.Begin(ctx, true))
	assert.Empty(t, list(output))
}
