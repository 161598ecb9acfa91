package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/arrayfiles"
	"github.com/tfconvrnn/go/internal/extraction"
	"github.com/tfconvrnn/go/internal/reduce"
	"github.com/tfconvrnn/go/internal/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// makePictures makes small photograph-like pictures, all different.
func makePictures(t testing.TB, dir string, n int) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o777))
	random := rand.New(rand.NewPCG(1, 1))
	img := image.NewRGBA(image.Rect(0, 0, 320, 256))
	for i := range n {
		base, slope := random.IntN(200), random.IntN(5)
		for y := range 256 {
			for x := range 320 {
				img.SetRGBA(x, y, color.RGBA{uint8(base + x*slope/8), uint8(y), uint8(i + x*y/512), 255})
			}
		}
		var b bytes.Buffer
		require.NoError(t, jpeg.Encode(&b, img, nil))
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%05d.jpg", i)), b.Bytes(), 0o666))
	}
}

// BenchmarkExtractTo compares extracting to each format with extracting to nothing:
// what writing costs of the throughput. TFCONVRNN_BENCH_MODEL and
// TFCONVRNN_BENCH_STORE choose another model and where its SavedModel is kept,
// TFCONVRNN_BENCH_IMAGES how many images.
func BenchmarkExtractTo(b *testing.B) {
	if _, err := runtimePath(); err != nil {
		b.Skip("needs libtensorflow:", err)
	}
	name, store := os.Getenv("TFCONVRNN_BENCH_MODEL"), os.Getenv("TFCONVRNN_BENCH_STORE")
	if name == "" {
		name = "timedecay_shallow"
	}
	if store == "" {
		store = b.TempDir()
	}
	model, err := tfconvrnn.LoadContext(b.Context(), name, tfconvrnn.WithWeights("seeded:1"), tfconvrnn.WithStore(store))
	require.NoError(b, err)
	defer model.Close()
	images := 128 // enough for the last batch, which nothing overlaps, not to count
	if n, err := strconv.Atoi(os.Getenv("TFCONVRNN_BENCH_IMAGES")); err == nil {
		images = n
	}
	pictures := filepath.Join(b.TempDir(), "pictures")
	makePictures(b, pictures, images)
	c := newConsole(io.Discard, true)
	set, err := openStimuli(b.Context(), []string{pictures}, &inputFlags{}, stimulusOptions{times: 1}, c)
	require.NoError(b, err)
	defer set.Close()
	info := model.Info()
	area, err := info.AreaLayers("IT")
	require.NoError(b, err)
	x, err := model.Plan(tfconvrnn.Layers(area...), tfconvrnn.AllTimesteps())
	require.NoError(b, err)
	nothing := func(*tfconvrnn.Batch) error { return nil }
	require.NoError(b, x.Stream(b.Context(), set.From(0), nothing)) // the first run is slow
	// Processor time says what writing costs even where other programs run.
	measured := func(b *testing.B, work func()) {
		b.Helper()
		begun, n := processorTime(), 0
		for b.Loop() {
			work()
			n++
		}
		b.ReportMetric(float64(images*n)/b.Elapsed().Seconds(), "images/s")
		b.ReportMetric((processorTime()-begun).Seconds()*1000/float64(images*n), "cpu-ms/image")
	}
	b.Run("nothing", func(b *testing.B) {
		measured(b, func() { require.NoError(b, x.Stream(b.Context(), set.From(0), nothing)) })
	})
	for _, format := range arrayfiles.Formats() {
		b.Run(string(format), func(b *testing.B) {
			out := filepath.Join(b.TempDir(), "out")
			measured(b, func() {
				require.NoError(b, extractTo(b.Context(), c, model, x, set, out, format))
				require.NoError(b, os.RemoveAll(out))
			})
		})
	}
}

func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// extractTo writes an extraction of all stimuli to a new file, as extract does but
// without what only its flags ask for.
func extractTo(ctx context.Context, c *console, model *tfconvrnn.Model, x *tfconvrnn.Extraction, set *stimuli.Set, out string, format arrayfiles.Format) error {
	hashes, err := set.Hashes(ctx)
	if err != nil {
		return err
	}
	layers, err := extraction.ReduceLayers(x.Layers(), &reduce.Specification{})
	if err != nil {
		return err
	}
	content := newContent(model.Info(), set, hashes)
	content.Layers, content.Logits, content.DataType = layers, x.Logits(), arrayfiles.Float32
	content.About.Provenance, content.About.DataType = x.Provenance(), arrayfiles.Float32.String()
	layout, err := content.Layout(format)
	if err != nil {
		return err
	}
	writer, err := arrayfiles.Create(out, format, layout, arrayfiles.Options{})
	if err != nil {
		return err
	}
	defer writer.Abort() // no effect after Finish
	run := &extractRun{command: &extractCommand{out: out}, content: content, set: set, hashes: hashes, console: c, trace: &extractTrace{console: c}}
	if _, err := run.stream(ctx, x, writer); err != nil {
		return err
	}
	return writer.Finish(ctx)
}
