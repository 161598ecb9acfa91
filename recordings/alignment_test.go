package recordings_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/recordings"
)

// From files to Brain-Score's RDM metric, its noise ceiling over subjects, and CKA.
func TestSimilarityOverTime(t *testing.T) {
	needHDF5(t)
	var golden struct {
		RDM, CKA map[string]json.RawMessage
	}
	readGolden(t, "brainscore.json", &golden)
	r := selected(t, open(t, "neural.nc", recordings.Layout{}), recordings.Selection{})
	number := func(text json.RawMessage) (v float64) {
		require.NoError(t, json.Unmarshal(text, &v))
		return v
	}
	fits, err := compare.SimilarityOverTime(t.Context(), modelled(t), r,
		compare.AlignmentOptions{Subjects: r.NeuroidLabels("subject")})
	require.NoError(t, err)
	require.Len(t, fits.Scores, len(r.Bins()))
	for _, s := range fits.Scores {
		assert.InDelta(t, number(golden.RDM[fmt.Sprintf("model%g_neural%[1]g", s.Bin.Start)]), s.Score.Center, 1e-9)
		assert.Equal(t, compare.Ratio, s.Normalisation)
		assert.InDelta(t, s.Score.Center/s.Ceiling.Center, s.Ceiled, 1e-12)
	}
	var ceiling struct{ Upper, Lower float64 }
	require.NoError(t, json.Unmarshal(golden.RDM["rsa_ceiling"], &ceiling))
	assert.InDelta(t, ceiling.Upper, fits.Scores[2].Ceiling.Center, 1e-9)
	assert.InDelta(t, ceiling.Lower, fits.Scores[2].LowerCeiling, 1e-9)
	var byTime struct {
		Model, Neural []float64
		Spearman      [][]float64
	}
	require.NoError(t, json.Unmarshal(golden.RDM["time_by_time"], &byTime))
	fits, err = compare.SimilarityOverTime(t.Context(), modelled(t), r, compare.AlignmentOptions{Matrix: true})
	require.NoError(t, err)
	checked := 0
	for _, s := range fits.Scores {
		at := slices.Index(byTime.Model, s.Features.Start)
		if at < 0 {
			assert.NotEmpty(t, s.Reason)
			continue
		}
		assert.InDelta(t, byTime.Spearman[at][slices.Index(byTime.Neural, s.Bin.Start)], s.Score.Center, 1e-9)
		checked++
	}
	assert.Equal(t, 16*len(r.Bins()), checked)
	for alignment, name := range map[compare.Alignment]string{compare.UnbiasedCKA: "cka",
		compare.BiasedCKAlignment: "cka_biased"} {
		fits, err := compare.SimilarityOverTime(t.Context(), modelled(t), r, compare.AlignmentOptions{Alignment: alignment})
		require.NoError(t, err)
		var want map[string]float64
		require.NoError(t, json.Unmarshal(golden.CKA[name], &want))
		for _, s := range fits.Scores {
			assert.InDelta(t, want[fmt.Sprint(s.Bin.Start)], s.Score.Center, 1e-6)
			assert.True(t, math.IsNaN(s.Ceiled))
		}
	}
}

func TestReadTrials(t *testing.T) {
	needHDF5(t)
	fromTable, err := recordings.ReadTrials(data + "behaviour.csv")
	require.NoError(t, err)
	var golden struct{ Trials int }
	readGolden(t, "behaviour.json", &golden)
	assert.Len(t, fromTable, golden.Trials)
	text, err := os.ReadFile(data + "behaviour.csv")
	require.NoError(t, err)
	first := fromTable[0]
	assert.Equal(t, strings.Split(strings.Fields(string(text))[1], ","),
		[]string{first.Image, first.Sample, first.Distractor, first.Choice})
	fromNetCDF, err := recordings.ReadTrials(data + "behaviour.nc")
	require.NoError(t, err)
	assert.Equal(t, fromTable, fromNetCDF)
	some, err := recordings.ReadTrials(data+"behaviour.csv", "sample_obj=car")
	require.NoError(t, err)
	assert.Less(t, len(some), len(fromTable))
	path := filepath.Join(t.TempDir(), "x.csv")
	for text, cause := range map[string]error{
		"image,sample,distractor,choice\na,car,dog,cat\n":                recordings.ErrFormat,
		"image,sample,distractor\na,car,dog\n":                           recordings.ErrLayout,
		"image,sample,distractor,choice\na,car,car,car\n":                recordings.ErrFormat,
		"image,sample,distractor,choice\na,car,dog,dog\na,dog,car,dog\n": recordings.ErrFormat,
	} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := recordings.ReadTrials(path)
		assert.ErrorIs(t, err, cause)
	}
}

// From files to Brain-Score's correlation of solution times.
func TestSolutionTimes(t *testing.T) {
	needHDF5(t)
	measured, repeated, err := recordings.ReadSolutionTimes(data + "ost_target.nc")
	require.NoError(t, err)
	assert.Zero(t, repeated)
	var golden goldenScoreOnly
	readGolden(t, "ost.json", &golden)
	for s, split := range golden.Splits {
		for i, id := range split.StimulusID {
			at := slices.Index(measured.Images, id)
			require.Equal(t, split.I1[i], measured.Thresholds[at], "split %d", s)
			if split.Target[i] == nil {
				require.True(t, math.IsNaN(measured.Times[at]))
			} else {
				require.InDelta(t, *split.Target[i], measured.Times[at], 1e-12)
			}
		}
	}
	f, err := recordings.OpenFeatures(data + "ost_features.nc")
	require.NoError(t, err)
	defer f.Close()
	at, err := compare.Positions(f, measured.Images)
	require.NoError(t, err)
	var bins []compare.OSTFeatures
	for _, b := range f.Layers()[0].Bins {
		rows, reason, err := compare.FeaturesAt(t.Context(), f, 0, at, b)
		require.NoError(t, err)
		require.Empty(t, reason)
		bins = append(bins, compare.OSTFeatures{Start: b.Start, Features: rows})
	}
	score, err := compare.OST(t.Context(), bins, measured, compare.BrainScoreOSTDecoder)
	require.NoError(t, err)
	assert.InDelta(t, golden.Score, score.Score, 1e-6)

	path := filepath.Join(t.TempDir(), "x.csv")
	require.NoError(t,
		os.WriteFile(path,
			[]byte("decoder,stimulus_id,label,ost,i1\nsvm,a,x,100,1\nlogistic,a,x,90,1\nsvm,b,y,,2\nsvm,a,x,1,1\n"), 0o600))
	measured, repeated, err = recordings.ReadSolutionTimes(path, "decoder=svm")
	require.NoError(t, err)
	assert.Equal(t, 1, repeated)
	assert.Equal(t, []string{"a", "b"}, measured.Images)
	assert.Equal(t, 100.0, measured.Times[0])
	assert.True(t, math.IsNaN(measured.Times[1]))
}

type goldenScoreOnly struct {
	Score  float64
	Splits []struct {
		StimulusID []string `json:"stimulus_id"`
		I1         []float64
		Target     []*float64
	}
}
