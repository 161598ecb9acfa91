package recordings_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/recordings"
)

// layoutOf are the coordinates of the first 40 stimuli, which the other formats have.
func layoutOf(t testing.TB, m *made, array, axes string) recordings.Layout {
	l := recordings.Layout{Array: array, Axes: strings.Split(axes, ",")}
	l.Coordinates = []recordings.CoordinateFrom{{Name: "stimulus_id", Axis: "stimulus", Values: m.stimuli[:40]}}
	if strings.Contains(axes, "neuroid") {
		l.Coordinates = append(l.Coordinates, recordings.CoordinateFrom{Name: "neuroid_id", Axis: "neuroid",
			Values: m.neuroids})
	}
	return l
}

func TestHDF5(t *testing.T) {
	needHDF5(t)
	m := madeData(t)
	m.check(t, selected(t, open(t, "neural_kar.h5", layoutOf(t, m, "all", "neuroid,repetition,stimulus")),
		recordings.Selection{}), 2, 1)
	// Images × repetitions of one neuroid.
	r := selected(t, open(t, "neural_kar.h5", layoutOf(t, m, "rates", "stimulus,repetition")), recordings.Selection{})
	assert.Len(t, r.Repetitions(), m.shape[1])
	trials, err := r.Trials(0)
	require.NoError(t, err)
	for i, id := range r.Stimuli() {
		for k := range m.shape[1] {
			require.Equal(t, m.at(id, k, 0, 2), trials[i][k][0])
		}
	}
}

// MATLAB shows the axes the other way round.
func TestMATLAB73(t *testing.T) {
	needHDF5(t)
	m := madeData(t)
	l := layoutOf(t, m, "rates", "stimulus,repetition,neuroid")
	l.Coordinates[0] = recordings.CoordinateFrom{Name: "stimulus_id", Axis: "stimulus", From: "stimulus_id"}
	a := open(t, "neural_v73_like.mat", l)
	assert.Equal(t, []int{40, m.shape[1], m.shape[2]}, a.Shape)
	m.check(t, selected(t, a, recordings.Selection{}), 2, 1)
	part, err := a.Read([]int{3, 0, 2}, []int{4, 2, 5})
	require.NoError(t, err)
	assert.Equal(t, m.at(m.stimuli[5], 1, 3, 2), part[(2*2+1)*5+1])
}

func TestMATLAB5(t *testing.T) {
	m := madeData(t)
	l := layoutOf(t, m, "rates", "stimulus,repetition,neuroid")
	l.Coordinates = []recordings.CoordinateFrom{{Name: "stimulus_id", Axis: "stimulus", From: "stimulus_id"},
		{Name: "neuroid_id", Axis: "neuroid", From: "site"}}
	a := open(t, "neural_v5.mat", l)
	assert.Equal(t, []int{40, m.shape[1], m.shape[2]}, a.Shape)
	r := selected(t, a, recordings.Selection{})
	assert.Equal(t, m.neuroids, r.Neuroids())
	m.check(t, r, 2, 1)
	l.Array = "site"
	_, err := recordings.Open(data+"neural_v5.mat", l)
	assert.ErrorIs(t, err, recordings.ErrLayout)
}

func FuzzMATLAB5(f *testing.F) {
	whole, err := os.ReadFile(data + "neural_v5.mat")
	require.NoError(f, err)
	f.Add(whole[:2000])
	matrix := append(append([]byte{}, whole[:128]...), 14, 0, 0, 0, 56, 0, 0, 0, 6, 0, 0, 0, 8, 0, 0, 0, 6, 0, 0, 0, 0, 0,
		0, 0, 5, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 'x', 0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0)
	f.Add(matrix)
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "x.mat")
		require.NoError(t, os.WriteFile(path, content, 0o600))
		l := recordings.Layout{Array: "x", Axes: []string{"stimulus", "repetition"},
			Coordinates: []recordings.CoordinateFrom{{Name: "stimulus_id", Axis: "stimulus", From: "x"}}}
		a, err := recordings.Open(path, l)
		if err != nil {
			return
		}
		if _, err := a.Read(make([]int, 2), a.Shape); err != nil {
			t.Log(err)
		}
	})
}

func TestNumPy(t *testing.T) {
	m := madeData(t)
	m.float32 = true
	l := layoutOf(t, m, "", "stimulus,repetition,time_bin,neuroid")
	l.FirstBin, l.BinWidth = 70, 10
	m.check(t, selected(t, open(t, "psth_images_repetitions_bins_channels.npy", l), recordings.Selection{}), 0, m.shape[3])

	m.float32 = false
	l = recordings.Layout{Array: "rates", Axes: []string{"stimulus", "repetition", "neuroid", "time_bin"}, FirstBin: 70,
		BinWidth: 10}
	for _, text := range []string{"stimulus_id@stimulus=stimulus_id", "object_name@stimulus=object_name",
		"neuroid_id@neuroid=neuroid_id"} {
		c, err := recordings.ParseCoordinate(text)
		require.NoError(t, err)
		l.Coordinates = append(l.Coordinates, c)
	}
	from, to := 80.0, 100.0
	m.check(t, selected(t, open(t, "data.npz", l), recordings.Selection{From: &from, To: &to}), 1, 2)

	for name, l := range map[string]recordings.Layout{
		"no axes":       {Array: "rates"},
		"too few axes":  {Array: "rates", Axes: []string{"stimulus", "neuroid"}},
		"no such array": {Array: "nothing", Axes: []string{"stimulus"}},
		"an axis twice": {Array: "rates", Axes: []string{"stimulus", "neuroid", "neuroid", "time_bin"}},
		"coordinate too long": {Array: "rates", Axes: []string{"stimulus", "repetition", "neuroid", "time_bin"},
			Coordinates: []recordings.CoordinateFrom{{Name: "stimulus_id", Axis: "neuroid", From: "stimulus_id"}}},
		"no such file": {Array: "rates", Axes: []string{"stimulus", "repetition", "neuroid", "time_bin"},
			Coordinates: []recordings.CoordinateFrom{{Name: "stimulus_id", Axis: "stimulus", From: "nowhere.csv:x"}}},
	} {
		_, err := recordings.Open(data+"data.npz", l)
		if name == "no such array" {
			assert.ErrorIs(t, err, recordings.ErrFormat, name)
		} else {
			assert.ErrorIs(t, err, recordings.ErrLayout, name)
		}
	}
	// Without ids, stimuli cannot be matched.
	rates := recordings.Layout{Array: "rates", Axes: []string{"stimulus", "repetition", "neuroid", "time_bin"}}
	_, err := recordings.Select(open(t, "data.npz", rates), recordings.Selection{})
	assert.ErrorIs(t, err, recordings.ErrLayout)
}

func TestLongTable(t *testing.T) {
	m := madeData(t)
	r := selected(t, open(t, "neural_long.csv", recordings.Layout{}), recordings.Selection{})
	assert.Len(t, r.Stimuli(), 10)
	assert.Equal(t, m.neuroids[:6], r.Neuroids())
	m.check(t, r, 2, 1)
	for name, text := range map[string]string{
		"duplicate": "stimulus_id,neuroid_id,rate\na,n,1\na,n,2\n",
		"no number": "stimulus_id,neuroid_id,rate\na,n,x\n",
		"no id":     "picture,neuroid_id,rate\na,n,1\n",
		"no value":  "stimulus_id,neuroid_id,hertz\na,n,1\n",
		"ragged":    "stimulus_id,neuroid_id,rate\na,n\n",
		"empty":     "",
		"no rows":   "stimulus_id,rate\n",
		"twice":     "stimulus_id,rate,rate\na,1,1\n",
	} {
		path := filepath.Join(t.TempDir(), "x.csv")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := recordings.Open(path, recordings.Layout{})
		assert.Error(t, err, name)
	}
	// Other names of columns, other separators, missing values, and a coordinate of neuroids.
	path := filepath.Join(t.TempDir(), "x.tsv")
	require.NoError(t,
		os.WriteFile(path, []byte("picture\tchannel\tdepth\thertz\nb\t1\t0.5\t3\na\t1\t0.5\t\na\t2\t0.7\t4\nb\t2\t0.7\t5\n"),
			0o600))
	l := recordings.Layout{Array: "hertz",
		Coordinates: []recordings.CoordinateFrom{{Name: "stimulus_id", Axis: "presentation", From: "picture"},
			{Name: "neuroid_id", Axis: "neuroid", From: "channel"}}}
	a, err := recordings.Open(path, l)
	require.NoError(t, err)
	assert.Equal(t, "neuroid", a.Coordinate("depth").Axis)
	r = selected(t, a, recordings.Selection{Where: []string{"depth<0.7"}})
	average, err := r.Average(0)
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "b"}, r.Stimuli())
	assert.True(t, average[0][0] != average[0][0])
	assert.Equal(t, 3.0, average[1][0])
}

// The rows of a table may come in any order; the bins are in the order of time.
func TestShuffledTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shuffled.csv")
	require.NoError(t, os.WriteFile(path, []byte("stimulus_id,neuroid_id,time_bin_start,time_bin_end,rate\n"+
		"a,n,90,100,3\na,n,70,80,1\nb,n,80,90,20\na,n,80,90,2\nb,n,70,80,10\nb,n,90,100,30\n"), 0o666))
	a, err := recordings.Open(path, recordings.Layout{})
	require.NoError(t, err)
	defer a.Close()
	r := selected(t, a, recordings.Selection{})
	require.Equal(t, []compare.Bin{{Start: 70, End: 80}, {Start: 80, End: 90}, {Start: 90, End: 100}}, r.Bins())
	for bin, want := range []float64{1, 2, 3} {
		got, err := r.Average(bin)
		require.NoError(t, err)
		assert.Equal(t, compare.Targets{{want}, {10 * want}}, got)
	}
	r = selected(t, a, recordings.Selection{AverageTime: true})
	assert.Equal(t, []compare.Bin{{Start: 70, End: 100}}, r.Bins())
}

func TestUnusableFiles(t *testing.T) {
	needHDF5(t)
	whole, err := os.ReadFile(data + "neural_old.nc")
	require.NoError(t, err)
	for name, content := range map[string][]byte{"empty.nc": nil, "text.nc": []byte("hello"),
		"cut.nc": whole[:len(whole)/2], "classic.nc": []byte("CDF\x02\x00\x00\x00\x00"), "a.npy": []byte("\x93NUMPY\x01\x00"),
		"a.npz": []byte("PK\x03\x04")} {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		array := map[bool]string{true: "", false: "x"}[strings.HasSuffix(name, ".nc")]
		_, err := recordings.Open(path, recordings.Layout{Array: array})
		assert.Error(t, err, name)
		if strings.HasSuffix(name, ".nc") {
			assert.ErrorIs(t, err, recordings.ErrFormat, name)
		}
	}
	_, err = recordings.Open("nothing.nc", recordings.Layout{})
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = recordings.Open(data+"neural.nc", recordings.Layout{Array: "nothing"})
	assert.ErrorIs(t, err, recordings.ErrLayout)
}

func FuzzTable(f *testing.F) {
	f.Add("stimulus_id,neuroid_id,rate\na,n,1\n")
	f.Add("stimulus_id,repetition,rate,time_bin_start,time_bin_end\na,0,1,70,80\na,1,,70,80\n")
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "x.csv")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		a, err := recordings.Open(path, recordings.Layout{})
		if err != nil {
			return
		}
		r, err := recordings.Select(a, recordings.Selection{})
		if err != nil {
			return
		}
		_, err = r.Average(0)
		require.NoError(t, err)
		_, err = r.Trials(0)
		require.NoError(t, err)
	})
}
