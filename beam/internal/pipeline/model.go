package pipeline

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/tfconvrnn/go/extraction"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// PanicError is what a panic became.
type PanicError struct {
	Value any
	Stack []byte
}

// Error returns the value, and where it happened.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.Value, e.Stack) }

// process holds the models of this process. Beam makes an instance of a DoFn for each
// bundle that runs at once, and a model takes up to a gigabyte.
var process = struct {
	mu     sync.Mutex
	models map[modelKey]*sharedModel
}{models: map[modelKey]*sharedModel{}}

type modelKey struct {
	plan string
	load Load
}

// sharedModel is a model of this process and the plan that it is for.
type sharedModel struct {
	key   modelKey
	users int // guarded by process.mu

	loaded  sync.Once
	err     error
	plan    *extraction.Plan
	model   *tfconvrnn.Model
	workers chan *extraction.Worker // as many as chunks may be computed at once; nil for one that is yet to be made
}

// acquire returns the model for a plan, which release lets go.
func acquire(ctx context.Context, plan string, load Load) (*sharedModel, error) {
	key := modelKey{plan, load}
	process.mu.Lock()
	m := process.models[key]
	if m == nil {
		m = &sharedModel{key: key}
		process.models[key] = m
	}
	m.users++
	process.mu.Unlock()
	m.loaded.Do(func() { m.err = m.open(ctx) })
	if m.err != nil {
		return nil, errors.Join(m.err, m.release())
	}
	return m, nil
}

func (m *sharedModel) open(ctx context.Context) (err error) {
	// The bundle that loads the model may be given up while others wait for it.
	ctx = context.WithoutCancel(ctx)
	if m.plan, err = extraction.Open(ctx, m.key.plan); err != nil {
		return err
	}
	options, err := m.plan.LoadOptions()
	if err != nil {
		return err
	}
	load := m.key.load
	if load.Store != "" {
		options = append(options, tfconvrnn.WithStore(load.Store))
	}
	if load.Weights != "" {
		options = append(options, tfconvrnn.WithWeights(tfconvrnn.Weights(load.Weights)))
	}
	if load.Device != "" {
		options = append(options, tfconvrnn.WithDevice(tfconvrnn.Device(load.Device)))
	}
	if m.model, err = tfconvrnn.Load(m.plan.Model, options...); err != nil {
		return err
	}
	testHook.loaded()
	count := max(load.Concurrency, 1)
	m.workers = make(chan *extraction.Worker, count)
	for range count {
		m.workers <- nil
	}
	return nil
}

// chunk computes a chunk, when its turn comes.
func (m *sharedModel) chunk(ctx context.Context, chunk int) (record *extraction.ChunkRecord, err error) {
	var worker *extraction.Worker
	select {
	case worker = <-m.workers:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{value, debug.Stack()}
		}
		if err != nil && worker != nil { // it may have stopped anywhere
			worker.Close()
			worker = nil
		}
		m.workers <- worker
	}()
	if worker == nil {
		if worker, err = m.plan.NewWorker(ctx, m.model, extraction.WorkerOptions{}); err != nil {
			return nil, err
		}
	}
	testHook.chunk(chunk)
	return worker.Chunk(ctx, chunk)
}

// release closes the model when nobody uses it any more.
func (m *sharedModel) release() error {
	if m == nil {
		return nil
	}
	process.mu.Lock()
	defer process.mu.Unlock()
	if m.users--; m.users > 0 || process.models[m.key] != m {
		return nil
	}
	delete(process.models, m.key)
	return m.close()
}

func (m *sharedModel) close() (err error) {
	for range cap(m.workers) {
		if worker := <-m.workers; worker != nil {
			err = errors.Join(err, worker.Close())
		}
	}
	if m.model != nil {
		err = errors.Join(err, m.model.Close())
	}
	if m.plan != nil {
		err = errors.Join(err, m.plan.Close())
	}
	return err
}

// Close closes the models of this process that no Teardown has let go. Pipelines must
// have ended.
func Close() error {
	process.mu.Lock()
	defer process.mu.Unlock()
	var err error
	for key, m := range process.models {
		delete(process.models, key)
		err = errors.Join(err, m.close())
	}
	return err
}

// testHook is for tests: what happens when a model is loaded, and before a chunk is
// computed.
var testHook = struct {
	loaded func()
	chunk  func(chunk int)
}{func() {}, func(int) {}}
