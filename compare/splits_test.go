package compare_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
)

// golden reads one value of a JSON file of testdata.
func golden[T any](t testing.TB, file string, path ...string) (value T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(comparison, file))
	require.NoError(t, err)
	raw := json.RawMessage(text)
	for _, name := range path {
		var all map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(raw, &all))
		require.Contains(t, all, name)
		raw = all[name]
	}
	require.NoError(t, json.Unmarshal(raw, &value))
	return value
}

func splitsOf(t testing.TB, s compare.Splits, n int, strata []string) []compare.Split {
	splits, err := s.Of(n, strata)
	require.NoError(t, err)
	return splits
}

func TestSplits(t *testing.T) {
	labels := golden[[]string](t, "rng.json", "labels")
	for name, got := range map[string][]compare.Split{
		"ShuffleSplit(3,train_size=.9,random_state=1)/25": splitsOf(t, compare.Splits{Count: 3}, 25, nil),
		"ShuffleSplit(3,train_size=.5,random_state=1)/5": splitsOf(t, compare.Splits{Count: 3, TrainFraction: 0.5},
			5, nil),
		"ShuffleSplit(3,test_size=.1,random_state=1)/25": splitsOf(t, compare.Splits{Count: 3, TestFraction: 0.1},
			25, nil),
		"StratifiedShuffleSplit(3,train_size=.8,random_state=1)": splitsOf(t, compare.Splits{Count: 3, TrainFraction: 0.8},
			25, labels),
		"KFold(4,shuffle,random_state=1)/10": splitsOf(t, compare.Splits{Count: 4, Folds: true}, 10, nil),
		"KFold(5)/12": splitsOf(t,
			compare.Splits{Count: 5, Folds: true, InOrder: true}, 12, nil),
		"StratifiedKFold(4,shuffle,random_state=1)": splitsOf(t, compare.Splits{Count: 4, Folds: true}, 25,
			labels),
	} {
		assert.Equal(t, golden[[]compare.Split](t, "rng.json", name), got, name)
	}
}

func TestSplitsOfBrainScore(t *testing.T) {
	_, neural := goldenData(t)
	for name, s := range map[string]struct {
		splits compare.Splits
		strata []string
	}{
		"stratified": {compare.Splits{}, neural.objects}, "unstratified": {compare.Splits{}, nil},
		"kfold_stratified": {compare.Splits{Folds: true}, neural.objects}, "kfold": {compare.Splits{Folds: true}, nil},
	} {
		assert.Equal(t, golden[[]compare.Split](t, "brainscore.json", "splits", name, "splits"),
			splitsOf(t, s.splits, len(neural.ids), s.strata), name)
	}
}

func TestImpossibleSplits(t *testing.T) {
	for _, s := range []struct {
		splits compare.Splits
		n      int
		strata []string
	}{
		{compare.Splits{}, 1, nil}, {compare.Splits{Folds: true}, 5, nil}, {compare.Splits{Count: -1}, 5, nil},
		{compare.Splits{}, 4, []string{"a", "a", "a", "b"}}, {compare.Splits{}, 3, []string{"a"}},
		{compare.Splits{Count: 3, Folds: true}, 4, []string{"a", "a", "b", "b"}},
		{compare.Splits{TrainFraction: 1.5}, 10, nil},
	} {
		_, err := s.splits.Of(s.n, s.strata)
		assert.ErrorIs(t, err, compare.ErrSplits)
	}
}
