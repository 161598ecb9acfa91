package unroll

import (
	"fmt"

	"github.com/tfconvrnn/go/internal/zoo"
)

// The recurrent cells, by the equations of the models' specification (zoo.md §4
// and §5): x is the feedforward convolution's output, h or c the state one
// timestep ago, r the layer's feedforward input.

// initialState is the state before timestep 0: zeros.
func (b *builder) initialState(l *zoo.Layer) []value {
	if l.Cell == zoo.None {
		return nil
	}
	h := b.zeros(l.CellSize, l.CellSize, l.CellDepth)
	switch {
	case l.Cell == zoo.LSTM:
		return []value{h, h} // h, c
	case l.Cell == zoo.RGC && b.model.Depth == zoo.Shallow:
		return []value{h, h} // o, c
	case l.Cell == zoo.RGC:
		return []value{h, b.zeros(l.CellSize, l.CellSize, zoo.ReciprocalGatedCellDepth)}
	}
	return []value{h}
}

// cell computes a layer's cell at one timestep. The first part of the state is
// what the cell puts out, except for IntersectionRNN.
func (b *builder) cell(l *zoo.Layer, x, r value, feedback []value, state []value) (value, []value) {
	switch l.Cell {
	case zoo.None:
		// s' = decay·s + x with decay fixed to 0.
		return x, nil
	case zoo.TimeDecay:
		s := b.add(b.weighted(state[0], l.Name+"/memory_decay"), x)
		return s, []value{s}
	case zoo.SimpleRNN:
		h := b.simpleRNN(l, x, state[0])
		return h, []value{h}
	case zoo.GRU:
		h := b.gru(l, x, state[0])
		return h, []value{h}
	case zoo.UGRNN:
		h := b.ugrnn(l, x, state[0])
		return h, []value{h}
	case zoo.IntersectionRNN:
		y, h := b.intersectionRNN(l, x, state[0])
		return y, []value{h}
	case zoo.LSTM:
		h, c := b.lstm(l, x, state[0], state[1])
		return h, []value{h, c}
	case zoo.RGC:
		var o, c value
		if b.model.Depth == zoo.Shallow {
			o, c = b.shallowReciprocalGated(l, x, r, state[0], state[1])
		} else {
			o, c = b.reciprocalGated(l, x, r, feedback, state[0], state[1])
		}
		return o, []value{o, c}
	}
	panic(fmt.Sprintf("unroll: no cell %q", l.Cell))
}

// simpleRNN: h' = elu(N(conv(x) + conv(h))), N a layer norm or the identity.
func (b *builder) simpleRNN(l *zoo.Layer, x, h value) value {
	scope := l.Name + "/ConvNormBasicCell"
	i := b.bias(b.convolution(x, b.kernel(scope+"/i/weights"), 1, false), scope+"/i/bias")
	s := b.bias(b.convolution(h, b.kernel(scope+"/s/weights"), 1, false), scope+"/s/bias")
	sum := b.add(i, s)
	if l.LayerNorm {
		sum = b.layerNorm(sum, scope+"/layer_norm")
	}
	return b.elu(sum)
}

// gru: h' = u·h + (1-u)·tanh(conv([x, r·h])) (Cho et al. 2014).
func (b *builder) gru(l *zoo.Layer, x, h value) value {
	scope := l.Name + "/ConvGRUCell"
	gates := b.split(b.biasedGates(b.convolveBoth(x, h, b.kernel(scope+"/gates/weights")), scope+"/gates/bias", 1,
		h.depth()), 2)
	r, u := b.gate(gates[0], 1), b.sigmoid(gates[1])
	c := b.convolveBoth(x, b.mul(r, h), b.kernel(scope+"/candidates/weights"))
	return b.mix(u, h, b.tanh(b.bias(c, scope+"/candidates/bias")))
}

// ugrnn: h' = g·h + (1-g)·tanh(c) (Collins et al. 2016).
func (b *builder) ugrnn(l *zoo.Layer, x, h value) value {
	scope := l.Name + "/ConvUGRNNCell"
	gates := b.split(b.biasedGates(b.convolveBoth(x, h, b.kernel(scope+"/weights")), scope+"/bias", 1, h.depth()), 2)
	return b.mix(b.gate(gates[0], 1), h, b.tanh(gates[1]))
}

// intersectionRNN: h' = gh·h + (1-gh)·tanh(h̃), y' = gy·x + (1-gy)·relu(y)
// (Collins et al. 2016).
func (b *builder) intersectionRNN(l *zoo.Layer, x, h value) (y, next value) {
	scope := l.Name + "/ConvIntersectionRNNCell"
	parts := b.split(b.bias(b.convolveBoth(x, h, b.kernel(scope+"/weights")), scope+"/bias"), 4)
	next = b.mix(b.sigmoid(b.plus(parts[0], 1)), h, b.tanh(parts[1]))
	y = b.mix(b.sigmoid(b.plus(parts[2], 1)), x, b.relu(parts[3]))
	return y, next
}

// lstm: c' = c·σ(f + bias + w_f·c) + σ(i + w_i·c)·tanh(j), h' = tanh(c')·σ(o + w_o·c).
// The peephole terms read the old c, also in the output gate.
func (b *builder) lstm(l *zoo.Layer, x, h, c value) (value, value) {
	scope := l.Name + "/ConvLSTMCell"
	parts := b.split(b.bias(b.convolveBoth(x, h, b.kernel(scope+"/weights")), scope+"/bias"), 4)
	if l.LayerNorm {
		for k, name := range []string{"input", "transform", "forget", "output"} {
			parts[k] = b.layerNorm(parts[k], scope+"/"+name)
		}
	}
	i, j, f, o := parts[0], parts[1], b.plus(parts[2], l.LSTM.ForgetBias), parts[3]
	if l.LSTM.Peepholes {
		peephole := func(gate value, name string) value {
			return b.add(gate, b.weighted(c, scope+"/peepholes/"+name))
		}
		f, i, o = peephole(f, "w_f_diag"), peephole(i, "w_i_diag"), peephole(o, "w_o_diag")
	}
	next := b.add(b.mul(c, b.sigmoid(f)), b.mul(b.sigmoid(i), b.tanh(j)))
	if l.LayerNorm {
		next = b.layerNorm(next, scope+"/state")
	}
	return b.mul(b.tanh(next), b.sigmoid(o)), next
}

// biasedGates adds a bias; what the first gate's sigmoid adds to its argument is
// part of it, except in the plain variant.
func (b *builder) biasedGates(x value, name string, shift float64, depth int) value {
	if b.variant == Plain {
		return b.bias(x, name)
	}
	return b.shiftedBias(x, name, shift, depth)
}

// gate is σ(x + shift), the shift being in the bias already except in the plain variant.
func (b *builder) gate(x value, shift float64) value {
	if b.variant == Plain {
		x = b.plus(x, shift)
	}
	return b.sigmoid(x)
}

// complement is 1 - σ(x).
func (b *builder) complement(x value) value { return b.oneMinus(b.sigmoid(x)) }

// shallowReciprocalGated is the cell of rgc_shallow.
func (b *builder) shallowReciprocalGated(l *zoo.Layer, x, r, o, c value) (value, value) {
	scope := l.Name + "/ReciprocalGateCell/"
	convolve := func(v value, name string) value {
		return b.convolution(v, b.kernel(scope+name+"/weights"), 1, false)
	}
	input := convolve(x, "cell/input_to_cell")
	nextC := b.elu(b.add(
		b.mul(b.complement(convolve(c, "cell/tau")), c),
		b.mul(b.complement(convolve(o, "cell/gate")), input),
	))
	gate := b.add(convolve(c, "out/gate"), convolve(r, "out/residual_to_out_gate"))
	nextO := b.elu(b.add(
		b.mul(b.complement(convolve(o, "out/tau")), o),
		b.mul(b.complement(gate), x),
	))
	return nextO, nextC
}

// The trained constants of the rgc_intermediate cell.
const (
	tauFactor  = 0.9219348064291611
	gateFactor = 0.7006566684988862
)

// reciprocalGated is the cell of rgc_intermediate.
func (b *builder) reciprocalGated(l *zoo.Layer, x, r value, feedback []value, o, c value) (value, value) {
	scope := l.Name + "/ReciprocalGateCell/"
	separable := func(v value, name string) value {
		v = b.depthwise(v, b.kernel(scope+name+"/depthwise_weights"))
		v = b.convolution(v, b.kernel(scope+name+"/pointwise_weights"), 1, false)
		return b.bias(v, scope+name+"/bias")
	}
	// leak is kτ·(1 - σ(S(v)))·v, gated kg·(1 - tanh(S(from)))·v.
	leak := func(v value, name string) value {
		return b.mul(b.scale(b.complement(separable(v, name)), tauFactor), v)
	}
	gated := func(from value, name string, v value) value {
		return b.mul(b.scale(b.oneMinus(b.tanh(separable(from, name))), gateFactor), v)
	}
	e := b.elu(x)
	cellInput := b.bias(b.convolution(e, b.kernel(scope+"cell/input_to_cell_weights"), 1, false), scope+
		"cell/input_to_cell_bias")
	nextC := b.elu(b.add(leak(c, "cell/tau"), gated(o, "cell/out_to_cell", cellInput)))

	outInput := b.bias(b.convolution(e, b.kernel(scope+"out/input_to_out_weights"), 1, false), scope+
		"out/input_to_out_bias")
	if l.InputDepth != l.CellDepth {
		r = b.convolution(r, b.kernel(scope+"out/residual_add_weights"), 1, false)
	}
	outInput = b.add(outInput, r)
	if len(feedback) > 0 {
		outInput = b.add(outInput, b.feedback(l, feedback, scope))
	}
	nextO := b.elu(b.add(leak(o, "out/tau"), gated(c, "out/gate", outInput)))
	return nextO, nextC
}

// feedback is F in zoo.md §5: a 1×1 convolution of the feedback predecessors,
// resized to the layer's input.
func (b *builder) feedback(l *zoo.Layer, feedback []value, scope string) value {
	w := b.kernel(scope + "out/feedback_to_out_weights")
	if b.variant == Plain {
		resized := make([]value, len(feedback))
		for i, v := range feedback {
			resized[i] = b.resize(v, l.InputSize)
		}
		return b.bias(b.convolution(b.concatenate(resized...), w, 1, false), scope+"out/feedback_to_out_bias")
	}
	// Both are linear: on the small map first, then resized.
	from := 0
	sum := value{zero: true, shape: []int{l.InputSize, l.InputSize, l.CellDepth}}
	for _, v := range feedback {
		part := w.part(from, from+v.depth())
		sum = b.add(sum, b.resize(b.convolution(v, part, 1, false), l.InputSize))
		from += v.depth()
	}
	return b.bias(sum, scope+"out/feedback_to_out_bias")
}
