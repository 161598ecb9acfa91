package savedmodels

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/internal/bundle"
	"github.com/tfconvrnn/go/internal/disk"
	"github.com/tfconvrnn/go/internal/fetchfile"
	"github.com/tfconvrnn/go/internal/weights"
	"github.com/tfconvrnn/go/internal/zoo"
)

// transfers is the number of whole transfers after which a fault of a file is taken to
// be a fault of its source.
const transfers = 2

// obtain downloads and verifies a checkpoint and puts it in place.
func (d *download) obtain(ctx context.Context, model string, result *Downloaded) error {
	work := d.partial(model)
	if err := os.MkdirAll(work, 0o777); err != nil {
		return err
	}
	for transfer := 1; ; transfer++ {
		notes, err := d.transfer(ctx, model, work, transfer)
		if err == nil {
			result.Notes = append(result.Notes, notes...)
			break
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var again *damagedError
		if !errors.As(err, &again) {
			return err
		}
		fetchfile.Discard(filepath.Join(work, again.file))
		if transfer == transfers {
			_ = os.RemoveAll(work)
			return again.error
		}
	}
	hashes, size, err := hashFiles(ctx, work)
	if err != nil {
		return err
	}
	if err := d.record(ctx, model, hashes); err != nil {
		if errors.Is(err, ErrLocked) {
			_ = os.RemoveAll(work)
		}
		return err
	}
	result.SHA256, result.Bytes = hashes, size
	return d.install(model, work)
}

// install moves verified files to their places, the index last: it is what makes a
// checkpoint.
func (d *download) install(model, work string) error {
	target := filepath.Dir(d.final(model))
	if err := os.MkdirAll(target, 0o777); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(target, indexName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, name := range []string{metaName, dataName, indexName} {
		from := filepath.Join(work, name)
		if err := syncFile(from); errors.Is(err, fs.ErrNotExist) && name == metaName {
			continue
		} else if err != nil {
			return err
		}
		if err := os.Rename(from, filepath.Join(target, name)); err != nil {
			return err
		}
		if err := disk.SyncFolder(target); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	return disk.SyncFolder(d.Checkpoints)
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// damagedError says that a file must be transferred again.
type damagedError struct {
	error
	file string
}

func (e *damagedError) Unwrap() error { return e.error }

// transfer brings the files of a checkpoint to work and verifies all that can be
// verified there.
func (d *download) transfer(ctx context.Context, model, work string, number int) (notes []string, err error) {
	prefix := filepath.Join(work, CheckpointName)
	damaged := func(file string, err error) error {
		if errors.Is(err, bundle.ErrCorrupt) {
			return &damagedError{fmt.Errorf("%s is not a good checkpoint file: %w", d.shown(model, file), err), file}
		}
		return err
	}
	note, err := d.bring(ctx, model, work, indexName, maxIndexBytes, 0, number)
	if err != nil {
		return nil, err
	}
	notes = append(notes, note...)
	index, err := bundle.ReadIndex(prefix)
	if err != nil {
		return nil, damaged(indexName, err)
	}
	// The index is checked before the data is transferred, so that a wrong model costs
	// only its index.
	if err := fits(model, prefix, index); err != nil {
		_ = os.RemoveAll(work)
		return nil, fmt.Errorf("%s: %w", d.shown(model, indexName), err)
	}
	if len(index.Shards) != 1 || index.Shards[0].Name != dataName {
		_ = os.RemoveAll(work)
		return nil, fmt.Errorf("%s: %w: its data is in %v, and published checkpoints have it in %s",
			d.shown(model, indexName), bundle.ErrUnsupported, index.Shards, dataName)
	}
	want := index.Shards[0].Size
	if d.Meta {
		if note, err = d.bring(ctx, model, work, metaName, maxMetaBytes, 0, number); err != nil {
			return nil, err
		}
		notes = append(notes, note...)
	}
	missing := want
	if info, err := os.Stat(filepath.Join(work, dataName)); err == nil {
		missing = max(0, missing-info.Size())
	}
	if err := d.space(d.Checkpoints, missing); err != nil {
		return nil, err
	}
	// Bytes after the last tensor are allowed because no tensor refers to them.
	if note, err = d.bring(ctx, model, work, dataName, want+dataSlack, want, number); err != nil {
		return nil, err
	}
	notes = append(notes, note...)
	r, err := bundle.Open(prefix)
	if err != nil {
		return nil, damaged(dataName, err)
	}
	defer r.Close()
	if err := r.VerifyAll(ctx, func(done, total int64) { d.report(model, StageVerify, done, total) }); err != nil {
		return nil, damaged(dataName, err)
	}
	return notes, nil
}

const (
	maxIndexBytes = 64 << 20
	maxMetaBytes  = 1 << 30
	dataSlack     = 16 << 20
)

// fits checks an index against the variables of a model; the error names the model
// whose checkpoint it is.
func fits(model, prefix string, index *bundle.Index) error {
	err := weights.MatchIndex(prefix, index, zoo.Lookup(model).Variables())
	var mismatch *weights.MismatchError
	if errors.As(err, &mismatch) {
		for _, other := range zoo.Models() {
			if mismatch.Fits(other.Variables()) {
				return fmt.Errorf("it is the checkpoint of %s: %w", other.Name, err)
			}
		}
	}
	return err
}

// bring transfers one file. want is its size as far as known, for progress.
func (d *download) bring(ctx context.Context, model, work, name string, limit, want int64, number int) (notes []string,
	err error) {
	path := filepath.Join(work, name)
	o := d.fetch
	o.Limit = limit
	if name == dataName {
		o.Progress = func(done, total int64) { d.report(model, StageDownload, done, max(total, want)) }
	}
	if d.dir != "" {
		return nil, copyFile(ctx, filepath.Join(d.dir, model, name), path, limit, o.Progress)
	}
	file, err := fetchfile.Fetch(ctx, d.address(model, name), path, o)
	var status *fetchfile.StatusError
	if errors.As(err, &status) && (status.Code == http.StatusNotFound || status.Code == http.StatusForbidden) {
		return nil, fmt.Errorf("%w: %w, which must be at <URL>/<model>/%s", err, ErrNotAtSource, name)
	}
	if err != nil {
		return nil, err
	}
	if file.MD5 == "" {
		return nil, nil
	}
	sum, err := disk.Hash(ctx, path, md5.New(), nil)
	if err != nil || sum == file.MD5 {
		return nil, err
	}
	problem := fmt.Sprintf("%s has MD5 %s, and the server says %s", d.shown(model, name), sum, file.MD5)
	// Not every ETag that looks like an MD5 is one. When the file comes the same
	// again, the checksums of the tensors decide.
	if file.MD5FromETag && number == transfers {
		return []string{problem}, nil
	}
	return nil, &damagedError{fmt.Errorf("%w: %s", bundle.ErrCorrupt, problem), name}
}

// copyFile copies a file from a directory straight to its target, which needs no
// temporary name because readers do not look into its directory.
func copyFile(ctx context.Context, from, to string, limit int64, progress func(done, total int64)) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return fmt.Errorf("%s: no file of at most %d bytes", from, limit)
	}
	fetchfile.Discard(to)
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	_, err = disk.Copy(ctx, out, in, func(done int64) {
		if progress != nil {
			progress(done, info.Size())
		}
	})
	return errors.Join(err, out.Close())
}

// verifyCheckpoint checks a checkpoint in dir in every way and returns the SHA-256
// and the bytes of its files.
func verifyCheckpoint(ctx context.Context, model, dir string, progress func(done, total int64)) (map[string]string,
	int64, error) {
	prefix := filepath.Join(dir, CheckpointName)
	source, err := convert.Checkpoint(model, prefix)
	if err != nil {
		return nil, 0, err
	}
	source.Close()
	r, err := bundle.Open(prefix)
	if err != nil {
		return nil, 0, err
	}
	defer r.Close()
	if err := r.VerifyAll(ctx, progress); err != nil {
		return nil, 0, err
	}
	return hashFiles(ctx, dir)
}

// hashFiles returns the SHA-256 and the bytes of a checkpoint's files.
func hashFiles(ctx context.Context, dir string) (map[string]string, int64, error) {
	hashes := map[string]string{}
	var size int64
	for _, name := range []string{indexName, dataName, metaName} {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) && name == metaName {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		size += info.Size()
		if hashes[name], err = disk.SHA256(ctx, path); err != nil {
			return nil, 0, err
		}
	}
	return hashes, size, nil
}

// removeCheckpoint removes a checkpoint, the index first, because a checkpoint exists
// only if its index does. The caller holds the model's lock.
func removeCheckpoint(dir, model string) error {
	for _, name := range []string{indexName, dataName, metaName} {
		if err := os.Remove(filepath.Join(dir, model, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	// Other files in the directory are not ours.
	_ = os.Remove(filepath.Join(dir, model))
	return nil
}
