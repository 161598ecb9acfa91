package compare_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
)

// passing are features that come in passes only, of which each is noted.
type passing struct {
	compare.Features
	t      *testing.T
	room   int
	passes []compare.Pass
	fail   int // the pass that fails, half-way
}

var errFailed = errors.New("failed half-way")

func (p *passing) Identity() string { return "made up" }
func (p *passing) Row(int, int) ([]float32, error) {
	return nil, errors.New("nothing is read row by row")
}
func (p *passing) InPasses(context.Context) (bool, error) { return true, nil }
func (p *passing) Room() int                              { return p.room }
func (p *passing) Pass(_ context.Context, pass compare.Pass,
	visit func(which, stimulus int, row []float32) error) error {
	p.passes = append(p.passes, pass)
	var some []float32
	for i := range p.Stimuli() {
		if len(p.passes) == p.fail && i == len(p.Stimuli())/2 {
			return errFailed
		}
		for which, l := range pass.Layers {
			row, err := p.Features.Row(l.Layer, i)
			require.NoError(p.t, err)
			size := p.Layers()[l.Layer].Size
			some = some[:0]
			for _, b := range l.Bins {
				some = append(some, row[b*size:][:size]...)
			}
			if err := visit(which, i, some); err != nil {
				return err
			}
			for k := range some { // valid no longer
				some[k] = float32(math.NaN())
			}
		}
	}
	return nil
}

// threeLayers are made-up features of layers of unequal size, in two bins.
type threeLayers struct{ n int }

func (f threeLayers) Stimuli() (ids []string) {
	for i := range f.n {
		ids = append(ids, fmt.Sprint("s", i))
	}
	return ids
}
func (f threeLayers) Layers() (list []compare.FeatureLayer) {
	for i, size := range []int{1300, 200, 700} {
		list = append(list, compare.FeatureLayer{Name: fmt.Sprint("l", i), Bins: compare.TimestepBins(5, 6), Size: size})
	}
	return list
}
func (f threeLayers) Row(layer, stimulus int) ([]float32, error) {
	row := make([]float32, 2*f.Layers()[layer].Size)
	for i := range row {
		row[i] = float32((stimulus*stimulus*31+i*17+layer*stimulus*7)%101) - 50 + float32(i%13)/7
	}
	return row, nil
}

var wantedOfThree = []compare.Wanted{{Layer: 0, Weights: [][]float64{{1, 0}, {0, 1}, {0.5, 0.5}}},
	{Layer: 1, Weights: [][]float64{{1, 0}}}, {Layer: 2, Weights: [][]float64{{0, 1}, {1, 0}}}}

// products are all Gram matrices of features, by name, and the order in which they came.
func products(t *testing.T, cache *compare.GramCache, f compare.Features, stimuli []int) (map[string][]float64,
	[]string) {
	t.Helper()
	all, order := map[string][]float64{}, []string(nil)
	require.NoError(t, cache.EachGram(t.Context(), f, stimuli, wantedOfThree, func(w, i int, g *compare.Gram) error {
		name := fmt.Sprint(w, " ", i)
		all[name], order = compare.Products(g), append(order, name)
		return nil
	}))
	return all, order
}

// Features that come in passes give the same bits as those that are read, whatever there is room for: several layers at
// once, or only some features of one.
func TestGramsInPasses(t *testing.T) {
	f := threeLayers{30}
	stimuli := []int{4, 2, 29, 0, 17, 5, 6}
	n := len(stimuli)
	want, order := products(t, nil, f, stimuli)
	require.Len(t, want, 6)
	for room, count := range map[int]int{n * 6000: 1, n * 3000: 2, n * 2600: 3, n * 1300: 5, n * 300: 22, 1: 25} {
		p := &passing{Features: f, t: t, room: room}
		got, turn := products(t, nil, p, stimuli)
		assert.Equal(t, want, got, "room for %d", room)
		assert.Equal(t, order, turn)
		require.Len(t, p.passes, count, "room for %d", room)
		for i, pass := range p.passes {
			assert.Equal(t, [2]int{i + 1, count}, [2]int{pass.Number, pass.Of})
		}
		if count == 2 {
			assert.Equal(t, []compare.LayerBins{{Layer: 0, Bins: []int{0, 1}}}, p.passes[0].Layers)
			assert.Equal(t, []compare.LayerBins{{Layer: 0, Bins: []int{0, 1}}, {Layer: 1, Bins: []int{0}},
				{Layer: 2, Bins: []int{0, 1}}}, p.passes[1].Layers)
		}
	}
	p := &passing{Features: f, t: t, room: 1}
	ctx, cancel := context.WithCancel(t.Context())
	err := compare.EachGram(ctx, p, stimuli, wantedOfThree, func(int, int, *compare.Gram) error {
		cancel()
		return nil
	})
	assert.ErrorIs(t, err, context.Canceled)
	assert.Len(t, p.passes, 7)
}

// An interrupted comparison goes on with the pass that it was in, also in the middle of a layer, and a pass that has
// nothing to compute is not run.
func TestPassesGoOnWhereTheyStopped(t *testing.T) {
	f := threeLayers{30}
	all := make([]int, f.n)
	for i := range all {
		all[i] = i
	}
	want, order := products(t, nil, f, all)
	for _, room := range []int{f.n * 300, f.n * 1300, f.n * 2600} {
		whole := &passing{Features: f, t: t, room: room}
		products(t, nil, whole, all)
		for fail := 1; fail <= len(whole.passes); fail++ {
			folder := t.TempDir()
			p := &passing{Features: f, t: t, room: room, fail: fail}
			cache := compare.NewGramCache(folder, 1<<30)
			err := cache.EachGram(t.Context(), p, all, wantedOfThree, func(int, int, *compare.Gram) error { return nil })
			require.ErrorIs(t, err, errFailed)
			require.Len(t, p.passes, fail)

			again := &passing{Features: f, t: t, room: room}
			got, turn := products(t, compare.NewGramCache(folder, 1<<30), again, all)
			assert.Equal(t, want, got)
			assert.Equal(t, order, turn)
			assert.Len(t, again.passes, len(whole.passes)-fail+1, "room for %d, after pass %d", room, fail)
			files, err := filepath.Glob(filepath.Join(folder, "*"))
			require.NoError(t, err)
			assert.Len(t, files, 6, "of no part anything is left")

			again.passes = nil
			got, _ = products(t, compare.NewGramCache(folder, 1<<30), again, all)
			assert.Equal(t, want, got)
			assert.Empty(t, again.passes)
			if fail == 1 { // what is kept comes in its turn
				require.NoError(t, os.Remove(files[1]))
				require.NoError(t, os.Remove(files[4]))
				got, turn = products(t, compare.NewGramCache(folder, 1<<30), again, all)
				assert.Equal(t, want, got)
				assert.Equal(t, order, turn)
				assert.NotEmpty(t, again.passes)
			}
		}
	}
}

// twoLayers are the features of testdata, and ten times as many that are made of them.
type twoLayers struct {
	modelled
	ids []string
}

func (f twoLayers) Stimuli() []string { return f.ids }
func (f twoLayers) Layers() []compare.FeatureLayer {
	var steps []int
	for i := range f.modelled[0] {
		steps = append(steps, i)
	}
	return []compare.FeatureLayer{{Name: "a", Bins: compare.TimestepBins(steps...), Size: 60},
		{Name: "b", Bins: compare.TimestepBins(steps...), Size: 600}}
}
func (f twoLayers) Row(layer, stimulus int) (row []float32, err error) {
	for _, step := range f.modelled[stimulus] {
		if layer == 0 {
			row = append(row, step...)
			continue
		}
		for k := range 10 {
			for i, v := range step {
				row = append(row, v*float32(k+1)-step[(i+k)%len(step)])
			}
		}
	}
	return row, nil
}

// inBins are the recordings of testdata.
type inBins struct{ *recorded }

func (r inBins) Stimuli() []string  { return r.ids }
func (r inBins) Neuroids() []string { return r.neuroids }
func (r inBins) Bins() (bins []compare.Bin) {
	for b := range 5 {
		bins = append(bins, compare.Bin{Start: float64(70 + 10*b), End: float64(80 + 10*b)})
	}
	return bins
}
func (r inBins) Average(bin int) (compare.Targets, error) { return r.bin(bin), nil }
func (r inBins) Trials(bin int) (compare.Trials, error)   { return r.trials(bin), nil }
func (r inBins) Labels(name string) []string {
	if name != "object_name" {
		return nil
	}
	return r.objects
}

// analyses are all that compare features, of which those with raw need the features themselves.
func analyses(t *testing.T, r compare.Responses, cache *compare.GramCache) map[string]func(f compare.Features,
	to *compare.Result) error {
	fit := func(o compare.FitOptions) func(compare.Features, *compare.Result) error {
		o.Splits, o.Stratify, o.Cache = compare.Splits{Count: 2}, "object_name", cache
		return func(f compare.Features, to *compare.Result) error {
			fits, err := compare.FitOverTime(t.Context(), f, r, o)
			if err == nil {
				to.Add(fits, !o.Matrix)
			}
			return err
		}
	}
	similarity := func(a compare.Alignment) func(compare.Features, *compare.Result) error {
		return func(f compare.Features, to *compare.Result) error {
			fits, err := compare.SimilarityOverTime(t.Context(), f, r, compare.AlignmentOptions{Alignment: a, Cache: cache})
			if err == nil {
				to.Add(fits, true)
			}
			return err
		}
	}
	return map[string]func(compare.Features, *compare.Result) error{
		"pls":             fit(compare.FitOptions{Mapping: compare.PLS{Components: 5}}),
		"pls at offsets":  fit(compare.FitOptions{Mapping: compare.PLS{Components: 5}, Offsets: []float64{0, 5, 10}}),
		"ridge":           fit(compare.FitOptions{Mapping: compare.Ridge{}, Matrix: true}),
		"ridge-loo":       fit(compare.FitOptions{Mapping: compare.Ridge{Alphas: []float64{1, 10}, PerNeuroid: true}}),
		"linear":          fit(compare.FitOptions{Mapping: compare.Linear{}}),
		"corrected":       fit(compare.FitOptions{Mapping: compare.Ridge{}, Normalisation: compare.Corrected, Halvings: 2}),
		"spanning time":   fit(compare.FitOptions{Mapping: compare.Ridge{}, SpanTime: true}),
		"raw: one to one": fit(compare.FitOptions{Mapping: compare.OneToOne{}, Offsets: []float64{0, 5}}),
		"raw: reverse":    fit(compare.FitOptions{Mapping: compare.Ridge{}, Reverse: true}),
		"rsa":             similarity(compare.RSA),
		"cka":             similarity(compare.UnbiasedCKA),
		"best": func(f compare.Features, to *compare.Result) error {
			best, _, err := compare.BestOverTime(t.Context(), f, r, compare.BestOptions{Inner: 2, FitOptions: compare.FitOptions{
				Mapping: compare.Ridge{}, Splits: compare.Splits{Count: 2}, Stratify: "object_name", Cache: cache}})
			to.AddBest("IT", best)
			return err
		},
		"between layers": func(f compare.Features, to *compare.Result) error {
			similarities, err := compare.BetweenLayers(t.Context(), f, compare.BetweenOptions{Cache: cache})
			to.AddBetween(similarities)
			return err
		},
	}
}

// Every comparison of features in passes has the bytes of that of features that are read.
func TestComparisonsInPasses(t *testing.T) {
	model, data := goldenData(t)
	f, r := twoLayers{model, data.ids}, inBins{data}
	text := func(run func(compare.Features, *compare.Result) error, f compare.Features) string {
		result := &compare.Result{Scores: []compare.ResultScore{}}
		require.NoError(t, run(f, result))
		var out bytes.Buffer
		require.NoError(t, result.WriteJSON(&out))
		return out.String()
	}
	n := len(data.ids)
	for name, run := range analyses(t, r, nil) {
		want := text(run, f)
		for _, room := range []int{n * 300, n * 2000} {
			p := &passing{Features: f, t: t, room: room}
			if name[:3] == "raw" && room < n*600 {
				err := run(p, &compare.Result{})
				assert.ErrorIs(t, err, compare.ErrRoom, name)
				assert.ErrorContains(t, err, "layer b")
				assert.Empty(t, p.passes, "nothing is computed in vain")
				continue
			}
			assert.Equal(t, want, text(run, p), "%s, room for %d features", name, room/n)
			assert.Greater(t, len(p.passes), 1, name)
			assert.True(t, slices.ContainsFunc(p.passes, func(pass compare.Pass) bool { return len(pass.Layers) > 1 }) ||
				room == n*300 || name == "spanning time", "%s: several layers in a pass", name)
		}
	}
	cached := analyses(t, r, compare.NewGramCache(t.TempDir(), 1<<30))
	p := &passing{Features: f, t: t, room: n * 2000}
	plain := analyses(t, r, nil)
	for _, name := range []string{"pls", "rsa", "cka", "linear", "best", "between layers"} {
		assert.Equal(t, text(plain[name], f), text(cached[name], p), name)
	}
	computed := len(p.passes)
	text(cached["ridge-loo"], p)
	assert.Len(t, p.passes, computed, "all are kept")
}

// Solution times and trials of features in passes are those of features that are read.
func TestBehaviourInPasses(t *testing.T) {
	bins, measured, _ := ostData(t)
	ost := &overTime{ids: measured.Images, bins: bins}
	n := len(measured.Images)
	want, err := compare.OSTOverLayers(t.Context(), ost, measured, compare.ConvergedOSTDecoder, []string{"conv9"}, 70, 110)
	require.NoError(t, err)
	p := &passing{Features: ost, t: t, room: n * 4 * 40}
	got, err := compare.OSTOverLayers(t.Context(), p, measured, compare.ConvergedOSTDecoder, []string{"conv9"}, 70, 110)
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprint(want[0].Predicted), fmt.Sprint(got[0].Predicted))
	require.Len(t, p.passes, 1)
	assert.Equal(t, []compare.LayerBins{{Layer: 0, Bins: []int{0, 1, 2, 3}}}, p.passes[0].Layers)
	p.room--
	_, err = compare.OSTOverLayers(t.Context(), p, measured, compare.ConvergedOSTDecoder, []string{"conv9"}, 70, 110)
	assert.ErrorIs(t, err, compare.ErrRoom)

	rows, reason, err := compare.FeaturesAt(t.Context(), &passing{Features: ost, t: t, room: 1 << 20}, 0, []int{3, 1, 3},
		compare.Bin{Start: 75, End: 95})
	require.NoError(t, err)
	require.Empty(t, reason)
	read, _, err := compare.FeaturesAt(t.Context(), ost, 0, []int{3, 1, 3}, compare.Bin{Start: 75, End: 95})
	require.NoError(t, err)
	assert.Equal(t, read, rows)
	assert.Equal(t, rows[0], rows[2])
}
