package serving

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tfconvrnn/go/internal/version"
)

// routes returns the handler of everything.
func (s *Service) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern, name string, handler func(http.ResponseWriter, *http.Request) error) {
		s.patterns = append(s.patterns, pattern)
		mux.Handle(pattern, s.measured(name, handler))
		if method, path, ok := strings.Cut(pattern, " "); ok {
			mux.Handle(path, s.measured("unsupported", refuseMethod(method)))
		}
	}
	handle("GET /v2", "server_metadata", s.serverMetadata)
	handle("GET /v2/health/live", "live", s.live)
	handle("GET /v2/health/ready", "ready", s.ready)
	for _, path := range []string{"/v2/models/{model}", "/v2/models/{model}/versions/{version}"} {
		handle("GET "+path, "model_metadata", s.modelMetadata)
		handle("GET "+path+"/ready", "model_ready", s.modelReady)
		handle("POST "+path+"/infer", "infer", s.inferREST)
	}
	handle("/v2/", "unsupported", refuseREST)
	handle("POST /v1/classify", "classify", s.classify)
	handle("POST /v1/extract", "extract", s.extract)
	mux.Handle("/v1/", s.measured("unsupported", notFound))
	handle("GET /openapi.json", "openapi", openAPI)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	mux.Handle("/metrics", s.measured("unsupported", refuseMethod(http.MethodGet)))
	if s.options.NoPage {
		mux.Handle("/", s.measured("unsupported", notFound))
	} else {
		mux.Handle("/", s.measured("page", s.servePage))
	}
	return s.secured(mux)
}

// measured counts requests, and makes errors and panics answers.
func (s *Service) measured(name string, handler func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		recorder := &statusRecorder{ResponseWriter: w}
		defer func() {
			if cause := recover(); cause != nil {
				if cause == http.ErrAbortHandler {
					panic(cause)
				}
				s.fail(recorder, r, s.engine.panicked(cause))
			}
			s.metrics.answered("http", name, statusText(recorder.status()), time.Since(begin))
			s.options.Log.Debug("request", "method", r.Method, "path", r.URL.Path, "status", recorder.status(), "seconds",
				time.Since(begin).Seconds())
		}()
		if err := handler(recorder, r); err != nil {
			s.fail(recorder, r, err)
		}
	})
}

// statusRecorder remembers the status.
type statusRecorder struct {
	http.ResponseWriter
	written int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusRecorder) WriteHeader(status int) {
	if w.written == 0 {
		w.written = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *statusRecorder) Write(data []byte) (int, error) {
	if w.written == 0 {
		w.written = http.StatusOK
	}
	return w.ResponseWriter.Write(data)
}

// Unwrap is for http.ResponseController.
func (w *statusRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusRecorder) status() int {
	if w.written == 0 {
		return http.StatusOK
	}
	return w.written
}

// statusLeft is what other servers note, too, where the client has left.
const statusLeft = 499

// statuses are those of failures.
var statuses = map[failure]int{
	failureInternal: http.StatusInternalServerError, failureRequest: http.StatusBadRequest,
	failureUnknown:     http.StatusNotFound,
	failureUnsupported: http.StatusNotImplemented, failureTooLarge: http.StatusRequestEntityTooLarge,
	failureBusy:     http.StatusTooManyRequests,
	failureNotReady: http.StatusServiceUnavailable, failureDeadline: http.StatusGatewayTimeout,
	failureCancelled: statusLeft, failureSpace: http.StatusInsufficientStorage,
}

// fail answers with an error. Where the answer has begun already the connection is cut, so
// that nobody takes it for whole.
func (s *Service) fail(w *statusRecorder, r *http.Request, err error) {
	if w.written != 0 {
		if r.Context().Err() == nil {
			s.options.Log.Warn("an answer was cut short", "path", r.URL.Path, "error", err)
		}
		panic(http.ErrAbortHandler)
	}
	what := kind(err)
	if what == failureInternal {
		s.options.Log.Error("request failed", "path", r.URL.Path, "error", err)
	}
	var busy *BusyError
	if errors.As(err, &busy) {
		w.Header().Set("Retry-After", strconv.Itoa(busy.seconds()))
	}
	if what == failureNotReady {
		w.Header().Set("Retry-After", "1")
	}
	writeError(w, statuses[what], err.Error())
}

// writeError answers with the protocol's error object.
func writeError(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]string{"error": strings.ToValidUTF8(message, "?")})
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // a client that has left needs no answer
}

func (s *Service) live(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]bool{"live": true})
	return nil
}

func (s *Service) ready(w http.ResponseWriter, _ *http.Request) error {
	if err := s.Ready(); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]bool{"ready": true, "live": true})
	return nil
}

func (s *Service) modelReady(w http.ResponseWriter, r *http.Request) error {
	m, err := s.model(r.PathValue("model"), r.PathValue("version"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"name": m.name, "ready": true})
	return nil
}

func (s *Service) serverMetadata(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]any{"name": serverName, "version": version.Version, "extensions": extensions})
	return nil
}

func (s *Service) modelMetadata(w http.ResponseWriter, r *http.Request) error {
	m, err := s.model(r.PathValue("model"), r.PathValue("version"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, m.metadata())
	return nil
}

// jsonCopies is how many times as large as its values a result and its JSON are.
const jsonCopies = 4

// binaryHeader says how much of a body is JSON.
const binaryHeader = "Inference-Header-Content-Length"

// begin takes a request and room for its body, of which it sets how long it may take.
func (s *Service) begin(w http.ResponseWriter, r *http.Request) (t *ticket, done func(), err error) {
	if err := s.engine.full(); err != nil {
		return nil, nil, err
	}
	if r.ContentLength > s.options.MaxBody {
		return nil, nil, fmt.Errorf("%w: it has %d bytes, and may have %d", ErrTooLarge, r.ContentLength, s.options.MaxBody)
	}
	finished, err := s.accept()
	if err != nil {
		return nil, nil, err
	}
	t = &ticket{engine: s.engine, copies: 1}
	done = func() {
		t.release()
		finished()
	}
	if r.ContentLength > s.options.MaxMemory {
		done()
		return nil, nil, t.tooLarge(r.ContentLength)
	}
	size := r.ContentLength
	if size < 0 {
		size = s.options.MaxBody
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.timeFor(size))) // a test's writer has none
	r.Body = &bodyReader{ReadCloser: http.MaxBytesReader(w, r.Body, s.options.MaxBody), ticket: t}
	return t, done, nil
}

// bodyStep is how much room is taken for a body at a time.
const bodyStep = 256 << 10

// bodyReader takes room for a body as it comes, so that one that is said to be large and never comes takes none.
type bodyReader struct {
	io.ReadCloser
	ticket *ticket
	room   int
}

// Read implements io.Reader.
func (b *bodyReader) Read(p []byte) (int, error) {
	if b.room == 0 {
		if err := b.ticket.reserve(bodyStep); err != nil {
			return 0, err
		}
		b.room = bodyStep
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.room)])
	b.room -= n
	return n, err
}

// readBody reads a body whole.
func readBody(r *http.Request) ([]byte, error) {
	const known = 8 << 20 // that is believed before it has come
	var body bytes.Buffer
	if r.ContentLength >= 0 {
		body.Grow(int(min(r.ContentLength, known)) + bytes.MinRead)
	}
	_, err := body.ReadFrom(r.Body)
	return body.Bytes(), bodyError(err)
}

// bodyError says why a body could not be read.
func bodyError(err error) error {
	var large *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &large):
		return fmt.Errorf("%w: it may have %d bytes", ErrTooLarge, large.Limit)
	case errors.Is(err, ErrBusy), errors.Is(err, ErrTooLarge):
		return err
	}
	return requestf("the body cannot be read: %w", err)
}

func (s *Service) inferREST(w http.ResponseWriter, r *http.Request) error {
	t, done, err := s.begin(w, r)
	if err != nil {
		return err
	}
	defer done()
	model, err := s.model(r.PathValue("model"), r.PathValue("version"))
	if err != nil {
		return err
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return unsupported("the content encoding " + encoding)
	}
	body, err := readBody(r)
	if err != nil {
		return err
	}
	request, binaryDefault, err := parseREST(body, r.Header.Get(binaryHeader))
	if err != nil {
		return err
	}
	if request.outputs == nil && !binaryDefault || slices.Contains(request.binary, false) {
		t.copies = jsonCopies
	}
	response, err := s.infer(r.Context(), t, model, request)
	if err != nil {
		return err
	}
	if request.outputs == nil {
		for _, o := range response.outputs {
			o.binary = binaryDefault
		}
	}
	for i, binary := range request.binary {
		response.outputs[i].binary = binary
	}
	return s.writeREST(w, response)
}

// parseREST reads a request: JSON, and after it, where the header says how long that is, the
// values of inputs whose binary_data_size says how many bytes they take.
func parseREST(body []byte, header string) (_ *inferRequest, binaryDefault bool, err error) {
	text := body
	var rest []byte
	if header != "" {
		n, err := strconv.ParseUint(header, 10, 62)
		if err != nil || n > uint64(len(body)) {
			return nil, false, requestf("%s is %q, and the body has %d bytes", binaryHeader, header, len(body))
		}
		text, rest = body[:n], body[n:]
	}
	var j jsonRequest
	if err := parseJSON(text, &j); err != nil {
		return nil, false, err
	}
	r := &inferRequest{id: j.ID}
	if r.parameters, err = jsonParameters(j.Parameters); err != nil {
		return nil, false, err
	}
	if binaryDefault, err = r.parameters.boolean("binary_data_output"); err != nil {
		return nil, false, err
	}
	for i := range j.Inputs {
		t, size, err := j.Inputs[i].tensor(len(rest))
		if err != nil {
			return nil, false, err
		}
		if size >= 0 {
			if err := t.setRaw(rest[:size]); err != nil {
				return nil, false, err
			}
			rest = rest[size:]
		}
		r.inputs = append(r.inputs, t)
	}
	if len(rest) > 0 {
		return nil, false, requestf("%d bytes of binary data are no input's", len(rest))
	}
	for _, o := range j.Outputs {
		p, err := jsonParameters(o.Parameters)
		if err != nil {
			return nil, false, err
		}
		_, given := p["binary_data"]
		binary, err := p.boolean("binary_data")
		if err != nil {
			return nil, false, err
		}
		if err := p.none("output " + o.Name); err != nil {
			return nil, false, err
		}
		r.outputs = append(r.outputs, o.Name)
		r.binary = append(r.binary, binary || binaryDefault && !given)
	}
	return r, binaryDefault, nil
}

// tensor reads an input. Size is the number of its bytes in the binary data, of which there
// are so many left, or -1.
func (j *jsonTensor) tensor(left int) (_ *tensor, size int, err error) {
	t := &tensor{name: j.Name, datatype: j.Datatype, shape: j.Shape}
	p, err := jsonParameters(j.Parameters)
	if err != nil {
		return nil, 0, err
	}
	n, binary, err := p.number("binary_data_size")
	if err != nil {
		return nil, 0, err
	}
	if err := p.none("input " + j.Name); err != nil {
		return nil, 0, err
	}
	switch {
	case binary && j.Data != nil:
		return nil, 0, requestf("input %s has data and binary_data_size", j.Name)
	case binary && (n < 0 || n > float64(left) || n != float64(int(n))):
		return nil, 0, requestf("input %s: binary_data_size is %v, and %d bytes of binary data are left", j.Name, n, left)
	case binary:
		return t, int(n), nil
	case j.Data == nil:
		return nil, 0, requestf("input %s has neither data nor binary_data_size", j.Name)
	}
	return t, -1, t.setJSON(j.Data)
}

// writeREST writes a response: JSON, and after it the outputs in binary form.
func (s *Service) writeREST(w http.ResponseWriter, response *inferResponse) error {
	defer s.metrics.time("encode")()
	head, binaryBytes, err := response.json()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	if binaryBytes >= 0 {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set(binaryHeader, strconv.Itoa(len(head)))
	}
	total := int64(len(head)) + max(binaryBytes, 0)
	w.Header().Set("Content-Length", strconv.FormatInt(total, 10))
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.timeFor(total))) // a test's writer has none
	w.WriteHeader(http.StatusOK)
	write := func(part []byte) error {
		_, err := w.Write(part)
		return err
	}
	if err := write(head); err != nil {
		return cut(err)
	}
	for _, o := range response.outputs {
		if o.binary {
			if err := o.writeRaw(write); err != nil {
				return cut(err)
			}
		}
	}
	return nil
}

// json returns the JSON of a response, and the number of bytes of the outputs in binary form,
// -1 if there is none.
func (r *inferResponse) json() (text []byte, binaryBytes int64, err error) {
	quote := func(v any) []byte {
		quoted, quoteErr := json.Marshal(v)
		if quoteErr != nil {
			err = quoteErr
		}
		return quoted
	}
	binaryBytes = -1
	text = append(text, `{"model_name":`...)
	text = append(text, quote(r.model)...)
	text = append(text, `,"model_version":"`+modelVersion+`"`...)
	if r.id != "" {
		text = append(append(text, `,"id":`...), quote(r.id)...)
	}
	text = append(append(text, `,"parameters":`...), quote(r.parameters)...)
	text = append(text, `,"outputs":[`...)
	for i, o := range r.outputs {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(append(text, `{"name":`...), quote(o.name)...)
		text = append(append(text, `,"datatype":"`...), o.datatype...)
		text = append(append(text, `","shape":`...), quote(o.shape)...)
		if o.binary {
			size := o.size()
			binaryBytes = max(binaryBytes, 0) + int64(size)
			text = fmt.Appendf(text, `,"parameters":{"binary_data_size":%d}}`, size)
			continue
		}
		if err := o.checkFinite(); err != nil {
			return nil, 0, err
		}
		text = append(o.appendJSON(append(text, `,"data":`...)), '}')
	}
	return append(text, "]}"...), binaryBytes, err
}
