package evaluation

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tfconvrnn/go/internal/imagenet"
)

// Order says which class each output of a model stands for.
type Order struct {
	Name    string
	outputs []int // position of each class of package imagenet
	classes []int // class of package imagenet of each output
}

// WordNetOrder is the order of sorted WordNet ids, the usual one; the authors of
// the models do not state theirs.
func WordNetOrder() *Order {
	o := &Order{Name: "sorted WordNet ids"}
	for i := range imagenet.Classes {
		o.outputs, o.classes = append(o.outputs, i), append(o.classes, i)
	}
	return o
}

// maxListBytes bounds the text files that are read; a list of all of ImageNet has
// 80 MB.
const maxListBytes = 1 << 30

// ReadOrder reads an order: 1000 WordNet ids, one a line, what follows an id on its
// line being left out. The error wraps ErrOrder.
func ReadOrder(file string) (*Order, error) {
	lines, err := readLines(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOrder, err)
	}
	o := &Order{Name: filepath.Base(file), outputs: slices.Repeat([]int{-1}, imagenet.Classes)}
	for _, l := range lines {
		id := strings.FieldsFunc(l.text, separator)[0]
		class, ok := classOf(id)
		if !ok {
			return nil, fmt.Errorf("%w: %s, line %d: %q is not the WordNet id of one of the 1000 classes", ErrOrder, file, l.number, id)
		}
		if o.outputs[class] >= 0 {
			return nil, fmt.Errorf("%w: %s, line %d: %s is there twice", ErrOrder, file, l.number, id)
		}
		o.outputs[class] = len(o.classes)
		o.classes = append(o.classes, class)
	}
	if len(o.classes) != imagenet.Classes {
		return nil, fmt.Errorf("%w: %s has %d WordNet ids and needs %d", ErrOrder, file, len(o.classes), imagenet.Classes)
	}
	return o, nil
}

// Class returns the class of an output.
func (o *Order) Class(output int) imagenet.Class { return imagenet.At(o.classes[output]) }

// output returns the output of a class.
func (o *Order) output(wordNetID string) (int, bool) {
	class, ok := classOf(wordNetID)
	if !ok {
		return 0, false
	}
	return o.outputs[class], true
}

// classOf finds a WordNet id, which are sorted.
func classOf(id string) (int, bool) {
	low, high := 0, imagenet.Classes
	for low < high {
		middle := (low + high) / 2
		if imagenet.At(middle).WordNetID < id {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, low < imagenet.Classes && imagenet.At(low).WordNetID == id
}

// Picture is a labelled picture.
type Picture struct {
	// ID is the path in the set, with slashes.
	ID string
	// File is where it is.
	File string
	// Label is the output that is right.
	Label int
}

// Set is a set of labelled pictures.
type Set struct {
	Pictures []Picture
	Order    *Order
}

// pictureSuffixes are those of the files taken from folders.
var pictureSuffixes = []string{".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff"}

// Folders returns the pictures below a folder whose folders are called by the
// WordNet ids of their classes, sorted by path. Hidden files are left out. The error
// wraps ErrSet.
func Folders(folder string, order *Order) (*Set, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSet, err)
	}
	set := &Set{Order: order}
	var others []string
	for _, e := range entries {
		info, err := os.Stat(filepath.Join(folder, e.Name())) // links to folders count
		if err != nil || !info.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		output, ok := order.output(e.Name())
		if !ok {
			others = append(others, e.Name())
			continue
		}
		err = fs.WalkDir(os.DirFS(filepath.Join(folder, e.Name())), ".", func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if name != "." && strings.HasPrefix(entry.Name(), ".") {
				if entry.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			if !entry.IsDir() && slices.Contains(pictureSuffixes, strings.ToLower(path.Ext(name))) {
				set.Pictures = append(set.Pictures, Picture{
					ID: e.Name() + "/" + name, File: filepath.Join(folder, e.Name(), filepath.FromSlash(name)), Label: output,
				})
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSet, err)
		}
	}
	if len(set.Pictures) == 0 {
		hint := ""
		if len(others) > 0 {
			hint = fmt.Sprintf("; %s is not the WordNet id of one of the 1000 classes", others[0])
		}
		return nil, fmt.Errorf("%w: %s has no pictures in folders called by WordNet ids, such as n01440764/picture.JPEG%s", ErrSet, folder, hint)
	}
	if len(others) > 0 {
		return nil, fmt.Errorf("%w: %s: the folders %s are not called by the WordNet ids of the 1000 classes; move or rename them",
			ErrSet, folder, strings.Join(others[:min(5, len(others))], ", "))
	}
	slices.SortFunc(set.Pictures, func(a, b Picture) int { return strings.Compare(a.ID, b.ID) })
	return set, nil
}

// Labels returns the pictures of a list: lines of a path and a label, which is a
// WordNet id or the number of an output (0 … 999), separated by a comma, a tab or
// a space. Paths are relative to the folder, or to the list's own if it is "". A
// first line that has no label is a heading. The error wraps ErrSet.
func Labels(list, folder string, order *Order) (*Set, error) {
	if folder == "" {
		folder = filepath.Dir(list)
	}
	lines, err := readLines(list)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSet, err)
	}
	set := &Set{Order: order}
	seen := map[string]bool{}
	for i, l := range lines {
		text := strings.TrimRightFunc(l.text, separator)
		cut := strings.LastIndexFunc(text, separator)
		name, label := strings.TrimRightFunc(text[:max(cut, 0)], separator), strings.Trim(text[cut+1:], `"`)
		name = strings.Trim(name, `"`)
		output, ok := order.output(label)
		if n, err := strconv.Atoi(label); err == nil && n >= 0 && n < imagenet.Classes {
			output, ok = n, true
		}
		if !ok || name == "" {
			if i == 0 {
				continue
			}
			return nil, fmt.Errorf("%w: %s, line %d: %q is not a path and a label, which is a WordNet id of the 1000 classes or a number from 0 to 999", ErrSet, list, l.number, l.text)
		}
		if seen[name] {
			return nil, fmt.Errorf("%w: %s, line %d: %s is there twice", ErrSet, list, l.number, name)
		}
		seen[name] = true
		file := filepath.FromSlash(name)
		if !filepath.IsAbs(file) {
			file = filepath.Join(folder, file)
		}
		set.Pictures = append(set.Pictures, Picture{filepath.ToSlash(name), file, output})
	}
	if len(set.Pictures) == 0 {
		return nil, fmt.Errorf("%w: %s lists no pictures", ErrSet, list)
	}
	return set, nil
}

func separator(r rune) bool { return r == ',' || r == '\t' || r == ' ' || r == ';' }

type line struct {
	number int
	text   string
}

// readLines returns the lines of a file that are not empty.
func readLines(file string) ([]line, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxListBytes {
		return nil, fmt.Errorf("%s is not a text file of at most %d bytes", file, maxListBytes)
	}
	var lines []line
	scanner := bufio.NewScanner(f)
	for number := 1; scanner.Scan(); number++ {
		if text := strings.TrimSpace(scanner.Text()); strings.TrimFunc(text, separator) != "" {
			lines = append(lines, line{number, text})
		}
	}
	if errors.Is(scanner.Err(), bufio.ErrTooLong) {
		return nil, fmt.Errorf("%s has a line of more than %d bytes; it is not a list", file, bufio.MaxScanTokenSize)
	}
	return lines, scanner.Err()
}

// Limit returns the set with at most n of its pictures, evenly spread so that all
// classes have their share. All are kept if n is 0.
func (s *Set) Limit(n int) *Set {
	if n <= 0 || n >= len(s.Pictures) {
		return s
	}
	limited := &Set{Order: s.Order}
	for i := range n {
		limited.Pictures = append(limited.Pictures, s.Pictures[i*len(s.Pictures)/n])
	}
	return limited
}

// hash identifies the order.
func (o *Order) hash() string {
	h := sha256.New()
	for _, class := range o.classes {
		fmt.Fprintln(h, class)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}
