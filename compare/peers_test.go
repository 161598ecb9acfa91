package compare_test

import (
	"archive/zip"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/numpyrandom"
)

// crossValidation is Brain-Score's for metrics that fit nothing: a tenth of the stimuli is left out.
func (r *recorded) crossValidation(t testing.TB) []compare.Split {
	return splitsOf(t, compare.Splits{TestFraction: 0.9}, len(r.ids), r.objects)
}

func wide() []int {
	timesteps := make([]int, 16)
	for i := range timesteps {
		timesteps[i] = 4 + i
	}
	return timesteps
}

type goldenList struct {
	Center, Error float64
	Raw           []float64
}

func column(raw [][]float64) []float64 {
	var values []float64
	for _, row := range raw {
		values = append(values, row[0])
	}
	return values
}

func TestCrossValidatedSimilarities(t *testing.T) {
	model, data := goldenData(t)
	features, neural := gramOf(t, model.flat(9), len(model)), gramOfTargets(t, data.bin(2))
	splits := data.crossValidation(t)
	rdm, leftOut, err := compare.CrossValidatedRDMs(compare.CorrelationRDM(features), compare.CorrelationRDM(neural),
		splits, compare.RankCorrelation)
	require.NoError(t, err)
	assert.Zero(t, leftOut)
	cka, err := compare.CrossValidatedCKA(features, neural, splits, false)
	require.NoError(t, err)
	for _, c := range []struct {
		want goldenList
		got  *compare.Score
		q    quantity
	}{
		{golden[goldenList](t, "brainscore.json", "rdm", "rdm_cv"), rdm, similarities},
		{golden[goldenList](t, "brainscore.json", "cka", "cka_cv/90"), cka, ckaScores},
	} {
		within(t, c.want.Center, c.got.Center, c.q)
		within(t, c.want.Error, c.got.Error, c.q)
		equalWithin(t, c.want.Raw, column(c.got.Raw), c.q, "splits")
	}
	// All stimuli in one test set are the measures without splits.
	whole := []compare.Split{{Test: splits[0].Test}, {Test: slices.Concat(splits[0].Train, splits[0].Test)}}
	biased, err := compare.CrossValidatedCKA(features, neural, whole, true)
	require.NoError(t, err)
	want, err := compare.BiasedCKA(features, neural)
	require.NoError(t, err)
	assert.InDelta(t, want, biased.Raw[1][0], 1e-12)
	_, _, err = compare.CrossValidatedRDMs(compare.CorrelationRDM(features), compare.CorrelationRDM(neural),
		[]compare.Split{{Test: []int{len(data.ids)}}}, compare.RankCorrelation)
	assert.ErrorIs(t, err, compare.ErrData)
	_, err = compare.CrossValidatedCKA(features, neural, []compare.Split{{Test: []int{0, 1, 2}}}, false)
	assert.ErrorIs(t, err, compare.ErrData)
}

// Recorded stimuli × neuroids predict features, and features of a window of time predict a bin.
func TestReverseAndWindow(t *testing.T) {
	model, data := goldenData(t)
	// The order of the splits is that of the target, here the features' file.
	ids := texts(t, "data.npz", "stimulus_id")
	targets, neural := make(compare.Targets, len(ids)), make(compare.Targets, len(ids))
	objects := make([]string, len(ids))
	for i, id := range data.ids {
		at := slices.Index(ids, id)
		for _, v := range model[i][9] {
			targets[at] = append(targets[at], float64(v))
		}
		neural[at], objects[at] = data.bin(2)[i], data.objects[i]
	}
	reverse, err := compare.FitTargets(gramOfTargets(t, neural), targets, splitsOf(t, compare.Splits{}, len(ids), objects),
		compare.PLS{Components: 10})
	require.NoError(t, err)
	want := golden[struct {
		Center, Error float64
		Raw           [][]number
	}](t, "brainscore.json", "predictivity", "reverse_pls10/stratified/90")
	equalWithin(t, []float64{want.Center, want.Error}, []float64{reverse.Center, reverse.Error}, plsScores, "reverse")
	names := make([]int, len(model[0][9])) // conv9.0, conv9.1, conv9.10, …: Brain-Score sorts by name
	for i := range names {
		names[i] = i
	}
	slices.SortFunc(names, func(a, b int) int {
		if fmt.Sprint(a) < fmt.Sprint(b) {
			return -1
		}
		return 1
	})
	for s, row := range want.Raw {
		var got []float64
		for _, at := range names {
			got = append(got, reverse.Raw[s][at])
		}
		equalWithin(t, plain(row), got, plsScores, fmt.Sprint("reverse, split ", s))
	}
	weights, err := compare.AlignBins(compare.TimestepBins(numpyOrder(len(model[0]))...), compare.Bin{Start: 70, End: 170})
	require.NoError(t, err)
	var window []float32
	for _, stimulus := range model {
		window = append(window, compare.Blend(stimulus, weights)...)
	}
	fit, err := compare.FitTargets(gramOf(t, window, len(model)), data.bin(3), splitsOf(t, compare.Splits{}, len(data.ids),
		data.objects), compare.PLS{})
	require.NoError(t, err)
	compareScore(t, data, golden[goldenScore](t, "brainscore.json", "predictivity",
		"pls/stratified/features70-170_neural100"), fit.Score, plsScores, "window")
}

func numpyOrder(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// Metrics with fixed training and test sets, of fewer features than stimuli and of more.
func TestFixedSets(t *testing.T) {
	model, data := goldenData(t)
	splits := golden[[]compare.Split](t, "brainscore.json", "splits", "stratified", "splits")[:1]
	for name, flat := range map[string][]float32{"narrow": model.flat(9), "wide": model.flat(wide()...)} {
		g := gramOf(t, flat, len(model))
		alphas := golden[[]float64](t, "brainscore.json", "split_metrics", "alphas")
		equalWithin(t, alphas, compare.BrainScoreAlphas(), quantity{tolerance: 1e-9}, "alphas")
		for metric, c := range map[string]struct {
			mapping compare.Mapping
			q       quantity
		}{
			"pls_split": {compare.PLS{}, plsScores}, "ridge_split": {compare.Ridge{}, ridge32Scores},
			"dual_ridge_split":   {compare.Ridge{}, ridge32Scores},
			"ridgecv_split":      {compare.Ridge{Alphas: compare.BrainScoreAlphas()}, ridge32Scores},
			"dual_ridgecv_split": {compare.Ridge{Alphas: compare.BrainScoreAlphas()}, ridgeScores},
			// Of a singular value that is rounding; later versions leave it out: TestLinearWithoutRounding.
			"linear_predictivity_split": {compare.Linear{}, linearFixedScores},
		} {
			about := metric + "/" + name
			if otherData() && onlyRounding(c.mapping, len(flat)/len(model), len(splits[0].Train)) {
				continue
			}
			want := golden[struct {
				Center float64
				Raw    []float64
				Alpha  *float64
			}](t, "brainscore.json", "split_metrics", about)
			fit, err := compare.FitTargets(g, data.bin(2), splits, c.mapping)
			require.NoError(t, err, about)
			within(t, want.Center, fit.Center, c.q, about)
			equalWithin(t, want.Raw, data.inOrder(t, fit.Raw)[0], c.q, about)
			if want.Alpha != nil {
				assert.InEpsilon(t, *want.Alpha, fit.Alphas[0][0], 1e-12, about)
			}
		}
		want := golden[goldenList](t, "brainscore.json", "split_metrics", "neuron_to_neuron_split/"+name)
		single, err := compare.NeuronToNeuron(flat, data.bin(2), splits)
		require.NoError(t, err)
		within(t, want.Center, single.Center, oneToOneScores)
		equalWithin(t, want.Raw, data.inOrder(t, single.Raw)[0], oneToOneScores, "neuron to neuron, "+name)
	}
}

// Of more features than stimuli the smallest solution is that of scikit-learn, since it leaves out singular values
// below rounding.
func TestLinearWithoutRounding(t *testing.T) {
	model, data := goldenData(t)
	splits := golden[[]compare.Split](t, "brainscore.json", "splits", "stratified", "splits")[:1]
	g := gramOf(t, model.flat(wide()...), len(model))
	fit, err := compare.FitTargets(g, data.bin(2), splits, compare.Linear{})
	require.NoError(t, err)
	want := golden[[]float64](t, "linear.json", "raw")
	equalWithin(t, want, data.inOrder(t, fit.Raw)[0], linearCutScores, "linear")
	assert.Equal(t, len(splits[0].Train)-1, golden[int](t, "linear.json", "rank"))
}

func TestPredictions(t *testing.T) {
	model, data := goldenData(t)
	split := golden[[]compare.Split](t, "brainscore.json", "splits", "stratified", "splits")[0]
	for name, c := range map[string]struct {
		mapping compare.Mapping
		q       quantity
	}{
		"pls": {compare.PLS{}, plsPredictions}, "pls5": {compare.PLS{Components: 5}, plsPredictions},
		"ridge": {compare.Ridge{}, predictions32}, "linear": {compare.Linear{}, predictions32},
	} {
		if otherData() && onlyRounding(c.mapping, len(model[0][9]), len(split.Train)) {
			continue
		}
		got, err := compare.Predictions(c.mapping, gramOf(t, model.flat(9), len(model)), data.bin(2), split)
		require.NoError(t, err)
		want, _ := doubles(t, "brainscore_arrays.npz", "split0/"+name+"/prediction")
		equalWithin(t, want, slices.Concat(got...), c.q, name)
	}
	own := compare.Split{Train: golden[[]int](t, "ridge.json", "train"), Test: golden[[]int](t, "ridge.json", "test")}
	alphas := golden[[]float64](t, "ridge.json", "alphas")
	for name, flat := range map[string][]float32{"narrow": model.flat(9), "wide": model.flat(wide()...)} {
		g := gramOf(t, flat, len(model))
		for about, mapping := range map[string]compare.Mapping{
			"Ridge(alpha=1)/" + name: compare.Ridge{}, "sklearn.RidgeCV/per_target=False/" + name: compare.Ridge{Alphas: alphas},
			"sklearn.RidgeCV/per_target=True/" + name:          compare.Ridge{Alphas: alphas, PerNeuroid: true},
			"himalaya.RidgeCV/local_alpha=True/" + name:        compare.Ridge{Alphas: alphas, PerNeuroid: true, Folds: 5},
			"himalaya.RidgeCV/local_alpha=False/" + name:       compare.Ridge{Alphas: alphas, Folds: 5},
			"himalaya.KernelRidgeCV/local_alpha=True/" + name:  compare.Ridge{Alphas: alphas, PerNeuroid: true, Folds: 5},
			"himalaya.KernelRidgeCV/local_alpha=False/" + name: compare.Ridge{Alphas: alphas, Folds: 5},
		} {
			got, err := compare.Predictions(mapping, g, data.bin(2), own)
			require.NoError(t, err)
			want, _ := doubles(t, "ridge_arrays.npz", about+"/prediction")
			equalWithin(t, want, slices.Concat(got...), ridgeScores, about)
		}
		errors, err := compare.LeaveOneOutErrors(alphas, g, data.bin(2), own)
		require.NoError(t, err)
		equalWithin(t, golden[[]float64](t, "ridge.json", "sklearn.RidgeCV/loo_mse_by_alpha/"+name), errors, ridgeScores,
			"leave-one-out "+name)
	}
}

func TestCeilingsInDetail(t *testing.T) {
	_, data := goldenData(t)
	var centers []float64
	for bin := range data.bins {
		score, err := compare.InternalConsistency(data.trials(bin))
		require.NoError(t, err)
		centers = append(centers, score.Center)
	}
	equalWithin(t, golden[[]float64](t, "brainscore.json", "internal_consistency", "temporal", "values"), centers,
		ceilings, "temporal")
	halves := golden[[]struct{ Half1, Half2 []int }](t, "brainscore.json", "internal_consistency", "splits")
	for i, split := range splitsOf(t, compare.Splits{TrainFraction: 0.5}, data.repetitions, nil) {
		assert.Equal(t, halves[i].Half1, split.Train)
		assert.Equal(t, halves[i].Half2, split.Test)
	}
	reverse, err := compare.PredictorConsistency(data.trials(2), slices.Repeat([]int{data.repetitions}, len(data.ids)))
	require.NoError(t, err)
	for s, row := range golden[[][]float64](t, "brainscore.json", "predictor_consistency", "raw") {
		equalWithin(t, row, reverse.Raw[s], ceilings, "predictor consistency")
	}
}

// The table of the authors' earlier package: explained variance, of which the correction is the square.
func TestNoiseCorrectedOfStreams(t *testing.T) {
	model, data := goldenData(t)
	g := gramOf(t, model.flat(9), len(model))
	seed := uint32(0)
	splits := splitsOf(t, compare.Splits{Count: 2, TestFraction: 0.25, Seed: &seed}, len(data.ids), data.objects)
	assert.Equal(t, golden[[]compare.Split](t, "noise_corrected.json", "streams", "splits"), splits)
	table := golden[map[string][]float64](t, "noise_corrected.json", "streams", "table")
	q := len(data.neuroids)
	require.Len(t, table["site"], 2*3*q)
	for s, split := range splits {
		for half := range 3 {
			halving := compare.HalveRepetitions(data.repetitions, uint32(half))
			halving.Test = halving.Test[:data.repetitions/2] // an odd one is in neither half
			got, err := compare.NoiseCorrected(g, data.trials(2), split, compare.PLS{}, halving)
			require.NoError(t, err)
			from := (s*3 + half) * q
			about := fmt.Sprintf("split %d, halving %d", s, half)
			equalWithin(t, table["internal_cons"][from:from+q], got.ResponseReliability, ceilings, about)
			equalWithin(t, table["mapping_cons"][from:from+q], got.PredictionReliability, correctedScores, about)
			equalWithin(t, table["fit_r"][from:from+q], got.R, correctedScores, about)
			squares := make([]float64, q)
			for j, r := range got.R { // negative where a reliability is, of which Corrected is NaN
				squares[j] = r * r / (got.PredictionReliability[j] * got.ResponseReliability[j])
				assert.Equal(t, squares[j] < 0, math.IsNaN(got.Corrected[j]))
			}
			equalWithin(t, table["explained_var"][from:from+q], squares, correctedScores, about)
		}
	}
}

func TestSpanningTimeBySplit(t *testing.T) {
	model, data := goldenData(t)
	var features []float32
	var targets []compare.Targets
	for bin := range data.bins {
		features = append(features, model.flat(7+bin)...)
		targets = append(targets, data.bin(bin))
	}
	for name, c := range map[string]struct {
		mapping compare.Mapping
		q       quantity
	}{"spantime_pls": {compare.PLS{}, plsScores}, "spantime_ridge": {compare.Ridge{}, ridge32Scores}} {
		fits, err := compare.FitSpanningTime(gramOf(t, features, data.bins*len(model)), targets,
			splitsOf(t, compare.Splits{}, len(data.ids), data.objects), c.mapping)
		require.NoError(t, err)
		for s, bins := range golden[[][][]float64](t, "brainscore.json", name, "raw") {
			for bin, row := range bins {
				equalWithin(t, row, data.inOrder(t, fits[bin].Raw)[s], c.q, fmt.Sprint(name, s, bin))
			}
		}
	}
}

func TestDissimilaritiesInDetail(t *testing.T) {
	model, data := goldenData(t)
	// Brain-Score's matrices are whole, of stimuli in the order of the file.
	ids := texts(t, "data.npz", "stimulus_id")
	for name, c := range map[string]struct {
		rdm   compare.RDM
		order []string
	}{"rdm/model90": {compare.CorrelationRDM(gramOf(t, model.flat(9), len(model))), ids},
		"rdm/neural90": {compare.CorrelationRDM(gramOfTargets(t, data.bin(2))), data.ids}} {
		want, _ := doubles(t, "brainscore_arrays.npz", name)
		for i, one := range c.order {
			for j, other := range c.order {
				at := c.rdm.At(slices.Index(data.ids, one), slices.Index(data.ids, other))
				within(t, want[i*len(data.ids)+j], at, dissimilarities32)
			}
		}
	}
	features := compare.CorrelationRDM(gramOf(t, model.flat(9), len(model)))
	for i, subject := range data.subjectNames() {
		want := golden[float64](t, "brainscore.json", "rdm", "per_subject", subject)
		within(t, want, similarity(t, features, data.subjects(t, compare.CorrelationRDM, true)[i],
			compare.RankCorrelation), similarities, subject)
	}
	for i, row := range golden[[][]float64](t, "brainscore.json", "rdm", "time_by_time", "spearman") {
		over := compare.CorrelationRDM(gramOf(t, model.flat(4+i), len(model)))
		for bin, want := range row {
			within(t, want, similarity(t, over, compare.CorrelationRDM(gramOfTargets(t, data.bin(bin))),
				compare.RankCorrelation), similarities)
		}
	}
	var movie []float64
	for bin := range data.bins {
		movie = append(movie, compare.CorrelationRDM(gramOfTargets(t, data.few(bin, nil))).Values...)
	}
	equalWithin(t, arrayOf(t, "rdm_movie/correlation"), movie, dissimilarities, "movie")
	var subjects []float64
	for _, r := range data.subjects(t, compare.CorrelationRDM, false) {
		subjects = append(subjects, r.Values...)
	}
	equalWithin(t, arrayOf(t, "subject_rdms/correlation"), subjects, dissimilarities, "subjects")
	covariance, err := compare.NoiseCovariance(data.trials(2)[:fewStimuli])
	require.NoError(t, err)
	precision, err := compare.Precision(covariance)
	require.NoError(t, err)
	equalWithin(t, arrayOf(t, "prec_from_measurements/shrinkage_diag"), precision.RawMatrix().Data, dissimilarities, "precision")
	identity := mat.NewDense(len(data.neuroids), len(data.neuroids), nil)
	for j := range data.neuroids {
		identity.Set(j, j, 1)
	}
	crossnobis, err := compare.CrossnobisRDM(data.trials(2)[:fewStimuli], identity)
	require.NoError(t, err)
	equalWithin(t, arrayOf(t, "rdm/crossnobis_identity"), crossnobis.Values, dissimilarities, "without a precision")
}

// unpacked reads an array that is in Fortran order and compressed.
func unpacked(t testing.TB, file, name string) []float64 {
	archive, err := zip.OpenReader(filepath.Join(comparison, file))
	require.NoError(t, err)
	defer archive.Close()
	packed, err := archive.Open(name + ".npy")
	require.NoError(t, err)
	content, err := io.ReadAll(packed)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "a.npy")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	f, err := features.OpenArrays(path)
	require.NoError(t, err)
	defer f.Close()
	a, err := f.Array("")
	require.NoError(t, err)
	values, err := a.Float64s(0, a.Info().Shape[0])
	require.NoError(t, err)
	return values
}

// What leads to the behavioural consistencies.
func TestBehaviourInDetail(t *testing.T) {
	const file = "behaviour_arrays.npz"
	ids, classes := texts(t, file, "test_stimulus_id"), texts(t, file, "classes")
	choices, err := compare.ModelChoices(ids, texts(t, file, "test_labels"), classes, matrix(t, file, "probabilities"))
	require.NoError(t, err)
	trials := trialsOf(t)
	var shuffled []compare.Trial
	order, err := array(t, file, "first_shuffle_of_trials").Int64s(0, len(trials))
	require.NoError(t, err)
	numbers := numpyOrder(len(trials))
	numpyrandom.NewState(0).Shuffle(len(numbers), func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
	for i, at := range order {
		require.Equal(t, int(at), numbers[i])
		shuffled = append(shuffled, trials[at])
	}
	half := compare.HumanChoices(shuffled[:len(shuffled)/2])
	sorted := func(c *compare.Choices, values [][]float64) []float64 {
		var flat []float64
		for _, image := range slices.Sorted(slices.Values(c.Images)) {
			row := values[slices.Index(c.Images, image)]
			if len(row) == 1 {
				flat = append(flat, row...)
				continue
			}
			for _, object := range slices.Sorted(slices.Values(c.Objects)) {
				flat = append(flat, row[slices.Index(c.Objects, object)])
			}
		}
		return flat
	}
	for _, kind := range []compare.Consistency{compare.I1, compare.I1n, compare.I2, compare.I2n} {
		for name, got := range map[string][]float64{
			"source_false_alarms": sorted(choices, choices.Rates), "source": sorted(choices, choices.DPrimes(kind)),
			"target_rates_half0": sorted(half, half.Rates), "target_half0": sorted(half, half.DPrimes(kind)),
		} {
			equalWithin(t, unpacked(t, file, string(kind)+"/"+name), got, choiceRates, string(kind)+"/"+name)
		}
	}
}

// The decoder of object solution times has the weights that TensorFlow's has.
func TestOSTDecoder(t *testing.T) {
	bins, measured, want := ostData(t)
	at := func(ids []string) (rows [][]float64, labels []string, b func(bin int) [][]float64) {
		b = func(bin int) (rows [][]float64) {
			for _, id := range ids {
				i := slices.Index(measured.Images, id)
				var row []float64
				for _, v := range bins[bin].Features[i] {
					row = append(row, float64(v))
				}
				rows = append(rows, row)
			}
			return rows
		}
		for _, id := range ids {
			labels = append(labels, measured.Labels[slices.Index(measured.Images, id)])
		}
		return nil, labels, b
	}
	_, labels, train := at(want.Splits[0].TrainStimulusID)
	_, _, test := at(want.Splits[0].StimulusID)
	for bin := range bins {
		weights, bias, probabilities := compare.OSTWeights(train(bin), labels, test(bin))
		for name, got := range map[string][]float32{"final_weights": slices.Concat(weights...), "final_bias": bias} {
			reference := array(t, "ost_arrays.npz", fmt.Sprintf("split0/bin%d/%s", bin, name))
			values, err := reference.Float32s(0, reference.Info().Shape[0])
			require.NoError(t, err)
			require.Len(t, got, len(values))
			for i, v := range values {
				within(t, float64(v), float64(got[i]), ostDecoders)
			}
		}
		reference := array(t, "ost_arrays.npz", fmt.Sprintf("split0/bin%d/probabilities", bin))
		values, err := reference.Float32s(0, reference.Info().Shape[0])
		require.NoError(t, err)
		for i, p := range slices.Concat(probabilities...) {
			within(t, float64(values[i]), p, ostDecoders)
		}
	}
}
