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
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// The example of a plan does what it says, and Run makes the same store.
func TestExamples(t *testing.T) {
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
}
