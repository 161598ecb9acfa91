package compare

import (
	"context"
	"fmt"
	"slices"

	"github.com/tfconvrnn/go/internal/products"
)

// Passing are Features of which none need be kept: perhaps they come in passes over all stimuli, each of which computes
// some of them anew.
type Passing interface {
	Features
	// InPasses tells whether they do; if not, Row has them. It is asked as soon as features are needed, and may compute
	// them all then.
	InPasses(ctx context.Context) (bool, error)
	// Room is how many values may be in memory at once.
	Room() int
	// Pass computes some bins of some layers, of all stimuli, and passes them to visit: one stimulus after the other, in
	// their order, and of each all that Layers has, by its position there, as [bins][Size]. A row is valid until visit
	// returns. Errors are the features' own, visit's or ctx's.
	Pass(ctx context.Context, p Pass, visit func(which, stimulus int, row []float32) error) error
}

// Pass is what one of several passes computes.
type Pass struct {
	Layers []LayerBins
	// Number counts from 1, and there are Of.
	Number, Of int
}

// LayerBins are some bins of a layer, by their positions.
type LayerBins struct {
	Layer int
	Bins  []int
}

// inPasses returns the features if they come in passes, else nil.
func inPasses(ctx context.Context, f Features) (Passing, error) {
	p, ok := f.(Passing)
	if !ok {
		return nil, nil
	}
	yes, err := p.InPasses(ctx)
	if !yes || err != nil {
		return nil, err
	}
	return p, nil
}

// eachRow passes some bins of the features of some stimuli, by their positions, in a layer to visit, with the place of
// the stimulus in the list; in any order. They are valid until visit returns.
func eachRow(ctx context.Context, f Features, layer int, stimuli, bins []int,
	visit func(i int, row []float32) error) error {
	p, err := inPasses(ctx, f)
	if err != nil {
		return err
	}
	if p != nil {
		pass := Pass{Layers: []LayerBins{{layer, bins}}, Number: 1, Of: 1}
		return visitPlaces(ctx, p, pass, stimuli, func(_, i int, row []float32) error { return visit(i, row) })
	}
	for i, stimulus := range stimuli {
		if err := ctx.Err(); err != nil {
			return err
		}
		row, err := rowAt(f, layer, stimulus, bins)
		if err != nil {
			return err
		}
		if err := visit(i, row); err != nil {
			return err
		}
	}
	return nil
}

// visitPlaces runs a pass, and passes rows with the places of the stimuli in a list.
func visitPlaces(ctx context.Context, p Passing, pass Pass, stimuli []int,
	visit func(which, i int, row []float32) error) error {
	places := map[int][]int{}
	for i, stimulus := range stimuli {
		places[stimulus] = append(places[stimulus], i)
	}
	return p.Pass(ctx, pass, func(which, stimulus int, row []float32) error {
		if l, about := pass.Layers[which], p.Layers(); len(row) != len(l.Bins)*about[l.Layer].Size {
			return fmt.Errorf("%w: %d values of layer %s for %d bins of %d features", ErrData, len(row),
				about[l.Layer].Name, len(l.Bins), about[l.Layer].Size)
		}
		for _, i := range places[stimulus] {
			if err := visit(which, i, row); err != nil {
				return err
			}
		}
		return nil
	})
}

// ErrRoom means features that are needed themselves, all at once, and take more memory than they may. It is ErrData.
var ErrRoom = fmt.Errorf("%w: more features at once than there is memory for", ErrData)

// roomFor returns an error that wraps ErrRoom if the features come in passes and there is no room for so many values of
// a layer.
func roomFor(ctx context.Context, f Features, layer, values int) error {
	p, err := inPasses(ctx, f)
	if p == nil || err != nil || values <= p.Room() {
		return err
	}
	return fmt.Errorf("layer %s: %w: this needs the features themselves, not their products: %d MB, and there is room for %d MB",
		p.Layers()[layer].Name, ErrRoom, (4*values+999_999)/1_000_000, 4*p.Room()/1_000_000)
}

// passes compute parts of the features of some stimuli, as many in a pass as there is room for.
type passes struct {
	Passing
	stimuli []int
	wanted  []Wanted
	parts   []part // in the order in which they are given
}

// next is how many of the parts from one on a pass computes.
func (p *passes) next(from int) (count int) {
	values := 0
	for _, part := range p.parts[from:] {
		more := len(p.stimuli) * part.columns()
		if count > 0 && values+more > p.Room() {
			break
		}
		count, values = count+1, values+more
	}
	return count
}

// each computes the parts, and gives the features of each, [stimuli][columns], to add. after is called at the end of
// each pass.
func (p *passes) each(ctx context.Context, add func(part, []float32) error, after func() error) error {
	of := 0
	for from := 0; from < len(p.parts); of++ {
		from += p.next(from)
	}
	for from, number := 0, 1; from < len(p.parts); number++ {
		count := p.next(from)
		blocks, err := p.compute(ctx, p.parts[from:from+count], Pass{Number: number, Of: of})
		if err != nil {
			return err
		}
		for i := range blocks {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := add(p.parts[from+i], blocks[i]); err != nil {
				return err
			}
			blocks[i] = nil // what comes has the memory
		}
		if err := after(); err != nil {
			return err
		}
		from += count
	}
	return nil
}

// compute runs one pass.
func (p *passes) compute(ctx context.Context, parts []part, pass Pass) (blocks [][]float32, err error) {
	layers := p.Layers()
	var of [][]int            // the parts of each of pass.Layers
	var weights [][][]float64 // of the bins of the window of each of these parts
	for k, some := range parts {
		if k == 0 || some.of != parts[k-1].of {
			pass.Layers, of, weights = append(pass.Layers, LayerBins{Layer: p.wanted[some.of].Layer}), append(of, nil),
				append(weights, nil)
		}
		at := len(of) - 1
		of[at] = append(of[at], k)
		blocks = append(blocks, make([]float32, len(p.stimuli)*some.columns()))
	}
	for at := range of {
		l := &pass.Layers[at]
		lists := p.wanted[parts[of[at][0]].of].Weights
		for b := range max(len(layers[l.Layer].Bins), 1) {
			if slices.ContainsFunc(of[at], func(k int) bool { return lists[parts[k].window][b] != 0 }) {
				l.Bins = append(l.Bins, b)
			}
		}
		for _, k := range of[at] {
			weights[at] = append(weights[at], pick(lists[parts[k].window], l.Bins))
		}
	}
	err = visitPlaces(ctx, p.Passing, pass, p.stimuli, func(which, i int, row []float32) error {
		size := layers[pass.Layers[which].Layer].Size
		for j, k := range of[which] {
			columns := parts[k].columns()
			copy(blocks[k][i*columns:], blended(row, size, weights[which][j], parts[k].from, parts[k].to))
		}
		return nil
	})
	return blocks, err
}

// eachWindow gives the features of each list of weights, [stimuli][Size], to use, in the order of the lists. The error
// wraps ErrRoom where they come in passes, and those of one are more than there is room for.
func eachWindow(ctx context.Context, f Features, stimuli []int, wanted []Wanted,
	use func(w, i int, features []float32) error) error {
	var parts []part
	for w, want := range wanted {
		for i := range want.Weights {
			parts = append(parts, part{w, i, 0, f.Layers()[want.Layer].Size})
		}
	}
	if len(parts) == 0 {
		return nil
	}
	p, err := inPasses(ctx, f)
	if err != nil {
		return err
	}
	if p != nil {
		for _, some := range parts {
			if err := roomFor(ctx, f, wanted[some.of].Layer, len(stimuli)*some.to); err != nil {
				return err
			}
		}
		run := &passes{Passing: p, stimuli: stimuli, wanted: wanted, parts: parts}
		return run.each(ctx, func(some part, block []float32) error { return use(some.of, some.window, block) },
			func() error { return nil })
	}
	for _, some := range parts {
		layer, weights := wanted[some.of].Layer, wanted[some.of].Weights[some.window]
		bins := slices.DeleteFunc(upTo(len(weights)), func(b int) bool { return weights[b] == 0 })
		block := make([]float32, len(stimuli)*some.to)
		if err := eachRow(ctx, f, layer, stimuli, bins, func(i int, row []float32) error {
			copy(block[i*some.to:], blended(row, some.to, pick(weights, bins), 0, some.to))
			return nil
		}); err != nil {
			return err
		}
		if err := use(some.of, some.window, block); err != nil {
			return err
		}
	}
	return nil
}

// begun keeps Gram matrices of some of the features of a window, the first ones, between passes: an interrupted
// comparison goes on with them.
type begun interface {
	load(w, i int) *Gram // nil if there is none
	save(w, i int, g *Gram)
}

// eachGram is EachGram in passes. kept may be nil.
func (p *passes) eachGram(ctx context.Context, kept begun, use func(w, i int, g *Gram) error) error {
	n := len(p.stimuli)
	loaded := map[[2]int]*Gram{}
	for w, want := range p.wanted {
		size := p.Layers()[want.Layer].Size
		if n == 0 || size == 0 {
			return fmt.Errorf("%w: %d features of %d stimuli", ErrData, size, n)
		}
		width := blockWidth(n, size)
		if widest := max(p.Room()/n/products.Depth, 1) * products.Depth; width > widest {
			width = min(widest, size)
		}
		for i := range want.Weights {
			from := 0
			if kept != nil {
				if g := kept.load(w, i); g != nil && g.n == n && g.features < size && g.features%products.Depth == 0 {
					loaded[[2]int{w, i}], from = g, g.features
				}
			}
			for ; from < size; from += width {
				p.parts = append(p.parts, part{w, i, from, min(from+width, size)})
			}
		}
	}
	var g *Gram
	var at part // the last of it
	return p.each(ctx, func(some part, block []float32) error {
		if at = some; some.from == 0 {
			g = NewGram(n)
		} else if before := loaded[[2]int{some.of, some.window}]; before != nil && before.features == some.from {
			g = before
			delete(loaded, [2]int{some.of, some.window})
		}
		layer := p.wanted[some.of].Layer
		if err := g.Add(block, some.columns(), some.columns()); err != nil {
			return named(err, p, layer, p.stimuli)
		}
		if some.to < p.Layers()[layer].Size {
			return nil
		}
		complete := g
		g = nil
		return use(some.of, some.window, complete)
	}, func() error {
		if g != nil && kept != nil {
			kept.save(at.of, at.window, g)
		}
		return nil
	})
}

// missing are the matrices that a cache lacks.
type missing struct {
	*lookup
	wanted []Wanted
	at     [][][2]int // the places of their weights among all that are wanted
}

// missing finds what must be computed.
func (l *lookup) missing() *missing {
	m := &missing{lookup: l}
	for w, want := range l.wanted {
		lacking := Wanted{Layer: want.Layer}
		var at [][2]int
		for i, weights := range want.Weights {
			if l.keys[w][i] == "" || !l.c.has(l.keys[w][i], len(l.stimuli)) {
				lacking.Weights, at = append(lacking.Weights, weights), append(at, [2]int{w, i})
			}
		}
		if len(at) > 0 {
			m.wanted, m.at = append(m.wanted, lacking), append(m.at, at)
		}
	}
	return m
}

// inPasses computes what is missing in passes, and gives what is kept in its turn.
func (m *missing) inPasses(ctx context.Context, p Passing) error {
	var order [][2]int
	for w, want := range m.lookup.wanted {
		for i := range want.Weights {
			order = append(order, [2]int{w, i})
		}
	}
	kept := func() error { // one that has gone meanwhile, or is damaged, is computed by itself
		w, i := order[0][0], order[0][1]
		order = order[1:]
		return m.some(ctx, w, i, i+1)
	}
	run := &passes{Passing: p, stimuli: m.stimuli, wanted: m.wanted}
	err := run.eachGram(ctx, m, func(w, i int, g *Gram) error {
		this := m.at[w][i]
		for order[0] != this {
			if err := kept(); err != nil {
				return err
			}
		}
		order = order[1:]
		if key := m.keys[this[0]][this[1]]; key != "" {
			m.c.remove(partOf(key))
		}
		return m.computed(this[0], this[1], g)
	})
	for len(order) > 0 && err == nil {
		err = kept()
	}
	return err
}

func (m *missing) load(w, i int) *Gram {
	key := m.keys[m.at[w][i][0]][m.at[w][i][1]]
	if key == "" {
		return nil
	}
	g, err := readGram(m.c.file(partOf(key)), len(m.stimuli), 0)
	if err != nil {
		return nil
	}
	return g
}

func (m *missing) save(w, i int, g *Gram) {
	if key := m.keys[m.at[w][i][0]][m.at[w][i][1]]; key != "" {
		m.c.put(partOf(key), g)
	}
}
