package serving

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tfconvrnn/go/internal/explorer"
	"github.com/tfconvrnn/go/savedmodels"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// Service answers requests for models. It is an http.Handler, and GRPC returns its gRPC server.
// All methods are safe for concurrent use. The caller closes it, and the models after it.
type Service struct {
	options  Options
	names    []string
	patterns []string // of all routes
	engine   *engine
	metrics  *metrics
	decoders chan struct{}
	handler  http.Handler
	// patience is how long clients may take beside the time that their bytes need.
	patience time.Duration

	mu       sync.RWMutex
	models   map[string]*served
	page     *explorer.Explorer // when all models are loaded
	stopping bool
	requests sync.WaitGroup // accepted ones
}

// New returns a service of the models of these names, at least one, which are added when they
// are loaded: until then it is alive but not ready. Errors wrap tfconvrnn.ErrUnknownModel or
// tfconvrnn.ErrOption.
func New(names []string, options Options) (*Service, error) {
	if len(names) == 0 {
		return nil, fmt.Errorf("%w: no model to serve", tfconvrnn.ErrOption)
	}
	for i, name := range names {
		if _, err := savedmodels.Lookup(name); err != nil {
			return nil, err
		}
		if slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("%w: model %s is named twice", tfconvrnn.ErrOption, name)
		}
	}
	s := &Service{options: options.withDefaults(), names: slices.Clone(names), metrics: newMetrics(),
		models: map[string]*served{}, decoders: make(chan struct{}, runtime.GOMAXPROCS(0)), patience: 30 * time.Second}
	if _, err := s.options.Preprocessing.Canonical(); err != nil {
		return nil, err
	}
	s.engine = newEngine(&s.options, s.metrics)
	s.metrics.watch(s.engine)
	s.handler = s.routes()
	return s, nil
}

// Add adds a loaded model, which stays the caller's, and runs it once, so that the first
// request needs not wait for what only the first run does. When all models are added the
// service is ready. Errors wrap tfconvrnn.ErrUnknownModel if the service has no model of that
// name, or come from the run.
func (s *Service) Add(ctx context.Context, model *tfconvrnn.Model) error {
	name := model.Info().Name
	if !slices.Contains(s.names, name) {
		return fmt.Errorf("%w: %s is not one of the service's: %s", tfconvrnn.ErrUnknownModel, name,
			strings.Join(s.names, ", "))
	}
	if _, err := model.Plan(tfconvrnn.OnlyLogits(), tfconvrnn.OnDevice(s.options.AtOnce-1)); err != nil {
		return fmt.Errorf("%s cannot compute %d runs at once: %w", name, s.options.AtOnce, err)
	}
	grey, err := tfconvrnn.FromUint8(slices.Repeat([]uint8{128}, imageValues))
	if err != nil {
		return err
	}
	readout := model.Info().Layers[len(model.Info().Layers)-1].Name
	for device := range s.options.AtOnce {
		if _, err := model.Extract(ctx, grey, tfconvrnn.Layers(readout), tfconvrnn.BatchSize(1),
			tfconvrnn.OnDevice(device)); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.models[name] = &served{name: name, model: model, combinations: map[string]bool{}}
	if s.page == nil && len(s.models) == len(s.names) && !s.options.NoPage {
		s.page, err = s.newPage()
	}
	return err
}

// Ready returns nil if all models are added and requests are accepted; otherwise an error that
// wraps ErrNotReady or ErrStopping.
func (s *Service) Ready() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.stopping {
		return ErrStopping
	}
	for _, name := range s.names {
		if s.models[name] == nil {
			return fmt.Errorf("%w: %s is being loaded", ErrNotReady, name)
		}
	}
	return nil
}

// model returns a model that is loaded. The only version is "1".
func (s *Service) model(name, version string) (*served, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !slices.Contains(s.names, name) {
		return nil, fmt.Errorf("%w: %q is not one of the service's: %s", tfconvrnn.ErrUnknownModel, name,
			strings.Join(s.names, ", "))
	}
	if version != "" && version != modelVersion {
		return nil, fmt.Errorf("%w: %s has no version %q, only %s", tfconvrnn.ErrUnknownModel, name, version, modelVersion)
	}
	if m := s.models[name]; m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("%w: %s is being loaded", ErrNotReady, name)
}

const modelVersion = "1"

// accept begins a request that the service finishes whatever happens, unless it is stopping.
// The returned function ends it.
func (s *Service) accept() (done func(), err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.stopping {
		return nil, ErrStopping
	}
	s.requests.Add(1)
	return s.requests.Done, nil
}

// Stop has the service refuse new requests, and waits for those that it has accepted, at most
// as long as ctx. The error is ctx's.
func (s *Service) Stop(ctx context.Context) error {
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.requests.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close stops the service when it has answered what it has accepted. Closing again does
// nothing.
func (s *Service) Close() error {
	err := s.Stop(context.Background())
	s.engine.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.page != nil {
		s.page.Close()
	}
	return err
}

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }
