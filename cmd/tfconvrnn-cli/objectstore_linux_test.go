package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/s3server"
	"github.com/tfconvrnn/go/internal/storage"
)

// Photographs from a bucket into a Zarr store in it, by a plan in it, over connections
// that break: the same bytes as in a folder.
func TestExtractToObjectStore(t *testing.T) {
	server := s3server.Start(t)
	p := newProver(t)
	dir := t.TempDir()
	pictures := filepath.Join(dir, "pictures")
	count := proofSize("TFCONVRNN_PROVE_IMAGES", 40)
	makePictures(t, pictures, count)
	bucket, err := storage.Open(t.Context(), server.Bucket+"/pictures")
	require.NoError(t, err)
	defer bucket.Close()
	files, err := os.ReadDir(pictures)
	require.NoError(t, err)
	for _, f := range files {
		content, err := os.ReadFile(filepath.Join(pictures, f.Name()))
		require.NoError(t, err)
		require.NoError(t, bucket.Put(t.Context(), f.Name(), content))
	}
	run := func(args ...string) {
		cmd := p.command()
		cmd.Args = append([]string{p.program, "extract"}, args...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		t.Logf("%v: %s", args[:1], out)
	}
	options := []string{"--model", "timedecay_shallow", "--weights", "seeded:1", "--store", p.store, "--layers",
		"conv5,imnetds", "--batch", "4", "--quiet"}
	// Names of stimuli are the same; so are then the columns, but for the path.
	t.Chdir(dir)
	run(append(append([]string{"plan", "--plan", "local.plan", "--out", "local.zarr"}, options...), "pictures")...)
	run("work", "--plan", "local.plan", "--store", p.store, "--quiet")
	run("finish", "--plan", "local.plan")

	server.Cut(2 << 20) // objects have up to 1.5 MB
	remote := server.Bucket + "/out/remote.zarr"
	run(append(append([]string{"plan", "--plan", server.Bucket + "/out/remote.plan", "--out", remote}, options...),
		server.Bucket+"/pictures/")...)
	for _, shard := range []string{"1/3", "0/3", "2/3"} {
		run("work", "--plan", server.Bucket+"/out/remote.plan", "--store", p.store, "--shard", shard, "--quiet")
	}
	run("status", "--plan", server.Bucket+"/out/remote.plan", "--check")
	run("finish", "--plan", server.Bucket+"/out/remote.plan")
	run("status", "--plan", server.Bucket+"/out/remote.plan", "--check")
	// In one process, too.
	single := server.Bucket + "/out/single.zarr"
	run(append(append([]string{"--out", single}, options...), server.Bucket+"/pictures/")...)
	cuts := server.Cuts()
	server.Cut(0)
	assert.Positive(t, cuts)

	content := func(s storage.Store) map[string]string {
		found := map[string]string{}
		require.NoError(t, s.List(t.Context(), "", func(o storage.Object) error {
			data, err := s.Get(t.Context(), o.Name, 1<<30)
			found[o.Name] = string(data)
			return err
		}))
		return found
	}
	open := func(url string) storage.Store {
		s, err := storage.Open(t.Context(), url)
		require.NoError(t, err)
		t.Cleanup(func() { s.Close() })
		return s
	}
	want, got := content(storage.NewFolder("local.zarr", ".")), content(open(remote))
	require.NotEmpty(t, want)
	different := 0
	for name, data := range want {
		switch name {
		case "stimulus_path/0", "stimulus_path/.zarray", ".zmetadata", ".zattrs", manifestFile, "sealed.json":
			// The paths are URLs, in the columns and what hashes them.
		default:
			if got[name] != data {
				different++
				assert.Fail(t, "different", name)
			}
		}
	}
	assert.Len(t, got, len(want))
	assert.Equal(t, got, content(open(single)), "one process and three workers")
	t.Logf("%d photographs, %d objects in the store, %d of the features differ from those in a folder, %d connections cut",
		count, len(got), different, cuts)
}

const manifestFile = "manifest.sha256"
