package extraction

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/savedmodels"
)

// reservedNames are taken in one of the formats.
var reservedNames = []string{
	"stimuli", "stimulus_id", "provenance", "logits", "logit", "valid", "timestep", "timesteps", "ms", "driven", "presentation", "neuroid",
	"neuroid_id", "neuroid_num", "time_bin", "time_bin_start", "time_bin_end", "model", "layer", "region", "channel", "channel_x", "channel_y",
	"first_driven_ms", "data", "features", "dimensions", "identifier", "stimulus_set_identifier", "stimulus_sha256",
}

// matlabKeywords cannot be names of variables.
var matlabKeywords = []string{
	"break", "case", "catch", "classdef", "continue", "else", "elseif", "end", "for", "function", "global", "if", "otherwise", "parfor",
	"persistent", "return", "spmd", "switch", "try", "while",
}

// maxColumnName is the longest name, in bytes, that no format cuts.
const maxColumnName = 150

// fits says whether a format can hold a column of this name as it is.
func fits(name string, format features.Format) bool {
	has := func(what func(r rune) bool) bool { return strings.ContainsFunc(name, what) }
	if len(name) > maxColumnName || strings.Trim(name, "_-") == "" || has(unicode.IsControl) || strings.Contains(name, "\\") {
		return false
	}
	switch format {
	case features.NPZ, features.NPYFolder: // an entry of a zip, a cell of a CSV
		return path.Clean(name) == name && !path.IsAbs(name) && !strings.HasPrefix(name, ".") && !strings.Contains(name, "/.")
	case features.MATLAB:
		letter := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }
		return letter(rune(name[0])) && len(name) <= 63 && !slices.Contains(matlabKeywords, name) &&
			!has(func(r rune) bool { return !letter(r) && r != '_' && (r < '0' || r > '9') })
	}
	// Zarr has folders of these names, on any system; and readers of both Zarr and netCDF
	// know coordinates from a list with spaces.
	first := []rune(name)[0]
	return (first == '_' || first == '-' || unicode.IsLetter(first) || unicode.IsDigit(first)) &&
		!has(func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("/:*?\"<>|", r) })
}

// addColumns adds the stimuli's columns under names that the format can hold, and
// returns the original names of those that have another. Columns whose names fit keep
// them; of the others, characters that some format cannot hold become _, and a name that
// is taken begins with stimulus_.
func (o *Content) addColumns(layout *features.Layout, format features.Format) map[string]string {
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
			if names[i] = column.Name; format == features.NPZ {
				names[i] = "stimuli"
			}
		case fits(column.Name, format) && !taken[column.Name] && !ofLayer(column.Name):
			names[i] = column.Name
			taken[names[i]] = true
		}
	}
	changed := map[string]string{}
	for i, column := range o.Columns {
		original := ""
		if names[i] == "" {
			original = column.Name
			base := fitting(column.Name, format)
			if taken[base] || ofLayer(base) || strings.Trim(base, "_-") == "" || !fits(base, format) {
				base = fitting("stimulus_"+base, format)
			}
			names[i] = base
			for n := 2; taken[names[i]] || ofLayer(names[i]); n++ {
				suffix := fmt.Sprintf("_%d", n)
				names[i] = base[:min(len(base), maxName(format)-len(suffix))] + suffix
			}
			taken[names[i]] = true
			changed[names[i]] = original
		}
		layout.Columns = append(layout.Columns, features.Column{Name: names[i], Original: original, Values: column.Values})
	}
	layout.Columns = append(layout.Columns, features.Column{Name: "stimulus_sha256", Values: o.Hashes})
	return changed
}

func maxName(format features.Format) int {
	if format == features.MATLAB {
		return 63
	}
	return maxColumnName + len("stimulus_")
}

// fitting makes a name of letters, digits, _ and -, and for MATLAB of those of ASCII that
// begin with a letter.
func fitting(name string, format features.Format) string {
	name = strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return '_'
	}, name)
	if format == features.MATLAB {
		name = features.MATLABName(name)
	}
	return strings.ToValidUTF8(name[:min(len(name), maxName(format))], "")
}
