package plotting

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tfconvrnn/go/features"
)

// A Source is an output of extract, opened for reading. It is not safe for
// concurrent use.
type Source struct {
	path    string
	store   *features.Store
	layers  []*Layer
	stimuli []string
	valid   []bool // whether a stimulus could be read; nil: all of them
	about   About
}

// A Layer describes the features of a layer in a Source.
type Layer struct {
	Name string
	// Shape is that of the features at one timestep: [height, width, channels]
	// or [units].
	Shape []int
	// Timesteps are those reported, rising; Milliseconds their starts.
	Timesteps    []int
	Milliseconds []float64
	// Driven tells for each timestep whether an image can have reached the layer.
	// All are true where the output does not tell.
	Driven []bool

	rows rowReader
}

// rowReader reads the features of one stimulus, [timesteps × Shape] in C order.
// The slice is valid until the next call.
type rowReader interface {
	row(stimulus int) ([]float32, error)
}

// About is what an output says of its making; all fields may be empty.
type About struct {
	Model, Presentation, Preprocessing, Software string
	// Untrained marks features of untrained weights.
	Untrained bool
	// Episodes are the times in ms between which images are shown. There are none for
	// sequences: when the last image of one ends, the output does not tell.
	Episodes []Episode
	// Sequence says that stimuli were shown as sequences of images.
	Sequence bool
	// Reductions are those of the layers that are reduced, such as "gap".
	Reductions map[string]string

	onset float64 // of sequences, in ms
}

// An Episode is a time during which images are shown, in ms: On ≤ t < Off.
type Episode struct{ On, Off float64 }

// Open opens an output of extract, of any format. The caller closes the Source. Errors:
// ErrUnsupported where there is no layer to draw, and those of features.Open.
func Open(path string) (*Source, error) {
	store, err := features.Open(path)
	if err != nil {
		return nil, err
	}
	s := &Source{path: path, store: store, stimuli: store.Stimuli(), valid: store.Valid(),
		about: readAbout(store.Provenance())}
	for _, l := range store.Layers() {
		driven := l.Driven
		if driven == nil {
			driven = slices.Repeat([]bool{true}, len(l.Timesteps))
		}
		s.layers = append(s.layers, &Layer{Name: l.Name, Shape: l.Shape, Timesteps: l.Timesteps, Milliseconds: l.Milliseconds,
			Driven: driven, rows: storedRows{store, l.Name}})
	}
	if len(s.layers) == 0 {
		return nil, errors.Join(fmt.Errorf("%s: %w: no layer with timesteps in it; plot reads what extract writes", path,
			ErrUnsupported), store.Close())
	}
	return s, nil
}

// storedRows reads a layer of a store.
type storedRows struct {
	store *features.Store
	layer string
}

func (r storedRows) row(stimulus int) ([]float32, error) {
	return r.store.Read(context.Background(), r.layer, stimulus, 1, nil)
}

// Close closes the input; it is idempotent.
func (s *Source) Close() error { return s.store.Close() }

// Layers describes the layers, in the output's order. They are not the caller's
// to change.
func (s *Source) Layers() []*Layer { return s.layers }

// Stimuli returns the ids of the stimuli; not the caller's to change.
func (s *Source) Stimuli() []string { return s.stimuli }

// About returns what the output says of its making.
func (s *Source) About() About { return s.about }

// size is the number of units of a timestep.
func (l *Layer) size() int {
	n := 1
	for _, d := range l.Shape {
		n *= d
	}
	return n
}

// spatial tells whether the layer has feature maps.
func (l *Layer) spatial() bool { return len(l.Shape) == 3 }

// at returns the index of a timestep, or -1.
func (l *Layer) at(timestep int) int { return slices.Index(l.Timesteps, timestep) }

// episode is how a presentation's description gives the timesteps at which images
// go on and off.
var episode = regexp.MustCompile(`\bon=(\d{1,6}),off=(\d{1,6})\b`)

// readAbout reads provenance; what it cannot make sense of it leaves out.
func readAbout(text string) About {
	var p struct {
		Software      string `json:"software"`
		Model         string `json:"model"`
		Presentation  string `json:"presentation"`
		Preprocessing string `json:"preprocessing"`
		Times         int    `json:"times"`
		Milliseconds  int    `json:"milliseconds_per_timestep"`
		Weights       struct {
			Untrained bool `json:"untrained"`
		} `json:"weights"`
		Reductions map[string]string `json:"reductions"`
	}
	if json.Unmarshal([]byte(text), &p) != nil {
		return About{}
	}
	if p.Milliseconds <= 0 {
		p.Milliseconds = features.MillisecondsPerTimestep
	}
	a := About{Model: p.Model, Presentation: p.Presentation, Preprocessing: p.Preprocessing, Software: p.Software,
		Untrained: p.Weights.Untrained, Reductions: p.Reductions}
	shown, _, _ := strings.Cut(p.Presentation, ",blank=") // which may be a file of any name
	for _, m := range episode.FindAllStringSubmatch(shown, -1) {
		on, _ := strconv.Atoi(m[1])
		off, _ := strconv.Atoi(m[2])
		if p.Times > 0 {
			off = min(off, p.Times)
		}
		if on < off {
			a.Episodes = append(a.Episodes, Episode{float64(on * p.Milliseconds), float64(off * p.Milliseconds)})
		}
	}
	if a.Sequence = strings.Contains(shown, "timesteps_per_frame="); a.Sequence && len(a.Episodes) > 0 {
		a.onset, a.Episodes = a.Episodes[0].On, nil
	}
	return a
}

// shownCaption explains how figures say when images are shown.
func (a *About) shownCaption() string {
	switch {
	case len(a.Episodes) > 0:
		return " Black bar: image shown."
	case a.Sequence:
		return " Sequences of images: when each ends, the output does not tell."
	}
	return ""
}

// projection returns the reduction of a layer whose values are not those of units or
// of averages of them, but of mixtures of all units; "" if they are.
func (a *About) projection(layer string) string {
	r := a.Reductions[layer]
	if r == "" || r == "none" || r == "gap" || strings.HasPrefix(r, "pool(") {
		return ""
	}
	return r
}
