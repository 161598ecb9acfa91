package compare_test

import (
	"context"
	"encoding/csv"
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

func matrix(t testing.TB, file, name string) [][]float64 {
	values, shape := doubles(t, file, name)
	var rows [][]float64
	for i := range shape[0] {
		rows = append(rows, values[i*shape[1]:][:shape[1]])
	}
	return rows
}

func trialsOf(t testing.TB) []compare.Trial {
	f, err := os.Open(filepath.Join(comparison, "behaviour.csv"))
	require.NoError(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	var trials []compare.Trial
	for _, r := range rows[1:] {
		trials = append(trials, compare.Trial{Image: r[0], Sample: r[1], Distractor: r[2], Choice: r[3]})
	}
	return trials
}

func TestBehaviour(t *testing.T) {
	const file = "behaviour_arrays.npz"
	choices, err := compare.ModelChoices(texts(t, file, "test_stimulus_id"), texts(t, file, "test_labels"),
		texts(t, file, "classes"), matrix(t, file, "probabilities"))
	require.NoError(t, err)
	for _, kind := range []compare.Consistency{compare.I1, compare.I1n, compare.I2, compare.I2n} {
		got, err := compare.Behaviour(choices, trialsOf(t), kind)
		require.NoError(t, err)
		var values []float64
		for _, name := range []string{"score", "error", "ceiling", "ceiling_error"} {
			values = append(values, golden[float64](t, "behaviour.json", string(kind), name))
		}
		equalWithin(t, values, []float64{got.Score, got.Error, got.Ceiling, got.CeilingError}, consistencies, string(kind))
		for name, own := range map[string][]float64{"raw": got.Raw, "ceiling_raw": got.CeilingRaw} {
			equalWithin(t, golden[[]float64](t, "behaviour.json", string(kind), name), own, consistencies, string(kind))
		}
		// NaN where the ceiling is negative.
		ceiled := plain(golden[[]number](t, "behaviour.json", string(kind), "ceiled_raw"))
		within(t, (ceiled[0]+ceiled[1])/2, got.Ceiled, consistencyRatios)
	}
	_, err = compare.Behaviour(choices, append(trialsOf(t), compare.Trial{Image: "other"}), compare.I1)
	assert.ErrorIs(t, err, compare.ErrData)
}

func TestReadout(t *testing.T) {
	const file = "behaviour_arrays.npz"
	r, err := compare.FitReadout(matrix(t, file, "train_features"), texts(t, file, "train_labels"), compare.ReadoutC)
	require.NoError(t, err)
	p, err := r.Probabilities(matrix(t, file, "test_features"))
	require.NoError(t, err)
	want := matrix(t, file, "probabilities")
	for k, object := range texts(t, file, "classes") {
		at := slices.Index(r.Objects, object)
		require.GreaterOrEqual(t, at, 0)
		for i := range p {
			within(t, want[i][k], p[i][at], readouts)
		}
	}
	right, labels := 0, texts(t, file, "test_labels")
	for i, row := range p {
		if r.Objects[slices.Index(row, slices.Max(row))] == labels[i] {
			right++
		}
	}
	accuracy := golden[float64](t, "behaviour.json", "classifier", "accuracy")
	assert.InDelta(t, accuracy, float64(right)/float64(len(p)), 1e-12)
	mean, sd := r.Scaler()
	for name, got := range map[string][]float64{"scaler_mean": mean, "scaler_scale": sd} {
		want, _ := doubles(t, file, name)
		equalWithin(t, want, got, choiceRates, name)
	}
	_, err = r.Probabilities([][]float64{{1}})
	assert.ErrorIs(t, err, compare.ErrData)
	_, err = compare.FitReadout([][]float64{{1}, {2}}, []string{"a", "a"}, 1)
	assert.ErrorIs(t, err, compare.ErrData)
}

type goldenOST struct {
	Score, Error float64
	Raw          []number
	Splits       []struct {
		ModelI1           [][]number `json:"model_i1_by_bin"`
		Predicted, Target []number
		I1                []float64
		StimulusID        []string `json:"stimulus_id"`
		TrainStimulusID   []string `json:"train_stimulus_id"`
	}
}

// ostData returns the data in the order of the measured times, which the splits of the
// golden results tell.
func ostData(t testing.TB) ([]compare.OSTFeatures, *compare.SolutionTimes, goldenOST) {
	want := golden[goldenOST](t, "ost.json")
	ids, labels := texts(t, "ost_arrays.npz", "stimulus_id"), texts(t, "ost_arrays.npz", "labels")
	n := len(ids)
	splits := splitsOf(t, compare.Splits{TestFraction: 0.1}, n, nil)
	m := &compare.SolutionTimes{Images: make([]string, n), Labels: make([]string, n), Times: make([]float64, n),
		Thresholds: make([]float64, n)}
	for s, split := range splits {
		// Brain-Score takes the images of a split in the order of the set.
		slices.Sort(split.Test)
		slices.Sort(split.Train)
		for i, at := range split.Test {
			g := want.Splits[s]
			m.Images[at], m.Times[at], m.Thresholds[at] = g.StimulusID[i], float64(g.Target[i]), g.I1[i]
		}
	}
	for i, at := range splits[0].Train {
		m.Images[at] = want.Splits[0].TrainStimulusID[i]
	}
	a := array(t, "ost_arrays.npz", "features")
	values, err := a.Float32s(0, n)
	require.NoError(t, err)
	size, count := a.Info().Shape[1], a.Info().Shape[2]
	bins := make([]compare.OSTFeatures, count)
	for b := range bins {
		bins[b] = compare.OSTFeatures{Start: float64(70 + 10*b), Features: make([][]float32, n)}
		for i, image := range m.Images {
			at := slices.Index(ids, image)
			require.GreaterOrEqual(t, at, 0)
			m.Labels[i] = labels[at]
			for f := range size {
				bins[b].Features[i] = append(bins[b].Features[i], values[(at*size+f)*count+b])
			}
		}
	}
	return bins, m, want
}

func TestOST(t *testing.T) {
	bins, measured, want := ostData(t)
	got, err := compare.OST(context.Background(), bins, measured, compare.BrainScoreOSTDecoder)
	require.NoError(t, err)
	for s := range want.Splits {
		equalWithin(t, plain(want.Splits[s].Predicted), got.Predicted[s], ostTimes, "times")
		for b, d := range want.Splits[s].ModelI1 {
			own, err := compare.OSTDPrimes(bins[b], measured.Labels, got.Splits[s])
			require.NoError(t, err)
			equalWithin(t, plain(d), own, ostDPrimes, fmt.Sprintf("d′, split %d, bin %d", s, b))
		}
	}
	equalWithin(t, plain(want.Raw), got.Raw, ostScores, "correlations")
	within(t, want.Score, got.Score, ostScores)
	within(t, want.Error, got.Error, ostScores)
	assert.InDelta(t, got.Score/0.79, got.Ceiled, 1e-12)
	converged, err := compare.OST(context.Background(), bins, measured, compare.ConvergedOSTDecoder)
	require.NoError(t, err)
	assert.Greater(t, converged.Score, map[bool]float64{false: 0.2, true: 0}[otherData()])
}

// overTime are features of a layer in bins of time, and of one that is driven in none.
type overTime struct {
	ids    []string
	bins   []compare.OSTFeatures
	driven []bool
}

func (o *overTime) Stimuli() []string { return o.ids }
func (o *overTime) Layers() []compare.FeatureLayer {
	size := len(o.bins[0].Features[0])
	var bins []compare.Bin
	for _, b := range o.bins {
		bins = append(bins, compare.Bin{Start: b.Start, End: b.Start + 10})
	}
	return []compare.FeatureLayer{{Name: "conv9", Bins: bins, Driven: o.driven, Size: size},
		{Name: "never", Bins: bins, Driven: make([]bool, len(bins)), Size: size}}
}
func (o *overTime) Row(_, stimulus int) (row []float32, err error) {
	for _, b := range o.bins {
		row = append(row, b.Features[stimulus]...)
	}
	return row, nil
}

// Bins before the stimulus reaches a layer count as in Brain-Score: its numbers for such a layer.
func TestOSTOfALayerThatIsDrivenLate(t *testing.T) {
	bins, measured, _ := ostData(t)
	constant := make([]float32, len(bins[0].Features[0]))
	for f := range constant {
		constant[f] = float32(f) / float32(len(constant)-1)
	}
	driven := slices.Repeat([]bool{true}, len(bins))
	for b := range 3 {
		bins[b].Features, driven[b] = slices.Repeat([][]float32{constant}, len(measured.Images)), false
	}
	f := &overTime{measured.Images, bins, driven}
	scores, err := compare.OSTOverLayers(t.Context(), f, measured, compare.BrainScoreOSTDecoder, nil, 70, 250)
	require.NoError(t, err)
	want := golden[struct {
		Score, Error float64
		Raw          []number
		Predicted    [][]number
	}](t, "ost_undriven.json")
	for s := range want.Predicted {
		equalWithin(t, plain(want.Predicted[s]), scores[0].Predicted[s], ostTimes, "times")
	}
	equalWithin(t, plain(want.Raw), scores[0].Raw, ostScores, "correlations")
	within(t, want.Score, scores[0].Score, ostScores)
	within(t, want.Error, scores[0].OSTScore.Error, ostScores)
	assert.Len(t, scores[0].Bins, 10)
	assert.Equal(t, []string{"3 of 10 bins count, as in Brain-Score, before the stimulus has reached it"}, scores[0].Notes)
	assert.Contains(t, scores[1].Reason, "of a driven layer")
	assert.Nil(t, scores[1].OSTScore)
	scores, err = compare.OSTOverLayers(t.Context(), f, measured, compare.ConvergedOSTDecoder, []string{"conv9"}, 50, 250)
	require.NoError(t, err)
	assert.Contains(t, scores[0].Notes, "no features of 50-70 ms, where Brain-Score has some of all layers")

	// Without them the times are others.
	f.bins, f.driven = bins[3:], nil
	scores, err = compare.OSTOverLayers(t.Context(), f, measured, compare.BrainScoreOSTDecoder, []string{"conv9"}, 70, 250)
	require.NoError(t, err)
	assert.NotEqual(t, want.Score, scores[0].Score)
	assert.Equal(t, []string{"no features of 70-100 ms, where Brain-Score has some of all layers"}, scores[0].Notes)
	result := &compare.Result{}
	result.AddOST(scores, measured)
	assert.Equal(t, []string{"layer conv9: " + scores[0].Notes[0]}, result.Notes)
}

func TestOSTOfUnusableData(t *testing.T) {
	bins, measured, _ := ostData(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := compare.OST(ctx, bins, measured, compare.BrainScoreOSTDecoder)
	assert.ErrorIs(t, err, context.Canceled)
	_, err = compare.OST(context.Background(), []compare.OSTFeatures{bins[1], bins[0]}, measured,
		compare.BrainScoreOSTDecoder)
	assert.ErrorIs(t, err, compare.ErrData)
	rare := *measured
	rare.Labels = slices.Clone(measured.Labels)
	rare.Labels[0] = "only one"
	_, err = compare.OST(context.Background(), bins, &rare, compare.BrainScoreOSTDecoder)
	assert.ErrorIs(t, err, compare.ErrData)
	// A model whose features do not change has no solution times to correlate.
	static := make([]compare.OSTFeatures, len(bins))
	for b := range static {
		static[b] = compare.OSTFeatures{Start: bins[b].Start, Features: bins[9].Features}
	}
	score, err := compare.OST(context.Background(), static, measured, compare.BrainScoreOSTDecoder)
	require.NoError(t, err)
	assert.True(t, math.IsNaN(score.Score))
}
