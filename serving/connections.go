package serving

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// idleConnections closes connections on which nothing happens, those that do nothing for longest first, where others
// need their places.
type idleConnections struct {
	// most is how many connections may be open before idle ones are closed.
	most int

	mu   sync.Mutex
	open int
	idle map[net.Conn]time.Time
}

func newIdleConnections(most int) *idleConnections {
	return &idleConnections{most: most, idle: map[net.Conn]time.Time{}}
}

// changed is http.Server.ConnState.
func (c *idleConnections) changed(connection net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.idle, connection)
	switch state {
	case http.StateNew:
		c.open++
		c.idle[connection] = time.Now()
	case http.StateIdle:
		c.idle[connection] = time.Now()
	case http.StateClosed, http.StateHijacked:
		c.open--
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
