package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/s3server"
)

// exercise puts a store through its paces.
func exercise(t *testing.T, s Store, large int) {
	ctx := t.Context()
	_, err := s.Get(ctx, "a/0", 10)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = s.Stat(ctx, "a/0")
	assert.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, s.Remove(ctx, "a/0"))
	names := []string{"a/0", "a/1.0", "b", "c/x"}
	for i, name := range names {
		require.NoError(t, s.Put(ctx, name, bytes.Repeat([]byte{byte(i)}, i)))
	}
	require.NoError(t, s.Put(ctx, "b", []byte("other")))
	content, err := s.Get(ctx, "b", 5)
	require.NoError(t, err)
	assert.Equal(t, "other", string(content))
	_, err = s.Get(ctx, "b", 4)
	assert.ErrorContains(t, err, "larger than 4 bytes")
	list := func(prefix string) (found []string) {
		require.NoError(t, s.List(ctx, prefix, func(o Object) error {
			found = append(found, fmt.Sprint(o.Name, " ", o.Size))
			assert.WithinDuration(t, time.Now(), o.Modified, time.Hour)
			return nil
		}))
		return found
	}
	assert.Equal(t, []string{"a/0 0", "a/1.0 1", "b 5", "c/x 3"}, list(""))
	assert.Equal(t, []string{"a/1.0 1"}, list("a/1"))
	require.NoError(t, s.Remove(ctx, "a/0"))
	assert.Equal(t, []string{"a/1.0 1"}, list("a/"))

	data := make([]byte, large)
	random := rand.NewChaCha8([32]byte{7})
	_, _ = random.Read(data)
	require.NoError(t, s.PutFrom(ctx, "large", io.MultiReader(bytes.NewReader(data)))) // no size, no seeking
	about, err := s.Stat(ctx, "large")
	require.NoError(t, err)
	assert.EqualValues(t, large, about.Size)
	r, err := s.Open(ctx, "large")
	require.NoError(t, err)
	sum := sha256.New()
	_, err = io.Copy(sum, r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	assert.Equal(t, fmt.Sprintf("%x", sha256.Sum256(data)), fmt.Sprintf("%x", sum.Sum(nil)))
	for range 20 {
		p := make([]byte, 1+rand.IntN(large/4))
		at := rand.IntN(large - len(p))
		n, err := s.ReadAt(ctx, "large", p, int64(at))
		require.NoError(t, err)
		assert.Equal(t, len(p), n)
		assert.True(t, bytes.Equal(data[at:at+n], p))
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	assert.ErrorIs(t, s.Put(cancelled, "x", nil), context.Canceled)
	require.NoError(t, s.RemoveAll(ctx))
	assert.Empty(t, list(""))
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	root, work := filepath.Join(dir, "root"), filepath.Join(dir, "work")
	s := NewFolder(root, work)
	assert.ErrorIs(t, s.Put(t.Context(), "a/b", nil), fs.ErrNotExist)
	require.NoError(t, os.Mkdir(work, 0o777))
	assert.ErrorIs(t, s.Put(t.Context(), "a/b", nil), fs.ErrNotExist, "it does not make the root")
	require.NoError(t, os.Mkdir(root, 0o777))
	exercise(t, s, 1<<20)
	left, err := os.ReadDir(work)
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestNames(t *testing.T) {
	folder, name, err := Split("s3://bucket/a/b.plan")
	require.NoError(t, err)
	assert.Equal(t, []string{"s3://bucket/a", "b.plan"}, []string{folder, name})
	for _, bad := range []string{"s3://bucket", "s3://bucket/a/", "x"} {
		_, _, err := Split(bad)
		assert.Error(t, err, bad)
	}
	_, err = Open(t.Context(), "ftp://a/b")
	assert.ErrorContains(t, err, "unknown kind of store")
	_, err = Open(t.Context(), "s3:///b")
	assert.ErrorContains(t, err, "names no bucket")
	assert.True(t, IsRemote("s3://a/b"))
	assert.False(t, IsRemote("/a/b"))
}

// An object store whose connections break all the time.
func TestS3(t *testing.T) {
	server := s3server.Start(t)
	b, err := newBucket(t.Context(), server.Bucket+"/some/prefix", 200*time.Millisecond)
	require.NoError(t, err)
	defer b.Close()
	exercise(t, b, 40<<20)
	require.Zero(t, server.Cuts())
	server.Cut(6 << 20)
	b, err = newBucket(t.Context(), server.Bucket+"/another", 200*time.Millisecond)
	require.NoError(t, err)
	exercise(t, b, 40<<20)
	t.Logf("%d connections cut", server.Cuts())
	assert.Positive(t, server.Cuts())
	server.Cut(0)

	missing, err := newBucket(t.Context(), "s3://nowhere/x", 200*time.Millisecond)
	require.NoError(t, err)
	err = missing.Put(t.Context(), "a", nil)
	assert.ErrorIs(t, err, ErrRemote)
	assert.ErrorContains(t, err, "no such bucket")
	whole, err := newBucket(t.Context(), server.Bucket, time.Second)
	require.NoError(t, err)
	assert.ErrorIs(t, whole.RemoveAll(t.Context()), ErrRemote)
}
