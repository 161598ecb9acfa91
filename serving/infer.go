package serving

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/imagenet"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// inferRequest is a request of the protocol, whichever way it came.
type inferRequest struct {
	id         string
	parameters parameters
	inputs     []*tensor
	// outputs are those asked for, in order; nil for those that the parameters say. Binary
	// says which are wanted in binary form.
	outputs []string
	binary  []bool
}

// inferResponse is its answer.
type inferResponse struct {
	model, id  string
	parameters map[string]any // string, bool or int64
	outputs    []*output
}

// shown is what a request shows: stimuli, in groups that have one presentation.
type shown struct {
	// frames are the images, numbers those that each stimulus shows.
	frames  []*tfconvrnn.Image
	numbers [][]int
	groups  []group
	stimuli []tfconvrnn.Stimulus // from load on
}

// group is some of the stimuli of a request.
type group struct {
	presentation tfconvrnn.Presentation
	members      []int
	plan         *plan
	result       *result
}

// infer answers a request. The ticket has room for it already, and gets what its images and
// results need.
func (s *Service) infer(ctx context.Context, t *ticket, model *served, r *inferRequest) (*inferResponse, error) {
	p := r.parameters
	set, err := p.settings(model.model.Info(), s.options.Preprocessing)
	if err != nil {
		return nil, err
	}
	if set.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, set.timeout)
		defer cancel()
	}
	response := &inferResponse{model: model.name, id: r.id, parameters: map[string]any{}}
	wanted, err := s.wanted(model, set, r)
	if err != nil {
		return nil, err
	}
	in, err := s.results(ctx, t, model, set, r, response)
	if err != nil {
		return nil, err
	}
	return response, s.answer(response, model, set, in, wanted)
}

// results computes what a request with these settings shows.
func (s *Service) results(ctx context.Context, t *ticket, model *served, set *settings, r *inferRequest,
	response *inferResponse) (*shown, error) {
	in, err := s.arrange(set, r, response)
	if err != nil {
		return nil, err
	}
	if err := s.planGroups(t, model, set, in); err != nil {
		return nil, err
	}
	if err := s.load(ctx, set, r, in); err != nil {
		return nil, err
	}
	return in, s.computeGroups(ctx, t, in)
}

// computeGroups computes all groups of a request.
func (s *Service) computeGroups(ctx context.Context, t *ticket, in *shown) error {
	if len(in.groups) == 1 {
		g := &in.groups[0]
		var err error
		g.result, err = s.engine.compute(ctx, t, g.plan, in.stimuli)
		return err
	}
	parallel, ctx := errgroup.WithContext(ctx)
	for i := range in.groups {
		g := &in.groups[i]
		parallel.Go(func() (err error) {
			stimuli := make([]tfconvrnn.Stimulus, len(g.members))
			for k, member := range g.members {
				stimuli[k] = in.stimuli[member]
			}
			g.result, err = s.engine.compute(ctx, t, g.plan, stimuli)
			return err
		})
	}
	return parallel.Wait()
}

// planGroups plans what is computed and takes the room.
func (s *Service) planGroups(t *ticket, model *served, set *settings, in *shown) error {
	for i := range in.groups {
		g := &in.groups[i]
		w := set.wish
		w.presentation = g.presentation
		var err error
		if g.plan, err = model.plan(w, s.options.MaxBatch); err != nil {
			return err
		}
		if err := t.reserve(g.plan.resultBytes(len(g.members)) * t.copies); err != nil {
			return err
		}
	}
	perValue := int64(1)
	if set.float {
		perValue = 4
	}
	if err := t.reserve(perValue * imageValues * int64(len(in.frames))); err != nil {
		return err
	}
	return t.enter(len(in.numbers))
}

// The parts of a layer's output beside its features, as in an .npz of extract.
const (
	partTimesteps = "timesteps"
	partMS        = "ms"
	partDriven    = "driven"
)

// The outputs beside those of layers.
const (
	outputLogits        = "logits"
	outputClasses       = "classes"
	outputProbabilities = "classes/probabilities"
	outputWordNetIDs    = "classes/wordnet_ids"
	outputNames         = "classes/names"
	outputProvenance    = "provenance"
)

var classOutputs = []string{outputClasses, outputProbabilities, outputWordNetIDs, outputNames}

// defaultTop is the number of classes where a request asks for them and does not say it.
const defaultTop = 5

// wanted returns the names of the outputs, and completes the settings by what they need.
func (s *Service) wanted(model *served, set *settings, r *inferRequest) ([]string, error) {
	if r.outputs == nil {
		var names []string
		for _, l := range set.layers {
			names = append(names, l, l+"/"+partTimesteps, l+"/"+partMS, l+"/"+partDriven)
		}
		if set.logits {
			names = append(names, outputLogits)
		}
		if set.top > 0 {
			names = append(names, classOutputs...)
			set.logits = true
		}
		return names, nil
	}
	info := model.model.Info()
	var layers []string
	set.logits = false
	for i, name := range r.outputs {
		if slices.Contains(r.outputs[:i], name) {
			return nil, requestf("output %s is asked for twice", name)
		}
		switch {
		case name == outputLogits, slices.Contains(classOutputs, name):
			set.logits = true
		case name == outputProvenance:
		default:
			layer, part, _ := strings.Cut(name, "/")
			known := slices.Contains([]string{"", partTimesteps, partMS, partDriven}, part)
			if _, err := info.Layer(layer); err != nil || !known || name == layer+"/" {
				return nil, requestf("%s has no output %q; its metadata lists them", model.name, name)
			}
			if set.layersGiven && !slices.Contains(set.layers, layer) {
				return nil, requestf("output %s is not among the layers of the parameters", name)
			}
			if !slices.Contains(layers, layer) {
				layers = append(layers, layer)
			}
		}
	}
	if set.top == 0 {
		set.top = defaultTop
	}
	if set.layers = layers; len(layers) == 0 {
		set.logits = true // something has to be computed
	}
	return r.outputs, nil
}

// answer makes the outputs.
func (s *Service) answer(response *inferResponse, model *served, set *settings, in *shown, wanted []string) error {
	a := &answering{set: set, in: in, plan: in.groups[0].plan}
	if set.logits && slices.ContainsFunc(wanted, func(name string) bool { return slices.Contains(classOutputs, name) }) {
		for i := range in.stimuli {
			a.top = append(a.top, imagenet.Top(a.logits(i), set.top))
		}
	}
	for _, name := range wanted {
		o, err := a.output(name)
		if err != nil {
			return err
		}
		response.outputs = append(response.outputs, o)
	}
	largest := 0
	for _, g := range in.groups {
		largest = max(largest, slices.Max(g.result.batches))
	}
	response.parameters["batch_size"] = int64(largest)
	if model.model.Untrained() {
		response.parameters["untrained"] = true
	}
	if rounded := set.roundings(); rounded != nil {
		response.parameters["rounded"] = strings.Join(rounded, "; ")
	}
	return nil
}

// answering makes outputs of results.
type answering struct {
	set  *settings
	in   *shown
	plan *plan
	// top has the likeliest classes of each stimulus.
	top [][]imagenet.Probability
}

// rows passes the values of each stimulus, in their order; of one group, all at once.
func (a *answering) rows(of func(r *result) []float32, size int) (parts [][]float32) {
	if len(a.in.groups) == 1 {
		return [][]float32{of(a.in.groups[0].result)}
	}
	parts = make([][]float32, len(a.in.stimuli))
	for _, g := range a.in.groups {
		values := of(g.result)
		for k, member := range g.members {
			parts[member] = values[k*size : (k+1)*size]
		}
	}
	return parts
}

func (a *answering) logits(stimulus int) []float32 {
	for _, g := range a.in.groups {
		if k := slices.Index(g.members, stimulus); k >= 0 {
			return g.result.logits[k*tfconvrnn.Classes : (k+1)*tfconvrnn.Classes]
		}
	}
	return nil
}

func (a *answering) output(name string) (*output, error) {
	n := len(a.in.stimuli)
	switch name {
	case outputLogits:
		return &output{name: name, datatype: "FP32", shape: newShape(n, tfconvrnn.Classes),
			floats: a.rows(func(r *result) []float32 { return r.logits }, tfconvrnn.Classes)}, nil
	case outputProvenance:
		return a.provenance()
	case outputClasses, outputProbabilities, outputWordNetIDs, outputNames:
		return a.classOutput(name), nil
	}
	layer, part, _ := strings.Cut(name, "/")
	index := slices.IndexFunc(a.plan.layers, func(l plannedLayer) bool { return l.Name == layer })
	l := &a.plan.layers[index]
	o := &output{name: name, datatype: "INT32", shape: newShape(len(l.Timesteps))}
	switch part {
	case partTimesteps:
		for _, t := range l.Timesteps {
			o.ints = append(o.ints, int32(t))
		}
	case partMS:
		for _, ms := range l.Milliseconds {
			o.ints = append(o.ints, int32(ms))
		}
	case partDriven:
		o.datatype, o.bools = "BOOL", l.Driven
		if len(a.in.groups) > 1 { // then they differ
			o.shape, o.bools = newShape(n, len(l.Timesteps)), make([]bool, n*len(l.Timesteps))
			for _, g := range a.in.groups {
				for _, member := range g.members {
					copy(o.bools[member*len(l.Timesteps):], g.plan.layers[index].Driven)
				}
			}
		}
	default:
		o.datatype, o.shape = "FP32", newShape(append([]int{n, len(l.Timesteps)}, l.shape...)...)
		o.floats = a.rows(func(r *result) []float32 { return r.layers[index] }, l.size)
	}
	return o, nil
}

func (a *answering) classOutput(name string) *output {
	o := &output{name: name, datatype: "BYTES", shape: newShape(len(a.in.stimuli), a.set.top)}
	var probabilities []float32
	for _, likeliest := range a.top {
		for _, c := range likeliest {
			switch name {
			case outputClasses:
				o.ints = append(o.ints, int32(c.Index))
			case outputProbabilities:
				probabilities = append(probabilities, float32(c.Probability))
			case outputWordNetIDs:
				o.texts = append(o.texts, c.WordNetID)
			default:
				o.texts = append(o.texts, c.Name())
			}
		}
	}
	switch name {
	case outputClasses:
		o.datatype = "INT32"
	case outputProbabilities:
		o.datatype, o.floats = "FP32", [][]float32{probabilities}
	}
	return o
}

// provenance says how the results were made, as extract's outputs say it.
func (a *answering) provenance() (*output, error) {
	text, err := json.Marshal(a.about())
	if err != nil {
		return nil, err
	}
	return &output{name: outputProvenance, datatype: "BYTES", shape: newShape(1), texts: []string{string(text)}}, nil
}

func (a *answering) about() *extraction.Provenance {
	about := &extraction.Provenance{Provenance: a.plan.asked.Provenance(), DataType: features.Float32,
		Reductions: map[string]string{}}
	about.Preprocessing = a.set.wish.preprocessing
	about.BatchSize = 0
	for _, g := range a.in.groups {
		about.BatchSize = max(about.BatchSize, slices.Max(g.result.batches))
	}
	for _, l := range a.plan.layers {
		if !l.reduction.IsNone() {
			about.Reductions[l.Name] = l.reduction.String()
		}
	}
	return about
}

// timeFor is how long a client may take to send or to read so many bytes.
func (s *Service) timeFor(bytes int64) time.Duration {
	const slowest = 1 << 20 // bytes a second
	return s.patience + time.Duration(bytes/slowest)*time.Second
}
