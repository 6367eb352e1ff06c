package openflow

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"syscall"
	"time"
)

const (
	// flushAt is how much is gathered before a long burst is handed to the
	// writer, and the most that one write carries.
	flushAt = 64 << 10
	// replyMargin is how far above Options.Backlog replies to the switch's own
	// echo requests may push the queue before the switch is held to read nothing.
	replyMargin = 128 << 10
	// noLimit is for what is bounded otherwise.
	noLimit = math.MaxInt
)

// ErrBacklog is Send's answer while the switch does not take what was sent before.
var ErrBacklog = errors.New("openflow: too much is waiting to be written")

// writeQueue gathers what is to be written. Whoever sends encodes straight into
// buf; the writer takes all of it at once and writes it in pieces of up to flushAt.
// A long burst (Do, Bundle) waits while buf holds flushAt, so it takes no more
// memory than that twice, however many messages it has; Send never waits.
type writeQueue struct {
	mu    sync.Mutex
	buf   *buffer       // nil when empty, so that an idle connection holds none
	taken chan struct{} // closed when the writer takes buf; nil while nobody waits for that
	ready chan struct{} // one element: there is something to take
}

type buffer struct{ b []byte }

// Buffers are shared by all connections, since few write at any moment.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

// append encodes m at the queue's end unless the queue holds limit already.
func (q *writeQueue) append(xid uint32, m Message, limit int) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.buf == nil {
		q.buf = buffers.Get().(*buffer)
	}
	if len(q.buf.b) >= limit {
		return ErrBacklog
	}
	b, err := m.AppendTo(q.buf.b, xid)
	if err == nil {
		q.buf.b = b
	}
	return err
}

// flush lets the writer take what is there.
func (q *writeQueue) flush() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// full returns nil unless the queue holds flushAt, and then what is closed when
// that has been taken.
func (q *writeQueue) full() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.buf == nil || len(q.buf.b) < flushAt {
		return nil
	}
	if q.taken == nil {
		q.taken = make(chan struct{})
	}
	return q.taken
}

// take empties the queue.
func (q *writeQueue) take() *buffer {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.buf
	q.buf = nil
	if q.taken != nil {
		close(q.taken)
		q.taken = nil
	}
	return b
}

// write writes what is queued until the connection ends.
func (c *Conn) write() error {
	for {
		select {
		case <-c.closing:
			return nil
		case <-c.out.ready:
		}
		if err := c.writeAll(); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
}

// writeAll writes what is queued, however long the switch takes to take it.
func (c *Conn) writeAll() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	first := c.partly
	c.partly = nil
	for _, taken := range [...]*buffer{first, c.out.take()} {
		if taken == nil {
			continue
		}
		for b := taken.b; len(b) > 0; {
			n := min(len(b), flushAt)
			c.nc.SetWriteDeadline(time.Now().Add(c.o.WriteTimeout))
			if _, err := c.nc.Write(b[:n]); err != nil {
				return err
			}
			b = b[n:]
		}
		taken.free()
	}
	return nil
}

// free gives a buffer back, unless it is unusually large.
func (b *buffer) free() {
	if cap(b.b) <= 4*flushAt {
		b.b = b.b[:0]
		buffers.Put(b)
	}
}

// Reply is Send for a callback, and only for one: what callbacks reply to packets
// that were received together is written together, by the goroutine that runs them
// as far as the switch takes it at once. It never waits, and copies the message.
func (c *Conn) Reply(m Message) error {
	c.replied = true
	return c.out.append(c.xids(1), m, c.o.Backlog)
}

// writeReplies writes what callbacks replied, before the reader waits for more. That
// saves waking the writer, which costs more than the write; but what does not go at
// once, or comes while the writer is busy, is the writer's.
func (c *Conn) writeReplies() {
	if !c.replied {
		return
	}
	c.replied = false
	if c.once.raw == nil || !c.writing.TryLock() {
		c.out.flush()
		return
	}
	defer c.writing.Unlock()
	if c.partly != nil {
		c.out.flush()
		return
	}
	taken := c.out.take()
	if taken == nil {
		return
	}
	if n := c.once.write(taken.b); n < len(taken.b) {
		taken.b = taken.b[:copy(taken.b, taken.b[n:])]
		c.partly = taken
		c.out.flush()
		return
	}
	taken.free()
}

// writeOnce writes to a connection without waiting.
type writeOnce struct {
	raw syscall.RawConn // nil: not possible
	try func(fd uintptr) (done bool)
	b   []byte
	n   int
}

func (w *writeOnce) init(c syscall.Conn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	w.raw = raw
	w.try = func(fd uintptr) bool {
		n, err := syscall.Write(int(fd), w.b)
		if err != nil { // the writer will meet it, if it lasts
			n = 0
		}
		w.n = n
		return true
	}
}

// write says how much was taken. That is nothing, too, once a deadline that the writer set has passed.
func (w *writeOnce) write(b []byte) int {
	w.b, w.n = b, 0
	_ = w.raw.Write(w.try)
	w.b = nil
	return w.n
}

// Send sends messages without waiting for anything: packet-outs, mostly. It never
// blocks for long; while the switch takes nothing it fails with ErrBacklog, and
// then the messages before the refused one are still sent. What the switch has
// against a message goes to Options.Trouble.
func (c *Conn) Send(messages ...Message) error {
	if len(messages) == 0 {
		return nil
	}
	defer c.out.flush()
	xid := c.xids(len(messages))
	for i, m := range messages {
		select {
		case <-c.closing:
			return c.Err()
		default:
		}
		if err := c.out.append(xid+uint32(i), m, c.o.Backlog); err != nil {
			return &MessageError{i, m, err}
		}
	}
	return nil
}

// reply queues an answer to the switch, or a probe.
func (c *Conn) reply(xid uint32, m Message) error {
	defer c.out.flush()
	if err := c.out.append(xid, m, c.o.Backlog+replyMargin); err != nil {
		return fmt.Errorf("%T: %w", m, err)
	}
	return nil
}

// queue queues one message of a call that waits. It needs no room: of such there are
// no more than maxPending at a time.
func (c *Conn) queue(xid uint32, m Message) error { return c.out.append(xid, m, noLimit) }

// room waits until less than flushAt is queued, before one message of many.
func (c *Conn) room(ctx context.Context) error {
	for {
		taken := c.out.full()
		if taken == nil {
			return nil
		}
		c.out.flush()
		select {
		case <-taken:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.closing:
			return c.Err()
		}
	}
}
