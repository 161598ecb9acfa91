package plotting

import (
	"bytes"
	"fmt"
	"image/png"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
)

func aNumber(v float64) *compare.Number {
	n := compare.Number(v)
	return &n
}

// scored is a result with scores of layers × times of features × times of responses.
func scored(layers, features, bins int) *compare.Result {
	r := &compare.Result{Analysis: "fit", Metric: "pls(25)", Splits: "10 splits", Features: "f.nc", Data: "<d>.nc",
		Software: "test"}
	for l := range layers {
		for t := range features {
			for b := range bins {
				s := compare.ResultScore{Layer: fmt.Sprint("conv", l+1), Score: compare.Number(0.1*float64(l) + 0.01*float64(b)),
					Error: 0.02, Ceiling: 0.8, CeilingError: aNumber(0.01), Neuroids: 5,
					Normalisation: string(compare.Squared), TimeBinStart: aNumber(70 + 10*float64(b)),
					TimeBinEnd: aNumber(80 + 10*float64(b))}
				s.Ceiled = s.Score * s.Score / s.Ceiling
				if features > 1 {
					s.FeatureBinStart, s.FeatureBinEnd = aNumber(10*float64(t)), aNumber(10*float64(t)+10)
				}
				if b < l {
					s.Score, s.Error, s.Ceiled, s.Reason = compare.Number(math.NaN()), compare.Number(math.NaN()),
						compare.Number(math.NaN()), "not driven"
				}
				r.Scores = append(r.Scores, s)
			}
		}
	}
	return r
}

func TestComparisons(t *testing.T) {
	points := scored(2, 1, 1)
	points.Analysis = "behaviour"
	points.Scores[0].Points = &compare.Points{IDs: []string{"a", "b"}, Measured: []compare.Number{1, 2},
		Predicted: []compare.Number{2, 3}}
	chosen := scored(1, 1, 2)
	chosen.Analysis = "best"
	chosen.Scores[0].Region, chosen.Scores[0].Chosen, chosen.Scores[0].NotNested = "IT", "7 of 10", aNumber(0.4)
	between := scored(1, 1, 1)
	between.Scores = nil
	between.AddBetween(
		[]compare.LayerSimilarity{{Layers: [2]string{"conv1", "conv2"}, Bin: compare.Bin{Start: 70, End: 80},
			Similarity: 0.5},
			{Layers: [2]string{"conv1", "conv3"}, Bin: compare.Bin{Start: 70, End: 80}, Similarity: math.NaN(),
				Reason: "not driven"}})
	for _, c := range []struct {
		name   string
		result *compare.Result
		kinds  []string
	}{
		{"between layers", between, []string{"between"}},
		{"several times", scored(3, 1, 4), []string{"scores", "layers"}},
		{"many layers", scored(11, 1, 12), []string{"scores", "layers"}}, {"one time", scored(3, 1, 1), []string{"scores"}},
		{"all times", scored(2, 5, 4), []string{"matrix"}}, {"points", points, []string{"scores", "points"}},
		{"best", chosen, []string{"best"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var drawn []string
			var figures []*Figure
			for _, kind := range ComparisonKinds() {
				f, err := Comparison(c.result, kind)
				if err != nil {
					assert.ErrorIs(t, err, ErrImpossible)
					continue
				}
				drawn, figures = append(drawn, kind), append(figures, f)
				var one, other bytes.Buffer
				require.NoError(t, f.WritePNG(&one, 72))
				require.NoError(t, f.WritePNG(&other, 72))
				assert.Equal(t, one.Bytes(), other.Bytes())
				_, err = png.Decode(&one)
				assert.NoError(t, err)
				var svg bytes.Buffer
				require.NoError(t, f.WriteSVG(&svg))
				assert.NotContains(t, svg.String(), "NaN")
			}
			assert.Equal(t, c.kinds, drawn)
			var page bytes.Buffer
			require.NoError(t, NewComparisonPage("scores.nc", c.result, figures).Write(t.Context(), &page, 72))
			for _, text := range []string{"<th>LAYER</th>", "<td>conv1</td>", "&lt;d&gt;.nc", "pls(25)"} {
				assert.Contains(t, page.String(), text)
			}
			assert.Equal(t, len(c.kinds), strings.Count(page.String(), "<figure"))
		})
	}
	_, err := Comparison(scored(1, 1, 1), "nonsense")
	assert.ErrorIs(t, err, ErrOption)
	_, err = Comparison(&compare.Result{}, "scores")
	assert.ErrorIs(t, err, ErrImpossible)
}

// The band is where the ceiled score is 1, whatever the normalisation.
func TestCeilingBand(t *testing.T) {
	for n, middle := range map[compare.Normalisation]float64{compare.Squared: 0.9, compare.Root: 0.9, compare.Ratio: 0.81,
		compare.SquaredRatio: 0.81} {
		lo, hi := ceilingBand(&compare.ResultScore{Ceiling: 0.81, Normalisation: string(n)})
		assert.InDelta(t, middle, lo, 1e-12)
		assert.InDelta(t, middle, hi, 1e-12)
		assert.InDelta(t, 1, n.Apply(lo, 0.81), 1e-12)
	}
	lo, hi := ceilingBand(&compare.ResultScore{Ceiling: 0.5, LowerCeiling: aNumber(0.3)})
	assert.Equal(t, []float64{0.3, 0.5}, []float64{lo, hi})
}
