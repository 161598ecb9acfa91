package images

import (
	"fmt"
	"strings"
	"sync"
)

// Notices tells the user of a run what may surprise about its pictures: the first picture of a kind at once, and how
// many there are at the end. It may be used from several goroutines.
type Notices struct {
	// Warn is called with what is probably not wanted, Note with what is good to know. Either may be nil.
	Warn, Note func(message string)
	// Animate says that all frames were asked for, so that one is probably not wanted.
	Animate bool

	mu    sync.Mutex
	kinds []noticeKind
}

// noticeKind collects the pictures that share one remark.
type noticeKind struct {
	tell     func(message string)
	key      string
	summary  string
	pictures map[string]struct{}
	more     int // beyond maxNoticed
}

// maxNoticed bounds the names that are kept so that a picture that is read again counts once.
const maxNoticed = 1 << 20

// Picture looks at a picture that was read with p.Options and is to be prepared by p. Name stands for it.
func (n *Notices) Picture(name string, picture *Picture, p Preprocessing) {
	if picture.Transparent && p.Background == nil {
		n.add(n.Warn, "transparent", name, "have pixels that are not opaque, whose alpha was dropped",
			"%s has pixels that are not opaque; their alpha is dropped, so that the colours that the file hides there are seen",
			name)
	}
	if c := p.Background; picture.Transparent && c != nil {
		n.add(n.Note, "composited", name, "have pixels that are not opaque and were composited",
			"%s has pixels that are not opaque; they are composited with #%02x%02x%02x", name, c[0], c[1], c[2])
	}
	if bits := picture.Bits; bits > 0 && bits <= 14 {
		n.add(n.Warn, "unused_bits", name, "have 16 bits of which the highest are not used",
			"%s has 16 bits a channel of which only the lower %d are used; the high byte is taken, so it is dark or black: "+
				"scale its values to 0 … 65535 before", name, bits)
	}
	if picture.Notice != "" {
		// A kind is named without the range of values or the list of faults, because
		// these differ between its pictures.
		kind, _, _ := strings.Cut(picture.Notice, " from ")
		kind, _, _ = strings.Cut(kind, ":")
		n.add(n.Warn, "remark", name, fmt.Sprintf("have such a remark (%s)", kind), "%s: %s", name, picture.Notice)
	}
	if picture.Animated {
		tell := n.Note
		if n.Animate {
			tell = n.Warn
		}
		n.add(tell, "animated", name, "are animated, of which the first frame was taken",
			"%s is animated; its first frame is taken", name)
	}
	exempt, resized := p.Exempts(picture.Width, picture.Height)
	if exempt {
		n.add(n.Note, "kept_224", name, "were 224×224 already and were taken as they are",
			"%s is 224×224 already and is taken as it is", name)
	}
	if resized {
		n.add(n.Warn, "resized_224", name, "were 224×224 already and were resized and cropped all the same",
			"%s is 224×224 already and is resized and cropped all the same, as %v says; with +keep224 at its end such pictures are taken as they are",
			name, p)
	}
}

func (n *Notices) add(tell func(string), key, name, summary, format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var kind *noticeKind
	for i := range n.kinds {
		if n.kinds[i].key == key && n.kinds[i].summary == summary {
			kind = &n.kinds[i]
		}
	}
	if kind == nil {
		n.kinds = append(n.kinds, noticeKind{tell: tell, key: key, summary: summary, pictures: map[string]struct{}{}})
		kind = &n.kinds[len(n.kinds)-1]
		if tell != nil {
			tell(fmt.Sprintf(format, args...))
		}
	}
	if _, known := kind.pictures[name]; known {
		return
	}
	if len(kind.pictures) < maxNoticed {
		kind.pictures[name] = struct{}{}
	} else {
		kind.more++
	}
}

// Counts returns the number of pictures so far that are transparent (and dropped their alpha), composited, have
// unused_bits, a remark, are animated, and of those of 224×224 that were taken as they are (kept_224) or not
// (resized_224). Kinds without a picture are left out; without any it is nil.
func (n *Notices) Counts() map[string]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	var counts map[string]int
	for _, kind := range n.kinds {
		if counts == nil {
			counts = map[string]int{}
		}
		counts[kind.key] += len(kind.pictures) + kind.more
	}
	return counts
}

// Close tells the number of pictures of each kind that had several. It is idempotent.
func (n *Notices) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, kind := range n.kinds {
		if count := len(kind.pictures) + kind.more; count > 1 && kind.tell != nil {
			kind.tell(fmt.Sprintf("in all, %d pictures %s", count, kind.summary))
		}
	}
	n.kinds = nil
}
