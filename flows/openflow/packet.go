package openflow

import (
	"encoding/binary"
	"fmt"
)

// PacketOut makes the switch apply actions to a packet (OpenFlow 1.5.1 §7.3.6).
type PacketOut struct {
	InPort  uint32 // what the packet's in_port is; PortController for 0
	Actions Actions
	Data    []byte // the frame
}

func (m PacketOut) AppendTo(b []byte, xid uint32) ([]byte, error) {
	if len(m.Actions) > MaxMessage {
		return b, fmt.Errorf("openflow: packet_out: actions are %w (%d)", ErrTooLong, len(m.Actions))
	}
	start := len(b)
	b = begin(b, TypePacketOut, xid)
	b = binary.BigEndian.AppendUint32(b, noBuffer)
	b = binary.BigEndian.AppendUint16(b, uint16(len(m.Actions)))
	b = pad(b, 2)
	inPort := m.InPort
	if inPort == 0 {
		inPort = PortController
	}
	b = append(b, 0, 1, 0, 12)
	b = binary.BigEndian.AppendUint32(InPort.appendHeader(b, false), inPort)
	b = pad(b, 4)
	b = append(b, m.Actions...)
	return end(append(b, m.Data...), start)
}

// PacketIn is a packet that the switch sent to the controller, in Nicira's second
// form (NXT_PACKET_IN2), which SetPacketInFormat asks for.
type PacketIn struct {
	Packet       []byte // the frame
	TotalLen     uint32 // of the frame before that
	Table        uint8
	Cookie       uint64 // of the flow that sent it; all ones if none
	Reason       Reason
	Metadata     []byte // the fields that aren't in the packet, as OXM: in_port, registers, tunnel …
	UserData     []byte // of the Controller action
	Continuation []byte // opaque; with Controller's Pause
}

// Properties of NXT_PACKET_IN2 (nicira-ext.h of Open vSwitch).
const (
	packetInPacket = iota
	packetInFullLen
	packetInBufferID
	packetInTableID
	packetInCookie
	packetInReason
	packetInMetadata
	packetInUserData
	packetInContinuation
)

// Decode reads an NXT_PACKET_IN2. What p holds then aliases f. It allocates nothing.
func (p *PacketIn) Decode(f Frame) error {
	if len(f) < HeaderLen || !f.IsPacketIn() {
		return fmt.Errorf("openflow: packet_in: not an NXT_PACKET_IN2")
	}
	*p = PacketIn{Cookie: ^uint64(0)}
	full := false
	for b := []byte(f[16:]); len(b) > 0; {
		if len(b) < 4 {
			return errShort("packet_in: property", len(b), 4)
		}
		typ, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		padded := n + align8(n)
		if n < 4 || padded > len(b) {
			return fmt.Errorf("openflow: packet_in: property %d has length %d, %d bytes are left", typ, n, len(b))
		}
		value := b[4:n]
		switch typ {
		case packetInPacket:
			p.Packet = value
		case packetInFullLen:
			if len(value) != 4 {
				return errShort("packet_in: full length", len(value), 4)
			}
			p.TotalLen, full = binary.BigEndian.Uint32(value), true
		case packetInTableID:
			if len(value) < 1 {
				return errShort("packet_in: table", len(value), 1)
			}
			p.Table = value[0]
		case packetInCookie:
			if len(value) != 12 {
				return errShort("packet_in: cookie", len(value), 12)
			}
			p.Cookie = binary.BigEndian.Uint64(value[4:])
		case packetInReason:
			if len(value) < 1 {
				return errShort("packet_in: reason", len(value), 1)
			}
			p.Reason = Reason(value[0])
		case packetInMetadata:
			p.Metadata = value
		case packetInUserData:
			p.UserData = value
		case packetInContinuation:
			p.Continuation = value
		}
		b = b[padded:]
	}
	if !full {
		p.TotalLen = uint32(len(p.Packet))
	}
	return nil
}

// Uint returns a metadata field of up to 64 bits; ok is false if the packet came
// without it, which is how Open vSwitch says that a register or tunnel field is
// zero. A register is found in the XReg it is a part of.
func (p *PacketIn) Uint(f Field) (v uint64, ok bool) {
	whole, shift, mask := f, 0, ^uint64(0)
	if f >= Reg0 && f <= Reg15 && f.Bytes() == 4 {
		whole, shift = f.xreg()
		mask = 0xffffffff
	}
	for b := p.Metadata; len(b) > 0; {
		field, _, head, n, err := oxmHeader(b)
		if err != nil || head+n > len(b) {
			return 0, false
		}
		if field == whole {
			return bigUint(b[head:head+field.Bytes()]).Lo >> shift & mask, true
		}
		b = b[head+n:]
	}
	return 0, false
}

// Match returns the metadata as a match, which allocates.
func (p *PacketIn) Match() Match { return Match(p.Metadata) }

// String is a line for logs.
func (p *PacketIn) String() string {
	return fmt.Sprintf("packet-in table=%d cookie=%#x %v (%d bytes, %v) userdata=%x", p.Table, p.Cookie, p.Match(), p.TotalLen, p.Reason, p.UserData)
}
