package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tfconvrnn/go/internal/arrayfiles"
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

// outputFormat returns the format asked for, or that of the file's name.
func outputFormat(file, name string) (arrayfiles.Format, error) {
	if name != "" {
		for _, format := range arrayfiles.Formats() {
			if string(format) == name {
				return format, nil
			}
		}
		return "", usagef("unknown format %q; there are %v", name, arrayfiles.Formats())
	}
	if file == "" {
		return arrayfiles.NPZ, nil
	}
	if format, ok := formatSuffixes[strings.ToLower(filepath.Ext(file))]; ok {
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
	ExifOrientation string         `json:"exif_orientation,omitempty"`
	Inputs          []inputSummary `json:"inputs"`
}

// newLayout describes the output of an extraction.
func newLayout(model savedmodels.Model, layers []tfconvrnn.LayerOutput, logits bool, set *stimulusSet, format arrayfiles.Format, p *provenance) (*arrayfiles.Layout, error) {
	layout := &arrayfiles.Layout{Rows: set.count(), Model: model.Name, Identifier: model.Name, StimulusSet: set.name()}
	for _, l := range layers {
		streamed := arrayfiles.Streamed{
			Name: l.Name, DataType: arrayfiles.Float32, RowShape: append([]int{len(l.Timesteps)}, l.Shape...),
			Dimensions: []string{"timestep", "class"},
			Layer:      &arrayfiles.Layer{Timesteps: l.Timesteps, Driven: l.Driven},
		}
		if len(l.Shape) == 3 {
			streamed.Dimensions = []string{"timestep", "height", "width", "channel"}
		}
		if info, err := model.Layer(l.Name); err == nil && len(info.Areas) > 0 {
			streamed.Layer.Region = info.Areas[0]
		}
		layout.Streamed = append(layout.Streamed, streamed)
	}
	if logits {
		layout.Streamed = append(layout.Streamed, arrayfiles.Streamed{
			Name: "logits", DataType: arrayfiles.Float32, RowShape: []int{classes}, Dimensions: []string{"class"},
		})
	}
	column := "stimulus_id"
	if format == arrayfiles.NPZ {
		column = "stimuli"
	}
	layout.Columns = []arrayfiles.Column{{Name: column, Values: set.ids}}
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	layout.Attributes = []arrayfiles.Attribute{{Name: "provenance", Value: string(text)}}
	return layout, nil
}

// classes is the number of outputs of the readout.
const classes = 1000

// featureWriter writes batches to an output.
type featureWriter struct {
	writer  arrayfiles.Writer
	layers  int
	logits  bool
	buffers [][]float32 // one for each array
}

func newFeatureWriter(w arrayfiles.Writer, layers int, logits bool) *featureWriter {
	f := &featureWriter{writer: w, layers: layers, logits: logits, buffers: make([][]float32, layers)}
	if logits {
		f.buffers = append(f.buffers, nil)
	}
	return f
}

// write is a sink of Extraction.Stream.
func (f *featureWriter) write(b *tfconvrnn.Batch) error {
	for array := range f.buffers {
		buffer := f.buffers[array][:0]
		for i := range b.Stimuli {
			var err error
			if array < f.layers {
				buffer, err = b.AppendFeatures(buffer, array, i)
			} else {
				var values []float32
				if values, err = b.Logits(i); values == nil && err == nil {
					values = make([]float32, classes)
				}
				buffer = append(buffer, values...)
			}
			if err != nil {
				return err
			}
		}
		f.buffers[array] = buffer
		if err := f.writer.WriteRows(array, b.First, buffer); err != nil {
			return err
		}
	}
	return nil
}
