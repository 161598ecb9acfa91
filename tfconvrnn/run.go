package tfconvrnn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/reduce"
)

// request says what to compute, whatever the stimuli.
type request struct {
	layers []layerRequest
	logits *manifest.Logits // nil for none
	// What follows from them: the tensors to fetch in each run, those that are the same in every one, and what to feed.
	fetches    []string
	fetchIndex map[string]int
	// sources are the features that fetches are made of.
	sources    []string
	constants  []string
	boundaries []int
	// known lists the places for values of known frames, knownSources what is fed
	// there, and the fetches that hold one item per frame.
	known        []int
	knownSources []string
	// targets are computed without being fetched.
	targets []string

	inSession, streaming clock
	batches              []atomic.Int64 // of each session
}

type layerRequest struct {
	layer     *manifest.Layer
	timesteps []int
	// averaged asks for means over positions, pool for those over fields, float16 for rounded values. prefix is that of
	// the operations with which a GPU makes the features smaller, "" for none, to size values for each item; units are
	// those it takes, fields the weights of positions.
	averaged bool
	pool     *reduce.Reducer
	float16  bool
	prefix   string
	size     int
	units    []int32
	fields   []float64
}

func (m *Model) newRequest(layers []layerRequest, logits *manifest.Logits) *request {
	r := &request{layers: layers, logits: logits, fetchIndex: map[string]int{},
		batches: make([]atomic.Int64, 1+len(m.peers))}
	fetch := func(prefix, tensor string, needs, known []int) {
		if _, ok := r.fetchIndex[prefix+tensor]; !ok {
			r.fetchIndex[prefix+tensor] = len(r.fetches)
			r.fetches, r.sources = append(r.fetches, prefix+tensor), append(r.sources, tensor)
		}
		r.boundaries = append(r.boundaries, needs...)
		r.known = append(r.known, known...)
	}
	for _, l := range layers {
		for _, t := range l.timesteps {
			step := &l.layer.Timesteps[t]
			if step.Kind == kindConstant {
				r.constants = append(r.constants, step.Tensor)
			} else {
				fetch(l.prefix, step.Tensor, step.Needs, step.Known)
			}
			if step.Kind == kindFrame {
				r.knownSources = append(r.knownSources, step.Tensor)
			}
		}
	}
	if logits != nil {
		fetch("", logits.Tensor, logits.Needs, logits.Known)
	}
	r.settle(m.manifest)
	return r
}

// settle removes duplicates and puts the feeds in a fixed order: TensorFlow keeps
// an executor for every order it has seen.
func (r *request) settle(man *manifest.Manifest) {
	slices.Sort(r.boundaries)
	r.boundaries = slices.Compact(r.boundaries)
	slices.Sort(r.known)
	r.known = slices.Compact(r.known)
	for _, i := range r.known {
		r.knownSources = append(r.knownSources, man.Known[i].Source)
	}
	slices.Sort(r.knownSources)
	r.knownSources = slices.Compact(r.knownSources)
}

// The kinds of values in a manifest.
const (
	kindConstant = "constant"
	kindFrame    = "frame"
)

// constantCache holds what is the same for all stimuli, by tensor name. It is
// computed when it is first needed.
type constantCache struct {
	mu      sync.Mutex
	tensors map[string]*libtf.Tensor
	// blanks holds, for each blank shown so far, per-frame values of it.
	blanks map[Blank]map[string]*libtf.Tensor
	// users counts the results that view the tensors: closing the model must not
	// free what a sink is reading.
	users  int
	closed bool
	// trimmed is when free memory was last returned to the system, in nanoseconds
	// of Unix time.
	trimmed atomic.Int64
}

// maxBlanks bounds the blanks whose values are kept; further ones are computed
// like any frame.
const maxBlanks = 8

// trimInterval is the least time between two trims. A trim costs about 20 ms of
// page faults in the next run.
const trimInterval = 400 * time.Millisecond

// trim keeps resident memory from growing with the number of runs.
func (c *constantCache) trim() {
	now, before := time.Now().UnixNano(), c.trimmed.Load()
	if now-before >= int64(trimInterval) && c.trimmed.CompareAndSwap(before, now) {
		libtf.ReturnFreeMemory()
	}
}

// hold keeps all tensors until release.
func (c *constantCache) hold() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.users++
	return nil
}

func (c *constantCache) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users--
	c.freeUnused()
}

// close frees the tensors when nothing holds them any more.
func (c *constantCache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.freeUnused()
}

func (c *constantCache) freeUnused() {
	if !c.closed || c.users > 0 {
		return
	}
	for _, t := range c.tensors {
		t.Close()
	}
	for _, blank := range c.blanks {
		for _, t := range blank {
			t.Close()
		}
	}
	c.tensors, c.blanks = nil, nil
}

// constantTensors returns the named constants, computing those that are missing in
// one run. The caller holds the cache, for as long as it uses them.
func (m *Model) constantTensors(ctx context.Context, names []string) (map[string]*libtf.Tensor, error) {
	c := m.constants
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tensors == nil {
		c.tensors = map[string]*libtf.Tensor{}
	}
	missing := missingOf(c.tensors, names)
	if len(missing) > 0 {
		if err := m.complete(ctx, c.tensors, missing, m.kept.constantSet(), nil); err != nil {
			return nil, err
		}
	}
	return these(c.tensors, names), nil
}

// blankTensors returns the named per-frame values of a blank, computing those that
// are missing in one run. The caller holds the cache, for as long as it uses them.
func (m *Model) blankTensors(ctx context.Context, blank Blank, names []string) (map[string]*libtf.Tensor, error) {
	c := m.constants
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blanks == nil {
		c.blanks = map[Blank]map[string]*libtf.Tensor{}
	}
	if c.blanks[blank] == nil {
		c.blanks[blank] = map[string]*libtf.Tensor{}
	}
	if missing := missingOf(c.blanks[blank], names); len(missing) > 0 {
		pixels := make([]float32, ImageSize*ImageSize*3)
		if err := blank.normalizeInto(pixels); err != nil {
			return nil, err
		}
		frame, err := libtf.NewTensor([]int64{1, ImageSize, ImageSize, 3}, pixels)
		if err != nil {
			return nil, err
		}
		defer frame.Close()
		outputs, err := m.outputs([]string{m.manifest.Frames})
		if err != nil {
			return nil, err
		}
		feeds := []libtf.Feed{{Output: outputs[0], Tensor: frame}}
		if err := m.complete(ctx, c.blanks[blank], missing, m.kept.blankSet(pixels), feeds); err != nil {
			return nil, err
		}
	}
	return these(c.blanks[blank], names), nil
}

// keepsBlank says whether values of the blank are, or can be, kept.
func (m *Model) keepsBlank(blank Blank) bool {
	c := m.constants
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(m.manifest.Known) > 0 && (c.blanks[blank] != nil || len(c.blanks) < maxBlanks)
}

// missingOf returns the names that are not in have, each once.
func missingOf(have map[string]*libtf.Tensor, names []string) (missing []string) {
	for _, name := range names {
		if have[name] == nil && !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
	}
	return missing
}

// these returns those of the tensors that are named.
func these(have map[string]*libtf.Tensor, names []string) map[string]*libtf.Tensor {
	found := make(map[string]*libtf.Tensor, len(names))
	for _, name := range names {
		found[name] = have[name]
	}
	return found
}

// complete adds the missing tensors to have. If they are not kept, it computes them in
// one run, and the rest of the set that is to be kept with them: later processes then
// find what they need, whatever they fetch. The caller holds the cache's lock.
func (m *Model) complete(ctx context.Context, have map[string]*libtf.Tensor, missing []string, kept keptSet,
	feeds []libtf.Feed) error {
	if kept.read(missing, have) == nil {
		return nil
	}
	all := kept.names(missing)
	fetches, err := m.outputs(all)
	if err != nil {
		return err
	}
	tensors, err := m.saved.Session.Run(ctx, feeds, fetches, nil)
	if err != nil {
		return closedError(err)
	}
	_ = kept.write(all, tensors) // failing, it only costs the next process time
	for i, name := range all {
		if slices.Contains(missing, name) {
			have[name] = tensors[i]
		} else {
			tensors[i].Close()
		}
	}
	return nil
}

func (m *Model) outputs(names []string) ([]libtf.Output, error) {
	if m.saved == nil {
		return nil, ErrClosed
	}
	outputs := make([]libtf.Output, len(names))
	for i, name := range names {
		operation := m.saved.Graph.Operation(name)
		if operation == nil {
			if m.closed.Load() {
				return nil, ErrClosed
			}
			return nil, fmt.Errorf("%w: the graph in %s has no operation %s", ErrModified, m.dir, name)
		}
		outputs[i] = operation.Output(0)
	}
	return outputs, nil
}

// input is what one run is fed: frames [F, 224, 224, 3] and which is shown to
// which stimulus when, [times][N]. Where blank is set, frame F is that blank, whose
// values are known from an earlier run.
type input struct {
	frames   *libtf.Tensor
	schedule [][]int32
	blank    *Blank
	trace    *batchTrace
	// computed, if not nil, is called with the result so far when it holds a layer's timestep, both
	// by their places in the request.
	computed func(so *result, layer, timestep int)
}

func (in *input) close() { in.frames.Close() }

// result is what one run put out. Its views are valid until close.
type result struct {
	request   *request
	schedule  [][]int32
	constants map[string]*libtf.Tensor
	blank     map[string]*libtf.Tensor // what is known of frame blankItem
	blankItem int
	tensors   []*libtf.Tensor
	cache     *constantCache // held
}

func (r *result) close() {
	libtf.CloseAll(r.tensors)
	r.cache.release()
}

// run computes a request for an input, which stays the caller's.
func (m *Model) run(ctx context.Context, r *request, in *input) (_ *result, err error) {
	if err := m.constants.hold(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			m.constants.release()
		}
	}()
	names := slices.Clone(r.constants)
	for _, i := range r.boundaries {
		names = append(names, m.manifest.Boundaries[i].Tensor)
	}
	stop, stopTrace := r.inSession.start(), in.trace.start(StageConstants)
	constants, err := m.constantTensors(ctx, names)
	res := &result{request: r, schedule: in.schedule, constants: constants, blankItem: -1, cache: m.constants}
	if err == nil && in.blank != nil {
		res.blankItem = int(in.frames.Shape()[0])
		res.blank, err = m.blankTensors(ctx, *in.blank, r.knownSources)
	}
	stop()
	stopTrace()
	if err != nil {
		return nil, err
	}
	if len(r.fetches)+len(r.targets) == 0 {
		in.reportAll(r, res)
		return res, nil
	}
	stimuli := len(in.schedule[0])
	schedule, err := libtf.NewTensor([]int64{int64(len(in.schedule)), int64(stimuli)}, slices.Concat(in.schedule...))
	if err != nil {
		return nil, err
	}
	defer schedule.Close()
	units, err := r.choiceTensors()
	if err != nil {
		return nil, err
	}
	defer libtf.CloseAll(units)
	feeds, err := m.feeds(res, in, schedule, units)
	if err != nil {
		return nil, err
	}
	stop, stopTrace = r.inSession.start(), in.trace.start(StageSession)
	if err = m.simulatedMemory(stimuli); err == nil {
		err = m.fetch(ctx, r, in, feeds, res)
	}
	stop()
	stopTrace()
	if err != nil {
		libtf.CloseAll(res.tensors)
		return nil, m.memoryError(closedError(err), stimuli)
	}
	m.constants.trim()
	return res, nil
}

// fetch runs the session for a request, and adds what it computes to the result.
func (m *Model) fetch(ctx context.Context, r *request, in *input, feeds []libtf.Feed, res *result) error {
	fetches, err := m.outputs(r.fetches)
	if err != nil {
		return err
	}
	if in.computed != nil && len(r.targets) == 0 && m.stepStats == nil && !r.smaller() {
		return m.fetchReporting(ctx, r, in, feeds, fetches, res)
	}
	targets, err := m.operations(r.targets)
	if err != nil {
		return err
	}
	if m.stepStats == nil {
		res.tensors, err = m.saved.Session.Run(ctx, feeds, fetches, targets)
	} else {
		var metadata []byte
		if res.tensors, metadata, err = m.saved.Session.Trace(ctx, feeds, fetches, targets); err == nil {
			m.stepStats(metadata)
		}
	}
	if err == nil {
		in.reportAll(r, res)
	}
	return err
}

// feeds are what a run is given: frames and schedule, what earlier runs have computed, and the units to take.
func (m *Model) feeds(res *result, in *input, schedule *libtf.Tensor, units []*libtf.Tensor) ([]libtf.Feed, error) {
	r := res.request
	names := []string{m.manifest.Frames, m.manifest.Schedule}
	tensors := []*libtf.Tensor{in.frames, schedule}
	for _, i := range r.boundaries {
		name := m.manifest.Boundaries[i].Tensor
		names, tensors = append(names, name), append(tensors, res.constants[name])
	}
	if in.blank != nil {
		for _, i := range r.known {
			names, tensors = append(names, m.manifest.Known[i].Tensor), append(tensors, res.blank[m.manifest.Known[i].Source])
		}
	}
	names, tensors = append(names, r.choiceNames()...), append(tensors, units...)
	outputs, err := m.outputs(names)
	if err != nil {
		return nil, err
	}
	feeds := make([]libtf.Feed, len(outputs))
	for i := range feeds {
		feeds[i] = libtf.Feed{Output: outputs[i], Tensor: tensors[i]}
	}
	return feeds, nil
}

// memoryError says what a run that found no memory was: how many stimuli at once, where and with which limit.
func (m *Model) memoryError(err error, stimuli int) error {
	if !errors.Is(err, libtf.ErrResourceExhausted) {
		return err
	}
	limit := "no limit of its own"
	if m.gpu.limit > 0 {
		limit = "a limit of " + humanize.IBytes(uint64(m.gpu.limit))
	}
	return fmt.Errorf("%w: %s cannot compute %d stimuli at once, with %s: %w", ErrMemory, m.session.device, stimuli,
		limit, err)
}

// feature returns a layer's output for a stimulus at a timestep, in memory of the
// result, and whether it is all of it, or made smaller by the device.
func (r *result) feature(l *layerRequest, timestep, stimulus int) (values []float32, whole bool, err error) {
	step := &l.layer.Timesteps[timestep]
	size := l.size
	if size == 0 {
		whole, size = true, wholeSize(l.layer)
	}
	item := stimulus
	var tensor *libtf.Tensor
	switch step.Kind {
	case kindConstant:
		item, tensor, whole, size = 0, r.constants[step.Tensor], true, wholeSize(l.layer)
	case kindFrame:
		item, tensor = int(r.schedule[step.Shown][stimulus]), r.tensors[r.request.fetchIndex[l.prefix+step.Tensor]]
		if item == r.blankItem {
			item, tensor, whole, size = 0, r.blank[step.Tensor], true, wholeSize(l.layer)
		}
	default:
		tensor = r.tensors[r.request.fetchIndex[l.prefix+step.Tensor]]
	}
	if l.float16 && !whole {
		bits, err := itemOf[libtf.HalfBits](tensor, step.Tensor, item, size)
		return fromFloat16(bits), false, err
	}
	values, err = itemOf[float32](tensor, step.Tensor, item, size)
	return values, whole, err
}

// logits returns the decoded logits of a stimulus, in memory of the result.
func (r *result) logits(stimulus, classes int) ([]float32, error) {
	data, err := libtf.Data[float32](r.tensors[r.request.fetchIndex[r.request.logits.Tensor]])
	if err != nil {
		return nil, err
	}
	if len(data) < (stimulus+1)*Classes {
		return nil, fmt.Errorf("%w: the logits have %d values", ErrModified, len(data))
	}
	return data[stimulus*Classes : (stimulus+1)*Classes], nil
}
