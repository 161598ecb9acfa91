package features

import (
	"path"
	"slices"
	"strings"
	"unicode"
)

// longestColumnName is the longest name, in bytes, that no format cuts.
const longestColumnName = 150

// StimulusColumn is the name under which the format's readers look for the stimuli's ids.
func (f Format) StimulusColumn() string {
	if name := f.known().stimulusColumn; name != "" {
		return name
	}
	return "stimulus_id"
}

// HoldsColumn tells whether the format can hold a column of this name as it is.
func (f Format) HoldsColumn(name string) bool {
	if len(name) > longestColumnName || strings.Trim(name, "_-") == "" || strings.ContainsFunc(name, unicode.IsControl) ||
		strings.Contains(name, "\\") {
		return false
	}
	if holds := f.known().holdsColumn; holds != nil {
		return holds(name)
	}
	return coordinateName(name)
}

// MaxColumnName is the most bytes of a name that ColumnName returns.
func (f Format) MaxColumnName() int {
	if most := f.known().maxColumnName; most > 0 {
		return most
	}
	return longestColumnName + len("stimulus_")
}

// ColumnName makes of a name one of letters, digits, _ and -, which nearly every format
// can hold, or what the format needs; HoldsColumn tells whether it can.
func (f Format) ColumnName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return '_'
	}, name)
	if make := f.known().columnName; make != nil && name != "" {
		name = make(name)
	}
	return strings.ToValidUTF8(name[:min(len(name), f.MaxColumnName())], "")
}

// entryName tells whether a name can be an entry of a zip, or a cell of a CSV.
func entryName(name string) bool {
	return path.Clean(name) == name && !path.IsAbs(name) && !strings.HasPrefix(name, ".") && !strings.Contains(name, "/.")
}

// coordinateName tells whether a name can be a folder's, on any system, and one of a list
// with spaces, from which readers of Zarr and netCDF know coordinates.
func coordinateName(name string) bool {
	first := []rune(name)[0]
	return (first == '_' || first == '-' || unicode.IsLetter(first) || unicode.IsDigit(first)) &&
		!strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("/:*?\"<>|", r) })
}

// matlabKeywords cannot be names of variables.
var matlabKeywords = []string{
	"break", "case", "catch", "classdef", "continue", "else", "elseif", "end", "for", "function", "global", "if",
	"otherwise", "parfor",
	"persistent", "return", "spmd", "switch", "try", "while",
}

// matlabColumn tells whether a name can be a variable's.
func matlabColumn(name string) bool {
	letter := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }
	return letter(rune(name[0])) && len(name) <= matNameLength && !slices.Contains(matlabKeywords, name) &&
		!strings.ContainsFunc(name, func(r rune) bool { return !letter(r) && r != '_' && (r < '0' || r > '9') })
}
