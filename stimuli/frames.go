package stimuli

import "github.com/tfconvrnn/go/tfconvrnn"

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
	return frame < s.options.MaxFrames && (s.options.Visible == nil || frame < len(s.options.Visible) && s.options.Visible[frame])
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
		s.warn("%d of the sequences have images that the presentation never shows, first %s: %d of %d are shown", h.sequences, h.id, h.shown, h.images)
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
