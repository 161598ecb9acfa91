package explorer

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tfconvrnn/go/features"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// npz sends the features of a run as extract writes them. The query may have layer, several times.
func (x *Explorer) npz(w http.ResponseWriter, r *http.Request) error {
	a, _, err := x.pair(r, false)
	if err != nil {
		return err
	}
	layers, err := a.chosen(r.URL.Query()["layer"])
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tfconvrnn-explorer-")
	if err != nil {
		return features.DiskError(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "features.npz")
	if err := a.writeNPZ(r.Context(), path, layers); err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	w.Header().Set("Content-Type", "application/x-npz")
	w.Header().Set("Content-Disposition", "attachment; filename*=UTF-8''"+url.PathEscape(a.output()))
	deadline := time.Now().Add(10 * time.Minute)
	_ = http.NewResponseController(w).SetWriteDeadline(deadline) // a server without deadlines has none to move
	http.ServeContent(w, r, "", time.Time{}, file)
	return nil
}

// writeNPZ writes layers of a run, and what was decoded, to a file.
func (r *run) writeNPZ(ctx context.Context, path string, layers []string) error {
	all, err := r.all()
	if err != nil {
		return err
	}
	provenance := all.Provenance
	provenance.Layers = layers
	text, err := json.Marshal(struct {
		tfconvrnn.Provenance
		PictureSHA256 string `json:"picture_224_sha256"`
	}{provenance, r.hash})
	if err != nil {
		return err
	}
	layout := &features.Layout{
		Rows: 1, Model: r.model.Name, Identifier: r.model.Name, StimulusSet: r.name,
		Columns:    []features.Column{{Name: features.NPZ.StimulusColumn(), Values: []string{r.name}}},
		Attributes: []features.Attribute{{Name: "provenance", Value: string(text)}},
	}
	var rows [][]float32
	for i := range all.Layers {
		l := &all.Layers[i]
		if !slices.Contains(layers, l.Name) {
			continue
		}
		dimensions := []string{"timestep", "height", "width", "channel"}
		if len(l.Shape) == 1 {
			dimensions = []string{"timestep", "class"}
		}
		layout.Streamed = append(layout.Streamed, features.Streamed{
			Name: l.Name, DataType: features.Float32, RowShape: append([]int{len(l.Timesteps)}, l.Shape...),
			Dimensions: dimensions, Layer: &features.Layer{Timesteps: l.Timesteps, Driven: l.Driven},
		})
		rows = append(rows, l.Data)
	}
	if all.Logits != nil {
		layout.Streamed = append(layout.Streamed, features.Streamed{
			Name: "logits", DataType: features.Float32, RowShape: []int{len(all.Logits)}, Dimensions: []string{"logit"},
		})
		rows = append(rows, all.Logits)
	}
	out, err := features.Create(path, features.NPZ, layout, features.Options{})
	if err != nil {
		return err
	}
	for i, data := range rows {
		if err := out.WriteRows(i, 0, data); err != nil {
			return fmt.Errorf("%w; %w", err, out.Abort())
		}
	}
	return out.Finish(ctx)
}
