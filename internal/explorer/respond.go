package explorer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// ask is the part "request" of a request to respond.
type ask struct {
	Model        string `json:"model"`
	Presentation shown  `json:"presentation"`
	// Name is the picture's file name.
	Name string `json:"name"`
}

// maxAskBytes bounds the part "request".
const maxAskBytes = 64 << 10

// readAsk reads a form with the parts "request", JSON, and "picture", a file.
func (x *Explorer) readAsk(w http.ResponseWriter, r *http.Request) (a ask, pixels []uint8, err error) {
	r.Body = http.MaxBytesReader(w, r.Body, x.options.MaxPictureBytes+2*maxAskBytes)
	parts, err := r.MultipartReader()
	if err != nil {
		return a, nil, faultf(http.StatusUnsupportedMediaType, "the request is no form with files: %w", err)
	}
	var file []byte
	asked := false
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			break
		} else if err != nil {
			return a, nil, &fault{http.StatusBadRequest, err}
		}
		switch part.FormName() {
		case "request":
			decoder := json.NewDecoder(io.LimitReader(part, maxAskBytes))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&a); err != nil {
				return a, nil, faultf(http.StatusBadRequest, "the part request: %w", err)
			}
			asked = true
		case "picture":
			if file, err = io.ReadAll(part); err != nil {
				return a, nil, err
			}
		default:
			return a, nil, faultf(http.StatusBadRequest, "the form has the part %q; there are request and picture", part.FormName())
		}
	}
	if !asked {
		return a, nil, faultf(http.StatusBadRequest, "the form lacks the part request")
	}
	a.Name = pictureName(a.Name)
	pixels, _, err = x.prepare(r.Context(), file, a.Name)
	return a, pixels, err
}

// respond computes a run and streams what it is made of as server-sent events: run, stage, layer, classes, decision,
// done, or error.
func (x *Explorer) respond(w http.ResponseWriter, r *http.Request) error {
	a, pixels, err := x.readAsk(w, r)
	if err != nil {
		return err
	}
	m, err := x.model(a.Model)
	if err != nil {
		return err
	}
	presentation, err := a.Presentation.presentation(&m)
	if err != nil {
		return err
	}
	stimuli, err := tfconvrnn.FromUint8(pixels)
	if err != nil {
		return err
	}
	stimuli[0].ID = a.Name
	hash := pixelHash(pixels)
	path := a.Name
	if source, ok := x.pages.sources[hash]; ok {
		path = source
	}
	bytes := m.featureBytes(a.Presentation.Times)
	if err := x.runs.reserve(bytes); err != nil {
		return err
	}
	c := &computation{
		explorer: x, events: newEvents(w), stimulus: stimuli[0],
		run: &run{id: newID(), model: m, shown: a.Presentation, presentation: presentation, name: a.Name, path: path, hash: hash},
	}
	began := time.Now()
	if err := c.compute(r.Context()); err != nil {
		x.runs.release(bytes)
		text, status := x.errorText(r, err)
		c.events.send("error", map[string]any{"error": text, "status": status})
		return nil
	}
	x.runs.put(c.run, bytes)
	c.events.send("done", map[string]any{"run": c.run.id, "seconds": time.Since(began).Seconds()})
	return nil
}

// computation is a run that is being computed.
type computation struct {
	explorer *Explorer
	events   *events
	stimulus tfconvrnn.Stimulus
	run      *run
}

// layerPlan says of a layer what is known before it is computed.
type layerPlan struct {
	Name  string `json:"name"`
	Shape []int  `json:"shape"`
	// DrivenFrom is the first timestep at which the picture can have reached the layer, nil if it never does.
	DrivenFrom *int `json:"driven_from"`
}

// drivenFrom returns the first driven timestep.
func drivenFrom(l *tfconvrnn.LayerOutput) *int {
	for i, driven := range l.Driven {
		if driven {
			return &l.Timesteps[i]
		}
	}
	return nil
}

// compute computes all layers, the first ones by themselves before, since they come soon, and says what it finds.
func (c *computation) compute(ctx context.Context) error {
	m := &c.run.model
	request := Request{Model: m.Name, Stimulus: c.stimulus, Presentation: c.run.presentation, Layers: m.layerNames()}
	_, outputs, err := tfconvrnn.Outputs(m.Model, request.Options()...)
	if err != nil {
		return err
	}
	plan := make([]layerPlan, len(outputs))
	for i := range outputs {
		plan[i] = layerPlan{outputs[i].Name, outputs[i].Shape, drivenFrom(&outputs[i])}
	}
	c.events.send("run", map[string]any{
		"model": m.Name, "untrained": m.Untrained, "weights": m.Weights, "presentation": c.run.presentation.String(),
		"times": c.run.times(), "schedule": c.run.presentation.Schedule(1), "layers": plan,
	})
	first := request
	first.Layers = m.early()
	early, err := c.extract(ctx, "first", first)
	if err != nil {
		return err
	}
	for i := range early.Layers {
		c.events.send("layer", summarize(&early.Layers[i]))
	}
	// A decoder that begins late has nothing to say about a short presentation.
	request.Logits = m.Decoder.Decoder == "last" || c.run.times() > tfconvrnn.FirstDecodedTimestep
	if c.run.features, err = c.extract(ctx, "all", request); err != nil {
		return err
	}
	return c.report(len(first.Layers))
}

// report says what all layers hold, but those that were reported before.
func (c *computation) report(before int) error {
	f := c.run.features
	readout := &f.Layers[len(f.Layers)-1]
	for i := before; i < len(f.Layers); i++ {
		c.events.send("layer", summarize(&f.Layers[i]))
	}
	c.events.send("classes", classesOverTime(readout))
	d, err := decide(&c.run.model, readout, f.Logits)
	if err != nil {
		return err
	}
	c.events.send("decision", d)
	return nil
}

// extract has the engine compute a request, and keeps the connection alive meanwhile.
func (c *computation) extract(ctx context.Context, stage string, r Request) (*tfconvrnn.Features, error) {
	x, key := c.explorer, fmt.Sprint(r.Model, " ", stage)
	x.mu.Lock()
	expected := x.seconds[key] * float64(c.run.times())
	x.mu.Unlock()
	c.events.send("stage", map[string]any{"stage": stage, "layers": r.Layers, "expected_seconds": expected})
	type result struct {
		features *tfconvrnn.Features
		err      error
	}
	began, results := time.Now(), make(chan result, 1)
	go func() {
		f, err := x.engine.Extract(ctx, r)
		results <- result{f, err}
	}()
	alive := time.NewTicker(5 * time.Second)
	defer alive.Stop()
	for {
		select {
		case <-alive.C:
			c.events.comment()
		case r := <-results:
			if r.err != nil {
				return nil, r.err
			}
			x.mu.Lock()
			x.seconds[key] = time.Since(began).Seconds() / float64(c.run.times())
			x.mu.Unlock()
			return r.features, nil
		}
	}
}

// events writes server-sent events.
type events struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

func newEvents(w http.ResponseWriter) *events {
	return &events{w: w, control: http.NewResponseController(w)}
}

// send writes an event. A client that is gone is noticed by its context.
func (e *events) send(event string, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		text, event = []byte(`{"error":"a number is not finite"}`), "error"
	}
	e.write(fmt.Sprintf("event: %s\ndata: %s\n\n", event, text))
}

// comment keeps proxies from closing the connection.
func (e *events) comment() { e.write(": computing\n\n") }

func (e *events) write(text string) {
	if !e.begun {
		e.begun = true
		h := e.w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Accel-Buffering", "no")
	}
	_ = e.control.SetWriteDeadline(time.Now().Add(30 * time.Second)) // a server without deadlines has none to move
	_, _ = io.WriteString(e.w, text)
	_ = e.control.Flush()
}
