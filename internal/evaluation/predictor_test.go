package evaluation

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/imagenet"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// TestSyntheticTask has a model label pictures itself, makes a known part of the
// labels wrong, and finds that part again.
func TestSyntheticTask(t *testing.T) {
	if err := tfconvrnn.RuntimeError(); err != nil {
		if os.Getenv("TFCONVRNN_REQUIRE_RUNTIME") != "" {
			t.Fatal(err)
		}
		t.Skipf("needs libtensorflow: %v", err)
	}
	const count, wrong = 40, 12
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(40, 12))
	var files []string
	for i := range count {
		files = append(files, fmt.Sprintf("%02d.png", i))
		writePicture(t, filepath.Join(dir, files[i]), random)
	}
	for _, name := range []string{"timedecay_shallow", "rgc_intermediate_dthresh"} {
		t.Run(name, func(t *testing.T) {
			m, err := tfconvrnn.Load(name, tfconvrnn.WithWeights("seeded:1"), tfconvrnn.WithStore(t.TempDir()))
			require.NoError(t, err)
			defer m.Close()
			n, errors := count, wrong
			if strings.Contains(name, "intermediate") {
				n, errors = 6, 2
			}
			stimuli, err := tfconvrnn.ReadImages(paths(dir, files[:n])...)
			require.NoError(t, err)
			features, err := m.Extract(t.Context(), stimuli, tfconvrnn.Layers("imnetds"), tfconvrnn.AllTimesteps(),
				tfconvrnn.Logits())
			require.NoError(t, err)
			var list strings.Builder
			labels := make([]int, n)
			isWrong := map[int]bool{}
			for _, i := range random.Perm(n)[:errors] {
				isWrong[i] = true
			}
			for i := range n {
				logits := features.Logits[i*1000 : (i+1)*1000]
				for c, v := range logits {
					if v > logits[labels[i]] {
						labels[i] = c
					}
				}
				if isWrong[i] { // the least likely class
					for c, v := range logits {
						if v < logits[labels[i]] {
							labels[i] = c
						}
					}
				}
				fmt.Fprintf(&list, "%s,%s\n", files[i], imagenet.At(labels[i]).WordNetID)
			}
			set, err := Labels(t.Context(), write(t, filepath.Join(t.TempDir(), "labels.csv"), list.String()), dir,
				WordNetOrder(), false)
			require.NoError(t, err)
			predictor, err := NewModelPredictor(m, tfconvrnn.Preprocessing{}, true, tfconvrnn.BatchSize(7))
			require.NoError(t, err)
			result, err := Run(t.Context(), set, predictor, Options{Records: filepath.Join(t.TempDir(), "records.csv")})
			require.NoError(t, err)
			assert.Equal(t, NewProportion(n-errors, n), result.Decoded.Top1)
			assert.Equal(t, NewProportion(n-errors, n), result.Decoded.Top5)
			assert.LessOrEqual(t, result.Decoded.Top1.Low, 100-100*float64(errors)/float64(n))
			assert.False(t, result.AtChance)

			// The readout at every timestep, counted from the extracted trajectories.
			times := m.Info().Default.Times
			require.Len(t, result.OverTime, times)
			for step := range times {
				top1 := 0
				for i := range n {
					if rank(features.Layers[0].At(i, step), labels[i], nil) == 0 {
						top1++
					}
				}
				assert.Equal(t, top1, result.OverTime[step].Top1.Correct, "timestep %d", step)
			}
			t.Logf("%s: top-1 %+v, %d classes", name, result.Decoded.Top1, len(result.Classes))
		})
	}
}

func paths(dir string, names []string) []string {
	var list []string
	for _, name := range names {
		list = append(list, filepath.Join(dir, name))
	}
	return list
}

// writePicture writes a picture of random rectangles.
func writePicture(t testing.TB, path string, random *rand.Rand) {
	img := image.NewRGBA(image.Rect(0, 0, 256, 256))
	for range 12 {
		fill := color.RGBA{uint8(random.IntN(256)), uint8(random.IntN(256)), uint8(random.IntN(256)), 255}
		x0, y0 := random.IntN(256), random.IntN(256)
		for y := y0; y < min(256, y0+20+random.IntN(150)); y++ {
			for x := x0; x < min(256, x0+120); x++ {
				img.SetRGBA(x, y, fill)
			}
		}
	}
	var buffer bytes.Buffer
	require.NoError(t, png.Encode(&buffer, img))
	require.NoError(t, os.WriteFile(path, buffer.Bytes(), 0o644))
}

func TestUnreadablePictures(t *testing.T) {
	if err := tfconvrnn.RuntimeError(); err != nil {
		if os.Getenv("TFCONVRNN_REQUIRE_RUNTIME") != "" {
			t.Fatal(err)
		}
		t.Skipf("needs libtensorflow: %v", err)
	}
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(1, 1))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "n01440764"), 0o755))
	writePicture(t, filepath.Join(dir, "n01440764", "good.png"), random)
	write(t, filepath.Join(dir, "n01440764", "bad.png"), "\x89PNG\r\n\x1a\nand no more")
	set, err := Folders(t.Context(), dir, WordNetOrder())
	require.NoError(t, err)
	m, err := tfconvrnn.Load("timedecay_shallow", tfconvrnn.WithWeights("seeded:1"), tfconvrnn.WithStore(t.TempDir()))
	require.NoError(t, err)
	defer m.Close()
	predictor, err := NewModelPredictor(m, tfconvrnn.Preprocessing{}, true)
	require.NoError(t, err)
	result, err := Run(t.Context(), set, predictor, Options{})
	require.NoError(t, err)
	assert.Equal(t, 1, result.Images)
	require.Len(t, result.Failed, 1)
	assert.Equal(t, "n01440764/bad.png", result.Failed[0].ID)
	predictor, err = NewModelPredictor(m, tfconvrnn.Preprocessing{}, false)
	require.NoError(t, err)
	_, err = Run(t.Context(), set, predictor, Options{})
	assert.ErrorIs(t, err, tfconvrnn.ErrUnreadable)

	// Another blank of the same name is another presentation, and so is another version.
	describe := func(grey uint8) string {
		pixels := make([]uint8, 224*224*3)
		for i := range pixels {
			pixels[i] = grey
		}
		stimuli, err := tfconvrnn.FromUint8(pixels)
		require.NoError(t, err)
		blank := tfconvrnn.ImageBlank("image(blank.png)", stimuli[0].Frames[0])
		p, err := NewModelPredictor(m, tfconvrnn.Preprocessing{}, false,
			tfconvrnn.WithPresentation(tfconvrnn.Default().WithBlank(blank)))
		require.NoError(t, err)
		return p.Describe()
	}
	assert.Equal(t, describe(1), describe(1))
	assert.NotEqual(t, describe(1), describe(2))
	assert.Equal(t, "timedecay_shallow", predictor.Provenance().Model)
	assert.NotEmpty(t, predictor.Provenance().Presentation)
	_, err = NewModelPredictor(m, tfconvrnn.Preprocessing{}, false, tfconvrnn.BatchSize(-1))
	assert.ErrorIs(t, err, tfconvrnn.ErrOption)
}
