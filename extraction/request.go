package extraction

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

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
	// Shown, if not nil, is the presentation as people write it, in place of Recipe.Presentation. How
	// sequences are shown then depends on the stimuli: see stimuli.Summary.Presentation.
	Shown *tfconvrnn.PresentationSpec
	// BlankSHA256 is that of the file of a blank that is a picture; "" takes the blank's own.
	BlankSHA256 string
	// Loaded is the model for Create and Run, which stays the caller's. For Create it need not
	// have a session. Where it is nil Run loads the recipe's.
	Loaded *tfconvrnn.Model
	// ChunkStimuli is the number of stimuli in a chunk of a Zarr store; 0 chooses. It is
	// rounded to whole batches.
	ChunkStimuli int
	// Sketch finds the stimuli without reading their contents, to know how large the output
	// would be. It can only be prepared, not run.
	Sketch bool
	// Progress is called with the number of stimuli that are planned. May be nil.
	Progress func(stimuli int)
}

// Check finds out, before anything is read or loaded, what can be wrong with a request: model,
// layers and units, presentation, preprocessing, reductions, and choices. The output and the
// stimuli are not looked at. Errors are those of Prepare.
func (q *Request) Check() error {
	_, err := q.recipe()
	return err
}

// recipe returns the recipe with what is left empty chosen.
func (q *Request) recipe() (Recipe, error) {
	r := q.Recipe
	info, err := savedmodels.Lookup(r.Model)
	if err != nil {
		return r, err
	}
	if q.Shown != nil {
		r.Presentation, _, err = q.Shown.Presentation(info)
	} else {
		r.Presentation, err = r.Presentation.Resolve(info)
	}
	if err != nil {
		return r, err
	}
	if checkpoints := r.Weights.Checkpoints(); checkpoints != "" { // workers may run in other folders
		if checkpoints, err = filepath.Abs(checkpoints); err != nil {
			return r, err
		}
		r.Weights = tfconvrnn.Weights(checkpoints)
	}
	if r.Reductions, err = absoluteReductions(r.Reductions); err != nil {
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
	if r.Grams != nil {
		if r.Format != "" && r.Format != features.Zarr {
			return r, fmt.Errorf("%w: Gram matrices are made of a Zarr store, not of %s", tfconvrnn.ErrOption, r.Format)
		}
		r.Format = features.Zarr
	}
	if err := r.gramsInFolder(); err != nil {
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
	if q.ChunkStimuli < 0 {
		return r, fmt.Errorf("%w: chunks of %d stimuli", tfconvrnn.ErrOption, q.ChunkStimuli)
	}
	if _, _, err := tfconvrnn.Outputs(info, r.extractOptions()...); err != nil {
		return r, err
	}
	if r.Output == "" && !q.Sketch {
		return r, fmt.Errorf("%w: the request names no output", tfconvrnn.ErrOption)
	}
	return r, nil
}

// absoluteReductions makes the names of files in reductions such as conv5=pca(FILE) good in other folders.
func absoluteReductions(reductions []string) (list []string, err error) {
	for _, text := range reductions {
		before, file, ok := strings.Cut(text, "pca(")
		name, _, _ := strings.Cut(file, ",")
		if ok && (before == "" || strings.HasSuffix(before, "=")) && strings.Trim(name, "0123456789)") != "" &&
			!filepath.IsAbs(file) {
			if file, err = filepath.Abs(file); err != nil {
				return nil, err
			}
			text = before + "pca(" + file
		}
		list = append(list, text)
	}
	return list, nil
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
