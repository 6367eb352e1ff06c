package openflow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Options of a connection. In the zero value every duration and size has its
// default, and the switch is not asked for what has no callback.
//
// Callbacks run on the connection's reading goroutine, in the order in which the
// switch sent what they report. They must return at once: while one runs nothing
// else is read, replies included. What they are given may refer to the receive
// buffer and is valid only during the call.
type Options struct {
	HandshakeTimeout time.Duration // for hello and features together; 10 s
	EchoInterval     time.Duration // silence after which the switch is asked for an echo; 5 s
	EchoTimeout      time.Duration // further silence after which it is given up; 10 s
	MessageTimeout   time.Duration // from a message's first byte to its last; 10 s
	WriteTimeout     time.Duration // for the switch to take 64 KiB; 10 s
	Backlog          int           // bytes waiting to be written above which Send answers ErrBacklog; 1 MiB

	PacketIn    func(*PacketIn)    // once Setup has asked for them
	PortStatus  func(*PortStatus)  // once Setup has asked for them
	FlowRemoved func(*FlowRemoved) // once Setup has asked for them
	RoleStatus  func(*RoleStatus)  // another connection became primary
	FlowUpdate  func(*FlowUpdate)  // once Monitor has asked for them

	// Trouble is told of what the connection survives: an error from the switch
	// that answers no call under way (a packet-out's, mostly; an *Error), and a
	// message of sound framing that cannot be decoded, which is then ignored.
	Trouble func(error)
}

func (o Options) withDefaults() Options {
	o.HandshakeTimeout = cmp.Or(o.HandshakeTimeout, 10*time.Second)
	o.EchoInterval = cmp.Or(o.EchoInterval, 5*time.Second)
	o.EchoTimeout = cmp.Or(o.EchoTimeout, 10*time.Second)
	o.MessageTimeout = cmp.Or(o.MessageTimeout, 10*time.Second)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 10*time.Second)
	o.Backlog = cmp.Or(o.Backlog, 1<<20)
	return o
}

// maxPending is how many calls may wait for the switch at the same time on one
// connection; a further one waits for its turn.
const maxPending = 64

// ErrClosed is what a connection ended with when Close ended it.
var ErrClosed = errors.New("connection closed")

// Conn is the controller's side of one OpenFlow 1.5 connection.
//
// One goroutine reads and one writes. What a call sends is encoded in the
// caller's goroutine into the write queue (see writeQueue); what a callback sends
// with Reply the reader writes itself, where it need not wait. The reader hands
// every reply and every error to the call whose transaction id it carries (see
// request), and everything else to a callback of Options. All methods may be
// called by several goroutines; messages of one call stay in their order, those
// of several calls may interleave.
//
// Accept sends hello and a features request and nothing else. A switch treats
// the new connection as EQUAL and would take writes from it, so the caller asks
// for its Role first, and goes on (Setup, a dump, a Bundle) only when that was
// granted.
//
// An idle connection holds 4 KiB for reading and nothing for writing. On two cores
// shared with Open vSwitch 3.1, a bundle of 20,000 flows took 0.15 s (129,000 flows/s,
// ovs-vswitchd being the limit: to a peer that throws them away, 6 million/s and no
// allocation per flow), and reading them back 0.04 s.
type Conn struct {
	nc   net.Conn
	name string // of the switch, in errors
	dpid uint64
	o    Options
	in   frameReader
	out  writeQueue

	packetIn PacketIn // the reader's, reused for each
	replied  bool     // the reader's: Reply was called since it last waited

	writing sync.Mutex // held while something is written, over what follows
	partly  *buffer    // what the reader could not write of what it took; nil: nothing
	once    writeOnce

	xid     atomic.Uint32 // the last one used
	bundle  atomic.Uint32 // the last id used
	slots   chan struct{} // one element per request under way
	mu      sync.Mutex    // guards pending and err
	pending []*request
	err     error

	closing chan struct{} // closed with err set: nothing can be sent or awaited any more
	done    chan struct{} // closed when both goroutines have ended
}

// Accept makes a connection of nc, on which a switch has dialled in: it exchanges
// hello and learns the datapath id. It closes nc when it returns an error, which
// names the peer. The connection does not depend on ctx after Accept.
func Accept(ctx context.Context, nc net.Conn, o Options) (*Conn, error) {
	c := &Conn{
		nc:      nc,
		name:    nc.RemoteAddr().String(),
		o:       o.withDefaults(),
		slots:   make(chan struct{}, maxPending),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
	}
	c.out.ready = make(chan struct{}, 1)
	c.in = frameReader{nc: nc, quiet: c.o.EchoInterval, mute: c.o.EchoTimeout, whole: c.o.MessageTimeout, probe: c.probe, idle: c.writeReplies}
	if s, ok := nc.(syscall.Conn); ok { // TLS is none
		c.once.init(s)
	}

	stop := context.AfterFunc(ctx, func() { nc.Close() })
	err := c.handshake(time.Now().Add(c.o.HandshakeTimeout))
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		nc.Close()
		return nil, c.named(err)
	}
	c.name = fmt.Sprintf("%s (datapath %016x)", c.name, c.dpid)

	readerEnded := make(chan struct{})
	go func() {
		defer close(readerEnded)
		c.fail(c.read())
	}()
	go func() {
		defer close(c.done)
		c.fail(c.write())
		<-readerEnded
	}()
	return c, nil
}

// DatapathID is the datapath id the switch gave, the bridge's identity.
func (c *Conn) DatapathID() uint64 { return c.dpid }

// RemoteAddr is the address the switch dialled from.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// Done is closed when the connection has ended, no callback runs any more and
// every call has been told.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err says why the connection ended, naming the switch; nil while it lives.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection; what was not yet written is lost. It does not wait
// for Done, so that a callback may call it.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	return nil
}

// fail ends the connection because of err; only the first call counts.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = c.named(err)
	c.mu.Unlock()
	close(c.closing)
	c.nc.Close()
}

func (c *Conn) named(err error) error {
	return fmt.Errorf("openflow: switch %s: %w", c.name, err)
}

func (c *Conn) trouble(err error) {
	if c.o.Trouble != nil {
		c.o.Trouble(c.named(err))
	}
}

// xids reserves n > 0 transaction ids that follow each other and returns the first.
// 0 is never used: it is what the switch gives to what it sends unasked.
func (c *Conn) xids(n int) uint32 {
	for {
		last := c.xid.Add(uint32(n))
		if first := last - uint32(n) + 1; first != 0 && first <= last {
			return first
		}
	}
}

// Echo measures how long the switch takes to answer an echo request, queueing on
// both sides included.
func (c *Conn) Echo(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	err := c.ask(ctx, Echo{}, TypeEchoReply, nil)
	return time.Since(start), err
}

// Role asks for a role and returns the role and the generation id that the bridge
// then has. RoleNoChange only asks; its generation id is not looked at, nor is
// RoleEqual's. The bridge remembers the highest generation id over all its
// connections (all ones before the first) and refuses a lower one with an *Error,
// OFPRRFC_STALE; the connection then keeps the role it had, EQUAL at first, in
// which the switch would take writes: it is the caller who must not write.
func (c *Conn) Role(ctx context.Context, role Role, generation uint64) (Role, uint64, error) {
	var got RoleReply
	err := c.ask(ctx, RoleRequest{Role: role, ShortID: 0xffff, GenerationID: generation}, TypeRoleReply, func(f Frame) error {
		return got.Decode(f)
	})
	if err != nil {
		return 0, 0, fmt.Errorf("role %s, generation 0x%016x: %w", role, generation, err)
	}
	return got.Role, got.GenerationID, nil
}

// Setup asks for the asynchronous messages that have a callback and stops the
// others: packet-ins, as NXT_PACKET_IN2, of all that sends to the controller but a
// TTL's end, and flow removals, both only in a role that may write; port status and
// role status in any role.
func (c *Conn) Setup(ctx context.Context) error {
	// Bits are OpenFlow's reasons: OFPR_ (0 to 5 without 2, a TTL's end), OFPPR_, OFPRR_, OFPCRR_.
	wanted := func(yes bool, reasons uint32) uint32 {
		if yes {
			return reasons
		}
		return 0
	}
	packetIn, port := wanted(c.o.PacketIn != nil, 0x3b), wanted(c.o.PortStatus != nil, 0x7)
	removed, role := wanted(c.o.FlowRemoved != nil, 0x3f), wanted(c.o.RoleStatus != nil, 0x3)
	err := c.Do(ctx, SetConfig{MissSendLen: 0xffff}, SetPacketInFormat{}, SetAsync{
		{AsyncPacketInSecondary, 0}, {AsyncPacketIn, packetIn},
		{AsyncPortStatusSecondary, port}, {AsyncPortStatus, port},
		{AsyncFlowRemovedSecondary, 0}, {AsyncFlowRemoved, removed},
		{AsyncRoleStatusSecondary, role}, {AsyncRoleStatus, role},
	})
	if err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	return nil
}
