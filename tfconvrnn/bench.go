package tfconvrnn

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/internal/graph"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/tfpb"
)

// OnlyLogits computes the decoded logits and no layer, whatever Layers says
// before it.
func OnlyLogits() ExtractOption {
	return func(o *extractOptions) { o.layers, o.logits, o.onlyLogits = nil, true, true }
}

// EveryLayer computes every layer at every timestep of the presentation, and the
// decoded logits, also those that are not asked for and so not handed out. The
// published code works like this; the option is there to compare with it.
func EveryLayer() ExtractOption {
	return func(o *extractOptions) { o.everyLayer = true }
}

// addEveryLayer makes targets of all that a presentation of so many timesteps has.
func (r *request) addEveryLayer(m *manifest.Manifest, times int) {
	add := func(tensor string, needs, known []int) {
		if !slices.Contains(r.sources, tensor) && !slices.Contains(r.targets, tensor) {
			r.targets = append(r.targets, tensor)
		}
		r.boundaries = append(r.boundaries, needs...)
		r.known = append(r.known, known...)
	}
	for _, l := range m.Layers {
		for _, step := range l.Timesteps[:times] {
			if step.Kind != kindConstant {
				add(step.Tensor, step.Needs, step.Known)
			}
		}
	}
	for _, l := range m.Logits {
		if l.Times == times {
			add(l.Tensor, l.Needs, l.Known)
		}
	}
	r.settle(m)
}

// operations returns the named operations of the graph.
func (m *Model) operations(names []string) ([]*libtf.Operation, error) {
	outputs, err := m.outputs(names)
	operations := make([]*libtf.Operation, len(outputs))
	for i, output := range outputs {
		operations[i] = output.Op
	}
	return operations, err
}

// Cost is what an extraction computes, in multiply-accumulates of convolutions and
// matrix products, counted from the graph.
type Cost struct {
	// PerStimulus is computed for every stimulus of a run, PerFrame for every
	// distinct frame, and Once for the first run only.
	PerStimulus, PerFrame, Once int64
	// Blank says that the blank is one of the frames of every run.
	Blank bool
}

// MACs returns the multiply-accumulates of a run, not the first, of so many
// stimuli of one image each, all different.
func (c Cost) MACs(stimuli int) int64 {
	frames := stimuli
	if c.Blank {
		frames++
	}
	return c.PerStimulus*int64(stimuli) + c.PerFrame*int64(frames)
}

// Cost counts what the extraction computes. It reads the SavedModel's graph; the
// error comes from that or wraps ErrModified.
func (x *Extraction) Cost() (Cost, error) {
	path := filepath.Join(x.model.dir, "saved_model.pb")
	data, err := os.ReadFile(path)
	if err != nil {
		return Cost{}, err
	}
	saved := &tfpb.SavedModel{}
	if err := proto.Unmarshal(data, saved); err != nil {
		return Cost{}, fmt.Errorf("%w: %s: %w", ErrModified, path, err)
	}
	if len(saved.MetaGraphs) != 1 {
		return Cost{}, fmt.Errorf("%w: %s has %d graphs", ErrModified, path, len(saved.MetaGraphs))
	}
	def, r := saved.MetaGraphs[0].GraphDef, x.request
	var boundaries []string
	for _, i := range r.boundaries {
		boundaries = append(boundaries, x.model.manifest.Boundaries[i].Tensor)
	}
	macs := graph.MACs(def, slices.Concat(r.sources, r.targets), boundaries)
	once := graph.MACs(def, slices.Concat(r.constants, boundaries), nil)
	c := Cost{
		PerStimulus: macs["stimulus"], PerFrame: macs[kindFrame], Once: once[kindConstant],
		Blank: slices.Contains(x.options.presentation.Schedule(1), blankFrame),
	}
	if c.Blank && len(x.model.manifest.Known) > 0 {
		c.Blank = false
		c.Once += graph.MACs(def, r.knownSources, nil)[kindFrame]
	}
	return c, nil
}

// Statistics say how the time of an extraction's streams was spent.
type Statistics struct {
	// Elapsed is how long there was a stream, which includes sink, and InSession
	// how long TensorFlow was running meanwhile. Streams and runs that overlap
	// count once.
	Elapsed, InSession time.Duration
	// Batches counts those that each device was given, in the order of
	// WithDevices.
	Batches []int
}

// OutsideSession is the share of the time in which TensorFlow was not running.
func (s Statistics) OutsideSession() float64 {
	if s.Elapsed <= 0 {
		return 0
	}
	return 1 - s.InSession.Seconds()/s.Elapsed.Seconds()
}

// Statistics returns those of all streams of the extraction so far.
func (x *Extraction) Statistics() Statistics {
	s := Statistics{Elapsed: x.request.streaming.read(), InSession: x.request.inSession.read()}
	for i := range x.request.batches {
		s.Batches = append(s.Batches, int(x.request.batches[i].Load()))
	}
	return s
}

// A clock measures how long any of several overlapping activities was going on.
// It is safe for concurrent use. The zero value stands at 0.
type clock struct {
	mu     sync.Mutex
	active int
	since  time.Time // when active became 1
	total  time.Duration
}

// start begins an activity, which the returned function ends.
func (c *clock) start() (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.active == 0 {
		c.since = time.Now()
	}
	c.active++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.active--; c.active == 0 {
			c.total += time.Since(c.since)
		}
	}
}

// read returns the time measured so far.
func (c *clock) read() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.active > 0 {
		return c.total + time.Since(c.since)
	}
	return c.total
}
