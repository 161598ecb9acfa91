package unroll

import (
	"github.com/tfconvrnn/go/internal/graph"
	"github.com/tfconvrnn/go/internal/zoo"
)

// decode adds the decoded logits of every number of timesteps that the decoder
// allows: zoo.md §6. logits[n] is for presentations of n timesteps.
func (b *builder) decode(trajectory []value, logits []graph.Tensor) {
	name := func(times int, t graph.Tensor) {
		logits[times] = b.g.Add(graph.Spec{Name: LogitsName(times), Op: "Identity", Inputs: []graph.Tensor{t},
			Attributes: graph.Attributes{"T": float}})
	}
	if b.model.Decoder == zoo.Last {
		for t, v := range trajectory {
			b.enter("decoder", t, nil, nil)
			name(t+1, b.broadcast(v))
		}
		return
	}
	stimulus := value{kind: PerStimulus}
	op := func(op string, attributes graph.Attributes, inputs ...graph.Tensor) graph.Tensor {
		return b.op(op, stimulus, attributes, 0, inputs...)
	}
	choose := func(condition, yes, no graph.Tensor) graph.Tensor {
		return op("SelectV2", graph.Attributes{"T": float}, condition, yes, no)
	}
	beta := b.read(b.kernel("normalize/softmax_beta"))
	var confidence, best graph.Tensor        // the largest probability so far, and its readout
	var found, first, threshold graph.Tensor // whether any reached the threshold, and the first that did
	if b.model.Decoder == zoo.Threshold {
		threshold = b.read(b.kernel("decoder_threshold"))
	}
	for t := zoo.FirstDecodedTimestep; t < b.times; t++ {
		b.enter("decoder", t, nil, nil)
		readout := b.broadcast(trajectory[t])
		probabilities := op("Softmax", graph.Attributes{"T": float}, op("Mul", graph.Attributes{"T": float}, readout, beta))
		now := op("Max", graph.Attributes{"T": float, "Tidx": int32Type, "keep_dims": graph.Bool(true)}, probabilities,
			b.g.Int32s("axis1_vector", []int32{1}, 1))
		var reached graph.Tensor
		if threshold.Exists() {
			reached = op("GreaterEqual", graph.Attributes{"T": float}, now, threshold)
		}
		if t == zoo.FirstDecodedTimestep {
			confidence, best = now, readout
			found, first = reached, readout
		} else {
			better := op("Greater", graph.Attributes{"T": float}, now, confidence)
			best = choose(better, readout, best)
			confidence = op("Maximum", graph.Attributes{"T": float}, now, confidence)
			if threshold.Exists() {
				first = choose(found, first, readout)
				found = op("LogicalOr", nil, found, reached)
			}
		}
		decoded := best
		if threshold.Exists() {
			decoded = choose(found, first, best)
		}
		name(t+1, decoded)
	}
}
