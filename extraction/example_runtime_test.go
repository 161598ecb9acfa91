package extraction_test

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/recordings"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// pictures has a test run in a folder with a table of three.
func pictures(t *testing.T) {
	t.Helper()
	if err := tfconvrnn.RuntimeError(); err != nil {
		if os.Getenv("TFCONVRNN_REQUIRE_RUNTIME") != "" {
			t.Fatal(err)
		}
		t.Skip("needs libtensorflow:", err)
	}
	t.Chdir(t.TempDir())
	text := "path\n"
	for i := range 3 {
		name := fmt.Sprintf("%d.png", i)
		img := image.NewRGBA(image.Rect(0, 0, 224, 224))
		for at := range img.Pix {
			img.Pix[at] = uint8(at * (i + 1) / 700)
		}
		img.SetRGBA(0, 0, color.RGBA{255, 0, 0, 255})
		file, err := os.Create(name)
		require.NoError(t, err)
		require.NoError(t, png.Encode(file, img))
		require.NoError(t, file.Close())
		text += name + "\n"
	}
	require.NoError(t, os.WriteFile("stimuli.csv", []byte(text), 0o666))
}

// The example of a plan does what it says, and Run makes the same store; that of a comparison
// leaves its scores alone.
func TestExamples(t *testing.T) {
	pictures(t)
	require.NoError(t, planWorkFinish(t.Context(), "set.plan"))
	planned, err := os.ReadFile("set.zarr/manifest.sha256")
	require.NoError(t, err)
	result, err := extraction.Run(t.Context(), &extraction.Request{
		Recipe: extraction.Recipe{Model: "timedecay_shallow", Weights: "seeded:1", Output: "run.zarr", Format: features.Zarr},
		Inputs: stimuli.Options{Inputs: []string{"stimuli.csv"}},
	}, extraction.RunOptions{})
	require.NoError(t, err)
	assert.Equal(t, 3, result.Stimuli)
	assert.Positive(t, result.InSession)
	alone, err := os.ReadFile("run.zarr/manifest.sha256")
	require.NoError(t, err)
	assert.Equal(t, string(planned), string(alone))
	assert.NoFileExists(t, "run.zarr.plan")

	rates := "stimulus_id,neuroid_id,time_bin_start,time_bin_end,rate\n"
	for i := range 3 {
		for j := range 5 {
			rates += fmt.Sprintf("%d.png,n%d,70,80,%d\n", i, j, (i*i*(j+2))%7+j)
		}
	}
	require.NoError(t, os.WriteFile("rates.csv", []byte(rates), 0o666))
	require.NoError(t, explain(t.Context(), "rates.csv"))
	compared, err := recordings.ReadResult("scores.json")
	require.NoError(t, err)
	assert.Equal(t, "timedecay_shallow", compared.Features)
	assert.NotEmpty(t, compared.FeaturesProvenance)
	assert.NoFileExists(t, "conv5.npz")
}

// deferring is a request and what it gives in a file.
func deferring(t *testing.T) (*extraction.Request, *recordings.FeatureFile, *tfconvrnn.Model) {
	pictures(t)
	request := &extraction.Request{
		Recipe: extraction.Recipe{Model: "timedecay_shallow", Weights: "seeded:1",
			Layers: []string{"conv4", "conv5", "imnetds"}, AllTimesteps: true, Output: "file.npz", Format: features.NPZ, Reductions: []string{"conv4=gap"},
			Selections: []string{"conv5,imnetds=channels(0,3-9)"}, BatchSize: 2},
		Inputs: stimuli.Options{Inputs: []string{"stimuli.csv"}},
	}
	_, err := extraction.Run(t.Context(), request, extraction.RunOptions{})
	require.NoError(t, err)
	written, err := recordings.OpenFeatures("file.npz")
	require.NoError(t, err)
	t.Cleanup(func() { written.Close() })
	model, err := request.Load(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { model.Close() })
	request.Output = "deferred.npz"
	return request, written, model
}

// Features that are computed when they are needed are those of a file, which an interruption leaves.
func TestDeferred(t *testing.T) {
	request, written, model := deferring(t)
	for _, inFile := range []bool{false, true} {
		draft, err := extraction.Prepare(t.Context(), request)
		require.NoError(t, err)
		defer draft.Close()
		if inFile { // as where memory was scarce when a call was interrupted
			require.NoError(t, os.WriteFile("deferred.npz.journal", nil, 0o666))
		}
		runs := 0
		computed, remove, err := draft.Deferred(t.Context(), model, extraction.DeferredOptions{
			Run: func(into features.Writer) error {
				runs++
				assert.Equal(t, inFile, into == nil)
				_, err := draft.Run(t.Context(), model, extraction.RunOptions{Replace: true, Writer: into})
				return err
			}})
		require.NoError(t, err)
		assert.Equal(t, written.Stimuli(), computed.Stimuli())
		assert.Zero(t, runs)
		for range 2 {
			want, err := written.Row(0, 2)
			require.NoError(t, err)
			got, err := computed.Row(0, 2)
			require.NoError(t, err)
			assert.Equal(t, want, got)
		}
		assert.Equal(t, written.Provenance(), computed.Provenance())
		assert.Equal(t, 1, runs)
		require.NoError(t, computed.Close())
		if inFile {
			assert.FileExists(t, "deferred.npz")
		}
		require.NoError(t, remove())
		assert.NoFileExists(t, "deferred.npz")
	}
	half := *request
	half.DataType = features.Float16
	draft, err := extraction.Prepare(t.Context(), &half)
	require.NoError(t, err)
	defer draft.Close()
	_, _, err = draft.Deferred(t.Context(), model, extraction.DeferredOptions{})
	assert.ErrorIs(t, err, tfconvrnn.ErrOption)
}

// Passes compute some timesteps of some layers, the bits of a file, and write nothing, also where a disk becomes full.
func TestDeferredInPasses(t *testing.T) {
	request, written, model := deferring(t)
	for _, fallsBack := range []bool{false, true} {
		draft, err := extraction.Prepare(t.Context(), request)
		require.NoError(t, err)
		defer draft.Close()
		o := extraction.DeferredOptions{Keep: extraction.KeepNowhere, Memory: 4000}
		var begun []int
		var progress, warnings []string
		o.Pass = func(p compare.Pass) extraction.RunOptions {
			begun = append(begun, p.Number)
			return extraction.RunOptions{Progress: func(n int) {
				progress = append(progress, fmt.Sprint(p.Number, ":", n))
			}}
		}
		o.Warn = func(message string) { warnings = append(warnings, message) }
		if fallsBack {
			o.Keep, o.Memory = extraction.KeepAuto, 1
			o.Run = func(into features.Writer) error {
				assert.Nil(t, into)
				for _, name := range []string{"deferred.npz.partial", "deferred.npz.journal"} {
					require.NoError(t, os.WriteFile(name, []byte("some"), 0o666))
				}
				return &extraction.KeptError{Err: features.ErrNoSpace}
			}
		}
		computed, remove, err := draft.Deferred(t.Context(), model, o)
		require.NoError(t, err)
		in, err := computed.InPasses(t.Context())
		require.NoError(t, err)
		require.True(t, in)
		assert.Equal(t, int(o.Memory/4), computed.Room())
		assert.Equal(t, written.Provenance(), computed.Provenance())
		assert.Len(t, warnings, map[bool]int{true: 1}[fallsBack])
		_, err = computed.Row(0, 0)
		assert.ErrorIs(t, err, compare.ErrData)
		for number, layers := range [][]compare.LayerBins{{{Layer: 0, Bins: []int{4, 7}}, {Layer: 2, Bins: []int{9}}},
			{{Layer: 1, Bins: []int{0, 5, 15}}}, {{Layer: 2, Bins: []int{6}}}} {
			visited := 0
			require.NoError(t, computed.Pass(t.Context(), compare.Pass{Layers: layers, Number: number + 1, Of: 3},
				func(which, stimulus int, row []float32) error {
					want, err := written.RowAt(layers[which].Layer, stimulus, layers[which].Bins)
					require.NoError(t, err)
					assert.Equal(t, want, row)
					visited++
					return nil
				}))
			assert.Equal(t, 3*len(layers), visited)
		}
		assert.Equal(t, []int{1, 2, 3}, begun)
		assert.Contains(t, progress, "3:3")
		failed := errors.New("failed")
		assert.ErrorIs(t, computed.Pass(t.Context(), compare.Pass{Layers: []compare.LayerBins{{Layer: 1, Bins: []int{5}}}},
			func(int, int, []float32) error { return failed }), failed)
		for _, bins := range [][]int{{16}, {-1}, {5, 4}, nil} {
			none := compare.Pass{Layers: []compare.LayerBins{{Layer: 1, Bins: bins}}}
			assert.ErrorIs(t, computed.Pass(t.Context(), none, func(int, int, []float32) error { return nil }),
				tfconvrnn.ErrOption)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		assert.ErrorIs(t, computed.Pass(ctx, compare.Pass{Layers: []compare.LayerBins{{Layer: 1, Bins: []int{5}}}},
			func(int, int, []float32) error { return nil }), context.Canceled)
		require.NoError(t, computed.Close())
		left, err := filepath.Glob("deferred*")
		require.NoError(t, err)
		assert.Empty(t, left)
		require.NoError(t, remove())
	}
}

// Principal components are fitted on what Run wrote, and Run takes them.
func TestFitComponents(t *testing.T) {
	pictures(t)
	request := &extraction.Request{
		Recipe: extraction.Recipe{Model: "timedecay_shallow", Weights: "seeded:1", Layers: []string{"conv5", "imnetds"},
			Output: "fit.npz", Format: features.NPZ},
		Inputs: stimuli.Options{Inputs: []string{"stimuli.csv"}},
	}
	_, err := extraction.Run(t.Context(), request, extraction.RunOptions{})
	require.NoError(t, err)
	var notes []string
	c := extraction.ComponentsRequest{Features: "fit.npz", Output: "components.npz", Components: 1000,
		Note: func(message string) { notes = append(notes, message) }}
	fitted, err := extraction.FitComponents(t.Context(), c)
	require.NoError(t, err)
	require.Len(t, fitted, 1)
	assert.Equal(t, "conv5", fitted[0].Layer)
	assert.Less(t, fitted[0].Components, fitted[0].FittedOn)
	assert.InDelta(t, 1, fitted[0].Explained, 1e-6)
	assert.Len(t, notes, 2, "imnetds has 1000 units, and conv5 fewer rows than components")
	_, err = extraction.FitComponents(t.Context(), c)
	assert.ErrorIs(t, err, features.ErrExists)
	late := 5000.0
	c.From = &late
	_, err = extraction.FitComponents(t.Context(), c)
	assert.ErrorIs(t, err, extraction.ErrReduction)

	request.Layers, request.Output, request.Reductions = []string{"conv5"}, "small.npz", []string{"pca(components.npz,2)"}
	result, err := extraction.Run(t.Context(), request, extraction.RunOptions{})
	require.NoError(t, err)
	assert.Contains(t, result.Layers[0].Reduction, "pca(2,sha256:")
}
