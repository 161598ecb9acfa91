package extraction

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/parallel"
	"github.com/tfconvrnn/go/internal/storage"
)

// ErrIncomplete means that chunks are missing or damaged; errors.As with
// *IncompleteError says which.
var ErrIncomplete = errors.New("chunks are missing")

// ErrNoneReadable means that nothing could be computed, because no stimulus could be
// read. There is no output then.
var ErrNoneReadable = errors.New("no stimulus could be read")

var errCorrupt = errors.New("damaged")

// IncompleteError lists what keeps a store from being sealed.
type IncompleteError struct {
	Plan             string
	Chunks           int
	Missing, Corrupt []int
}

// Error lists them.
func (e *IncompleteError) Error() string {
	var parts []string
	if len(e.Missing) > 0 {
		parts = append(parts, fmt.Sprintf("%d are missing (%s)", len(e.Missing), ranges(e.Missing)))
	}
	if len(e.Corrupt) > 0 {
		parts = append(parts, fmt.Sprintf("%d are damaged and count as missing from now on (%s)", len(e.Corrupt),
			ranges(e.Corrupt)))
	}
	return fmt.Sprintf("%s: of %d chunks %s", e.Plan, e.Chunks, strings.Join(parts, " and "))
}

// Unwrap returns ErrIncomplete.
func (e *IncompleteError) Unwrap() error { return ErrIncomplete }

// ranges writes numbers as "1, 4–7, …".
func ranges(numbers []int) string {
	var parts []string
	for i := 0; i < len(numbers); {
		k := i
		for k+1 < len(numbers) && numbers[k+1] == numbers[k]+1 {
			k++
		}
		if len(parts) == 8 {
			return strings.Join(append(parts, "…"), ", ")
		}
		if part := fmt.Sprint(numbers[i]); k > i {
			parts = append(parts, fmt.Sprintf("%s–%d", part, numbers[k]))
		} else {
			parts = append(parts, part)
		}
		i = k + 1
	}
	return strings.Join(parts, ", ")
}

// Begin makes what workers write into, and keeps chunks of this plan that are there
// already. It takes the output from other plans; if chunks of one are written, it is an
// *OtherPlanError, and nothing has changed. replace discards them, and this plan's, and,
// in an object store, an earlier output, which without replace is an error that wraps
// fs.ErrExist.
func (p *Plan) Begin(ctx context.Context, replace bool) error {
	return p.begin(ctx, p.claim(), replace, func(claim) bool { return replace })
}

func (p *Plan) begin(ctx context.Context, own claim, fresh bool, mayDiscard func(claim) bool) error {
	if p.grams != nil {
		return p.beginGrams(ctx, own, fresh, mayDiscard)
	}
	return p.place.begin(ctx, own, fresh, mayDiscard)
}

// Resume is Begin for going on with an interrupted run. It discards chunks of plans that
// had the plan file's name before.
func (p *Plan) Resume(ctx context.Context) error {
	own := p.claim()
	return p.begin(ctx, own, false, func(c claim) bool { return c.Name == own.Name })
}

// Displaced returns the names of the plans from which Begin or Resume has taken the
// output. Their workers are refused from then on.
func (p *Plan) Displaced() []string { return p.place.displaced }

func (p *Plan) claim() claim {
	name := p.name
	if absolute, err := filepath.Abs(name); err == nil && !storage.IsRemote(name) {
		name = absolute
	}
	return claim{Plan: p.hash, Name: name, Chunks: p.Chunks()}
}

// Discard removes what workers have written, and the plan file.
func (p *Plan) Discard(ctx context.Context) error {
	err := errors.Join(p.place.discard(ctx), p.Remove(ctx))
	if p.grams != nil {
		err = errors.Join(err, p.grams.discard(ctx))
	}
	return err
}

// Remove removes the plan file.
func (p *Plan) Remove(ctx context.Context) error {
	if storage.IsRemote(p.name) {
		folder, object, err := storage.Split(p.name)
		if err != nil {
			return err
		}
		s, err := storage.Open(ctx, folder)
		if err != nil {
			return err
		}
		defer s.Close()
		return s.Remove(ctx, object)
	}
	if err := os.Remove(p.name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Sealed returns the seal of the finished store; an error that wraps fs.ErrNotExist
// if it is not finished, or another plan's.
func (p *Plan) Sealed(ctx context.Context) (*Seal, error) { return p.sealedAt(ctx, p.end()) }

func (p *Plan) sealedAt(ctx context.Context, at *place) (*Seal, error) {
	seal, err := at.seal(ctx)
	if err != nil {
		return nil, err
	}
	if seal.Plan != p.hash {
		return nil, fmt.Errorf("%s is sealed, but by another plan: %w", at.output, fs.ErrNotExist)
	}
	return seal, nil
}

// verify checks chunks as verifyChunk does, passes their records in order to each, if
// that is not nil, and returns the chunks whose files are not those of their records.
func (p *Plan) verify(ctx context.Context, done []bool, own recordSums, each func(*ChunkRecord) error,
	progress func(chunks int)) (corrupt []int, err error) {
	const window = 256
	workers := p.parallel
	for first := 0; first < len(done); first += window {
		count := min(window, len(done)-first)
		records := make([]*ChunkRecord, count)
		err := parallel.Each(ctx, workers, count, func(ctx context.Context, i int) error {
			if !done[first+i] {
				return nil
			}
			record, err := p.verifyChunk(ctx, first+i, own)
			if err != nil && !errors.Is(err, errCorrupt) {
				return err
			}
			records[i] = record
			return nil
		})
		if err != nil {
			return nil, err
		}
		for i, record := range records {
			switch {
			case !done[first+i]:
			case record == nil:
				corrupt = append(corrupt, first+i)
			case each != nil && len(corrupt) == 0:
				if err := each(record); err != nil {
					return nil, err
				}
			}
		}
		if progress != nil {
			progress(first + count)
		}
	}
	return corrupt, nil
}

// verifyChunk returns the record of a chunk whose files are as it says. If the record
// is one of own, the files are not read, but must be there.
func (p *Plan) verifyChunk(ctx context.Context, chunk int, own recordSums) (*ChunkRecord, error) {
	record, err := p.completeRecord(ctx, chunk)
	if err != nil {
		return nil, err
	}
	sum, ok := own[chunk]
	known := ok && sum == record.sum() // or another process has written it, too
	for _, f := range record.Files {
		found := f
		if known {
			var object object
			object, err = p.place.chunks.Stat(ctx, f.Name)
			found.Size = object.Size
		} else {
			found.SHA256, found.Size, err = hashObject(ctx, p.place.chunks, f.Name)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil, errCorrupt
		}
		if err != nil {
			return nil, err
		}
		if found != f {
			return nil, errCorrupt
		}
	}
	return record, nil
}

// recordSums are those of the records of chunks.
type recordSums map[int][sha256.Size]byte

// sum is that of the names and checksums of all files.
func (r *ChunkRecord) sum() (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, f := range r.Files {
		fmt.Fprintf(h, "%q %d %s\n", f.Name, f.Size, f.SHA256)
	}
	h.Sum(sum[:0])
	return sum
}

// completeRecord returns the record of a chunk if it names all of its files.
func (p *Plan) completeRecord(ctx context.Context, chunk int) (*ChunkRecord, error) {
	record, err := p.Record(ctx, chunk)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errCorrupt // removed since it was listed
	}
	if err != nil {
		return nil, err
	}
	first, end := p.Rows(chunk)
	want := 0
	for array := range p.layout.Streamed {
		for row := first; row < end; row += p.store.ChunkRows() {
			if want >= len(record.Files) || record.Files[want].Name != p.store.ChunkName(array, row/p.store.ChunkRows()) {
				return nil, errCorrupt
			}
			want++
		}
	}
	if want != len(record.Files) {
		return nil, errCorrupt
	}
	return record, nil
}

func hashObject(ctx context.Context, store store, name string) (string, int64, error) {
	r, err := store.Open(ctx, name)
	if err != nil {
		return "", 0, err
	}
	defer r.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, r)
	if err != nil {
		return "", 0, fmt.Errorf("%s: %w", name, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), size, nil
}

// Finished is what Finish made.
type Finished struct {
	Seal
	// Already: the store was sealed before.
	Already bool
	// Skipped are the stimuli that could not be read, up to MaxSkipped of them.
	Skipped []FailedStimulus
	// SkippedCount is the number of all.
	SkippedCount int
}

// MaxSkipped bounds the stimuli listed in Finished.
const MaxSkipped = 10_000

// Finish reads and verifies every chunk, writes what else belongs to the store, and
// seals it: manifest.sha256 lists the SHA-256 of every file as sha256sum does, and
// sealed.json holds that of the list. Then the store gets its name. What is damaged
// counts as missing from then on; where something is missing the error is an
// *IncompleteError and nothing is sealed. Finishing again is harmless. What own workers
// have written in this process is known and not read again. Of Gram matrices it also makes those that workers have not
// made, and removes the features when these are sealed; progress then goes on with the matrices after the chunks.
func (p *Plan) Finish(ctx context.Context, progress func(chunks int), own ...*Worker) (*Finished, error) {
	if p.grams != nil {
		return p.finishGrams(ctx, progress, own...)
	}
	return p.finishStore(ctx, progress, own...)
}

// finishStore seals the Zarr store.
func (p *Plan) finishStore(ctx context.Context, progress func(chunks int), own ...*Worker) (*Finished, error) {
	if seal, err := p.sealedAt(ctx, p.place); err == nil {
		return &Finished{Seal: *seal, Already: true}, p.place.tidy(ctx)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := p.Ready(ctx); err != nil {
		return nil, err
	}
	done, _, err := p.done(ctx)
	if err != nil {
		return nil, err
	}
	incomplete := &IncompleteError{Plan: p.name, Chunks: p.Chunks()}
	for chunk, there := range done {
		if !there {
			incomplete.Missing = append(incomplete.Missing, chunk)
		}
	}
	if len(incomplete.Missing) > 0 {
		return p.incomplete(ctx, incomplete)
	}
	list, err := newManifest()
	if err != nil {
		return nil, err
	}
	defer list.close()
	sums := recordSums{}
	for _, w := range own {
		maps.Copy(sums, w.written)
	}
	finished := &Finished{}
	incomplete.Corrupt, err = p.verify(ctx, done, sums, func(r *ChunkRecord) error {
		for _, f := range r.Failed {
			if finished.SkippedCount++; finished.SkippedCount <= MaxSkipped {
				finished.Skipped = append(finished.Skipped, f)
			}
		}
		for _, f := range r.Files {
			if err := list.add(f.SHA256, f.Name); err != nil {
				return err
			}
		}
		return nil
	}, progress)
	if err == nil && finished.SkippedCount == p.Stimuli {
		err = fmt.Errorf("%s: %w of %d", p.Output, ErrNoneReadable, p.Stimuli)
	}
	if err != nil {
		return p.finishedMeanwhile(ctx, err)
	}
	if len(incomplete.Corrupt) > 0 {
		for _, chunk := range incomplete.Corrupt {
			if err := p.place.work.Remove(ctx, recordName(chunk)); err != nil {
				return nil, err
			}
		}
		return p.incomplete(ctx, incomplete)
	}
	seal, err := p.seal(ctx, list)
	if err != nil {
		return p.finishedMeanwhile(ctx, err)
	}
	finished.Seal = *seal
	if err := p.place.publish(ctx, p.Replace); err != nil {
		return p.finishedMeanwhile(ctx, err)
	}
	return finished, p.place.tidy(ctx)
}

// finishedMeanwhile turns an error that comes of another process's having finished
// into success, and one that comes of another plan's having taken the output into
// ErrOtherPlan.
func (p *Plan) finishedMeanwhile(ctx context.Context, err error) (*Finished, error) {
	if !errors.Is(err, fs.ErrNotExist) || context.Cause(ctx) != nil {
		return nil, features.DiskError(err)
	}
	ready := p.Ready(ctx)
	if ready == nil {
		return nil, fmt.Errorf("%s: %w (%w)", p.Output, errBegunAnew, err)
	}
	if errors.Is(ready, ErrSealed) {
		if seal, err := p.sealedAt(ctx, p.place); err == nil {
			return &Finished{Seal: *seal, Already: true}, nil
		}
	}
	return nil, ready
}

// incomplete says what is missing, unless it is all because the place has gone.
func (p *Plan) incomplete(ctx context.Context, err *IncompleteError) (*Finished, error) {
	if ready := p.Ready(ctx); ready != nil {
		return p.finishedMeanwhile(ctx, fs.ErrNotExist)
	}
	return nil, err
}

// seal writes columns, metadata, the manifest and the seal.
func (p *Plan) seal(ctx context.Context, list *manifestList) (*Seal, error) {
	put := func(name string, content []byte) error {
		if err := p.place.chunks.Put(ctx, name, content); err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		return list.add(hex.EncodeToString(sum[:]), name)
	}
	if err := p.writeColumns(ctx, put); err != nil {
		return nil, err
	}
	// What makes it a store for readers comes last.
	var marker []byte
	err := p.store.Files(func(name string, content []byte) error {
		if name == ".zgroup" {
			marker = content
			sum := sha256.Sum256(content)
			return list.add(hex.EncodeToString(sum[:]), name)
		}
		return put(name, content)
	})
	if err != nil {
		return nil, err
	}
	file, err := list.rewind()
	if err != nil {
		return nil, err
	}
	if err := p.place.chunks.PutFrom(ctx, manifestName, file); err != nil {
		return nil, err
	}
	seal := &Seal{Plan: p.hash, Manifest: hex.EncodeToString(list.sum.Sum(nil)), Stimuli: p.Stimuli, Chunks: p.Chunks(),
		Files: list.count}
	text, err := json.MarshalIndent(seal, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := p.place.chunks.Put(ctx, ".zgroup", marker); err != nil {
		return nil, err
	}
	return seal, p.place.chunks.Put(ctx, sealName, append(text, '\n'))
}

// manifestList is the text of manifest.sha256, on disk until it is complete.
type manifestList struct {
	file  *os.File
	sum   hash.Hash
	count int
}

func newManifest() (*manifestList, error) {
	file, err := os.CreateTemp("", "tfconvrnn-manifest-*")
	return &manifestList{file: file, sum: sha256.New()}, err
}

func (m *manifestList) add(sum, name string) error {
	m.count++
	_, err := fmt.Fprintf(io.MultiWriter(m.file, m.sum), "%s  %s\n", sum, name)
	return err
}

func (m *manifestList) rewind() (io.Reader, error) {
	_, err := m.file.Seek(0, io.SeekStart)
	return m.file, err
}

func (m *manifestList) close() {
	m.file.Close()
	os.Remove(m.file.Name())
}

// verifySealed compares the files of a finished store with its manifest.
func (p *Plan) verifySealed(ctx context.Context) error {
	return VerifyStore(ctx, p.Output)
}
