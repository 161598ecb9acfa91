package stimuli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tfconvrnn/go/internal/images"
)

// classColumn holds the folder that a picture lies in, relative to the input.
const classColumn = "class"

// maxList is the longest list read from standard input, in bytes.
const maxList = 1 << 30

// Suffixes of the files taken from folders. What a picture is, its content says.
var (
	pictureSuffixes = images.Extensions()
	videoSuffixes   = []string{".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".ogv"}
	tableSuffixes   = []string{".csv", ".tsv"}
	hdf5Suffixes    = []string{".h5", ".hdf5", ".hdf"}
	arraySuffixes   = slices.Concat([]string{".npy", ".npz"}, hdf5Suffixes)
	listSuffixes    = []string{".txt"}
)

func hasSuffix(name string, suffixes []string) bool {
	return slices.Contains(suffixes, strings.ToLower(filepath.Ext(name)))
}

// found is a stimulus as the inputs name it.
type found struct {
	id string
	// fixed: the id was given, not made.
	fixed bool
	// shown is how its path is told to others, where the place that asks for it.
	shown, where string
	source       source
	names, cells []string // of further columns
	fromTable    bool
	comma        bool // the table's numbers may have decimal commas
}

// finder looks through inputs and passes on what it finds, one by one.
type finder struct {
	session *session
	emit    func(found) error
	count   int
	class   []string // of what a pattern fits, else nil
	stdin   bool
	untimed bool
	columns columnKinds
	hidden  hiddenImages
	named   []string // columns of all tables
}

// add passes a stimulus on.
func (f *finder) add(s found) error {
	if f.count == maxStimuli {
		return inputf("%s: more than %d stimuli", s.where, maxStimuli)
	}
	if !validText(s.id) {
		return inputf("%s: the name %q is not UTF-8 text", s.where, s.id)
	}
	if f.class != nil && s.names == nil && !s.fromTable {
		s.names, s.cells = classNames, f.class
	}
	f.count++
	f.columns.add(&s)
	f.hidden.add(f.session, &s)
	if still(s.source) {
		f.session.stills++
	}
	return f.emit(s)
}

// describe adds a summary of the stimuli since first.
func (f *finder) describe(name, kind string, first int) {
	input := Input{Name: baseName(name), Kind: kind, Stimuli: f.count - first}
	if kind == "table" {
		input.PathColumn = f.session.options.PathColumn
	}
	f.session.inputs = append(f.session.inputs, input)
}

// all looks through all inputs.
func (f *finder) all(ctx context.Context) error {
	if len(f.session.options.Inputs) == 0 {
		return inputf(
			"no input; name pictures, videos, folders, tables (.csv, .tsv), or arrays (.npy, .npz, .h5) of shape [N, 224, 224, 3]")
	}
	for _, input := range f.session.options.Inputs {
		if err := f.input(ctx, input); err != nil {
			return err
		}
	}
	if f.count == 0 {
		return inputf("the inputs hold no stimulus")
	}
	for _, name := range f.session.options.Columns {
		if !slices.Contains(f.named, name) {
			return inputf("no table has a column %q; there are: %s", name, strings.Join(f.named, ", "))
		}
	}
	f.columns.warn(f.session)
	f.hidden.warn(f.session)
	if f.session.timed && f.untimed {
		return inputf("a table with a column timestep cannot be shown together with other inputs: frames of the one appear at their own timesteps, those of the others at regular ones")
	}
	return nil
}

// public is the path that is told to others: as it was given, but without folders
// that lead away from the working folder, which say nothing to them.
func public(name string) string {
	if IsRemote(name) {
		return name
	}
	if clean := filepath.ToSlash(filepath.Clean(name)); filepath.IsLocal(name) && clean != "." {
		return clean
	}
	return baseName(name)
}

func baseName(name string) string {
	if IsRemote(name) {
		return path.Base(name)
	}
	if absolute, err := filepath.Abs(name); err == nil {
		name = absolute
	}
	return filepath.Base(name)
}

func (f *finder) input(ctx context.Context, input string) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if input == "-" {
		return f.list(ctx)
	}
	if isURL(input) {
		return errURL(input)
	}
	if IsRemote(input) {
		return f.remote(ctx, input)
	}
	info, err := os.Stat(input)
	if errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(input, "*?[{") {
		return f.pattern(ctx, input)
	}
	first := f.count
	switch {
	case err != nil:
		if f.session.options.AllowMissing && errors.Is(err, fs.ErrNotExist) &&
			hasSuffix(input, slices.Concat(pictureSuffixes, videoSuffixes)) {
			break
		}
		return inputError{explain(input, err)}
	case info.IsDir():
		return f.folder(ctx, input)
	case !info.Mode().IsRegular():
		return inputf("%s: not a regular file", input)
	case hasSuffix(input, tableSuffixes):
		if err := f.table(ctx, input); err != nil {
			return inputError{err}
		}
		f.describe(input, "table", first)
		return nil
	case hasSuffix(input, arraySuffixes):
		f.untimed = true
		array, err := f.array(ctx, input)
		if err != nil {
			return inputError{err}
		}
		f.describe(input, array.Kind, first)
		described := &f.session.inputs[len(f.session.inputs)-1]
		described.Range, described.Clamped = array.Range, array.Clamped
		return nil
	case hasSuffix(input, listSuffixes) && f.class == nil: // what fits a pattern is meant to be a picture
		return f.listFile(ctx, input)
	case otherFormat(input) != "":
		return inputf("%s: %s", input, otherFormat(input))
	}
	f.untimed = true
	src, kind := f.file(input, "")
	if err := f.add(found{id: baseName(input), shown: public(input), where: input, source: src}); err != nil {
		return err
	}
	f.describe(input, kind, first)
	return nil
}

// file makes a source of a picture, animation or video.
func (f *finder) file(name, where string) (source, string) {
	s := f.session
	s.pictures = true
	switch {
	case hasSuffix(name, videoSuffixes):
		s.sequences = true
		return &videoFile{path: name, where: where}, "video"
	case s.options.Animate && hasSuffix(name, []string{".gif"}):
		s.sequences = true
		return &animationFile{path: name, where: where}, "animation"
	}
	return &pictureFile{path: name, where: where}, "picture"
}

// list takes the inputs that standard input names, one a line, or separated by
// zero bytes as find -print0 does.
func (f *finder) list(ctx context.Context) error {
	if f.stdin || f.session.options.Stdin == nil {
		return inputf("standard input can be one list of inputs, not several")
	}
	f.stdin = true
	text, err := io.ReadAll(io.LimitReader(f.session.options.Stdin, maxList+1))
	if err != nil {
		return inputf("list on standard input: %w", err)
	}
	if len(text) > maxList {
		return inputf("list on standard input: longer than %d bytes", maxList)
	}
	separator := []byte("\n")
	if bytes.IndexByte(text, 0) >= 0 {
		separator = []byte{0}
	}
	scanner := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))))
	scanner.Buffer(nil, 1<<20)
	scanner.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		if i := bytes.Index(data, separator); i >= 0 {
			return i + 1, data[:i], nil
		}
		if atEOF && len(data) > 0 {
			return len(data), data, nil
		}
		return 0, nil, nil
	})
	first := f.count
	before := f.session.inputs
	line := 0
	for scanner.Scan() {
		line++
		name := strings.TrimRight(scanner.Text(), "\r")
		if strings.TrimSpace(name) == "" {
			continue
		}
		if name == "-" {
			return inputf("list on standard input, line %d: a list cannot name itself", line)
		}
		if err := f.input(ctx, name); err != nil {
			return inputf("list on standard input, line %d: %w", line, err)
		}
	}
	if err := scanner.Err(); err != nil {
		return inputf("list on standard input, line %d: %w", line+1, err)
	}
	if f.count == first {
		return inputf("the list on standard input names no input")
	}
	// One line about the list, not one for each of its files.
	list := Input{Name: "standard input", Kind: "list", Stimuli: f.count - first}
	list.ranges(f.session.inputs[len(before):])
	f.session.inputs = append(before, list)
	return nil
}

// present finds out whether a source's files are there.
func (s *session) present(src source) error {
	switch src := src.(type) {
	case *pictureFile:
		return s.presentFile(src.path)
	case *animationFile:
		return s.presentFile(src.path)
	case *videoFile:
		return s.presentFile(src.path)
	case *sequenceFiles:
		for _, name := range src.paths {
			if err := s.presentFile(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *session) presentFile(name string) error {
	if IsRemote(name) {
		return nil // each would cost a request
	}
	info, err := os.Stat(name)
	if err != nil {
		return explain(name, err)
	}
	if !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a regular file", name)
	}
	return err
}

func joinFile(folder, name string) string { return filepath.Join(folder, filepath.FromSlash(name)) }

func joinShown(folder, name string) string {
	if IsRemote(folder) {
		return join(folder, name)
	}
	return path.Join(folder, name)
}
