package benchmark

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/images"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Photographs says how extracting photographs to a file went.
type Photographs struct {
	Count  int             `json:"count"`
	Format features.Format `json:"format"`
	// Seconds is the time to extract them to the output, which has OutputBytes;
	// loading the model is not part of it. InSession is that during which
	// TensorFlow was running.
	Seconds     float64 `json:"seconds"`
	InSession   float64 `json:"seconds_in_session"`
	OutputBytes int64   `json:"output_bytes"`
	// OutsideSession is the share of the time in which TensorFlow was not running.
	OutsideSession float64 `json:"share_outside_session"`
	// DecodeSeconds is the time of one core to decode and preprocess a photograph, and DecodeCores how
	// many cores that keeps busy to keep up with TensorFlow.
	DecodeSeconds float64 `json:"decode_seconds_per_photograph"`
	DecodeCores   float64 `json:"decode_cores"`
}

// photographSide is the height and width of photographs.
const photographSide = 1000

// ExtractPhotographs extracts n JPEG photographs of 1000 pixels a side to a file or
// store in a temporary directory, and says for how much of the time TensorFlow was
// not running: while it waits for pictures or the disk.
func ExtractPhotographs(ctx context.Context, o Options, n int, format features.Format) (_ *Photographs, err error) {
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
	p, err := extract(ctx, m, o, paths, filepath.Join(dir, "features"+format.Suffix()), format)
	if err != nil {
		return nil, err
	}
	if p.DecodeSeconds, err = decodeSeconds(paths[:min(n, 2*distinctPhotographs)]); err != nil {
		return nil, err
	}
	p.DecodeCores = p.DecodeSeconds * float64(p.Count) / p.InSession
	return p, nil
}

// decodeSeconds is how long one core takes for a photograph, the fastest of some.
func decodeSeconds(paths []string) (float64, error) {
	var preprocessing images.Preprocessing
	fastest := math.Inf(1)
	for _, path := range paths {
		begun := time.Now()
		picture, err := images.Open(path, preprocessing.Options())
		if err != nil {
			return 0, err
		}
		if _, err := preprocessing.Apply(picture); err != nil {
			return 0, err
		}
		fastest = min(fastest, time.Since(begun).Seconds())
	}
	return fastest, nil
}

func extract(ctx context.Context, m *tfconvrnn.Model, o Options, paths []string, out string, format features.Format) (
	*Photographs, error) {
	result, err := extraction.Run(ctx, &extraction.Request{
		Recipe: extraction.Recipe{
			Model: m.Info().Name, Output: out, Format: format, Presentation: o.Presentation, BatchSize: o.Batch,
			Layers: o.Fetches.Layers, AllTimesteps: o.Fetches.AllTimesteps, Logits: o.Fetches.Logits ||
				len(o.Fetches.Layers) == 0,
		},
		Inputs: stimuli.Options{Inputs: paths}, Loaded: m,
	}, extraction.RunOptions{})
	if err != nil {
		return nil, err
	}
	var size int64
	if err := filepath.WalkDir(out, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	}); err != nil {
		return nil, err
	}
	seconds, inSession := result.Elapsed.Seconds(), result.InSession.Seconds()
	return &Photographs{
		Count: result.Stimuli, Format: format, Seconds: seconds, InSession: inSession, OutputBytes: size,
		OutsideSession: 1 - inSession/seconds,
	}, nil
}
