package explorer

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/tfconvrnn/go/tfconvrnn"
)

const ms = tfconvrnn.MillisecondsPerTimestep

// shown is a presentation as the page draws it, in timesteps.
type shown struct {
	Times int `json:"times"`
	// Episodes are the pairs of timesteps at which the picture comes on and goes off.
	Episodes [][2]int `json:"episodes"`
	// Blank is a colour as tfconvrnn.ParseColorBlank reads it; "" is the published one.
	Blank string `json:"blank,omitempty"`
}

// preset is a presentation with a name.
type preset struct {
	Name  tfconvrnn.PresentationName `json:"name"`
	Title string                     `json:"title"`
	shown
}

// presets are the published presentations.
func presets(m *Model) []preset {
	d := m.Default
	list := []preset{{tfconvrnn.DefaultPresentation, "As in training",
		shown{Times: d.Times, Episodes: [][2]int{{0, d.ImageOff}}}}}
	if neural := (shown{Times: 26, Episodes: [][2]int{{0, 10}}}); neural.Times <= m.Times {
		list = append(list, preset{tfconvrnn.NeuralPresentation, "As in the neural recordings", neural})
	}
	return append(list, preset{tfconvrnn.ConstantPresentation, "Always on",
		shown{Times: d.Times, Episodes: [][2]int{{0, d.Times}}}})
}

// specification says what the command's flags would, so that both name a presentation alike.
func (s *shown) specification(m *Model) (tfconvrnn.PresentationSpec, error) {
	if s.Times > m.Times {
		return tfconvrnn.PresentationSpec{}, faultf(http.StatusUnprocessableEntity,
			"%d ms: a presentation to %s has at most %d ms", s.Times*ms, m.Name, m.Times*ms)
	}
	if len(s.Episodes) > s.Times {
		return tfconvrnn.PresentationSpec{}, faultf(http.StatusUnprocessableEntity, "%d episodes in %d timesteps",
			len(s.Episodes), s.Times)
	}
	var blank tfconvrnn.Blank
	if s.Blank != "" {
		var colour bool
		var err error
		if blank, colour, err = tfconvrnn.ParseColorBlank(s.Blank); err != nil {
			return tfconvrnn.PresentationSpec{}, err
		} else if !colour { // it would name a file of the server
			return tfconvrnn.PresentationSpec{}, faultf(http.StatusUnprocessableEntity, "the blank %q is no colour", s.Blank)
		}
	}
	for _, p := range presets(m) {
		if p.Times == s.Times && slices.Equal(p.Episodes, s.Episodes) && p.Name != tfconvrnn.ConstantPresentation {
			return tfconvrnn.PresentationSpec{Name: p.Name, Blank: blank}, nil
		}
	}
	switch {
	case len(s.Episodes) == 0:
		return tfconvrnn.PresentationSpec{Name: tfconvrnn.CustomPresentation, Times: &s.Times, ImageOff: new(int),
			Blank: blank}, nil
	case slices.Equal(s.Episodes, [][2]int{{0, s.Times}}):
		return tfconvrnn.PresentationSpec{Name: tfconvrnn.ConstantPresentation, Times: &s.Times, Blank: blank}, nil
	}
	total := float64(s.Times * ms)
	spec := tfconvrnn.PresentationSpec{TotalMS: &total, Blank: blank}
	for _, e := range s.Episodes {
		if e[0] >= e[1] {
			return spec, faultf(http.StatusUnprocessableEntity, "an episode from %d to %d ms is empty", e[0]*ms, e[1]*ms)
		}
		spec.OnMS, spec.OffMS = append(spec.OnMS, float64(e[0]*ms)), append(spec.OffMS, float64(e[1]*ms))
	}
	return spec, nil
}

// presentation returns the resolved presentation.
func (s *shown) presentation(m *Model) (tfconvrnn.Presentation, error) {
	spec, err := s.specification(m)
	if err != nil {
		return tfconvrnn.Presentation{}, err
	}
	p, _, err := spec.Presentation(m.Model)
	return p, err
}

// flags returns the flags of extract that present like this.
func (s *shown) flags(m *Model) ([]string, error) {
	spec, err := s.specification(m)
	if err != nil {
		return nil, err
	}
	var flags []string
	switch {
	case spec.Name == tfconvrnn.DefaultPresentation:
	case spec.Name != "":
		if flags = []string{"--presentation", spec.Name.String()}; spec.Times != nil {
			flags = append(flags, "--times", fmt.Sprint(*spec.Times))
		}
		if spec.ImageOff != nil {
			flags = append(flags, "--image-off", fmt.Sprint(*spec.ImageOff))
		}
	default:
		flags = []string{"--on-ms", join(spec.OnMS), "--off-ms", join(spec.OffMS), "--total-ms", fmt.Sprint(*spec.TotalMS)}
	}
	if s.Blank != "" && s.Blank != "published" {
		flags = append(flags, "--blank", s.Blank)
	}
	return flags, nil
}

func join(list []float64) string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = fmt.Sprint(v)
	}
	return strings.Join(texts, ",")
}

// code returns Go that makes the presentation, "" for the model's own, and whether it needs the variable blank.
func (s *shown) code(m *Model) (expression string, blank bool, err error) {
	spec, err := s.specification(m)
	if err != nil {
		return "", false, err
	}
	switch spec.Name {
	case "default":
	case "neural":
		expression = "tfconvrnn.Neural()"
	case "constant":
		expression = fmt.Sprintf("tfconvrnn.Constant(%d)", s.Times)
	case "custom":
		expression = fmt.Sprintf("tfconvrnn.Custom(%d, 0)", s.Times)
	default:
		var b strings.Builder
		fmt.Fprintf(&b, "tfconvrnn.Episodes(%d", s.Times)
		for _, e := range s.Episodes {
			fmt.Fprintf(&b, ", tfconvrnn.Episode{On: %d, Off: %d}", e[0], e[1])
		}
		expression = b.String() + ")"
	}
	if blank = s.Blank != "" && s.Blank != "published"; blank {
		if expression == "" {
			expression = "tfconvrnn.Default()"
		}
		expression += ".WithBlank(blank)"
	}
	return expression, blank, nil
}
