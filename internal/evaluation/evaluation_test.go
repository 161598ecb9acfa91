package evaluation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"iter"
	"math"
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

func TestWilson(t *testing.T) {
	// Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
	for _, test := range []struct {
		correct, images int
		low, high       float64
	}{{81, 263, 25.53, 36.62}, {15, 148, 6.24, 16.05}, {0, 20, 0, 16.11}, {1, 29, 0.61, 17.18}} {
		p := NewProportion(test.correct, test.images)
		assert.InDelta(t, test.low, p.Low, 0.005, "%d of %d", test.correct, test.images)
		assert.InDelta(t, test.high, p.High, 0.005, "%d of %d", test.correct, test.images)
		assert.InDelta(t, 100*float64(test.correct)/float64(test.images), p.Percent, 1e-12)
		mirrored := NewProportion(test.images-test.correct, test.images)
		assert.InDelta(t, 100-p.High, mirrored.Low, 1e-9)
	}
	assert.Equal(t, Proportion{High: 100}, NewProportion(0, 0))
}

func TestRank(t *testing.T) {
	values := []float32{1, 3, 3, float32(math.NaN()), 5}
	for label, want := range []int{3, 1, 2} {
		assert.Equal(t, want, rank(values, label))
	}
	assert.Equal(t, 0, rank(values, 4))
}

// guesser predicts outputs that a function chooses.
type guesser struct {
	times  int
	output func(label, index, timestep int) int // timestep -1: decoded
	fail   func(index int) error
	stop   int // error after so many, if not 0
	seen   int
}

func (g *guesser) Timesteps() []Timestep {
	var list []Timestep
	for t := range g.times {
		list = append(list, Timestep{t, 10 * t, t > 2})
	}
	return list
}

func (g *guesser) Describe() string { return "guesser" }

var errStopped = errors.New("stopped")

func (g *guesser) Predict(_ context.Context, pictures iter.Seq[Picture], sink func(Prediction) error) error {
	n := 0
	for p := range pictures {
		if g.stop != 0 && n == g.stop {
			return errStopped
		}
		var index int
		if _, err := fmt.Sscanf(filepath.Base(p.ID), "%d", &index); err != nil {
			return err
		}
		prediction := Prediction{Readout: make([]float32, g.times*imagenet.Classes), Logits: make([]float32, imagenet.Classes)}
		if g.fail != nil {
			prediction.Failed = g.fail(index)
		}
		prediction.Logits[g.output(p.Label, index, -1)] = 1
		for t := range g.times {
			prediction.Readout[t*imagenet.Classes+g.output(p.Label, index, t)] = 1
		}
		if err := sink(prediction); err != nil {
			return err
		}
		n++
		g.seen++
	}
	return nil
}

// pictures returns n pictures with labels that go round.
func pictures(n int) *Set {
	set := &Set{Order: WordNetOrder()}
	for i := range n {
		label := 10 + i%500 // above the five that ties favour
		set.Pictures = append(set.Pictures, Picture{fmt.Sprintf("%s/%d.png", set.Order.Class(label).WordNetID, i), "", label})
	}
	return set
}

func TestRunCountsExactly(t *testing.T) {
	// Wrong for every tenth picture; at timestep t right for every (5-t)th.
	right := func(label, index, timestep int) int {
		if timestep < 0 && index%10 != 0 || timestep >= 0 && index%(5-timestep) == 0 {
			return label
		}
		return (label + 500) % 1000
	}
	g := &guesser{times: 4, output: right, fail: func(index int) error {
		if index == 7 {
			return errors.New("damaged")
		}
		return nil
	}}
	last := 0
	result, err := Run(t.Context(), pictures(5000), g, Options{Progress: func(done, total int) {
		assert.Equal(t, 5000, total)
		last = done
	}})
	require.NoError(t, err)
	assert.Equal(t, 5000, last)
	assert.Equal(t, 4999, result.Images)
	assert.Equal(t, []FailedPicture{{"n01580077/7.png", "damaged"}}, result.Failed)
	assert.Equal(t, NewProportion(4499, 4999), result.Decoded.Top1)
	assert.Equal(t, NewProportion(4499, 4999), result.Decoded.Top5)
	require.Len(t, result.OverTime, 4)
	for i, want := range []int{1000, 1250, 1667, 2500} {
		assert.Equal(t, want, result.OverTime[i].Top1.Correct, "timestep %d", i)
		assert.Equal(t, 10*i, result.OverTime[i].Milliseconds)
	}
	require.Len(t, result.Classes, 500)
	assert.Equal(t, 10, result.Classes[0].Index)
	assert.Equal(t, 10, result.Classes[0].Top1.Images)
	assert.False(t, result.AtChance)
	assert.Empty(t, result.Verdict())

	var table bytes.Buffer
	require.NoError(t, result.WriteClasses(&table))
	lines := strings.Split(strings.TrimSpace(table.String()), "\n")
	require.Len(t, lines, 501)
	assert.Equal(t, "10,n01530575,brambling,10,0.00,0.00,27.75,0.00,0.00,27.75", lines[1])

	var picture bytes.Buffer
	require.NoError(t, result.Plot(&picture, "guesser", 72, 90))
	decoded, err := png.Decode(&picture)
	require.NoError(t, err)
	assert.Greater(t, decoded.Bounds().Dx(), 400)
}

func TestVerdict(t *testing.T) {
	// A model that is right in another order.
	shifted := &guesser{times: 1, output: func(label, _, _ int) int { return (label + 17) % 1000 }}
	result, err := Run(t.Context(), pictures(5000), shifted, Options{})
	require.NoError(t, err)
	assert.True(t, result.AtChance)
	assert.InDelta(t, 100, result.Reordered, 1e-9)
	assert.Contains(t, result.Verdict(), "at chance level (0.1 %) under the assumed order of classes (sorted WordNet ids)")
	assert.Contains(t, result.Verdict(), "--class-order")

	// One that tells nothing apart.
	constant := &guesser{times: 1, output: func(int, int, int) int { return 900 }}
	result, err = Run(t.Context(), pictures(5000), constant, Options{})
	require.NoError(t, err)
	assert.True(t, result.AtChance)
	assert.NotContains(t, result.Verdict(), "--class-order")

	result, err = Run(t.Context(), pictures(10), constant, Options{})
	require.NoError(t, err)
	assert.Contains(t, result.Verdict(), "so few pictures (10)")

	failing := &guesser{times: 1, output: constant.output, fail: func(int) error { return errors.New("x") }}
	result, err = Run(t.Context(), pictures(10), failing, Options{})
	require.NoError(t, err)
	assert.Contains(t, result.Verdict(), "no picture")
	_, err = Run(t.Context(), &Set{Order: WordNetOrder()}, constant, Options{})
	assert.ErrorIs(t, err, ErrSet)
}

func TestRecordsAreResumed(t *testing.T) {
	set := pictures(300)
	right := func(label, index, _ int) int { return (label + index%3) % 1000 }
	fail := func(index int) error {
		if index == 150 {
			return errors.New("two\nlines, and a comma")
		}
		return nil
	}
	want, err := Run(t.Context(), set, &guesser{times: 3, output: right, fail: fail}, Options{})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "records.csv")
	stopped := &guesser{times: 3, output: right, fail: fail, stop: 200}
	_, err = Run(t.Context(), set, stopped, Options{Records: path})
	assert.ErrorIs(t, err, errStopped)

	// Cut at any byte, as by a kill, it goes on with what is whole.
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	cuts := []int{0, 1, 5, len(data) - 1, len(data)}
	for range 30 {
		cuts = append(cuts, random.IntN(len(data)))
	}
	for _, cut := range cuts {
		require.NoError(t, os.WriteFile(path, data[:cut], 0o644))
		g := &guesser{times: 3, output: right, fail: fail}
		got, err := Run(t.Context(), set, g, Options{Records: path})
		require.NoError(t, err, "cut at %d of %d", cut, len(data))
		assert.Equal(t, 300, got.Resumed+g.seen)
		if cut == len(data) {
			assert.Equal(t, 200, got.Resumed)
		}
		got.Resumed = 0
		if len(want.Failed) > 0 {
			want.Failed[0].Error = got.Failed[0].Error // on one line in the file
		}
		assert.Equal(t, want, got)
	}
	// All done: nothing is run.
	g := &guesser{times: 3, output: right}
	got, err := Run(t.Context(), set.Limit(50), g, Options{Records: path})
	require.NoError(t, err)
	assert.Zero(t, g.seen)
	assert.Equal(t, 50, got.Resumed)

	_, err = Run(t.Context(), set, &guesser{times: 4, output: right}, Options{Records: path})
	assert.ErrorIs(t, err, ErrRecords)
	other := pictures(300)
	other.Pictures[3].Label++
	_, err = Run(t.Context(), other, g, Options{Records: path})
	assert.ErrorIs(t, err, ErrRecords)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, bad := range []string{"picture\n", strings.Replace(string(whole), ",0,", ",x,", 1), string(whole) + "a,b\n", string(whole) + "a,1,1,1,5,\n", string(whole) + "a,1,1,1000,5 5 5,\n"} {
		require.NoError(t, os.WriteFile(path, []byte(bad), 0o644))
		_, err = Run(t.Context(), set, g, Options{Records: path})
		assert.ErrorIs(t, err, ErrRecords, bad[:min(50, len(bad))])
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, bad, string(after), "it is left as it is")
	}
}

func write(t testing.TB, path, text string) string {
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

func TestFolders(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"n01443537/b.JPEG", "n01443537/a.png", "n01440764/deep/c.jpg", "n01440764/.hidden.png", "n01440764/notes.txt", ".git/x.png"} {
		write(t, filepath.Join(dir, name), "")
	}
	set, err := Folders(dir, WordNetOrder())
	require.NoError(t, err)
	var got []string
	for _, p := range set.Pictures {
		got = append(got, fmt.Sprint(p.ID, " ", p.Label))
	}
	assert.Equal(t, []string{"n01440764/deep/c.jpg 0", "n01443537/a.png 1", "n01443537/b.JPEG 1"}, got)
	write(t, filepath.Join(dir, "n99999999", "x.png"), "")
	_, err = Folders(dir, WordNetOrder())
	assert.ErrorIs(t, err, ErrSet)
	assert.ErrorContains(t, err, "n99999999")
	_, err = Folders(t.TempDir(), WordNetOrder())
	assert.ErrorIs(t, err, ErrSet)
	_, err = Folders(filepath.Join(dir, "none"), WordNetOrder())
	assert.ErrorIs(t, err, ErrSet)
}

func TestLabels(t *testing.T) {
	dir := t.TempDir()
	list := write(t, filepath.Join(dir, "list.csv"), "path,label\r\na b.png,n01443537\n\"sub/c.png\",\"999\"\n/abs/d.png\t7\n\n")
	set, err := Labels(list, "", WordNetOrder())
	require.NoError(t, err)
	assert.Equal(t, []Picture{{"a b.png", filepath.Join(dir, "a b.png"), 1}, {"sub/c.png", filepath.Join(dir, "sub", "c.png"), 999}, {"/abs/d.png", "/abs/d.png", 7}}, set.Pictures)
	set, err = Labels(list, "/pictures", WordNetOrder())
	require.NoError(t, err)
	assert.Equal(t, "/pictures/a b.png", set.Pictures[0].File)
	for _, bad := range []string{"", "path,label\n", "a,1\nb,x\n", "a,1\nb,1000\n", "a,1\nb,-1\n", "a,1\n5\n", "a,1\na,2\n", strings.Repeat("x", 100000)} {
		_, err = Labels(write(t, list, bad), "", WordNetOrder())
		assert.ErrorIs(t, err, ErrSet, "%.20q", bad)
	}
	_, err = Labels(dir, "", WordNetOrder())
	assert.ErrorIs(t, err, ErrSet)
}

func TestOrder(t *testing.T) {
	dir := t.TempDir()
	var reversed strings.Builder
	for i := range imagenet.Classes {
		fmt.Fprintf(&reversed, "%s some name\n", imagenet.At(imagenet.Classes-1-i).WordNetID)
	}
	order, err := ReadOrder(write(t, filepath.Join(dir, "order.txt"), reversed.String()))
	require.NoError(t, err)
	assert.Equal(t, "order.txt", order.Name)
	output, ok := order.output("n01440764")
	assert.True(t, ok)
	assert.Equal(t, 999, output)
	assert.Equal(t, "n01440764", order.Class(999).WordNetID)
	assert.NotEqual(t, WordNetOrder().hash(), order.hash())
	for _, bad := range []string{"", "n01440764\n", "x\n", reversed.String() + "n01440764\n"} {
		_, err = ReadOrder(write(t, filepath.Join(dir, "bad.txt"), bad))
		assert.ErrorIs(t, err, ErrOrder)
	}
}

func TestLimit(t *testing.T) {
	set := pictures(1000)
	limited := set.Limit(10)
	require.Len(t, limited.Pictures, 10)
	assert.Equal(t, set.Pictures[900], limited.Pictures[9], "spread evenly")
	assert.Same(t, set, set.Limit(0))
	assert.Same(t, set, set.Limit(1000))
}

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
			features, err := m.Extract(t.Context(), stimuli, tfconvrnn.Layers("imnetds"), tfconvrnn.AllTimesteps(), tfconvrnn.Logits())
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
			set, err := Labels(write(t, filepath.Join(t.TempDir(), "labels.csv"), list.String()), dir, WordNetOrder())
			require.NoError(t, err)
			predictor, err := ModelPredictor(m, tfconvrnn.Preprocessing{}, true, tfconvrnn.BatchSize(7))
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
					if rank(features.Layers[0].At(i, step), labels[i]) == 0 {
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
	set, err := Folders(dir, WordNetOrder())
	require.NoError(t, err)
	m, err := tfconvrnn.Load("timedecay_shallow", tfconvrnn.WithWeights("seeded:1"), tfconvrnn.WithStore(t.TempDir()))
	require.NoError(t, err)
	defer m.Close()
	predictor, err := ModelPredictor(m, tfconvrnn.Preprocessing{}, true)
	require.NoError(t, err)
	result, err := Run(t.Context(), set, predictor, Options{})
	require.NoError(t, err)
	assert.Equal(t, 1, result.Images)
	require.Len(t, result.Failed, 1)
	assert.Equal(t, "n01440764/bad.png", result.Failed[0].ID)
	predictor, err = ModelPredictor(m, tfconvrnn.Preprocessing{}, false)
	require.NoError(t, err)
	_, err = Run(t.Context(), set, predictor, Options{})
	assert.ErrorIs(t, err, tfconvrnn.ErrUnreadable)
}
