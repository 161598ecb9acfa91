package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/dustin/go-humanize"

	"github.com/tfconvrnn/go/internal/arrayfiles"
	"github.com/tfconvrnn/go/internal/diskspace"
	"github.com/tfconvrnn/go/internal/reduce"
	"github.com/tfconvrnn/go/internal/stimuli"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// formatSuffixes are the output formats that a file's name tells.
var formatSuffixes = map[string]arrayfiles.Format{
	".npz":  arrayfiles.NPZ,
	".npy":  arrayfiles.NPYFolder,
	".nc":   arrayfiles.NetCDF,
	".zarr": arrayfiles.Zarr,
	".mat":  arrayfiles.MATLAB,
}

// largeOutput is the size from which on an output whose format nobody names is Zarr.
const largeOutput = 4 << 30

// outputFormat returns the format asked for, or that of the file's name, or "" if
// neither names one.
func outputFormat(file, name string) (arrayfiles.Format, error) {
	if name != "" {
		for _, format := range arrayfiles.Formats() {
			if string(format) == name {
				return format, nil
			}
		}
		return "", usagef("unknown format %q; there are %v", name, arrayfiles.Formats())
	}
	suffix := strings.ToLower(filepath.Ext(file))
	if format, ok := formatSuffixes[suffix]; ok || suffix == "" {
		return format, nil
	}
	return "", usagef("--out %s: the name does not tell the format; end it in .npz, .nc, .zarr, .npy or .mat, or say --format (%v)", file, arrayfiles.Formats())
}

// checkOutput finds out, before anything is computed, whether an output can be
// written.
func checkOutput(file string, force bool) error {
	if _, err := os.Lstat(file); err == nil && !force {
		return fmt.Errorf("%s: %w; choose another name, or replace it with --force", file, arrayfiles.ErrExists)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return checkFolder(filepath.Dir(filepath.Clean(file)))
}

// checkUnfinished refuses to discard what an interrupted run left, and says whether
// it is to be resumed.
func checkUnfinished(file string, resume, force bool) (resuming bool, err error) {
	if _, err := os.Lstat(file + ".journal"); err != nil {
		return false, nil
	}
	if !resume && !force {
		return false, fmt.Errorf("%s: %w; go on with --resume, or start anew with --force", file, arrayfiles.ErrUnfinished)
	}
	return resume, nil
}

// checkSpace finds out whether a disk has the room for an output.
func checkSpace(file string, size int64) error {
	free := diskspace.Free(filepath.Dir(filepath.Clean(file)))
	if free < 0 || free >= size {
		return nil
	}
	return fmt.Errorf("%s: %w: %s are needed, %s are free; choose another disk, fewer layers or --reduce, or --force-size",
		file, arrayfiles.ErrNoSpace, humanize.Bytes(uint64(size)), humanize.Bytes(uint64(free)))
}

// checkFolder finds out whether files can be made in a folder.
func checkFolder(folder string) error {
	probe, err := os.CreateTemp(folder, ".tfconvrnn-*.tmp")
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return fmt.Errorf("cannot write to the folder %s: %w", folder, err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// provenance is what an output says about its making.
type provenance struct {
	tfconvrnn.Provenance
	ExifOrientation string `json:"exif_orientation,omitempty"`
	// BlankSHA256 is that of the file of a blank that is a picture.
	BlankSHA256 string            `json:"blank_sha256,omitempty"`
	Reductions  map[string]string `json:"reductions,omitempty"`
	DataType    string            `json:"data_type"`
	Inputs      []stimuli.Input   `json:"inputs"`
	// StimuliSHA256 is that of all stimuli's names and contents.
	StimuliSHA256 string `json:"stimuli_sha256,omitempty"`
}

// identity is what must be equal for an interrupted run to go on. What is the same
// in all runs of one version is part of the provenance.
type identity struct {
	*provenance
	OnError  string            `json:"on_error"`
	Stimuli  int               `json:"stimuli"`
	Contents map[string]string `json:"contents,omitempty"` // of each stimulus, of sets that are not large
}

// maxContents is the number of stimuli whose contents an identity lists, so that it
// can be said which one changed.
const maxContents = 10_000

func newIdentity(p *provenance, onError string, ids, hashes []string) *identity {
	i := &identity{provenance: p, OnError: onError, Stimuli: len(ids)}
	if len(ids) <= maxContents {
		i.Contents = make(map[string]string, len(ids))
		for k, id := range ids {
			i.Contents[id] = hashes[k]
		}
	}
	return i
}

// A layerReduction is a layer of an output.
type layerReduction struct {
	tfconvrnn.LayerOutput
	reduction reduce.Reduction
}

// reducedLayers returns how the layers of an extraction are reduced.
func reducedLayers(layers []tfconvrnn.LayerOutput, specification *reduce.Specification) ([]layerReduction, error) {
	var list []layerReduction
	for _, l := range layers {
		r, err := specification.For(l.Name, l.Shape)
		if err != nil {
			return nil, err
		}
		list = append(list, layerReduction{l, r})
	}
	for _, name := range specification.Layers() {
		if !slices.ContainsFunc(list, func(l layerReduction) bool { return l.Name == name }) {
			return nil, usagef("--reduce names layer %s, which is not extracted", name)
		}
	}
	return list, nil
}

// reductionNames returns the reductions for provenance.
func reductionNames(layers []layerReduction) map[string]string {
	names := map[string]string{}
	for _, l := range layers {
		if !l.reduction.IsNone() {
			names[l.Name] = l.reduction.String()
		}
	}
	return names
}

// outputContent is all that an output holds but the rows.
type outputContent struct {
	model    savedmodels.Model
	layers   []layerReduction
	logits   bool
	mask     bool // a mask of the stimuli that could be read
	dataType arrayfiles.DataType
	set      *stimuli.Set
	hashes   []string // of the stimuli
	about    *provenance
}

// layout describes the output of an extraction.
func (o *outputContent) layout(format arrayfiles.Format) (*arrayfiles.Layout, error) {
	layout := &arrayfiles.Layout{Rows: o.set.Len(), Model: o.model.Name, Identifier: o.model.Name, StimulusSet: o.set.Name()}
	for _, l := range o.layers {
		shape, err := l.reduction.OutputShape(l.Shape)
		if err != nil {
			return nil, err
		}
		streamed := arrayfiles.Streamed{
			Name: l.Name, DataType: o.dataType, RowShape: append([]int{len(l.Timesteps)}, shape...),
			Dimensions: append([]string{"timestep"}, l.reduction.Dimensions(l.Shape)...),
			Layer:      &arrayfiles.Layer{Timesteps: l.Timesteps, Driven: l.Driven},
		}
		if info, err := o.model.Layer(l.Name); err == nil && len(info.Areas) > 0 {
			streamed.Layer.Region = info.Areas[0]
		}
		layout.Streamed = append(layout.Streamed, streamed)
	}
	if o.logits {
		layout.Streamed = append(layout.Streamed, arrayfiles.Streamed{
			Name: "logits", DataType: arrayfiles.Float32, RowShape: []int{classes}, Dimensions: []string{"logit"},
		})
	}
	if o.mask {
		layout.Streamed = append(layout.Streamed, arrayfiles.Streamed{Name: "valid", DataType: arrayfiles.Bool})
	}
	o.addColumns(layout, format)
	text, err := json.Marshal(o.about)
	if err != nil {
		return nil, err
	}
	layout.Attributes = []arrayfiles.Attribute{{Name: "provenance", Value: string(text)}}
	return layout, nil
}

// reservedNames are taken in one of the formats.
var reservedNames = []string{
	"stimuli", "stimulus_id", "provenance", "logits", "logit", "valid", "timestep", "timesteps", "ms", "driven", "presentation", "neuroid",
	"neuroid_id", "neuroid_num", "time_bin", "time_bin_start", "time_bin_end", "model", "layer", "region", "channel", "channel_x", "channel_y",
	"first_driven_ms", "data", "features", "dimensions", "identifier", "stimulus_set_identifier", "stimulus_sha256",
}

// addColumns adds the stimuli's columns under names that every format can hold: a
// name that is taken begins with stimulus_.
func (o *outputContent) addColumns(layout *arrayfiles.Layout, format arrayfiles.Format) {
	taken := map[string]bool{}
	for _, name := range reservedNames {
		taken[name] = true
	}
	ofLayer := func(name string) bool { // also of layers that are not extracted, so that names do not depend on it
		return slices.ContainsFunc(o.model.Layers, func(l savedmodels.Layer) bool {
			return name == l.Name || strings.HasPrefix(name, l.Name+"_")
		})
	}
	for _, column := range o.set.Columns() {
		name := column.Name
		if name == "stimulus_id" {
			if format == arrayfiles.NPZ {
				name = "stimuli"
			}
			layout.Columns = append(layout.Columns, arrayfiles.Column{Name: name, Values: column.Values})
			continue
		}
		name = strings.Map(func(r rune) rune {
			if r == '_' || r == '-' || unicode.IsLetter(r) || unicode.IsDigit(r) {
				return r
			}
			return '_'
		}, name)
		if taken[name] || ofLayer(name) || strings.Trim(name, "_-") == "" || len(name) > 150 {
			name = "stimulus_" + name[:min(len(name), 150)]
			name = strings.ToValidUTF8(name, "")
		}
		base := name
		for n := 2; taken[name] || ofLayer(name); n++ {
			name = fmt.Sprintf("%s_%d", base, n)
		}
		taken[name] = true
		layout.Columns = append(layout.Columns, arrayfiles.Column{Name: name, Values: column.Values})
	}
	layout.Columns = append(layout.Columns, arrayfiles.Column{Name: "stimulus_sha256", Values: o.hashes})
}

// classes is the number of outputs of the readout.
const classes = 1000

// featureWriter writes batches to an output, reduced.
type featureWriter struct {
	writer   arrayfiles.Writer
	offset   int // of the stream's first stimulus
	logits   bool
	mask     bool
	reducers []*reduce.Reducer
	sizes    []int // of a layer's features in the output, over all timesteps
	// Buffers for one stimulus.
	features, reduced []float32
}

func newFeatureWriter(w arrayfiles.Writer, o *outputContent, offset int) (*featureWriter, error) {
	f := &featureWriter{writer: w, offset: offset, logits: o.logits, mask: o.mask}
	for _, l := range o.layers {
		r, err := reduce.New(l.reduction, l.Shape)
		if err != nil {
			return nil, err
		}
		if f.sizes = append(f.sizes, r.OutputSize()*len(l.Timesteps)); l.reduction.IsNone() {
			r = nil
		}
		f.reducers = append(f.reducers, r)
	}
	return f, nil
}

// write is a sink of Extraction.Stream. The rows of a stimulus that could not be
// read are NaN.
func (f *featureWriter) write(b *tfconvrnn.Batch) error {
	for i := range b.Stimuli {
		row := f.offset + b.First + i
		if row < f.writer.Resumed() {
			continue
		}
		if err := f.writeRow(b, i, row); err != nil {
			return err
		}
	}
	return nil
}

func (f *featureWriter) writeRow(b *tfconvrnn.Batch, i, row int) error {
	failed := b.Failed[i] != nil
	for layer, reducer := range f.reducers {
		var values []float32
		switch {
		case failed:
			values = f.missing(f.sizes[layer])
		default:
			var err error
			if f.features, err = b.AppendFeatures(f.features[:0], layer, i); err != nil {
				return err
			}
			if values = f.features; reducer != nil {
				f.reduced = slices.Grow(f.reduced[:0], f.sizes[layer])
				values = f.reduced[:f.sizes[layer]]
				reducer.ApplyAll(values, f.features)
			}
		}
		if err := f.writer.WriteRows(layer, row, values); err != nil {
			return err
		}
	}
	array := len(f.reducers)
	if f.logits {
		values, err := b.Logits(i)
		if err != nil {
			return err
		}
		if values == nil {
			values = f.missing(classes)
		}
		if err := f.writer.WriteRows(array, row, values); err != nil {
			return err
		}
		array++
	}
	if f.mask {
		valid := float32(1)
		if failed {
			valid = 0
		}
		return f.writer.WriteRows(array, row, []float32{valid})
	}
	return nil
}

func (f *featureWriter) missing(n int) []float32 {
	f.reduced = slices.Grow(f.reduced[:0], n)[:n]
	for k := range f.reduced {
		f.reduced[k] = float32(math.NaN())
	}
	return f.reduced
}
