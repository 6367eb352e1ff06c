package openflow

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// handshake exchanges hello and learns the datapath id, alone on the connection.
func (c *Conn) handshake(until time.Time) error {
	c.in.until = until
	c.nc.SetWriteDeadline(until)
	if err := c.write1(c.xids(1), Hello{}); err != nil {
		return err
	}
	f, err := c.in.next()
	if err != nil {
		return fmt.Errorf("awaiting hello: %w", err)
	}
	switch {
	case f.Type() == TypeError:
		return fmt.Errorf("hello: %w", errorOf(f))
	case f.Type() != TypeHello:
		return fmt.Errorf("awaiting hello: got %v", f.Type())
	case !OffersVersion(f):
		c.write1(f.XID(), helloFailed{})
		return fmt.Errorf("it speaks %s but not OpenFlow 1.5: allow it with `ovs-vsctl set bridge BRIDGE protocols=OpenFlow10,OpenFlow13,OpenFlow14,OpenFlow15`", versionsOf(f))
	}
	features := c.xids(1)
	if err := c.write1(features, FeaturesRequest{}); err != nil {
		return err
	}
	for {
		f, err := c.in.next()
		switch {
		case err != nil:
			return fmt.Errorf("awaiting features: %w", err)
		case f.Type() == TypeError:
			// Also the switch's answer to a hello it could not agree with.
			return fmt.Errorf("features: %w", errorOf(f))
		case f.Type() == TypeEchoRequest:
			if err := c.write1(f.XID(), Echo{Reply: true, Data: f.Body()}); err != nil {
				return err
			}
		case f.Type() == TypeFeaturesReply && f.XID() == features:
			var got Features
			if err := got.Decode(f); err != nil {
				return err
			}
			if got.AuxiliaryID != 0 {
				return fmt.Errorf("auxiliary connection %d of datapath %016x: only the main one is wanted", got.AuxiliaryID, got.DatapathID)
			}
			c.dpid = got.DatapathID
			c.in.until = time.Time{}
			return nil
		}
		// Anything else is of no interest yet: a port's status, a packet-in of
		// the form that is spoken before Setup.
	}
}

// write1 writes one message directly.
func (c *Conn) write1(xid uint32, m Message) error {
	b, err := m.AppendTo(nil, xid)
	if err != nil {
		return err
	}
	_, err = c.nc.Write(b)
	return err
}

// helloFailed refuses a peer whose versions are not ours: OFPET_HELLO_FAILED, OFPHFC_INCOMPATIBLE.
type helloFailed struct{}

func (helloFailed) AppendTo(b []byte, xid uint32) ([]byte, error) {
	start := len(b)
	b = append(begin(b, TypeError, xid), 0, 0, 0, 0)
	return end(append(b, "OpenFlow 1.5 is required"...), start)
}

// versionsOf names the versions a HELLO offers.
func versionsOf(f Frame) string {
	bits := uint32(1)<<(min(f.Version(), 31)+1) - 2 // every version up to the header's
	if b := f.Body(); len(b) >= 8 && binary.BigEndian.Uint16(b) == 1 {
		bits = binary.BigEndian.Uint32(b[4:])
	}
	var names []string
	for v, name := range [...]string{"", "OpenFlow 1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6"} {
		if v > 0 && bits&(1<<v) != 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "no known version"
	}
	return strings.Join(names, ", ")
}
