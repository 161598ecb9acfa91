package tfconvrnn

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/libtf"
)

// The tests below ask what a long-lived service asks: concurrency, leaks and
// determinism. scripts/long_tests.sh runs them with larger numbers from these
// variables.

// number returns the number in an environment variable.
func number(variable string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(variable)); err == nil {
		return n
	}
	return otherwise
}

// job is an extraction whose result is known.
type job struct {
	name    string
	stimuli []Stimulus
	options []ExtractOption
	want    *Features
}

// jobs returns extractions of different layers, presentations and batches.
func jobs(t *testing.T, m *Model) []job {
	s := testStimuli(t, 5)
	grey, err := ColorBlank(0.5, 0.5, 0.5)
	require.NoError(t, err)
	film := []Stimulus{{ID: "film", Frames: []*Image{s[0].Frames[0], s[1].Frames[0]}},
		{ID: "other", Frames: []*Image{s[2].Frames[0]}}}
	list := []job{
		{name: "constants", stimuli: s[:2], options: []ExtractOption{Layers("conv5"), WithPresentation(Constant(2)),
			AllTimesteps()}},
		{name: "frames", stimuli: s[:3], options: []ExtractOption{Layers("conv1", "conv2"), WithPresentation(Custom(4, 2)),
			BatchSize(2)}},
		{name: "recurrent", stimuli: s[3:], options: []ExtractOption{Layers("conv3"), WithPresentation(Custom(6, 3)),
			AllTimesteps(), BatchSize(2)}},
		{name: "one at a time", stimuli: s[:2], options: []ExtractOption{Layers("conv3", "conv1"),
			WithPresentation(Constant(5)), BatchSize(1)}},
		{name: "another blank", stimuli: s[1:2], options: []ExtractOption{Layers("conv2"),
			WithPresentation(Custom(5, 2).WithBlank(grey)), BatchSize(3)}},
		{name: "film", stimuli: film, options: []ExtractOption{Layers("conv3"), WithPresentation(Sequence(5, 2)),
			AllTimesteps()}},
		{name: "logits", stimuli: s[4:], options: []ExtractOption{OnlyLogits(), WithPresentation(Constant(7))}},
	}
	for i := range list {
		list[i].want, err = m.Extract(t.Context(), list[i].stimuli, list[i].options...)
		require.NoError(t, err)
	}
	return list
}

// difference says where features differ in any bit; "" if they do not.
func difference(want, got *Features) string {
	if !slices.Equal(want.Stimuli, got.Stimuli) {
		return "stimuli"
	}
	for i := range want.Layers {
		if !slices.Equal(want.Layers[i].Data, got.Layers[i].Data) { // no NaN: they are equal to the serial ones
			return want.Layers[i].Name
		}
	}
	if !slices.Equal(want.Logits, got.Logits) {
		return "logits"
	}
	return ""
}

// TestConcurrentUse: 32 goroutines on one model, half of them cancelled at random
// moments. What finishes equals what was computed serially to the last bit.
func TestConcurrentUse(t *testing.T) {
	m := loadTest(t, "timedecay_shallow")
	list := jobs(t, m)
	before := runtime.NumGoroutine()
	rounds := number("TFCONVRNN_ROUNDS", 2)
	var finished, cancelled atomic.Int64
	var group sync.WaitGroup
	for g := range 32 {
		random := rand.New(rand.NewPCG(uint64(g), 3))
		group.Go(func() {
			for range rounds {
				j := list[random.IntN(len(list))]
				ctx, cancel := context.WithCancel(context.Background())
				if g%2 == 0 {
					delay := time.Duration(random.IntN(1000)) * time.Millisecond
					time.AfterFunc(delay, cancel)
				}
				got, err := m.Extract(ctx, j.stimuli, j.options...)
				switch {
				case err == nil:
					finished.Add(1)
					assert.Empty(t, difference(j.want, got), j.name)
				case assert.ErrorIs(t, err, context.Canceled, j.name):
					cancelled.Add(1)
					assert.Error(t, ctx.Err(), "nobody cancelled it")
				}
				cancel()
			}
		})
	}
	group.Wait()
	assert.GreaterOrEqual(t, finished.Load(), int64(16*rounds))
	requireGoroutines(t, before)
	t.Logf("%d finished, equal to the last bit; %d cancelled", finished.Load(), cancelled.Load())
	require.NoError(t, m.Close())
	requireNoObjects(t)
}

// TestCloseRacesWithExtract closes a model while goroutines extract and read.
func TestCloseRacesWithExtract(t *testing.T) {
	list := jobs(t, loadTest(t, "timedecay_shallow"))
	before := runtime.NumGoroutine()
	random := rand.New(rand.NewPCG(1, 4))
	var finished, closed atomic.Int64
	for range number("TFCONVRNN_ROUNDS", 6) {
		m := loadTest(t, "timedecay_shallow")
		var group sync.WaitGroup
		for g := range 8 {
			group.Go(func() {
				for i := g; ; i++ {
					j := list[i%len(list)]
					got, err := m.Extract(context.Background(), j.stimuli, j.options...)
					if err != nil {
						assert.ErrorIs(t, err, ErrClosed, j.name)
						closed.Add(1)
						return
					}
					finished.Add(1)
					assert.Empty(t, difference(j.want, got), j.name)
				}
			})
		}
		time.Sleep(time.Duration(random.IntN(800)) * time.Millisecond)
		for range 2 {
			group.Go(func() { assert.NoError(t, m.Close()) })
		}
		group.Wait()
	}
	requireGoroutines(t, before)
	t.Logf("%d finished, equal to the last bit; %d were told that the model is closed", finished.Load(), closed.Load())
}

// sameBytesJobs are what TestSameBytes computes with a model, in this process and in others.
func sameBytesJobs(t *testing.T, m *Model) []job {
	if m.Info().Name == "timedecay_shallow" {
		return jobs(t, m)
	}
	all := job{name: "all", stimuli: testStimuli(t, 2), options: []ExtractOption{Logits(), BatchSize(2)}}
	var err error
	all.want, err = m.Extract(t.Context(), all.stimuli, all.options...)
	require.NoError(t, err)
	return []job{all}
}

const sameBytesEnv = "TFCONVRNN_SAME_BYTES" // model,threads,file for the results

// TestSameBytes: the same input in the same batch gives the same bytes in every run, in
// every model of a process and in every process with the same number of threads. Another
// number of threads, which takes another process, adds sums in another order: the test
// says how far apart that is. TFCONVRNN_LONG adds models.
func TestSameBytes(t *testing.T) {
	if task := os.Getenv(sameBytesEnv); task != "" {
		sameBytesChild(t, strings.Split(task, ","))
		return
	}
	runs := number("TFCONVRNN_RUNS", 4)
	models := []string{"timedecay_shallow"}
	if os.Getenv("TFCONVRNN_LONG") != "" {
		models = append(models, "ugrnn_intermediate", "rgc_intermediate", "lstm_shallow", "gru_intermediate")
	}
	for _, name := range models {
		t.Run(name, func(t *testing.T) {
			list := sameBytesJobs(t, loadTest(t, name, WithoutKeptConstants()))
			for range 2 {
				m := loadTest(t, name)
				for range runs {
					for _, j := range list {
						got, err := m.Extract(t.Context(), j.stimuli, j.options...)
						require.NoError(t, err)
						assert.Empty(t, difference(j.want, got), j.name)
					}
				}
				require.NoError(t, m.Close())
			}
			t.Logf("%s: %d runs of %d extractions in one process gave the same bytes", name, 2*runs, len(list))

			first := map[int][]*Features{}
			for _, threads := range []int{1, 1, 2, 2, 3, 3, 8, 8} {
				got := sameBytesInChild(t, name, threads)
				require.Len(t, got, len(list))
				if first[threads] == nil {
					first[threads] = got
					continue
				}
				for i, j := range list {
					assert.Empty(t, difference(first[threads][i], got[i]), "%s in another process with %d threads", j.name, threads)
				}
			}
			worst := 0.0
			for _, threads := range []int{2, 3, 8} {
				for i, want := range first[1] {
					for k := range want.Layers {
						worst = max(worst, relativeError(want.Layers[k].Data, first[threads][i].Layers[k].Data))
					}
				}
			}
			assert.Less(t, worst, 1e-4)
			t.Logf("%s: two processes each with 1, 2, 3 and 8 threads gave the same bytes; other numbers of threads differ by at most %.1e of a layer's RMS",
				name, worst)
		})
	}
}

// sameBytesInChild returns what another process computes with a number of threads: the
// number cannot be changed in a process that has computed already.
func sameBytesInChild(t *testing.T, model string, threads int) []*Features {
	file := filepath.Join(t.TempDir(), "features")
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSameBytes$")
	command.Env = append(os.Environ(), fmt.Sprintf("%s=%s,%d,%s", sameBytesEnv, model, threads, file),
		"TFCONVRNN_TEST_STORE="+testModels(t))
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%s", output)
	data, err := os.ReadFile(file)
	require.NoError(t, err, "%s", output)
	var features []*Features
	require.NoError(t, gob.NewDecoder(bytes.NewReader(data)).Decode(&features))
	return features
}

func sameBytesChild(t *testing.T, task []string) {
	threads, err := strconv.Atoi(task[1])
	require.NoError(t, err)
	m := loadTest(t, task[0], WithThreads(threads), WithoutKeptConstants())
	require.Equal(t, threads, m.Threads())
	var features []*Features
	for _, j := range sameBytesJobs(t, m) {
		features = append(features, &Features{Stimuli: j.want.Stimuli, Layers: j.want.Layers, Logits: j.want.Logits})
	}
	var data bytes.Buffer
	require.NoError(t, gob.NewEncoder(&data).Encode(features))
	require.NoError(t, os.WriteFile(task[2], data.Bytes(), 0o600))
}

// TestOtherBatches says how much a stimulus's features differ when others are, or are
// not, computed together with it: sums are then added in another order.
func TestOtherBatches(t *testing.T) {
	models := []string{"timedecay_shallow"}
	if os.Getenv("TFCONVRNN_LONG") != "" {
		models = append(models, "ugrnn_intermediate", "rgc_intermediate", "lstm_shallow", "gru_intermediate")
	}
	for _, name := range models {
		t.Run(name, func(t *testing.T) {
			m := loadTest(t, name)
			stimuli := testStimuli(t, 4)
			alone, err := m.Extract(t.Context(), stimuli, BatchSize(1))
			require.NoError(t, err)
			for _, size := range []int{2, 4} {
				together, err := m.Extract(t.Context(), stimuli, BatchSize(size))
				require.NoError(t, err)
				worst := 0.0
				for i := range alone.Layers {
					worst = max(worst, relativeError(alone.Layers[i].Data, together.Layers[i].Data))
				}
				assert.Less(t, worst, 1e-4)
				t.Logf("%s: batches of %d and of 1 differ by at most %.1e of a layer's RMS", name, size, worst)
			}
		})
	}
}

// residentBytes is the process's resident memory.
func residentBytes(t testing.TB) float64 {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skipf("needs /proc: %v", err)
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(data))[1], 64)
	require.NoError(t, err)
	return pages * float64(os.Getpagesize())
}

// slope is that of the least squares line through values at 0, step, 2·step, …
func slope(values []float64, step int) float64 {
	var sx, sy, sxx, sxy float64
	for i, y := range values {
		x := float64(i * step)
		sx, sy, sxx, sxy = sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	n := float64(len(values))
	return (n*sxy - sx*sy) / (n*sxx - sx*sx)
}

// soak calls f count times and reports how resident memory grows over the second
// half, when caches are full.
func soak(t *testing.T, what string, count int, f func()) {
	const samples = 40
	step := max(1, count/samples)
	var resident []float64
	for i := range count {
		if i%step == 0 {
			runtime.GC()
			resident = append(resident, residentBytes(t))
		}
		f()
	}
	half := resident[len(resident)/2:]
	if len(half) < 2 {
		t.Fatalf("%d calls are too few", count)
	}
	perCall := slope(half, step)
	t.Logf("%d × %s: resident memory %.0f MB at the beginning, %.0f MB at the end; slope over the second half %+.0f bytes per call",
		count, what, resident[0]/1e6, resident[len(resident)-1]/1e6, perCall)
	// A leaked tensor, graph or executor of a call would be far more.
	grown := perCall * float64(count) / 2
	assert.Less(t, grown, 64e6, "%s leaks", what)
}

func TestManyExtractions(t *testing.T) {
	m := loadTest(t, "timedecay_shallow")
	stimuli := testStimuli(t, 1)
	before := runtime.NumGoroutine()
	options := []ExtractOption{Layers("conv1"), WithPresentation(Custom(2, 1)), AllTimesteps()}
	want, err := m.Extract(t.Context(), stimuli, options...)
	require.NoError(t, err)
	objects := libtf.LiveObjects()
	soak(t, "Extract", number("TFCONVRNN_EXTRACTIONS", 200), func() {
		got, err := m.Extract(t.Context(), stimuli, options...)
		require.NoError(t, err)
		require.Empty(t, difference(want, got))
	})
	assert.Equal(t, objects, libtf.LiveObjects())
	requireGoroutines(t, before)
	require.NoError(t, m.Close())
	requireNoObjects(t)
}

func TestManyModels(t *testing.T) {
	requireRuntime(t)
	dir, err := sharedStore()
	require.NoError(t, err)
	stimuli := testStimuli(t, 1)
	before := runtime.NumGoroutine()
	soak(t, "Load, Extract, Close", number("TFCONVRNN_LOADS", 10), func() {
		m, err := Load("timedecay_shallow", WithWeights("seeded:1"), WithStore(dir))
		require.NoError(t, err)
		_, err = m.Extract(t.Context(), stimuli, Layers("conv1"), WithPresentation(Custom(2, 1)), AllTimesteps())
		require.NoError(t, err)
		require.NoError(t, m.Close())
	})
	requireGoroutines(t, before)
	requireNoObjects(t)
}

// TestFailuresLeaveNothing: failed calls leave no object behind either.
func TestFailuresLeaveNothing(t *testing.T) {
	m := loadTest(t, "timedecay_shallow")
	_, err := m.Extract(t.Context(), testStimuli(t, 1), early...)
	require.NoError(t, err)
	objects, goroutines := libtf.LiveObjects(), runtime.NumGoroutine()
	stimuli := append(testStimuli(t, 3), broken())
	for range 20 {
		_, err = m.Extract(t.Context(), stimuli, append(slices.Clone(early), BatchSize(1))...)
		require.ErrorIs(t, err, errTest)
		err = m.Stream(t.Context(), endless(stimuli[:3]), func(*Batch) error {
			return errTest
		}, append(slices.Clone(early), BatchSize(1))...)
		require.ErrorIs(t, err, errTest)
		_, err = m.Extract(t.Context(), stimuli[:1], Layers("conv2"),
			WithPresentation(Custom(6, 3).WithBlank(ImageBlank("gone", broken().Frames[0]))))
		require.ErrorIs(t, err, errTest)
		_, err = Load("timedecay_shallow", WithWeights(Weights(t.TempDir())))
		require.True(t, errors.Is(err, ErrNoWeights))
	}
	assert.Equal(t, objects, libtf.LiveObjects())
	requireGoroutines(t, goroutines)
}
