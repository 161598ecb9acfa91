package stimuli

import (
	"errors"
	"fmt"

	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Errors about presentations that do not fit the stimuli.
var (
	// ErrTimed means that a presentation says how long images are shown, and so does a table.
	ErrTimed = errors.New("a table with timesteps says when images appear")
	// ErrStills means that still pictures would be shown as briefly as an image of a sequence.
	ErrStills = errors.New("still pictures beside sequences")
)

// ShowAs sets MaxFrames, FramesPerSecond and Visible to what a presentation can show of
// sequences, each image for TimestepsPerFrame timesteps, or for 1. The error wraps
// tfconvrnn.ErrPresentation.
func (o *Options) ShowAs(spec tfconvrnn.PresentationSpec, model savedmodels.Model) error {
	spec.TimestepsPerFrame = max(spec.TimestepsPerFrame, 1)
	shown, _, err := spec.Presentation(model)
	if err != nil {
		return err
	}
	o.MaxFrames = (shown.Times(model) + spec.TimestepsPerFrame - 1) / spec.TimestepsPerFrame
	o.FramesPerSecond = 1000 / float64(spec.TimestepsPerFrame*tfconvrnn.MillisecondsPerTimestep)
	o.Visible = VisibleFrames(shown, o.MaxFrames)
	return nil
}

// Presentation returns how stimuli of these kinds are shown: as spec describes, except that the
// images of sequences are shown one after the other, each for 1 timestep, where it does not
// say for how many. Warn and note tell what may surprise. Errors wrap ErrTimed, ErrStills or
// tfconvrnn.ErrPresentation.
func (s *Summary) Presentation(spec tfconvrnn.PresentationSpec, model savedmodels.Model, warn,
	note func(message string)) (tfconvrnn.Presentation, error) {
	asked := spec.TimestepsPerFrame
	if s.Sequences {
		spec.TimestepsPerFrame = max(asked, 1)
	}
	still := plural(s.Stills, "still picture")
	each := plural(spec.TimestepsPerFrame, "timestep")
	switch {
	case !s.Sequences:
	case s.Timed && asked > 1:
		return tfconvrnn.Presentation{}, ErrTimed
	case s.Stills > 0 && asked == 0:
		return tfconvrnn.Presentation{}, fmt.Errorf(
			"%w: %s among sequences would be shown for %s only, as each image of a sequence", ErrStills, still, each)
	case s.Stills > 0:
		warn(fmt.Sprintf("%s among sequences are shown for %s only, as each image of a sequence", still, each))
	}
	switch {
	case !s.Sequences || asked > 0:
	case s.Timed:
		note("timesteps of the table count from the first onset; the last image of each stimulus stays until the presentation hides it")
	default:
		note("each image of a sequence is shown for 1 timestep of 10 ms")
	}
	shown, _, err := spec.Presentation(model)
	return shown, err
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// VisibleFrames says of each of so many frames of a sequence whether a presentation,
// which must be resolved, ever shows it.
func VisibleFrames(p tfconvrnn.Presentation, frames int) []bool {
	visible := make([]bool, max(frames, 0))
	for _, frame := range p.Schedule(frames) {
		if frame >= 0 {
			visible[frame] = true
		}
	}
	return visible
}

// visible says whether a frame is ever shown.
func (s *session) visible(frame int) bool {
	return frame < s.options.MaxFrames && (s.options.Visible == nil || frame < len(s.options.Visible) &&
		s.options.Visible[frame])
}

// shown is the number of a sequence's frames, and of those that are ever shown.
func (s *session) shown(frames int) (shown int) {
	for frame := range min(frames, s.options.MaxFrames) {
		if s.visible(frame) {
			shown++
		}
	}
	return shown
}

// images returns the number of images of a sequence, and of those that are ever shown; 0
// where only reading it tells.
func (s *session) images(src source) (images, shown int) {
	switch src := src.(type) {
	case *sequenceFiles:
		if src.timesteps == nil {
			return len(src.paths), s.shown(len(src.paths))
		}
		for i, from := range src.timesteps {
			to := s.options.MaxFrames
			if i+1 < len(src.timesteps) {
				to = min(to, src.timesteps[i+1])
			}
			for t := from; t < to; t++ {
				if s.visible(t) {
					shown++
					break
				}
			}
		}
		return len(src.paths), shown
	case *arrayRow:
		if shape := src.array.Info().Shape; len(shape) == 5 {
			return shape[1], s.shown(shape[1])
		}
	}
	return 0, 0
}

// hiddenImages counts sequences with images that are never shown.
type hiddenImages struct {
	sequences, images, shown int
	id                       string // of the first
}

func (h *hiddenImages) add(s *session, f *found) {
	images, shown := s.images(f.source)
	if shown == images {
		return
	}
	if h.sequences++; h.sequences == 1 {
		h.id, h.images, h.shown = f.id, images, shown
	}
}

func (h *hiddenImages) warn(s *session) {
	if h.sequences > 0 {
		s.warn("%d of the sequences have images that the presentation never shows, first %s: %d of %d are shown", h.sequences,
			h.id, h.shown, h.images)
	}
}

// still says whether a source is one picture.
func still(src source) bool {
	switch src := src.(type) {
	case *pictureFile:
		return true
	case *arrayRow:
		return len(src.array.Info().Shape) == 4
	}
	return false
}
