package savedmodels

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	"github.com/tfconvrnn/go/internal/cachedir"
	"github.com/tfconvrnn/go/internal/disk"
	"github.com/tfconvrnn/go/internal/fetchfile"
)

// ErrDownload is wrapped by errors about the network or a server.
var ErrDownload = fetchfile.ErrDownload

// ErrNotAtSource is wrapped, beside ErrDownload, by the error for a file that the source lacks.
var ErrNotAtSource = errors.New("the source lacks the file")

// ErrDownloadOptions is wrapped by the error for DownloadOptions that contradict themselves.
var ErrDownloadOptions = errors.New("impossible download")

// ErrNoSpace is wrapped by the error for a disk that is too full.
var ErrNoSpace = disk.ErrNoSpace

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
	Model string `json:"model"`
	// Already says that nothing had to be downloaded.
	Already bool `json:"already_there"`
	// Bytes is the size of the checkpoint.
	Bytes int64 `json:"bytes"`
	// SHA256 holds the hashes of the checkpoint's files by name, if it is there.
	SHA256 map[string]string `json:"sha256,omitempty"`
	// Prefix is the checkpoint's, or "" if it was discarded.
	Prefix string `json:"checkpoint,omitempty"`
	// SavedModel is the converted model; its Dir is "" if it was not converted.
	SavedModel SavedModel `json:"-"`
	// Notes are oddities that are no errors.
	Notes []string `json:"notes,omitempty"`
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
// They wrap ErrUnknownModel, ErrDownloadOptions, ErrDownload, ErrNoSpace, ErrLocked, convert.ErrCorrupt,
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
		return nil, fmt.Errorf("%w: no model is named", ErrDownloadOptions)
	}
	seen := map[string]bool{}
	for _, model := range o.Models {
		if _, err := Lookup(model); err != nil {
			return nil, err
		}
		if seen[model] {
			return nil, fmt.Errorf("%w: %s is named twice", ErrDownloadOptions, model)
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
	if o.Parallel == 0 {
		o.Parallel = 4
	}
	if o.Parallel < 0 {
		return nil, fmt.Errorf("%w: %d models at a time", ErrDownloadOptions, o.Parallel)
	}
	if o.space == nil {
		o.space = disk.Check
	}
	if o.DiscardCheckpoint && o.SkipConversion {
		return nil, fmt.Errorf("%w: a checkpoint that is not converted cannot be discarded", ErrDownloadOptions)
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
		Model: model, Weights: Weights(d.Checkpoints),
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
	hashes, size, err := verifyCheckpoint(ctx, model, filepath.Dir(prefix), func(done, total int64) {
		d.report(model, StageVerify, done, total)
	})
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
