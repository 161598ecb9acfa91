package libtf

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unsafe"
)

// SessionOptions says how a session runs. A nil *SessionOptions means the
// defaults.
type SessionOptions struct {
	// Config is a serialised tensorflow.ConfigProto.
	Config []byte
}

func (o *SessionOptions) config() ([]byte, error) {
	if o == nil {
		return nil, nil
	}
	return o.Config, checkConfig(o.Config)
}

// Session runs a graph. Its owner closes it. All methods are safe for
// concurrent use.
type Session struct {
	handle  *handle
	graph   *handle // held until the session is freed
	cleanup runtime.Cleanup
}

// wrapSession takes over one acquire of graph.
func wrapSession(pointer unsafe.Pointer, graph *handle) *Session {
	s := &Session{graph: graph, handle: newHandle(pointer, &live.sessions, func(p unsafe.Pointer) error {
		defer graph.release()
		return deleteSession(p)
	})}
	s.cleanup = runtime.AddCleanup(s, (*handle).close, s.handle)
	return s
}

// NewSession returns a session for the graph, which the caller closes. Nodes
// that are added to the graph later can be run too.
func NewSession(graph *Graph, options *SessionOptions) (*Session, error) {
	if graph == nil {
		return nil, invalid("create a session", "the graph is nil")
	}
	config, err := options.config()
	if err != nil {
		return nil, err
	}
	if err := graph.handle.acquire(); err != nil {
		return nil, err
	}
	pointer, err := newSession(graph.handle.pointer, config)
	if err != nil {
		graph.handle.release()
		return nil, err
	}
	return wrapSession(pointer, graph.handle), nil
}

// SavedModel is a graph and a session with the model's variables restored.
type SavedModel struct {
	Session *Session
	Graph   *Graph
}

// maxSavedModelSize is the largest message protocol buffers allow.
const maxSavedModelSize = 1<<31 - 1

// LoadSavedModel loads the SavedModel in directory dir whose set of tags is
// exactly tags, usually "serve". The caller closes it. Errors from TensorFlow
// carry its codes: ErrMissing for no such directory or tags, ErrDataLoss and
// ErrOutOfRange for damaged files, ErrInvalidArgument for a broken graph.
func LoadSavedModel(dir string, tags []string, options *SessionOptions) (*SavedModel, error) {
	operation := "load SavedModel " + dir
	if !loaded() {
		return nil, ErrNotLoaded
	}
	for _, text := range append([]string{dir}, tags...) {
		if strings.ContainsRune(text, 0) {
			return nil, invalid(operation, "%q holds a zero byte", text)
		}
	}
	config, err := options.config()
	if err != nil {
		return nil, err
	}
	// A missing file is left to TensorFlow, which also knows saved_model.pbtxt.
	name := filepath.Join(dir, "saved_model.pb")
	if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
		if info.Size() > maxSavedModelSize {
			return nil, invalid(operation, "%s has %d bytes, a protocol buffer has at most %d", name, info.Size(),
				maxSavedModelSize)
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("libtf: %s: %w", operation, err)
		}
		if err := checkSavedModel(content); err != nil {
			return nil, invalid(operation, "%s: %v", name, err)
		}
	}
	graph, err := NewGraph()
	if err != nil {
		return nil, err
	}
	if err := graph.handle.acquire(); err != nil {
		return nil, err
	}
	pointer, err := loadSavedModel(graph.handle.pointer, dir, tags, config)
	if err != nil {
		graph.handle.release()
		graph.Close()
		return nil, err
	}
	return &SavedModel{Session: wrapSession(pointer, graph.handle), Graph: graph}, nil
}

// Close closes session and graph, waiting for runs in progress. Closing again
// does nothing, nor does closing nil.
func (m *SavedModel) Close() error {
	if m == nil {
		return nil
	}
	err := m.Session.Close()
	m.Graph.Close()
	return err
}

// Feed gives the value of one output of the graph for a run.
type Feed struct {
	Output Output
	Tensor *Tensor
}

// Run computes fetches and runs targets, with the outputs in feeds replaced by
// their tensors, and returns one tensor for each fetch, which the caller
// closes. Feeds are ordered, not a map, because TensorFlow keeps an executor
// for every order it has seen.
//
// A run cannot be interrupted: TensorFlow's own timeout, tried, only reports
// at the end of the run that it was too long. A context that is done stops a
// run from starting; if that happens meanwhile, the results are thrown away.
// The error then is the context's. Feeds must agree with what the graph says
// of their type and shape; TensorFlow itself does not check the latter and may
// abort.
func (s *Session) Run(ctx context.Context, feeds []Feed, fetches []Output, targets []*Operation) ([]*Tensor, error) {
	return s.run(ctx, feeds, fetches, targets, nil)
}

// Trace is Run, and returns TensorFlow's RunMetadata of the run, serialized: which operation ran
// where and how long. It takes longer than Run.
func (s *Session) Trace(ctx context.Context, feeds []Feed, fetches []Output, targets []*Operation) (results []*Tensor,
	metadata []byte, err error) {
	results, err = s.run(ctx, feeds, fetches, targets, &metadata)
	return results, metadata, err
}

func (s *Session) run(ctx context.Context, feeds []Feed, fetches []Output, targets []*Operation, metadata *[]byte) (
	[]*Tensor, error) {
	const operation = "run a session"
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.handle.acquire(); err != nil {
		return nil, err
	}
	defer s.handle.release()
	inputs, values := make([]cOutput, len(feeds)), make([]unsafe.Pointer, len(feeds))
	for i, feed := range feeds {
		var err error
		if inputs[i], err = feed.Output.check(fmt.Sprintf("%s: feed %d", operation, i), s.graph); err != nil {
			return nil, err
		}
		if feed.Tensor == nil {
			return nil, invalid(operation, "feed %q: the tensor is nil", feed.Output.Op.name)
		}
		if err := feed.Tensor.handle.acquire(); err != nil {
			return nil, fmt.Errorf("libtf: %s: feed %q: %w", operation, feed.Output.Op.name, err)
		}
		defer feed.Tensor.handle.release()
		values[i] = feed.Tensor.handle.pointer
		if err := s.checkFeed(inputs[i], feed); err != nil {
			return nil, err
		}
	}
	outputs := make([]cOutput, len(fetches))
	for i, fetch := range fetches {
		var err error
		if outputs[i], err = fetch.check(fmt.Sprintf("%s: fetch %d", operation, i), s.graph); err != nil {
			return nil, err
		}
	}
	nodes := make([]unsafe.Pointer, len(targets))
	for i, target := range targets {
		if target == nil {
			return nil, invalid(operation, "target %d: the operation is nil (no node of that name?)", i)
		}
		if target.graph.handle != s.graph {
			return nil, invalid(operation, "target %d: node %q belongs to another graph", i, target.name)
		}
		nodes[i] = target.pointer
	}
	var pointers []unsafe.Pointer
	var err error
	if metadata == nil {
		pointers, err = runSession(s.handle.pointer, inputs, values, outputs, nodes)
	} else {
		pointers, *metadata, err = traceSession(s.handle.pointer, inputs, values, outputs, nodes)
	}
	results := make([]*Tensor, len(pointers))
	for i, pointer := range pointers {
		if pointer != nil {
			results[i] = wrapTensor(pointer)
		}
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		CloseAll(results)
		return nil, err
	}
	return results, nil
}

func (s *Session) checkFeed(input cOutput, feed Feed) error {
	const operation = "run a session"
	if dtype := outputType(input); dtype != feed.Tensor.dtype {
		return invalid(operation, "feed %q takes %v, got %v", feed.Output.Op.name, dtype, feed.Tensor.dtype)
	}
	want, err := outputShape(s.graph.pointer, input)
	if err != nil {
		return err
	}
	got := feed.Tensor.shape
	agree := want == nil || len(want) == len(got)
	for i := 0; agree && want != nil && i < len(want); i++ {
		agree = want[i] < 0 || want[i] == got[i]
	}
	if !agree {
		return invalid(operation, "feed %q takes shape %v (-1 is any), got %v", feed.Output.Op.name, want, got)
	}
	return nil
}

// Device is something that runs nodes.
type Device struct {
	Name             string // for example "/job:localhost/replica:0/task:0/device:CPU:0"
	Type             string // "CPU" or "GPU"
	MemoryLimitBytes int64
}

// ListDevices returns the devices that the session can use.
func (s *Session) ListDevices() ([]Device, error) {
	if err := s.handle.acquire(); err != nil {
		return nil, err
	}
	defer s.handle.release()
	return listDevices(s.handle.pointer)
}

// Close waits for the runs in progress and frees the session. Later calls of
// its methods return ErrClosed. Closing again does nothing, nor does closing
// nil.
func (s *Session) Close() error {
	if s == nil {
		return nil
	}
	s.cleanup.Stop()
	s.handle.close()
	return s.handle.wait()
}

// RegisteredKernelsRaw returns a serialised tensorflow.KernelList of the
// kernels that the loaded library has for an op, for all kinds of device
// whether present or not. An unknown op has none.
func RegisteredKernelsRaw(op string) ([]byte, error) {
	if !loaded() {
		return nil, ErrNotLoaded
	}
	if strings.ContainsRune(op, 0) {
		return nil, invalid("list kernels", "op name %q holds a zero byte", op)
	}
	return registeredKernels(op)
}
