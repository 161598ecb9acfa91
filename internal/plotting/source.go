package plotting

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tfconvrnn/go/features"
)

// A Source is an output of extract, opened for reading. It is not safe for
// concurrent use.
type Source struct {
	path     string
	layers   []*Layer
	stimuli  []string
	valid    []bool // whether a stimulus could be read; nil: all of them
	about    About
	closeAll func() error
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

// Open opens an output of extract: an .npz file or a Zarr folder. The caller
// closes the Source. Errors: ErrUnsupported, ErrInconsistent, and those of
// features.OpenArrays.
func Open(path string) (*Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	var s *Source
	switch {
	case !info.IsDir() && strings.EqualFold(filepath.Ext(path), ".nc"):
		return nil, fmt.Errorf("%s: %w: netCDF is written but not read here; extract to .npz or .zarr", path, ErrUnsupported)
	case !info.IsDir() && strings.EqualFold(filepath.Ext(path), ".npy"):
		return nil, fmt.Errorf("%s: %w: one array without timesteps; give the .npz or .zarr that extract wrote", path, ErrUnsupported)
	case !info.IsDir():
		s, err = openNPZ(path)
	case exists(filepath.Join(path, ".zgroup")):
		s, err = openZarr(path)
	default:
		return nil, fmt.Errorf("%s: %w: a folder that is no Zarr store (.npy and .mat folders are not read here); extract to .npz or .zarr", path, ErrUnsupported)
	}
	if err != nil {
		return nil, err
	}
	s.path = path
	if err := s.check(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// Close closes the input; it is idempotent.
func (s *Source) Close() error {
	if s.closeAll == nil {
		return nil
	}
	err := s.closeAll()
	s.closeAll = nil
	return err
}

// Layers describes the layers, in the output's order. They are not the caller's
// to change.
func (s *Source) Layers() []*Layer { return s.layers }

// Stimuli returns the ids of the stimuli; not the caller's to change.
func (s *Source) Stimuli() []string { return s.stimuli }

// Readable tells whether a stimulus could be read, and so has features.
func (s *Source) Readable(stimulus int) bool { return s.valid == nil || s.valid[stimulus] }

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

// Row returns the features of a stimulus, [timesteps × Shape] in C order, valid until the
// next call.
func (l *Layer) Row(stimulus int) ([]float32, error) { return l.rows.row(stimulus) }

// spatial tells whether the layer has feature maps.
func (l *Layer) spatial() bool { return len(l.Shape) == 3 }

// at returns the index of a timestep, or -1.
func (l *Layer) at(timestep int) int { return slices.Index(l.Timesteps, timestep) }

// check makes sure that what is drawn later fits together.
func (s *Source) check() error {
	if len(s.layers) == 0 {
		return fmt.Errorf("%s: %w: no layer with timesteps in it; plot reads what extract writes", s.path, ErrUnsupported)
	}
	if len(s.stimuli) == 0 {
		return fmt.Errorf("%s: %w: no stimuli", s.path, ErrInconsistent)
	}
	if s.valid != nil && len(s.valid) != len(s.stimuli) {
		return fmt.Errorf("%s: %w: the mask \"valid\" has %d values for %d stimuli", s.path, ErrInconsistent, len(s.valid), len(s.stimuli))
	}
	for _, l := range s.layers {
		fail := func(format string, args ...any) error {
			return fmt.Errorf("%s: layer %s: %w: %s", s.path, l.Name, ErrInconsistent, fmt.Sprintf(format, args...))
		}
		n := len(l.Timesteps)
		switch {
		case len(l.Milliseconds) != n:
			return fail("%d times in ms for %d timesteps", len(l.Milliseconds), n)
		case len(l.Driven) != n:
			return fail("driven has %d values for %d timesteps", len(l.Driven), n)
		}
		for i := range n {
			if l.Timesteps[i] < 0 || i > 0 && l.Timesteps[i] <= l.Timesteps[i-1] {
				return fail("its timesteps do not rise: %d after %d", l.Timesteps[i], l.Timesteps[max(i-1, 0)])
			}
			if ms := l.Milliseconds[i]; math.IsNaN(ms) || math.IsInf(ms, 0) || i > 0 && ms <= l.Milliseconds[i-1] {
				return fail("its times in ms do not rise: %g", ms)
			}
		}
	}
	return nil
}

// newLayer splits an array's shape [stimuli, timesteps, …].
func newLayer(path, name string, shape []int, stimuli int, timesteps []int64) (*Layer, error) {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%s: layer %s: %w: %s", path, name, ErrInconsistent, fmt.Sprintf(format, args...))
	}
	if len(shape) < 2 {
		return nil, fail("shape %v; it must be [stimuli, timesteps, …]", shape)
	}
	if shape[0] != stimuli {
		return nil, fail("%d stimuli, elsewhere %d", shape[0], stimuli)
	}
	if shape[1] != len(timesteps) {
		return nil, fail("shape %v for %d timesteps", shape, len(timesteps))
	}
	l := &Layer{Name: name, Shape: shape[2:]}
	if len(timesteps) == 0 || l.size() == 0 {
		return nil, fail("shape %v holds no features", shape)
	}
	for _, t := range timesteps {
		if t < 0 || t > math.MaxInt32 {
			return nil, fail("timestep %d", t)
		}
		l.Timesteps = append(l.Timesteps, int(t))
		l.Milliseconds = append(l.Milliseconds, float64(t)*features.MillisecondsPerTimestep)
		l.Driven = append(l.Driven, true)
	}
	return l, nil
}

func booleans(values []int64) []bool {
	b := make([]bool, len(values))
	for i, v := range values {
		b[i] = v != 0
	}
	return b
}

func (l *Layer) setMilliseconds(values []int64) {
	l.Milliseconds = l.Milliseconds[:0]
	for _, v := range values {
		l.Milliseconds = append(l.Milliseconds, float64(v))
	}
}

// stimulusNames are the columns that name the stimuli, the best first.
var stimulusNames = []string{"stimuli", "stimulus_id", "stimulus_path"}

// openNPZ opens an .npz: arrays named by layer, <layer>/timesteps, <layer>/ms and
// <layer>/driven, and the columns and attributes.
func openNPZ(path string) (_ *Source, err error) {
	file, err := features.OpenArrays(path)
	if errors.Is(err, features.ErrFormat) {
		err = fmt.Errorf("%w; plot reads .npz files and .zarr folders that extract wrote", err)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	s := &Source{closeAll: file.Close}
	names := file.Names()
	rows := -1
	for _, name := range names {
		if !slices.Contains(names, name+"/timesteps") {
			continue
		}
		array, err := file.Array(name)
		if err != nil {
			return nil, err
		}
		info := array.Info()
		switch info.DataType {
		case features.Float16, features.Float32, features.Float64:
		default:
			return nil, fmt.Errorf("%s: layer %s: %w: its elements are %s; features are floating-point numbers", path, name, features.ErrDataType, info.Descr)
		}
		if rows < 0 {
			rows = info.Rows()
		}
		timesteps, err := npzIntegers(file, name+"/timesteps")
		if err != nil {
			return nil, err
		}
		l, err := newLayer(path, name, info.Shape, rows, timesteps)
		if err != nil {
			return nil, err
		}
		for _, ms := range []string{name + "/ms", name + "/milliseconds"} {
			if slices.Contains(names, ms) {
				values, err := npzIntegers(file, ms)
				if err != nil {
					return nil, err
				}
				l.setMilliseconds(values)
				break
			}
		}
		if slices.Contains(names, name+"/driven") {
			values, err := npzIntegers(file, name+"/driven")
			if err != nil {
				return nil, err
			}
			l.Driven = booleans(values)
		}
		l.rows = npzRows{array}
		s.layers = append(s.layers, l)
	}
	if rows > 0 {
		if s.stimuli, err = npzStimuli(file, path, rows); err != nil {
			return nil, err
		}
	}
	if slices.Contains(names, "valid") {
		mask, err := npzIntegers(file, "valid")
		if err != nil {
			return nil, err
		}
		s.valid = booleans(mask)
	}
	if slices.Contains(names, "provenance") {
		text, err := npzText(file, "provenance")
		if err != nil {
			return nil, err
		}
		s.about = readAbout(text)
	}
	return s, nil
}

type npzRows struct{ array *features.Array }

func (r npzRows) row(i int) ([]float32, error) { return r.array.Float32s(i, 1) }

func npzIntegers(file *features.File, name string) ([]int64, error) {
	array, err := file.Array(name)
	if err != nil {
		return nil, err
	}
	if err := array.CheckRank(1); err != nil {
		return nil, err
	}
	return array.Int64s(0, array.Info().Rows())
}

func npzText(file *features.File, name string) (string, error) {
	array, err := file.Array(name)
	if err != nil {
		return "", err
	}
	if array.Info().Elements() != 1 || array.Info().ElementSize == 0 {
		return "", nil
	}
	values, err := array.Strings(0, array.Info().Rows())
	if err != nil {
		return "", err
	}
	return values[0], nil
}

// npzStimuli returns the stimuli's names, or their numbers where there are none.
func npzStimuli(file *features.File, path string, rows int) ([]string, error) {
	for _, name := range stimulusNames {
		if !slices.Contains(file.Names(), name) {
			continue
		}
		array, err := file.Array(name)
		if err != nil {
			return nil, err
		}
		if n := array.Info().Rows(); n != rows || len(array.Info().Shape) != 1 {
			return nil, fmt.Errorf("%s: %w: %q has shape %v for %d stimuli", path, ErrInconsistent, name, array.Info().Shape, rows)
		}
		switch array.Info().DataType {
		case features.Text, features.Bytes:
			return array.Strings(0, rows)
		}
	}
	return numbered(rows), nil
}

func numbered(rows int) []string {
	names := make([]string, rows)
	for i := range names {
		names[i] = "stimulus " + strconv.Itoa(i)
	}
	return names
}

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
	a := About{Model: p.Model, Presentation: p.Presentation, Preprocessing: p.Preprocessing, Software: p.Software, Untrained: p.Weights.Untrained, Reductions: p.Reductions}
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
