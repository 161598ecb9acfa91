package benchmark

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image/jpeg"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// childEnv makes this binary a measuring process that does what its value says.
const childEnv = "TFCONVRNN_BENCHMARK_TEST_CHILD"

func TestMain(m *testing.M) {
	switch what := os.Getenv(childEnv); what {
	case "":
		os.Exit(m.Run())
	case "sleep":
		time.Sleep(time.Minute)
	case "fail":
		fmt.Fprintln(os.Stderr, "no such thing")
		os.Exit(1)
	case "measure":
		if err := Child(context.Background(), small(os.Args[2]), os.Args[1], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		fmt.Print(what)
	}
}

// childThat returns an Options.Child whose processes do something.
func childThat(does string, args ...string) func(context.Context, string) *exec.Cmd {
	return func(ctx context.Context, measurement string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, os.Args[0], append([]string{measurement}, args...)...)
		cmd.Env = append(os.Environ(), childEnv+"="+does)
		return cmd
	}
}

// small is a fast measurement.
func small(store string) Options {
	return Options{
		Model: "timedecay_shallow", Batch: 1, Runs: 2, Fetches: Fetches{Layers: []string{"conv4", "imnetds"}},
		Load: []tfconvrnn.Option{tfconvrnn.WithWeights("seeded:1"), tfconvrnn.WithStore(store)},
	}
}

func requireRuntime(t testing.TB) {
	t.Helper()
	if err := tfconvrnn.RuntimeError(); err != nil {
		if os.Getenv("TFCONVRNN_REQUIRE_RUNTIME") != "" {
			t.Fatal(err)
		}
		t.Skipf("needs libtensorflow: %v", err)
	}
}

func TestRun(t *testing.T) {
	requireRuntime(t)
	store := t.TempDir()
	o := small(store)
	o.Child = childThat("measure", store)
	var notes []string
	o.Note = func(message string) { notes = append(notes, message) }
	r, err := Run(t.Context(), o)
	require.NoError(t, err)
	assert.NotEmpty(t, notes)
	assert.Equal(t, "timedecay_shallow", r.Model)
	assert.True(t, r.Untrained)
	assert.Equal(t, 1, r.Batch)
	assert.Equal(t, 16, r.Times)
	assert.Positive(t, r.Peak.GFLOPS)
	assert.GreaterOrEqual(t, r.Peak.GFLOPS, r.Peak.MedianGFLOPS)
	assert.Contains(t, onCPU.shapes, r.Peak.Shape)
	assert.Positive(t, r.Peak.MemoryGBPerSecond)
	assert.InDelta(t, r.Peak.GFLOPS, r.Peak.Ridge*r.Peak.MemoryGBPerSecond, 1e-6)
	assert.Less(t, r.Difference, 1e-4)
	assert.NotContains(t, r.Machine.String(), "unknown")

	require.Len(t, r.Contestants, 1+len(r.Ratios))
	for _, c := range r.Contestants {
		assert.Positive(t, c.GMACPerImage, c.Name)
		assert.Positive(t, c.ImagesPerSecond, c.Name)
		assert.Positive(t, c.CPUSecondsPerImage.Median, c.Name)
		assert.InDelta(t, 2*c.GMACPerImage, c.GFLOPS*c.SecondsPerImage.Median, 1e-6, c.Name)
		assert.InDelta(t, c.GFLOPS, c.OfPeak*r.Peak.GFLOPS, 1e-6, c.Name)
		assert.LessOrEqual(t, c.SecondsPerImage.LowerQuartile, c.SecondsPerImage.UpperQuartile)
		assert.Greater(t, c.PeakRSSBytes, int64(100<<20), c.Name)
		assert.Equal(t, c.Name == PlainEveryLayer, c.FirstResult == nil)
		if c.FirstResult != nil {
			assert.Greater(t, c.FirstResult.FromProcessStart, c.SecondsPerImage.Median/100)
			assert.Positive(t, c.FirstResult.OtherFetches)
		}
	}
	ours, pruned, every := r.Contestant(LightCone), r.Contestant(PlainPruned), r.Contestant(PlainEveryLayer)
	assert.Less(t, ours.GMACPerImage, pruned.GMACPerImage)
	assert.Less(t, pruned.GMACPerImage, every.GMACPerImage)
	assert.Nil(t, r.Contestant("fast"))
	others := []string{PlainPruned, PlainEveryLayer}
	if r.Convolution != tfconvrnn.ConvolutionDirect {
		others = append(others, LightConeDirect)
		assert.Equal(t, ours.GMACPerImage, r.Contestant(LightConeDirect).GMACPerImage)
	}
	require.Len(t, r.Ratios, len(others))
	for _, name := range others {
		assert.Equal(t, LightCone, r.Ratio(name).To)
		assert.Positive(t, r.Ratio(name).Seconds.Median)
	}
	assert.Nil(t, r.Ratio(LightCone))
	_, err = json.Marshal(r)
	assert.NoError(t, err, "no infinite numbers")
}

func TestRunOfLogitsOnly(t *testing.T) {
	requireRuntime(t)
	o := small(t.TempDir())
	o.Fetches = Fetches{Logits: true}
	o.Runs = 1
	r, err := Run(t.Context(), o)
	require.NoError(t, err)
	assert.Less(t, r.Contestant(LightCone).GMACPerImage, r.Contestant(PlainEveryLayer).GMACPerImage)
	assert.Zero(t, r.Contestant(LightCone).PeakRSSBytes)

	ctx, cancel := context.WithCancel(t.Context())
	o.Note = func(message string) {
		if strings.HasPrefix(message, "round") {
			cancel()
		}
	}
	_, err = Run(ctx, o)
	assert.ErrorIs(t, err, context.Canceled)
	o.Runs = 0
	_, err = Run(t.Context(), o)
	assert.ErrorIs(t, err, tfconvrnn.ErrOption)
}

func TestChildrenThatFail(t *testing.T) {
	for does, want := range map[string]string{
		"fail": "no such thing", "nonsense": "something else", "\n": "something else",
		`{"peak_rss_bytes":1}garbage`: "something else", `{"first":true}`: "something else",
	} {
		_, _, err := runChild(t.Context(), Options{Child: childThat(does)}, "memory:lightcone")
		assert.ErrorIs(t, err, errChild, does)
		assert.ErrorContains(t, err, want, does)
	}
	first, last, err := runChild(t.Context(), Options{Child: childThat(`{"first":true}{"other_seconds":1.5}`)},
		"first:lightcone")
	require.NoError(t, err)
	assert.Positive(t, first)
	assert.Equal(t, childReport{Other: 1.5}, last)

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err = runChild(ctx, Options{Child: childThat("sleep")}, "memory:lightcone")
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestUnknownMeasurements(t *testing.T) {
	for _, measurement := range []string{"", "memory", "memory:fast:8", "speed:lightcone", "::::"} {
		assert.ErrorIs(t, Child(t.Context(), Options{}, measurement, &bytes.Buffer{}), errChild, measurement)
	}
}

func TestSpread(t *testing.T) {
	assert.Equal(t, Spread{3, 2, 4}, spreadOf([]float64{5, 1, 4, 2, 3}))
	assert.Equal(t, Spread{1.5, 1.25, 1.75}, spreadOf([]float64{2, 1}))
	assert.Equal(t, Spread{7, 7, 7}, spreadOf([]float64{7}))
	assert.Equal(t, []float64{2, 0}, quotients([]float64{4, 1}, []float64{2, 0}))
}

func TestRelativeDifference(t *testing.T) {
	nan := float32(math.NaN())
	d, err := relativeDifference([]float32{1, -1, 1.5}, []float32{1, -1, 1})
	require.NoError(t, err)
	assert.InDelta(t, 0.5, d, 1e-12)
	d, err = relativeDifference([]float32{0}, []float32{0})
	require.NoError(t, err)
	assert.Zero(t, d)
	for _, pair := range [][2][]float32{{{1}, {0}}, {{nan}, {1}}, {{1}, {nan}}, {{1}, {1, 2}}} {
		_, err = relativeDifference(pair[0], pair[1])
		assert.Error(t, err, pair)
	}
}

func TestOtherFetches(t *testing.T) {
	all := []string{"conv1", "conv2", "imnetds"}
	assert.Equal(t, Fetches{Layers: all}, otherFetches(Fetches{Logits: true}, all))
	assert.Equal(t, Fetches{Layers: all}, otherFetches(Fetches{Layers: all[1:]}, all))
	assert.Equal(t, Fetches{Layers: all[1:], Logits: true}, otherFetches(Fetches{Layers: all}, all))
}

func TestPictures(t *testing.T) {
	const size = tfconvrnn.ImageSize * tfconvrnn.ImageSize * 3
	pixels := pictures(3)
	require.Len(t, pixels, 3*size)
	assert.NotEqual(t, pixels[:size], pixels[size:2*size])
	assert.Equal(t, pixels[:size], pictures(1))
}

func TestPhotographs(t *testing.T) {
	dir := t.TempDir()
	paths, err := writePhotographs(dir, distinctPhotographs+1, 250)
	require.NoError(t, err)
	require.Len(t, paths, distinctPhotographs+1)
	contents := map[string]bool{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		contents[string(data)] = true
		img, err := jpeg.Decode(bytes.NewReader(data))
		require.NoError(t, err)
		assert.Equal(t, 250, img.Bounds().Dx())
		// As large as photographs are: 1 to 5 bits a pixel.
		assert.InDelta(t, 3, float64(8*len(data))/250/250, 2)
	}
	assert.Len(t, contents, distinctPhotographs)
	_, err = writePhotographs(filepath.Join(dir, "missing"), 1, 8)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestMachine(t *testing.T) {
	peak, err := peakRSS()
	require.NoError(t, err)
	assert.Greater(t, peak, int64(1<<20))
	m := Machine{CPU: "P", Cores: 4, Threads: 2, Instructions: "AVX2", System: "linux/amd64", TensorFlow: "2.21.0",
		OneDNN: true, Go: "go1"}
	assert.Equal(t, "P, 2 of 4 cores, AVX2, linux/amd64, TensorFlow 2.21.0, oneDNN on, go1", m.String())
	before := cpuTime()
	for begun := time.Now(); time.Since(begun) < 50*time.Millisecond; {
	}
	assert.Greater(t, cpuTime(), before)
}

// BenchmarkExtractPhotographs is the whole way from 64 JPEG files of 1000 pixels a
// side to an .npz file. outside-% is the share of the time in which TensorFlow was
// not running.
func BenchmarkExtractPhotographs(b *testing.B) {
	requireRuntime(b)
	store := b.TempDir()
	paths, err := writePhotographs(b.TempDir(), 64, photographSide)
	require.NoError(b, err)
	for _, c := range []struct {
		model  string
		layers []string
	}{
		{"timedecay_shallow", []string{"imnetds"}},
		{"ugrnn_intermediate", []string{"imnetds"}},
		{"ugrnn_intermediate", []string{"conv9", "conv10", "imnetds"}},
	} {
		b.Run(c.model+"/"+strings.Join(c.layers, ","), func(b *testing.B) {
			o := small(store)
			o.Batch, o.Fetches = 0, Fetches{Layers: c.layers}
			m, err := tfconvrnn.Load(c.model, o.Load...)
			require.NoError(b, err)
			defer m.Close()
			var outside, seconds float64
			for i := 0; b.Loop(); i++ {
				p, err := extract(b.Context(), m, o, paths, filepath.Join(b.TempDir(), fmt.Sprintf("%d.npz", i)), features.NPZ)
				require.NoError(b, err)
				outside += p.Seconds - p.InSession
				seconds += p.Seconds
			}
			b.ReportMetric(100*outside/seconds, "outside-%")
			b.ReportMetric(float64(b.N*len(paths))/seconds, "images/s")
		})
	}
}

// TestGEMMOnDevice measures with several products a run, as on a GPU, on the second
// of two devices.
func TestGEMMOnDevice(t *testing.T) {
	requireRuntime(t)
	t.Setenv("TFCONVRNN_SIMULATED_GPUS", "2")
	m, err := tfconvrnn.Load("timedecay_shallow", append(small(t.TempDir()).Load, tfconvrnn.WithDevice("gpu:1"))...)
	require.NoError(t, err)
	defer m.Close()
	config, device := m.SessionConfig()
	assert.Equal(t, "/device:CPU:1", device)
	roof := roof{shapes: [][3]int{{64, 32, 128}, {128, 128, 128}}, values: 1 << 20, repeats: 3}
	g, err := newGEMMOf(config, device, roof, roof)
	require.NoError(t, err)
	defer g.close()
	require.Len(t, g.products[1], 3)
	require.NoError(t, g.measure(t.Context()))
	require.NoError(t, g.measure(t.Context()))
	assert.Len(t, g.gflops[0], 4, "the first ones only warm up")
	p := g.peak()
	assert.Positive(t, p.GFLOPS)
	assert.Contains(t, roof.shapes, p.Shape)
	assert.Positive(t, p.MemoryGBPerSecond)

	results, err := g.session.Run(t.Context(), nil, append(g.products[0][2:3:3], g.sums[2]), nil)
	require.NoError(t, err)
	defer libtf.CloseAll(results)
	var product, sum float64
	for i := range 128 { // row 0 of the one and column 0 of the other
		product += float64(i%1009) / 1009 * float64(i*32%1009) / 1009
	}
	for i := range 1 << 20 {
		sum += float64(i%1009) / 1009
	}
	for i, want := range []float64{product, sum} {
		got, err := firstValue(results[i : i+1])
		require.NoError(t, err)
		assert.InEpsilon(t, want, got, 1e-4)
	}

}

// BenchmarkGEMM is the matrix product that speeds are compared with.
func BenchmarkGEMM(b *testing.B) {
	requireRuntime(b)
	g, err := newGEMM(nil, "")
	require.NoError(b, err)
	defer g.close()
	for b.Loop() {
		require.NoError(b, g.measure(b.Context()))
	}
	b.ReportMetric(g.peak().GFLOPS, "GFLOP/s")
}
