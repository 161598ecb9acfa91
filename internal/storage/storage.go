// Package storage keeps objects under names: in a folder, or in a bucket of an object
// store that speaks the S3 protocol.
//
//	store, err := storage.Open(ctx, "s3://bucket/features.zarr")
//	defer store.Close()
//	err = store.Put(ctx, "conv5/0.0.0.0.0", data)
//
// An object appears whole or not at all, and lasts from then on. Writers of one name
// may overlap: one of their objects is there in the end.
package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Object is what List tells about an object.
type Object struct {
	// Name is relative to the store, with slashes.
	Name string
	Size int64
	// Modified is the time at which the store says it was written.
	Modified time.Time
}

// ErrRemote is wrapped by errors of an object store that retrying did not help
// against.
var ErrRemote = errors.New("object store failed")

// Store keeps objects. Its methods are safe for concurrent use. Errors about objects
// that are not there wrap fs.ErrNotExist.
type Store interface {
	// Put writes an object. It replaces one of the same name.
	Put(ctx context.Context, name string, content []byte) error
	// PutFrom writes an object of any size, of which it holds only parts in memory.
	PutFrom(ctx context.Context, name string, content io.Reader) error
	// Get reads an object of at most limit bytes.
	Get(ctx context.Context, name string, limit int64) ([]byte, error)
	// Open reads an object. The caller closes it.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
	// ReadAt reads a part of an object, like io.ReaderAt.
	ReadAt(ctx context.Context, name string, p []byte, offset int64) (int, error)
	// Stat describes an object.
	Stat(ctx context.Context, name string) (Object, error)
	// List passes the objects whose names begin with prefix in the order of their
	// names. A store that does not exist holds none.
	List(ctx context.Context, prefix string, each func(Object) error) error
	// Remove removes an object; one that is not there is no error.
	Remove(ctx context.Context, name string) error
	// RemoveAll removes everything.
	RemoveAll(ctx context.Context) error
	// String is the folder or URL.
	String() string
	// Close lets go of connections. It is idempotent.
	Close() error
}

// IsRemote tells whether a name is an object store's URL, such as s3://bucket/name.
func IsRemote(name string) bool { return strings.Contains(name, "://") }

// Join appends a name to a URL, or to a folder with slashes.
func Join(base, name string) string { return strings.TrimSuffix(base, "/") + "/" + name }

// Split divides a URL into that of the folder and the name in it. The error is about
// a URL without one.
func Split(url string) (folder, name string, err error) {
	i := strings.LastIndexByte(url, '/')
	if i < 0 || i+1 == len(url) || strings.HasSuffix(url[:i], ":/") {
		return "", "", fmt.Errorf("%s: the URL names no object; it must be like s3://bucket/name", url)
	}
	return url[:i], url[i+1:], nil
}

// readAll reads at most limit bytes.
func readAll(r io.Reader, name string, limit int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("%s: larger than %d bytes", name, limit)
	}
	return content, err
}

// Copy copies an object from one store to another under the same name. Within an object
// store that does it by itself: nothing is downloaded. An object that is not there any
// more is an error that wraps fs.ErrNotExist, and writes nothing.
func Copy(ctx context.Context, from, to Store, name string) error {
	source, ok1 := from.(*bucket)
	target, ok2 := to.(*bucket)
	if ok1 && ok2 {
		return target.copyFrom(ctx, source, name)
	}
	r, err := from.Open(ctx, name)
	if err != nil {
		return err
	}
	defer r.Close()
	return to.PutFrom(ctx, name, r)
}

// Open opens the store that a URL names: s3://bucket/prefix. Credentials, region and
// endpoint come from where all programs of AWS's SDK take them: AWS_ACCESS_KEY_ID,
// AWS_REGION, AWS_ENDPOINT_URL, ~/.aws, the machine's role. The caller closes it.
func Open(ctx context.Context, url string) (Store, error) {
	if strings.HasPrefix(url, s3Scheme) {
		return openS3(ctx, url)
	}
	return nil, fmt.Errorf("%s: %w: unknown kind of store; there is s3://bucket/name", url, errors.ErrUnsupported)
}
