package tfconvrnn

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/internal/dimensions"
	"github.com/tfconvrnn/go/internal/reduce"
)

// ExtractOption says what Extract and Stream compute, and how.
type ExtractOption func(*extractOptions)

type extractOptions struct {
	layers        []string
	presentation  Presentation
	allTimesteps  bool
	window        *[2]int // in milliseconds
	timesteps     map[string][]int
	logits        bool
	onlyLogits    bool
	everyLayer    bool
	batchSize     int
	largestBatch  int // of those that are chosen; 0 for largestChosenBatch
	preprocessing string
	selected      []layerUnits
	selections    []string // of SelectUnits, until they are read
	averaged      []string // layers
	pooled        []pooledLayer
	float16       []string // layers
	onError       func(index int, s Stimulus, err error) error
	onHalved      func(from, to int, err error)
	trace         func(Span)
	computed      func(b *Batch, layer, timestep int)
	device        int // counted from 1; 0 for any
}

// Layers names the layers to extract, in the order wanted; without it, all.
func Layers(names ...string) ExtractOption {
	return func(o *extractOptions) { o.layers = append(o.layers, names...) }
}

// WithPresentation says how stimuli are shown; without it, Default().
func WithPresentation(p Presentation) ExtractOption {
	return func(o *extractOptions) { o.presentation = p }
}

// AllTimesteps reports every layer from timestep 0. Without it convN is reported
// from timestep N, and the readout from the timestep that is the number of layers.
func AllTimesteps() ExtractOption {
	return func(o *extractOptions) { o.allTimesteps = true }
}

// Window reports only timesteps within a time, in milliseconds from the onset of the presentation:
// those from the first to before the second, which are multiples of a timestep. Later ones are not
// computed. Plan's error wraps ErrPresentation.
func Window(from, to int) ExtractOption {
	return func(o *extractOptions) { o.window = &[2]int{from, to} }
}

// Timesteps reports only some timesteps of a layer, by their numbers, in ascending order; what they do not need is not
// computed. Plan's error wraps ErrPresentation for one that is not reported, and ErrOption for a layer that is not
// extracted.
func Timesteps(layer string, timesteps ...int) ExtractOption {
	return func(o *extractOptions) {
		if o.timesteps == nil {
			o.timesteps = map[string][]int{}
		}
		o.timesteps[layer] = append(o.timesteps[layer], timesteps...)
	}
}

// Logits adds the decoded logits.
func Logits() ExtractOption {
	return func(o *extractOptions) { o.logits = true }
}

// BatchSize sets how many stimuli are computed together; without it, and for 0,
// it is chosen, and halved if it does not fit into the memory of the device; see OnHalved.
func BatchSize(n int) ExtractOption {
	return func(o *extractOptions) { o.batchSize = n }
}

// BatchUpTo has a larger batch chosen than the 8 that suit most processors: the largest, up to n, for which there is
// memory. It says nothing where BatchSize sets one, and 0 nothing at all. Plan's error wraps ErrOption if n is not a
// batch size.
func BatchUpTo(n int) ExtractOption {
	return func(o *extractOptions) { o.largestBatch = n }
}

// OnDevice has one of the model's devices compute all batches, by its place in WithDevices, counted from 0; without it
// each is computed by whichever device is free. Plan's error wraps ErrOption if there is no such device.
func OnDevice(place int) ExtractOption {
	return func(o *extractOptions) { o.device = place + 1 }
}

// NotePreprocessing records in the provenance how pictures became images.
func NotePreprocessing(p Preprocessing) ExtractOption {
	return func(o *extractOptions) { o.preprocessing = p.String() }
}

// OnError is called, one call at a time, when a stimulus cannot be read. If it
// returns nil the stimulus is marked as failed, its values are NaN, and the others go
// on; otherwise what it returns ends the extraction. Without it the first error does.
func OnError(decide func(index int, s Stimulus, err error) error) ExtractOption {
	return func(o *extractOptions) { o.onError = decide }
}

// LayerOutput describes the features of a layer in an extraction.
type LayerOutput struct {
	Name string
	// Timesteps are those reported, in order.
	Timesteps []int
	// Milliseconds are the starts of the timesteps.
	Milliseconds []int
	// Driven says, for each of Timesteps, whether the first image shown can have
	// reached the layer; before that its output is its response to nothing but
	// the blank or the zeros the network starts from.
	Driven []bool
	// Shape is the shape at one timestep: [height, width, channels] or [classes]; see
	// Select.
	Shape []int
	// Selection is the units that are put out, nil for all.
	Selection *Selection
	// Averaged says that the units are means over all positions; see Average.
	Averaged bool

	pool *reduce.Reducer // nil unless Pool says so
}

// Size is the number of values at one timestep.
func (l *LayerOutput) Size() int {
	size := 1
	for _, d := range l.Shape {
		size *= d
	}
	return size
}

// Extraction is a checked plan of what to compute. It is immutable, but for a chosen batch that does not fit.
type Extraction struct {
	model   *Model
	options extractOptions
	request *request
	layers  []LayerOutput
	times   int
	// halved is how many stimuli were too many for a chosen batch, 0 if it fits; nil where it was given.
	halved *atomic.Int64
}

// Plan checks options and returns what an extraction with them puts out, without
// running anything. Errors wrap ErrUnknownLayer, ErrPresentation or ErrOption.
func (m *Model) Plan(options ...ExtractOption) (*Extraction, error) {
	x := &Extraction{model: m}
	for _, option := range options {
		option(&x.options)
	}
	o := &x.options
	outputs, err := o.resolve(m.info)
	if err != nil {
		return nil, err
	}
	if o.device < 0 || o.device > len(m.sessions()) {
		return nil, fmt.Errorf("%w: device %d of %d; they are counted from 0", ErrOption, o.device-1, len(m.sessions()))
	}
	x.layers, x.times = outputs, o.presentation.times
	if x.times > m.manifest.Times {
		return nil, fmt.Errorf("%w: %d timesteps, but the converted graph has %d; load the model with WithTimes(%d)",
			ErrPresentation, x.times, m.manifest.Times, x.times)
	}
	layers := make([]layerRequest, len(outputs))
	for i, output := range outputs {
		index := slices.IndexFunc(m.manifest.Layers, func(l manifest.Layer) bool { return l.Name == output.Name })
		if index < 0 {
			return nil, fmt.Errorf("%w: the manifest in %s lacks layer %s", ErrModified, m.dir, output.Name)
		}
		layers[i] = layerRequest{layer: &m.manifest.Layers[index], timesteps: output.Timesteps}
		layers[i].onDevice(m, &outputs[i], o)
	}
	var logits *manifest.Logits
	if o.logits {
		index := slices.IndexFunc(m.manifest.Logits, func(l manifest.Logits) bool { return l.Times == x.times })
		if index < 0 {
			return nil, fmt.Errorf("%w: the decoder of %s (%s) needs more than %d timesteps", ErrPresentation, m.info.Name,
				m.info.Decoder, x.times)
		}
		logits = &m.manifest.Logits[index]
	}
	x.request = m.newRequest(layers, logits)
	if o.everyLayer {
		x.request.addEveryLayer(m.manifest, x.times)
	}
	if o.batchSize == 0 {
		o.batchSize, x.halved = m.chooseBatchSize(x), &atomic.Int64{}
	}
	return x, nil
}

const maxBatchSize = 4096

// Layers describes the layers of the extraction, in order. They must not be changed.
func (x *Extraction) Layers() []LayerOutput { return x.layers }

// Logits says whether decoded logits are computed.
func (x *Extraction) Logits() bool { return x.options.logits }

// Times is the number of timesteps of the presentation.
func (x *Extraction) Times() int { return x.times }

// Presentation returns the resolved presentation.
func (x *Extraction) Presentation() Presentation { return x.options.presentation }

// Provenance says how the features are made.
func (x *Extraction) Provenance() Provenance {
	p := x.model.provenance()
	p.Presentation, p.Times = x.options.presentation.String(), x.times
	p.Layers, p.AllTimesteps, p.BatchSize, p.BatchHalvedFrom = x.options.layers, x.options.allTimesteps, x.BatchSize(),
		x.halvedFrom()
	p.Preprocessing = x.options.preprocessing
	p.Averaged, p.Float16 = x.options.averaged, x.options.float16
	for _, l := range x.options.pooled {
		if p.Pooled == nil {
			p.Pooled = map[string]int{}
		}
		p.Pooled[l.layer] = l.size
	}
	if w := x.options.window; w != nil {
		p.Window = w[:]
	}
	p.Timesteps = x.options.timesteps
	for _, l := range x.layers {
		if l.Selection != nil {
			if p.Selections == nil {
				p.Selections = map[string]Selection{}
			}
			p.Selections[l.Name] = *l.Selection
		}
	}
	if x.options.logits {
		p.Decoder = x.model.info.Decoder
	}
	return p
}

// Batch holds the features of some consecutive stimuli. Views of its data are
// valid only until the function it is passed to returns.
type Batch struct {
	// First is the position of the first stimulus in the input.
	First int
	// Stimuli are the stimuli of the batch.
	Stimuli []Stimulus
	// Failed holds, for each of Stimuli, the error that OnError let pass, or nil.
	Failed []error

	extraction *Extraction
	result     *result
	items      []int // position in result of each stimulus, -1 for failed ones
	trace      *batchTrace
}

// Feature returns the values of a layer, by its index in the extraction, at a
// timestep, by its index in LayerOutput.Timesteps, for a stimulus of the batch:
// Shape in C order. It is nil for failed stimuli. It must not be changed.
func (b *Batch) Feature(layer, timestep, stimulus int) ([]float32, error) {
	if b.items[stimulus] < 0 {
		return nil, nil
	}
	l := &b.extraction.request.layers[layer]
	values, whole, err := b.result.feature(l, l.timesteps[timestep], b.items[stimulus])
	switch output := &b.extraction.layers[layer]; {
	case err != nil || !whole:
	case output.Selection != nil:
		values = output.Selection.of(values)
	case l.averaged:
		values = positionMeans(values, output.Size())
	case l.pool != nil:
		means := make([]float32, output.Size())
		l.pool.Apply(means, values)
		values = means
	}
	if whole && l.float16 && err == nil {
		values = roundToFloat16(values)
	}
	return values, err
}

// AppendFeatures appends a layer's features of a stimulus, [timesteps, Shape…] in
// C order, to dst. Those of a failed stimulus are NaN.
func (b *Batch) AppendFeatures(dst []float32, layer, stimulus int) ([]float32, error) {
	output := &b.extraction.layers[layer]
	for t := range output.Timesteps {
		values, err := b.Feature(layer, t, stimulus)
		if err != nil {
			return dst, err
		}
		if values == nil {
			dst = appendNaN(dst, output.Size())
			continue
		}
		dst = append(dst, values...)
	}
	return dst, nil
}

// appendNaN appends what stands for the values of a failed stimulus, in the outputs of
// the command too: zeros could be features.
func appendNaN(dst []float32, n int) []float32 {
	return append(dst, slices.Repeat([]float32{float32(math.NaN())}, n)...)
}

// Logits returns the decoded logits of a stimulus, [1000]. It is nil for failed
// stimuli and where no logits were asked for. It must not be changed.
func (b *Batch) Logits(stimulus int) ([]float32, error) {
	if b.items[stimulus] < 0 || !b.extraction.options.logits {
		return nil, nil
	}
	return b.result.logits(b.items[stimulus], Classes)
}

// Classes is the number of outputs of the readout: the classes of ImageNet.
const Classes = dimensions.Classes

// Stream extracts features of any number of stimuli in constant memory: it passes
// batches, in order, to sink. Reading the next stimuli, computing and sink overlap;
// a model on several GPUs computes as many batches at once. sink is called from the
// calling goroutine. The first error of any of them ends the stream, when sink has
// had the batches before; a context that is done ends it between two runs.
func (m *Model) Stream(ctx context.Context, stimuli iter.Seq[Stimulus], sink func(*Batch) error,
	options ...ExtractOption) error {
	x, err := m.Plan(options...)
	if err != nil {
		return err
	}
	return x.Stream(ctx, stimuli, sink)
}

// loadedBatch is a batch whose images are in memory.
type loadedBatch struct {
	batch *Batch
	input *input // nil if all stimuli failed
	// computed gets the error of computing the batch, or nil, once.
	computed chan error
}

// Stream runs the extraction; see Model.Stream.
func (x *Extraction) Stream(ctx context.Context, stimuli iter.Seq[Stimulus], sink func(*Batch) error) error {
	defer x.request.streaming.start()()
	return x.streamChosen(ctx, stimuli, sink)
}

func (x *Extraction) stream(ctx context.Context, stimuli iter.Seq[Stimulus], sink func(*Batch) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	sessions, first := x.model.sessions(), 0
	if d := x.options.device; d > 0 {
		sessions, first = sessions[d-1:d], d-1
	}
	runs := len(sessions) * x.model.gpu.inFlight()
	var group sync.WaitGroup
	// A loaded batch goes to whichever session is free, and in order to the sink. The
	// channels hold one batch more than there are runs at once, so that no session ever
	// waits.
	loaded := make(chan loadedBatch, runs+1)
	ordered := make(chan loadedBatch, runs+1)
	var loadErr error // to be read when ordered is closed
	group.Go(func() {
		defer close(ordered)
		defer close(loaded)
		loadErr = x.load(ctx, stimuli, func(l loadedBatch) error {
			l.computed = make(chan error, 1)
			select {
			case ordered <- l:
				loaded <- l // does not block: sessions take every batch that is in ordered
				return nil
			case <-ctx.Done():
				l.close()
				return context.Cause(ctx)
			}
		})
	})
	for run := range runs {
		i := run % len(sessions)
		group.Go(func() {
			for l := range loaded {
				x.request.batches[first+i].Add(1)
				if t := l.batch.trace; t != nil {
					t.waited(StageQueue)
					t.session = first + i
				}
				err := x.compute(ctx, sessions[i], l)
				l.batch.trace.wait()
				l.computed <- err
			}
		})
	}
	// All goroutines end and all batches are closed with the stream, even if sink
	// panics.
	defer func() {
		cancel(nil)
		for l := range ordered {
			<-l.computed
			l.batch.close()
		}
		group.Wait()
	}()
	for l := range ordered {
		if err := <-l.computed; err != nil {
			return err
		}
		l.batch.trace.waited(StageHold)
		if err := l.batch.passTo(sink); err != nil {
			return err
		}
	}
	return loadErr
}

func (l loadedBatch) close() {
	if l.input != nil {
		l.input.close()
	}
}

func (b *Batch) passTo(sink func(*Batch) error) error {
	defer b.close()
	defer b.trace.start(StageWrite)()
	return sink(b)
}

func (b *Batch) close() {
	if b.result != nil {
		b.result.close()
	}
}

// compute runs a batch in a session and frees its input.
func (x *Extraction) compute(ctx context.Context, session *Model, l loadedBatch) error {
	if l.input == nil {
		return nil
	}
	defer l.input.close()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	defer l.batch.trace.start(StageRun)()
	l.batch.reportTo(l.input, x.options.computed)
	res, err := session.run(ctx, x.request, l.input)
	if err != nil {
		return err
	}
	l.batch.result = res
	return nil
}

// load reads stimuli into batches and passes them on.
func (x *Extraction) load(ctx context.Context, stimuli iter.Seq[Stimulus], pass func(loadedBatch) error) error {
	first, size := 0, x.BatchSize()
	var pending []Stimulus
	send := func() error {
		trace := x.options.traceOf(first, len(pending))
		stop := trace.start(StageDecode)
		l, err := x.loadBatch(ctx, first, pending)
		stop()
		if err != nil {
			return err
		}
		if l.batch.trace = trace; l.input != nil {
			l.input.trace = trace
		}
		trace.wait()
		first += len(pending)
		pending = nil
		return pass(l)
	}
	for s := range stimuli {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		pending = append(pending, s)
		if len(pending) == size {
			if err := send(); err != nil {
				return err
			}
		}
	}
	if len(pending) > 0 {
		return send()
	}
	return nil
}
