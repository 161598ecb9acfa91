package plotting

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Options say what a figure shows. The zero value shows all layers and the first
// stimuli, as many as are legible.
type Options struct {
	// Layers to show; nil for all that this kind of figure can show.
	Layers []string
	// Stimuli to show, by id or by number (0, 1, …). Nil: of those that could be
	// read when features were extracted, Dynamics takes all, RDMs at most
	// MaxStimuli, evenly spaced, Probabilities the first six, and FeatureMaps and
	// Animate the first one.
	Stimuli []string
	// Timesteps to show, of RDMs, FeatureMaps and Animate. Nil: Animate shows all,
	// the others eight, evenly spaced from where the first of the layers is driven.
	Timesteps []int
	// Top is the number of classes for each stimulus; 0 for 5.
	Top int
	// Channels is the number of feature maps in a mosaic; 0 for 16.
	Channels int
	// MaxStimuli bounds RDMs; 0 for 100.
	MaxStimuli int
	// Progress, if any, is told how many stimuli of how many have been read.
	Progress func(done, total int64)
}

const (
	defaultTop         = 5
	defaultChannels    = 16
	defaultMaxStimuli  = 100
	defaultPanels      = 6
	defaultColumns     = 8
	mostTop            = 2 * len(palette8)
	mostChannels       = 256
	mostMaxStimuli     = 1000
	mostPanels         = 48
	mostTimesteps      = 64
	mostAnimatedLayers = 24
)

func (o Options) withDefaults() (Options, error) {
	for _, f := range []struct {
		name           string
		value          *int
		standard, most int
	}{
		{"top", &o.Top, defaultTop, mostTop},
		{"channels", &o.Channels, defaultChannels, mostChannels},
		{"max-stimuli", &o.MaxStimuli, defaultMaxStimuli, mostMaxStimuli},
	} {
		if *f.value < 0 || *f.value > f.most {
			return o, fmt.Errorf("%w: %s %d; it is 1 … %d", ErrOption, f.name, *f.value, f.most)
		}
		if *f.value == 0 {
			*f.value = f.standard
		}
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	return o, nil
}

// selectLayers returns the layers asked for, or all that fit.
func (s *Source) selectLayers(names []string, fits func(*Layer) bool, need string) ([]*Layer, error) {
	var selected []*Layer
	if len(names) == 0 {
		for _, l := range s.layers {
			if fits == nil || fits(l) {
				selected = append(selected, l)
			}
		}
		if len(selected) == 0 {
			return nil, fmt.Errorf("%s: %w: none of its layers has %s", s.path, ErrImpossible, need)
		}
		return selected, nil
	}
	for _, name := range names {
		i := slices.IndexFunc(s.layers, func(l *Layer) bool { return l.Name == name })
		if i < 0 {
			var known []string
			for _, l := range s.layers {
				known = append(known, l.Name)
			}
			return nil, fmt.Errorf("%s: %w: %q; there are %s", s.path, ErrNoLayer, name, strings.Join(known, ", "))
		}
		if l := s.layers[i]; fits != nil && !fits(l) {
			return nil, fmt.Errorf("%s: %w: layer %s has shape %v, without %s", s.path, ErrImpossible, name, l.Shape, need)
		}
		if !slices.Contains(selected, s.layers[i]) {
			selected = append(selected, s.layers[i])
		}
	}
	return selected, nil
}

// selectStimuli returns the numbers of the stimuli asked for, or of all that could
// be read when features were extracted.
func (s *Source) selectStimuli(names []string) ([]int, error) {
	if len(names) == 0 {
		var all []int
		for i := range s.stimuli {
			if s.readable(i) {
				all = append(all, i)
			}
		}
		if len(all) == 0 {
			return nil, fmt.Errorf("%s: %w: none of its stimuli could be read when it was made", s.path, ErrImpossible)
		}
		return all, nil
	}
	var selected []int
	for _, name := range names {
		i := slices.Index(s.stimuli, name)
		if i < 0 {
			n, err := strconv.Atoi(name)
			if err != nil {
				return nil, fmt.Errorf("%s: %w: %q; name one as the output does (such as %q) or by its number, 0 … %d",
					s.path, ErrNoStimulus, name, s.stimuli[0], len(s.stimuli)-1)
			}
			if n < 0 || n >= len(s.stimuli) {
				return nil, fmt.Errorf("%s: %w: number %d; there are 0 … %d", s.path, ErrNoStimulus, n, len(s.stimuli)-1)
			}
			i = n
		}
		if !s.readable(i) {
			return nil, fmt.Errorf("%s: %w: %s could not be read when features were extracted", s.path, ErrNoStimulus,
				printable(s.stimuli[i]))
		}
		if !slices.Contains(selected, i) {
			selected = append(selected, i)
		}
	}
	return selected, nil
}

// readable tells whether a stimulus has features.
func (s *Source) readable(stimulus int) bool { return s.valid == nil || s.valid[stimulus] }

// spaced returns at most n of the values, evenly spaced, with both ends.
func spaced[T any](values []T, n int) []T {
	if len(values) <= n {
		return values
	}
	if n == 1 {
		return values[len(values)-1:]
	}
	picked := make([]T, n)
	for i := range picked {
		picked[i] = values[(i*(len(values)-1)+(n-1)/2)/(n-1)]
	}
	return picked
}

// column is a timestep and when it starts.
type column struct {
	timestep     int
	milliseconds float64
}

// columns returns the timesteps at which any of the layers is reported.
func columns(layers []*Layer) []column {
	var all []column
	for _, l := range layers {
		for i, t := range l.Timesteps {
			if !slices.ContainsFunc(all, func(c column) bool { return c.timestep == t }) {
				all = append(all, column{t, l.Milliseconds[i]})
			}
		}
	}
	slices.SortFunc(all, func(a, b column) int { return a.timestep - b.timestep })
	return all
}

// selectColumns returns the timesteps asked for, or some from where a layer is
// first driven.
func (s *Source) selectColumns(layers []*Layer, timesteps []int) ([]column, error) {
	all := columns(layers)
	if len(timesteps) == 0 {
		driven := slices.DeleteFunc(slices.Clone(all), func(c column) bool {
			return !slices.ContainsFunc(layers, func(l *Layer) bool {
				i := l.at(c.timestep)
				return i >= 0 && l.Driven[i]
			})
		})
		if len(driven) > 0 {
			all = driven
		}
		return spaced(all, defaultColumns), nil
	}
	if len(timesteps) > mostTimesteps {
		return nil, fmt.Errorf("%w: %d timesteps; a figure shows at most %d", ErrOption, len(timesteps), mostTimesteps)
	}
	var selected []column
	for _, t := range timesteps {
		i := slices.IndexFunc(all, func(c column) bool { return c.timestep == t })
		if i < 0 {
			return nil, fmt.Errorf("%s: %w: %d; these layers have %d … %d", s.path, ErrNoTimestep, t, all[0].timestep,
				all[len(all)-1].timestep)
		}
		if !slices.Contains(selected, all[i]) {
			selected = append(selected, all[i])
		}
	}
	slices.SortFunc(selected, func(a, b column) int { return a.timestep - b.timestep })
	return selected, nil
}
