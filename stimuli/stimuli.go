package stimuli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/tfconvrnn/go/internal/images"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Options say what the stimuli are. Only Inputs is needed.
type Options struct {
	// Inputs are files, folders, patterns, tables, arrays, or "-"; see the
	// package's documentation.
	Inputs []string
	// Stdin is read where an input is "-".
	Stdin io.Reader
	// Preprocessing says how pictures become 224×224.
	Preprocessing tfconvrnn.Preprocessing
	// Array is the name of the array in .npz files that hold several, or the path of the dataset in HDF5 files.
	Array string
	// ArrayIDs is the name of an array of texts beside it, one for each stimulus: their ids; "" for none.
	ArrayIDs string
	// ArrayRange says what the values of floating-point arrays are: Range1, Range255, or
	// RangeAuto, which "" stands for.
	ArrayRange string
	// Animate takes an animated GIF for a sequence of frames; otherwise it is its
	// first frame.
	Animate bool
	// FolderSequences takes every folder that holds pictures for one stimulus:
	// the sequence of its pictures, by name, with numbers in the order of their
	// values.
	FolderSequences bool
	// MaxFrames is the most frames of a sequence that are read, since a
	// presentation shows no more; 0 means 1000.
	MaxFrames int
	// Visible says which frames of a sequence the presentation ever shows, so that it can
	// be told what is not; see VisibleFrames. nil stands for all.
	Visible []bool
	// FramesPerSecond is the rate at which videos are sampled; 0 means 100, a
	// frame for each timestep.
	FramesPerSecond float64
	// FFmpeg is the program that reads videos; empty means ffmpeg of the PATH.
	FFmpeg string
	// AllowMissing leaves files that are not there for the time when they are
	// shown; otherwise finding or hashing them reports it.
	AllowMissing bool
	// PathColumn is the column of tables that holds the stimuli's paths; "" stands for
	// stimulus_path, path, or, beside stimulus_id, filename.
	PathColumn string
	// Columns are those of tables that come along, besides paths, ids and timesteps;
	// nil stands for all.
	Columns []string
	// TableRoot is a folder that tables may name files in, besides the table's own;
	// "/" lets them name any.
	TableRoot string
	// Warn is called with what the user should know. It may be called from
	// several goroutines. May be nil.
	Warn func(message string)
	// Note is called with what was decided as usual. May be nil.
	Note func(message string)
}

// Limits on what inputs may ask for.
const (
	defaultMaxFrames       = 1000
	defaultFramesPerSecond = 100
	maxStimuli             = 20_000_000
)

// Input says where some stimuli come from, without a directory, for provenance.
type Input struct {
	Name string `json:"name"`
	// Kind is "picture", "animation", "video", "folder", "table", or the array's
	// type and "array".
	Kind    string `json:"kind"`
	Stimuli int    `json:"stimuli"`
	// PathColumn is the column of a table that was asked for as that of the paths.
	PathColumn string `json:"path_column,omitempty"`
	// Range is what the values of floating-point arrays were taken for, Range1 or Range255
	// (both for a list of several), and Clamped the number of them beyond it.
	Range   string `json:"range,omitempty"`
	Clamped int    `json:"clamped,omitempty"`
}

// ranges takes the ranges of a list's inputs over.
func (i *Input) ranges(inputs []Input) {
	for _, other := range inputs {
		i.Clamped += other.Clamped
		if other.Range != "" && !strings.Contains(i.Range, other.Range) {
			i.Range = strings.TrimPrefix(i.Range+" and "+other.Range, " and ")
		}
	}
}

// Column is a property of all stimuli. Values is []string, []float64, []int64 or
// []bool, one for each stimulus; what an input lacks is "" or NaN.
type Column struct {
	Name   string
	Values any
}

// session is what reads the inputs, and what was met on the way. It may be used from several
// goroutines, but not while a finder changes it.
type session struct {
	options       Options
	preprocessing images.Preprocessing
	notices       *images.Notices
	inputs        []Input
	pictures      bool
	sequences     bool
	timed         bool
	stills        int
	closers       []func() error
	remotes       *remotes

	// ctx ends with Close, and with it the ffmpeg that may still run.
	ctx    context.Context
	cancel context.CancelFunc

	files sync.Map // path → hash that a file's content must have

	said *said // shared by all children
}

// source is where a stimulus comes from.
type source interface {
	// stimulus returns the stimulus without an id. What is wrong with it may also
	// come up when its frames are loaded.
	stimulus(s *session) (tfconvrnn.Stimulus, error)
	// hash returns the SHA-256 of the content, in hexadecimal digits.
	hash(ctx context.Context, s *session) (string, error)
}

// newSession returns a session without stimuli.
func newSession(ctx context.Context, options Options) (*session, error) {
	canonical, err := options.Preprocessing.Canonical()
	if err != nil {
		return nil, err
	}
	preprocessing, err := images.ParsePreprocessing(canonical.String())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", tfconvrnn.ErrOption, err)
	}
	if options.MaxFrames <= 0 {
		options.MaxFrames = defaultMaxFrames
	}
	if options.FramesPerSecond <= 0 {
		options.FramesPerSecond = defaultFramesPerSecond
	}
	s := &session{
		options: options, preprocessing: preprocessing, remotes: &remotes{}, said: &said{},
		notices: &images.Notices{Warn: options.Warn, Note: options.Note, Animate: options.Animate},
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return s, nil
}

// Close closes the inputs' files and ends what reads them, and says how many pictures
// there were of those that Options.Warn and Note told the first of. It is idempotent.
func (s *session) Close() error {
	s.cancel()
	s.notices.Close()
	var err error
	for _, closeFile := range s.closers {
		err = errors.Join(err, closeFile())
	}
	s.closers = nil
	return errors.Join(err, s.remotes.close())
}

// name names the stimuli after their inputs.
func (s *session) name() string {
	if len(s.inputs) == 1 {
		return s.inputs[0].Name
	}
	return fmt.Sprintf("%s and %d more", s.inputs[0].Name, len(s.inputs)-1)
}

func failing(err error) *tfconvrnn.Image {
	return tfconvrnn.LazyImage(func() ([]uint8, error) { return nil, err })
}

func (s *session) warn(format string, args ...any) {
	if s.options.Warn != nil {
		s.options.Warn(fmt.Sprintf(format, args...))
	}
}

func (s *session) note(format string, args ...any) {
	if s.options.Note != nil {
		s.options.Note(fmt.Sprintf(format, args...))
	}
}

// warnOnce is warn for what many stimuli may have in common: only the first of a kind
// is told.
func (s *session) warnOnce(kind, format string, args ...any) {
	if s.said.first(kind) {
		s.warn(format, args...)
	}
}

// said are the kinds of warnings that were told.
type said struct {
	mu    sync.Mutex
	kinds map[string]bool
}

func (s *said) first(kind string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kinds[kind] {
		return false
	}
	if s.kinds == nil {
		s.kinds = map[string]bool{}
	}
	s.kinds[kind] = true
	return true
}

// distinguish makes equal IDs different: by more of the path that they come from,
// and where that is the same too by a number. Those of fixed stay as they are.
func distinguish(ids, origins []string, fixed func(i int) bool) {
	for changed := true; changed; {
		changed = false
		several := map[string]bool{} // whether an id stands for different files
		origin := map[string]string{}
		for i, id := range ids {
			if first, ok := origin[id]; !ok {
				origin[id] = origins[i]
			} else if first != origins[i] {
				several[id] = true
			}
		}
		for i, id := range ids {
			if !several[id] || fixed(i) {
				continue
			}
			components := pathComponents(origins[i])
			used := strings.Count(id, "/") + 1
			if used < len(components)-1 {
				ids[i] = strings.Join(components[len(components)-used-1:], "/")
				changed = true
			}
		}
	}
	count := counts(ids)
	next := map[string]int{}
	taken := map[string]bool{}
	for i, id := range ids {
		if fixed(i) {
			taken[id] = true
		}
	}
	for i, id := range ids {
		if fixed(i) {
			continue
		}
		for taken[ids[i]] {
			next[id]++
			if n := next[id] + 1; count[fmt.Sprintf("%s#%d", id, n)] == 0 {
				ids[i] = fmt.Sprintf("%s#%d", id, n)
			}
		}
		taken[ids[i]] = true
	}
}

func counts(ids []string) map[string]int {
	count := make(map[string]int, len(ids))
	for _, id := range ids {
		count[id]++
	}
	return count
}

func pathComponents(origin string) []string {
	if absolute, err := filepath.Abs(origin); err == nil {
		origin = absolute
	}
	return strings.Split(filepath.ToSlash(filepath.Clean(origin)), "/")
}

// validText tells whether a name can be stored in every output format.
func validText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }
