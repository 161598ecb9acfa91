package tfconvrnn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// relativeError is the largest difference, relative to the RMS of want.
func relativeError(want, got []float32) float64 {
	if len(want) != len(got) || len(want) == 0 {
		return math.Inf(1)
	}
	var squares, largest float64
	for i, w := range want {
		d := math.Abs(float64(w) - float64(got[i]))
		if math.IsNaN(d) {
			return math.NaN()
		}
		largest = max(largest, d)
		squares += float64(w) * float64(w)
	}
	if largest == 0 {
		return 0
	}
	return largest / math.Sqrt(squares/float64(len(want)))
}

// randomPresentation returns any presentation of at most times timesteps.
func randomPresentation(random *rand.Rand, times int) Presentation {
	n := 1 + random.IntN(times)
	var p Presentation
	switch random.IntN(7) {
	case 0:
		p = Default()
	case 1:
		p = Neural()
	case 2:
		p = Constant(n)
	case 3:
		p = Custom(n, []int{0, 1, n, random.IntN(n + 1)}[random.IntN(4)])
	case 4:
		var episodes []Episode
		for on := random.IntN(n); on < n; {
			off := on + random.IntN(n-on) + 1
			episodes = append(episodes, Episode{on, off})
			on = off + random.IntN(3)
		}
		p = Episodes(n, episodes...)
	case 5:
		p = Sequence(n, 1+random.IntN(3))
	case 6:
		a := random.IntN(n)
		p = Sequence(n, 1+random.IntN(3)).WithEpisodes(Episode{a, a + random.IntN(n-a) + 1})
	}
	switch random.IntN(4) {
	case 0:
		blank, _ := ColorBlank(random.Float64(), random.Float64(), random.Float64())
		p = p.WithBlank(blank)
	case 1:
		p = p.WithBlank(ImageBlank("noise", noise(random)))
	}
	return p
}

func noise(random *rand.Rand) *Image {
	pixels := make([]uint8, imageValues)
	tint := random.IntN(200)
	for i := range pixels {
		pixels[i] = uint8(tint + random.IntN(56))
	}
	return LazyImage(func() ([]uint8, error) { return pixels, nil })
}

// TestVariantsAgree compares the variants on random presentations of random stimuli, which
// share frames: every layer at every timestep, and the logits. TFCONVRNN_LONG adds
// intermediate models and TFCONVRNN_TRIALS sets the number of presentations of each.
func TestVariantsAgree(t *testing.T) {
	models := []string{"timedecay_shallow", "rgc_shallow", "simplernn_shallow"}
	if os.Getenv("TFCONVRNN_LONG") != "" {
		models = append(models, "ugrnn_intermediate", "rgc_intermediate", "lstm_intermediate", "gru_intermediate",
			"lstm_shallow",
			"intersectionrnn_shallow", "ugrnn_intermediate_t30_dthresh", "rgc_intermediate_tmaxconf")
	}
	trials := 4
	if n, err := strconv.Atoi(os.Getenv("TFCONVRNN_TRIALS")); err == nil {
		trials = n
	}
	for _, name := range models {
		t.Run(name, func(t *testing.T) {
			plain, lightCone := loadTest(t, name, WithVariant("plain")), loadTest(t, name)
			random := rand.New(rand.NewPCG(uint64(len(name)), uint64(trials)))
			worst, values := 0.0, 0
			for range trials {
				p := randomPresentation(random, 30)
				images := []*Image{noise(random), noise(random), noise(random)}
				stimuli := make([]Stimulus, 1+random.IntN(3))
				for i := range stimuli {
					stimuli[i].ID = fmt.Sprint(i)
					for range 1 + random.IntN(4) {
						stimuli[i].Frames = append(stimuli[i].Frames, images[random.IntN(len(images))])
					}
				}
				options := []ExtractOption{WithPresentation(p), AllTimesteps(), BatchSize(1 + random.IntN(3))}
				if p.Times(plain.Info()) > 11 || plain.Info().Decoder == "last" {
					options = append(options, Logits())
				}
				want, err := plain.Extract(t.Context(), stimuli, options...)
				require.NoError(t, err, p)
				got, err := lightCone.Extract(t.Context(), stimuli, options...)
				require.NoError(t, err, p)
				tolerance := goldenFile{model: name}.tolerance(want.Provenance.Times)
				for i, layer := range want.Layers {
					for n := range stimuli {
						for _, time := range layer.Timesteps {
							e := relativeError(layer.At(n, time), got.Layers[i].At(n, time))
							if !(e <= tolerance) {
								t.Fatalf("%s of stimulus %d at t=%d differs by %.2e of its RMS: %s", layer.Name, n, time, e, p)
							}
							worst = max(worst, e)
							values += layer.Size()
						}
					}
				}
				if want.Logits != nil {
					for n := range stimuli {
						e := relativeError(want.Logits[n*Classes:(n+1)*Classes], got.Logits[n*Classes:(n+1)*Classes])
						if !(e <= tolerance) {
							t.Fatalf("the logits of stimulus %d differ by %.2e of their RMS: %s", n, e, p)
						}
						worst = max(worst, e)
					}
				}
			}
			require.NotZero(t, values)
			t.Logf("%d presentations, %d values: the largest difference is %.1e of the RMS", trials, values, worst)
		})
	}
}
