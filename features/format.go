package features

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Format is an output format, by its name. Each lies in a file of this package, which
// registers how it is written and read, and what it can hold.
type Format string

// ErrUnknownFormat: there is no output format of this name, or for files so named.
var ErrUnknownFormat = errors.New("unknown format")

// formatSpec is what a format's file registers.
type formatSpec struct {
	format Format
	// title is its name in sentences; suffix that of the names of its outputs.
	title, suffix string
	// summary says in half a line what an output is, for help texts.
	summary string
	// folder: the output is a folder, known by the file marker in it.
	folder bool
	marker string
	// float16: layers can be stored as float16.
	float16 bool
	// oneTimeAxis: all layers must have the same timesteps.
	oneTimeAxis bool
	// maxLayerBytes bounds the features of a layer; 0 for no bound.
	maxLayerBytes int64
	// stimulusColumn is the name of the stimuli's ids, if it is not stimulus_id.
	stimulusColumn string
	// holdsColumn tells whether a column can be called so, nil for coordinateName;
	// columnName makes such a name, of at most maxColumnName bytes.
	holdsColumn   func(name string) bool
	columnName    func(name string) string
	maxColumnName int
	// plan lays out a format that the engine can write, nil for one with a create of its own.
	plan   func(path string, layout *Layout) (*plan, error)
	create func(path string, layout *Layout, options Options) (Writer, error)
	// size is that of such a format's outputs.
	size func(layout *Layout) (int64, error)
	// open fills in a Store; magic is how files of the format start.
	open  func(s *Store) error
	magic string
}

// registry has the formats that this package's files register, and does not change afterwards.
var registry []*formatSpec

func register(s *formatSpec) {
	registry = append(registry, s)
	slices.SortFunc(registry, func(a, b *formatSpec) int { return cmp.Compare(a.format, b.format) })
}

// spec is nil for a format that does not exist.
func (f Format) spec() *formatSpec {
	for _, s := range registry {
		if s.format == f {
			return s
		}
	}
	return nil
}

// known is spec, of a format without abilities where there is none.
func (f Format) known() *formatSpec {
	if s := f.spec(); s != nil {
		return s
	}
	return &formatSpec{format: f, title: string(f)}
}

// Formats lists the output formats by their names.
func Formats() []Format {
	list := make([]Format, len(registry))
	for i, s := range registry {
		list[i] = s.format
	}
	return list
}

// ParseFormat returns the format of a name such as "npz". The error wraps
// ErrUnknownFormat and lists what there is.
func ParseFormat(name string) (Format, error) {
	if s := Format(name).spec(); s != nil {
		return s.format, nil
	}
	return "", fmt.Errorf("%w %q; there are %s", ErrUnknownFormat, name, FormatNames())
}

// FormatOf returns the format that the name of an output tells by its suffix, of upper or
// lower case. The error wraps ErrUnknownFormat and lists the suffixes.
func FormatOf(path string) (Format, error) {
	suffix := strings.ToLower(filepath.Ext(path))
	for _, s := range registry {
		if s.suffix == suffix {
			return s.format, nil
		}
	}
	return "", fmt.Errorf("%w: %s does not end in %s", ErrUnknownFormat, path, FormatSuffixes())
}

// FormatNames lists the formats for a help text: "mat, netcdf, npy …".
func FormatNames() string {
	var names []string
	for _, s := range registry {
		names = append(names, string(s.format))
	}
	return strings.Join(names, ", ")
}

// FormatSuffixes lists the names' endings for a help text: ".mat, .nc … or .zarr".
func FormatSuffixes() string {
	var all []string
	for _, s := range registry {
		all = append(all, s.suffix)
	}
	last := len(all) - 1
	return strings.Join(all[:last], ", ") + " or " + all[last]
}

// FormatHelp has a line for each format: its ending, and what an output is.
func FormatHelp() string {
	var text strings.Builder
	for _, s := range registry {
		kind := "a file"
		if s.folder {
			kind = "a folder"
		}
		fmt.Fprintf(&text, "  %-6s %s, %s: %s\n", s.suffix, s.title, kind, s.summary)
	}
	return text.String()
}

// Title is the format's name in sentences, such as "netCDF".
func (f Format) Title() string { return f.known().title }

// Suffix is what the names of the format's outputs end in, with the dot.
func (f Format) Suffix() string { return f.known().suffix }

// Folder tells whether outputs are folders.
func (f Format) Folder() bool { return f.known().folder }

// Journaled tells whether Create keeps a journal, from which it goes on with an
// interrupted run.
func (f Format) Journaled() bool { return f.known().plan != nil }

// OneTimeAxis tells whether all layers of an output must have the same timesteps.
func (f Format) OneTimeAxis() bool { return f.known().oneTimeAxis }

// MaxLayerBytes is the most bytes that the features of one layer can take; 0 for as many
// as there are.
func (f Format) MaxLayerBytes() int64 { return f.known().maxLayerBytes }

// CheckDataType returns an error that wraps ErrDataType if the format cannot store the
// features of layers as such numbers: Float16 in some formats, and nowhere what is no
// floating-point type.
func (f Format) CheckDataType(d DataType) error {
	switch {
	case d == Float32 || d == Float64 || d == Float16 && f.known().float16:
		return nil
	case d == Float16:
		return fmt.Errorf("%w: %s has no float16; choose float32 or another format", ErrDataType, f.Title())
	}
	return fmt.Errorf("%w: features are floating-point numbers, not %v", ErrDataType, d)
}
