package evaluation

import (
	"github.com/tfconvrnn/go/internal/imagenet"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Classification is the classes of a stimulus, the likeliest first.
type Classification struct {
	Stimulus string `json:"stimulus"`
	// Driven says whether the image can have reached the timestep of the readout that
	// the decoder took.
	Driven  bool                   `json:"driven"`
	Classes []imagenet.Probability `json:"classes"`
	// OverTime is the same for the readout at every timestep.
	OverTime []TimestepClasses `json:"over_time,omitempty"`
}

// TimestepClasses is what the readout says at a timestep.
type TimestepClasses struct {
	Timestep     int `json:"timestep"`
	Milliseconds int `json:"milliseconds"`
	// Driven says whether the image can have reached the readout.
	Driven  bool                   `json:"driven"`
	Classes []imagenet.Probability `json:"classes"`
}

// Classify returns the top classes of a stimulus, and over time if that is asked for, from its
// logits and its readout, which output describes, from timestep 0 on. The error is
// CheckFinite's.
func Classify(info savedmodels.Model, output tfconvrnn.LayerOutput, stimulus string, logits, readout []float32, top int, overTime bool) (Classification, error) {
	c := Classification{Stimulus: stimulus}
	if err := CheckFinite(logits, readout); err != nil {
		return c, err
	}
	timesteps := Timesteps(output)
	c.Driven = DecodedDriven(info.Decoder, timesteps, readout, logits)
	c.Classes = imagenet.Top(logits, top)
	for i, t := range timesteps {
		if overTime {
			classes := imagenet.Top(readout[i*imagenet.Classes:(i+1)*imagenet.Classes], top)
			c.OverTime = append(c.OverTime, TimestepClasses{t.Timestep, t.Milliseconds, t.Driven, classes})
		}
	}
	return c, nil
}
