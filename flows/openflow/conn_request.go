package openflow

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// maxErrorData is how much of the refused message an *Error keeps, which is what
// Open vSwitch sends of it.
const maxErrorData = 64

// A MessageError ties an error to the message of the call that it concerns.
type MessageError struct {
	Index   int     // in the call's arguments
	Message Message // messages[Index]
	Err     error   // an *Error when the switch refused it, else why it could not be sent
}

func (e *MessageError) Error() string {
	if m, ok := e.Message.(fmt.Stringer); ok {
		return fmt.Sprintf("message %d, %v: %v", e.Index, m, e.Err)
	}
	return fmt.Sprintf("message %d, %T: %v", e.Index, e.Message, e.Err)
}

func (e *MessageError) Unwrap() error { return e.Err }

// request is a call under way: messages sent under the transaction ids first to
// last, and what ends its wait, the answer to the id fence or an error to that id.
// An error to any of the ids belongs to the call.
type request struct {
	first, last uint32
	want        Type              // of the answer
	part        func(Frame) error // takes the answer, each part of it; may be nil

	refused atomic.Bool   // err is set: a sender need not go on
	done    chan struct{} // closed when the wait is over

	mu    sync.Mutex // held while part runs; guards the rest
	fence uint32
	over  bool   // done is closed, or nobody waits any more
	at    uint32 // the id that err is about
	err   error  // the first
}

// await makes r, whose wait is over, wait for another of its ids.
func (r *request) await(fence uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fence, r.over, r.done = fence, false, make(chan struct{})
}

// begin registers a call, waiting for its turn, so that answers find it. Each
// begun request must be ended.
func (c *Conn) begin(ctx context.Context, r *request) error {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.closing:
		return c.Err()
	}
	r.done = make(chan struct{})
	c.mu.Lock()
	c.pending = append(c.pending, r)
	c.mu.Unlock()
	return nil
}

// end forgets a call. After it the call's part is not running and never will.
func (c *Conn) end(r *request) {
	c.mu.Lock()
	i := slices.Index(c.pending, r)
	c.pending = slices.Delete(c.pending, i, i+1)
	c.mu.Unlock()
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	<-c.slots
}

// wait waits for the answer and returns the first error the call met.
func (c *Conn) wait(ctx context.Context, r *request) error {
	c.out.flush()
	select {
	case <-r.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.closing:
		return c.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// find returns the call that xid belongs to, or nil.
func (c *Conn) find(xid uint32) *request {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.pending {
		if r.first <= xid && xid <= r.last {
			return r
		}
	}
	return nil
}

// answer hands a reply to the call it answers; more says that others follow. A
// reply that nobody waits for answers a call that was given up.
func (c *Conn) answer(f Frame, more bool) error {
	r := c.find(f.XID())
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over || f.XID() != r.fence && f.Type() == r.want {
		return nil
	}
	if f.Type() != r.want {
		return fmt.Errorf("%v to a request that is answered with %v", f.Type(), r.want)
	}
	if r.part != nil && r.err == nil {
		if err := r.part(f); err != nil {
			r.refuse(f.XID(), err)
			more = false
		}
	}
	if !more {
		r.finish()
	}
	return nil
}

// refuse hands an error from the switch to the call it belongs to.
func (c *Conn) refuse(f Frame) {
	err := errorOf(f)
	r := c.find(f.XID())
	if r == nil {
		c.trouble(fmt.Errorf("message %d: %w", f.XID(), err))
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	r.refuse(f.XID(), err)
	if f.XID() == r.fence {
		r.finish()
	}
}

// errorOf is what an ERROR message says, an *Error that does not refer to f.
func errorOf(f Frame) error {
	e := new(Error)
	if err := e.Decode(f); err != nil {
		return fmt.Errorf("error message: %w", err)
	}
	e.Data = bytes.Clone(e.Data[:min(len(e.Data), maxErrorData)])
	return e
}

func (r *request) refuse(xid uint32, err error) {
	if r.err == nil {
		r.at, r.err = xid, err
		r.refused.Store(true)
	}
}

func (r *request) finish() {
	r.over = true
	close(r.done)
}

// ask sends one message and waits for its answer.
func (c *Conn) ask(ctx context.Context, m Message, want Type, part func(Frame) error) error {
	xid := c.xids(1)
	r := &request{first: xid, last: xid, fence: xid, want: want, part: part}
	if err := c.begin(ctx, r); err != nil {
		return err
	}
	defer c.end(r)
	if err := c.queue(xid, m); err != nil {
		return err
	}
	return c.wait(ctx, r)
}

// Do sends messages and a barrier and waits until the switch has carried them out.
// The error is a *MessageError about the first message that the switch refused or
// that could not be encoded: what precedes it took effect, what follows it may
// have. After any other error (ctx's, the connection's) what took effect is not
// known.
func (c *Conn) Do(ctx context.Context, messages ...Message) error {
	first := c.xids(len(messages) + 1)
	barrier := first + uint32(len(messages))
	r := &request{first: first, last: barrier, fence: barrier, want: TypeBarrierReply}
	if err := c.begin(ctx, r); err != nil {
		return err
	}
	defer c.end(r)
	unsent, err := c.queueAll(ctx, r, messages, func(i int) (uint32, Message) {
		return first + uint32(i), messages[i]
	})
	if err != nil {
		return err
	}
	if err := c.queue(barrier, Barrier{}); err != nil {
		return err
	}
	if err := c.wait(ctx, r); err != nil {
		return r.tie(err, first, messages)
	}
	return unsent
}

// queueAll queues what wire makes of each message, as long as none is refused.
// unsent, a *MessageError, is about a message that could not be encoded; err means
// that nothing more can be sent or awaited.
func (c *Conn) queueAll(ctx context.Context, r *request, messages []Message, wire func(i int) (uint32, Message)) (unsent, err error) {
	for i := range messages {
		if r.refused.Load() {
			return nil, nil
		}
		if err := c.room(ctx); err != nil {
			return nil, err
		}
		xid, m := wire(i)
		if err := c.out.append(xid, m, noLimit); err != nil {
			return &MessageError{i, messages[i], err}, nil
		}
	}
	return nil, nil
}

// tie makes of err, the first that the call met, a *MessageError if it is about one
// of messages, the first of which was sent as xid first.
func (r *request) tie(err error, first uint32, messages []Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := int64(r.at) - int64(first); err == r.err && i >= 0 && i < int64(len(messages)) {
		return &MessageError{int(i), messages[i], err}
	}
	return err
}
