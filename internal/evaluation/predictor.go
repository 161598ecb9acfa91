package evaluation

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/tfconvrnn/go/internal/images"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// ModelPredictor is a Predictor that runs a model on picture files. It is not safe for
// concurrent use.
type ModelPredictor struct {
	// Notices tells what may surprise about the pictures, if its functions are set before
	// Predict is called. The caller closes it.
	Notices images.Notices

	extraction    *tfconvrnn.Extraction
	preprocessing tfconvrnn.Preprocessing
	decoder       string
	blank         string // hash of what it shows
	buffer        []float32
}

// NewModelPredictor returns a predictor; options are those of the presentation and the
// batch size. With skipUnreadable, pictures that cannot be read are marked as failed;
// otherwise the first ends the evaluation. The model stays the caller's. Errors are
// those of Model.Plan, or of reading the blank.
func NewModelPredictor(m *tfconvrnn.Model, p tfconvrnn.Preprocessing, skipUnreadable bool,
	options ...tfconvrnn.ExtractOption) (*ModelPredictor, error) {
	layers := m.Info().Layers
	options = append([]tfconvrnn.ExtractOption{
		tfconvrnn.Layers(layers[len(layers)-1].Name), tfconvrnn.AllTimesteps(), tfconvrnn.Logits(),
		tfconvrnn.NotePreprocessing(p),
	}, options...)
	if skipUnreadable {
		options = append(options, tfconvrnn.OnError(func(int, tfconvrnn.Stimulus, error) error { return nil }))
	}
	x, err := m.Plan(options...)
	if err != nil {
		return nil, err
	}
	blank, err := x.Presentation().Blank().SHA256()
	if err != nil {
		return nil, err
	}
	return &ModelPredictor{extraction: x, preprocessing: p, decoder: m.Info().Decoder, blank: blank}, nil
}

// Provenance says how predictions are made.
func (p *ModelPredictor) Provenance() tfconvrnn.Provenance { return p.extraction.Provenance() }

// Timesteps implements Predictor.
func (p *ModelPredictor) Timesteps() []Timestep { return Timesteps(p.extraction.Layers()[0]) }

// Timesteps describes the timesteps of an extraction's layer.
func Timesteps(output tfconvrnn.LayerOutput) []Timestep {
	var timesteps []Timestep
	for i, t := range output.Timesteps {
		timesteps = append(timesteps, Timestep{t, output.Milliseconds[i], output.Driven[i]})
	}
	return timesteps
}

// Describe implements Predictor.
func (p *ModelPredictor) Describe() string {
	provenance := p.extraction.Provenance()
	text, err := json.Marshal([]string{
		provenance.Software, provenance.Converter, provenance.Model, provenance.Weights.SHA256, provenance.Presentation,
		p.blank, provenance.Preprocessing, provenance.Precision.String(),
	})
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// read reads and prepares a picture.
func (p *ModelPredictor) read(file string) ([]uint8, error) {
	how, err := images.ParsePreprocessing(p.preprocessing.String())
	if err != nil {
		return nil, err
	}
	picture, err := images.Open(file, how.Options())
	if err != nil {
		return nil, err
	}
	pixels, err := how.Apply(picture)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	p.Notices.Picture(file, picture, how)
	return pixels, nil
}

// Predict implements Predictor.
func (p *ModelPredictor) Predict(ctx context.Context, pictures iter.Seq[Picture], sink func(Prediction) error) error {
	stimuli := func(yield func(tfconvrnn.Stimulus) bool) {
		for picture := range pictures {
			img := tfconvrnn.LazyImage(func() ([]uint8, error) { return p.read(picture.File) })
			if !yield(tfconvrnn.Stimulus{ID: picture.ID, Frames: []*tfconvrnn.Image{img}}) {
				return
			}
		}
	}
	timesteps := p.Timesteps()
	return p.extraction.Stream(ctx, stimuli, func(b *tfconvrnn.Batch) error {
		for i := range b.Stimuli {
			prediction := Prediction{Failed: b.Failed[i]}
			if prediction.Failed == nil {
				var err error
				if p.buffer, err = b.AppendFeatures(p.buffer[:0], 0, i); err != nil {
					return err
				}
				if prediction.Logits, err = b.Logits(i); err != nil {
					return err
				}
				prediction.Readout = p.buffer
				prediction.Driven = DecodedDriven(p.decoder, timesteps, prediction.Readout, prediction.Logits)
			}
			if err := sink(prediction); err != nil {
				return err
			}
		}
		return nil
	})
}
