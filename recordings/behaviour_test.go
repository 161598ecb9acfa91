package recordings_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
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
	objects, err := read("train_labels").Strings(0, len(m.ids))
	require.NoError(t, err)
	for i, id := range m.ids {
		labels[id] = objects[i]
	}
	ids, err := read("test_stimulus_id").Strings(0, read("test_stimulus_id").Info().Rows())
	require.NoError(t, err)
	add("test_features", ids)
	trials, err := recordings.ReadTrials(data + "behaviour.csv")
	require.NoError(t, err)
	for _, kind := range []compare.Consistency{compare.I1, compare.I2n} {
		scores, err := compare.BehaviourOverTime(t.Context(), m, trials,
			compare.BehaviourOptions{Consistencies: []compare.Consistency{kind}, Labels: labels})
		require.NoError(t, err)
		var want struct{ Score, Ceiling float64 }
		readBehaviour(t, string(kind), &want.Score, &want.Ceiling)
		require.Len(t, scores, 1)
		assert.InDelta(t, want.Score, scores[0].Score, 1e-4) // the optimum, where Brain-Score stops earlier
		assert.InDelta(t, want.Ceiling, scores[0].Ceiling, 1e-9)
		assert.Equal(t, []int{len(labels), len(ids)}, []int{scores[0].Training, scores[0].Test})
	}
	_, err = compare.BehaviourOverTime(t.Context(), m, trials, compare.BehaviourOptions{})
	assert.ErrorIs(t, err, compare.ErrData)
}

func readBehaviour(t *testing.T, kind string, score, ceiling *float64) {
	var golden map[string]json.RawMessage
	readGolden(t, "behaviour.json", &golden)
	var chosen struct{ Score, Ceiling float64 }
	require.NoError(t, json.Unmarshal(golden[kind], &chosen))
	*score, *ceiling = chosen.Score, chosen.Ceiling
}

// Brain-Score's probabilities, as logits of classes, give its consistencies without a readout of our own.
func TestBehaviourOfLogits(t *testing.T) {
	file, err := features.OpenArrays(data + "behaviour_arrays.npz")
	require.NoError(t, err)
	defer file.Close()
	read := func(name string) *features.Array {
		a, err := file.Array(name)
		require.NoError(t, err)
		return a
	}
	ids, err := read("test_stimulus_id").Strings(0, read("test_stimulus_id").Info().Rows())
	require.NoError(t, err)
	objects, err := read("classes").Strings(0, read("classes").Info().Rows())
	require.NoError(t, err)
	m, classes := &inMemory{ids: ids}, "class,label\n"
	for i := range ids {
		row, err := read("probabilities").Float32s(i, 1)
		require.NoError(t, err)
		logits := make([]float32, 2*len(objects)) // two classes of each object
		for k, p := range row {
			logits[k], logits[len(objects)+k] = float32(math.Log(float64(p))), float32(math.Log(float64(p)))
		}
		m.rows = append(m.rows, logits)
	}
	for k, object := range objects {
		classes += fmt.Sprintf("%d,%s\n%d,%s\n", k, object, len(objects)+k, object)
	}
	table := filepath.Join(t.TempDir(), "classes.csv")
	require.NoError(t, os.WriteFile(table, []byte(classes), 0o666))
	of, err := recordings.ReadClasses(table)
	require.NoError(t, err)
	assert.Equal(t, []int{0, len(objects)}, of[objects[0]])
	trials, err := recordings.ReadTrials(data + "behaviour.csv")
	require.NoError(t, err)
	kinds := []compare.Consistency{compare.I1, compare.I1n, compare.I2, compare.I2n}
	scores, err := compare.BehaviourOverTime(t.Context(), m, trials, compare.BehaviourOptions{Consistencies: kinds,
		Classes: of})
	require.NoError(t, err)
	require.Len(t, scores, 4)
	for i, kind := range kinds {
		var want struct{ Score, Ceiling float64 }
		readBehaviour(t, string(kind), &want.Score, &want.Ceiling)
		assert.InDelta(t, want.Score, scores[i].Score, 1e-6, kind)
		assert.Equal(t, kind, scores[i].Consistency)
		assert.Len(t, scores[i].Points.Measured, len(scores[i].Points.IDs))
	}
	var golden struct{ Classifier struct{ Accuracy float64 } }
	readGolden(t, "behaviour.json", &golden)
	assert.InDelta(t, golden.Classifier.Accuracy, scores[0].Correct, 1e-12)

	for text, kind := range map[string]error{"class,label\n1000,dog\n": recordings.ErrFormat,
		"class,label\nn01440764,dog\n0,cat\n": recordings.ErrDuplicate, "class,name\n1,dog\n": recordings.ErrLayout} {
		require.NoError(t, os.WriteFile(table, []byte(text), 0o666))
		_, err := recordings.ReadClasses(table)
		assert.ErrorIs(t, err, kind, text)
	}
}
