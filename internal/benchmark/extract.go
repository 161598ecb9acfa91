package benchmark

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/stimuli"
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
	return extract(ctx, m, o, paths, filepath.Join(dir, "features.npz"))
}

func extract(ctx context.Context, m *tfconvrnn.Model, o Options, paths []string, out string) (*Photographs, error) {
	result, err := extraction.Run(ctx, &extraction.Request{
		Recipe: extraction.Recipe{
			Model: m.Info().Name, Output: out, Format: features.NPZ, Presentation: o.Presentation, BatchSize: o.Batch,
			Layers: o.Fetches.Layers, AllTimesteps: o.Fetches.AllTimesteps, Logits: o.Fetches.Logits || len(o.Fetches.Layers) == 0,
		},
		Inputs: stimuli.Options{Inputs: paths}, Loaded: m,
	}, extraction.RunOptions{})
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(out)
	if err != nil {
		return nil, err
	}
	seconds, inSession := result.Elapsed.Seconds(), result.InSession.Seconds()
	return &Photographs{
		Count: result.Stimuli, Seconds: seconds, InSession: inSession, OutputBytes: info.Size(), OutsideSession: 1 - inSession/seconds,
	}, nil
}
