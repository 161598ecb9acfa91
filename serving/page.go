package serving

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/tfconvrnn/go/internal/explorer"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// pageEngine computes for the page, in the service's queue.
type pageEngine struct {
	service *Service
	models  []explorer.Model
}

// newPage returns the page of the service's models, all of which are loaded. The caller holds
// the lock.
func (s *Service) newPage() (*explorer.Explorer, error) {
	engine := &pageEngine{service: s}
	for _, name := range s.names {
		model := s.models[name].model
		x, err := model.Plan(tfconvrnn.OnlyLogits())
		if err != nil {
			return nil, err
		}
		weights := ""
		if w := x.Provenance().Weights; w.Seed != nil {
			weights = fmt.Sprintf("seeded:%d", *w.Seed)
		}
		described, err := explorer.DescribeModel(model, weights)
		if err != nil {
			return nil, err
		}
		engine.models = append(engine.models, described)
	}
	return explorer.New(engine, explorer.Options{Logger: s.options.Log}), nil
}

// Models implements explorer.Engine.
func (e *pageEngine) Models() []explorer.Model { return e.models }

// Extract implements explorer.Engine.
func (e *pageEngine) Extract(ctx context.Context, r explorer.Request) (*tfconvrnn.Features, error) {
	f, err := e.extract(ctx, r)
	if errors.Is(err, ErrBusy) {
		err = fmt.Errorf("%w: %w", explorer.ErrBusy, err)
	}
	return f, err
}

func (e *pageEngine) extract(ctx context.Context, r explorer.Request) (*tfconvrnn.Features, error) {
	s := e.service
	model, err := s.model(r.Model, "")
	if err != nil {
		return nil, err
	}
	done, err := s.accept()
	if err != nil {
		return nil, err
	}
	defer done()
	t := &ticket{engine: s.engine, copies: 1}
	defer t.release()
	preprocessing := tfconvrnn.Preprocessing{}.String()
	// By itself, so that the commands that the page shows make the same bytes.
	p, err := model.plan(wish{presentation: r.Presentation, layers: r.Layers, allTimesteps: true, logits: r.Logits,
		preprocessing: preprocessing}, 1)
	if err != nil {
		return nil, err
	}
	if err := t.reserve(p.resultBytes(1)); err != nil {
		return nil, err
	}
	if err := t.enter(1); err != nil {
		return nil, err
	}
	var f *tfconvrnn.Features
	result, err := s.engine.computeReporting(ctx, t, p, []tfconvrnn.Stimulus{r.Stimulus},
		func(so *result, layer, timestep int) {
			if f == nil {
				f = pageFeatures(&r, so, preprocessing)
			}
			if r.Computed != nil {
				r.Computed(f, layer, timestep)
			}
		})
	if err != nil {
		return nil, err
	}
	whole := pageFeatures(&r, result, preprocessing)
	whole.Logits, whole.Provenance.BatchSize = result.logits, result.batches[0]
	return whole, nil
}

// pageFeatures are those of a result, in its memory.
func pageFeatures(r *explorer.Request, of *result, preprocessing string) *tfconvrnn.Features {
	f := &tfconvrnn.Features{Stimuli: []string{r.Stimulus.ID}, Failed: []error{nil},
		Provenance: of.plan.asked.Provenance()}
	f.Provenance.Preprocessing = preprocessing
	for i, l := range of.plan.layers {
		f.Layers = append(f.Layers, tfconvrnn.LayerFeatures{LayerOutput: l.LayerOutput, Data: of.layers[i]})
	}
	return f
}

// servePage serves the page when all models are loaded; before that browsers are told to come
// again.
func (s *Service) servePage(w http.ResponseWriter, r *http.Request) error {
	s.mu.RLock()
	page := s.page
	s.mu.RUnlock()
	if page == nil {
		w.Header().Set("Refresh", "2")
		return fmt.Errorf("%w: models are being loaded", ErrNotReady)
	}
	t := &ticket{engine: s.engine}
	defer t.release()
	r.Body = &pageBody{bodyReader{ReadCloser: http.MaxBytesReader(w, r.Body, s.options.MaxBody), ticket: t}}
	page.ServeHTTP(w, r)
	return nil
}

// pageBody is a bodyReader whose errors the page understands.
type pageBody struct{ bodyReader }

// Read implements io.Reader.
func (b *pageBody) Read(p []byte) (int, error) {
	n, err := b.bodyReader.Read(p)
	switch {
	case errors.Is(err, ErrBusy):
		err = fmt.Errorf("%w: %w", explorer.ErrBusy, err)
	case errors.Is(err, ErrTooLarge):
		err = &http.MaxBytesError{Limit: b.ticket.engine.options.MaxMemory}
	}
	return n, err
}
