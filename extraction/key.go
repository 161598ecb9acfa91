package extraction

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// Key returns a hash of what decides the features of each layer: the model and its weights, presentation,
// preprocessing, selections and reductions, the contents of the stimuli and their order, and versions. What decides
// only the last bits, threads and batches, and which other layers there are, is not part of it. The errors are those of
// Model.Plan.
func (d *Draft) Key(model *tfconvrnn.Model) (string, error) {
	r := &d.recipe
	x, err := model.Plan(r.extractOptions()...)
	if err != nil {
		return "", err
	}
	p := *r.Provenance
	p.Provenance = x.Provenance()
	p.Threads, p.BatchSize, p.BatchHalvedFrom, p.Layers, p.Inputs, p.Reductions, p.ColumnNames = 0, 0, 0, nil, nil,
		nil, nil
	text, err := json.Marshal([]any{p, r.Selections, r.Reductions, r.OnError, r.MaxFrames, r.FramesPerSecond})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}
