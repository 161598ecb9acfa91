package serving

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/tfconvrnn"
)

const (
	npzType = "application/x-npz"
)

// writeNPZ answers with the file that the command extract writes of the same pictures, but for
// the provenance, which names no file of the client. It is made in a temporary folder first.
func (s *Service) writeNPZ(w http.ResponseWriter, r *http.Request, p *personal) error {
	g := &p.shown.groups[0]
	a := &answering{set: p.set, in: p.shown, plan: g.plan}
	layout, err := p.layout(a)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tfconvrnn-serve-*")
	if err != nil {
		return features.DiskError(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "features.npz")
	if err := write(r, name, layout, g.result); err != nil {
		return err
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", npzType)
	w.Header().Set("Content-Disposition", `attachment; filename="features.npz"`)
	w.Header().Set("Content-Length", strconv.FormatInt(info.Size(), 10))
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.timeFor(info.Size()))) // a test's writer has none
	w.WriteHeader(http.StatusOK)
	if _, err := io.Copy(w, file); err != nil {
		return cut(err)
	}
	return nil
}

// layout describes the output as extract's do.
func (p *personal) layout(a *answering) (*features.Layout, error) {
	about, err := json.Marshal(a.about())
	if err != nil {
		return nil, err
	}
	hashes := make([]string, len(p.form.pictures))
	for i, picture := range p.form.pictures {
		sum := sha256.Sum256(picture)
		hashes[i] = hex.EncodeToString(sum[:])
	}
	layout := &features.Layout{
		Rows: len(p.form.names), Model: p.model.name, Identifier: p.model.name, StimulusSet: "pictures",
		Columns: []features.Column{{Name: features.NPZ.StimulusColumn(), Values: p.form.names},
			{Name: "stimulus_sha256", Values: hashes}},
		Attributes: []features.Attribute{{Name: "provenance", Value: string(about)}},
	}
	for _, l := range a.plan.layers {
		streamed := features.Streamed{
			Name: l.Name, DataType: features.Float32, RowShape: append([]int{len(l.Timesteps)}, l.shape...),
			Dimensions: append([]string{"timestep"}, l.reduction.Dimensions(l.Shape)...),
			Layer:      &features.Layer{Timesteps: l.Timesteps, Driven: l.Driven},
		}
		extraction.PlaceUnits(&streamed, l.Selection, !l.reduction.IsNone())
		layout.Streamed = append(layout.Streamed, streamed)
	}
	if a.plan.wish.logits {
		layout.Streamed = append(layout.Streamed, features.Streamed{Name: outputLogits, DataType: features.Float32,
			RowShape: []int{tfconvrnn.Classes}, Dimensions: []string{"logit"}})
	}
	return layout, nil
}

// write writes results to a file.
func write(r *http.Request, name string, layout *features.Layout, result *result) error {
	writer, err := features.Create(name, features.NPZ, layout, features.Options{})
	if err != nil {
		return err
	}
	defer writer.Abort() // no effect after Finish
	for i := range layout.Streamed {
		values := result.logits
		if i < len(result.layers) {
			values = result.layers[i]
		}
		if err := writer.WriteRows(i, 0, values); err != nil {
			return err
		}
	}
	return writer.Finish(r.Context())
}
