package compare

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Features are features of stimuli, of several layers, over time.
type Features interface {
	// Stimuli are the ids of the stimuli, all different.
	Stimuli() []string
	// Layers are the layers.
	Layers() []FeatureLayer
	// Row returns the features of a stimulus in a layer, by their positions, [bins][Size] in C order.
	// They are valid until the next call.
	Row(layer, stimulus int) ([]float32, error)
}

// Selective are Features of which some bins are read without the others.
type Selective interface {
	Features
	// RowAt is Row of some bins, [len(bins)][Size].
	RowAt(layer, stimulus int, bins []int) ([]float32, error)
}

// FeatureLayer describes the features of a layer.
type FeatureLayer struct {
	Name string
	// Bins are the bins of time in ascending order; none for features without time, which
	// are compared with all bins of responses.
	Bins []Bin
	// Driven tells for each bin whether the stimulus can have reached the layer; nil: always.
	Driven []bool
	// Size is the number of features in each bin.
	Size int
}

// Responses are what features are compared with; those of package recordings are.
type Responses interface {
	// Stimuli are ids, all different; the splits are of this order.
	Stimuli() []string
	Neuroids() []string
	// Bins are the bins of time; none for responses without time, which are read as bin 0.
	Bins() []Bin
	// Average returns [stimuli][neuroids], NaN for what is missing.
	Average(bin int) (Targets, error)
	Trials(bin int) (Trials, error)
	// Labels are the values of a coordinate of the stimuli, nil if there is none.
	Labels(name string) []string
}

// Numbered are Responses of which some labels are numbers: these are sorted by size, as NumPy sorts them, others as
// texts.
type Numbered interface {
	Responses
	// Numbered tells whether Labels(name) are numbers; "" are the ids of the stimuli.
	Numbered(name string) bool
}

// window is a span of time of a layer's features: the weights of its bins.
type window struct {
	bin     Bin
	weights []float64
	reason  string // why there are no features of that time
}

// windowOf finds the features of a bin of time. For features without time that is all there is.
func windowOf(layer FeatureLayer, target Bin) window {
	if len(layer.Bins) == 0 {
		return window{bin: target, weights: []float64{1}}
	}
	w := window{bin: target}
	first, last := layer.Bins[0].Start, layer.Bins[len(layer.Bins)-1].End
	weights, err := AlignBins(layer.Bins, target)
	if err != nil {
		w.reason = fmt.Sprintf("no features of that time: they are of %g-%g ms", first, last)
		return w
	}
	covered, driven := 0.0, false
	for i, b := range layer.Bins {
		covered += weights[i] * (b.End - b.Start)
		driven = driven || weights[i] > 0 && (layer.Driven == nil || layer.Driven[i])
	}
	switch {
	case covered < (target.End-target.Start)*(1-1e-9):
		w.reason = "no features of some of that time"
	case !driven:
		w.reason = notDriven
	default:
		w.weights = weights
	}
	return w
}

const notDriven = "not driven: the stimulus has not reached the layer"

// notFinite is a feature that is NaN or infinite. It is ErrData.
type notFinite struct {
	feature, stimulus int
	value             float32
}

func (e *notFinite) Error() string {
	return fmt.Sprintf("%v: feature %d of stimulus %d is %v", ErrData, e.feature, e.stimulus, e.value)
}

func (e *notFinite) Unwrap() error { return ErrData }

// named names the layer and stimulus of an error of Gram.Add.
func named(err error, f Features, layer int, stimuli []int) error {
	if err == nil {
		return nil
	}
	var bad *notFinite
	if errors.As(err, &bad) {
		err = fmt.Errorf("%w: feature %d of stimulus %s is %v", ErrData, bad.feature,
			f.Stimuli()[stimuli[bad.stimulus%len(stimuli)]], bad.value)
	}
	return fmt.Errorf("layer %s: %w", f.Layers()[layer].Name, err)
}

// rowAt reads some bins of a stimulus's features.
func rowAt(f Features, layer, stimulus int, bins []int) (row []float32, err error) {
	about := f.Layers()[layer]
	count := max(len(about.Bins), 1)
	if s, ok := f.(Selective); ok && len(bins) < count {
		if row, err = s.RowAt(layer, stimulus, bins); err == nil && len(row) != len(bins)*about.Size {
			err = fmt.Errorf("%w: %d values of layer %s for %d bins of %d features", ErrData, len(row), about.Name, len(bins),
				about.Size)
		}
		return row, err
	}
	if row, err = f.Row(layer, stimulus); err != nil {
		return nil, err
	}
	if len(row) != count*about.Size {
		return nil, fmt.Errorf("%w: %d values of layer %s for %d bins of %d features", ErrData, len(row), about.Name, count,
			about.Size)
	}
	if len(bins) == count {
		return row, nil
	}
	var some []float32
	for _, b := range bins {
		some = append(some, row[b*about.Size:(b+1)*about.Size]...)
	}
	return some, nil
}

// blended returns the weighted mean of some features over bins.
func blended(row []float32, size int, weights []float64, from, to int) []float32 {
	var bins [][]float32
	only := -1
	several := false
	for b, w := range weights {
		bins = append(bins, row[b*size+from:b*size+to])
		if w != 0 {
			several = several || only >= 0
			only = b
		}
	}
	if !several && only >= 0 {
		return bins[only]
	}
	return Blend(bins, weights)
}

// positions finds each stimulus among the features. Features that are not asked for are
// counted.
func positions(f Features, stimuli []string) (at []int, unused int, err error) {
	place := map[string]int{}
	for i, id := range f.Stimuli() {
		if _, twice := place[id]; twice {
			return nil, 0, fmt.Errorf("%w: the features have stimulus %s twice", ErrData, id)
		}
		place[id] = i
	}
	var missing []string
	for _, id := range stimuli {
		i, ok := place[id]
		if !ok {
			missing = append(missing, id)
			continue
		}
		at = append(at, i)
	}
	if len(missing) > 0 {
		return nil, 0, &MissingFeaturesError{Stimuli: missing, Of: len(stimuli)}
	}
	return at, len(place) - len(at), nil
}

// MissingFeaturesError means that there are no features of stimuli that there are
// responses to. It is ErrData.
type MissingFeaturesError struct {
	Stimuli []string
	Of      int
}

func (e *MissingFeaturesError) Error() string {
	return fmt.Sprintf("%v: no features of %d of %d stimuli, such as %s", ErrData, len(e.Stimuli), e.Of, e.Stimuli[0])
}

// Unwrap returns ErrData.
func (e *MissingFeaturesError) Unwrap() error { return ErrData }

// Missing says what is done about responses that are missing.
type Missing string

// The policies.
const (
	// RefuseMissing makes them an error.
	RefuseMissing Missing = "error"
	// DropNeuroids leaves out neuroids with a missing response.
	DropNeuroids Missing = "drop-neuroids"
	// DropStimuli leaves out neuroids without any response, and then stimuli that one of
	// the others lacks.
	DropStimuli Missing = "drop-stimuli"
	// PerNeuroid fits each neuroid on its own stimuli, by ridge; of dissimilarities and CKA, compares two stimuli by the
	// neuroids that have responses to both.
	PerNeuroid Missing = "per-neuroid"
)

// kept is what of responses is compared.
type kept struct {
	Responses
	stimuli, neuroids []int
	notes             []string
}

func keepAll(r Responses) *kept {
	return &kept{Responses: r, stimuli: upTo(len(r.Stimuli())), neuroids: upTo(len(r.Neuroids()))}
}

// numbered tells whether labels are numbers; "" are the ids.
func (k *kept) numbered(name string) bool {
	n, ok := k.Responses.(Numbered)
	return ok && n.Numbered(name)
}

func pick[T any](values []T, places []int) []T {
	list := make([]T, len(places))
	for i, at := range places {
		list[i] = values[at]
	}
	return list
}

// among leaves out stimuli that the features lack, if that is allowed, and says so.
func (k *kept) among(f Features, shared bool) (at []int, err error) {
	at, unused, err := positions(f, pick(k.Stimuli(), k.stimuli))
	var missing *MissingFeaturesError
	if errors.As(err, &missing) && shared {
		k.stimuli = slices.DeleteFunc(k.stimuli, func(i int) bool { return slices.Contains(missing.Stimuli, k.Stimuli()[i]) })
		if len(k.stimuli) == 0 {
			return nil, fmt.Errorf("%w: there are features of none of the %d stimuli with responses: the ids are others, such as %s of the responses and %s of the features",
				ErrData, missing.Of, missing.Stimuli[0], f.Stimuli()[0])
		}
		k.notes = append(k.notes, fmt.Sprintf("%d of %d stimuli left out: there are no features of them, such as %s",
			len(missing.Stimuli), missing.Of, missing.Stimuli[0]))
		at, unused, err = positions(f, pick(k.Stimuli(), k.stimuli))
	}
	if unused > 0 && err == nil {
		k.notes = append(k.notes, fmt.Sprintf("features of %d stimuli are not used: there are no responses to them", unused))
	}
	return at, err
}

// complete applies a policy; what is missing in one bin is missing in all, so that all have the same splits.
func (k *kept) complete(ctx context.Context, policy Missing) error {
	missing := make([][]bool, len(k.Stimuli()))
	for i := range missing {
		missing[i] = make([]bool, len(k.Neuroids()))
	}
	some := false
	for bin := range max(len(k.Bins()), 1) {
		if err := ctx.Err(); err != nil {
			return err
		}
		average, err := k.Average(bin)
		if err != nil {
			return err
		}
		for _, i := range k.stimuli {
			for _, j := range k.neuroids {
				if v := average[i][j]; math.IsNaN(v) || math.IsInf(v, 0) {
					missing[i][j], some = true, true
				}
			}
		}
	}
	if !some {
		return nil
	}
	count := func(j int) (n int) {
		for _, i := range k.stimuli {
			if missing[i][j] {
				n++
			}
		}
		return n
	}
	leave := func(why string, out func(j int) bool) {
		var names []string
		k.neuroids = slices.DeleteFunc(k.neuroids, func(j int) bool {
			if out(j) {
				names = append(names, k.Neuroids()[j])
				return true
			}
			return false
		})
		if len(names) > 0 {
			k.notes = append(k.notes, fmt.Sprintf("%d of %d neuroids left out, %s: %s", len(names), len(k.neuroids)+len(names),
				why, shortList(names)))
		}
	}
	switch policy {
	case DropNeuroids:
		leave("which have no response to some stimulus", func(j int) bool { return count(j) > 0 })
	case DropStimuli, PerNeuroid:
		leave("which have no response to any stimulus", func(j int) bool { return count(j) == len(k.stimuli) })
		if policy == PerNeuroid {
			break
		}
		before := len(k.stimuli)
		k.stimuli = slices.DeleteFunc(k.stimuli, func(i int) bool {
			return slices.ContainsFunc(k.neuroids, func(j int) bool { return missing[i][j] })
		})
		k.notes = append(k.notes, fmt.Sprintf("%d of %d stimuli left out, to which some neuroid has no response",
			before-len(k.stimuli), before))
	default:
		var names []string
		for _, j := range k.neuroids {
			if count(j) > 0 {
				names = append(names, k.Neuroids()[j])
			}
		}
		return fmt.Errorf("%w: %d of %d neuroids lack a finite response to some stimulus: %s", ErrMissing, len(names),
			len(k.neuroids), shortList(names))
	}
	if len(k.neuroids) == 0 || len(k.stimuli) == 0 {
		return fmt.Errorf("%w: of the responses nothing is left with %s", ErrData, policy)
	}
	return nil
}

// ErrMissing means missing responses, about which something must be chosen. It is ErrData.
var ErrMissing = fmt.Errorf("%w: missing responses", ErrData)

func shortList(names []string) string {
	const most = 5
	text := ""
	for i, name := range names[:min(len(names), most)] {
		if i > 0 {
			text += ", "
		}
		text += name
	}
	if len(names) > most {
		text += ", …"
	}
	return text
}

// average returns the responses that are compared.
func (k *kept) average(bin int) (Targets, error) {
	all, err := k.Average(bin)
	if err != nil {
		return nil, err
	}
	var targets Targets
	for _, i := range k.stimuli {
		targets = append(targets, pick(all[i], k.neuroids))
	}
	return targets, nil
}

// trials returns the presentations of what is compared.
func (k *kept) trials(bin int) (Trials, error) {
	all, err := k.Trials(bin)
	if err != nil || len(k.stimuli) == len(all) && len(k.neuroids) == len(k.Neuroids()) && slices.IsSorted(k.stimuli) {
		return all, err
	}
	var trials Trials
	for _, i := range k.stimuli {
		var repetitions [][]float64
		for _, responses := range all[i] {
			repetitions = append(repetitions, pick(responses, k.neuroids))
		}
		trials = append(trials, repetitions)
	}
	return trials, nil
}

// bins are the bins of the responses; one without an end for those without time.
func (k *kept) bins() []Bin {
	if bins := k.Bins(); len(bins) > 0 {
		return bins
	}
	return []Bin{{}}
}
