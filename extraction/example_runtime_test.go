package extraction_test

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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

// Features that are computed when they are needed are those of a file, which an interruption leaves.
func TestDeferred(t *testing.T) {
	pictures(t)
	request := &extraction.Request{
		Recipe: extraction.Recipe{Model: "timedecay_shallow", Weights: "seeded:1", Layers: []string{"conv5"},
			AllTimesteps: true, Output: "file.npz", Format: features.NPZ},
		Inputs: stimuli.Options{Inputs: []string{"stimuli.csv"}},
	}
	_, err := extraction.Run(t.Context(), request, extraction.RunOptions{})
	require.NoError(t, err)
	written, err := recordings.OpenFeatures("file.npz")
	require.NoError(t, err)
	defer written.Close()
	model, err := request.Load(t.Context())
	require.NoError(t, err)
	defer model.Close()
	for _, inFile := range []bool{false, true} {
		request.Output = "deferred.npz"
		draft, err := extraction.Prepare(t.Context(), request)
		require.NoError(t, err)
		defer draft.Close()
		if inFile { // as where memory was scarce when a call was interrupted
			require.NoError(t, os.WriteFile("deferred.npz.journal", nil, 0o666))
		}
		runs := 0
		computed, remove, err := draft.Deferred(t.Context(), model, func(into features.Writer) error {
			runs++
			assert.Equal(t, inFile, into == nil)
			_, err := draft.Run(t.Context(), model, extraction.RunOptions{Replace: true, Writer: into})
			return err
		})
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
		assert.Equal(t, 1, runs)
		require.NoError(t, computed.Close())
		if inFile {
			assert.FileExists(t, "deferred.npz")
		}
		require.NoError(t, remove())
		assert.NoFileExists(t, "deferred.npz")
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
