package explorer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
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
			return a, nil, formFault(err)
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
			return a, nil, faultf(http.StatusBadRequest, "the form has the part %q; there are request and picture",
				part.FormName())
		}
	}
	if !asked {
		return a, nil, faultf(http.StatusBadRequest, "the form lacks the part request")
	}
	a.Name = pictureName(a.Name)
	pixels, _, err = x.prepare(r.Context(), file, a.Name)
	return a, pixels, err
}

// formFault is the error of a form that cannot be read to its end.
func formFault(err error) error {
	var large *http.MaxBytesError
	if errors.Is(err, ErrBusy) || errors.As(err, &large) {
		return err
	}
	return &fault{http.StatusBadRequest, err}
}

// respond computes a run and streams what it is made of as server-sent events: run, layer and classes as they are
// computed, each with all timesteps so far, decision, done, or error.
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
	c := &computation{
		explorer: x, events: newEvents(w), stimulus: stimuli[0],
		run: &run{id: newID(), model: m, shown: a.Presentation, presentation: presentation, name: a.Name, path: path,
			hash: hash, have: map[string]int{}},
	}
	if err := x.runs.begin(c.run, m.featureBytes(a.Presentation.Times)); err != nil {
		return err
	}
	began := time.Now()
	err = c.compute(r.Context())
	x.runs.end(c.run, err == nil)
	if err != nil {
		text, status := x.errorText(r, err)
		c.events.send("error", map[string]any{"error": text, "status": status})
		return nil
	}
	c.events.send("done", map[string]any{"run": c.run.id, "seconds": time.Since(began).Seconds()})
	return nil
}

// computation is a run that is being computed.
type computation struct {
	explorer *Explorer
	events   *events
	stimulus tfconvrnn.Stimulus
	run      *run
	// summaries are those of the layers so far, and changed those that were not sent yet.
	summaries map[string]*layerSummary
	changed   []string
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

// compute computes all layers, and says what it finds as soon as it is there.
func (c *computation) compute(ctx context.Context) error {
	m := &c.run.model
	request := Request{Model: m.Name, Stimulus: c.stimulus, Presentation: c.run.presentation, Layers: m.layerNames()}
	// A decoder that begins late has nothing to say about a short presentation.
	request.Logits = m.Decoder.Decoder == "last" || c.run.times() > tfconvrnn.FirstDecodedTimestep
	_, outputs, err := tfconvrnn.Outputs(m.Model, request.Options()...)
	if err != nil {
		return err
	}
	plan := make([]layerPlan, len(outputs))
	for i := range outputs {
		plan[i] = layerPlan{outputs[i].Name, outputs[i].Shape, drivenFrom(&outputs[i])}
	}
	c.events.send("run", map[string]any{
		"run": c.run.id, "model": m.Name, "untrained": m.Untrained, "weights": m.Weights,
		"presentation": c.run.presentation.String(),
		"times":        c.run.times(), "schedule": c.run.presentation.Schedule(1), "layers": plan,
	})
	c.summaries = map[string]*layerSummary{}
	if err := c.follow(ctx, request); err != nil {
		return err
	}
	all, err := c.run.all()
	if err != nil {
		return err
	}
	d, err := decide(m, &all.Layers[len(all.Layers)-1], all.Logits)
	if err != nil {
		return err
	}
	c.events.send("decision", d)
	return nil
}

// How often a run says what it has computed meanwhile, and that it lives.
const (
	tellInterval  = 100 * time.Millisecond
	aliveInterval = 5 * time.Second
)

// follow has the engine compute a request, and says meanwhile what there is.
func (c *computation) follow(ctx context.Context, r Request) error {
	type computed struct {
		features        *tfconvrnn.Features
		layer, timestep int
	}
	type result struct {
		features *tfconvrnn.Features
		err      error
	}
	// All that can come finds room, so that the engine never waits for a client.
	parts, results := make(chan computed, len(r.Layers)*c.run.times()), make(chan result, 1)
	r.Computed = func(f *tfconvrnn.Features, layer, timestep int) {
		select {
		case parts <- computed{f, layer, timestep}:
		default:
		}
	}
	go func() {
		f, err := c.explorer.engine.Extract(ctx, r)
		results <- result{f, err}
	}()
	alive, tell := time.NewTicker(aliveInterval), time.NewTicker(tellInterval)
	defer alive.Stop()
	defer tell.Stop()
	for {
		select {
		case p := <-parts:
			c.note(p.features, p.layer, p.timestep)
		case <-tell.C:
			c.tell()
		case <-alive.C:
			c.events.comment()
		case r := <-results:
			if r.err != nil {
				return r.err
			}
			for i := range r.features.Layers {
				for t := range r.features.Layers[i].Timesteps {
					c.note(r.features, i, t)
				}
			}
			c.run.finish(r.features)
			c.tell()
			return nil
		}
	}
}

// note takes in a timestep of a layer, unless it is known.
func (c *computation) note(f *tfconvrnn.Features, layer, timestep int) {
	l := &f.Layers[layer]
	s := c.summaries[l.Name]
	if s == nil {
		s = &layerSummary{Layer: l.Name}
		c.summaries[l.Name] = s
	}
	if timestep != len(s.Mean) {
		return
	}
	s.add(c.run.computed(f, layer, timestep), timestep)
	if !slices.Contains(c.changed, l.Name) {
		c.changed = append(c.changed, l.Name)
	}
}

// tell sends what is new.
func (c *computation) tell() {
	readout := c.run.model.Layers[len(c.run.model.Layers)-1].Name
	for _, name := range c.changed {
		s := c.summaries[name]
		c.events.send("layer", s)
		if name == readout {
			c.events.send("classes", classesOverTime(c.run.soFar(name)))
		}
	}
	c.changed = nil
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
