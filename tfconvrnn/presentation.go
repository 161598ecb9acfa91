package tfconvrnn

import (
	"fmt"
	"strings"

	"github.com/tfconvrnn/go/internal/dimensions"
	"github.com/tfconvrnn/go/savedmodels"
)

// MillisecondsPerTimestep is the duration of a timestep.
const MillisecondsPerTimestep = dimensions.MillisecondsPerTimestep

// Neural presentation: 260 ms, off at 100 ms.
const (
	neuralTimes    = 26
	neuralImageOff = 10
)

// Episode is a span of timesteps, from On to before Off.
type Episode struct{ On, Off int }

// A Presentation says what is shown at every timestep: the image or the blank,
// or one frame of a sequence after the other. The zero value is Default().
// Presentations are immutable values.
type Presentation struct {
	name     string
	times    int // 0: the model's default
	episodes []Episode
	// timestepsPerFrame is how long each frame of a stimulus is shown; 0 shows
	// the first frame only.
	timestepsPerFrame int
	blank             Blank
}

// Default is the presentation that the model was trained with: shallow models see
// the image for 12 of 16 timesteps, intermediate ones for 12 of 17, and those with
// t22 and t30 in their names throughout.
func Default() Presentation { return Presentation{} }

// Constant shows the image throughout.
func Constant(times int) Presentation {
	return Presentation{name: "constant", times: times, episodes: []Episode{{0, times}}}
}

// Neural is the presentation used against neural recordings: 26 timesteps (260 ms),
// the image is off from timestep 10 (100 ms).
func Neural() Presentation {
	return Presentation{name: "neural", times: neuralTimes, episodes: []Episode{{0, neuralImageOff}}}
}

// Custom shows the image for timesteps 0 … imageOff-1 of times, then the blank.
func Custom(times, imageOff int) Presentation {
	return Presentation{name: "custom", times: times, episodes: []Episode{{0, imageOff}}}
}

// Episodes shows the image during each of the episodes, which must not overlap
// and be in order, and the blank otherwise.
func Episodes(times int, episodes ...Episode) Presentation {
	return Presentation{name: "episodes", times: times, episodes: append([]Episode(nil), episodes...)}
}

// Sequence shows a stimulus's frames one after the other, each for
// timestepsPerFrame timesteps, and the blank when there are no more.
func Sequence(times, timestepsPerFrame int) Presentation {
	return Presentation{name: "sequence", times: times, episodes: []Episode{{0, times}},
		timestepsPerFrame: timestepsPerFrame}
}

// WithBlank returns the presentation with another blank.
func (p Presentation) WithBlank(b Blank) Presentation {
	p.blank = b
	return p
}

// WithEpisodes restricts a presentation to episodes: elsewhere the blank is shown.
func (p Presentation) WithEpisodes(episodes ...Episode) Presentation {
	p.episodes = append([]Episode(nil), episodes...)
	return p
}

// WithTimestepsPerFrame returns the presentation with a stimulus's frames shown one
// after the other, each for so many timesteps from the first episode's beginning
// on, whether an episode shows it or the blank hides it; the blank follows the last.
// For 0 the first frame is shown throughout.
func (p Presentation) WithTimestepsPerFrame(timesteps int) Presentation {
	p.timestepsPerFrame = timesteps
	return p
}

// TimestepsPerFrame is how long each frame of a stimulus is shown, or 0 if its
// first frame is shown throughout.
func (p Presentation) TimestepsPerFrame() int { return p.timestepsPerFrame }

// Blank returns the blank.
func (p Presentation) Blank() Blank { return p.blank }

// Times returns the number of timesteps, which for Default depends on the model.
func (p Presentation) Times(model savedmodels.Model) int {
	if p.name == "" {
		return model.Default.Times
	}
	return p.times
}

// String describes the presentation for provenance; the description of Default
// is complete only after Resolve.
func (p Presentation) String() string {
	var b strings.Builder
	if p.name == "" {
		b.WriteString("default")
	} else {
		fmt.Fprintf(&b, "%s(times=%d", p.name, p.times)
		for _, e := range p.episodes {
			fmt.Fprintf(&b, ",on=%d,off=%d", e.On, e.Off)
		}
		if p.timestepsPerFrame > 0 {
			fmt.Fprintf(&b, ",timesteps_per_frame=%d", p.timestepsPerFrame)
		}
		b.WriteString(")")
	}
	fmt.Fprintf(&b, ",blank=%s", p.blank)
	return b.String()
}

// Resolve replaces the default by the model's own and checks the presentation.
// The error wraps ErrPresentation.
func (p Presentation) Resolve(model savedmodels.Model) (Presentation, error) {
	if p.name == "" {
		p.name, p.times = "default", model.Default.Times
		if p.episodes == nil {
			p.episodes = []Episode{{0, model.Default.ImageOff}}
		}
	}
	switch {
	case p.times < 1:
		return p, fmt.Errorf("%w: %d timesteps; at least 1 is needed", ErrPresentation, p.times)
	case p.times > maxTimes:
		return p, fmt.Errorf("%w: %d timesteps; %d are the most", ErrPresentation, p.times, maxTimes)
	case p.timestepsPerFrame < 0 || (p.name == "sequence" && p.timestepsPerFrame < 1):
		return p, fmt.Errorf("%w: each frame is shown for %d timesteps; at least 1 is needed", ErrPresentation,
			p.timestepsPerFrame)
	}
	end := 0
	for _, e := range p.episodes {
		switch {
		case e.On < end || e.Off < e.On:
			return p, fmt.Errorf(
				"%w: the image is on from timestep %d to %d; episodes must be in order, without overlap, from 0 on",
				ErrPresentation, e.On, e.Off)
		case e.Off > p.times:
			return p, fmt.Errorf("%w: the image goes off at timestep %d of a presentation of %d", ErrPresentation, e.Off,
				p.times)
		}
		end = e.Off
	}
	return p, nil
}

// maxTimes bounds a presentation.
const maxTimes = 1000

// blankFrame stands in schedules for the blank.
const blankFrame = -1

// Schedule returns, for each timestep, which of a stimulus's frames is shown, or
// -1 for the blank. The presentation must be resolved.
func (p Presentation) Schedule(frames int) []int {
	schedule := make([]int, p.times)
	for t := range schedule {
		schedule[t] = blankFrame
	}
	first := p.ImageOn()
	for _, e := range p.episodes {
		for t := e.On; t < e.Off; t++ {
			frame := 0
			if p.timestepsPerFrame > 0 {
				frame = (t - first) / p.timestepsPerFrame
			}
			if frame < frames {
				schedule[t] = frame
			}
		}
	}
	return schedule
}

// ImageOn returns the first timestep at which an image can be shown, or the
// number of timesteps if none is. The presentation must be resolved.
func (p Presentation) ImageOn() int {
	for _, e := range p.episodes {
		if e.Off > e.On {
			return e.On
		}
	}
	return p.times
}
