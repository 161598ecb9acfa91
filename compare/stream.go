package compare

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/tfconvrnn/go/internal/disk"
	"github.com/tfconvrnn/go/internal/parallel"
	"github.com/tfconvrnn/go/internal/products"
)

// Limits of what is in memory, and in a temporary file, beside a Gram matrix. They are numbers of float32 values.
var (
	mostBlock   = 6 << 20  // features that are multiplied at once; there are two of them
	mostShelved = 40 << 20 // features in memory; of more than twice as many none are
	mostSpilled = 1 << 30  // features in the file, of those that are more
)

// checkDisk is disk.Check but in tests.
var checkDisk = disk.Check

// Wanted are Gram matrices of a layer, by its position: one for each list of weights of its bins. Features of a list
// with several weights are their mean.
type Wanted struct {
	Layer   int
	Weights [][]float64
}

// EachGram streams the features of some stimuli, by their positions, into the Gram matrices that are wanted, and passes
// these to use in their order, each as soon as it is complete, with the places of its layer and weights in the lists.
//
// The features of a stimulus in a layer are read once, or, of more than 4 GB, a few times: what of them is more than
// 160 MB, or all if that is more than 320, is put into a temporary file meanwhile, in the order in which it is
// multiplied; where that has no room, they are read as often as is needed to do without. Of Features in passes, which
// are Passing, nothing is written: a pass computes as many of all that is wanted as there is room for. Errors are the
// features' own, use's, wrap ErrData, or are ctx's.
func EachGram(ctx context.Context, f Features, stimuli []int, wanted []Wanted,
	use func(w, i int, g *Gram) error) error {
	p, err := inPasses(ctx, f)
	if err != nil {
		return err
	}
	if p != nil {
		return (&passes{Passing: p, stimuli: stimuli, wanted: wanted}).eachGram(ctx, nil, use)
	}
	for w, want := range wanted {
		if len(want.Weights) == 0 {
			continue
		}
		if err := eachGram(ctx, f, want, stimuli, func(i int, g *Gram) error { return use(w, i, g) }); err != nil {
			return err
		}
	}
	return nil
}

// blockWidth is how many features of n stimuli are multiplied at once: a multiple of the products' depth, so that it
// does not change a bit of the sums. Of many stimuli a block is a sixteenth of what the matrix takes.
func blockWidth(n, size int) int {
	return min(max(mostBlock/n, n/8, 1)/products.Depth*products.Depth+products.Depth, size)
}

// eachGram is EachGram of a layer whose features can be read.
func eachGram(ctx context.Context, f Features, want Wanted, stimuli []int, use func(i int, g *Gram) error) error {
	size, n := f.Layers()[want.Layer].Size, len(stimuli)
	if n == 0 || size == 0 {
		return fmt.Errorf("%w: %d features of %d stimuli", ErrData, size, n)
	}
	width := blockWidth(n, size)
	var parts []part
	for i := range want.Weights {
		for from := 0; from < size; from += width {
			parts = append(parts, part{0, i, from, min(from+width, size)})
		}
	}
	most := mostAtOnce(n, width, size*len(want.Weights))
	var g *Gram
	for len(parts) > 0 {
		count, columns := 0, 0
		for count < len(parts) && (count == 0 || columns+parts[count].columns() <= most) {
			columns += parts[count].columns()
			count++
		}
		s, err := newShelf(parts[:count], n)
		if err != nil {
			return err
		}
		if err = s.fill(ctx, f, want, stimuli); err == nil {
			err = s.each(func(p part, block []float32) error {
				if p.from == 0 {
					g = NewGram(n)
				}
				return named(g.Add(block, p.columns(), p.columns()), f, want.Layer, stimuli)
			}, func(p part) error {
				if err := ctx.Err(); err != nil || p.to < size {
					return err
				}
				return use(p.window, g)
			})
		}
		s.close()
		if err != nil {
			return err
		}
		parts = parts[count:]
	}
	return nil
}

// mostAtOnce is how many features of n stimuli are read at once, of so many.
func mostAtOnce(n, width, columns int) int {
	most := max(mostSpilled/n, width)
	inFile := int64(4) * int64(n) * int64(min(most, columns))
	if n*columns > mostShelved && checkDisk(os.TempDir(), inFile) != nil {
		most = max(mostShelved/n, width)
	}
	return most
}

// Grams is EachGram for all matrices of a layer at once.
func Grams(ctx context.Context, f Features, layer int, stimuli []int, weights [][]float64) ([]*Gram, error) {
	grams := make([]*Gram, len(weights))
	err := EachGram(ctx, f, stimuli, []Wanted{{layer, weights}}, func(_, i int, g *Gram) error {
		grams[i] = g
		return nil
	})
	if err != nil {
		return nil, err
	}
	return grams, nil
}

// part is some of the features of a window: of one of the lists of weights of one of those wanted.
type part struct{ of, window, from, to int }

func (p part) columns() int { return p.to - p.from }

// shelf holds the features of parts, each [stimuli][columns], one after the other: the first ones in memory, the others
// in a temporary file.
type shelf struct {
	parts  []part
	starts []int // of the parts, in values
	n      int
	memory []float32
	file   *os.File // what begins behind what is in memory
	spare  [2][]float32
	bytes  []byte
}

func newShelf(parts []part, n int) (*shelf, error) {
	s := &shelf{parts: parts, n: n}
	end, widest := 0, 0
	for _, p := range parts {
		s.starts = append(s.starts, end)
		end += n * p.columns()
		widest = max(widest, n*p.columns())
	}
	kept := 0
	for k := 0; k < len(parts) && end <= 2*mostShelved && kept+n*parts[k].columns() <= mostShelved; k++ {
		kept += n * parts[k].columns()
	}
	if len(parts) == 1 {
		kept = end
	}
	s.memory = make([]float32, kept)
	if kept == end {
		return s, nil
	}
	file, err := os.CreateTemp("", "tfconvrnn-features-*")
	if err != nil {
		return nil, err
	}
	s.file = file
	if err := os.Remove(file.Name()); err != nil { // nothing is left behind, however this ends
		return nil, errors.Join(err, file.Close())
	}
	for i := range s.spare {
		s.spare[i] = make([]float32, widest)
	}
	return s, nil
}

func (s *shelf) close() {
	if s.file != nil {
		s.file.Close()
	}
}

// fill reads the features of all stimuli.
func (s *shelf) fill(ctx context.Context, f Features, want Wanted, stimuli []int) error {
	about := f.Layers()[want.Layer]
	var wanted []int // bins
	for b := range max(len(about.Bins), 1) {
		if slices.ContainsFunc(s.parts, func(p part) bool { return want.Weights[p.window][b] != 0 }) {
			wanted = append(wanted, b)
		}
	}
	picked := make([][]float64, len(want.Weights))
	for i, w := range want.Weights {
		picked[i] = pick(w, wanted)
	}
	return eachRow(ctx, f, want.Layer, stimuli, wanted, func(i int, row []float32) error {
		for k, p := range s.parts {
			if err := s.put(s.starts[k]+i*p.columns(), blended(row, about.Size, picked[p.window], p.from, p.to)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *shelf) put(at int, values []float32) error {
	if at < len(s.memory) {
		copy(s.memory[at:], values)
		return nil
	}
	s.bytes = s.bytes[:0]
	for _, v := range values {
		s.bytes = binary.LittleEndian.AppendUint32(s.bytes, math.Float32bits(v))
	}
	if _, err := s.file.WriteAt(s.bytes, 4*int64(at-len(s.memory))); err != nil {
		return fmt.Errorf("features between reading and multiplying (TMPDIR says where else): %w", err)
	}
	return nil
}

// read fills values with those from at on in the file.
func (s *shelf) read(values []float32, at int) error {
	const atOnce = 1 << 16
	if cap(s.bytes) < 4*atOnce {
		s.bytes = make([]byte, 4*atOnce)
	}
	for from := 0; from < len(values); from += atOnce {
		some := values[from:min(from+atOnce, len(values))]
		raw := s.bytes[:4*len(some)]
		if _, err := s.file.ReadAt(raw, 4*int64(at-len(s.memory)+from)); err != nil {
			return err
		}
		for i := range some {
			some[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
	}
	return nil
}

// each passes one part after the other to add, and then to after. Meanwhile add runs the next part is read.
func (s *shelf) each(add func(p part, block []float32) error, after func(p part) error) error {
	get := func(k int) (block []float32, err error) {
		if k == len(s.parts) {
			return nil, nil
		}
		count := s.n * s.parts[k].columns()
		if s.starts[k] < len(s.memory) {
			return s.memory[s.starts[k]:][:count], nil
		}
		block = s.spare[k%2][:count]
		return block, s.read(block, s.starts[k])
	}
	block, err := get(0)
	for k, p := range s.parts {
		if err != nil {
			return err
		}
		var next []float32
		var nextErr error
		parallel.Both(func() { err = add(p, block) }, func() { next, nextErr = get(k + 1) })
		if k == len(s.parts)-1 { // what comes after has all the memory
			block, s.memory, s.spare = nil, nil, [2][]float32{}
		}
		if err == nil {
			err = after(p)
		}
		if err != nil {
			return err
		}
		block, err = next, nextErr
	}
	return err
}
