package evaluation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"iter"
	"math"
	"os"
	"path/filepath"
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
		prediction := Prediction{Driven: true, Readout: make([]float32, g.times*imagenet.Classes),
			Logits: make([]float32, imagenet.Classes)}
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
	assert.Contains(t, result.Verdict(), "the order is probably wrong")
	assert.True(t, result.OrderDoubtful())

	// A model that gives every picture the same class.
	constant := &guesser{times: 1, output: func(int, int, int) int { return 900 }}
	result, err = Run(t.Context(), pictures(5000), constant, Options{})
	require.NoError(t, err)
	assert.True(t, result.AtChance)
	assert.NotContains(t, result.Verdict(), "the order is probably wrong")
	assert.False(t, result.OrderDoubtful())

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
	few, err := ReadClasses(t.Context(), write(t, filepath.Join(dir, "few.txt"), "n01440764 tench\nn01530575 brambling\n"),
		order)
	require.NoError(t, err)
	assert.Equal(t, []int{0, 10}, few)
	_, err = set.ChooseAmong(few)
	assert.ErrorIs(t, err, ErrSet)
	_, err = set.ChooseAmong([]int{3, 3})
	assert.ErrorIs(t, err, ErrSet)
	for _, bad := range []string{"tench\n", "n01440764\nn01440764\n"} {
		_, err = ReadClasses(t.Context(), write(t, filepath.Join(dir, "bad.txt"), bad), order)
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
		{"max_conf", 20, 15, 14, false}, {"max_conf", 20, 15, 15, true}, {"thresh", 20, 15, 11, false},
		{"thresh", 20, 15, 19, true},
	} {
		list, readout := steps(test.times, test.drivenFrom)
		got := DecodedDriven(test.decoder, list, readout,
			readout[test.taken*imagenet.Classes:(test.taken+1)*imagenet.Classes])
		assert.Equal(t, test.want, got, "%+v", test)
	}
}

func TestNoPictureReadable(t *testing.T) {
	g := &guesser{times: 1, output: func(label, _, _ int) int { return label }, fail: func(int) error {
		return errors.New("x")
	}}
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
	order, err := ReadOrder(t.Context(), write(t, filepath.Join(dir, "order.txt"), reversed.String()))
	require.NoError(t, err)
	assert.Equal(t, "order.txt", order.Name)
	output, ok := order.output("n01440764")
	assert.True(t, ok)
	assert.Equal(t, 999, output)
	assert.Equal(t, "n01440764", order.Class(999).WordNetID)
	assert.NotEqual(t, WordNetOrder().hash(), order.hash())
	for _, bad := range []string{"", "n01440764\n", "x\n", reversed.String() + "n01440764\n"} {
		_, err = ReadOrder(t.Context(), write(t, filepath.Join(dir, "bad.txt"), bad))
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
