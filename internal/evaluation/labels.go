package evaluation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/tfconvrnn/go/internal/imagenet"
	"github.com/tfconvrnn/go/stimuli"
)

// endings are tried where a list names pictures without theirs.
var endings = []string{".JPEG", ".jpeg", ".jpg", ".JPG", ".png", ".PNG"}

// boxes is what Kaggle's lists (LOC_val_solution.csv) say of a picture: a WordNet id
// and four coordinates for each object.
var boxes = regexp.MustCompile(`^n\d{8}(?:\s+-?[\d.]+){4}(?:\s+n\d{8}(?:\s+-?[\d.]+){4})*$`)

// labelLike is what is meant to be a label, right or wrong.
var labelLike = regexp.MustCompile(`^(?:[nN]\d.*|[-+.\d].*)$`)

// labelReader makes a set of a list.
type labelReader struct {
	list, folder string
	order        *Order
	set          *Set
	lines        map[string]int // of each file, cleaned
	missing      []string
	first        error // of the first that is missing
}

// Labels returns the pictures of a list: lines of a path and a label, which is a
// WordNet id or the number of an output (0 … 999), separated by a comma, a tab or
// a space. Kaggle's lists of a picture's id and its boxes ("n01440764 1 2 3 4 …") are
// read as well. Paths are relative to the folder, or to the list's own if it is "". A
// path without ending stands for the picture of that name, in the folder or in that
// of its class in it. A first line is a heading if it holds neither a picture's path
// nor a label. A picture that is named twice is an error. So are pictures that are not
// there (ErrMissing), unless they may be missing: then they are part of the set, and
// fail when they are read. Set.Notes says what else is in the folder, and what was
// taken for a heading. The error wraps ErrSet.
func Labels(ctx context.Context, list, folder string, order *Order, mayBeMissing bool) (*Set, error) {
	r := &labelReader{list: list, folder: folder, order: order, set: &Set{Order: order}, lines: map[string]int{}}
	if folder == "" {
		r.folder = filepath.Dir(list)
	}
	lines, guessed, err := readLines(ctx, list)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSet, err)
	}
	if guessed != "" {
		r.set.Notes = append(r.set.Notes, filepath.Base(list)+": "+guessed)
	}
	for i, l := range lines {
		if err := r.line(l, i == 0); err != nil {
			return nil, err
		}
	}
	if len(r.set.Pictures) == 0 {
		return nil, fmt.Errorf("%w: %s lists no pictures", ErrSet, list)
	}
	if n := len(r.missing); n > 0 && !mayBeMissing {
		return nil, fmt.Errorf("%w: %w: %s names %s, of which %d cannot be found in %s: %s; the first: %w",
			ErrSet, ErrMissing, list, count(len(r.set.Pictures), "picture"), n, r.folder, some(r.missing), r.first)
	}
	if folder != "" {
		if err := r.others(ctx); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSet, err)
		}
	}
	return r.set, nil
}

func (r *labelReader) errorf(l line, format string, args ...any) error {
	return fmt.Errorf("%w: %s, line %d: %s", ErrSet, r.list, l.number, fmt.Sprintf(format, args...))
}

// line reads a line.
func (r *labelReader) line(l line, first bool) error {
	name, label, err := r.split(l)
	if err != nil {
		return err
	}
	output, ok := r.order.output(label)
	if n, err := strconv.Atoi(label); err == nil && n >= 0 && n < imagenet.Classes {
		output, ok = n, true
	}
	if !ok || name == "" {
		if first && name != "" && r.isHeading(name, label) {
			r.set.Notes = append(r.set.Notes, fmt.Sprintf("line %d of %s is taken for a heading: %s", l.number,
				filepath.Base(r.list), l.text))
			return nil
		}
		hint := ""
		if label == strconv.Itoa(imagenet.Classes) {
			hint = "; numbers from 1 to 1000 are those of other orders, so give WordNet ids"
		}
		return r.errorf(l,
			"%q is not a path and a label, which is a WordNet id of the 1000 classes or a number from 0 to 999%s", l.text, hint)
	}
	id, file, err := r.find(name, r.order.Class(output).WordNetID)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r.errorf(l, "%v", err)
	}
	if before, ok := r.lines[file]; ok {
		return r.errorf(l, "%s is there already, on line %d", name, before)
	}
	if err != nil {
		if r.first == nil {
			_, missing := os.Stat(file)
			r.first = stimuli.Explain(file, missing)
			if missing == nil {
				r.first = fmt.Errorf("%s is not a file", file)
			}
		}
		r.missing = append(r.missing, fmt.Sprintf("%s (line %d)", name, l.number))
	}
	r.lines[file] = l.number
	r.set.Pictures = append(r.set.Pictures, Picture{id, file, output})
	return nil
}

// split returns a line's path and label.
func (r *labelReader) split(l line) (name, label string, err error) {
	text := strings.TrimRightFunc(l.text, separator)
	if cut := strings.IndexAny(text, ",\t"); cut > 0 {
		if rest := strings.Trim(strings.TrimSpace(text[cut+1:]), `"`); boxes.MatchString(strings.TrimSpace(rest)) {
			label, err := r.boxed(l, rest)
			return unquote(text[:cut]), label, err
		}
	}
	cut := strings.LastIndexFunc(text, separator)
	return unquote(strings.TrimRightFunc(text[:max(cut, 0)], separator)), unquote(text[cut+1:]), nil
}

// boxed returns the class of a picture's boxes, which must be one.
func (r *labelReader) boxed(l line, text string) (string, error) {
	fields := strings.Fields(text)
	for i := 5; i < len(fields); i += 5 {
		if fields[i] != fields[0] {
			return "", r.errorf(l, "the boxes are of several classes, %s and %s", fields[0], fields[i])
		}
	}
	return fields[0], nil
}

func unquote(text string) string {
	if len(text) > 1 && text[0] == '"' && text[len(text)-1] == '"' {
		return strings.ReplaceAll(text[1:len(text)-1], `""`, `"`)
	}
	return strings.Trim(text, `"`)
}

// isHeading says whether a first line without a right label is a heading: it names no
// picture, and neither column is meant to be a label.
func (r *labelReader) isHeading(name, label string) bool {
	_, _, err := r.find(name, "")
	meant := func(text string) bool {
		return text == "" || labelLike.MatchString(text) || stimuli.IsPicture(text) || strings.ContainsAny(text, `/\`)
	}
	return errors.Is(err, fs.ErrNotExist) && !meant(name) && !meant(label)
}

// find returns the id and the file of a picture that the list names. The error wraps
// fs.ErrNotExist if there is none; id and file are then those of the plain name.
func (r *labelReader) find(name, wordNetID string) (id, file string, err error) {
	slashed := filepath.ToSlash(name)
	candidates := []string{slashed}
	if !stimuli.IsPicture(name) {
		for _, ending := range endings {
			candidates = append(candidates, slashed+ending)
		}
		if wordNetID != "" {
			for _, ending := range endings {
				candidates = append(candidates, path.Join(path.Dir(slashed), wordNetID, path.Base(slashed)+ending))
			}
		}
	}
	var found os.FileInfo
	for _, candidate := range candidates {
		place := filepath.FromSlash(candidate)
		if !filepath.IsAbs(place) {
			place = filepath.Join(r.folder, place)
		}
		info, err := os.Stat(place)
		switch {
		case err != nil || !info.Mode().IsRegular():
		case found == nil:
			id, file, found = path.Clean(candidate), filepath.Clean(place), info
		case !os.SameFile(found, info): // as they would be where case does not matter
			return "", "", fmt.Errorf("%s may be %s or %s; add the ending", name, id, path.Clean(candidate))
		}
		if found != nil && candidate == slashed {
			break
		}
	}
	if found == nil {
		place := filepath.FromSlash(slashed)
		if !filepath.IsAbs(place) {
			place = filepath.Join(r.folder, place)
		}
		return path.Clean(slashed), filepath.Clean(place), fs.ErrNotExist
	}
	return id, file, nil
}

// others counts the pictures in the folder that the list does not name.
func (r *labelReader) others(ctx context.Context) error {
	var out leftOut
	pictures, err := out.list(ctx, r.folder)
	if err != nil {
		return err
	}
	for _, name := range pictures {
		if _, ok := r.lines[filepath.Join(r.folder, filepath.FromSlash(name))]; !ok {
			out.unlabelled++
		}
	}
	if out.unlabelled > 0 {
		r.set.Notes = append(r.set.Notes, fmt.Sprintf("%s in %s without a label in %s: left out",
			count(out.unlabelled, "picture"), r.folder, filepath.Base(r.list)))
	}
	return nil
}
