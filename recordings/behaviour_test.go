package recordings_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/compare"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/recordings"
)

// inMemory are features without time.
type inMemory struct {
	ids  []string
	rows [][]float32
}

func (m *inMemory) Stimuli() []string { return m.ids }
func (m *inMemory) Layers() []compare.FeatureLayer {
	return []compare.FeatureLayer{{Name: "layer", Size: len(m.rows[0])}}
}
func (m *inMemory) Row(_, stimulus int) ([]float32, error) { return m.rows[stimulus], nil }

// A readout fitted on stimuli outside the trials gives Brain-Score's consistencies.
func TestBehaviourOverTime(t *testing.T) {
	file, err := features.OpenArrays(data + "behaviour_arrays.npz")
	require.NoError(t, err)
	defer file.Close()
	read := func(name string) *features.Array {
		a, err := file.Array(name)
		require.NoError(t, err)
		return a
	}
	m, labels := &inMemory{}, map[string]string{}
	add := func(name string, ids []string) {
		a := read(name)
		require.Equal(t, len(ids), a.Info().Rows())
		for i, id := range ids {
			row, err := a.Float32s(i, 1)
			require.NoError(t, err)
			m.ids, m.rows = append(m.ids, id), append(m.rows, row)
		}
	}
	add("train_features", texts(t, "stimulus_id"))
	objects, err := read("train_labels").Strings(0, 120)
	require.NoError(t, err)
	for i, id := range m.ids {
		labels[id] = objects[i]
	}
	ids, err := read("test_stimulus_id").Strings(0, 64)
	require.NoError(t, err)
	add("test_features", ids)
	trials, err := recordings.ReadTrials(data + "behaviour.csv")
	require.NoError(t, err)
	for _, kind := range []compare.Consistency{compare.I1, compare.I2n} {
		scores, err := compare.BehaviourOverTime(t.Context(), m, trials, compare.BehaviourOptions{Consistencies: []compare.Consistency{kind}, Labels: labels})
		require.NoError(t, err)
		var want struct{ Score, Ceiling float64 }
		readBehaviour(t, string(kind), &want.Score, &want.Ceiling)
		require.Len(t, scores, 1)
		assert.InDelta(t, want.Score, scores[0].Score, 1e-4) // the optimum, where Brain-Score stops earlier
		assert.InDelta(t, want.Ceiling, scores[0].Ceiling, 1e-9)
		assert.Equal(t, []int{120, 64}, []int{scores[0].Training, scores[0].Test})
	}
	_, err = compare.BehaviourOverTime(t.Context(), m, trials, compare.BehaviourOptions{})
	assert.ErrorIs(t, err, compare.ErrData)
}

func readBehaviour(t *testing.T, kind string, score, ceiling *float64) {
	var golden struct {
		I1  struct{ Score, Ceiling float64 } `json:"i1"`
		I2n struct{ Score, Ceiling float64 } `json:"i2n"`
	}
	readGolden(t, "behaviour.json", &golden)
	chosen := golden.I1
	if kind == "i2n" {
		chosen = golden.I2n
	}
	*score, *ceiling = chosen.Score, chosen.Ceiling
}
