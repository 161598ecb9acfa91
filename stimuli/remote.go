package stimuli

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"

	"github.com/tfconvrnn/go/internal/storage"
)

// IsRemote tells whether an input is an object, or a folder of them, in a bucket, such
// as s3://bucket/pictures/.
func IsRemote(name string) bool { return storage.IsRemote(name) }

// remotes are the connections to object stores of a set and its children.
type remotes struct {
	mu     sync.Mutex
	stores map[string]storage.Store // by the URL of the bucket
}

// store returns the store of a URL's bucket, and the name in it.
func (r *remotes) store(ctx context.Context, url string) (storage.Store, string, error) {
	scheme, rest, _ := strings.Cut(url, "://")
	bucket, name, _ := strings.Cut(rest, "/")
	root := scheme + "://" + bucket
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.stores[root]; s != nil {
		return s, name, nil
	}
	s, err := storage.Open(ctx, root)
	if err != nil {
		return nil, "", err
	}
	if r.stores == nil {
		r.stores = map[string]storage.Store{}
	}
	r.stores[root] = s
	return s, name, nil
}

func (r *remotes) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	for _, s := range r.stores {
		err = errors.Join(err, s.Close())
	}
	r.stores = nil
	return err
}

// open opens a file or an object.
func (s *session) open(name string) (io.ReadCloser, error) {
	if !IsRemote(name) {
		return os.Open(name)
	}
	store, object, err := s.remotes.store(s.ctx, name)
	if err != nil {
		return nil, err
	}
	return store.Open(s.ctx, object)
}

// remote takes an input that is a URL: a picture or table, or else a folder.
func (f *finder) remote(ctx context.Context, input string) error {
	first := f.count
	switch {
	case hasSuffix(input, arraySuffixes) || hasSuffix(input, videoSuffixes):
		return inputf("%s: arrays and videos are not read from object stores; copy it to a file", input)
	case hasSuffix(input, tableSuffixes):
		if err := f.table(ctx, input); err != nil {
			return inputError{err}
		}
		f.describe(input, "table", first)
		return nil
	case hasSuffix(input, pictureSuffixes):
		f.untimed = true
		src, kind := f.file(input, "")
		if err := f.add(found{id: baseName(input), shown: input, where: input, source: src}); err != nil {
			return err
		}
		f.describe(input, kind, first)
		return nil
	}
	return f.remoteFolder(ctx, strings.TrimSuffix(input, "/")+"/")
}

// remoteFolder takes all pictures below a prefix, which an object store lists in order.
func (f *finder) remoteFolder(ctx context.Context, folder string) error {
	f.untimed = true
	first := f.count
	store, prefix, err := f.session.remotes.store(ctx, folder)
	if err != nil {
		return inputError{err}
	}
	var names []string
	err = store.List(ctx, prefix, func(o storage.Object) error {
		name := strings.TrimPrefix(o.Name, prefix)
		if !hasSuffix(name, pictureSuffixes) || strings.HasPrefix(name, ".") || strings.Contains(name, "/.") {
			return nil
		}
		if f.session.options.FolderSequences {
			names = append(names, name)
			return nil
		}
		class := path.Dir(name)
		if class == "." {
			class = ""
		}
		if !validText(class) {
			return inputf("%s: the name %q is not UTF-8 text", folder, class)
		}
		src, _ := f.file(folder+name, "")
		return f.add(found{id: name, shown: folder + name, where: folder, source: src, names: classNames,
			cells: []string{class}})
	})
	if err == nil && len(names) > 0 {
		err = f.sequences(strings.TrimSuffix(folder, "/"), names)
	}
	var own inputError
	switch {
	case errors.As(err, &own):
		return err
	case err != nil:
		return inputError{err}
	case f.count == first:
		return inputf("%s: no pictures (%s) below this prefix: %w", folder, strings.Join(pictureSuffixes, " "),
			fs.ErrNotExist)
	}
	f.describe(folder, "folder", first)
	return nil
}

// join appends a path with slashes to a folder or its URL.
func join(folder, name string) string {
	if IsRemote(folder) {
		return storage.Join(folder, path.Clean("/" + name)[1:])
	}
	return joinFile(folder, name)
}
