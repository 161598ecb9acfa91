package disk

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "abc")
	require.NoError(t, os.WriteFile(path, []byte("abc"), 0o666))
	sum, err := SHA256(t.Context(), path)
	require.NoError(t, err)
	assert.Equal(t, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", sum)
	var done, total int64
	sum, err = Hash(t.Context(), path, md5.New(), func(d, of int64) { done, total = d, of })
	require.NoError(t, err)
	assert.Equal(t, "900150983cd24fb0d6963f7d28e17f72", sum)
	assert.Equal(t, []int64{3, 3}, []int64{done, total})
	data, err := ReadFile(path, 3)
	require.NoError(t, err)
	assert.Equal(t, "abc", string(data))
	_, err = ReadFile(path, 2)
	assert.ErrorIs(t, err, ErrTooLarge)
	for _, bad := range []string{dir, filepath.Join(dir, "none")} {
		_, err = ReadFile(bad, 3)
		assert.Error(t, err)
		_, err = SHA256(t.Context(), bad)
		assert.Error(t, err)
	}
	assert.NoError(t, SyncFolder(dir))
	assert.ErrorIs(t, SyncFolder(filepath.Join(dir, "none")), fs.ErrNotExist)
	assert.NoError(t, CheckFolder(dir))
	assert.ErrorContains(t, CheckFolder(filepath.Join(dir, "none")), "cannot write to the folder")
}

func TestCopyEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	var to bytes.Buffer
	n, err := Copy(ctx, &to, bytes.NewReader(make([]byte, 3*copyBuffer)), func(int64) { cancel(why) })
	assert.ErrorIs(t, err, why)
	assert.EqualValues(t, copyBuffer, n)
	assert.Equal(t, copyBuffer, to.Len())
}
