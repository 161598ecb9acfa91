package explorer_test

import (
	"context"
	"net/http/httptest"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tfconvrnn/go/internal/explorer"
	"github.com/tfconvrnn/go/tfconvrnn"
)

// sharedStore is a store that lasts as long as the process.
var sharedStore = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "tfconvrnn-test-store") })

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := sharedStore(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// engine computes with models one request after the other.
type engine struct {
	models []explorer.Model
	loaded map[string]*tfconvrnn.Model
	// before, if not nil, is called before each request is computed.
	before func(context.Context, explorer.Request) error
	// computed, if not nil, is called when a layer's timestep was reported.
	computed func(layer, timestep int)
}

func (e *engine) Models() []explorer.Model { return e.models }

func (e *engine) Extract(ctx context.Context, r explorer.Request) (*tfconvrnn.Features, error) {
	if e.before != nil {
		if err := e.before(ctx, r); err != nil {
			return nil, err
		}
	}
	options := r.Options()
	if r.Computed != nil {
		x, err := e.loaded[r.Model].Plan(options...)
		if err != nil {
			return nil, err
		}
		f := &tfconvrnn.Features{}
		for _, l := range x.Layers() {
			f.Layers = append(f.Layers, tfconvrnn.LayerFeatures{LayerOutput: l,
				Data: make([]float32, len(l.Timesteps)*l.Size())})
		}
		options = append(options, tfconvrnn.AsComputed(func(b *tfconvrnn.Batch, layer, timestep int) {
			if values, err := b.Feature(layer, timestep, 0); err == nil {
				copy(f.Layers[layer].Data[timestep*len(values):], values)
				r.Computed(f, layer, timestep)
				if e.computed != nil {
					e.computed(layer, timestep)
				}
			}
		}))
	}
	return e.loaded[r.Model].Extract(ctx, []tfconvrnn.Stimulus{r.Stimulus}, options...)
}

// newEngine loads models with seeded weights.
func newEngine(t testing.TB, names ...string) *engine {
	t.Helper()
	if err := tfconvrnn.RuntimeError(); err != nil {
		require.Empty(t, os.Getenv("TFCONVRNN_REQUIRE_RUNTIME"), "%v", err)
		t.Skipf("no runtime: %v", err)
	}
	store, err := sharedStore()
	require.NoError(t, err)
	e := &engine{loaded: map[string]*tfconvrnn.Model{}}
	for _, name := range names {
		m, err := tfconvrnn.Load(name, tfconvrnn.WithWeights("seeded:1"), tfconvrnn.WithStore(store))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, m.Close()) })
		described, err := explorer.DescribeModel(m, "seeded:1")
		require.NoError(t, err)
		e.models, e.loaded[name] = append(e.models, described), m
	}
	return e
}

// serve serves the explorer of an engine.
func serve(t testing.TB, e explorer.Engine, options explorer.Options) *httptest.Server {
	x := explorer.New(e, options)
	server := httptest.NewServer(x)
	t.Cleanup(func() {
		server.Close()
		x.Close()
	})
	return server
}
