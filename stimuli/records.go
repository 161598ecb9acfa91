package stimuli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/storage"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Record is a stimulus in a form that can be written down and read on another
// machine. Exactly one of Picture, Animation, Video, Sequence and Array says where it
// comes from.
type Record struct {
	ID string `json:"id"`
	// Given: the id is from a table, and must not be changed.
	Given bool `json:"given,omitempty"`
	// Path is the column stimulus_path; Where is the row of a table that names the
	// stimulus, for messages.
	Path  string `json:"path"`
	Where string `json:"where,omitempty"`

	Picture   string    `json:"picture,omitempty"`
	Animation string    `json:"animation,omitempty"`
	Video     string    `json:"video,omitempty"`
	Sequence  *Sequence `json:"sequence,omitempty"`
	Array     *ArrayRow `json:"array,omitempty"`

	// SHA256 is the content's; see Set.Hashes.
	SHA256 string `json:"sha256"`
	// Cells are the values of the scan's columns known so far; those that come to be
	// known later are "".
	Cells []string `json:"cells,omitempty"`
}

// Sequence is a sequence of picture files.
type Sequence struct {
	Paths     []string `json:"paths"`
	Wheres    []string `json:"wheres,omitempty"`
	Timesteps []int    `json:"timesteps,omitempty"`
}

// ArrayRow is a row of an array, by its index in Summary.Arrays.
type ArrayRow struct {
	Array int `json:"array"`
	Row   int `json:"row"`
}

// Array is an array that stimuli are rows of.
type Array struct {
	File string `json:"file"`
	Name string `json:"name,omitempty"`
	// Scale: the values are 0 … 255 and not integers.
	Scale bool `json:"scale,omitempty"`
}

// Summary says what all records of a scan have in common.
type Summary struct {
	Name      string  `json:"name"`
	Inputs    []Input `json:"inputs"`
	Pictures  bool    `json:"pictures,omitempty"`
	Sequences bool    `json:"sequences,omitempty"`
	Timed     bool    `json:"timed,omitempty"`
	// Stills is the number of stimuli that are one picture.
	Stills  int      `json:"stills,omitempty"`
	Columns []string `json:"columns,omitempty"`
	// Kinds are those of the columns: TextColumn and so on.
	Kinds  []string `json:"kinds,omitempty"`
	Arrays []Array  `json:"arrays,omitempty"`
}

// Scanner finds stimuli one by one, in memory that does not grow with their number;
// only tables with timesteps, and the entries of each folder, are held whole.
type Scanner struct {
	set     *Set
	summary Summary
	columns map[string]int
	arrays  map[*arraySource]int
	hashes  hashCache
}

// NewScanner returns a scanner of the options' inputs. The caller closes it. Errors
// are those of Open.
func NewScanner(ctx context.Context, options Options) (*Scanner, error) {
	set, err := newSet(ctx, options)
	if err != nil {
		return nil, err
	}
	return &Scanner{set: set, columns: map[string]int{}, arrays: map[*arraySource]int{}}, nil
}

// Close closes the inputs' files. It is idempotent.
func (s *Scanner) Close() error { return s.set.Close() }

// Found is a record without its hash.
type Found struct {
	Record
	source source
}

// Scan passes on all stimuli in their order, without hashes and with ids that may be
// equal where they are not given; see Distinguish. Paths are absolute. Errors are
// those of Open, but for files that are missing, which Hash meets.
func (s *Scanner) Scan(ctx context.Context, each func(Found) error) (*Summary, error) {
	f := finder{set: s.set, emit: func(f found) error {
		record, err := s.record(f)
		if err != nil {
			return err
		}
		return each(Found{record, f.source})
	}}
	if err := f.all(ctx); err != nil {
		return nil, err
	}
	s.summary.Name, s.summary.Inputs = s.set.Name(), s.set.inputs
	s.summary.Stills = s.set.stills
	s.summary.Kinds = f.columns.kinds()
	s.summary.Pictures, s.summary.Sequences, s.summary.Timed = s.set.pictures, s.set.sequences, s.set.timed
	return &s.summary, nil
}

func (s *Scanner) record(f found) (Record, error) {
	r := Record{ID: f.id, Given: f.fixed, Path: f.shown}
	absolute := func(name string) string {
		if IsRemote(name) {
			return name
		}
		whole, err := filepath.Abs(name)
		if err != nil {
			return name
		}
		return whole
	}
	switch src := f.source.(type) {
	case *pictureFile:
		r.Picture, r.Where = absolute(src.path), src.where
	case *animationFile:
		r.Animation, r.Where = absolute(src.path), src.where
	case *videoFile:
		r.Video, r.Where = absolute(src.path), src.where
	case *sequenceFiles:
		r.Sequence = &Sequence{Wheres: src.wheres, Timesteps: src.timesteps}
		if src.timesteps != nil {
			r.Where = f.where
		}
		for _, name := range src.paths {
			r.Sequence.Paths = append(r.Sequence.Paths, absolute(name))
		}
	case *arrayRow:
		index, ok := s.arrays[src.arraySource]
		if !ok {
			index = len(s.summary.Arrays)
			s.arrays[src.arraySource] = index
			s.summary.Arrays = append(s.summary.Arrays, Array{File: absolute(src.file), Name: src.name, Scale: src.scale})
		}
		r.Array = &ArrayRow{index, src.row}
	default:
		return r, fmt.Errorf("stimuli: no record of %T", src)
	}
	if len(f.names) == 0 {
		return r, nil
	}
	for _, name := range f.names {
		if _, ok := s.columns[name]; !ok {
			s.columns[name] = len(s.summary.Columns)
			s.summary.Columns = append(s.summary.Columns, name)
		}
	}
	r.Cells = make([]string, len(s.summary.Columns))
	for i, name := range f.names {
		r.Cells[s.columns[name]] = f.cells[i]
	}
	return r, nil
}

// Hash returns a stimulus's SHA-256; see Set.Hashes for what it is of. Files that
// several stimuli name are read once as long as their size and time do not change. It
// may be called from several goroutines.
func (s *Scanner) Hash(ctx context.Context, f *Found) (string, error) {
	var sum string
	var err error
	single := f.Picture + f.Animation + f.Video
	known, stamp := "", fileStamp{}
	if single != "" {
		known, stamp = s.hashes.get(single)
	}
	if known != "" {
		return known, nil
	}
	child := s.set.child()
	if !s.set.options.AllowMissing {
		if err := child.checkHeaders(f.source, &sync.Map{}); err != nil {
			return "", err
		}
	}
	if sum, err = f.source.hash(ctx, child); err == nil {
		if single != "" {
			s.hashes.put(single, stamp, sum)
		}
		return sum, nil
	}
	var file *fs.PathError
	switch {
	case s.set.options.AllowMissing && errors.Is(err, fs.ErrNotExist):
		return missing, nil
	case errors.As(err, &file) && s.set.options.AllowMissing:
		return unreadable, nil
	case !errors.Is(err, ErrInput) && context.Cause(ctx) == nil:
		err = inputError{err}
	}
	return "", err
}

// hashCache remembers the hashes of files, up to a number.
type hashCache struct {
	mu    sync.Mutex
	files map[string]hashedFile
}

type hashedFile struct {
	stamp fileStamp
	sum   string
}

// fileStamp changes when a file does, as far as the file system tells.
type fileStamp struct{ size, modified int64 }

const maxHashedFiles = 1 << 16

func stampOf(name string) (stamp fileStamp, ok bool) {
	if IsRemote(name) {
		return stamp, true // one scan takes an object for what it was when it was met
	}
	info, err := os.Stat(name)
	if err != nil {
		return stamp, false
	}
	return fileStamp{info.Size(), info.ModTime().UnixNano()}, true
}

func (c *hashCache) get(name string) (string, fileStamp) {
	stamp, ok := stampOf(name)
	if !ok {
		return "", stamp
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.files[name]; ok && known.stamp == stamp {
		return known.sum, stamp
	}
	return "", stamp
}

func (c *hashCache) put(name string, stamp fileStamp, sum string) {
	if now, ok := stampOf(name); !ok || now != stamp {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files == nil || len(c.files) >= maxHashedFiles {
		c.files = map[string]hashedFile{}
	}
	c.files[name] = hashedFile{stamp, sum}
}

// child returns a set of the same options with hashes of files of its own.
func (s *Set) child() *Set {
	return &Set{options: s.options, preprocessing: s.preprocessing, notices: s.notices, remotes: s.remotes, said: s.said, ctx: s.ctx, cancel: func() {}}
}

// Distinguish makes the equal ids among records different, as Open does, and returns
// an error that wraps ErrDuplicate where given ones are equal. It has to see all
// records whose ids are equal to another's.
func Distinguish(records []Record, arrays []Array) error {
	ids, origins := make([]string, len(records)), make([]string, len(records))
	given := map[string]int{}
	for i := range records {
		r := &records[i]
		ids[i], origins[i] = r.ID, r.origin(arrays)
		if !r.Given {
			continue
		}
		if other, ok := given[r.ID]; ok {
			return inputf("%s: %w: %q is also that of %s", r.Where, ErrDuplicate, r.ID, records[other].Where)
		}
		given[r.ID] = i
	}
	distinguish(ids, origins, func(i int) bool { return records[i].Given })
	for i := range records {
		records[i].ID = ids[i]
	}
	return nil
}

func (r *Record) origin(arrays []Array) string {
	switch {
	case r.Sequence != nil:
		return (&sequenceFiles{paths: r.Sequence.Paths, timesteps: r.Sequence.Timesteps}).origin()
	case r.Array != nil && r.Array.Array < len(arrays):
		return fmt.Sprintf("%s[%d]", arrays[r.Array.Array].File, r.Array.Row)
	}
	return r.Picture + r.Animation + r.Video
}

// ErrMissing means that a stimulus could not be read when its content was hashed.
var ErrMissing = errors.New("file was missing or could not be read when the stimuli were listed")

// Reader makes stimuli of records. It may be used from several goroutines. The caller
// closes it.
type Reader struct {
	set    *Set
	arrays []Array

	mu      sync.Mutex
	sources map[int]*arraySource
}

// NewReader returns a reader of records of a scan with the same options, of which
// Inputs, Stdin and AllowMissing do not count. Errors are about the preprocessing.
func NewReader(ctx context.Context, options Options, arrays []Array) (*Reader, error) {
	set, err := newSet(ctx, options)
	if err != nil {
		return nil, err
	}
	return &Reader{set: set, arrays: arrays, sources: map[int]*arraySource{}}, nil
}

// Close closes files and ends what reads them. It is idempotent.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.set.Close()
}

// Stimulus returns a record's stimulus. What is wrong with it comes up when its
// frames are loaded: an error that wraps ErrMissing if the record says so, ErrChanged
// if its content is not the one that the record says, and others of Set.From.
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
	s := r.set.child()
	expect := func(name string) error {
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
		q := &sequenceFiles{paths: record.Sequence.Paths, wheres: record.Sequence.Wheres, timesteps: record.Sequence.Timesteps}
		if q.timesteps != nil && len(q.timesteps) != len(q.paths) {
			return tfconvrnn.Stimulus{}, inputf("%s: the plan has %d timesteps for %d frames", record.place(), len(q.timesteps), len(q.paths))
		}
		sum, err := q.hash(s.ctx, s)
		if err == nil && sum != record.SHA256 {
			err = inputf("%s: %w", record.place(), ErrChanged)
		}
		if err != nil {
			return tfconvrnn.Stimulus{}, err
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
	file, err := features.OpenArrays(a.File)
	if err != nil {
		return nil, inputError{err}
	}
	array, err := file.Array(a.Name)
	if err != nil {
		file.Close()
		return nil, inputError{err}
	}
	r.set.closers = append(r.set.closers, file.Close)
	source := &arraySource{file: a.File, name: a.Name, array: array, bytes: array.Info().DataType == features.Uint8, scale: a.Scale}
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
	case errors.As(err, &file), errors.Is(err, ErrNoFFmpeg), errors.Is(err, ErrChanged), errors.Is(err, storage.ErrRemote), errors.Is(err, fs.ErrNotExist),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	}
	return true
}
