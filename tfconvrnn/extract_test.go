package tfconvrnn

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/savedmodels"
)

// early are layers and a presentation that take little time.
var early = []ExtractOption{Layers("conv3", "conv1"), WithPresentation(Custom(6, 3)), AllTimesteps()}

func TestOptionsOfExtract(t *testing.T) {
	m := loadTest(t, "timedecay_shallow")
	for name, c := range map[string]struct {
		options []ExtractOption
		want    error
	}{
		"unknown layer":       {[]ExtractOption{Layers("conv6")}, ErrUnknownLayer},
		"a layer twice":       {[]ExtractOption{Layers("conv1", "conv2", "conv1")}, ErrOption},
		"negative batch":      {[]ExtractOption{BatchSize(-1)}, ErrOption},
		"huge batch":          {[]ExtractOption{BatchSize(1 << 30)}, ErrOption},
		"no timesteps":        {[]ExtractOption{WithPresentation(Constant(0))}, ErrPresentation},
		"more than the graph": {[]ExtractOption{WithPresentation(Constant(31))}, ErrPresentation},
		"far too many":        {[]ExtractOption{WithPresentation(Constant(1 << 40))}, ErrPresentation},
		"never reported":      {[]ExtractOption{WithPresentation(Constant(3)), Layers("conv5")}, ErrPresentation},
		"off after the end":   {[]ExtractOption{WithPresentation(Custom(10, 11))}, ErrPresentation},
		"negative off":        {[]ExtractOption{WithPresentation(Custom(10, -1))}, ErrPresentation},
		"overlap": {[]ExtractOption{WithPresentation(Episodes(10, Episode{1, 5}, Episode{4, 6}))},
			ErrPresentation},
		"frames of no time": {[]ExtractOption{WithPresentation(Sequence(10, 0))}, ErrPresentation},
	} {
		_, err := m.Plan(c.options...)
		assert.ErrorIs(t, err, c.want, name)
		_, err = m.Extract(t.Context(), testStimuli(t, 1), c.options...)
		assert.ErrorIs(t, err, c.want, name)
		err = m.Stream(t.Context(), slices.Values(testStimuli(t, 1)), func(*Batch) error {
			t.Error(name)
			return nil
		}, c.options...)
		assert.ErrorIs(t, err, c.want, name)
	}
	_, err := m.Plan(WithPresentation(Constant(31)))
	assert.ErrorContains(t, err, "WithTimes(31)")
	threshold := loadTest(t, "timedecay_shallow") // decodes from the first timestep on
	_, err = threshold.Plan(OnlyLogits(), WithPresentation(Constant(1)))
	assert.NoError(t, err)
	_, err = m.Extract(t.Context(), nil)
	assert.ErrorIs(t, err, ErrImages)
}

func TestOptionsOfLoad(t *testing.T) {
	for _, option := range []Option{
		WithWeights("seeded"), WithThreads(0), WithThreads(-1), WithThreads(1 << 30), WithDevice("tpu"),
		WithPrecision("float16"),
		WithGPUMemoryLimit(1), WithVisibleGPUs(-1),
	} {
		_, err := Load("timedecay_shallow", option)
		assert.Error(t, err)
	}
	_, err := Load("timedecay_shalow")
	assert.ErrorIs(t, err, ErrUnknownModel)
	assert.ErrorContains(t, err, "timedecay_shallow")
	store := t.TempDir()
	_, err = Load("timedecay_shallow", WithStore(store), WithWeights(Weights(t.TempDir())))
	assert.ErrorIs(t, err, ErrNoWeights)
	for _, times := range []int{-1, 1, 15, 1001} {
		_, err = Load("timedecay_shallow", WithStore(store), WithWeights("seeded:1"), WithTimes(times))
		assert.Error(t, err, times)
	}
	_, err = Load("timedecay_shallow", WithStore(store), WithWeights("seeded:1"), WithVariant("fast"))
	assert.Error(t, err)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = LoadContext(cancelled, "timedecay_shallow", WithStore(store), WithWeights("seeded:1"))
	assert.ErrorIs(t, err, context.Canceled)
	_, err = LoadSavedModel(t.Context(), store)
	assert.Error(t, err)
}

func TestOutputsAgreeWithPlan(t *testing.T) {
	m := loadTest(t, "timedecay_shallow")
	for _, options := range [][]ExtractOption{
		nil, {AllTimesteps()}, early, {Logits(), WithPresentation(Neural())}, {OnlyLogits()},
		{WithPresentation(Episodes(20, Episode{5, 9})), Layers("imnetds")},
	} {
		x, err := m.Plan(options...)
		require.NoError(t, err)
		presentation, outputs, err := Outputs(m.Info(), options...)
		require.NoError(t, err)
		assert.Equal(t, x.Layers(), outputs)
		assert.Equal(t, x.Presentation(), presentation)
	}
	x, err := m.Plan(WithPresentation(Episodes(20, Episode{5, 9})))
	require.NoError(t, err)
	conv3 := x.Layers()[2]
	assert.Equal(t, "conv3", conv3.Name)
	assert.Equal(t, 3, conv3.Timesteps[0])
	assert.Equal(t, 30, conv3.Milliseconds[0])
	assert.Equal(t, []bool{false, false, false, false, true, true}, conv3.Driven[:6], "from timestep 5 + 2 on")
}

func TestFeaturesAt(t *testing.T) {
	l := LayerFeatures{LayerOutput: LayerOutput{Shape: []int{1, 2}, Timesteps: []int{3, 5}},
		Data: []float32{0, 1, 2, 3, 4, 5, 6, 7}}
	assert.Equal(t, []float32{0, 1}, l.At(0, 3))
	assert.Equal(t, []float32{2, 3}, l.At(0, 5))
	assert.Equal(t, []float32{6, 7}, l.At(1, 5))
	for _, c := range [][2]int{{0, 0}, {0, 4}, {0, -1}, {2, 3}, {-1, 3}, {1 << 40, 3}, {1 << 62, 5}} {
		assert.Nil(t, l.At(c[0], c[1]), "%v", c)
	}
	f := Features{Layers: []LayerFeatures{l}}
	_, err := f.Layer("conv9")
	assert.ErrorIs(t, err, ErrUnknownLayer)
}

// TestBatchesAreInOrder extracts 7 stimuli in batches of every size and compares
// with one at a time.
func TestBatchesAreInOrder(t *testing.T) {
	m := loadTest(t, "timedecay_shallow")
	const n = 7
	stimuli := testStimuli(t, n)
	want, err := m.Extract(t.Context(), stimuli, append(slices.Clone(early), BatchSize(1), Logits())...)
	require.NoError(t, err)
	require.Equal(t, []string{"0", "1", "2", "3", "4", "5", "6"}, want.Stimuli)
	require.Equal(t, "conv3", want.Layers[0].Name, "in the order asked for")
	for size := 2; size <= n+1; size++ {
		next, batches := 0, 0
		err := m.Stream(t.Context(), slices.Values(stimuli), func(b *Batch) error {
			assert.Equal(t, next, b.First)
			assert.Len(t, b.Stimuli, min(size, n-next), "only the last batch is smaller")
			for i, s := range b.Stimuli {
				assert.Equal(t, want.Stimuli[next+i], s.ID)
				for layer := range want.Layers {
					for index, time := range want.Layers[layer].Timesteps {
						got, err := b.Feature(layer, index, i)
						require.NoError(t, err)
						requireClose(t, want.Layers[layer].At(next+i, time), got, 1e-5)
					}
				}
				logits, err := b.Logits(i)
				require.NoError(t, err)
				requireClose(t, want.Logits[(next+i)*Classes:(next+i+1)*Classes], logits, 1e-5)
			}
			next += len(b.Stimuli)
			batches++
			return nil
		}, append(slices.Clone(early), BatchSize(size), Logits())...)
		require.NoError(t, err)
		assert.Equal(t, n, next)
		assert.Equal(t, (n+size-1)/size, batches)
	}
}

// requireClose compares with a tolerance relative to the RMS of want.
func requireClose(t testing.TB, want, got []float32, tolerance float64, where ...any) {
	t.Helper()
	if e := relativeError(want, got); !(e <= tolerance) {
		t.Fatalf("the largest difference is %.2e of the RMS %s", e, fmt.Sprint(where...))
	}
}

// countGoroutines waits until there are as many goroutines as before.
func requireGoroutines(t testing.TB, before int) {
	t.Helper()
	require.Eventually(t, func() bool {
		return runtime.NumGoroutine() <= before+1
	}, 5*time.Second, 5*time.Millisecond, "goroutines are left over")
}

var errTest = errors.New("a test's error")

func broken() Stimulus {
	return Stimulus{ID: "broken", Frames: []*Image{LazyImage(func() ([]uint8, error) { return nil, errTest })}}
}

func TestOnError(t *testing.T) {
	m := loadTest(t, "timedecay_shallow")
	good := testStimuli(t, 3)
	short := Stimulus{ID: "short", Frames: []*Image{LazyImage(func() ([]uint8, error) { return make([]uint8, 3), nil })}}
	stimuli := []Stimulus{broken(), good[0], {ID: "empty"}, good[1], {ID: "nil", Frames: []*Image{nil}}, short,
		{ID: "zero", Frames: []*Image{{}}}, good[2], broken(), broken()}
	failed := []int{0, 2, 4, 5, 6, 8, 9}
	for size := 1; size <= 4; size++ {
		var seen []int
		skip := OnError(func(index int, s Stimulus, err error) error {
			assert.Equal(t, stimuli[index].ID, s.ID)
			assert.Error(t, err)
			seen = append(seen, index)
			return nil
		})
		f, err := m.Extract(t.Context(), stimuli, append(slices.Clone(early), BatchSize(size), Logits(), skip)...)
		require.NoError(t, err)
		assert.Equal(t, failed, seen)
		alone, err := m.Extract(t.Context(), good, append(slices.Clone(early), BatchSize(size), Logits())...)
		require.NoError(t, err)
		at := 0
		for i := range stimuli {
			if !slices.Contains(failed, i) {
				assert.NoError(t, f.Failed[i])
				requireClose(t, alone.Layers[0].At(at, 5), f.Layers[0].At(i, 5), 1e-5)
				requireClose(t, alone.Logits[at*Classes:(at+1)*Classes], f.Logits[i*Classes:(i+1)*Classes], 1e-5)
				at++
				continue
			}
			assert.Error(t, f.Failed[i])
			for _, v := range append(slices.Clone(f.Layers[0].At(i, 5)), f.Logits[i*Classes:(i+1)*Classes]...) {
				require.True(t, v != v, "%v is no NaN", v)
			}
		}
		assert.ErrorIs(t, f.Failed[0], errTest)
		assert.ErrorIs(t, f.Failed[5], ErrImages)
	}
	// Without OnError, and where it says so, the first error ends it.
	before := runtime.NumGoroutine()
	_, err := m.Extract(t.Context(), stimuli[:2], early...)
	assert.ErrorIs(t, err, errTest)
	mine := errors.New("enough")
	_, err = m.Extract(t.Context(), stimuli[1:], append(slices.Clone(early), OnError(func(int, Stimulus, error) error {
		return mine
	}))...)
	assert.ErrorIs(t, err, mine)
	f, err := m.Extract(t.Context(), []Stimulus{broken()},
		append(slices.Clone(early), OnError(func(int, Stimulus, error) error { return nil }))...)
	require.NoError(t, err)
	assert.Len(t, f.Failed, 1)
	requireGoroutines(t, before)
}

// endless repeats stimuli for ever.
func endless(stimuli []Stimulus) iter.Seq[Stimulus] {
	return func(yield func(Stimulus) bool) {
		for {
			for _, s := range stimuli {
				if !yield(s) {
					return
				}
			}
		}
	}
}

func TestStreamEnds(t *testing.T) { withSessions(t, checkStreamEnds) }

func checkStreamEnds(t *testing.T, options ...Option) {
	m := loadTest(t, "timedecay_shallow", options...)
	stimuli := testStimuli(t, 2)
	early := append(slices.Clone(early), BatchSize(1))
	require.NoError(t, m.Stream(t.Context(), slices.Values(stimuli), func(*Batch) error { return nil }, early...))
	require.NoError(t, m.Stream(t.Context(), slices.Values([]Stimulus{}), func(*Batch) error {
		return errTest
	}, early...), "there is nothing to do")
	before := runtime.NumGoroutine()

	calls := 0
	err := m.Stream(t.Context(), endless(stimuli), func(*Batch) error {
		calls++
		if calls == 3 {
			return errTest
		}
		return nil
	}, early...)
	assert.ErrorIs(t, err, errTest)
	assert.Equal(t, 3, calls, "sink is not called again")
	requireGoroutines(t, before)

	for at := range 4 { // before the first batch, and at some later one
		ctx, cancel := context.WithCancel(context.Background())
		calls := 0
		if at == 0 {
			cancel()
		}
		err := m.Stream(ctx, endless(stimuli), func(*Batch) error {
			if calls++; calls == at {
				cancel()
			}
			return nil
		}, early...)
		cancel()
		assert.ErrorIs(t, err, context.Canceled)
		requireGoroutines(t, before)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	assert.ErrorIs(t, m.Stream(ctx, endless(stimuli), func(*Batch) error {
		return nil
	}, early...), context.DeadlineExceeded)
	mine, cancelMine := context.WithCancelCause(context.Background())
	cancelMine(errTest)
	assert.ErrorIs(t, m.Stream(mine, endless(stimuli), func(*Batch) error {
		return nil
	}, early...), errTest, "the cause is told")
	requireGoroutines(t, before)
}

// TestSinkThatPanics: what the stream holds is freed, and the panic goes on.
func TestSinkThatPanics(t *testing.T) { withSessions(t, checkSinkThatPanics) }

func checkSinkThatPanics(t *testing.T, options ...Option) {
	m := loadTest(t, "timedecay_shallow", options...)
	_, err := m.Extract(t.Context(), testStimuli(t, 1), early...) // a thread that calls Go stays, and counts as one
	require.NoError(t, err)
	before := runtime.NumGoroutine()
	assert.PanicsWithValue(t, "a mistake", func() {
		_ = m.Stream(t.Context(), endless(testStimuli(t, 2)), func(*Batch) error {
			panic("a mistake")
		}, append(slices.Clone(early), BatchSize(1))...)
	})
	requireGoroutines(t, before)
	require.NoError(t, m.Close())
	requireNoObjects(t)
}

func TestClosedModel(t *testing.T) {
	m := loadTest(t, "timedecay_shallow")
	x, err := m.Plan(early...)
	require.NoError(t, err)
	_, err = x.Extract(t.Context(), testStimuli(t, 1))
	require.NoError(t, err)
	require.NoError(t, m.Close())
	require.NoError(t, m.Close())
	_, err = x.Extract(t.Context(), testStimuli(t, 1))
	assert.ErrorIs(t, err, ErrClosed)
	_, err = m.Extract(t.Context(), testStimuli(t, 1), Layers("conv5"))
	assert.ErrorIs(t, err, ErrClosed)
	assert.Equal(t, "timedecay_shallow", m.Info().Name, "what needs no session still works")
	requireNoObjects(t)
}

// TestCloseInTheSink: closing from the sink does not wait for itself, the values at
// hand stay, and the stream ends.
func TestCloseInTheSink(t *testing.T) { withSessions(t, checkCloseInTheSink) }

func checkCloseInTheSink(t *testing.T, options ...Option) {
	m := loadTest(t, "timedecay_shallow", options...)
	want, err := m.Extract(t.Context(), testStimuli(t, 1), early...)
	require.NoError(t, err)
	calls := 0
	err = m.Stream(t.Context(), endless(testStimuli(t, 1)), func(b *Batch) error {
		if calls++; calls == 1 {
			require.NoError(t, m.Close())
			runtime.GC()
		}
		for layer := range want.Layers {
			for index, time := range want.Layers[layer].Timesteps { // constants of the model too
				values, err := b.Feature(layer, index, 0)
				require.NoError(t, err)
				require.Equal(t, want.Layers[layer].At(0, time), values)
			}
		}
		return nil
	}, append(slices.Clone(early), BatchSize(1))...)
	assert.ErrorIs(t, err, ErrClosed)
	assert.LessOrEqual(t, calls, 3+len(m.peers), "only what was computed before is handed out")
	requireNoObjects(t)
}

func TestSequences(t *testing.T) {
	m := loadTest(t, "timedecay_shallow")
	frames := testStimuli(t, 3)
	film := Stimulus{ID: "film", Frames: []*Image{frames[0].Frames[0], frames[1].Frames[0], frames[2].Frames[0]}}
	still := Stimulus{ID: "still", Frames: []*Image{frames[0].Frames[0], frames[0].Frames[0], frames[0].Frames[0]}}
	f, err := m.Extract(t.Context(), []Stimulus{film, still}, Layers("conv1"), WithPresentation(Sequence(7, 2)),
		AllTimesteps())
	require.NoError(t, err)
	alone, err := m.Extract(t.Context(), frames, Layers("conv1"), WithPresentation(Custom(1, 1)), AllTimesteps())
	require.NoError(t, err)
	blank, err := m.Extract(t.Context(), frames, Layers("conv1"), WithPresentation(Custom(1, 0)), AllTimesteps())
	require.NoError(t, err)
	for time := range 7 {
		film, still := blank.Layers[0].At(0, 0), blank.Layers[0].At(0, 0)
		if time < 6 {
			film, still = alone.Layers[0].At(time/2, 0), alone.Layers[0].At(0, 0)
		}
		requireClose(t, film, f.Layers[0].At(0, time), 1e-5, "t=", time)
		requireClose(t, still, f.Layers[0].At(1, time), 1e-5, "t=", time)
	}
}

func TestProvenance(t *testing.T) {
	m := loadTest(t, "timedecay_shallow")
	f, err := m.Extract(t.Context(), testStimuli(t, 1), append(slices.Clone(early), NotePreprocessing(Preprocessing{}))...)
	require.NoError(t, err)
	p := f.Provenance
	assert.Equal(t, "timedecay_shallow", p.Model)
	assert.True(t, p.Weights.Untrained)
	assert.Len(t, p.Weights.SHA256, 64)
	assert.Equal(t, "custom(times=6,on=0,off=3),blank=published", p.Presentation)
	assert.Equal(t, 6, p.Times)
	assert.Equal(t, []string{"conv3", "conv1"}, p.Layers)
	assert.Equal(t, DefaultPreprocessing, p.Preprocessing)
	assert.Positive(t, p.BatchSize)
	assert.Equal(t, m.Threads(), p.Threads)
	assert.NotEmpty(t, p.OneDNN)
	assert.NotEmpty(t, p.Processor)
	assert.Equal(t, m.Untrained(), true)
	assert.Equal(t, 30, m.Times())
}

// Some timesteps of layers are those of the whole, to the last bit, in models of both kinds.
func TestSomeTimesteps(t *testing.T) {
	for _, name := range []string{"timedecay_shallow", "rgc_shallow"} {
		m := loadTest(t, name)
		stimuli := testStimuli(t, 3)
		whole, err := m.Extract(t.Context(), stimuli, Layers("conv2", "conv4", "conv5"), AllTimesteps(), BatchSize(2))
		require.NoError(t, err)
		asked := map[string][]int{"conv5": {9, 5}, "conv2": {0, 7}}
		some, err := m.Extract(t.Context(), stimuli, Layers("conv5", "conv2"), AllTimesteps(), BatchSize(2),
			Timesteps("conv5", asked["conv5"]...), Timesteps("conv2", asked["conv2"]...))
		require.NoError(t, err)
		assert.Equal(t, asked, some.Provenance.Timesteps)
		for _, l := range some.Layers {
			slices.Sort(asked[l.Name])
			assert.Equal(t, asked[l.Name], l.Timesteps)
			require.Len(t, l.Driven, 2)
			assert.Equal(t, 10*l.Timesteps[1], l.Milliseconds[1])
			all, err := whole.Layer(l.Name)
			require.NoError(t, err)
			for _, at := range l.Timesteps {
				for i := range stimuli {
					assert.Equal(t, all.At(i, at), l.At(i, at), "%s %s at %d", name, l.Name, at)
				}
			}
		}
	}
	info, err := savedmodels.Lookup("timedecay_shallow")
	require.NoError(t, err)
	for _, c := range []struct {
		says    string
		wraps   error
		options []ExtractOption
	}{
		{"conv5 is reported from timestep 5 to 15, and not at 4", ErrPresentation, []ExtractOption{Timesteps("conv5", 4)}},
		{"and not at 99", ErrPresentation, []ExtractOption{AllTimesteps(), Timesteps("conv5", 99)}},
		{"of layer conv4, which must be extracted", ErrOption, []ExtractOption{Timesteps("conv4", 5)}},
		{"0 timesteps of layer conv5", ErrOption, []ExtractOption{Timesteps("conv5")}},
	} {
		_, _, err := Outputs(info, append(c.options, Layers("conv5"))...)
		require.ErrorIs(t, err, c.wraps)
		assert.ErrorContains(t, err, c.says)
	}
}
