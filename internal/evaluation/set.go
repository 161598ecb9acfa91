package evaluation

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tfconvrnn/go/internal/imagenet"
	"github.com/tfconvrnn/go/stimuli"
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
func ReadOrder(ctx context.Context, file string) (*Order, error) {
	lines, _, err := readLines(ctx, file) // ids have no other characters
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOrder, err)
	}
	o := &Order{Name: filepath.Base(file), outputs: slices.Repeat([]int{-1}, imagenet.Classes)}
	for _, l := range lines {
		id := strings.FieldsFunc(l.text, separator)[0]
		class, ok := classOf(id)
		if !ok {
			return nil, fmt.Errorf("%w: %s, line %d: %q is not the WordNet id of one of the 1000 classes", ErrOrder, file,
				l.number, id)
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
	// Labelled is how many pictures of each output there are, [1000], whatever Limit
	// leaves of them; nil stands for the number in Pictures.
	Labelled []int
	// Among are the outputs among which the likeliest is chosen, in order; nil stands
	// for all of them.
	Among []int
	// Notes are sentences about what was left out or assumed.
	Notes []string
}

// labelled is Labelled, counted if need be.
func (s *Set) labelled() []int {
	if s.Labelled != nil {
		return s.Labelled
	}
	counts := make([]int, imagenet.Classes)
	for _, p := range s.Pictures {
		counts[p.Label]++
	}
	return counts
}

// Present returns the outputs that there are pictures of, in order.
func (s *Set) Present() []int {
	var present []int
	for output, n := range s.labelled() {
		if n > 0 {
			present = append(present, output)
		}
	}
	return present
}

// ChooseAmong returns the set with a choice among some outputs only, and not among
// all 1000: the largest logit of these outputs wins. That is how accuracy is given for
// sets of pictures of fewer classes, such as ImageNet-R and ImageNet-A. The error wraps
// ErrSet if these are fewer than two, or if a picture's is not among them.
func (s *Set) ChooseAmong(outputs []int) (*Set, error) {
	among := slices.Clone(outputs)
	slices.Sort(among)
	among = slices.Compact(among)
	if len(among) < 2 {
		return nil, fmt.Errorf("%w: a choice needs at least 2 classes, and these are %d", ErrSet, len(among))
	}
	for output, n := range s.labelled() {
		if _, ok := slices.BinarySearch(among, output); n > 0 && !ok {
			return nil, fmt.Errorf("%w: %d of the pictures are of %s, which is not among the classes to choose from", ErrSet, n,
				s.Order.Class(output).WordNetID)
		}
	}
	chosen := *s
	chosen.Among = among
	if len(among) == imagenet.Classes {
		chosen.Among = nil
	}
	return &chosen, nil
}

// among is the number of outputs that the choice is among.
func (s *Set) among() int {
	if s.Among == nil {
		return imagenet.Classes
	}
	return len(s.Among)
}

// ReadClasses reads a list of some of the 1000 classes, for ChooseAmong: WordNet ids,
// one a line, what follows an id on its line being left out. The error wraps ErrOrder.
func ReadClasses(ctx context.Context, file string, order *Order) ([]int, error) {
	lines, _, err := readLines(ctx, file) // ids have no other characters
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOrder, err)
	}
	var outputs []int
	for _, l := range lines {
		id := strings.FieldsFunc(l.text, separator)[0]
		output, ok := order.output(id)
		if !ok {
			return nil, fmt.Errorf("%w: %s, line %d: %q is not the WordNet id of one of the 1000 classes", ErrOrder, file,
				l.number, id)
		}
		if slices.Contains(outputs, output) {
			return nil, fmt.Errorf("%w: %s, line %d: %s is there twice", ErrOrder, file, l.number, id)
		}
		outputs = append(outputs, output)
	}
	return outputs, nil
}

func separator(r rune) bool { return r == ',' || r == '\t' || r == ' ' || r == ';' }

type line struct {
	number int
	text   string
}

// readLines returns the lines of a text file that are not empty, and what was guessed
// about the file.
func readLines(ctx context.Context, file string) (lines []line, guessed string, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, "", stimuli.Explain(file, err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxListBytes {
		return nil, "", fmt.Errorf("%s is not a text file of at most %d bytes", file, maxListBytes)
	}
	text, err := stimuli.OpenText(ctx, file)
	if err != nil {
		return nil, "", err
	}
	defer text.Close()
	scanner := bufio.NewScanner(text)
	for number := 1; scanner.Scan(); number++ {
		if text := strings.TrimSpace(scanner.Text()); strings.TrimFunc(text, separator) != "" {
			lines = append(lines, line{number, text})
		}
	}
	if errors.Is(scanner.Err(), bufio.ErrTooLong) {
		return nil, "", fmt.Errorf("%s has a line of more than %d bytes; it is not a list", file, bufio.MaxScanTokenSize)
	}
	return lines, text.Guessed, scanner.Err()
}

// Limit returns the set with at most n of its pictures, evenly spread so that all
// classes have their share. All are kept if n is 0.
func (s *Set) Limit(n int) *Set {
	if n <= 0 || n >= len(s.Pictures) {
		return s
	}
	limited := *s
	limited.Pictures, limited.Labelled = nil, s.labelled()
	for i := range n {
		limited.Pictures = append(limited.Pictures, s.Pictures[i*len(s.Pictures)/n])
	}
	return &limited
}

// hash identifies the order.
func (o *Order) hash() string {
	h := sha256.New()
	for _, class := range o.classes {
		fmt.Fprintln(h, class)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// amongHash identifies the outputs among which the likeliest is chosen.
func (s *Set) amongHash() string {
	if s.Among == nil {
		return "all"
	}
	h := sha256.New()
	for _, output := range s.Among {
		fmt.Fprintln(h, output)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}
