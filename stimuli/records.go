package stimuli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
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

	// SHA256 is the content's; see Scanner.Hash. Where it is "", a Reader does not compare.
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
	session *session
	summary Summary
	columns map[string]int
	arrays  map[*arraySource]int
	hashes  hashCache
}

// NewScanner returns a scanner of the options' inputs. The caller closes it. Errors
// are about the preprocessing.
func NewScanner(ctx context.Context, options Options) (*Scanner, error) {
	session, err := newSession(ctx, options)
	if err != nil {
		return nil, err
	}
	return &Scanner{session: session, columns: map[string]int{}, arrays: map[*arraySource]int{}}, nil
}

// Close closes the inputs' files. It is idempotent.
func (s *Scanner) Close() error { return s.session.Close() }

// Found is a record without its hash.
type Found struct {
	Record
	source source
	where  string // the place that asks for it
}

// Scan passes on all stimuli in their order, without hashes and with ids that may be
// equal where they are not given; see Distinguish. Paths are absolute. It reads tables, the
// headers of arrays and, to know their range, the values of floating-point arrays, but no
// picture. Errors wrap ErrInput, or are ctx's; files that are missing Hash meets.
func (s *Scanner) Scan(ctx context.Context, each func(Found) error) (*Summary, error) {
	f := finder{session: s.session, emit: func(f found) error {
		record, err := s.record(f)
		if err != nil {
			return err
		}
		return each(Found{record, f.source, f.where})
	}}
	if err := f.all(ctx); err != nil {
		return nil, err
	}
	s.summary.Name, s.summary.Inputs = s.session.name(), s.session.inputs
	s.summary.Stills = s.session.stills
	s.summary.Kinds = f.columns.kinds()
	s.summary.Pictures, s.summary.Sequences, s.summary.Timed = s.session.pictures, s.session.sequences, s.session.timed
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

// Check says whether a stimulus can be read, as far as that shows without decoding it: what
// is not there, no picture, too large or cut short. Objects in stores are not looked at, since
// each would cost a request, nor are videos read. It may be called from several goroutines.
func (s *Scanner) Check(_ context.Context, f *Found) error {
	if s.session.options.AllowMissing {
		return nil
	}
	child := s.session.child()
	if err := child.present(f.source); err != nil {
		return inputf("%s: %w", f.where, err)
	}
	return child.checkHeaders(f.source, &sync.Map{})
}

// Hash returns the SHA-256 of a stimulus's content, in hexadecimal digits: of the file's bytes;
// for a sequence of files of the hashes of its files, with their timesteps as 64-bit
// little-endian integers if a table gives them; for an array of the stimulus's values, uint8 or
// little-endian float32. A file that is not there has the hash "missing" if AllowMissing is set,
// and one that cannot be opened "unreadable". Files that
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
	child := s.session.child()
	if err := s.Check(ctx, f); err != nil {
		return "", err
	}
	if sum, err = f.source.hash(ctx, child); err == nil {
		if single != "" {
			s.hashes.put(single, stamp, sum)
		}
		return sum, nil
	}
	var file *fs.PathError
	switch {
	case s.session.options.AllowMissing && errors.Is(err, fs.ErrNotExist):
		return missing, nil
	case errors.As(err, &file) && s.session.options.AllowMissing:
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

// child returns a session of the same options with hashes of files of its own.
func (s *session) child() *session {
	return &session{options: s.options, preprocessing: s.preprocessing, notices: s.notices, remotes: s.remotes,
		said: s.said, ctx: s.ctx, cancel: func() {}}
}

// Find returns the records of all stimuli of the options' inputs, without hashes, so that a
// Reader takes their contents for what they are when they are read. It reads tables, the headers
// of arrays and, to know their range, the values of floating-point arrays, but no picture.
// Errors wrap ErrInput, one of tfconvrnn's about an impossible preprocessing, or ctx's.
func Find(ctx context.Context, options Options) ([]*Record, *Summary, error) {
	s, err := NewScanner(ctx, options)
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	found, summary, err := s.find(ctx)
	if err != nil {
		return nil, nil, err
	}
	list := make([]*Record, len(found))
	for i := range found {
		list[i] = &found[i].Record
	}
	return list, summary, nil
}

// find returns all stimuli, with ids that differ.
func (s *Scanner) find(ctx context.Context) (found []Found, _ *Summary, err error) {
	summary, err := s.Scan(ctx, func(f Found) error {
		if !s.session.options.AllowMissing {
			if err := s.session.present(f.source); err != nil {
				return inputf("%s: %w", f.where, err)
			}
		}
		found = append(found, f)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	records := make([]Record, len(found))
	for i := range found {
		records[i] = found[i].Record
	}
	err = Distinguish(records, summary.Arrays)
	for i := range found {
		found[i].Record = records[i]
	}
	return found, summary, err
}

// Distinguish makes the equal ids among records different, by more of their paths, and returns
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
