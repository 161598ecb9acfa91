package stimuli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/bmatcuk/doublestar/v4"
)

// pattern takes what fits a pattern, sorted: files, and folders with what is in
// them, but only files where ** stands for folders at any depth. Hidden files fit
// only what names their dot.
func (f *finder) pattern(ctx context.Context, pattern string) error {
	options := []doublestar.GlobOption{doublestar.WithNoHidden(), doublestar.WithFailOnIOErrors()}
	if strings.Contains(pattern, "**") {
		options = append(options, doublestar.WithFilesOnly())
	}
	base, rest := doublestar.SplitPattern(literalBrackets(filepath.ToSlash(pattern)))
	base = filepath.FromSlash(base)
	below := newTree(base)
	names, err := doublestar.Glob(below, rest, options...)
	if err != nil {
		return inputf("%s: %w", pattern, err)
	}
	f.loops(below)
	if len(names) == 0 {
		hint := ""
		if strings.ContainsAny(pattern, "[{") {
			hint = "; brackets stand for any of the characters in them, and [[] for a bracket"
		}
		return inputf("%s: no file fits this pattern%s: %w", pattern, hint, fs.ErrNotExist)
	}
	for i := range names {
		names[i] = filepath.Join(base, filepath.FromSlash(names[i]))
	}
	slices.Sort(names)
	for _, name := range names {
		class := ""
		if below, err := filepath.Rel(base, filepath.Dir(name)); err == nil && below != "." {
			class = filepath.ToSlash(below)
		}
		// Folders and tables have columns of their own.
		outer := f.class
		f.class = []string{class}
		err := f.input(ctx, name)
		f.class = outer
		if err != nil {
			return err
		}
	}
	return nil
}

// literalBrackets escapes the brackets of those folders at the beginning of a pattern
// that are there under this very name.
func literalBrackets(pattern string) string {
	components := strings.Split(pattern, "/")
	there := ""
	for i, c := range components[:len(components)-1] {
		there += c
		if strings.ContainsAny(c, "*?") {
			break
		}
		if _, err := os.Stat(there); err != nil && there != "" {
			break
		}
		there += "/"
		components[i] = strings.NewReplacer("[", "\\[", "]", "\\]", "{", "\\{", "}", "\\}").Replace(c)
	}
	return strings.Join(components, "/")
}

// folder takes the pictures and videos in a folder and those below it, sorted by
// their paths. Links to folders are followed, hidden files left out. What is left out is
// said.
func (f *finder) folder(ctx context.Context, folder string) error {
	f.untimed = true
	first := f.count
	each := func(name string) error {
		class := path.Dir(name)
		if class == "." {
			class = ""
		}
		if !validText(class) {
			return inputf("%s: the name %q is not UTF-8 text", folder, class)
		}
		src, _ := f.file(filepath.Join(folder, filepath.FromSlash(name)), "")
		return f.add(found{id: name, shown: path.Join(public(folder), name), where: folder, source: src, names: classNames,
			cells: []string{class}})
	}
	var names []string
	if f.session.options.FolderSequences {
		each = func(name string) error { names = append(names, name); return nil }
	}
	files := newTree(folder)
	left := leftOut{}
	some, err := walk(ctx, files, ".", left, each)
	var own inputError
	switch {
	case errors.As(err, &own):
		return err
	case err != nil:
		return inputf("%s: %w", folder, err)
	case !some:
		return inputf("%s: no pictures in this folder (%s)%s", folder,
			strings.Join(slices.Concat(pictureSuffixes, videoSuffixes), " "), left.text("; there are "))
	}
	f.loops(files)
	f.leftOut(folder, left)
	if f.session.options.FolderSequences {
		if err := f.sequences(folder, names); err != nil {
			return err
		}
	}
	f.describe(folder, "folder", first)
	return nil
}

var classNames = []string{classColumn}

// loops says which links were not followed.
func (f *finder) loops(t *tree) {
	for _, link := range t.unfollowed() {
		f.session.warn("%s leads back to a folder that it lies in, and is left out", link)
	}
}

// leftOut counts the files of a folder that are no stimuli, by their endings.
type leftOut map[string]int

func (l leftOut) add(name string) {
	switch ending := strings.ToLower(path.Ext(name)); {
	case strings.HasPrefix(path.Base(name), "."):
		if hasSuffix(name, slices.Concat(pictureSuffixes, videoSuffixes)) && !strings.HasPrefix(path.Base(name), "._") {
			l[Hidden]++
		}
	case ending == "":
		l[WithoutEnding]++
	default:
		l[ending]++
	}
}

// text lists the endings, the most frequent first.
func (l leftOut) text(before string) string {
	const most = 10
	endings := slices.SortedFunc(maps.Keys(l), func(a, b string) int {
		return cmp.Or(cmp.Compare(l[b], l[a]), cmp.Compare(a, b))
	})
	var parts []string
	for _, ending := range endings[:min(len(endings), most)] {
		parts = append(parts, fmt.Sprintf("%d %s", l[ending], ending))
	}
	if len(endings) > most {
		parts = append(parts, "…")
	}
	if len(parts) == 0 {
		return ""
	}
	return before + strings.Join(parts, ", ")
}

func (f *finder) leftOut(folder string, left leftOut) {
	count := 0
	for _, n := range left {
		count += n
	}
	switch count {
	case 0:
	case 1:
		f.session.warn("%s: 1 file is left out%s", folder, left.text(": "))
	default:
		f.session.warn("%s: %d files are left out%s", folder, count, left.text(": "))
	}
}

// walk passes the paths of pictures and videos below a folder in their order as
// texts, holding the entries of one folder at each level only.
func walk(ctx context.Context, fsys fs.FS, folder string, left leftOut, each func(name string) error) (some bool,
	err error) {
	if err := context.Cause(ctx); err != nil {
		return false, err
	}
	entries, err := fs.ReadDir(fsys, folder)
	if err != nil {
		return false, err
	}
	// A folder's name is followed by a slash in the paths that are compared.
	key := func(e fs.DirEntry) string {
		if e.IsDir() {
			return e.Name() + "/"
		}
		return e.Name()
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(key(a), key(b)) })
	for _, entry := range entries {
		name := path.Join(folder, entry.Name())
		switch {
		case strings.HasPrefix(entry.Name(), "."):
			if !entry.IsDir() {
				left.add(name)
			} else if n := picturesBelow(ctx, fsys, name); n > 0 {
				left[InHiddenFolders] += n
			}
		case entry.IsDir():
			below, err := walk(ctx, fsys, name, left, each)
			if err != nil {
				return some, err
			}
			some = some || below
		case hasSuffix(name, slices.Concat(pictureSuffixes, videoSuffixes)):
			some = true
			if err := each(name); err != nil {
				return some, err
			}
		default:
			left.add(name)
		}
	}
	return some, nil
}

// picturesBelow counts the pictures and videos in a hidden folder, as far as it can be
// read.
func picturesBelow(ctx context.Context, fsys fs.FS, folder string) (count int) {
	if path.Base(folder) == ".git" { // git-annex keeps files there that links lead to
		return 0
	}
	_, _ = walk(ctx, fsys, folder, leftOut{}, func(string) error { count++; return nil })
	return count
}

// tree is a folder with all folders below it, among them those that links lead to. A
// link that leads back to a folder that it lies in is not there. It is safe for
// concurrent use.
type tree struct {
	root  string
	files fs.FS

	mu    sync.Mutex
	links map[string]bool // folders that are links
	loops []string
}

// newTree returns the tree of a folder.
func newTree(root string) *tree {
	return &tree{root: root, files: os.DirFS(root), links: map[string]bool{}}
}

// unfollowed returns the paths of the links that lead back, as far as the tree was read.
func (t *tree) unfollowed() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.loops)
}

// Open opens a file or folder.
func (t *tree) Open(name string) (fs.File, error) { return t.files.Open(name) }

// Stat describes a file or folder, or what a link leads to.
func (t *tree) Stat(name string) (fs.FileInfo, error) { return fs.Stat(t.files, name) }

// ReadDir returns a folder's entries. Those that are links to folders are folders.
func (t *tree) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(t.files, name)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	linked := t.links[name]
	for i, entry := range entries {
		link := entry.Type()&fs.ModeSymlink != 0
		if !link && !(linked && entry.IsDir()) {
			continue
		}
		below := path.Join(name, entry.Name())
		info, err := fs.Stat(t.files, below)
		if err != nil || !info.IsDir() {
			continue // a link to a file, or to nothing, which comes up when it is read
		}
		t.links[below] = true
		entries[i] = namedEntry{fs.FileInfoToDirEntry(info), entry.Name()}
		if t.above(info, name) {
			t.loops = append(t.loops, filepath.Join(t.root, filepath.FromSlash(below)))
			entries[i] = nil
		}
	}
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return e == nil }), nil
}

// above says whether a folder is another, or one above it, however it was reached.
func (t *tree) above(info fs.FileInfo, folder string) bool {
	for {
		if other, err := fs.Stat(t.files, folder); err == nil && os.SameFile(info, other) {
			return true
		}
		if folder == "." {
			return false
		}
		folder = path.Dir(folder)
	}
}

// namedEntry is the folder that a link leads to under the link's name.
type namedEntry struct {
	fs.DirEntry
	name string
}

func (e namedEntry) Name() string { return e.name }

// sequences makes one stimulus of the pictures in each folder. Its class is the
// folder above.
func (f *finder) sequences(folder string, files []string) error {
	inFolder := map[string][]string{}
	var folders []string
	for _, name := range files {
		if hasSuffix(name, videoSuffixes) {
			return inputf("%s: %s is a video, not one picture of a sequence", folder, name)
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
			frames[i] = join(folder, name)
		}
		id, class := below, path.Dir(below)
		if below == "." {
			id = baseName(folder)
		}
		if class == "." {
			class = ""
		}
		if !validText(class) {
			return inputf("%s: the name %q is not UTF-8 text", folder, class)
		}
		f.session.pictures, f.session.sequences = true, true
		err := f.add(found{id: id, shown: joinShown(public(folder), below), where: folder,
			source: &sequenceFiles{paths: frames}, names: classNames, cells: []string{class}})
		if err != nil {
			return err
		}
	}
	return nil
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
