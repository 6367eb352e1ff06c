package openflow

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// smallRead is what is kept for reading on a connection that carries only small messages.
const smallRead = 4 << 10

// frameReader cuts the received stream into messages, in place: a Frame refers to
// the buffer and is valid until the next call.
type frameReader struct {
	nc   net.Conn
	buf  []byte
	r, w int // buf[r:w] is received and not yet returned

	burst bool // the last read filled buf: there is more to come

	until time.Time // when not zero the end of all reading, and the rest is not looked at

	quiet, mute time.Duration // silence before probe, and after it
	whole       time.Duration // for a message to arrive
	probe       func() error
	idle        func() // called when all that was received has been returned
}

// next returns the next message, with a sound version and length.
func (in *frameReader) next() (Frame, error) {
	need, probed := HeaderLen, false
	var deadline time.Time // of the message that has begun
	for {
		have := in.w - in.r
		if have >= HeaderLen {
			f := Frame(in.buf[in.r:in.w])
			if err := in.check(f); err != nil {
				return nil, err
			}
			need = f.Length()
			if have >= need {
				in.r += need
				return f[:need:need], nil
			}
		}
		in.room(need)
		in.idle()
		switch {
		case !in.until.IsZero():
			in.nc.SetReadDeadline(in.until)
		case have == 0 && !probed:
			in.nc.SetReadDeadline(time.Now().Add(in.quiet))
		case have == 0:
			in.nc.SetReadDeadline(time.Now().Add(in.mute))
		case deadline.IsZero():
			deadline = time.Now().Add(in.whole)
			in.nc.SetReadDeadline(deadline)
		}
		n, err := in.nc.Read(in.buf[in.w:])
		in.w += n
		in.burst = in.w == len(in.buf)
		switch {
		case n > 0:
		case err == nil: // allowed, if discouraged, by io.Reader
		case errors.Is(err, io.EOF) && have > 0:
			return nil, fmt.Errorf("connection ended in the middle of a message, %d of %d bytes", have, need)
		case errors.Is(err, io.EOF):
			return nil, errors.New("closed by the switch")
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return nil, err
		case have > 0:
			return nil, fmt.Errorf("stalled in the middle of a message, %d of %d bytes", have, need)
		case !in.until.IsZero():
			return nil, errors.New("handshake not completed in time")
		case probed:
			return nil, fmt.Errorf("silent for %s, echo request unanswered", in.quiet+in.mute)
		default:
			probed = true
			in.buf, in.r, in.w = nil, 0, 0
			if err := in.probe(); err != nil {
				return nil, err
			}
		}
	}
}

// check refuses a header that cannot be one of ours.
func (in *frameReader) check(f Frame) error {
	handshake := !in.until.IsZero()
	switch v := f.Version(); {
	case v == 0x16 && handshake:
		return errors.New("it speaks TLS, which is not expected here: give its bridge's controller as tcp:, or the controller a certificate")
	case v == Version || handshake && f.Type() <= TypeError: // a hello may have any version, and its refusal
	default:
		return fmt.Errorf("message with version 0x%02x, not 0x%02x (OpenFlow 1.5)", v, Version)
	}
	if f.Length() < HeaderLen {
		return fmt.Errorf("message with length %d, which is less than its header's", f.Length())
	}
	return nil
}

// room makes space for a message of n bytes from in.r on.
func (in *frameReader) room(n int) {
	if in.r == in.w {
		in.r, in.w = 0, 0
	}
	if in.burst {
		n = max(n, smallRead+1)
	}
	if len(in.buf)-in.r >= n {
		return
	}
	to := in.buf
	if len(to) < n {
		size := smallRead
		if n > size {
			size = MaxMessage + 1
		}
		to = make([]byte, size)
	}
	in.w = copy(to, in.buf[in.r:in.w])
	in.r, in.buf = 0, to
}

// read hands out what the switch sends until the connection ends.
func (c *Conn) read() error {
	for {
		f, err := c.in.next()
		if err != nil {
			return err
		}
		if err := c.dispatch(f); err != nil {
			return err
		}
	}
}

// probe asks a silent switch for a sign of life; anything it sends will do.
func (c *Conn) probe() error {
	return c.reply(c.xids(1), Echo{})
}

// dispatch hands one message to whom it concerns. Its error ends the connection.
func (c *Conn) dispatch(f Frame) error {
	switch f.Type() {
	case TypeEchoRequest:
		return c.reply(f.XID(), Echo{Reply: true, Data: f.Body()})
	case TypeError:
		c.refuse(f)
	case TypeBarrierReply, TypeRoleReply, TypeEchoReply, TypeBundleControl:
		return c.answer(f, false)
	case TypeMultipartReply:
		return c.multipartReply(f)
	case TypeExperimenter:
		if f.IsPacketIn() {
			deliver(c, f, &c.packetIn, c.o.PacketIn)
		}
	case TypePortStatus:
		deliver(c, f, new(PortStatus), c.o.PortStatus)
	case TypeFlowRemoved:
		deliver(c, f, new(FlowRemoved), c.o.FlowRemoved)
	case TypeRoleStatus:
		deliver(c, f, new(RoleStatus), c.o.RoleStatus)
	}
	return nil
}

// deliver decodes f into m for a callback, if there is one.
func deliver[M interface{ Decode(Frame) error }](c *Conn, f Frame, m M, to func(M)) {
	if to == nil {
		return
	}
	if err := m.Decode(f); err != nil {
		c.trouble(fmt.Errorf("%v: %w", f.Type(), err))
		return
	}
	to(m)
}
