package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
	terminal "github.com/tfconvrnn/go/internal/console"
	"github.com/tfconvrnn/go/stimuli"
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

// BenchmarkExtractTo compares extract's throughput to each format with that of
// extracting to nothing, in turns, since the machine may have other things to do:
// of-nothing-% is what is left of the throughput. TFCONVRNN_BENCH_MODEL chooses another
// model, TFCONVRNN_BENCH_STORE where its SavedModel is kept, TFCONVRNN_BENCH_IMAGES how
// many images, TFCONVRNN_BENCH_FLAGS what is extracted.
func BenchmarkExtractTo(b *testing.B) {
	if _, err := runtimePath(); err != nil {
		b.Skip("needs libtensorflow:", err)
	}
	setting := func(name, otherwise string) string {
		if value := os.Getenv("TFCONVRNN_BENCH_" + name); value != "" {
			return value
		}
		return otherwise
	}
	// Enough for the last batch, which nothing overlaps, to count little.
	images, err := strconv.Atoi(setting("IMAGES", "64"))
	require.NoError(b, err)
	pictures := filepath.Join(b.TempDir(), "pictures")
	makePictures(b, pictures, images)
	args := []string{"extract", pictures, "--model", setting("MODEL", "ugrnn_intermediate"), "--weights", "seeded:1",
		"--yes", "--quiet", "--json",
		"--store", setting("STORE", filepath.Join(b.TempDir(), "store"))}
	args = append(args, strings.Fields(setting("FLAGS", "--areas IT --include-all-times"))...)
	for _, format := range features.Formats() {
		b.Run(string(format), func(b *testing.B) {
			out := filepath.Join(b.TempDir(), "out")
			to := append(slices.Clone(args), "--format", string(format), "--out", out)
			nothing := newNothing(b, append(slices.Clone(args), "--format", "npz", "--out", out))
			nothing() // the first run is slow
			var without, with float64
			for b.Loop() {
				without += nothing()
				code, text, messages := run(b.Context(), to...)
				require.Zero(b, code, messages)
				report := &extractReport{}
				require.NoError(b, json.Unmarshal([]byte(text), report))
				with += report.Seconds
				require.NoError(b, os.RemoveAll(out))
			}
			b.ReportMetric(float64(images*b.N)/with, "images/s")
			b.ReportMetric(100*without/with, "of-nothing-%")
		})
	}
}

// newNothing returns a function that computes what a command line asks for and drops
// it. It returns the seconds, counted from when the model is loaded, as extract does.
func newNothing(b *testing.B, args []string) func() float64 {
	b.Helper()
	e := &extractCommand{}
	cmd := &cobra.Command{}
	e.register(cmd)
	cmd.Flags().StringVar(&e.out, "out", "", "")
	cmd.Flags().StringVar(&e.format, "format", "", "")
	cmd.SetContext(b.Context())
	require.NoError(b, cmd.ParseFlags(args[1:]))
	c := &console{terminal.New(program, io.Discard, true)}
	plan, err := e.plan(cmd)
	require.NoError(b, err)
	request, err := e.request(cmd, cmd.Flags().Args(), plan, c)
	require.NoError(b, err)
	records, set, err := stimuli.Find(b.Context(), request.Inputs)
	require.NoError(b, err)
	reader, err := stimuli.NewReader(b.Context(), request.Inputs, set.Arrays)
	require.NoError(b, err)
	b.Cleanup(func() { reader.Close() })
	model, err := loadModel(cmd, c, &e.modelFlags, plan.times)
	require.NoError(b, err)
	b.Cleanup(func() { model.Close() })
	options := []tfconvrnn.ExtractOption{tfconvrnn.Layers(plan.recipe.Layers...),
		tfconvrnn.WithPresentation(plan.recipe.Presentation)}
	if e.recipe.AllTimesteps {
		options = append(options, tfconvrnn.AllTimesteps())
	}
	x, err := model.Plan(options...)
	require.NoError(b, err)
	return func() float64 {
		begun := time.Now()
		require.NoError(b, x.Stream(b.Context(), reader.Stimuli(slices.Values(records)), func(*tfconvrnn.Batch) error {
			return nil
		}))
		return time.Since(begun).Seconds()
	}
}
