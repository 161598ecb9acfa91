package evaluation

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tfconvrnn/go/internal/imagenet"
	"github.com/tfconvrnn/go/stimuli"
)

// classFolder is a folder of the pictures of a class.
type classFolder struct {
	name  string
	class int // of package imagenet
}

// Folders returns the pictures below a folder whose folders are called by their
// classes: by WordNet ids, or by numbers, which are the places of the classes in the
// order of sorted WordNet ids, from 0 (as in ImageNetV2), whatever the order of the
// outputs. Pictures are sorted by class number or WordNet id, then by path. Links to
// folders are followed. Set.Notes says what is left out, and how numbers are
// understood. The error wraps ErrSet.
func Folders(ctx context.Context, folder string, order *Order) (*Set, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSet, stimuli.Explain(folder, err))
	}
	set := &Set{Order: order}
	var out leftOut
	var names []string
	for _, e := range entries {
		info, err := os.Stat(filepath.Join(folder, e.Name())) // links to folders count
		switch {
		case err == nil && info.IsDir():
			if !strings.HasPrefix(e.Name(), ".") {
				names = append(names, e.Name())
			}
		case strings.HasPrefix(e.Name(), "."):
		case stimuli.IsPicture(e.Name()):
			out.unlabelled++
		default:
			out.add(cmp.Or(strings.ToLower(path.Ext(e.Name())), stimuli.WithoutEnding), 1)
		}
	}
	classes, numbered, err := classFolders(folder, names)
	if err != nil {
		return nil, err
	}
	var empty []string
	for _, c := range classes {
		pictures, err := out.list(ctx, filepath.Join(folder, c.name))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSet, err)
		}
		if len(pictures) == 0 {
			empty = append(empty, c.name)
		}
		for _, name := range pictures {
			set.Pictures = append(set.Pictures, Picture{
				ID: c.name + "/" + name, File: filepath.Join(folder, c.name, filepath.FromSlash(name)),
				Label: order.outputs[c.class],
			})
		}
	}
	if len(set.Pictures) == 0 {
		return nil, fmt.Errorf("%w: %s has no pictures in folders called by WordNet ids, such as n01440764/picture.JPEG, or by numbers from 0 to 999",
			ErrSet, folder)
	}
	if numbered {
		set.Notes = append(set.Notes, numberedNote(classes))
	} else {
		slices.SortFunc(set.Pictures, func(a, b Picture) int { return strings.Compare(a.ID, b.ID) })
	}
	if out.unlabelled > 0 {
		set.Notes = append(set.Notes, fmt.Sprintf("%s outside the folders of classes: no label, left out",
			count(out.unlabelled, "picture")))
	}
	if len(empty) > 0 {
		set.Notes = append(set.Notes, fmt.Sprintf("%s without pictures: %s", count(len(empty), "folder"), some(empty)))
	}
	set.Notes = append(set.Notes, out.notes()...)
	return set, nil
}

// classFolders finds out which classes folders are of: sorted by number if all are
// numbers, else as given.
func classFolders(folder string, names []string) (list []classFolder, numbered bool, err error) {
	var ids, others []string
	large := ""
	for _, name := range names {
		if class, ok := classOf(name); ok {
			ids = append(ids, name)
			list = append(list, classFolder{name, class})
		} else if n, err := strconv.Atoi(name); err == nil && strings.Trim(name, "0123456789") == "" {
			numbered = true
			if n >= imagenet.Classes {
				large = name
			}
			list = append(list, classFolder{name, n})
		} else {
			others = append(others, name)
		}
	}
	refuse := func(format string, args ...any) ([]classFolder, bool, error) {
		return nil, false, fmt.Errorf("%w: %s: %s", ErrSet, folder, fmt.Sprintf(format, args...))
	}
	switch {
	case len(others) > 0:
		return refuse(
			"not folders called by WordNet ids of the 1000 classes, or by numbers from 0 to 999: %s; move or rename them",
			some(others))
	case numbered && len(ids) > 0:
		return refuse("some folders are called by WordNet ids (%s) and some by numbers; call all of them by WordNet ids",
			ids[0])
	case large != "":
		return refuse("the folder %s: class numbers go from 0 to 999, the order of sorted WordNet ids; "+
			"numbers from 1 to 1000 are those of other orders, so call the folders by WordNet ids", large)
	}
	if numbered {
		slices.SortFunc(list, func(a, b classFolder) int { return a.class - b.class })
	}
	places := map[string]string{}
	for i, c := range list {
		if i > 0 && list[i-1].class == c.class {
			return refuse("the folders %s and %s are of the same class", list[i-1].name, c.name)
		}
		place, err := filepath.EvalSymlinks(filepath.Join(folder, c.name))
		if err != nil {
			return nil, false, fmt.Errorf("%w: %w", ErrSet, err)
		}
		if other, ok := places[place]; ok {
			return refuse("%s and %s are the same folder, so its pictures have two labels", other, c.name)
		}
		places[place] = c.name
	}
	return list, numbered, nil
}

// numberedNote says how folders' numbers are understood.
func numberedNote(folders []classFolder) string {
	first, last := folders[0], folders[len(folders)-1]
	name := func(c classFolder) string {
		class := imagenet.At(c.class)
		return fmt.Sprintf("%s is %s, %s", c.name, class.WordNetID, class.Name())
	}
	text := "the folders' numbers are taken for the classes' places among the sorted WordNet ids, from 0: " + name(first)
	if len(folders) > 1 {
		text += "; " + name(last)
	}
	if first.class == 1 && last.class == len(folders) {
		text += "; there is no folder 0, so if these count from 1, all labels are wrong"
	}
	return text
}

// leftOut counts what is not taken from folders.
type leftOut struct {
	unlabelled, loops int
	files             map[string]int // see stimuli.Listing
}

func (o *leftOut) add(kind string, n int) {
	if o.files == nil {
		o.files = map[string]int{}
	}
	o.files[kind] += n
}

// list returns the pictures below a folder, and counts what is left out there.
func (o *leftOut) list(ctx context.Context, folder string) ([]string, error) {
	listing, err := stimuli.List(ctx, folder)
	if err != nil {
		return nil, err
	}
	for kind, n := range listing.LeftOut {
		o.add(kind, n)
	}
	o.loops += len(listing.Loops)
	return listing.Pictures, nil
}

func (o *leftOut) notes() []string {
	var notes, kinds []string
	total := 0
	for kind, n := range o.files {
		if kind != stimuli.Hidden && kind != stimuli.InHiddenFolders {
			kinds = append(kinds, fmt.Sprintf("%s %d", kind, n))
			total += n
		}
	}
	slices.Sort(kinds)
	if total > 0 {
		notes = append(notes, fmt.Sprintf("%s of other kinds left out: %s", count(total, "file"), strings.Join(kinds, ", ")))
	}
	if n := o.files[stimuli.Hidden]; n > 0 {
		notes = append(notes, fmt.Sprintf("%s left out whose names begin with a dot", count(n, "picture")))
	}
	if n := o.files[stimuli.InHiddenFolders]; n > 0 {
		notes = append(notes, fmt.Sprintf("%s left out in folders whose names begin with a dot", count(n, "picture")))
	}
	if o.loops > 0 {
		notes = append(notes, fmt.Sprintf("%s left out that lead to a folder above", count(o.loops, "link")))
	}
	return notes
}

// some names the first few of a list.
func some(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// count is a number of things, in words.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
