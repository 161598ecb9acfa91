package tfconvrnn

import (
	"fmt"
	"math"

	"github.com/tfconvrnn/go/savedmodels"
)

// A PresentationName is that of a standard presentation.
type PresentationName string

// The names. Constant needs PresentationSpec.Times, custom both Times and ImageOff; these change
// the others.
const (
	DefaultPresentation  PresentationName = "default" // as in training, which "" is too
	ConstantPresentation PresentationName = "constant"
	NeuralPresentation   PresentationName = "neural"
	CustomPresentation   PresentationName = "custom"
)

// ParsePresentationName reads default, constant, neural or custom. The error wraps ErrPresentation.
func ParsePresentationName(text string) (PresentationName, error) {
	switch n := PresentationName(text); n {
	case DefaultPresentation, ConstantPresentation, NeuralPresentation, CustomPresentation:
		return n, nil
	}
	return "", fmt.Errorf("%w: unknown presentation %q; there are %s, %s, %s and %s", ErrPresentation, text,
		DefaultPresentation, ConstantPresentation, NeuralPresentation, CustomPresentation)
}

// String returns what ParsePresentationName reads.
func (n PresentationName) String() string {
	if n == "" {
		return string(DefaultPresentation)
	}
	return string(n)
}

// A PresentationSpec describes a presentation as people write it down: by a name, by
// numbers of timesteps, or by milliseconds. The zero value is the model's default.
type PresentationSpec struct {
	// Name is that of a standard presentation.
	Name PresentationName
	// Times is the number of timesteps, ImageOff the timestep at which the image goes
	// off; nil where they are left to the name.
	Times, ImageOff *int
	// OnMS and OffMS are the milliseconds at which the image comes on and goes off,
	// several for several episodes. Without OnMS it comes on at 0; the last of OffMS may
	// be left out. They describe a presentation of their own: Name is "", default or custom
	// then, and ImageOff nil.
	OnMS, OffMS []float64
	// TotalMS is the length in milliseconds, in place of Times.
	TotalMS *float64
	// Round takes milliseconds that are no multiple of a timestep for the nearest that is.
	Round bool
	// TimestepsPerFrame shows a stimulus's frames one after the other, each for so many
	// timesteps; 0 shows the first frame. Unless something else says when the image is
	// shown, the frames of a sequence are never switched off.
	TimestepsPerFrame int
	// Blank is what is shown else.
	Blank Blank
}

// A RoundedTime is a time that a PresentationSpec's Round changed.
type RoundedTime struct {
	Of           string  // on, off or total
	Given        float64 // milliseconds
	Milliseconds int     // what it became
}

// A TimestepError says that milliseconds are no multiple of a timestep. It wraps
// ErrPresentation.
type TimestepError struct {
	Of      string  // on, off or total
	Given   float64 // milliseconds
	Nearest int     // the nearest multiple, in milliseconds
}

// Error says what would be right.
func (e *TimestepError) Error() string {
	return fmt.Sprintf("%v: %s at %v ms: a timestep is %d ms, so it must be a multiple of that; write %d",
		ErrPresentation, e.Of, e.Given, MillisecondsPerTimestep, e.Nearest)
}

// Unwrap returns ErrPresentation.
func (e *TimestepError) Unwrap() error { return ErrPresentation }

// Presentation returns the presentation for a model, resolved, and what was rounded.
// Errors wrap ErrPresentation, and are a *TimestepError where rounding would help.
func (s PresentationSpec) Presentation(model savedmodels.Model) (Presentation, []RoundedTime, error) {
	var rounded []RoundedTime
	shown, err := s.base(model, &rounded)
	if err != nil {
		return Presentation{}, nil, err
	}
	switch {
	case s.TimestepsPerFrame == 0:
	case s.timed():
		shown = shown.WithTimestepsPerFrame(s.TimestepsPerFrame)
	default:
		// The default switches single images off, not sequences.
		shown = Sequence(shown.Times(model), s.TimestepsPerFrame)
	}
	shown, err = shown.WithBlank(s.Blank).Resolve(model)
	return shown, rounded, err
}

// timed says whether something but the length says when the image is shown.
func (s PresentationSpec) timed() bool {
	return s.Name != "" && s.Name != DefaultPresentation || s.ImageOff != nil || len(s.OnMS)+len(s.OffMS) > 0
}

// base returns the presentation without blank and sequence.
func (s PresentationSpec) base(model savedmodels.Model, rounded *[]RoundedTime) (shown Presentation, err error) {
	times := s.Times
	if s.TotalMS != nil {
		if times != nil {
			return shown, fmt.Errorf("%w: the length is given both in timesteps and in milliseconds", ErrPresentation)
		}
		n, err := s.timesteps("total", *s.TotalMS, rounded)
		if err != nil {
			return shown, err
		}
		times = &n
	}
	named := s.Name != "" && s.Name != DefaultPresentation
	if len(s.OnMS)+len(s.OffMS) > 0 {
		if s.ImageOff != nil || named && s.Name != CustomPresentation {
			return shown, fmt.Errorf(
				"%w: milliseconds on and off describe a presentation of their own; leave out the name and image-off",
				ErrPresentation)
		}
		if times == nil {
			times = &model.Default.Times
		}
		return s.episodes(*times, rounded)
	}
	switch {
	case !named:
		if times == nil && s.ImageOff == nil {
			return Default(), nil
		}
		return s.changed(model.Default, times), nil
	case s.Name == NeuralPresentation:
		if times == nil && s.ImageOff == nil {
			return Neural(), nil
		}
		return s.changed(savedmodels.Presentation{Times: neuralTimes, ImageOff: neuralImageOff}, times), nil
	case s.Name == ConstantPresentation && s.ImageOff != nil:
		return shown, fmt.Errorf("%w: a constant image never goes off; leave out image-off, or make it custom",
			ErrPresentation)
	case s.Name == ConstantPresentation && times == nil:
		return shown, fmt.Errorf("%w: constant needs times, the number of timesteps", ErrPresentation)
	case s.Name == ConstantPresentation:
		return Constant(*times), nil
	case s.Name == CustomPresentation && (times == nil || s.ImageOff == nil):
		return shown, fmt.Errorf("%w: custom needs times and image-off", ErrPresentation)
	case s.Name == CustomPresentation:
		return Custom(*times, *s.ImageOff), nil
	}
	_, err = ParsePresentationName(string(s.Name))
	return shown, err
}

// episodes returns the presentation that OnMS and OffMS describe.
func (s PresentationSpec) episodes(times int, rounded *[]RoundedTime) (Presentation, error) {
	on := s.OnMS
	if len(on) == 0 {
		on = []float64{0}
	}
	if len(s.OffMS) != len(on) && len(s.OffMS) != len(on)-1 {
		return Presentation{}, fmt.Errorf(
			"%w: the image comes on %d times and goes off %d times; say when it goes off for each, except perhaps the last",
			ErrPresentation, len(on), len(s.OffMS))
	}
	var list []Episode
	for i, ms := range on {
		episode := Episode{Off: times}
		var err error
		if episode.On, err = s.timesteps("on", ms, rounded); err != nil {
			return Presentation{}, err
		}
		if i < len(s.OffMS) {
			if episode.Off, err = s.timesteps("off", s.OffMS[i], rounded); err != nil {
				return Presentation{}, err
			}
		}
		list = append(list, episode)
	}
	return Episodes(times, list...), nil
}

// changed returns a standard presentation with other times, another image-off, or both.
func (s PresentationSpec) changed(standard savedmodels.Presentation, newTimes *int) Presentation {
	times, off := standard.Times, standard.ImageOff
	if newTimes != nil {
		times = *newTimes
		if standard.ImageOff >= standard.Times || off > times { // never off
			off = times
		}
	}
	if s.ImageOff != nil {
		off = *s.ImageOff
	}
	return Custom(times, off)
}

// maxMilliseconds is far above any presentation, and few enough for an int.
const maxMilliseconds = 1e9

// timesteps returns milliseconds as timesteps.
func (s PresentationSpec) timesteps(of string, ms float64, rounded *[]RoundedTime) (int, error) {
	const step = MillisecondsPerTimestep
	if !(math.Abs(ms) <= maxMilliseconds) { // NaN
		return 0, fmt.Errorf("%w: %s at %g ms: no presentation has such a time", ErrPresentation, of, ms)
	}
	nearest := int(math.Floor(ms/step + 0.5))
	if float64(nearest*step) != ms {
		if !s.Round {
			return 0, &TimestepError{Of: of, Given: ms, Nearest: nearest * step}
		}
		*rounded = append(*rounded, RoundedTime{Of: of, Given: ms, Milliseconds: nearest * step})
	}
	return nearest, nil
}
