package ovsdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Options bounds what a peer may cost. Zero fields take the default.
type Options struct {
	EchoInterval time.Duration // silence after which the peer is asked for an echo; 5 s
	EchoTimeout  time.Duration // what it then has to say anything, to go on in the middle of a message, or to take what we write; 10 s
	MaxMessage   int           // longest message accepted, and most bytes waiting to be written; 16 MiB
	Logger       *slog.Logger  // peculiarities of the peer, at debug level; slog.Default()
}

const (
	maxPending = 64 // requests without a reply
	// slowest is how many EchoTimeouts one message may take in all: a peer that
	// dribbles looks alive while its mirror grows old.
	slowest = 10
)

// ErrClosed is what a session ended with after Close.
var ErrClosed = errors.New("session closed")

// Session is a conversation with one ovsdb-server (RFC 7047). Its methods may
// be called from any goroutine.
type Session struct {
	conn   net.Conn
	o      Options
	done   chan struct{}
	mirror atomic.Pointer[Mirror] // written by the reader alone
	owns   atomic.Bool            // written by the reader alone

	mu      sync.Mutex
	err     error                // why the session ended
	lastID  int                  // of our requests
	pending map[int]replyHandler // our requests without a reply
	out     []byte               // messages to write
	writing bool                 // a goroutine is writing them
	lock    string               // that we asked for
}

// replyHandler takes the reply to a request, in the reader's goroutine: result
// is only valid during the call; refused is the peer's error. What it returns
// ends the session.
type replyHandler func(result []byte, refused error) error

// New starts a session on conn, which it owns from now on and closes. A
// *tls.Conn must have finished its handshake.
func New(conn net.Conn, o Options) *Session {
	if o.EchoInterval <= 0 {
		o.EchoInterval = 5 * time.Second
	}
	if o.EchoTimeout <= 0 {
		o.EchoTimeout = 10 * time.Second
	}
	if o.MaxMessage <= 0 {
		o.MaxMessage = 16 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := &Session{conn: conn, o: o, done: make(chan struct{}), pending: make(map[int]replyHandler)}
	s.mirror.Store(&Mirror{changed: make(chan struct{})})
	go func() { s.fail(s.read()) }()
	return s
}

// Mirror returns the newest mirror. It is empty until Start has returned.
func (s *Session) Mirror() *Mirror { return s.mirror.Load() }

// Done is closed when the session has ended; Err says why.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err is nil while the session lives.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close ends the session. Calls in progress return ErrClosed.
func (s *Session) Close() error {
	s.fail(ErrClosed)
	return nil
}

// RemoteAddr and LocalAddr are the connection's.
func (s *Session) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }
func (s *Session) LocalAddr() net.Addr  { return s.conn.LocalAddr() }

// fail ends the session; the first reason counts.
func (s *Session) fail(err error) {
	s.mu.Lock()
	ended := s.err != nil
	if !ended {
		s.err = fmt.Errorf("ovsdb %s: %w", s.conn.RemoteAddr(), err)
		close(s.done)
	}
	s.mu.Unlock()
	if !ended {
		s.conn.Close() // under TLS it may wait for the peer, so outside the mutex
	}
}

// read is the reader: it handles messages until the session ends, and watches
// the peer's life by read deadlines.
func (s *Session) read() error {
	f := framer{max: s.o.MaxMessage}
	var began time.Time // when the message we are in the middle of began
	asked := false      // for an echo; nothing has come since
	for {
		msg, err := f.next()
		if err != nil {
			return err
		}
		if msg != nil {
			began = time.Time{}
			if err := s.handle(msg); err != nil {
				return err
			}
			continue
		}
		now := time.Now()
		deadline := now.Add(s.o.EchoInterval)
		switch {
		case f.partial() > 0:
			if began.IsZero() {
				began = now
			}
			deadline = now.Add(s.o.EchoTimeout)
			if last := began.Add(slowest * s.o.EchoTimeout); last.Before(deadline) {
				deadline = last
			}
		case asked:
			deadline = now.Add(s.o.EchoTimeout)
		}
		s.conn.SetReadDeadline(deadline)
		n, err := s.conn.Read(f.room())
		f.received(n)
		switch {
		case n > 0:
			asked = false
		case err == nil:
		case err == io.EOF:
			return errors.New("the host closed the connection")
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("read: %w", err)
		case f.partial() > 0:
			return fmt.Errorf("stalled in the middle of a message, after %d bytes", f.partial())
		case asked:
			return fmt.Errorf("no answer to an echo request within %v", s.o.EchoTimeout)
		default:
			asked = true
			if err := s.request("echo", []any{}, func([]byte, error) error { return nil }); err != nil {
				return err
			}
		}
	}
}

// handle takes one message: a reply, a notification or a request.
func (s *Session) handle(msg []byte) error {
	c := cursor{b: msg}
	var method string
	var id, params, result, refused []byte
	for ok := c.first('{', '}'); ok; ok = c.next('}') {
		switch key := c.key(); string(key) {
		case "method":
			method = string(c.text())
		case "id":
			id = c.raw()
		case "params":
			params = c.raw()
		case "result":
			result = c.raw()
		case "error":
			refused = c.raw()
		default:
			c.raw()
		}
	}
	c.end()
	if c.err != nil {
		return fmt.Errorf("malformed message: %w", c.err)
	}
	if method == "" {
		return s.replied(id, result, refused)
	}
	if err := s.notified(method, id, params); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}

func (s *Session) replied(id, result, refused []byte) error {
	c := cursor{b: id}
	n := c.integer()
	c.end()
	s.mu.Lock()
	handler := s.pending[n]
	delete(s.pending, n)
	s.mu.Unlock()
	if c.err != nil || handler == nil {
		return fmt.Errorf("reply with id %.40q, which no request of ours has (error %.200s)", id, refused)
	}
	if len(refused) > 0 && string(refused) != "null" {
		return handler(nil, remoteError(refused))
	}
	return handler(result, nil)
}

// remoteError reads the "error" member of a reply: by RFC 7047 a string, by
// ovsdb-server an object of error, details and syntax.
func remoteError(text []byte) error {
	var object struct{ Error, Details, Syntax string }
	if json.Unmarshal(text, &object) != nil || object.Error == "" {
		return fmt.Errorf("%.200s", text)
	}
	for _, more := range []string{object.Details, object.Syntax} {
		if more != "" {
			object.Error += ": " + more
		}
	}
	return fmt.Errorf("%.1000s", object.Error)
}

// notified takes the peer's notifications, and its requests, which have an id.
func (s *Session) notified(method string, id, params []byte) error {
	if params == nil {
		return errors.New("no params")
	}
	c := &cursor{b: params}
	switch method {
	case "echo":
		return s.send(fmt.Appendf(nil, `{"id":%s,"result":%s,"error":null}`, orNull(id), params))
	case "update3":
		s.updated(c)
	case "locked", "stolen":
		s.lockChanged(c, method == "locked")
	case "monitor_canceled":
		return errors.New("the database is being replaced")
	default:
		s.o.Logger.Debug("ovsdb: unknown method", "peer", s.conn.RemoteAddr(), "method", method)
		if string(orNull(id)) != "null" {
			return s.send(fmt.Appendf(nil, `{"id":%s,"result":null,"error":"unknown method"}`, id))
		}
	}
	return c.err
}

func orNull(id []byte) []byte {
	if id == nil {
		return []byte("null")
	}
	return id
}

// call makes a request and waits for its reply. decode reads the result in the
// reader's goroutine, and may run after call has returned with ctx's error.
func (s *Session) call(ctx context.Context, method string, params any, decode func(*cursor)) error {
	answered := make(chan error, 1)
	err := s.request(method, params, func(result []byte, refused error) error {
		if refused != nil {
			answered <- refused
			return nil
		}
		c := &cursor{b: result}
		decode(c)
		c.end()
		if c.err != nil {
			c.err = fmt.Errorf("reply to %s: %w", method, c.err)
		}
		answered <- c.err
		return c.err
	})
	if err != nil {
		return err
	}
	select {
	case err = <-answered:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-s.done:
	}
	select {
	case err = <-answered: // the reply came first
		return err
	default:
		return s.Err()
	}
}

// request sends a request, whose reply goes to handler.
func (s *Session) request(method string, params any, handler replyHandler) error {
	s.mu.Lock()
	if len(s.pending) >= maxPending {
		s.mu.Unlock()
		return fmt.Errorf("%d requests without a reply", maxPending)
	}
	s.lastID++
	id := s.lastID
	s.pending[id] = handler
	s.mu.Unlock()

	msg, err := json.Marshal(struct {
		Method string `json:"method"`
		Params any    `json:"params"`
		ID     int    `json:"id"`
	}{method, params, id})
	if err == nil {
		err = s.send(msg)
	}
	if err != nil {
		s.mu.Lock()
		delete(s.pending, id)
		s.mu.Unlock()
	}
	return err
}

// send hands a message to the writer and does not wait for it.
func (s *Session) send(msg []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if len(s.out)+len(msg) > s.o.MaxMessage {
		return fmt.Errorf("more than %d bytes waiting to be written", s.o.MaxMessage)
	}
	s.out = append(s.out, msg...)
	if !s.writing {
		s.writing = true
		go s.write()
	}
	return nil
}

// write writes until nothing is left to write.
func (s *Session) write() {
	for {
		s.mu.Lock()
		out := s.out
		s.out = nil
		s.writing = len(out) > 0
		s.mu.Unlock()
		if len(out) == 0 {
			return
		}
		for len(out) > 0 {
			s.conn.SetWriteDeadline(time.Now().Add(s.o.EchoTimeout))
			n, err := s.conn.Write(out[:min(len(out), largeBuffer)])
			if err != nil {
				s.fail(fmt.Errorf("write: %w", err))
				return
			}
			out = out[n:]
		}
	}
}

// Echo asks the peer for a sign of life and waits for it.
func (s *Session) Echo(ctx context.Context) error {
	if err := s.call(ctx, "echo", []any{}, func(c *cursor) { c.raw() }); err != nil {
		return fmt.Errorf("echo: %w", err)
	}
	return nil
}
