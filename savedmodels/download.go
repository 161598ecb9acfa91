package savedmodels

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sync/errgroup"

	"github.com/tfconvrnn/go/convert"
	"github.com/tfconvrnn/go/internal/bundle"
	"github.com/tfconvrnn/go/internal/cachedir"
	"github.com/tfconvrnn/go/internal/disk"
	"github.com/tfconvrnn/go/internal/fetchfile"
	"github.com/tfconvrnn/go/internal/weights"
	"github.com/tfconvrnn/go/internal/zoo"
)

// ErrDownload is wrapped by errors about the network or a server.
var ErrDownload = fetchfile.ErrDownload

// ErrNotAtSource is wrapped, beside ErrDownload, by the error for a file that the source lacks.
var ErrNotAtSource = errors.New("the source lacks the file")

// ErrSpace is wrapped by the error for a disk that is too full.
var ErrSpace = disk.ErrFull

// The files of a published checkpoint.
const (
	indexName = CheckpointName + ".index"
	dataName  = CheckpointName + ".data-00000-of-00001"
	metaName  = CheckpointName + ".meta"
)

// The stages of a download, in order.
const (
	StageWait     = "wait"     // for another process that downloads the same model
	StageDownload = "download" // bytes of the checkpoint
	StageVerify   = "verify"   // bytes of the checkpoint
	StageConvert  = "convert"  // parameters
	StageDone     = "done"
)

// DownloadProgress says how far a download is.
type DownloadProgress struct {
	Model, Stage string
	// Done and Total count what the stage counts; Total is 0 if it is not known.
	Done, Total int64
	// AllDone and AllTotal are the bytes of the checkpoints of all models.
	AllDone, AllTotal int64
}

// DownloadOptions say what to download; only Models must be set.
type DownloadOptions struct {
	Models []string
	// From is where the checkpoints are, <From>/<model>/model.ckpt.*: a URL, or a
	// directory on this machine. It is PublishedURL if empty.
	From string
	// Checkpoints is the directory to put them in, the cache's if empty.
	Checkpoints string
	// Lock is the file of the weights' SHA-256 (see LockFileName). It is in the
	// directory of the checkpoints if empty.
	Lock string
	// UpdateLock replaces hashes in Lock that differ.
	UpdateLock bool
	// Parallel is how many models are downloaded at a time, 4 if 0.
	Parallel int
	// Again also downloads checkpoints that are there and intact.
	Again bool
	// Meta downloads model.ckpt.meta too, which nothing here needs.
	Meta bool
	// SkipConversion leaves checkpoints unconverted.
	SkipConversion bool
	// DiscardCheckpoint removes the checkpoint once it is converted.
	DiscardCheckpoint bool
	// Seed seeds the random part of the pauses between tries.
	Seed uint64
	// Progress, if not nil, is called now and then, by one goroutine at a time. It
	// must return soon.
	Progress func(DownloadProgress)

	fetch fetchfile.Options
	space func(dir string, need int64) error
}

// Downloaded says what was obtained of a model.
type Downloaded struct {
	Model string
	// Prefix is the checkpoint's, or "" if it was discarded.
	Prefix string
	// Already says that nothing had to be downloaded.
	Already bool
	// SHA256 holds the hashes of the checkpoint's files by name, if it is there.
	SHA256 map[string]string
	// Bytes is the size of the checkpoint.
	Bytes int64
	// SavedModel is the converted model; its Dir is "" if it was not converted.
	SavedModel SavedModel
	// Notes are oddities that are no errors.
	Notes []string
}

// Download obtains the trained weights of models: it downloads their checkpoints,
// verifies the CRC-32C of every tensor and that they hold the variables of the
// model, compares them with the lock file, and converts them into the store. What
// is there and intact already is not downloaded again.
//
// An interrupted download goes on where it stopped, in this call or a later one. A
// checkpoint appears in its directory whole and verified or not at all. Any number
// of processes may download the same models at once.
//
// A model that cannot be had does not keep the others from being downloaded: the
// result holds those that were obtained, and the error joins those of the others.
// They wrap ErrUnknownModel, ErrDownload, ErrSpace, ErrLocked, convert.ErrCorrupt,
// convert.ErrMismatch, or are those of the file system or ctx.
func (s *Store) Download(ctx context.Context, o DownloadOptions) ([]Downloaded, error) {
	d, err := s.newDownload(o)
	if err != nil {
		return nil, err
	}
	if err := d.checkSpace(ctx); err != nil {
		return nil, err
	}
	results := make([]Downloaded, len(d.Models))
	errs := make([]error, len(d.Models))
	var group errgroup.Group
	group.SetLimit(d.Parallel)
	for i, model := range d.Models {
		group.Go(func() error {
			if err := context.Cause(ctx); err != nil {
				errs[i] = err
				return nil
			}
			results[i], errs[i] = d.model(ctx, model)
			return nil
		})
	}
	_ = group.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	var obtained []Downloaded
	for i := range results {
		if errs[i] == nil {
			obtained = append(obtained, results[i])
		} else {
			errs[i] = fmt.Errorf("%s: %w", d.Models[i], errs[i])
		}
	}
	return obtained, errors.Join(errs...)
}

// download is one call of Store.Download.
type download struct {
	DownloadOptions
	store *Store
	dir   string // From, if it is a directory

	mu         sync.Mutex
	bytes      map[string]int64 // bytes present, by model
	sizes      map[string]int64 // bytes of the checkpoint, by model, as far as known
	reported   time.Time
	conversion sync.Mutex // held by each conversion, because it takes much memory
}

func (s *Store) newDownload(o DownloadOptions) (*download, error) {
	if len(o.Models) == 0 {
		return nil, fmt.Errorf("%w: no model is named", ErrUnknownModel)
	}
	seen := map[string]bool{}
	for _, model := range o.Models {
		if _, err := Lookup(model); err != nil {
			return nil, err
		}
		if seen[model] {
			return nil, fmt.Errorf("%w: %s is named twice", ErrUnknownModel, model)
		}
		seen[model] = true
	}
	if o.From == "" {
		o.From = PublishedURL
	}
	if o.Checkpoints == "" {
		dir, err := cachedir.Checkpoints()
		if err != nil {
			return nil, err
		}
		o.Checkpoints = dir
	}
	if o.Lock == "" {
		o.Lock = filepath.Join(o.Checkpoints, LockFileName)
	}
	if o.Parallel <= 0 {
		o.Parallel = 4
	}
	if o.space == nil {
		o.space = disk.Check
	}
	if o.DiscardCheckpoint && o.SkipConversion {
		return nil, errors.New("a checkpoint that is not converted cannot be discarded")
	}
	d := &download{DownloadOptions: o, store: s, bytes: map[string]int64{}, sizes: map[string]int64{}}
	d.fetch.Seed = o.Seed
	parsed, err := url.Parse(o.From)
	switch {
	case err == nil && parsed.Scheme == "file":
		d.dir = parsed.Path
	case err == nil && (parsed.Scheme == "http" || parsed.Scheme == "https"):
	default:
		d.dir = o.From
	}
	if d.dir != "" {
		from := strconv.Quote(o.From)
		if strings.Contains(o.From, "://") || strings.Contains(o.From, "@") { // meant as a URL, perhaps with a password
			from = "the source"
			if err == nil {
				from = fetchfile.Redact(o.From)
			}
		}
		if info, err := os.Stat(d.dir); err != nil {
			var path *fs.PathError
			if errors.As(err, &path) {
				err = path.Err
			}
			return nil, fmt.Errorf("%s is neither an http or https URL nor a directory: %w", from, err)
		} else if !info.IsDir() {
			return nil, fmt.Errorf("%s is neither an http or https URL nor a directory", from)
		}
	}
	return d, os.MkdirAll(o.Checkpoints, 0o777)
}

func (d *download) final(model string) string {
	return filepath.Join(d.Checkpoints, model, CheckpointName)
}

// partial is the directory in which the files of a model are collected. Readers do not
// look for checkpoints there, so none takes an incomplete one.
func (d *download) partial(model string) string {
	return filepath.Join(d.Checkpoints, "."+model+partialSuffix)
}

const partialSuffix = ".partial"

func (d *download) report(model, stage string, done, total int64) {
	if d.Progress == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if stage == StageDownload {
		d.bytes[model] = done
		d.sizes[model] = max(d.sizes[model], total)
	}
	if stage == StageDone {
		d.bytes[model] = d.sizes[model]
	}
	now := time.Now()
	if done != total && now.Sub(d.reported) < 50*time.Millisecond {
		return
	}
	d.reported = now
	p := DownloadProgress{Model: model, Stage: stage, Done: done, Total: total}
	for _, m := range d.Models {
		p.AllDone += d.bytes[m]
		p.AllTotal += max(d.sizes[m], d.bytes[m])
	}
	d.Progress(p)
}

// converted is about how many bytes the SavedModel of a model takes.
func converted(model string) int64 {
	info, err := Lookup(model)
	if err != nil {
		return 0
	}
	return info.Parameters*4 + info.Parameters/5 + 4<<20
}

// checkSpace finds out, before anything is downloaded, whether there is room for
// all of it. Where a server does not tell sizes, they are taken to be those of the
// trained variables, the least they can be.
func (d *download) checkSpace(ctx context.Context) error {
	sizes := make([]int64, len(d.Models))
	var group errgroup.Group
	group.SetLimit(8)
	for i, model := range d.Models {
		if _, err := os.Stat(d.final(model) + ".index"); err == nil && !d.Again {
			continue
		}
		if _, ok := d.freed(model); ok && !d.Again {
			continue
		}
		group.Go(func() error {
			sizes[i] = converted(model)
			if d.dir != "" {
				if info, err := os.Stat(filepath.Join(d.dir, model, dataName)); err == nil {
					sizes[i] = info.Size()
				}
				return nil
			}
			if size, err := fetchfile.Size(ctx, d.address(model, dataName), d.fetch); err == nil && size > 0 {
				sizes[i] = size
			}
			return nil
		})
	}
	_ = group.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	var checkpoints, largest, savedModels int64
	for i, model := range d.Models {
		if sizes[i] == 0 {
			continue
		}
		d.mu.Lock()
		d.sizes[model] = sizes[i]
		d.mu.Unlock()
		missing := sizes[i]
		if info, err := os.Stat(filepath.Join(d.partial(model), dataName)); err == nil {
			missing = max(0, missing-info.Size())
		}
		checkpoints += missing
		largest = max(largest, missing)
		if !d.SkipConversion {
			savedModels += converted(model)
		}
	}
	if d.DiscardCheckpoint {
		checkpoints = min(checkpoints, int64(d.Parallel)*largest)
	}
	if checkpoints == 0 {
		return nil
	}
	// The store may be on another disk.
	return errors.Join(d.space(d.Checkpoints, checkpoints+savedModels), d.space(d.store.dir, savedModels))
}

func (d *download) address(model, name string) string {
	return strings.TrimRight(d.From, "/") + "/" + model + "/" + name
}

// shown is the address for messages and notes, without secrets.
func (d *download) shown(model, name string) string {
	if d.dir != "" {
		return d.address(model, name)
	}
	return fetchfile.Redact(d.address(model, name))
}

// model obtains one model.
func (d *download) model(ctx context.Context, model string) (Downloaded, error) {
	lock := flock.New(filepath.Join(d.Checkpoints, "."+model+".lock"), flock.SetPermissions(0o666))
	locked, err := lock.TryLock()
	if err == nil && !locked {
		d.report(model, StageWait, 0, 0)
		_, err = lock.TryLockContext(ctx, lockRetry)
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return Downloaded{}, cause
		}
		return Downloaded{}, fmt.Errorf("waiting for another download of %s: %w", model, err)
	}
	defer lock.Close()

	result := Downloaded{Model: model, Prefix: d.final(model)}
	if !d.Again {
		if found, ok := d.freed(model); ok && found.Manifest.Verify(found.Dir) == nil {
			result.Prefix, result.SavedModel, result.Already = "", found, true
			d.report(model, StageDone, 0, 0)
			return result, nil
		}
		switch done, err := d.intact(ctx, model, &result); {
		case err != nil:
			return Downloaded{}, err
		case done:
			result.Already = true
		}
	}
	if !result.Already {
		if err := d.obtain(ctx, model, &result); err != nil {
			return Downloaded{}, err
		}
	}
	if d.SkipConversion {
		d.report(model, StageDone, 0, 0)
		return result, nil
	}
	d.conversion.Lock()
	defer d.conversion.Unlock()
	if result.SavedModel, err = d.store.Get(ctx, Request{
		Model: model, Weights: Weights{Checkpoints: d.Checkpoints},
		Progress: func(done, total int64) { d.report(model, StageConvert, done, total) },
	}); err != nil {
		return Downloaded{}, err
	}
	if d.DiscardCheckpoint {
		if err := removeCheckpoint(d.Checkpoints, model); err != nil {
			return Downloaded{}, err
		}
		result.Prefix = ""
	}
	d.report(model, StageDone, 0, 0)
	return result, nil
}

// freed finds the SavedModel of a checkpoint that was discarded: its directory is
// named after the checkpoint's index, whose hash the lock file holds.
func (d *download) freed(model string) (SavedModel, bool) {
	if d.SkipConversion {
		return SavedModel{}, false
	}
	if _, err := os.Stat(d.final(model) + ".index"); err == nil {
		return SavedModel{}, false
	}
	lock, err := readWeightsLock(d.Lock)
	sum, ok := lock[model+"/"+indexName]
	if err != nil || !ok {
		return SavedModel{}, false
	}
	r := Request{Model: model, Times: convert.DefaultTimes, Variant: convert.LightCone}
	found, err := current(filepath.Join(d.store.dir, model, r.name(keyOf(sum))))
	return found, err == nil
}

// intact says whether the model's checkpoint is there and good. One that is damaged
// is to be downloaded again; one that differs from the lock file is an error.
func (d *download) intact(ctx context.Context, model string, result *Downloaded) (bool, error) {
	prefix := d.final(model)
	if _, err := os.Stat(prefix + ".index"); err != nil {
		return false, nil
	}
	hashes, size, err := verifyCheckpoint(ctx, model, filepath.Dir(prefix), func(done, total int64) { d.report(model, StageVerify, done, total) })
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return false, cause
		}
		result.Notes = append(result.Notes, fmt.Sprintf("what was there is replaced: %v", err))
		return false, nil
	}
	result.SHA256, result.Bytes = hashes, size
	return true, d.record(ctx, model, hashes)
}

func (d *download) record(ctx context.Context, model string, hashes map[string]string) error {
	obtained := weightsLock{}
	for name, sum := range hashes {
		obtained[model+"/"+name] = sum
	}
	return updateWeightsLock(ctx, d.Lock, filepath.Join(d.Checkpoints, ".lock"), obtained, d.UpdateLock)
}

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
		return nil, fmt.Errorf("%s: %w: its data is in %v, and published checkpoints have it in %s", d.shown(model, indexName), bundle.ErrUnsupported, index.Shards, dataName)
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
func (d *download) bring(ctx context.Context, model, work, name string, limit, want int64, number int) (notes []string, err error) {
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
func verifyCheckpoint(ctx context.Context, model, dir string, progress func(done, total int64)) (map[string]string, int64, error) {
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
