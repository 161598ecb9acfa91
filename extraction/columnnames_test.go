package extraction

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/reduce"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Names come through where a format can hold them; only those give way that cannot, or
// that are taken, and then the original is told.
func TestColumnNames(t *testing.T) {
	info, err := savedmodels.Lookup("timedecay_shallow")
	require.NoError(t, err)
	_, outputs, err := tfconvrnn.Outputs(info, tfconvrnn.Layers("conv1"))
	require.NoError(t, err)
	layers, err := reduceLayers(outputs, &reduce.Specification{})
	require.NoError(t, err)
	tables := []string{
		"a b", "a_b", "object/category", "size (deg)", "rating.mean", "Unnamed: 0", "layer", "conv1", "conv1/ms",
		"stimulus_path", "été", "end",
		"...", "a\\b", ".hidden", strings.Repeat("x", 190), "-", "long" + strings.Repeat("y", 70),
	}
	content := &outputContent{Model: info, Rows: 1, DataType: features.Float32, Layers: layers, Hashes: []string{"0"},
		About: &Provenance{}}
	for _, name := range append([]string{"stimulus_id", "stimulus_path"}, tables...) {
		content.Columns = append(content.Columns, stimuli.Column{Name: name, Values: []string{name}})
	}
	x150, y70 := strings.Repeat("x", 190)[:150], "long"+strings.Repeat("y", 70)
	for format, want := range map[features.Format][]string{
		features.NPZ: {
			"a b", "a_b", "object/category", "size (deg)", "rating.mean", "Unnamed: 0", "stimulus_layer", "stimulus_conv1",
			"stimulus_conv1_ms", "stimulus_stimulus_path",
			"été", "end", "stimulus____", "stimulus_a_b", "_hidden", "stimulus_" + x150, "stimulus_-", y70,
		},
		features.Zarr: {
			"stimulus_a_b", "a_b", "object_category", "size__deg_", "rating.mean", "Unnamed__0", "stimulus_layer",
			"stimulus_conv1", "stimulus_conv1_ms", "stimulus_stimulus_path",
			"été", "end", "stimulus____", "stimulus_a_b_2", "_hidden", "stimulus_" + x150, "stimulus_-", y70,
		},
		features.MATLAB: {
			"stimulus_a_b", "a_b", "object_category", "size__deg_", "rating_mean", "Unnamed__0", "stimulus_layer",
			"stimulus_conv1", "stimulus_conv1_ms", "stimulus_stimulus_path",
			"x_t_", "stimulus_end", "x___", "stimulus_a_b_2", "x_hidden", x150[:63], "x_", y70[:63],
		},
	} {
		layout, err := content.Layout(format)
		require.NoError(t, err)
		var about struct {
			ColumnNames map[string]string `json:"column_names"`
		}
		require.NoError(t, json.Unmarshal([]byte(layout.Attributes[0].Value), &about))
		for i, name := range tables {
			column := layout.Columns[2+i]
			assert.Equal(t, want[i], column.Name, "%s %q", format, name)
			assert.Equal(t, []string{name}, column.Values)
			if column.Name == name {
				assert.Empty(t, column.Original)
				assert.NotContains(t, about.ColumnNames, name)
				continue
			}
			assert.Equal(t, name, column.Original)
			assert.Equal(t, name, about.ColumnNames[column.Name])
		}
		_, err = layout.Size(format)
		assert.NoError(t, err, format)
	}
	assert.Nil(t, content.About.ColumnNames)
	layout, err := content.Layout(features.NetCDF)
	require.NoError(t, err)
	_, err = layout.Size(features.NetCDF)
	assert.NoError(t, err)
}
