package extraction

import (
	"context"
	"fmt"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/stimuli"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Request says what is extracted of which stimuli. Model and Output of the recipe and Inputs.Inputs
// are needed; what else is left empty is chosen.
type Request struct {
	// Recipe holds what the caller decides. The planner fills in what follows the chunks, and
	// BatchSize, if that is 0.
	Recipe
	// Inputs are the stimuli. Preprocessing and how sequences are read are also part
	// of the recipe, which decides.
	Inputs stimuli.Options
	// Orientation is recorded where stimuli are pictures; BlankSHA256 is that of the
	// blank's file.
	Orientation, BlankSHA256 string
	// Loaded is the model for Create and Run, which stays the caller's. For Create it need not
	// have a session. Where it is nil Run loads the recipe's.
	Loaded *tfconvrnn.Model
	// Settle is called when all stimuli are known and may change what of the recipe
	// depends on them. May be nil.
	Settle func(set *stimuli.Summary, r *Recipe) error
	// ChunkStimuli is the number of stimuli in a chunk of a Zarr store; 0 chooses. It is
	// rounded to whole batches.
	ChunkStimuli int
	// Sketch finds the stimuli without reading their contents, to know how large the output
	// would be. It can only be prepared, not run.
	Sketch bool
	// Progress is called with the number of stimuli that are planned. May be nil.
	Progress func(stimuli int)
}

// recipe returns the recipe with what is left empty chosen.
func (q *Request) recipe() (Recipe, error) {
	r := q.Recipe
	info, err := savedmodels.Lookup(r.Model)
	if err != nil {
		return r, err
	}
	if r.Presentation, err = r.Presentation.Resolve(info); err != nil {
		return r, err
	}
	if len(r.Layers) == 0 && !r.Logits {
		r.Layers = []string{info.Layers[len(info.Layers)-1].Name}
	}
	if r.DataType == features.InvalidType {
		r.DataType = features.Float32
	}
	if len(r.Devices) == 0 {
		r.Devices = tfconvrnn.Devices{tfconvrnn.CPU}
	}
	if r.OnError == "" {
		r.OnError = Fail
	}
	if r.Precision == "" {
		r.Precision = tfconvrnn.Float32
	}
	if err := r.checkChoices(); err != nil {
		return r, err
	}
	perFrame := max(r.Presentation.TimestepsPerFrame(), 1)
	if r.MaxFrames == 0 {
		r.MaxFrames = (r.Presentation.Times(info) + perFrame - 1) / perFrame
	}
	if r.FramesPerSecond == 0 {
		r.FramesPerSecond = 1000 / float64(perFrame*tfconvrnn.MillisecondsPerTimestep)
	}
	if r.Preprocessing, err = r.Preprocessing.Canonical(); err != nil {
		return r, err
	}
	if _, err := r.specification(); err != nil {
		return r, err
	}
	if r.Output == "" && !q.Sketch {
		return r, fmt.Errorf("%w: the request names no output", tfconvrnn.ErrOption)
	}
	return r, nil
}

// Load loads the recipe's model, with further options, such as a store of converted
// models. The caller closes it.
func (r *Recipe) Load(ctx context.Context, further ...tfconvrnn.Option) (*tfconvrnn.Model, error) {
	options, err := r.LoadOptions()
	if err != nil {
		return nil, err
	}
	return tfconvrnn.LoadContext(ctx, r.Model, append(options, further...)...)
}
