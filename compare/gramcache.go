package compare

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tfconvrnn/go/internal/atomicfile"
)

// Identified are Features that say what made them, so that their Gram matrices may be kept.
type Identified interface {
	Features
	// Identity is equal only for equal features of all layers; "" if that cannot be known.
	Identity() string
}

// GramCache keeps Gram matrices in a folder, so that the same features are read, or computed,
// once for all responses, splits and metrics, and an interrupted comparison goes on where it
// was. Each is kept under a hash of the identity of the features, the layer, the weights of its bins and the stimuli,
// as soon as it is complete, with a checksum: what is damaged is made again. It is safe for concurrent use, also by
// several processes.
type GramCache struct {
	folder string
	limit  int64

	mu           sync.Mutex
	found, added int
	size         int64 // of what was found or added
}

// gramSuffix is that of the files of a cache; nothing else in its folder is touched.
const gramSuffix = ".gram"

// NewGramCache returns a cache of a folder, which is made when it is needed, of at most limit bytes:
// those that were not used for longest go first.
func NewGramCache(folder string, limit int64) *GramCache {
	return &GramCache{folder: folder, limit: limit}
}

// String says what the cache was used for; "" if it was not.
func (c *GramCache) String() string {
	if c == nil {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.found+c.added == 0 {
		return ""
	}
	return fmt.Sprintf("Gram matrices: %d of %d were kept from before, in %s (%d MB)", c.found, c.found+c.added, c.folder,
		(c.size+500_000)/1_000_000)
}

// Clear removes all that is kept.
func (c *GramCache) Clear() error { return c.shrink(0) }

// EachGram is the function EachGram, with matrices from the cache where they are there. A nil cache keeps nothing, nor
// are matrices of features of no Identity kept. An error to write is no error: it is made again next time.
func (c *GramCache) EachGram(ctx context.Context, f Features, stimuli []int, wanted []Wanted,
	use func(w, i int, g *Gram) error) error {
	// In the order of the features they are read fastest, and serve all orders.
	l := &lookup{c: c, f: f, stimuli: slices.Sorted(slices.Values(stimuli)), wanted: wanted}
	place := make([]int, len(stimuli))
	for i, at := range stimuli {
		place[i], _ = slices.BinarySearch(l.stimuli, at)
	}
	l.use = func(w, i int, g *Gram) error {
		if !slices.IsSorted(place) {
			g.reorder(place)
		}
		return use(w, i, g)
	}
	if m, ok := f.(Multiplied); ok && m.Multiplied() {
		return l.multiplied(m)
	}
	l.name()
	if p, ok := f.(Passing); ok {
		if m := l.missing(); len(m.wanted) > 0 {
			if yes, err := p.InPasses(ctx); err != nil {
				return err
			} else if yes {
				return m.inPasses(ctx, p)
			}
		}
	}
	for w, want := range wanted {
		if err := l.some(ctx, w, 0, len(want.Weights)); err != nil {
			return err
		}
	}
	return nil
}

// lookup is one call of GramCache.EachGram.
type lookup struct {
	c       *GramCache
	f       Features
	stimuli []int // ascending
	wanted  []Wanted
	keys    [][]string // of each matrix, "" for what is not kept
	use     func(w, i int, g *Gram) error
}

// name finds the keys.
func (l *lookup) name() {
	identity := ""
	if identified, ok := l.f.(Identified); ok && l.c != nil {
		identity = identified.Identity()
	}
	ids := pick(l.f.Stimuli(), l.stimuli)
	for _, want := range l.wanted {
		keys := make([]string, len(want.Weights))
		for i, weights := range want.Weights {
			if identity != "" {
				keys[i] = gramKey(identity, l.f.Layers()[want.Layer].Name, weights, ids)
			}
		}
		l.keys = append(l.keys, keys)
	}
}

// kept reads a matrix, nil if it is not there.
func (l *lookup) kept(w, i int) *Gram {
	if l.keys[w][i] == "" {
		return nil
	}
	return l.c.read(l.keys[w][i], len(l.stimuli), l.f.Layers()[l.wanted[w].Layer].Size)
}

// computed keeps and uses a matrix.
func (l *lookup) computed(w, i int, g *Gram) error {
	if l.keys[w][i] != "" {
		l.c.write(l.keys[w][i], g)
	}
	return l.use(w, i, g)
}

// multiplied takes matrices that are there already.
func (l *lookup) multiplied(m Multiplied) error {
	for w, want := range l.wanted {
		for i, weights := range want.Weights {
			g, err := m.Gram(want.Layer, l.stimuli, weights)
			if err != nil {
				return err
			}
			if err := l.use(w, i, g); err != nil {
				return err
			}
		}
	}
	return nil
}

// some gives the matrices of one layer from one on to before end.
func (l *lookup) some(ctx context.Context, w, from, end int) error {
	want := l.wanted[w]
	var missing []int // one after the other
	compute := func() error {
		if len(missing) == 0 {
			return nil
		}
		these := missing
		missing = nil
		return EachGram(ctx, l.f, l.stimuli, []Wanted{{want.Layer, pick(want.Weights, these)}},
			func(_, m int, g *Gram) error { return l.computed(w, these[m], g) })
	}
	for i := from; i < end; i++ {
		g := l.kept(w, i)
		if g == nil {
			missing = append(missing, i)
			continue
		}
		if err := compute(); err != nil {
			return err
		}
		if err := l.use(w, i, g); err != nil {
			return err
		}
	}
	return compute()
}

func gramKey(identity, layer string, weights []float64, stimuli []string) string {
	h := sha256.New()
	_ = json.NewEncoder(h).Encode([]any{"gram 1", identity, layer, weights, stimuli})
	return hex.EncodeToString(h.Sum(nil))[:40]
}

// partOf is the key of the matrix of some of the features, of one that is not complete.
func partOf(key string) string { return key + "-part" }

// reorder makes stimulus i the one that was at place[i]. There may be fewer of them.
func (g *Gram) reorder(place []int) {
	k := make([]float64, len(place)*len(place))
	from := g.matrix()
	for i, at := range place {
		row := k[i*len(place):][:len(place)]
		for j, other := range place {
			row[j] = from[at*g.n+other]
		}
	}
	g.k, g.n, g.sums = k, len(place), pick(g.sums, place)
}

// gramHeader is followed by the sums and the lower triangle, float64, little-endian, and the SHA-256 of it
// all.
type gramHeader struct {
	Magic             [8]byte
	Stimuli, Features int64
	Varies            int64
}

var gramMagic = [8]byte{'G', 'R', 'A', 'M', 0, 0, 0, 1}

func (c *GramCache) file(key string) string { return filepath.Join(c.folder, key+gramSuffix) }

// read returns what is kept under a key, or nil.
func (c *GramCache) read(key string, n, features int) *Gram {
	name := c.file(key)
	g, err := readGram(name, n, features)
	if err != nil {
		return nil
	}
	now := time.Now()
	_ = os.Chtimes(name, now, now) // those not used for longest go first
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found++
	c.size += gramBytes(n)
	return g
}

// errGramFile means a file that does not hold the matrix it should.
var errGramFile = errors.New("not the Gram matrix that it should be, or damaged")

// readGram reads what writeGram wrote, of so many features, or of any number if that is 0.
func readGram(name string, n, features int) (*Gram, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || info.Size() != gramBytes(n) {
		return nil, fmt.Errorf("%s: %w", name, cmp.Or(err, errGramFile))
	}
	h := sha256.New()
	in := io.TeeReader(file, h)
	var header gramHeader
	err = binary.Read(in, binary.LittleEndian, &header)
	if features == 0 {
		features = int(header.Features)
	}
	if err != nil || features < 1 || header != (gramHeader{gramMagic, int64(n), int64(features), header.Varies}) {
		return nil, fmt.Errorf("%s: %w", name, errGramFile)
	}
	g := NewGram(n)
	g.features, g.varies = features, header.Varies == 1
	buffer := make([]byte, 8*n)
	values := func(to []float64) bool {
		part := buffer[:8*len(to)]
		if _, err := io.ReadFull(in, part); err != nil {
			return false
		}
		for i := range to {
			to[i] = math.Float64frombits(binary.LittleEndian.Uint64(part[8*i:]))
		}
		return true
	}
	ok := values(g.sums)
	for i := 0; i < n && ok; i++ {
		ok = values(g.k[i*n : i*n+i+1])
	}
	sum := h.Sum(nil)
	stored, err := io.ReadAll(io.LimitReader(file, sha256.Size+1))
	if !ok || err != nil || !bytes.Equal(sum, stored) {
		return nil, fmt.Errorf("%s: %w", name, errGramFile)
	}
	return g, nil
}

func gramBytes(n int) int64 { return int64(binary.Size(gramHeader{})+8*n+4*n*(n+1)) + sha256.Size }

// has tells whether there seems to be a matrix of n stimuli under a key, which then is one of those used last.
func (c *GramCache) has(key string, n int) bool {
	info, err := os.Stat(c.file(key))
	if err != nil || info.Size() != gramBytes(n) {
		return false
	}
	now := time.Now()
	_ = os.Chtimes(c.file(key), now, now)
	return true
}

// write keeps a matrix if there is room for it.
func (c *GramCache) write(key string, g *Gram) {
	if !c.put(key, g) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.added++
	c.size += gramBytes(g.n)
}

// put is write of what is not counted. It tells whether it is kept.
func (c *GramCache) put(key string, g *Gram) bool {
	size := gramBytes(g.n)
	return size <= c.limit && os.MkdirAll(c.folder, 0o755) == nil && c.shrink(c.limit-size) == nil &&
		writeGram(c.file(key), c.folder, g) == nil
}

func (c *GramCache) remove(key string) { _ = os.Remove(c.file(key)) }

// writeGram writes a matrix, with a checksum: whole or not at all. It is in the folder unfinished until it is complete.
func writeGram(name, unfinished string, g *Gram) error {
	file, err := atomicfile.CreateIn(unfinished, name)
	if err != nil {
		return err
	}
	defer file.Abort()
	h := sha256.New()
	out := io.MultiWriter(file, h)
	header := gramHeader{Magic: gramMagic, Stimuli: int64(g.n), Features: int64(g.features)}
	if g.varies {
		header.Varies = 1
	}
	err = binary.Write(out, binary.LittleEndian, &header)
	buffer := make([]byte, 0, 8*g.n)
	values := func(from []float64) {
		buffer = buffer[:0]
		for _, v := range from {
			buffer = binary.LittleEndian.AppendUint64(buffer, math.Float64bits(v))
		}
		if err == nil {
			_, err = out.Write(buffer)
		}
	}
	values(g.sums)
	for i := range g.n {
		values(g.k[i*g.n : i*g.n+i+1])
	}
	if err == nil {
		_, err = file.Write(h.Sum(nil))
	}
	if err != nil {
		return err
	}
	return file.Commit()
}

// shrink removes what was not used for longest until at most so many bytes are left.
func (c *GramCache) shrink(most int64) error {
	entries, err := os.ReadDir(c.folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var files []fs.FileInfo
	total := int64(0)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || !strings.HasSuffix(info.Name(), gramSuffix) {
			continue
		}
		files = append(files, info)
		total += info.Size()
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, info := range files {
		if total <= most {
			break
		}
		if err := os.Remove(filepath.Join(c.folder, info.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		total -= info.Size()
	}
	return nil
}
