package stimuli

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"iter"
	"sync"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/hdf5"
	"github.com/tfconvrnn/go/internal/storage"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// ErrMissing means that a stimulus could not be read when its content was hashed.
var ErrMissing = errors.New("no such file, or none that could be read, when the stimuli were listed")

// Reader makes stimuli of records. It may be used from several goroutines. The caller
// closes it.
type Reader struct {
	session *session
	arrays  []Array

	mu      sync.Mutex
	sources map[int]*arraySource
}

// NewReader returns a reader of records of a scan with the same options, of which
// Inputs, Stdin and AllowMissing do not count. Errors are about the preprocessing.
func NewReader(ctx context.Context, options Options, arrays []Array) (*Reader, error) {
	session, err := newSession(ctx, options)
	if err != nil {
		return nil, err
	}
	return &Reader{session: session, arrays: arrays, sources: map[int]*arraySource{}}, nil
}

// Close closes files and ends what reads them. It is idempotent.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.session.Close()
}

// Noticed returns how many of the pictures that were read so far are of a kind that may
// surprise, by the kind.
func (r *Reader) Noticed() map[string]int { return r.session.notices.Counts() }

// Stimuli returns the stimuli of records, as Stimulus does. A record need not stay as it is
// after the next.
func (r *Reader) Stimuli(records iter.Seq[*Record]) iter.Seq[tfconvrnn.Stimulus] {
	return func(yield func(tfconvrnn.Stimulus) bool) {
		for record := range records {
			if !yield(r.Stimulus(record)) {
				return
			}
		}
	}
}

// Stimulus returns a record's stimulus. What is wrong with it comes up when its
// frames are loaded: an error that wraps ErrMissing if the record says so, ErrChanged
// if its content is not the one that the record says, and others about the files.
func (r *Reader) Stimulus(record *Record) tfconvrnn.Stimulus {
	stimulus, err := r.stimulus(record)
	if err != nil {
		stimulus = tfconvrnn.Stimulus{Frames: []*tfconvrnn.Image{failing(err)}}
	}
	stimulus.ID = record.ID
	return stimulus
}

func (r *Reader) stimulus(record *Record) (tfconvrnn.Stimulus, error) {
	if record.SHA256 == missing || record.SHA256 == unreadable {
		return tfconvrnn.Stimulus{}, inputf("%s: %w", record.place(), ErrMissing)
	}
	s := r.session.child()
	expect := func(name string) error {
		if record.SHA256 == "" {
			return nil
		}
		sum, err := hex.DecodeString(record.SHA256)
		if err != nil || len(sum) != 32 {
			return inputf("%s: the plan's hash %q is damaged", record.place(), record.SHA256)
		}
		s.files.Store(name, [32]byte(sum))
		return nil
	}
	where := record.Where
	switch {
	case record.Picture != "":
		if err := expect(record.Picture); err != nil {
			return tfconvrnn.Stimulus{}, err
		}
		return (&pictureFile{record.Picture, where}).stimulus(s)
	case record.Animation != "":
		if err := expect(record.Animation); err != nil {
			return tfconvrnn.Stimulus{}, err
		}
		return (&animationFile{record.Animation, where}).stimulus(s)
	case record.Video != "":
		if err := expect(record.Video); err != nil {
			return tfconvrnn.Stimulus{}, err
		}
		return (&videoFile{record.Video, where}).stimulus(s)
	case record.Sequence != nil && len(record.Sequence.Paths) > 0:
		q := &sequenceFiles{paths: record.Sequence.Paths, wheres: record.Sequence.Wheres,
			timesteps: record.Sequence.Timesteps}
		if q.timesteps != nil && len(q.timesteps) != len(q.paths) {
			return tfconvrnn.Stimulus{}, inputf("%s: the plan has %d timesteps for %d frames", record.place(), len(q.timesteps),
				len(q.paths))
		}
		if record.SHA256 != "" {
			sum, err := q.hash(s.ctx, s)
			if err == nil && sum != record.SHA256 {
				err = inputf("%s: %w", record.place(), ErrChanged)
			}
			if err != nil {
				return tfconvrnn.Stimulus{}, err
			}
		}
		return q.stimulus(s) // its files are compared with their hashes
	case record.Array != nil:
		source, err := r.array(record.Array.Array)
		if err != nil {
			return tfconvrnn.Stimulus{}, err
		}
		return (&arrayRow{arraySource: source, row: record.Array.Row, expected: record.SHA256}).stimulus(s)
	}
	return tfconvrnn.Stimulus{}, inputf("%s: the plan does not say where it comes from", record.place())
}

func (r *Record) place() string {
	if r.Where != "" {
		return r.Where
	}
	return r.Path
}

// array opens an array when it is first asked for.
func (r *Reader) array(index int) (*arraySource, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if source := r.sources[index]; source != nil {
		return source, nil
	}
	if index < 0 || index >= len(r.arrays) {
		return nil, inputf("the plan has no array %d", index)
	}
	a := r.arrays[index]
	file, err := openArrays(a.File)
	if err != nil {
		return nil, inputError{err}
	}
	array, err := file.pixels(a.Name)
	if err != nil {
		file.Close()
		return nil, inputError{err}
	}
	r.session.closers = append(r.session.closers, file.Close)
	source := &arraySource{file: a.File, name: a.Name, array: array, bytes: array.Info().DataType == features.Uint8,
		scale: a.Scale}
	r.sources[index] = source
	return source, nil
}

// IsStimulusFault tells whether an error that came up when a stimulus was read is the
// stimulus's own, so that it comes up on every machine at every time, and not one of
// the disk, the network, or a program that is not installed.
func IsStimulusFault(err error) bool {
	if errors.Is(err, ErrMissing) {
		return true
	}
	var file *fs.PathError
	switch {
	// HDF5 does not tell a damaged file from a disk that fails.
	case errors.As(err, &file), errors.Is(err, ErrNoFFmpeg), errors.Is(err, hdf5.ErrNoLibrary),
		errors.Is(err, hdf5.ErrFormat), errors.Is(err, ErrChanged), errors.Is(err, storage.ErrRemote),
		errors.Is(err, fs.ErrNotExist), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	}
	return true
}
