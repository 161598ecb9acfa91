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

	"github.com/bmatcuk/doublestar/v4"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// classColumn holds the folder that a picture lies in, relative to the input.
const classColumn = "class"

// maxList is the longest list read from standard input, in bytes.
const maxList = 1 << 30

// Suffixes of the files taken from folders. What a picture is, its content says.
var (
	pictureSuffixes = []string{".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff"}
	videoSuffixes   = []string{".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".ogv"}
	tableSuffixes   = []string{".csv", ".tsv"}
	arraySuffixes   = []string{".npy", ".npz"}
)

func hasSuffix(name string, suffixes []string) bool {
	return slices.Contains(suffixes, strings.ToLower(filepath.Ext(name)))
}

// finder collects stimuli.
type finder struct {
	set     *Set
	origins []string
	fixed   []bool // whether the id was given, not made
	where   []string
	blocks  []block
	stdin   bool
	untimed bool
}

// add adds a stimulus: its id, where it comes from, how that is told to others,
// and the place that asks for it.
func (f *finder) add(id, origin, shown, where string, fixed bool, src source) error {
	s := f.set
	if len(s.ids) == maxStimuli {
		return inputf("%s: more than %d stimuli", where, maxStimuli)
	}
	if !validText(id) {
		return inputf("%s: the name %q is not UTF-8 text", where, id)
	}
	s.ids, s.paths, s.sources = append(s.ids, id), append(s.paths, shown), append(s.sources, src)
	f.origins, f.fixed, f.where = append(f.origins, origin), append(f.fixed, fixed), append(f.where, where)
	return nil
}

// describe adds a summary of the stimuli since first.
func (f *finder) describe(name, kind string, first int) {
	f.set.inputs = append(f.set.inputs, Input{baseName(name), kind, len(f.set.ids) - first})
}

// public is the path that is told to others: as it was given, but without folders
// that lead away from the working folder, which say nothing to them.
func public(name string) string {
	if clean := filepath.ToSlash(filepath.Clean(name)); filepath.IsLocal(name) && clean != "." {
		return clean
	}
	return baseName(name)
}

func baseName(name string) string {
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
	info, err := os.Stat(input)
	if errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(input, "*?[{") {
		return f.pattern(ctx, input)
	}
	first := len(f.set.ids)
	switch {
	case err != nil:
		if f.set.options.AllowMissing && errors.Is(err, fs.ErrNotExist) && hasSuffix(input, slices.Concat(pictureSuffixes, videoSuffixes)) {
			break
		}
		return inputError{err}
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
		kind, err := f.array(ctx, input)
		if err != nil {
			return inputError{err}
		}
		f.describe(input, kind, first)
		return nil
	}
	f.untimed = true
	src, kind := f.file(input, "")
	if err := f.add(baseName(input), input, public(input), input, false, src); err != nil {
		return err
	}
	f.describe(input, kind, first)
	return nil
}

// file makes a source of a picture, animation or video.
func (f *finder) file(name, where string) (source, string) {
	s := f.set
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
	if f.stdin || f.set.options.Stdin == nil {
		return inputf("standard input can be one list of inputs, not several")
	}
	f.stdin = true
	text, err := io.ReadAll(io.LimitReader(f.set.options.Stdin, maxList+1))
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
	first := len(f.set.ids)
	before := f.set.inputs
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
	if len(f.set.ids) == first {
		return inputf("the list on standard input names no input")
	}
	// One line about the list, not one for each of its files.
	f.set.inputs = append(before, Input{"standard input", "list", len(f.set.ids) - first})
	return nil
}

// pattern takes what fits a pattern, sorted: files, and folders with what is in
// them, but only files where ** stands for folders at any depth. Hidden files fit
// only what names their dot.
func (f *finder) pattern(ctx context.Context, pattern string) error {
	options := []doublestar.GlobOption{doublestar.WithNoHidden(), doublestar.WithFailOnIOErrors()}
	if strings.Contains(pattern, "**") {
		options = append(options, doublestar.WithFilesOnly())
	}
	names, err := doublestar.FilepathGlob(pattern, options...)
	if err != nil {
		return inputf("%s: %w", pattern, err)
	}
	if len(names) == 0 {
		return inputf("%s: no file fits this pattern: %w", pattern, fs.ErrNotExist)
	}
	slices.Sort(names)
	base, _ := doublestar.SplitPattern(filepath.ToSlash(pattern))
	for _, name := range names {
		first, blocks := len(f.set.ids), len(f.blocks)
		if err := f.input(ctx, name); err != nil {
			return err
		}
		if len(f.blocks) > blocks { // a folder or a table, with columns of its own
			continue
		}
		class := ""
		if below, err := filepath.Rel(filepath.FromSlash(base), filepath.Dir(name)); err == nil && below != "." {
			class = filepath.ToSlash(below)
		}
		classes := slices.Repeat([]string{class}, len(f.set.ids)-first)
		f.blocks = append(f.blocks, block{first, []string{classColumn}, [][]string{classes}})
	}
	return nil
}

// folder takes the pictures and videos in a folder and those below it, sorted.
// Hidden files are left out.
func (f *finder) folder(ctx context.Context, folder string) error {
	f.untimed = true
	var found []string
	// A folder may be a link to one, which WalkDir would not follow.
	err := fs.WalkDir(os.DirFS(folder), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", folder, err)
		}
		if name != "." && strings.HasPrefix(entry.Name(), ".") {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.IsDir() && hasSuffix(name, slices.Concat(pictureSuffixes, videoSuffixes)) {
			found = append(found, name)
		}
		return nil
	})
	if err != nil {
		return inputError{err}
	}
	if len(found) == 0 {
		return inputf("%s: no pictures in this folder (%s)", folder, strings.Join(slices.Concat(pictureSuffixes, videoSuffixes), " "))
	}
	slices.Sort(found)
	first := len(f.set.ids)
	var classes []string
	if f.set.options.FolderSequences {
		classes, err = f.sequences(folder, found)
	} else {
		for _, name := range found {
			class, _ := path.Split(name)
			classes = append(classes, strings.TrimSuffix(class, "/"))
			src, _ := f.file(filepath.Join(folder, filepath.FromSlash(name)), "")
			if err = f.add(name, filepath.Join(folder, name), path.Join(public(folder), name), folder, false, src); err != nil {
				break
			}
		}
	}
	if err != nil {
		return err
	}
	for _, class := range classes {
		if !validText(class) {
			return inputf("%s: the name %q is not UTF-8 text", folder, class)
		}
	}
	f.blocks = append(f.blocks, block{first, []string{classColumn}, [][]string{classes}})
	f.describe(folder, "folder", first)
	return nil
}

// sequences makes one stimulus of the pictures in each folder. Its class is the
// folder above.
func (f *finder) sequences(folder string, found []string) (classes []string, err error) {
	inFolder := map[string][]string{}
	var folders []string
	for _, name := range found {
		if hasSuffix(name, videoSuffixes) {
			return nil, inputf("%s: %s is a video, not one picture of a sequence", folder, name)
		}
		below := path.Dir(name)
		if inFolder[below] == nil {
			folders = append(folders, below)
		}
		inFolder[below] = append(inFolder[below], name)
	}
	slices.Sort(folders)
	for _, below := range folders {
		names := inFolder[below]
		slices.SortFunc(names, compareNatural)
		frames := make([]string, len(names))
		for i, name := range names {
			frames[i] = filepath.Join(folder, filepath.FromSlash(name))
		}
		id, class := below, path.Dir(below)
		if below == "." {
			id = baseName(folder)
		}
		if class == "." {
			class = ""
		}
		classes = append(classes, class)
		f.set.pictures, f.set.sequences = true, true
		if err := f.add(id, filepath.Join(folder, below), path.Join(public(folder), below), folder, false, &sequenceFiles{paths: frames}); err != nil {
			return nil, err
		}
	}
	return classes, nil
}

// finish checks what only the whole set shows.
func (f *finder) finish() error {
	s := f.set
	if s.timed && f.untimed {
		return inputf("a table with a column timestep cannot be shown together with other inputs: frames of the one appear at their own timesteps, those of the others at regular ones")
	}
	given := map[string]int{}
	for i, id := range s.ids {
		if !f.fixed[i] {
			continue
		}
		if other, ok := given[id]; ok {
			return inputf("%s: %w: %q is also that of %s", f.where[i], ErrDuplicate, id, f.where[other])
		}
		given[id] = i
	}
	distinguish(s.ids, f.origins, func(i int) bool { return f.fixed[i] })
	if !s.options.AllowMissing {
		for i, src := range s.sources {
			if err := present(src); err != nil {
				return inputf("%s: %w", f.where[i], err)
			}
		}
	}
	s.assemble(f.blocks)
	return nil
}

// present finds out whether a source's files are there.
func present(src source) error {
	switch src := src.(type) {
	case *pictureFile:
		return presentFile(src.path)
	case *animationFile:
		return presentFile(src.path)
	case *videoFile:
		return presentFile(src.path)
	case *sequenceFiles:
		for _, name := range src.paths {
			if err := presentFile(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func presentFile(name string) error {
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a regular file", name)
	}
	return err
}

// compareNatural orders names with the numbers in them by value, so that
// frame10 follows frame9.
func compareNatural(a, b string) int {
	whole := strings.Compare(a, b)
	for a != "" && b != "" {
		na, nb := leadingDigits(a), leadingDigits(b)
		if na > 0 && nb > 0 {
			x, y := strings.TrimLeft(a[:na], "0"), strings.TrimLeft(b[:nb], "0")
			if len(x) != len(y) {
				return len(x) - len(y)
			}
			if c := strings.Compare(x, y); c != 0 {
				return c
			}
			a, b = a[na:], b[nb:]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return whole
}

func leadingDigits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

// imageShape is the shape of one image of an array.
var imageShape = []int{tfconvrnn.ImageSize, tfconvrnn.ImageSize, 3}
