package serving

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/netutil"
	"google.golang.org/grpc"

	"github.com/tfconvrnn/go/tfconvrnn"
)

// Listening says where a Service listens.
type Listening struct {
	// HTTP is the address of HTTP, such as 127.0.0.1:8080, or unix:PATH. Empty: none.
	HTTP string
	// GRPC is the address of gRPC, likewise.
	GRPC string
	// Certificate and Key are the files of TLS, in PEM; both empty for none. They are read
	// again when they have changed.
	Certificate, Key string
	// Insecure lets addresses other than the loopback ones be listened on without
	// Options.Token.
	Insecure bool
	// Drain is the longest that accepted requests may take when the service stops; a minute
	// if it is 0.
	Drain time.Duration
	// Connections is the most connections of each address, 1024 if it is 0. Idle connections beyond three quarters of
	// them are closed.
	Connections int
	// Listening, if not nil, is called with the addresses when they are listened on.
	Listening func(http, grpc net.Addr)
}

// Describe says where a service of these settings listens, as Listening is told: for people.
func (l *Listening) Describe(http, grpc net.Addr) string {
	scheme := "http"
	if l.Certificate != "" {
		scheme = "https"
	}
	var list []string
	switch {
	case http == nil:
	case http.Network() == "unix":
		list = append(list, "HTTP on "+http.String())
	default:
		list = append(list, scheme+"://"+http.String())
	}
	if grpc != nil {
		list = append(list, "gRPC on "+grpc.String())
	}
	return strings.Join(list, ", ")
}

// ErrToken means a token that is none, or too short to be a secret.
var ErrToken = errors.New("unusable token")

// LeastToken is how many characters a token has at least.
const LeastToken = 16

// ReadToken reads a token for Options.Token from a file. Errors wrap ErrToken or are of the file system.
func ReadToken(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	if len(token) < LeastToken {
		return "", fmt.Errorf("%s: %w: the token has %d characters, too few to be a secret; %d are the least", name, ErrToken,
			len(token), LeastToken)
	}
	return token, nil
}

// Serve listens until ctx is done, and then finishes: it accepts nothing more, and answers what
// it has accepted. Errors wrap tfconvrnn.ErrOption where an address must not be listened on, or
// come from listening; where what was accepted did not end in time, context.DeadlineExceeded.
func (s *Service) Serve(ctx context.Context, l Listening) error {
	if l.Drain <= 0 {
		l.Drain = time.Minute
	}
	if l.Connections <= 0 {
		l.Connections = 1024
	}
	certificate, err := l.certificate()
	if err != nil {
		return err
	}
	var addresses [2]net.Addr
	var listeners [2]net.Listener
	for i, address := range []string{l.HTTP, l.GRPC} {
		if address == "" {
			continue
		}
		listener, err := s.listen(address, &l)
		if err != nil {
			for _, other := range listeners {
				if other != nil {
					other.Close()
				}
			}
			return err
		}
		addresses[i], listeners[i] = listener.Addr(), netutil.LimitListener(listener, l.Connections)
	}
	if l.Listening != nil {
		l.Listening(addresses[0], addresses[1])
	}
	web := s.httpServer(certificate)
	// A quarter of the places is left for connections that come while all do something.
	web.ConnState = newIdleConnections(l.Connections * 3 / 4).changed
	ofCalls := newIdleConnections(l.Connections * 3 / 4)
	calls := s.grpcServer(certificate, grpc.StatsHandler(ofCalls))
	failed := make(chan error, 2)
	if listeners[0] != nil {
		go func() {
			if certificate != nil {
				failed <- web.ServeTLS(listeners[0], "", "")
			} else {
				failed <- web.Serve(listeners[0])
			}
		}()
	}
	if listeners[1] != nil {
		go func() { failed <- calls.Serve(ofCalls.listener(listeners[1])) }()
	}
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	return errors.Join(err, s.drain(web, calls, l.Drain))
}

// drain stops servers when they have answered.
func (s *Service) drain(web *http.Server, calls interface {
	GracefulStop()
	Stop()
}, most time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		calls.GracefulStop()
		close(stopped)
	}()
	err := errors.Join(web.Shutdown(ctx), s.Stop(ctx))
	select {
	case <-stopped:
	case <-ctx.Done():
		err = errors.Join(err, ctx.Err())
	}
	if err != nil {
		web.Close()
		calls.Stop()
		return fmt.Errorf("requests were not finished within %v: %w", most, err)
	}
	return nil
}

// httpServer returns a server that slow clients cannot hold.
func (s *Service) httpServer(certificate *tls.Config) *http.Server {
	return &http.Server{
		Handler: s, TLSConfig: certificate,
		ReadHeaderTimeout: s.patience / 3, IdleTimeout: 3 * time.Minute, MaxHeaderBytes: 32 << 10,
		ReadTimeout: 2 * time.Minute,
		// What a handler sets lasts longer or shorter.
		WriteTimeout: 10 * time.Minute,
		ErrorLog:     slog.NewLogLogger(s.options.Log.Handler(), slog.LevelDebug),
	}
}

// listen listens on an address of a machine or unix:PATH.
func (s *Service) listen(address string, l *Listening) (net.Listener, error) {
	path, unix := strings.CutPrefix(address, "unix:")
	if !unix {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("%w: address %q: %w", tfconvrnn.ErrOption, address, err)
		}
		if !loopback(host) && s.options.Token == "" && !l.Insecure {
			return nil, fmt.Errorf("%w: %s can be reached from other machines, and no token keeps them out", tfconvrnn.ErrOption,
				address)
		}
		return net.Listen("tcp", address)
	}
	// A socket that nobody listens on is left from a process that was killed.
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSocket != 0 {
		if connection, err := net.Dial("unix", path); err == nil {
			connection.Close()
			return nil, fmt.Errorf("%w: another process listens on %s", tfconvrnn.ErrOption, path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil { // for its owner alone
		listener.Close()
		return nil, err
	}
	return listener, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

// certificate returns the configuration of TLS, nil for none.
func (l *Listening) certificate() (*tls.Config, error) {
	if l.Certificate == "" && l.Key == "" {
		return nil, nil
	}
	if l.Certificate == "" || l.Key == "" {
		return nil, fmt.Errorf("%w: TLS needs a certificate and its key", tfconvrnn.ErrOption)
	}
	if _, err := tls.LoadX509KeyPair(l.Certificate, l.Key); err != nil {
		return nil, err
	}
	pair := &keyPair{certificate: l.Certificate, key: l.Key}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: pair.get}, nil
}
