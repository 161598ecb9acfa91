package zoo

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, into))
}

func TestModelsMatchThePublishedZoo(t *testing.T) {
	var published []struct {
		Name, Cell, Depth, Decoder string
		Top1, Top5                 float64
		Default                    struct {
			Times    int
			ImageOff *int `json:"image_off"`
		}
		Layers []struct {
			Name         string
			Shape        []int
			ReportedFrom int `json:"reported_from"`
		}
		Parameters int
	}
	readJSON(t, "../../testdata/spec/zoo.json", &published)
	models := Models()
	require.Len(t, models, len(published))
	for i, want := range published {
		m := models[i]
		assert.Equal(t, want.Name, m.Name)
		assert.EqualValues(t, want.Cell, m.Cell, m.Name)
		assert.EqualValues(t, want.Depth, m.Depth, m.Name)
		assert.EqualValues(t, want.Decoder, m.Decoder, m.Name)
		assert.Equal(t, [2]float64{want.Top1, want.Top5}, [2]float64{m.Top1, m.Top5}, m.Name)
		off := want.Default.Times
		if want.Default.ImageOff != nil {
			off = *want.Default.ImageOff
		}
		assert.Equal(t, Presentation{want.Default.Times, off}, m.Default, m.Name)
		require.Len(t, m.Layers, len(want.Layers), m.Name)
		for j, layer := range want.Layers {
			assert.Equal(t, layer.Name, m.Layers[j].Name, m.Name)
			assert.Equal(t, layer.Shape, m.Layers[j].Shape, "%s %s", m.Name, layer.Name)
			assert.Equal(t, layer.ReportedFrom, m.Layers[j].ReportedFrom(), "%s %s", m.Name, layer.Name)
		}
		parameters := 0
		for _, v := range m.Variables() {
			n := 1
			for _, d := range v.Shape {
				n *= d
			}
			if v.Trainable {
				parameters += n
			}
		}
		assert.Equal(t, want.Parameters, parameters, m.Name)
	}
}

func TestVariablesMatchThePublishedCheckpoints(t *testing.T) {
	var published map[string][]Variable
	readJSON(t, "../../testdata/spec/variables.json", &published)
	for _, m := range Models() {
		assert.ElementsMatch(t, published[m.Name], m.Variables(), m.Name)
	}
}
