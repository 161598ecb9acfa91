package benchmark

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Photographs says how extracting photographs to a file went.
type Photographs struct {
	Count int `json:"count"`
	// Seconds is the time to extract them to the output, which has OutputBytes;
	// loading the model is not part of it. InSession is that during which
	// TensorFlow was running.
	Seconds     float64 `json:"seconds"`
	InSession   float64 `json:"seconds_in_session"`
	OutputBytes int64   `json:"output_bytes"`
	// OutsideSession is the share of the time in which TensorFlow was not running.
	OutsideSession float64 `json:"share_outside_session"`
}

// photographSide is the height and width of photographs.
const photographSide = 1000

// ExtractPhotographs extracts n JPEG photographs of 1000 pixels a side to an .npz
// file, in a temporary directory, and says for how much of the time TensorFlow was
// not running: while it waits for pictures or the disk.
func ExtractPhotographs(ctx context.Context, o Options, n int) (_ *Photographs, err error) {
	dir, err := os.MkdirTemp("", "tfconvrnn-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	paths, err := writePhotographs(dir, n, photographSide)
	if err != nil {
		return nil, err
	}
	m, err := tfconvrnn.LoadContext(ctx, o.Model, o.Load...)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	x, err := plan(m, o, false)
	if err != nil {
		return nil, err
	}
	return extract(ctx, x, paths, filepath.Join(dir, "features.npz"))
}

func extract(ctx context.Context, x *tfconvrnn.Extraction, paths []string, out string) (*Photographs, error) {
	stimuli := make([]tfconvrnn.Stimulus, len(paths))
	ids := make([]string, len(paths))
	for i, path := range paths {
		img, err := tfconvrnn.FileImage(path, tfconvrnn.Preprocessing{})
		if err != nil {
			return nil, err
		}
		ids[i] = filepath.Base(path)
		stimuli[i] = tfconvrnn.Stimulus{ID: ids[i], Frames: []*tfconvrnn.Image{img}}
	}
	layout := &features.Layout{
		Rows: len(paths), Model: x.Provenance().Model, Identifier: x.Provenance().Model, StimulusSet: "photographs",
		Columns: []features.Column{{Name: "stimuli", Values: ids}},
	}
	for _, l := range x.Layers() {
		layout.Streamed = append(layout.Streamed, features.Streamed{
			Name: l.Name, DataType: features.Float32, RowShape: append([]int{len(l.Timesteps)}, l.Shape...),
			Layer: &features.Layer{Timesteps: l.Timesteps, Driven: l.Driven},
		})
	}
	if x.Logits() {
		layout.Streamed = append(layout.Streamed, features.Streamed{Name: "logits", DataType: features.Float32, RowShape: []int{classes}})
	}
	before, begun := x.Statistics(), time.Now()
	writer, err := features.Create(out, features.NPZ, layout, features.Options{Identity: x.Provenance()}) // with a journal, as extract writes
	if err != nil {
		return nil, err
	}
	defer writer.Abort()
	var rows []float32
	err = x.Stream(ctx, slices.Values(stimuli), func(b *tfconvrnn.Batch) error {
		for array := range layout.Streamed {
			rows = rows[:0]
			for i := range b.Stimuli {
				if array < len(x.Layers()) {
					rows, err = b.AppendFeatures(rows, array, i)
				} else {
					var logits []float32
					logits, err = b.Logits(i)
					rows = append(rows, logits...)
				}
				if err != nil {
					return err
				}
			}
			if err := writer.WriteRows(array, b.First, rows); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := writer.Finish(ctx); err != nil {
		return nil, fmt.Errorf("writing features: %w", err)
	}
	elapsed, inSession := time.Since(begun), x.Statistics().InSession-before.InSession
	info, err := os.Stat(out)
	if err != nil {
		return nil, err
	}
	return &Photographs{
		Count: len(paths), Seconds: elapsed.Seconds(), InSession: inSession.Seconds(), OutputBytes: info.Size(),
		OutsideSession: 1 - inSession.Seconds()/elapsed.Seconds(),
	}, nil
}

const classes = 1000
