package metadata

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tunbridge/tunbridge/api/model"
	"github.com/tunbridge/tunbridge/flows"
)

// Limits of a request. Nova takes a password of the machine's (RFC 4880's base64) as a body, no more.
const (
	maxBody   = 128 << 10
	maxHeader = 16 << 10
)

// tooLarge is why a request is not passed on.
const tooLarge = "its body is larger than a password may be"

// machine is who asks: the port, where it is, and the address it asks from.
type machine struct {
	port    *model.Port
	network *flows.Network
	view    *flows.View // of its host
	address netip.Addr
}

// http is the server of all connections. The write timeout leaves Nova its own.
func (s *Server) http() *http.Server {
	return &http.Server{
		Handler: http.HandlerFunc(s.serve),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, clientOf{}, c.(*conn).client)
		},
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      novaTimeout + 30*time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// clientOf is the context's key of the client that a connection is of.
type clientOf struct{}

// serve answers one request, within the limits of its port.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	c := r.Context().Value(clientOf{}).(*client)
	at := c.at.Load()
	answer, start := &recorder{ResponseWriter: w}, time.Now()
	defer func() {
		s.counters.answered(answer.status)
		s.clients.answered(c.port, exchangeOf(r, c.address, answer, start))
	}()
	switch {
	case !c.use.requests.Allow():
		w.Header().Set("Retry-After", "1")
		answer.fail(http.StatusTooManyRequests, "too many requests", fmt.Sprintf("the port asks more than %v times a second", c.use.requests.Limit()))
		return
	case r.ContentLength > maxBody:
		answer.fail(http.StatusRequestEntityTooLarge, "request body too large", tooLarge)
		return
	}
	r.Body = http.MaxBytesReader(answer, r.Body, maxBody)
	s.source.serve(answer, r, &machine{at.port.Port, at.network, at.view, c.address})
	s.log.Debug("metadata served", "port", at.port.ID, "method", r.Method, "path", r.URL.Path, "status", answer.status)
}

// listener gives each connection its client.
type listener struct {
	net.Listener
	*Server
}

// Accept accepts a connection that its port may have; others are closed.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
			if client, ok := l.clients.connect(a.AddrPort().Addr().Unmap()); ok {
				return &conn{Conn: c, client: client, release: sync.OnceFunc(func() { l.clients.disconnect(client) })}, nil
			}
		}
		l.counters.refused.Add(1)
		_ = c.Close()
	}
}

// conn is a connection of a client.
type conn struct {
	net.Conn
	client  *client
	release func()
}

// RemoteAddr is the port at the other end.
func (c *conn) RemoteAddr() net.Addr { return portAddr(c.client.port) }

// Close closes the connection.
func (c *conn) Close() error {
	c.release()
	return c.Conn.Close()
}

// portAddr is a port as the address of a connection's other end.
type portAddr uuid.UUID

// Network is "port".
func (portAddr) Network() string { return "port" }

// String is the port's ID.
func (a portAddr) String() string { return uuid.UUID(a).String() }
