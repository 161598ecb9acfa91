package recordings_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/recordings"
)

func responses(t *testing.T, s recordings.Selection) *recordings.Recording {
	t.Helper()
	a, err := recordings.Open(data+"neural.nc", recordings.Layout{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, a.Close()) })
	r, err := recordings.Select(a, s)
	require.NoError(t, err)
	return r
}

func at90(t *testing.T) *recordings.Recording {
	from, to := 90.0, 100.0
	return responses(t, recordings.Selection{From: &from, To: &to})
}

// From files to Brain-Score's numbers, by every design of fits.
func TestDesignsOfFits(t *testing.T) {
	needHDF5(t)
	var golden struct {
		Predictivity map[string]struct{ Center, Error float64 } `json:"predictivity"`
		Predictor    struct{ Center, Error float64 }            `json:"predictor_consistency"`
		PLS          struct{ Center, Error []float64 }          `json:"spantime_pls"`
		Ridge        struct{ Center, Error []float64 }          `json:"spantime_ridge"`
	}
	readGolden(t, "brainscore.json", &golden)
	fit := func(r *recordings.Recording, o compare.FitOptions) *compare.Fits {
		o.Stratify = "object_name"
		fits, err := compare.FitOverTime(t.Context(), modelled(t), r, o)
		require.NoError(t, err)
		return fits
	}
	for _, c := range []struct {
		mapping   compare.Mapping
		want      struct{ Center, Error []float64 }
		tolerance float64
	}{{compare.PLS{}, golden.PLS, 1e-7}, {compare.Ridge{}, golden.Ridge, about(5e-5)}} {
		fits := fit(responses(t, recordings.Selection{}), compare.FitOptions{Mapping: c.mapping, SpanTime: true})
		require.Len(t, fits.Scores, len(c.want.Center))
		for i, s := range fits.Scores {
			assert.InDelta(t, c.want.Center[i], s.Score.Center, c.tolerance)
			assert.InDelta(t, c.want.Error[i], s.Score.Error, c.tolerance)
			assert.InDelta(t, 0.85, s.Ceiled, about(0.15))
		}
	}
	matched := fit(at90(t), compare.FitOptions{Mapping: compare.OneToOne{}}).Scores[0]
	assert.InDelta(t, golden.Predictivity["neuron_to_neuron/stratified/90"].Center, matched.Score.Center, 1e-7)
	assert.InDelta(t, golden.Predictivity["neuron_to_neuron/stratified/90"].Error, matched.Score.Error, 1e-7)
	reverse := fit(at90(t), compare.FitOptions{Mapping: compare.PLS{Components: 10}, Reverse: true}).Scores[0]
	assert.InDelta(t, golden.Predictivity["reverse_pls10/stratified/90"].Center, reverse.Score.Center, 1e-7)
	assert.InDelta(t, golden.Predictivity["reverse_pls10/stratified/90"].Error, reverse.Score.Error, 1e-7)
	assert.InDelta(t, golden.Predictor.Center, reverse.Ceiling.Center, 1e-9)
	assert.Len(t, reverse.NeuroidIDs, modelled(t).Layers()[0].Size)
	for _, constant := range []compare.FitOptions{{SpanTime: true}, {Reverse: true}, {Mapping: compare.OneToOne{}}} {
		constant.Offsets = []float64{80}
		_, err := compare.FitOverTime(t.Context(), modelled(t), at90(t), constant)
		assert.ErrorContains(t, err, "not driven")
	}
}

func TestOffsetsAreTriedTogether(t *testing.T) {
	needHDF5(t)
	o := compare.FitOptions{Mapping: compare.Ridge{}, Offsets: []float64{0, 20}}
	both, err := compare.FitOverTime(t.Context(), modelled(t), at90(t), o)
	require.NoError(t, err)
	require.Len(t, both.Scores, 2)
	for i, offset := range o.Offsets {
		one, err := compare.FitOverTime(t.Context(), modelled(t), at90(t), compare.FitOptions{Mapping: o.Mapping,
			Offsets: []float64{offset}})
		require.NoError(t, err)
		assert.Equal(t, offset, both.Scores[i].Offset)
		assert.True(t, math.IsNaN(one.Scores[0].Offset))
		assert.Equal(t, one.Scores[0].Score, both.Scores[i].Score)
		assert.Equal(t, one.Scores[0].Score.Center, both.Means()[i].Score)
	}
	assert.Equal(t, compare.Bin{Start: 70, End: 80}, both.Scores[1].Features)
}

func TestNormalisationsOfFits(t *testing.T) {
	needHDF5(t)
	splits := compare.Splits{Count: 2}
	of := func(n compare.Normalisation) compare.TimeScore {
		fits, err := compare.FitOverTime(t.Context(), modelled(t), at90(t), compare.FitOptions{Mapping: compare.Ridge{},
			Splits: splits, Normalisation: n, Halvings: 2})
		require.NoError(t, err)
		return fits.Scores[0]
	}
	mean := func(rows [][]float64, j int) float64 { return (rows[0][j] + rows[len(rows)-1][j]) / 2 }
	per := of(compare.SquaredPerNeuroid)
	want := 0.0
	for j := range per.NeuroidIDs {
		ceiling := 0.0
		for _, row := range per.Ceiling.Raw {
			ceiling += row[j] / 10
		}
		r := mean(per.Score.Raw, j)
		want += r * r / ceiling / float64(len(per.NeuroidIDs))
	}
	assert.InDelta(t, want, per.Ceiled, 1e-12)

	// The parts of the correction, one by one.
	r, f := at90(t), modelled(t)
	trials, err := r.Trials(0)
	require.NoError(t, err)
	at, err := compare.Positions(f, r.Stimuli())
	require.NoError(t, err)
	weights := make([]float64, 20)
	weights[9] = 1
	grams, err := compare.Grams(t.Context(), f, 0, at, [][]float64{weights})
	require.NoError(t, err)
	all, err := splits.Of(len(r.Stimuli()), nil)
	require.NoError(t, err)
	var once, squared []float64 // medians over neuroids of means
	for j := range r.Neuroids() {
		var values, squares []float64
		for _, split := range all {
			for h := range 2 {
				n, err := compare.NoiseCorrected(grams[0], trials, split, compare.Ridge{},
					compare.HalveRepetitions(len(r.Repetitions()), uint32(1234+h)))
				require.NoError(t, err)
				if v := n.Corrected[j]; !math.IsNaN(v) {
					values, squares = append(values, v), append(squares, v*v)
				}
			}
		}
		once, squared = append(once, average(values)), append(squared, average(squares))
	}
	assert.InDelta(t, median(once), of(compare.Corrected).Ceiled, 1e-12)
	assert.InDelta(t, median(squared), of(compare.CorrectedSquared).Ceiled, 1e-12)
}

// about is how near what is known of the standard data is to be; of others less is known.
func about(tolerance float64) float64 {
	if data != standard+"/" {
		return 5 * tolerance
	}
	return tolerance
}

func average(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

func median(values []float64) float64 {
	values = slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

func TestBootstrapsOfFits(t *testing.T) {
	needHDF5(t)
	r := at90(t)
	errors := map[compare.Resample]float64{}
	for _, over := range []compare.Resample{compare.OverSplits, compare.OverNeuroids, compare.OverSubjects,
		compare.OverStimuli} {
		fits, err := compare.FitOverTime(t.Context(), modelled(t), r, compare.FitOptions{Mapping: compare.Ridge{},
			Bootstrap: []compare.Resample{over}, Subjects: r.NeuroidLabels("subject")})
		require.NoError(t, err)
		s := fits.Scores[0].Score
		errors[over] = s.Error
		if over == compare.OverSplits || over == compare.OverNeuroids {
			want, err := compare.BootstrapError(s.Raw, []compare.Resample{over}, compare.Center)
			require.NoError(t, err)
			assert.Equal(t, want, s.Error)
		}
	}
	// As large as the spread of correlations of some 80 stimuli, (1 − r²)/√n, makes a median of 24.
	assert.InDelta(t, 0.017, errors[compare.OverStimuli], about(0.012))
	assert.InDelta(t, errors[compare.OverNeuroids], errors[compare.OverSubjects], about(0.01))
	_, err := compare.FitOverTime(t.Context(), modelled(t), r,
		compare.FitOptions{Bootstrap: []compare.Resample{compare.OverSubjects}})
	assert.ErrorIs(t, err, compare.ErrOptions)
}

func TestMeasuresAndInference(t *testing.T) {
	needHDF5(t)
	r, f := at90(t), modelled(t)
	subjects := r.NeuroidLabels("subject")
	for _, m := range []compare.Measure{compare.EuclideanMeasure, compare.MahalanobisMeasure, compare.CrossnobisMeasure} {
		fits, err := compare.SimilarityOverTime(t.Context(), f, r, compare.AlignmentOptions{Measure: m, Subjects: subjects})
		require.NoError(t, err)
		assert.InDelta(t, 0.65, fits.Scores[0].Score.Center, about(0.05), m)
		assert.Less(t, fits.Scores[0].LowerCeiling, fits.Scores[0].Ceiling.Center)
	}
	_, err := compare.SimilarityOverTime(t.Context(), f, r, compare.AlignmentOptions{Measure: compare.PoissonMeasure})
	assert.ErrorContains(t, err, "the rate of neuroid")

	var golden struct {
		RDM struct {
			Subjects map[string]float64 `json:"per_subject"`
		} `json:"rdm"`
	}
	readGolden(t, "brainscore.json", &golden)
	fits, err := compare.SimilarityOverTime(t.Context(), f, r, compare.AlignmentOptions{Subjects: subjects, Matrix: true,
		Inference: &compare.InferenceOptions{}})
	require.NoError(t, err)
	at := slices.IndexFunc(fits.Scores, func(s compare.TimeScore) bool { return s.Features.Start == 90 })
	s := fits.Scores[at]
	var want []float64
	for _, name := range slices.Sorted(maps.Keys(golden.RDM.Subjects)) {
		want = append(want, golden.RDM.Subjects[name])
	}
	for i, v := range s.Inference.Subjects {
		assert.InDelta(t, want[i], v, 1e-9)
	}
	assert.InDelta(t, average(want), s.Score.Center, 1e-9)
	assert.Less(t, s.Inference.Low, s.Score.Center)
	assert.Less(t, s.Inference.AgainstZero, 0.01)
	assert.Len(t, fits.Differences, 16*15/2)
	for _, kind := range []compare.BootstrapKind{compare.BootstrapStimuli, compare.BootstrapDual} {
		fits, err := compare.SimilarityOverTime(t.Context(), f, r, compare.AlignmentOptions{Subjects: subjects,
			Inference: &compare.InferenceOptions{Bootstrap: kind, Samples: 20}})
		require.NoError(t, err)
		assert.Positive(t, fits.Scores[0].Score.Error)
	}
	_, err = compare.SimilarityOverTime(t.Context(), f, r,
		compare.AlignmentOptions{Inference: &compare.InferenceOptions{}})
	assert.ErrorIs(t, err, compare.ErrData, "no subjects")
}

// Responses without an axis of time may be told theirs.
func TestTimeOfResponsesWithoutTime(t *testing.T) {
	needHDF5(t)
	var ids []string
	for i := range 40 {
		ids = append(ids, fmt.Sprint("stimulus", i))
	}
	a, err := recordings.Open(data+"neural_kar.h5",
		recordings.Layout{Array: "rates", Axes: []string{"stimulus", "repetition"}, FirstBin: 70, BinWidth: 100,
			Coordinates: []recordings.CoordinateFrom{{Name: "stimulus_id", Axis: "stimulus", Values: ids}}})
	require.NoError(t, err)
	defer a.Close()
	r, err := recordings.Select(a, recordings.Selection{})
	require.NoError(t, err)
	assert.Equal(t, []compare.Bin{{Start: 70, End: 170}}, r.Bins())
	trials, err := r.Trials(0)
	require.NoError(t, err)
	assert.Len(t, trials, 40)
}
