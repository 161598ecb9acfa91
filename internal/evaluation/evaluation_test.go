package evaluation

import (
	"bytes"
	"context"
	"encoding/json"
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
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/imagenet"
	"github.com/tfconvrnn/go/savedmodels"
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
	values := []float32{1, 3, 3, 0, 5}
	for label, want := range []int{3, 1, 2} {
		assert.Equal(t, want, rank(values, label, nil))
	}
	assert.Equal(t, 0, rank(values, 4, nil))
	for label, want := range map[int]int{0: 2, 1: 0, 2: 1} {
		assert.Equal(t, want, rank(values, label, []int{0, 1, 2}))
	}
	assert.Equal(t, 4, likeliest(values, nil))
	assert.Equal(t, 1, likeliest(values, []int{0, 1, 2}), "the first of equal ones")
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
		prediction := Prediction{Driven: true, Readout: make([]float32, g.times*imagenet.Classes), Logits: make([]float32, imagenet.Classes)}
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
	set := filed(t, pictures(300))
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
			assert.Equal(t, 199, got.Resumed)
			assert.Equal(t, 1, got.Retried, "the damaged one is tried again")
		}
		got.Resumed, got.Retried = 0, 0
		if len(want.Failed) > 0 {
			want.Failed[0].Error = got.Failed[0].Error // on one line in the file
		}
		assert.Equal(t, want, got)
	}
	// All done: nothing is run but what failed.
	g := &guesser{times: 3, output: right}
	got, err := Run(t.Context(), set.Limit(50), g, Options{Records: path})
	require.NoError(t, err)
	assert.Equal(t, 1, g.seen)
	assert.Equal(t, 49, got.Resumed)
	assert.Equal(t, 50, got.Images)
	g.seen = 0
	got, err = Run(t.Context(), set.Limit(50), g, Options{Records: path})
	require.NoError(t, err)
	assert.Zero(t, g.seen)
	assert.Equal(t, 50, got.Resumed)

	_, err = Run(t.Context(), set, &guesser{times: 4, output: right}, Options{Records: path})
	assert.ErrorIs(t, err, ErrRecords)
	other := &Set{Order: set.Order, Pictures: slices.Clone(set.Pictures)}
	other.Pictures[3].Label++
	_, err = Run(t.Context(), other, g, Options{Records: path})
	assert.ErrorIs(t, err, ErrRecords)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, bad := range []string{"picture\n", strings.Replace(string(whole), ",0,", ",x,", 1), string(whole) + "a,b\n", string(whole) + "a,,1,1,1,5,1,\n", string(whole) + "a,,1,1,1000,5 5 5,1,\n"} {
		require.NoError(t, os.WriteFile(path, []byte(bad), 0o644))
		_, err = Run(t.Context(), set, g, Options{Records: path})
		assert.ErrorIs(t, err, ErrRecords, bad[:min(50, len(bad))])
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, bad, string(after), "it is left as it is")
	}
}

// filed gives the pictures of a set files, which hold their ids.
func filed(t testing.TB, set *Set) *Set {
	dir := t.TempDir()
	for i := range set.Pictures {
		p := &set.Pictures[i]
		p.File = write(t, filepath.Join(dir, p.ID), p.ID)
	}
	return set
}

// A file of records is bound to what pictures hold: others of the same names are run.
func TestRecordsAreOfContents(t *testing.T) {
	set := filed(t, pictures(40))
	path := filepath.Join(t.TempDir(), "records.csv")
	wrong := func(label, _, _ int) int { return (label + 1) % 1000 }
	right := func(label, _, _ int) int { return label }
	result, err := Run(t.Context(), set, &guesser{times: 1, output: wrong}, Options{Records: path})
	require.NoError(t, err)
	assert.Zero(t, result.Decoded.Top1.Correct)
	for _, p := range set.Pictures[:10] {
		write(t, p.File, "another picture")
	}
	g := &guesser{times: 1, output: right}
	result, err = Run(t.Context(), set, g, Options{Records: path})
	require.NoError(t, err)
	assert.Equal(t, 10, g.seen)
	assert.Equal(t, 10, result.Changed)
	assert.Equal(t, 30, result.Resumed)
	assert.Equal(t, NewProportion(10, 40), result.Decoded.Top1)
	// The later line of a picture counts.
	g = &guesser{times: 1, output: wrong}
	result, err = Run(t.Context(), set, g, Options{Records: path})
	require.NoError(t, err)
	assert.Zero(t, g.seen)
	assert.Equal(t, NewProportion(10, 40), result.Decoded.Top1)

	// Another choice of classes has other ranks.
	chosen, err := set.ChooseAmong(set.Present())
	require.NoError(t, err)
	_, err = Run(t.Context(), chosen, g, Options{Records: path})
	assert.ErrorIs(t, err, ErrRecords)
	assert.ErrorContains(t, err, "another choice of classes")
	write(t, path, "# {\"format\":1,\"predictor\":\"guesser\"}\npicture,label\n")
	_, err = Run(t.Context(), set, g, Options{Records: path})
	assert.ErrorContains(t, err, "another format (1 instead of 2)")
}

func TestFailedPicturesAreRecordedOnce(t *testing.T) {
	set := filed(t, pictures(5))
	path := filepath.Join(t.TempDir(), "records.csv")
	right := func(label, _, _ int) int { return label }
	broken := func(index int) error {
		if index == 2 {
			return errors.New("damaged")
		}
		return nil
	}
	for range 3 {
		result, err := Run(t.Context(), set, &guesser{times: 1, output: right, fail: broken}, Options{Records: path})
		require.NoError(t, err)
		assert.Equal(t, 4, result.Images)
	}
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, 7, strings.Count(string(data), "\n"))
	// After its repair it counts.
	result, err := Run(t.Context(), set, &guesser{times: 1, output: right}, Options{Records: path})
	require.NoError(t, err)
	assert.Equal(t, NewProportion(5, 5), result.Decoded.Top1)
	assert.Empty(t, result.Failed)
}

// spoiler makes a value of predictions another one.
type spoiler struct {
	guesser
	value   float32
	decoded bool
}

func (s *spoiler) Predict(ctx context.Context, pictures iter.Seq[Picture], sink func(Prediction) error) error {
	return s.guesser.Predict(ctx, pictures, func(p Prediction) error {
		if s.decoded {
			p.Logits[7] = s.value
		} else {
			p.Readout[2*imagenet.Classes+7] = s.value
		}
		return sink(p)
	})
}

func TestNotFinite(t *testing.T) {
	for _, value := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		for _, decoded := range []bool{true, false} {
			s := &spoiler{guesser{times: 4, output: func(label, _, _ int) int { return label }}, float32(value), decoded}
			_, err := Run(t.Context(), pictures(3), s, Options{})
			require.ErrorIs(t, err, ErrPrediction, "%g", value)
			if assert.ErrorContains(t, err, "n01530575/0.png"); !decoded {
				assert.ErrorContains(t, err, "output 7 of the readout at timestep 2 is")
			}
		}
	}
}

func TestChoiceAmongClasses(t *testing.T) {
	// The likeliest is output 900, which no picture is of, and the label's is second;
	// for every fourth picture the next class's output is second.
	set := pictures(20)
	g := &second{}
	result, err := Run(t.Context(), set, g, Options{})
	require.NoError(t, err)
	assert.Zero(t, result.Decoded.Top1.Correct)
	assert.Equal(t, 20, result.Decoded.Top5.Correct)
	assert.Equal(t, 20, result.Present)
	assert.Equal(t, 1000, result.Among)
	assert.InDelta(t, 0.1, result.Chance(), 1e-12)

	chosen, err := set.ChooseAmong(set.Present())
	require.NoError(t, err)
	result, err = Run(t.Context(), chosen, g, Options{})
	require.NoError(t, err)
	assert.Equal(t, NewProportion(15, 20), result.Decoded.Top1)
	assert.Equal(t, NewProportion(15, 20), result.OverTime[0].Top1)
	assert.Equal(t, 20, result.Among)
	assert.InDelta(t, 5, result.Chance(), 1e-12)

	// A limit changes neither the choice nor what is there.
	result, err = Run(t.Context(), chosen.Limit(4), g, Options{})
	require.NoError(t, err)
	assert.Equal(t, 4, result.Images)
	assert.Equal(t, 20, result.Present)
	assert.Equal(t, 20, result.Among)

	dir := t.TempDir()
	order := WordNetOrder()
	few, err := ReadClasses(write(t, filepath.Join(dir, "few.txt"), "n01440764 tench\nn01530575 brambling\n"), order)
	require.NoError(t, err)
	assert.Equal(t, []int{0, 10}, few)
	_, err = set.ChooseAmong(few)
	assert.ErrorIs(t, err, ErrSet)
	_, err = set.ChooseAmong([]int{3, 3})
	assert.ErrorIs(t, err, ErrSet)
	for _, bad := range []string{"tench\n", "n01440764\nn01440764\n"} {
		_, err = ReadClasses(write(t, filepath.Join(dir, "bad.txt"), bad), order)
		assert.ErrorIs(t, err, ErrOrder)
	}
}

// second puts the label's output second, or third for every fourth picture.
type second struct{ guesser }

func (*second) Timesteps() []Timestep { return []Timestep{{0, 0, true}} }

func (*second) Predict(_ context.Context, pictures iter.Seq[Picture], sink func(Prediction) error) error {
	n := 0
	for p := range pictures {
		logits := make([]float32, imagenet.Classes)
		logits[900], logits[p.Label] = 3, 1
		if n%4 == 0 {
			logits[10+(p.Label-10+1)%20] = 2
		}
		n++
		if err := sink(Prediction{Logits: logits, Readout: logits, Driven: n > 5}); err != nil {
			return err
		}
	}
	return nil
}

func TestUndrivenIsCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.csv")
	set := filed(t, pictures(20))
	for range 2 { // the second time from the records
		result, err := Run(t.Context(), set, &second{}, Options{Records: path})
		require.NoError(t, err)
		assert.Equal(t, 5, result.Undriven)
	}
}

func TestDecodedDriven(t *testing.T) {
	steps := func(times, drivenFrom int) (list []Timestep, readout []float32) {
		for i := range times {
			list = append(list, Timestep{i, 10 * i, i >= drivenFrom})
			row := make([]float32, imagenet.Classes)
			row[i] = 1
			readout = append(readout, row...)
		}
		return list, readout
	}
	for _, test := range []struct {
		decoder                  string
		times, drivenFrom, taken int
		want                     bool
	}{
		{"last", 3, 4, 2, false}, {"last", 5, 4, 4, true}, {"last", 30, 29, 29, true},
		{"max_conf", 17, 10, 11, true}, {"max_conf", 17, 30, 12, false},
		{"max_conf", 20, 15, 14, false}, {"max_conf", 20, 15, 15, true}, {"thresh", 20, 15, 11, false}, {"thresh", 20, 15, 19, true},
	} {
		list, readout := steps(test.times, test.drivenFrom)
		got := DecodedDriven(test.decoder, list, readout, readout[test.taken*imagenet.Classes:(test.taken+1)*imagenet.Classes])
		assert.Equal(t, test.want, got, "%+v", test)
	}
}

func TestNoPictureReadable(t *testing.T) {
	g := &guesser{times: 1, output: func(label, _, _ int) int { return label }, fail: func(int) error { return errors.New("x") }}
	result, err := Run(t.Context(), pictures(3), g, Options{})
	require.NoError(t, err)
	assert.Zero(t, result.Images)
	assert.Zero(t, result.Decoded)
	assert.Empty(t, result.OverTime)
	text, err := json.Marshal(result)
	require.NoError(t, err)
	assert.NotContains(t, string(text), "percent", "no figure stands for what was not measured")
	var table bytes.Buffer
	require.NoError(t, result.WriteClasses(&table))
	assert.Contains(t, table.String(), "10,n01530575,brambling,0,,,,,,\n")
}

func TestDifferences(t *testing.T) {
	model, err := savedmodels.Lookup("rgc_intermediate")
	require.NoError(t, err)
	resolve := func(p tfconvrnn.Presentation) tfconvrnn.Presentation {
		p, err := p.Resolve(model)
		require.NoError(t, err)
		return p
	}
	whole := &Set{Order: WordNetOrder()}
	for label := range 1000 {
		for i := range 50 {
			whole.Pictures = append(whole.Pictures, Picture{fmt.Sprint(label, "/", i), "", label})
		}
	}
	usual := How{Model: model, Presentation: resolve(tfconvrnn.Default())}
	assert.Empty(t, usual.Differences(whole))
	assert.Empty(t, usual.Differences(whole.Limit(70)), "a part of the validation set")
	same := usual
	same.Presentation = resolve(tfconvrnn.Custom(17, 12))
	assert.Empty(t, same.Differences(whole), "the same in other words")

	gray, err := tfconvrnn.ColorBlank(0.5, 0.5, 0.5)
	require.NoError(t, err)
	for want, how := range map[string]How{
		"untrained":     {Untrained: true},
		"presentation":  {Presentation: resolve(tfconvrnn.Neural())},
		"rgb(0.5":       {Presentation: resolve(tfconvrnn.Default().WithBlank(gray))},
		"warp224":       {Preprocessing: tfconvrnn.Preprocessing{Name: "warp224"}},
		"upright":       {Preprocessing: tfconvrnn.Preprocessing{ApplyOrientation: true}},
		"frame":         {Presentation: resolve(tfconvrnn.Sequence(17, 1))},
		"presentation ": {Presentation: resolve(tfconvrnn.Constant(17))},
	} {
		how.Model = model
		if how.Presentation.String() == (tfconvrnn.Presentation{}).String() {
			how.Presentation = usual.Presentation
		}
		differences := how.Differences(whole)
		if assert.Len(t, differences, 1, want) {
			assert.Contains(t, differences[0], want)
		}
	}
	chosen, err := whole.ChooseAmong(whole.Present())
	require.NoError(t, err)
	assert.Empty(t, usual.Differences(chosen), "all 1000 are all")
	v2 := &Set{Order: WordNetOrder(), Pictures: nil}
	for label := range 1000 {
		for i := range 10 {
			v2.Pictures = append(v2.Pictures, Picture{fmt.Sprint(label, "/", i), "", label})
		}
	}
	assert.Len(t, usual.Differences(v2), 1)
	few, err := pictures(20).ChooseAmong(pictures(20).Present())
	require.NoError(t, err)
	assert.Len(t, usual.Differences(few), 2)
}

func write(t testing.TB, path, text string) string {
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
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
			set, err := Labels(write(t, filepath.Join(t.TempDir(), "labels.csv"), list.String()), dir, WordNetOrder(), false)
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
	set, err := Folders(dir, WordNetOrder())
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
		p, err := NewModelPredictor(m, tfconvrnn.Preprocessing{}, false, tfconvrnn.WithPresentation(tfconvrnn.Default().WithBlank(blank)))
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
