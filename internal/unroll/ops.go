package unroll

import (
	"fmt"
	"strings"

	"github.com/tfconvrnn/go/internal/graph"
)

// The operations of the cells and layers, on values of any kind.

func elementType() graph.Attributes { return graph.Attributes{"T": float} }

func (b *builder) unary(op string, x value) value {
	x = b.materialize(x)
	return x.with(b.op(op, x, elementType(), 0, x.tensor), x.shape...)
}

func (b *builder) elu(x value) value {
	if x.zero {
		return x
	}
	return b.unary("Elu", x)
}

func (b *builder) relu(x value) value    { return b.unary("Relu", x) }
func (b *builder) tanh(x value) value    { return b.unary("Tanh", x) }
func (b *builder) sigmoid(x value) value { return b.unary("Sigmoid", x) }

func (b *builder) binary(op string, x, y value) value {
	like := joined(x, y)
	return like.with(b.op(op, like, elementType(), 0, b.as(x, like), b.as(y, like)), x.shape...)
}

func (b *builder) add(x, y value) value {
	switch {
	case x.zero:
		return y
	case y.zero:
		return x
	}
	return b.binary("AddV2", x, y)
}

func (b *builder) sub(x, y value) value {
	if y.zero {
		return x
	}
	return b.binary("Sub", x, y)
}

func (b *builder) mul(x, y value) value {
	switch {
	case x.zero:
		return x
	case y.zero:
		return y
	}
	return b.binary("Mul", x, y)
}

// scale multiplies by a number.
func (b *builder) scale(x value, factor float64) value {
	if x.zero {
		return x
	}
	c := b.g.Floats(fmt.Sprintf("number/%g", factor), []float32{float32(factor)})
	return x.with(b.op("Mul", x, elementType(), 0, x.tensor, c), x.shape...)
}

// plus adds a number.
func (b *builder) plus(x value, number float64) value {
	x = b.materialize(x)
	c := b.g.Floats(fmt.Sprintf("number/%g", number), []float32{float32(number)})
	return x.with(b.op("AddV2", x, elementType(), 0, x.tensor, c), x.shape...)
}

// oneMinus is 1 - x.
func (b *builder) oneMinus(x value) value {
	x = b.materialize(x)
	c := b.g.Floats("number/1", []float32{1})
	return x.with(b.op("Sub", x, elementType(), 0, c, x.tensor), x.shape...)
}

// mix is gate·h + (1-gate)·c.
func (b *builder) mix(gate, h, c value) value {
	if b.variant == Plain {
		return b.add(b.mul(gate, h), b.mul(b.oneMinus(gate), c))
	}
	if h.zero {
		return b.mul(b.oneMinus(gate), c)
	}
	// c + gate·(h - c) is the same in one pass less over memory.
	return b.add(c, b.mul(gate, b.sub(h, c)))
}

// weighted multiplies by a variable that broadcasts over items.
func (b *builder) weighted(x value, name string) value {
	if x.zero {
		return x
	}
	return x.with(b.op("Mul", x, elementType(), 0, x.tensor, b.read(b.kernel(name))), x.shape...)
}

// bias adds a bias to the last dimension.
func (b *builder) bias(x value, name string) value { return b.shiftedBias(x, name, 0, 0) }

// shiftedBias adds a bias, and shift to its first elements. What a gate adds to its
// argument is made part of the bias, because it costs nothing there.
func (b *builder) shiftedBias(x value, name string, shift float64, shiftTo int) value {
	x = b.materialize(x)
	w := b.kernel(name)
	v := &Variable{Name: w.name, Source: w.name, Shape: w.shape, SourceShape: w.shape, Shift: shift, ShiftTo: shiftTo}
	return b.addBias(x, v)
}

func (b *builder) addBias(x value, v *Variable) value {
	attributes := graph.Attributes{"T": float, "data_format": graph.String("NHWC")}
	return x.with(b.op("BiasAdd", x, attributes, 0, x.tensor, b.variable(v)), x.shape...)
}

// convolution is a 2-D convolution without bias.
func (b *builder) convolution(x value, w weights, stride int, valid bool) value {
	kernel, depth := w.shape[0], w.shape[3]
	height, width := (x.shape[0]+stride-1)/stride, (x.shape[1]+stride-1)/stride
	padding := "SAME"
	if valid {
		height, width, padding = x.shape[0]-kernel+1, x.shape[1]-kernel+1, "VALID"
	}
	if x.zero {
		return value{shape: []int{height, width, depth}, zero: true, kind: x.kind, shown: x.shown}
	}
	macs := int64(height) * int64(width) * int64(kernel) * int64(kernel) * int64(w.shape[2]) * int64(depth)
	if b.variant != Plain && stride == 1 && !valid && height*width <= b.options.MatMulPixels {
		return b.patchProduct(x, w, macs)
	}
	t := b.op("Conv2D", x, graph.Attributes{
		"T": float, "strides": graph.Ints(1, int64(stride), int64(stride), 1), "padding": graph.String(padding),
		"data_format": graph.String("NHWC"), "dilations": graph.Ints(1, 1, 1, 1),
		"use_cudnn_on_gpu": graph.Bool(true), "explicit_paddings": graph.Ints(),
	}, macs, x.tensor, b.read(w))
	return x.with(t, height, width, depth)
}

// patchProduct is a SAME convolution of stride 1 as a matrix product. On small
// maps with many channels that reads the weights once, where a convolution would
// first reorder them.
func (b *builder) patchProduct(x value, w weights, macs int64) value {
	height, width, channels, kernel, depth := x.shape[0], x.shape[1], x.shape[2], w.shape[0], w.shape[3]
	pixels := height * width
	reshape := func(t graph.Tensor, shape ...int32) graph.Tensor {
		s := b.g.Int32s("shape/"+joinedNumbers(shape), shape, len(shape))
		return b.op("Reshape", x, graph.Attributes{"T": float, "Tshape": int32Type}, 0, t, s)
	}
	rows := x.tensor
	if kernel > 1 {
		// A row of zeros stands for everything outside the map.
		flat := reshape(x.tensor, -1, int32(pixels), int32(channels))
		padded := b.op("Pad", x, graph.Attributes{"T": float, "Tpaddings": int32Type}, 0, flat,
			b.g.Int32s("patches/paddings", []int32{0, 0, 0, 1, 0, 0}, 3, 2))
		indices := patchIndices(height, width, kernel)
		rows = b.op("GatherV2", x, graph.Attributes{
			"Tparams": float, "Tindices": int32Type, "Taxis": int32Type, "batch_dims": graph.Int(0),
		}, 0, padded, b.g.Int32s(fmt.Sprintf("patches/%dx%d/%d", height, width, kernel), indices, len(indices)),
			b.g.Int32s("axis1", []int32{1}))
	}
	inner := int32(kernel * kernel * channels)
	rows = reshape(rows, -1, inner)
	matrix := b.g.Add(graph.Spec{
		Name: b.read(w).Operation() + "/Matrix", Op: "Reshape", Attributes: graph.Attributes{"T": float, "Tshape": int32Type},
		Inputs: []graph.Tensor{b.read(w), b.g.Int32s("shape/"+joinedNumbers([]int32{inner, int32(depth)}),
			[]int32{inner, int32(depth)}, 2)},
	})
	product := b.op("MatMul", x, graph.Attributes{"T": float, "transpose_a": graph.Bool(false),
		"transpose_b": graph.Bool(false)}, macs, rows, matrix)
	return x.with(reshape(product, -1, int32(height), int32(width), int32(depth)), height, width, depth)
}

func joinedNumbers(numbers []int32) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(numbers), " ", "x"), "[]")
}

// patchIndices lists, for every pixel and kernel position in row-major order, the
// pixel read under SAME padding; height·width is outside.
func patchIndices(height, width, kernel int) []int32 {
	before := (kernel - 1) / 2
	var indices []int32
	for y := range height {
		for x := range width {
			for dy := range kernel {
				for dx := range kernel {
					row, column := y+dy-before, x+dx-before
					index := height * width
					if row >= 0 && row < height && column >= 0 && column < width {
						index = row*width + column
					}
					indices = append(indices, int32(index))
				}
			}
		}
	}
	return indices
}

// convolveBoth is the convolution of the concatenation [x, h] along channels.
func (b *builder) convolveBoth(x, h value, w weights) value {
	if b.variant == Plain {
		return b.convolution(b.concatenate(x, h), w, 1, false)
	}
	// The sum of two convolutions: one side is often cheaper (constant, per
	// frame) than the other.
	split := x.depth()
	return b.add(
		b.convolution(h, w.part(split, split+h.depth()), 1, false),
		b.convolution(x, w.part(0, split), 1, false),
	)
}

func (b *builder) concatenate(values ...value) value {
	like := joined(values...)
	shape := append([]int(nil), values[0].shape...)
	inputs := []graph.Tensor{}
	depth := 0
	for _, v := range values {
		depth += v.depth()
		if v.kind == Constant && like.kind != Constant {
			v = b.toStimuli(v)
		}
		inputs = append(inputs, b.as(v, like))
	}
	if len(values) == 1 {
		return values[0]
	}
	shape[len(shape)-1] = depth
	inputs = append(inputs, b.g.Int32s("axis3", []int32{3}))
	t := b.op("ConcatV2", like, graph.Attributes{"N": graph.Int(int64(len(values))), "T": float, "Tidx": int32Type}, 0,
		inputs...)
	return like.with(t, shape...)
}

// split divides the channels into equal parts.
func (b *builder) split(x value, parts int) []value {
	x = b.materialize(x)
	shape := append([]int(nil), x.shape...)
	shape[len(shape)-1] /= parts
	t := b.op("Split", x, graph.Attributes{"T": float, "num_split": graph.Int(int64(parts))}, 0,
		b.g.Int32s("axis3", []int32{3}), x.tensor)
	values := make([]value, parts)
	for i := range values {
		values[i] = x.with(t.Output(i), shape...)
	}
	return values
}

// depthwise is a SAME depthwise convolution of stride 1.
func (b *builder) depthwise(x value, w weights) value {
	if x.zero {
		return x
	}
	macs := int64(x.shape[0]) * int64(x.shape[1]) * int64(x.depth()) * int64(w.shape[0]) * int64(w.shape[1])
	t := b.op("DepthwiseConv2dNative", x, graph.Attributes{
		"T": float, "strides": graph.Ints(1, 1, 1, 1), "padding": graph.String("SAME"),
		"data_format": graph.String("NHWC"), "dilations": graph.Ints(1, 1, 1, 1), "explicit_paddings": graph.Ints(),
	}, macs, x.tensor, b.read(w))
	return x.with(t, x.shape...)
}

func (b *builder) maxPool(x value) value {
	t := b.op("MaxPool", x, graph.Attributes{
		"T": float, "ksize": graph.Ints(1, 2, 2, 1), "strides": graph.Ints(1, 2, 2, 1),
		"padding": graph.String("SAME"), "data_format": graph.String("NHWC"), "explicit_paddings": graph.Ints(),
	}, 0, b.materialize(x).tensor)
	return x.with(t, (x.shape[0]+1)/2, (x.shape[1]+1)/2, x.depth())
}

// averagePool is the mean over height and width.
func (b *builder) averagePool(x value) value {
	if x.zero {
		return value{shape: []int{x.depth()}, zero: true}
	}
	t := b.op("Mean", x, graph.Attributes{"T": float, "Tidx": int32Type, "keep_dims": graph.Bool(false)}, 0,
		x.tensor, b.g.Int32s("axes_height_width", []int32{1, 2}, 2))
	return x.with(t, x.depth())
}

func (b *builder) fullyConnected(x value, scope string) value {
	x = b.materialize(x)
	w := b.kernel(scope + "/weights")
	t := b.op("MatMul", x, graph.Attributes{"T": float, "transpose_a": graph.Bool(false),
		"transpose_b": graph.Bool(false)},
		int64(w.shape[0])*int64(w.shape[1]), x.tensor, b.read(w))
	return b.bias(x.with(t, w.shape[1]), scope+"/bias")
}

// resize interpolates bilinearly with aligned corners.
func (b *builder) resize(x value, size int) value {
	if x.shape[0] == size {
		return x
	}
	shape := []int{size, size, x.depth()}
	if x.zero {
		return value{shape: shape, zero: true}
	}
	t := b.op("ResizeBilinear", x, graph.Attributes{
		"T": float, "align_corners": graph.Bool(true), "half_pixel_centers": graph.Bool(false),
	}, 0, x.tensor, b.g.Int32s(fmt.Sprintf("size/%d", size), []int32{int32(size), int32(size)}, 2))
	return x.with(t, shape...)
}

// layerNorm normalizes over height, width and channels of each item (Ba et al.
// 2016, with epsilon 1e-12), then scales and shifts each channel.
func (b *builder) layerNorm(x value, scope string) value {
	axes := b.g.Int32s("axes_height_width_channels", []int32{1, 2, 3}, 3)
	mean := func(t graph.Tensor) graph.Tensor {
		return b.op("Mean", x, graph.Attributes{"T": float, "Tidx": int32Type, "keep_dims": graph.Bool(true)}, 0, t, axes)
	}
	x = b.materialize(x)
	binary := func(op string, p, q graph.Tensor) graph.Tensor { return b.op(op, x, elementType(), 0, p, q) }
	average := mean(x.tensor)
	variance := mean(binary("SquaredDifference", x.tensor, average))
	epsilon := b.g.Floats("number/1e-12", []float32{1e-12})
	inverse := b.op("Rsqrt", x, elementType(), 0, binary("AddV2", variance, epsilon))
	gamma, beta := b.read(b.kernel(scope+"/gamma")), b.read(b.kernel(scope+"/beta"))
	factor := binary("Mul", inverse, gamma)
	offset := binary("Sub", beta, binary("Mul", average, factor))
	return x.with(binary("AddV2", binary("Mul", x.tensor, factor), offset), x.shape...)
}
