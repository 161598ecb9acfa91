package serving

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/internal/inferencepb"
	"github.com/tfconvrnn/go/savedmodels"
)

func newReader(body []byte) io.Reader { return bytes.NewReader(body) }

func decodeAnswer(t testing.TB, response *http.Response) *answer {
	defer response.Body.Close()
	a := &answer{}
	require.NoError(t, json.NewDecoder(response.Body).Decode(a))
	return a
}

func toFloat64(values []float32) []float64 {
	list := make([]float64, len(values))
	for i, v := range values {
		list[i] = float64(v)
	}
	return list
}

// record asks a handler.
func record(handler http.Handler, method, path string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

// serveAt serves until stop is called, which returns what Serve does, and returns the address.
func serveAt(t testing.TB, s *Service, l Listening) (address string, stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	addresses := make(chan net.Addr, 1)
	l.Listening = func(web, calls net.Addr) {
		if web == nil {
			web = calls
		}
		addresses <- web
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	select {
	case a := <-addresses:
		address = a.String()
	case err := <-served:
		require.NoError(t, err)
	}
	return address, func() error {
		cancel()
		return <-served
	}
}

// logRecorder keeps the records of a log.
type logRecorder struct {
	slog.Handler
	mu      sync.Mutex
	records []slog.Record
}

func (l *logRecorder) logger() *slog.Logger { return slog.New(l) }

// Enabled implements slog.Handler.
func (l *logRecorder) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (l *logRecorder) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, r.Clone())
	return nil
}

// attribute is that of the first record with a message.
func (l *logRecorder) attribute(message, name string) (value string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.records {
		if r.Message == message {
			r.Attrs(func(a slog.Attr) bool {
				if a.Key == name {
					value = a.Value.String()
				}
				return true
			})
		}
	}
	return value
}

// recordBody posts a body to a handler.
func recordBody(handler http.Handler, path, contentType, header string, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", path, bytes.NewReader(body))
	r.Host = "localhost"
	r.Header.Set("Content-Type", contentType)
	if header != "" {
		r.Header.Set(binaryHeader, header)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

func marshalled(t testing.TB, m proto.Message) []byte {
	wire, err := proto.Marshal(m)
	require.NoError(t, err)
	return wire
}

func unmarshal(wire []byte, m proto.Message) error { return proto.Unmarshal(wire, m) }

func cloned(m *inferencepb.ModelInferRequest) *inferencepb.ModelInferRequest { return proto.CloneOf(m) }

func lookedUp(t testing.TB) savedmodels.Model {
	model, err := savedmodels.Lookup(testModel)
	require.NoError(t, err)
	return model
}

// grpcClient is a client of a service.
func grpcClient(t testing.TB, s *Service, options ...grpc.DialOption) inferencepb.GRPCInferenceServiceClient {
	return inferencepb.NewGRPCInferenceServiceClient(grpcConnection(t, s, options...))
}

func grpcConnection(t testing.TB, s *Service, options ...grpc.DialOption) *grpc.ClientConn {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := s.GRPC()
	go server.Serve(listener) // ends with Stop
	t.Cleanup(server.Stop)
	connection, err := grpc.NewClient(listener.Addr().String(),
		append(options, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)))...)
	require.NoError(t, err)
	t.Cleanup(func() { connection.Close() })
	return connection
}
