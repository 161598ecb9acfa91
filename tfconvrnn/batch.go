package tfconvrnn

import (
	"cmp"

	"github.com/tfconvrnn/go/internal/processor"
)

// largestChosenBatch bounds the batch size that is chosen where the caller gives none: larger ones gain little more on
// a processor.
const largestChosenBatch = 8

// chooseBatchSize takes the largest batch, up to largestChosenBatch or what BatchUpTo says, that fits
// half of the memory that is available.
func (m *Model) chooseBatchSize(x *Extraction) int {
	available := processor.AvailableMemory()
	size := int((available/2 - m.weightBytes()) / x.bytesPerStimulus())
	return max(1, min(cmp.Or(x.options.largestBatch, largestChosenBatch), size))
}

// weightBytes estimates what the weights will still take: they are in memory already,
// but the runtime's buffers grow with them.
func (m *Model) weightBytes() int64 { return m.info.Parameters }

// bytesPerStimulus estimates what a stimulus adds to a run: what is fetched, which
// up to three batches in the pipeline hold, one more for every further session, and
// the intermediate values of a few layers and timesteps at once.
func (x *Extraction) bytesPerStimulus() int64 {
	const float = 4
	fetched := int64(imageValues)
	for _, l := range x.request.layers { // whole layers, and so the batch is that without a selection
		fetched += int64(len(l.timesteps) * wholeSize(l.layer))
	}
	largest := int64(0)
	for _, l := range x.model.info.Layers {
		size := int64(1)
		for _, d := range l.Shape {
			size *= int64(d)
		}
		largest = max(largest, size)
	}
	// A cell on unpooled maps of four times the size has some twenty values of
	// them at hand.
	return float * (int64(3+len(x.model.peers))*fetched + 20*4*largest)
}
