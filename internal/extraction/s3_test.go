package extraction

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"iter"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/s3server"
	"github.com/tfconvrnn/go/internal/stimuli"
	"github.com/tfconvrnn/go/internal/storage"
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
			require.NoError(t, w.Work(t.Context(), p.Missing(first, end, 0), nil))
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
	left, err := storage.Open(t.Context(), remote+".work")
	require.NoError(t, err)
	defer left.Close()
	require.NoError(t, left.List(t.Context(), "", func(o storage.Object) error {
		assert.Fail(t, "left behind", o.Name)
		return nil
	}))
}
