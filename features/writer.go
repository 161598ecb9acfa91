package features

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"
)

// Options say how Create deals with what is already there. The zero value
// refuses to replace anything and writes without a journal.
type Options struct {
	// Force replaces an existing output (at Finish, not before) and discards
	// an interrupted run.
	Force bool
	// Identity is everything that determines the output's bytes: model,
	// weights, presentation, preprocessing, stimuli. It must be a value that
	// encoding/json can marshal. With an identity a journal is kept and the
	// run can be resumed; without (nil) an interrupted run leaves nothing of
	// use.
	Identity any
	// Resume continues an interrupted run if there is one (and starts anew if
	// not). It fails with *ResumeMismatchError where Identity or Layout differ.
	Resume bool
	// Accept is asked where Resume finds a run of another Identity or Layout, with its
	// identity and the number of rows that it has finished. It returns how many of the
	// first of them may stay, or what speaks against going on. Nil accepts no other run.
	Accept func(before json.RawMessage, rows int) (keep int, differences []Difference, err error)
	// Fill has the values that rows which stay have in streamed arrays that the
	// interrupted run did not have, by the arrays' names.
	Fill map[string]float32
	// ForceSize writes even when the disk does not seem to have the room.
	ForceSize bool
	// CheckpointBytes and CheckpointInterval say how much may be lost by a
	// crash: the journal advances when either is reached. Defaults: 64 MiB,
	// since what is synced leaves the page cache, the memory of which the
	// next bytes then take; 10 s.
	CheckpointBytes    int64
	CheckpointInterval time.Duration
	// ChunkRows is the number of presentations in a Zarr chunk, which is also
	// the least that a crash can cost; 0 chooses chunks of about 8 MiB.
	ChunkRows int
	// Uncompressed leaves Zarr chunks as they are, which is faster.
	Uncompressed bool
}

// Writer writes one output. Its methods must not be called concurrently.
type Writer interface {
	// WriteRows appends rows to a streamed array (an index into
	// Layout.Streamed). data holds whole rows in C order and is not retained.
	// firstRow must be the next row of that array, else ErrOrder; it starts at
	// Resumed. The arrays may be interleaved; the journal advances when all of
	// them have the same number of rows. A full disk gives ErrNoSpace.
	WriteRows(array, firstRow int, data []float32) error
	// Resumed returns how many rows of every array an interrupted run left
	// behind, checked; 0 for a new output.
	Resumed() int
	// Finish makes the output appear under its name, synced to disk. Before
	// every row is written it gives ErrIncomplete and changes nothing. The
	// Writer is closed whether Finish succeeds or not, except after
	// ErrIncomplete; after an error an output with a journal can be resumed,
	// one without is removed.
	Finish(ctx context.Context) error
	// Suspend stops writing and keeps what a resumed run needs; without a
	// journal it is Abort. Idempotent, and without effect after Finish.
	Suspend() error
	// Abort stops writing and removes everything unfinished. Idempotent, and
	// without effect after Finish.
	Abort() error
}

// Create starts or resumes an output at path. The caller ends it with
// Finish, Suspend or Abort. Errors: ErrLayout, ErrDataType, ErrTooLarge,
// ErrExists, ErrUnfinished, ErrBusy, ErrNoSpace, ErrJournal,
// ErrResumeMismatch.
func Create(path string, format Format, layout *Layout, options Options) (Writer, error) {
	if options.CheckpointBytes <= 0 {
		options.CheckpointBytes = 64 << 20
	}
	if options.CheckpointInterval <= 0 {
		options.CheckpointInterval = 10 * time.Second
	}
	var identity json.RawMessage
	if options.Identity != nil {
		var err error
		if identity, err = json.Marshal(options.Identity); err != nil {
			return nil, fmt.Errorf("%w: identity: %w", ErrLayout, err)
		}
	} else if options.Resume {
		return nil, fmt.Errorf("%w: resuming needs an identity", ErrLayout)
	}
	path = filepath.Clean(path)
	if spec := format.spec(); spec != nil && spec.create != nil {
		return spec.create(path, layout, options)
	}
	if options.Resume && options.Accept != nil {
		if err := resumeAsOther(path, format, layout, identity, options); err != nil {
			return nil, err
		}
	}
	t, s, err := newSink(path, format, layout)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return newEngine(path, t, s, layout, identity, options)
}

// Size returns the bytes that the output will take on disk; for Zarr, which
// compresses, and a folder of .npy with a mask the most that it can take.
func (l *Layout) Size(format Format) (int64, error) {
	if spec := format.spec(); spec != nil && spec.size != nil {
		return spec.size(l)
	}
	_, s, err := newSink("output", format, l)
	if err != nil {
		return 0, err
	}
	return s.size(), nil
}

// checkColumns refuses columns whose values come later.
func (l *Layout) checkColumns() error {
	for _, c := range l.Columns {
		if _, later := c.Values.(ColumnType); later {
			return fmt.Errorf("%w: column %q has no values", ErrLayout, c.Name)
		}
	}
	return nil
}

// newSink plans an output, without touching the disk.
func newSink(path string, format Format, layout *Layout) (target, *fixedSink, error) {
	fail := func(err error) (target, *fixedSink, error) { return target{}, nil, err }
	if err := layout.validate(); err != nil {
		return fail(err)
	}
	if err := layout.checkColumns(); err != nil {
		return fail(err)
	}
	spec := format.spec()
	if spec == nil || spec.plan == nil {
		return fail(fmt.Errorf("%w: %w %q; there are %s", ErrLayout, ErrUnknownFormat, format, FormatNames()))
	}
	p, err := spec.plan(path, layout)
	if err != nil {
		return fail(err)
	}
	t := target{format: format, rows: layout.Rows, folder: spec.folder, marker: spec.marker}
	for i := range layout.Streamed {
		t.rowElements = append(t.rowElements, layout.Streamed[i].rowElements())
	}
	for _, f := range p.files {
		t.files = append(t.files, f.name)
	}
	p.folder = spec.folder
	return t, newFixedSink(path, p), nil
}
