package serving

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/tfconvrnn/go/internal/evaluation"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// maxFields is the most fields of a form beside pictures, and maxField the bytes of each.
const (
	maxFields = 64
	maxField  = 64 << 10
)

// form is what people send: pictures, and parameters as fields or in the query.
type form struct {
	parameters parameters
	names      []string
	pictures   [][]byte
}

// readForm reads multipart/form-data.
func (s *Service) readForm(r *http.Request) (*form, error) {
	contentType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || contentType != "multipart/form-data" {
		return nil, requestf("the body is not multipart/form-data; curl -F picture=@cat.jpg sends it so")
	}
	parts, err := r.MultipartReader()
	if err != nil {
		return nil, requestf("the form cannot be read: %w", err)
	}
	f := &form{parameters: parameters{}}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, requestf("the query cannot be read: %w", err)
	}
	for name, values := range query {
		for _, value := range values {
			f.add(name, value)
		}
	}
	for fields := 0; ; {
		part, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, bodyError(err)
		}
		if part.FormName() != "picture" {
			if fields++; fields > maxFields {
				return nil, fmt.Errorf("%w: a form has at most %d fields beside pictures", ErrTooLarge, maxFields)
			}
			value, err := io.ReadAll(io.LimitReader(part, maxField+1))
			if err != nil {
				return nil, bodyError(err)
			}
			if len(value) > maxField {
				return nil, fmt.Errorf("%w: the field %q has more than %d bytes", ErrTooLarge, part.FormName(), maxField)
			}
			f.add(part.FormName(), string(value))
			continue
		}
		if len(f.pictures) == s.options.MaxQueue {
			return nil, fmt.Errorf("%w: a request may have %d pictures", ErrTooLarge, s.options.MaxQueue)
		}
		picture, err := io.ReadAll(part)
		if err != nil {
			return nil, bodyError(err)
		}
		f.pictures = append(f.pictures, picture)
		f.names = append(f.names, f.name(part.FileName()))
	}
	if len(f.pictures) == 0 {
		return nil, requestf("the form has no field picture; curl -F picture=@cat.jpg sends one, several of it several")
	}
	return f, nil
}

// add adds a parameter; one that comes several times is a list.
func (f *form) add(name, value string) {
	switch before := f.parameters[name].(type) {
	case nil:
		f.parameters[name] = value
	case string:
		f.parameters[name] = []any{before, value}
	case []any:
		f.parameters[name] = append(before, value)
	}
}

// name is a picture's, which no other has.
func (f *form) name(file string) string {
	base := path.Base(strings.ReplaceAll(strings.ToValidUTF8(file, "?"), "\\", "/"))
	if base == "." || base == "/" {
		base = fmt.Sprintf("picture %d", len(f.names))
	}
	name := base
	for k := 2; slices.Contains(f.names, name); k++ {
		name = fmt.Sprintf("%s (%d)", base, k)
	}
	return name
}

// personal is a request of people that is computed.
type personal struct {
	form  *form
	model *served
	set   *settings
	shown *shown
}

// personal reads a form and computes what complete makes of its settings. The caller calls done
// when the answer is written.
func (s *Service) personal(w http.ResponseWriter, r *http.Request, complete func(*form, *served, *settings) error,
	copies int64) (_ *personal, done func(), err error) {
	t, end, err := s.begin(w, r)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			end()
		}
	}()
	t.copies = copies
	f, err := s.readForm(r)
	if err != nil {
		return nil, nil, err
	}
	name, given, err := f.parameters.text("model")
	if err != nil {
		return nil, nil, err
	}
	if !given {
		if len(s.names) > 1 {
			return nil, nil, requestf("which model? give the field model: %s", strings.Join(s.names, ", "))
		}
		name = s.names[0]
	}
	p := &personal{form: f}
	if p.model, err = s.model(name, ""); err != nil {
		return nil, nil, err
	}
	extra := f.parameters
	keep := parameters{}
	for _, own := range []string{"over_time", "format"} {
		if value, ok := extra[own]; ok {
			keep[own] = value
			delete(extra, own)
		}
	}
	if p.set, err = extra.settings(p.model.model.Info(), s.options.Preprocessing); err != nil {
		return nil, nil, err
	}
	f.parameters = keep
	if err := complete(f, p.model, p.set); err != nil {
		return nil, nil, err
	}
	if err := f.parameters.finish(); err != nil {
		return nil, nil, err
	}
	ctx := r.Context()
	if p.set.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.set.timeout)
		defer cancel()
	}
	request := &inferRequest{inputs: []*tensor{{name: inputPictures, datatype: "BYTES", shape: newShape(len(f.pictures)),
		items: f.pictures}}}
	p.shown, err = s.results(ctx, t, p.model, p.set, request, &inferResponse{parameters: map[string]any{}})
	return p, end, err
}

// classification is the answer of /v1/classify.
type classification struct {
	Model string `json:"model"`
	// Untrained says that the classes mean nothing.
	Untrained bool                        `json:"untrained,omitempty"`
	Rounded   []string                    `json:"rounded,omitempty"`
	Results   []evaluation.Classification `json:"results"`
}

// classify answers as the command classify does.
func (s *Service) classify(w http.ResponseWriter, r *http.Request) error {
	overTime := false
	p, done, err := s.personal(w, r, func(f *form, model *served, set *settings) (err error) {
		if set.layersGiven || set.selections != nil || set.reductions != nil {
			return requestf("classes come from the readout; leave out layers, areas, select and reduce, or ask /v1/extract")
		}
		set.layers, set.allTimesteps, set.logits = []string{readoutOf(model.model.Info())}, true, true
		if set.top == 0 {
			set.top = defaultTop
		}
		overTime, err = f.parameters.boolean("over_time")
		return err
	}, jsonCopies)
	if err != nil {
		return err
	}
	defer done()
	answer := classification{Model: p.model.name, Untrained: p.model.model.Untrained(), Rounded: p.set.roundings()}
	g := &p.shown.groups[0]
	l := &g.plan.layers[0]
	for i, name := range p.form.names {
		logits, readout := g.result.logits[i*tfconvrnn.Classes:(i+1)*tfconvrnn.Classes],
			g.result.layers[0][i*l.size:(i+1)*l.size]
		one, err := evaluation.Classify(p.model.model.Info(), l.LayerOutput, name, logits, readout, p.set.top, overTime)
		if err != nil {
			return err
		}
		answer.Results = append(answer.Results, one)
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

func readoutOf(model savedmodels.Model) string { return model.Layers[len(model.Layers)-1].Name }

// roundings say which times were rounded.
func (s *settings) roundings() (list []string) {
	for _, r := range s.rounded {
		list = append(list, fmt.Sprintf("%s_ms %v is rounded to %d ms", r.Of, r.Given, r.Milliseconds))
	}
	return list
}

// extractedJSON is the answer of /v1/extract in JSON.
type extractedJSON struct {
	Model     string           `json:"model"`
	Untrained bool             `json:"untrained,omitempty"`
	Rounded   []string         `json:"rounded,omitempty"`
	Stimuli   []string         `json:"stimuli"`
	Layers    []extractedLayer `json:"layers"`
	// Logits are [stimuli][1000].
	Logits     [][]float32 `json:"logits,omitempty"`
	Provenance any         `json:"provenance"`
}

// extractedLayer is a layer of it.
type extractedLayer struct {
	Name         string `json:"name"`
	Timesteps    []int  `json:"timesteps"`
	Milliseconds []int  `json:"ms"`
	Driven       []bool `json:"driven"`
	// Shape is [stimuli, timesteps, …]; Data are the values in C order.
	Shape []int64   `json:"shape"`
	Data  []float32 `json:"data"`
}

// extract answers with features, as JSON or .npz.
func (s *Service) extract(w http.ResponseWriter, r *http.Request) error {
	format := ""
	p, done, err := s.personal(w, r, func(f *form, _ *served, set *settings) (err error) {
		if set.top > 0 {
			return requestf("/v1/extract has no parameter top; /v1/classify has")
		}
		if format, _, err = f.parameters.text("format"); err != nil {
			return err
		}
		if format == "" && strings.Contains(r.Header.Get("Accept"), npzType) {
			format = "npz"
		}
		if format != "" && format != "json" && format != "npz" {
			return requestf("the parameter format is json or npz, not %q", format)
		}
		return nil
	}, jsonCopies)
	if err != nil {
		return err
	}
	defer done()
	if format == "npz" {
		return s.writeNPZ(w, r, p)
	}
	g := &p.shown.groups[0]
	a := &answering{set: p.set, in: p.shown, plan: g.plan}
	answer := extractedJSON{Model: p.model.name, Untrained: p.model.model.Untrained(), Rounded: p.set.roundings(),
		Stimuli: p.form.names, Provenance: a.about()}
	for i, l := range g.plan.layers {
		answer.Layers = append(answer.Layers, extractedLayer{Name: l.Name, Timesteps: l.Timesteps,
			Milliseconds: l.Milliseconds, Driven: l.Driven,
			Shape: newShape(append([]int{len(p.form.names), len(l.Timesteps)}, l.shape...)...), Data: g.result.layers[i]})
		o := output{name: l.Name, floats: [][]float32{g.result.layers[i]}}
		if err := o.checkFinite(); err != nil {
			return fmt.Errorf("%w: as .npz", err)
		}
	}
	for row := range slices.Chunk(g.result.logits, tfconvrnn.Classes) {
		answer.Logits = append(answer.Logits, row)
	}
	defer s.metrics.time("encode")()
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// cut is the error of an answer that cannot be finished.
func cut(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", context.Canceled, err)
}
