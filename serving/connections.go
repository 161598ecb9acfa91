package serving

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc/stats"
)

// idleConnections closes connections on which no request is answered, those on which nothing happened for longest
// first, where others need their places.
type idleConnections struct {
	// most is how many connections may be open before idle ones are closed.
	most int

	mu   sync.Mutex
	open int
	idle map[net.Conn]time.Time
	// calls is how many calls of gRPC each connection has.
	calls map[net.Conn]int
}

func newIdleConnections(most int) *idleConnections {
	return &idleConnections{most: most, idle: map[net.Conn]time.Time{}, calls: map[net.Conn]int{}}
}

// changed is http.Server.ConnState. A connection is active from when the headers of a request have come: those that
// trickle in hold no place.
func (c *idleConnections) changed(connection net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.open++
		c.idle[connection] = time.Now()
	case http.StateActive:
		delete(c.idle, connection)
	case http.StateIdle:
		c.idle[connection] = time.Now()
	case http.StateClosed, http.StateHijacked:
		delete(c.idle, connection)
		delete(c.calls, connection)
		c.open--
		if of, ok := connection.(*watchedConnection); ok {
			of.gone = true
		}
	}
	if c.open <= c.most {
		return
	}
	var longest net.Conn
	for other, since := range c.idle {
		if other != connection && (longest == nil || since.Before(c.idle[longest])) {
			longest = other
		}
	}
	if longest != nil {
		delete(c.idle, longest)
		go longest.Close() // which reports it as closed
	}
}

// listener tells of the connections of a gRPC server, whose stats.Handler c is.
func (c *idleConnections) listener(of net.Listener) net.Listener { return &watchedListener{of, c} }

type watchedListener struct {
	net.Listener
	connections *idleConnections
}

// Accept implements net.Listener.
func (l *watchedListener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	connection := &watchedConnection{Conn: accepted, connections: l.connections}
	l.connections.changed(connection, http.StateNew)
	return connection, nil
}

type watchedConnection struct {
	net.Conn
	connections *idleConnections
	closed      sync.Once
	gone        bool // connections.mu guards it
}

// Close implements net.Conn.
func (w *watchedConnection) Close() error {
	err := w.Conn.Close()
	w.closed.Do(func() { w.connections.changed(w, http.StateClosed) })
	return err
}

// RemoteAddr is how gRPC tells of which connection it speaks.
func (w *watchedConnection) RemoteAddr() net.Addr { return watchedAddress{w.Conn.RemoteAddr(), w} }

type watchedAddress struct {
	net.Addr
	connection *watchedConnection
}

// connectionKey is where the context of a call has its connection.
type connectionKey struct{}

// TagConn implements stats.Handler.
func (c *idleConnections) TagConn(ctx context.Context, info *stats.ConnTagInfo) context.Context {
	if address, ok := info.RemoteAddr.(watchedAddress); ok {
		return context.WithValue(ctx, connectionKey{}, address.connection)
	}
	return ctx
}

// HandleConn implements stats.Handler.
func (c *idleConnections) HandleConn(context.Context, stats.ConnStats) {}

// callKey is where the context of a call has what is known of it.
type callKey struct{}

type watchedCall struct {
	endless bool // it streams, and may last for ever
	counted bool
}

// TagRPC implements stats.Handler.
func (c *idleConnections) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, callKey{}, &watchedCall{})
}

// HandleRPC implements stats.Handler. A connection is idle unless a call whose message has come is answered: a message
// that trickles in holds no place, nor does one who watches.
func (c *idleConnections) HandleRPC(ctx context.Context, event stats.RPCStats) {
	connection, ok := ctx.Value(connectionKey{}).(*watchedConnection)
	call, known := ctx.Value(callKey{}).(*watchedCall)
	if !ok || !known {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if connection.gone {
		return
	}
	switch event := event.(type) {
	case *stats.Begin:
		call.endless = event.IsClientStream || event.IsServerStream
	case *stats.InPayload:
		if !call.endless && !call.counted {
			call.counted = true
			c.calls[connection]++
			delete(c.idle, connection)
		}
	case *stats.End:
		if !call.counted {
			return
		}
		if c.calls[connection]--; c.calls[connection] == 0 {
			c.idle[connection] = time.Now()
		}
	}
}
