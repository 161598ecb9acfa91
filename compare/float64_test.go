package compare_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
)

// Where Brain-Score is given the features in float64, its regressions are ours to the last digits.
func TestRegressionsInFloat64(t *testing.T) {
	model, data := goldenData(t)
	for name, c := range map[string]struct {
		mapping compare.Mapping
		strata  []string
		bins    []int
	}{
		"ridge/stratified":                 {compare.Ridge{}, data.objects, numpyOrder(data.bins)},
		"ridge/unstratified":               {compare.Ridge{}, nil, []int{2}},
		"linear_predictivity/stratified":   {compare.Linear{}, data.objects, []int{2}},
		"linear_predictivity/unstratified": {compare.Linear{}, nil, []int{2}},
	} {
		splits := splitsOf(t, compare.Splits{}, len(data.ids), c.strata)
		for _, bin := range c.bins {
			if onlyRounding(c.mapping, len(model[0][7+bin]), len(splits[0].Train)) {
				continue
			}
			fit, err := compare.FitTargets(gramOf(t, model.flat(7+bin), len(model)), data.bin(bin), splits, c.mapping)
			require.NoError(t, err)
			about := fmt.Sprintf("%s/%d", name, 70+10*bin)
			compareScore(t, data, golden[goldenScore](t, "float64.json", "predictivity", about), fit.Score, float64Scores, about)
		}
	}
	split := golden[[]compare.Split](t, "brainscore.json", "splits", "stratified", "splits")[:1]
	chosen := compare.Ridge{Alphas: compare.BrainScoreAlphas()}
	for name, flat := range map[string][]float32{"narrow": model.flat(9), "wide": model.flat(wide()...)} {
		for metric, mapping := range map[string]compare.Mapping{"ridge_split": compare.Ridge{},
			"dual_ridge_split": compare.Ridge{}, "ridgecv_split": chosen, "linear_predictivity_split": compare.Linear{}} {
			if onlyRounding(mapping, len(flat)/len(model), len(split[0].Train)) {
				continue
			}
			fit, err := compare.FitTargets(gramOf(t, flat, len(model)), data.bin(2), split, mapping)
			require.NoError(t, err)
			about := metric + "/" + name
			want := golden[goldenList](t, "float64.json", "split_metrics", about)
			within(t, want.Center, fit.Center, float64Scores, about)
			equalWithin(t, want.Raw, data.inOrder(t, fit.Raw)[0], float64Scores, about)
		}
	}
	var features []float32
	var targets []compare.Targets
	for bin := range data.bins {
		features = append(features, model.flat(7+bin)...)
		targets = append(targets, data.bin(bin))
	}
	fits, err := compare.FitSpanningTime(gramOf(t, features, data.bins*len(model)), targets,
		splitsOf(t, compare.Splits{}, len(data.ids), data.objects), compare.Ridge{})
	require.NoError(t, err)
	for s, bins := range golden[[][][]float64](t, "float64.json", "spantime_ridge", "raw") {
		for bin, row := range bins {
			equalWithin(t, row, data.inOrder(t, fits[bin].Raw)[s], float64Scores, fmt.Sprint("spantime_ridge", s, bin))
		}
	}
}
