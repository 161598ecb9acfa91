package serving

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/internal/reduce"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// maxCombinations is how many combinations of layers and timesteps of a model are computed by
// themselves. TensorFlow keeps what it needs for each of them as long as the model lives, so
// further ones are computed with all layers at all timesteps, of which what was asked for is
// taken.
const maxCombinations = 64

// served is a model of the service.
type served struct {
	name  string
	model *tfconvrnn.Model

	mu           sync.Mutex
	combinations map[string]bool
}

// layerNames are those of all layers.
func (s *served) layerNames() (names []string) {
	for _, l := range s.model.Info().Layers {
		names = append(names, l.Name)
	}
	return names
}

// wish says what a request wants of each of its stimuli.
type wish struct {
	presentation  tfconvrnn.Presentation
	layers        []string
	allTimesteps  bool
	logits        bool
	selections    []string // as tfconvrnn.SelectUnits reads them
	reductions    []string
	preprocessing string // canonical; "" where there are no pictures to prepare
}

// options are the extraction's.
func (w *wish) options() []tfconvrnn.ExtractOption {
	options := []tfconvrnn.ExtractOption{tfconvrnn.WithPresentation(w.presentation),
		tfconvrnn.SelectUnits(w.selections...)}
	if len(w.layers) == 0 {
		options = append(options, tfconvrnn.OnlyLogits())
	} else {
		options = append(options, tfconvrnn.Layers(w.layers...))
	}
	if w.allTimesteps {
		options = append(options, tfconvrnn.AllTimesteps())
	}
	if w.logits {
		options = append(options, tfconvrnn.Logits())
	}
	return options
}

// plan is how a wish is computed.
type plan struct {
	served *served
	wish   wish
	// asked describes the outputs, computed what runs, which is more where there are too
	// many combinations.
	asked, computed *tfconvrnn.Extraction
	options         []tfconvrnn.ExtractOption // of computed
	layers          []plannedLayer
	// key is equal for plans that may run together.
	key string
	// batch is the most images of a run.
	batch int
}

// plannedLayer is a layer of a plan.
type plannedLayer struct {
	tfconvrnn.LayerOutput
	reduction reduce.Reduction
	reducer   *reduce.Reducer // nil where features stay as they are
	shape     []int           // of one timestep, reduced
	size      int             // of a stimulus, in values
	// source and first are the layer's and its first timestep's places in what is computed.
	source, first int
}

// plan checks a wish. Errors are those of Model.Plan, and wrap reduce.ErrReduction or ErrShape.
func (s *served) plan(w wish, maxBatch int) (*plan, error) {
	p := &plan{served: s, wish: w, options: w.options()}
	chosen, err := s.model.Plan(append(slices.Clone(p.options), tfconvrnn.BatchUpTo(maxBatch))...)
	if err != nil {
		return nil, err
	}
	p.batch = min(maxBatch, chosen.BatchSize())
	if p.asked, err = s.model.Plan(append(p.options, tfconvrnn.BatchSize(p.batch))...); err != nil {
		return nil, err
	}
	if err := p.reduce(); err != nil {
		return nil, err
	}
	if err := p.choose(maxBatch); err != nil {
		return nil, err
	}
	shown, err := json.Marshal(p.asked.Presentation())
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(shown)
	p.key = strings.Join([]string{s.name, strings.Join(w.layers, ","), fmt.Sprint(w.allTimesteps, w.logits, maxBatch),
		strings.Join(w.selections, ";"), hex.EncodeToString(sum[:])}, "|")
	return p, nil
}

// reduce prepares the layers and their reductions.
func (p *plan) reduce() error {
	list, err := extraction.ReduceLayers(p.asked.Layers(), p.wish.reductions)
	if err != nil {
		return err
	}
	for i, l := range list {
		reduction, err := reduce.Parse(l.Reduction)
		if err != nil {
			return err
		}
		reducer, err := reduce.New(reduction, l.Shape)
		if err != nil {
			return err
		}
		shape, err := reduction.OutputShape(l.Shape)
		if err != nil {
			return err
		}
		planned := plannedLayer{LayerOutput: l.LayerOutput, reduction: reduction, shape: shape,
			size: reducer.OutputSize() * len(l.Timesteps), source: i}
		if !reduction.IsNone() {
			planned.reducer = reducer
		}
		p.layers = append(p.layers, planned)
	}
	return nil
}

// choose decides what is computed.
func (p *plan) choose(maxBatch int) error {
	layers := slices.Sorted(slices.Values(p.wish.layers))
	combination := fmt.Sprint(layers, p.asked.Times(), p.wish.allTimesteps, p.wish.logits)
	s := p.served
	s.mu.Lock()
	known := s.combinations[combination]
	if !known && len(s.combinations) < maxCombinations {
		s.combinations[combination] = true
		known = true
	}
	s.mu.Unlock()
	if p.computed = p.asked; known {
		p.options = append(p.options, tfconvrnn.BatchSize(p.batch))
		return nil
	}
	all := []tfconvrnn.ExtractOption{tfconvrnn.WithPresentation(p.wish.presentation), tfconvrnn.AllTimesteps(),
		tfconvrnn.Layers(s.layerNames()...), tfconvrnn.SelectUnits(p.wish.selections...)}
	largest := append(slices.Clone(all), tfconvrnn.Logits(), tfconvrnn.BatchUpTo(maxBatch))
	if with, err := s.model.Plan(largest...); err == nil {
		all = append(all, tfconvrnn.Logits())
		p.batch = min(maxBatch, with.BatchSize())
	}
	p.options = append(all, tfconvrnn.BatchSize(p.batch))
	var err error
	if p.computed, err = s.model.Plan(p.options...); err != nil {
		return err
	}
	for i := range p.layers {
		l := &p.layers[i]
		l.source = slices.IndexFunc(p.computed.Layers(), func(c tfconvrnn.LayerOutput) bool { return c.Name == l.Name })
		l.first = l.Timesteps[0]
	}
	return nil
}

// resultBytes is what the results of so many stimuli take.
func (p *plan) resultBytes(stimuli int) int64 {
	values := 0
	for _, l := range p.layers {
		values += l.size
	}
	if p.wish.logits {
		values += tfconvrnn.Classes
	}
	return 4 * int64(values) * int64(stimuli)
}

// result is what a request gets.
type result struct {
	plan *plan
	// layers has the values of each layer, [stimuli, timesteps, shape…].
	layers [][]float32
	logits []float32 // [stimuli, 1000]
	// batches are the numbers of images of the runs that computed it.
	batches []int
	// taken says of each layer's timesteps whether their values are there already, nil unless the
	// result is reported while it is computed.
	taken [][]bool
}

func (p *plan) newResult(stimuli int) *result {
	r := &result{plan: p, layers: make([][]float32, len(p.layers))}
	for i, l := range p.layers {
		r.layers[i] = make([]float32, stimuli*l.size)
	}
	if p.wish.logits {
		r.logits = make([]float32, stimuli*tfconvrnn.Classes)
	}
	return r
}

// takeTimestep copies what was computed of the only stimulus at a place of what is computed, and
// returns the place of the result, or -1 if it is not asked for.
func (r *result) takeTimestep(b *tfconvrnn.Batch, source, timestep int) (layer, step int, err error) {
	layer = slices.IndexFunc(r.plan.layers, func(l plannedLayer) bool { return l.source == source })
	if layer < 0 {
		return -1, 0, nil
	}
	l := &r.plan.layers[layer]
	if step = timestep - l.first; step < 0 || step >= len(l.Timesteps) || l.reducer != nil {
		return -1, 0, nil
	}
	values, err := b.Feature(source, timestep, 0)
	if err != nil {
		return -1, 0, err
	}
	if r.taken == nil {
		r.taken = make([][]bool, len(r.plan.layers))
	}
	if r.taken[layer] == nil {
		r.taken[layer] = make([]bool, len(l.Timesteps))
	}
	copy(r.layers[layer][step*len(values):], values)
	r.taken[layer][step] = true
	return layer, step, nil
}

// take copies the values of a stimulus of a batch to their place.
func (r *result) take(b *tfconvrnn.Batch, item, stimulus int, buffer []float32) (_ []float32, err error) {
	for i := range r.plan.layers {
		l := &r.plan.layers[i]
		if r.taken != nil && !slices.Contains(r.taken[i], false) && len(r.taken[i]) > 0 {
			continue // others read it already
		}
		dst := r.layers[i][stimulus*l.size : (stimulus+1)*l.size]
		if l.reducer == nil {
			if err := l.timesteps(b, item, func(values []float32) { dst = dst[copy(dst, values):] }); err != nil {
				return buffer, err
			}
			continue
		}
		buffer = buffer[:0]
		if err := l.timesteps(b, item, func(values []float32) { buffer = append(buffer, values...) }); err != nil {
			return buffer, err
		}
		l.reducer.ApplyAll(dst, buffer)
	}
	if r.logits != nil {
		values, err := b.Logits(item)
		if err != nil {
			return buffer, err
		}
		copy(r.logits[stimulus*tfconvrnn.Classes:], values)
	}
	return buffer, nil
}

// timesteps passes the values of each timestep.
func (l *plannedLayer) timesteps(b *tfconvrnn.Batch, item int, pass func([]float32)) error {
	for t := range l.Timesteps {
		values, err := b.Feature(l.source, l.first+t, item)
		if err != nil {
			return err
		}
		pass(values)
	}
	return nil
}
