package recordings_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/hdf5"
	"github.com/tfconvrnn/go/recordings"
)

const standard = "../testdata/comparison/"

// data is a folder of data, and of other packages' numbers for them. TFCONVRNN_GOLDEN_COMPARISON names another than the
// standard one, which the scripts in testdata/comparison/generators made of other seeds and sizes.
var data = cmp.Or(os.Getenv("TFCONVRNN_GOLDEN_COMPARISON"), standard) + "/"

func needHDF5(t testing.TB) {
	if err := hdf5.Load(""); err != nil {
		if os.Getenv("CI") == "true" {
			require.NoError(t, err)
		}
		t.Skip("needs libhdf5:", err)
	}
}

func open(t testing.TB, name string, layout recordings.Layout) *recordings.Assembly {
	a, err := recordings.Open(data+name, layout)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, a.Close()) })
	return a
}

func selected(t testing.TB, a *recordings.Assembly, s recordings.Selection) *recordings.Recording {
	r, err := recordings.Select(a, s)
	require.NoError(t, err)
	return r
}

func doubles(t testing.TB, file, name string) ([]float64, []int) {
	f, err := features.OpenArrays(data + file)
	require.NoError(t, err)
	defer f.Close()
	a, err := f.Array(name)
	require.NoError(t, err)
	shape := a.Info().Shape
	values, err := a.Float64s(0, shape[0])
	require.NoError(t, err)
	return values, shape
}

func texts(t testing.TB, name string) []string {
	f, err := features.OpenArrays(data + "data.npz")
	require.NoError(t, err)
	defer f.Close()
	a, err := f.Array(name)
	require.NoError(t, err)
	values, err := a.Strings(0, a.Info().Shape[0])
	require.NoError(t, err)
	return values
}

// made is the array that all the files are made from.
type made struct {
	rates             []float64 // of shape
	shape             []int     // stimuli, repetitions, neuroids, time bins
	position          map[string]int
	stimuli, neuroids []string
	objects           []string
	float32           bool // the file's values are rounded
}

func madeData(t testing.TB) *made {
	m := &made{position: map[string]int{}, stimuli: texts(t, "stimulus_id"), neuroids: texts(t, "neuroid_id"),
		objects: texts(t, "object_name")}
	m.rates, m.shape = doubles(t, "data.npz", "rates")
	for i, id := range m.stimuli {
		m.position[id] = i
	}
	return m
}

// repetitions are the names of all.
func (m *made) repetitions() []string {
	var names []string
	for k := range m.shape[1] {
		names = append(names, fmt.Sprint(k))
	}
	return names
}

func (m *made) at(id string, repetition, neuroid, bin int) float64 {
	return m.rates[((m.position[id]*m.shape[1]+repetition)*m.shape[2]+neuroid)*m.shape[3]+bin]
}

// check compares all trials of a recording with the array.
func (m *made) check(t *testing.T, r *recordings.Recording, firstBin, bins int) {
	t.Helper()
	for b := range bins {
		trials, err := r.Trials(b)
		require.NoError(t, err)
		average, err := r.Average(b)
		require.NoError(t, err)
		require.Len(t, trials, len(r.Stimuli()))
		for i, id := range r.Stimuli() {
			require.Len(t, trials[i], len(r.Repetitions()))
			for j, name := range r.Neuroids() {
				neuroid, sum := slices.Index(m.neuroids, name), 0.0
				for k := range trials[i] {
					want := m.at(id, k, neuroid, firstBin+b)
					if m.float32 {
						want = float64(float32(want))
					}
					require.Equal(t, want, trials[i][k][j], "%s, repetition %d, %s", id, k, name)
					sum += want
				}
				require.InDelta(t, sum/float64(len(trials[i])), average[i][j], 1e-12)
			}
		}
	}
}

func TestBrainIO(t *testing.T) {
	needHDF5(t)
	r := selected(t, open(t, "neural.nc", recordings.Layout{}), recordings.Selection{})
	var golden struct {
		Average struct {
			Stimuli  []string `json:"stimulus_id"`
			Neuroids []string `json:"neuroid_id"`
		} `json:"average_repetition"`
	}
	text, err := os.ReadFile(data + "brainscore.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &golden))
	assert.Equal(t, golden.Average.Stimuli, r.Stimuli())
	assert.Equal(t, golden.Average.Neuroids, r.Neuroids())
	m := madeData(t)
	var bins []compare.Bin
	for b := range m.shape[3] {
		bins = append(bins, compare.Bin{Start: float64(70 + 10*b), End: float64(80 + 10*b)})
	}
	assert.Equal(t, bins, r.Bins())
	assert.Equal(t, m.repetitions(), r.Repetitions())
	assert.Empty(t, r.Dropped)
	assert.Empty(t, r.Notes)
	compareAverages(t, r, "brainscore_arrays.npz", "average_repetition")
	m.check(t, r, 0, m.shape[3])
	for i, id := range r.Stimuli() {
		require.Equal(t, m.objects[m.position[id]], r.Labels("object_name")[i])
	}
}

func compareAverages(t *testing.T, r *recordings.Recording, file, name string) {
	t.Helper()
	want, shape := doubles(t, file, name)
	for b := range shape[2] {
		average, err := r.Average(b)
		require.NoError(t, err)
		for i := range shape[0] {
			for j := range shape[1] {
				w, got := want[(i*shape[1]+j)*shape[2]+b], average[i][j]
				require.Equal(t, math.IsNaN(w), math.IsNaN(got), "%d %d %d", i, j, b)
				if !math.IsNaN(w) {
					require.InDelta(t, w, got, 1e-9)
				}
			}
		}
	}
}

func TestMissingRepetitions(t *testing.T) {
	needHDF5(t)
	r := selected(t, open(t, "neural_nan.nc", recordings.Layout{}), recordings.Selection{})
	compareAverages(t, r, "nan_variant_arrays.npz", "average")
	var golden struct {
		Ceiling goldenScore `json:"internal_consistency/90"`
		Whole   []string    `json:"neuroids without NaN after averaging"`
	}
	readGolden(t, "nan_variant.json", &golden)
	scores, err := compare.CeilingOverTime(t.Context(), r, false)
	require.NoError(t, err)
	at := slices.IndexFunc(scores, func(s compare.TimeScore) bool { return s.Bin.Start == 90 })
	assert.InDelta(t, golden.Ceiling.Center, scores[at].Ceiling.Center, 1e-9)
	assert.InDelta(t, golden.Ceiling.Error, scores[at].Ceiling.Error, 1e-9)
	order := slices.SortedFunc(slices.Values(r.Neuroids()), strings.Compare)
	for s, row := range golden.Ceiling.Raw {
		got := make([]float64, len(row))
		for j, id := range order {
			got[j] = scores[at].Ceiling.Raw[s][slices.Index(scores[at].NeuroidIDs, id)]
		}
		sameRaw(t, [][]*float64{row}, [][]float64{got}, 1e-9)
	}
	average, err := r.Average(at)
	require.NoError(t, err)
	for j, id := range r.Neuroids() {
		missing := slices.ContainsFunc(average, func(row []float64) bool { return math.IsNaN(row[j]) })
		assert.Equal(t, slices.Contains(golden.Whole, id), !missing, id)
	}
}

// Assemblies of before 2022.
func TestOldBrainIO(t *testing.T) {
	needHDF5(t)
	a := open(t, "neural_old.nc", recordings.Layout{})
	assert.Equal(t, []string{"presentation", "neuroid", "time_bin"}, a.Axes)
	for _, condition := range []string{"noisy=true", "noisy=1", "noisy!=False"} {
		some := selected(t, a, recordings.Selection{Where: []string{condition}})
		assert.Len(t, some.Neuroids(), (len(madeData(t).neuroids)+4)/5)
	}
	_, err := recordings.Select(a, recordings.Selection{Where: []string{"noisy=maybe"}})
	assert.ErrorIs(t, err, recordings.ErrSelection)
	noisy := a.Coordinate("noisy")
	assert.Equal(t, recordings.Boolean, noisy.Kind)
	assert.Equal(t, []string{"True", "False"}, noisy.Strings()[:2])
	r := selected(t, a, recordings.Selection{Regions: []string{"V4"}, Where: []string{"noisy=False", "x<3"}})
	m := madeData(t)
	m.float32 = true
	m.check(t, r, 2, 1)
	assert.Equal(t, []compare.Bin{{Start: 70, End: 170}}, r.Bins())
	assert.Subset(t, r.Labels("background"), []string{"", "naïve", "森"})
	require.Len(t, r.Dropped, 3)
	assert.Equal(t, "neuroid", r.Dropped[0].Axis)
	assert.Len(t, r.Dropped[0].Names, len(m.neuroids)-(len(m.neuroids)+2)/3)
	assert.Equal(t, m.neuroids[1], r.Dropped[0].Names[0])
}

func TestSelection(t *testing.T) {
	needHDF5(t)
	a := open(t, "neural.nc", recordings.Layout{})
	from, to := 80.0, 110.0
	r := selected(t, a, recordings.Selection{Subjects: []string{"Nano", "Tito"}, From: &from, To: &to,
		Where: []string{"variation>=3", "repetition!=0"}})
	m := madeData(t)
	ofOthers := func(subject string) bool { return subject == "Chabo" || subject == "Magneto" }
	assert.Len(t, r.Neuroids(), len(slices.DeleteFunc(texts(t, "animal"), ofOthers)))
	assert.Equal(t, []compare.Bin{{Start: 80, End: 90}, {Start: 90, End: 100}, {Start: 100, End: 110}}, r.Bins())
	assert.Equal(t, m.repetitions()[1:], r.Repetitions())
	trials, err := r.Trials(2)
	require.NoError(t, err)
	last, j := m.shape[1]-1, len(r.Neuroids())-1
	assert.Equal(t, m.at(r.Stimuli()[3], last, slices.Index(m.neuroids, r.Neuroids()[j]), 3), trials[3][last-1][j])

	r = selected(t, a, recordings.Selection{From: &from, To: &to, AverageTime: true})
	assert.Equal(t, []compare.Bin{{Start: 80, End: 110}}, r.Bins())
	trials, err = r.Trials(0)
	require.NoError(t, err)
	id := r.Stimuli()[5]
	assert.InDelta(t, (m.at(id, 1, 2, 1)+m.at(id, 1, 2, 2)+m.at(id, 1, 2, 3))/3, trials[5][1][2], 1e-12)

	for _, s := range []recordings.Selection{
		{Regions: []string{"V1"}}, {Subjects: []string{"nobody"}}, {Reliability: ">0.4"}, {Where: []string{"nonsense"}},
		{Where: []string{"nothing=1"}},
		{Where: []string{"region>3"}}, {Where: []string{"variation=x"}}, {Where: []string{"variation>100"}},
		{From: &to, To: &from}, {Stimulus: "neuroid_id"},
	} {
		_, err := recordings.Select(a, s)
		assert.Error(t, err, "%+v", s)
		if s.Stimulus == "" {
			assert.ErrorIs(t, err, recordings.ErrSelection, "%+v", s)
		}
	}
	// Without what tells them apart, presentations are several of the same repetition.
	_, err = recordings.Select(a, recordings.Selection{Stimulus: "object_name"})
	assert.ErrorIs(t, err, recordings.ErrDuplicate)
}
