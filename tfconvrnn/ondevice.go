package tfconvrnn

import (
	"fmt"
	"slices"

	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/savedmodels"
)

// Average averages layers over all positions, in float64: the shape of their output is [channels].
// A GPU does so before it copies features to the host, which then are fewer by the size of
// the map; sums in another order differ in the last bit at the most. Plan's error wraps ErrOption for a layer that
// has no positions, is not extracted, or of which only some units are selected.
func Average(layers ...string) ExtractOption {
	return func(o *extractOptions) { o.averaged = append(o.averaged, layers...) }
}

// positionMeans are the means over all positions of the values of a layer with so many channels.
func positionMeans(values []float32, channels int) []float32 {
	sums := make([]float64, channels)
	for position := 0; position < len(values); position += channels {
		for c, v := range values[position:][:channels] {
			sums[c] += float64(v)
		}
	}
	means := make([]float32, channels)
	for c, sum := range sums {
		means[c] = float32(sum / float64(len(values)/channels))
	}
	return means
}

// settleAverages makes sure that the layers to average can be.
func (o *extractOptions) settleAverages(model savedmodels.Model) error {
	for i, name := range o.averaged {
		layer, err := model.Layer(name)
		if err != nil {
			return err
		}
		switch {
		case !slices.Contains(o.layers, name):
			return fmt.Errorf("%w: layer %s is averaged, which is not extracted", ErrOption, name)
		case len(layer.Shape) != 3:
			return fmt.Errorf("%w: layer %s has no positions to average over", ErrOption, name)
		case slices.Contains(o.averaged[:i], name):
			return fmt.Errorf("%w: layer %s is averaged twice", ErrOption, name)
		case slices.ContainsFunc(o.selected, func(s layerUnits) bool { return s.layer == name }):
			return fmt.Errorf("%w: units of layer %s are selected, and it is averaged over all", ErrOption, name)
		}
	}
	return nil
}

// onDevice decides what a GPU does with a layer's features before they are copied.
func (l *layerRequest) onDevice(m *Model, output *LayerOutput, averaged bool) {
	l.averaged = averaged
	switch {
	case len(m.gpu.numbers) == 0:
	case averaged:
		l.prefix, l.size = averagePrefix, output.Size()
	case output.Selection != nil:
		l.prefix, l.size, l.units = selectedPrefix, output.Size(), output.Selection.units()
	}
}

// units lists the places of the units in the whole layer, in the order of Selection.of.
func (s *Selection) units() (list []int32) {
	channels := s.Channels
	if channels == nil {
		for c := range s.Map[len(s.Map)-1] {
			channels = append(channels, c)
		}
	}
	rows, columns := []int{0}, []int{0}
	width := 1
	if len(s.Map) == 3 {
		width = s.Map[1]
		rows, columns = numbers(s.Map[0], s.Row), numbers(s.Map[1], s.Column)
	}
	for _, row := range rows {
		for _, column := range columns {
			for _, c := range channels {
				list = append(list, int32((row*width+column)*s.Map[len(s.Map)-1]+c))
			}
		}
	}
	return list
}

// numbers is only, or 0 … n-1.
func numbers(n int, only *int) []int {
	if only != nil {
		return []int{*only}
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// smaller says whether the device makes any features smaller: then only these are fetched, and reported when all are
// there.
func (r *request) smaller() bool {
	return slices.ContainsFunc(r.layers, func(l layerRequest) bool { return l.prefix != "" })
}

// selects says whether the device takes units of a layer in a run.
func (r *request) selects(l *layerRequest) bool {
	return l.units != nil && slices.ContainsFunc(l.timesteps, func(t int) bool {
		return l.layer.Timesteps[t].Kind != kindConstant
	})
}

// unitNames are the places to feed units of layers to.
func (r *request) unitNames() (names []string) {
	for i := range r.layers {
		if r.selects(&r.layers[i]) {
			names = append(names, unitsPrefix+r.layers[i].layer.Name)
		}
	}
	return names
}

// unitTensors are what is fed to unitNames. The caller closes them.
func (r *request) unitTensors() (tensors []*libtf.Tensor, err error) {
	for i := range r.layers {
		if l := &r.layers[i]; r.selects(l) {
			t, err := libtf.NewTensor([]int64{int64(len(l.units))}, l.units)
			if err != nil {
				libtf.CloseAll(tensors)
				return nil, err
			}
			tensors = append(tensors, t)
		}
	}
	return tensors, nil
}

func wholeSize(l *manifest.Layer) int {
	size := 1
	for _, d := range l.Shape {
		size *= d
	}
	return size
}
