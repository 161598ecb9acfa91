package tfconvrnn

import (
	"fmt"
	"math"
	"slices"

	"github.com/tfconvrnn/go/convert/manifest"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/reduce"
	"github.com/tfconvrnn/go/savedmodels"
)

// Average averages layers over all positions, in float64: the shape of their output is [channels].
// A GPU does so before it copies features to the host, which then are fewer by the size of
// the map; sums in another order differ in the last bit at the most. Plan's error wraps ErrOption for a layer that
// has no positions, is not extracted, or of which only some units are selected.
func Average(layers ...string) ExtractOption {
	return func(o *extractOptions) { o.averaged = append(o.averaged, layers...) }
}

// Pool averages layers over the fields of a grid of size×size, those of PyTorch's adaptive_avg_pool2d, in float64: the
// shape of their output is [size, size, channels]. A GPU does so before it copies features to the host, as Average.
// Plan's error wraps ErrOption for a layer that Average would not take, that is averaged, or whose map is smaller.
func Pool(size int, layers ...string) ExtractOption {
	return func(o *extractOptions) {
		for _, name := range layers {
			o.pooled = append(o.pooled, pooledLayer{name, size})
		}
	}
}

type pooledLayer struct {
	layer string
	size  int
}

// AsFloat16 rounds the features of layers to values of float16, to the nearest, of two equally near ones to the even
// one; what is beyond them is infinite. A GPU does so before it copies features to the host, which then are
// half the bytes. Plan's error wraps ErrOption for a layer that is not extracted.
func AsFloat16(layers ...string) ExtractOption {
	return func(o *extractOptions) { o.float16 = append(o.float16, layers...) }
}

// roundToFloat16 returns values of float16.
func roundToFloat16(values []float32) []float32 {
	rounded := make([]float32, len(values))
	for i, v := range values {
		rounded[i] = features.Float32FromFloat16(features.Float16FromFloat32(v))
	}
	return rounded
}

// fromFloat16 returns the values of float16's bits.
func fromFloat16(bits []libtf.HalfBits) []float32 {
	values := make([]float32, len(bits))
	for i, b := range bits {
		values[i] = features.Float32FromFloat16(uint16(b))
	}
	return values
}

// poolOf returns what pools a layer, and the shape of what it makes; nil if it is not pooled.
func (o *extractOptions) poolOf(layer savedmodels.Layer) (*reduce.Reducer, []int, error) {
	i := slices.IndexFunc(o.pooled, func(p pooledLayer) bool { return p.layer == layer.Name })
	if i < 0 {
		return nil, nil, nil
	}
	reduction, err := reduce.Parse(fmt.Sprintf("pool(%d)", o.pooled[i].size))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: layer %s: %w", ErrOption, layer.Name, err)
	}
	shape, err := reduction.OutputShape(layer.Shape)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: layer %s: %w", ErrOption, layer.Name, err)
	}
	pool, err := reduce.New(reduction, layer.Shape)
	return pool, shape, err
}

// fieldWeights are how much of each field of a pool every position is, [fields, positions]. Channels do not mix, so
// each finds out about a position of its own.
func fieldWeights(pool *reduce.Reducer, shape []int) []float64 {
	positions, channels := shape[0]*shape[1], shape[2]
	fields := pool.OutputSize() / channels
	weights := make([]float64, fields*positions)
	ones, means := make([]float32, positions*channels), make([]float32, pool.OutputSize())
	for first := 0; first < positions; first += channels {
		clear(ones)
		count := min(channels, positions-first)
		for c := range count {
			ones[(first+c)*channels+c] = 1
		}
		pool.Apply(means, ones)
		for i, mean := range means {
			if f, c := i/channels, i%channels; c < count && mean > 0 { // 1 over the positions of the field
				weights[f*positions+first+c] = 1 / math.Round(1/float64(mean))
			}
		}
	}
	return weights
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

// settleAverages makes sure that the layers to average, to pool and to round can be.
func (o *extractOptions) settleAverages(model savedmodels.Model) error {
	averaged := slices.Clone(o.averaged)
	for _, p := range o.pooled {
		averaged = append(averaged, p.layer)
	}
	for i, name := range averaged {
		layer, err := model.Layer(name)
		if err != nil {
			return err
		}
		switch {
		case !slices.Contains(o.layers, name):
			return fmt.Errorf("%w: layer %s is averaged, which is not extracted", ErrOption, name)
		case len(layer.Shape) != 3:
			return fmt.Errorf("%w: layer %s has no positions to average over", ErrOption, name)
		case slices.Contains(averaged[:i], name):
			return fmt.Errorf("%w: layer %s is averaged twice", ErrOption, name)
		case slices.ContainsFunc(o.selected, func(s layerUnits) bool { return s.layer == name }):
			return fmt.Errorf("%w: units of layer %s are selected, and it is averaged over all", ErrOption, name)
		}
	}
	for _, name := range o.float16 {
		if !slices.Contains(o.layers, name) {
			return fmt.Errorf("%w: layer %s is rounded to float16, which is not extracted", ErrOption, name)
		}
	}
	return nil
}

// onDevice decides what a GPU does with a layer's features before they are copied.
func (l *layerRequest) onDevice(m *Model, output *LayerOutput, o *extractOptions) {
	l.averaged, l.pool, l.float16 = output.Averaged, output.pool, slices.Contains(o.float16, output.Name)
	if len(m.gpu.numbers) == 0 {
		return
	}
	switch {
	case l.averaged:
		l.prefix, l.size = averagePrefix, output.Size()
	case l.pool != nil:
		l.prefix, l.size, l.fields = poolPrefix, output.Size(), fieldWeights(l.pool, l.layer.Shape)
	case output.Selection != nil:
		l.prefix, l.size, l.units = selectedPrefix, output.Size(), output.Selection.units()
	}
	if l.float16 {
		l.prefix, l.size = halfPrefix+l.prefix, output.Size()
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

// computes says whether a run computes anything of a layer.
func (l *layerRequest) computes() bool {
	return slices.ContainsFunc(l.timesteps, func(t int) bool { return l.layer.Timesteps[t].Kind != kindConstant })
}

// choiceNames are the places to feed what the device takes of layers: units, or the weights of fields.
func (r *request) choiceNames() (names []string) {
	for i := range r.layers {
		switch l := &r.layers[i]; {
		case !l.computes():
		case l.units != nil:
			names = append(names, unitsPrefix+l.layer.Name)
		case l.fields != nil:
			names = append(names, fieldsPrefix+l.layer.Name)
		}
	}
	return names
}

// choiceTensors are what is fed to choiceNames. The caller closes them.
func (r *request) choiceTensors() (tensors []*libtf.Tensor, err error) {
	for i := range r.layers {
		var t *libtf.Tensor
		switch l := &r.layers[i]; {
		case !l.computes():
		case l.units != nil:
			t, err = libtf.NewTensor([]int64{int64(len(l.units))}, l.units)
		case l.fields != nil:
			positions := int64(l.layer.Shape[0] * l.layer.Shape[1])
			t, err = libtf.NewTensor([]int64{int64(len(l.fields)) / positions, positions}, l.fields)
		}
		if err != nil {
			libtf.CloseAll(tensors)
			return nil, err
		}
		if t != nil {
			tensors = append(tensors, t)
		}
	}
	return tensors, nil
}

// itemOf returns the values of an item of a tensor.
func itemOf[T libtf.Element](t *libtf.Tensor, name string, item, size int) ([]T, error) {
	data, err := libtf.Data[T](t)
	if err != nil {
		return nil, err
	}
	if len(data) < (item+1)*size {
		return nil, fmt.Errorf("%w: %s has %d values, too few for item %d of %d", ErrModified, name, len(data), item, size)
	}
	return data[item*size : (item+1)*size], nil
}

func wholeSize(l *manifest.Layer) int {
	size := 1
	for _, d := range l.Shape {
		size *= d
	}
	return size
}
