package extraction

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/savedmodels"
)

// reservedNames are taken in one of the formats.
var reservedNames = []string{
	"stimuli", "stimulus_id", "provenance", "logits", "logit", "valid", "timestep", "timesteps", "ms", "driven",
	"presentation", "neuroid",
	"neuroid_id", "neuroid_num", "time_bin", "time_bin_start", "time_bin_end", "model", "layer", "region", "channel",
	"channel_x", "channel_y",
	"first_driven_ms", "data", "features", "dimensions", "identifier", "stimulus_set_identifier", "stimulus_sha256",
}

// addColumns adds the stimuli's columns under names that the format can hold, and
// returns the original names of those that have another. Columns whose names fit keep
// them; of the others, characters that some format cannot hold become _, and a name that
// is taken begins with stimulus_.
func (o *outputContent) addColumns(layout *features.Layout, format features.Format) map[string]string {
	taken := map[string]bool{}
	for _, name := range reservedNames {
		taken[name] = true
	}
	ofLayer := func(name string) bool { // also of layers that are not extracted, so that names do not depend on it
		return slices.ContainsFunc(o.Model.Layers, func(l savedmodels.Layer) bool {
			return name == l.Name || strings.HasPrefix(name, l.Name+"_") || strings.HasPrefix(name, l.Name+"/")
		})
	}
	names := make([]string, len(o.Columns))
	for i, column := range o.Columns {
		switch {
		case i == 0 && column.Name == "stimulus_id": // ours
			names[i] = format.StimulusColumn()
		case format.HoldsColumn(column.Name) && !taken[column.Name] && !ofLayer(column.Name):
			names[i] = column.Name
			taken[names[i]] = true
		}
	}
	changed := map[string]string{}
	for i, column := range o.Columns {
		original := ""
		if names[i] == "" {
			original = column.Name
			base := format.ColumnName(column.Name)
			if taken[base] || ofLayer(base) || strings.Trim(base, "_-") == "" || !format.HoldsColumn(base) {
				base = format.ColumnName("stimulus_" + base)
			}
			names[i] = base
			for n := 2; taken[names[i]] || ofLayer(names[i]); n++ {
				suffix := fmt.Sprintf("_%d", n)
				names[i] = base[:min(len(base), format.MaxColumnName()-len(suffix))] + suffix
			}
			taken[names[i]] = true
			changed[names[i]] = original
		}
		layout.Columns = append(layout.Columns, features.Column{Name: names[i], Original: original, Values: column.Values})
	}
	layout.Columns = append(layout.Columns, features.Column{Name: "stimulus_sha256", Values: o.Hashes})
	return changed
}
