package openflow

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Version is the OpenFlow version spoken: 0x06, OpenFlow 1.5.
const Version = 0x06

// HeaderLen is the length of the header that starts each message:
// version, type, length (16 bits, header included), xid (32 bits).
const HeaderLen = 8

// MaxMessage is the longest message the 16-bit length can express.
const MaxMessage = 0xffff

// Type is a message type, the second byte of the header (OpenFlow 1.5.1 §7.1.1).
type Type uint8

const (
	TypeHello            Type = 0
	TypeError            Type = 1
	TypeEchoRequest      Type = 2
	TypeEchoReply        Type = 3
	TypeExperimenter     Type = 4
	TypeFeaturesRequest  Type = 5
	TypeFeaturesReply    Type = 6
	TypeGetConfigRequest Type = 7
	TypeGetConfigReply   Type = 8
	TypeSetConfig        Type = 9
	TypePacketIn         Type = 10
	TypeFlowRemoved      Type = 11
	TypePortStatus       Type = 12
	TypePacketOut        Type = 13
	TypeFlowMod          Type = 14
	TypeGroupMod         Type = 15
	TypePortMod          Type = 16
	TypeTableMod         Type = 17
	TypeMultipartRequest Type = 18
	TypeMultipartReply   Type = 19
	TypeBarrierRequest   Type = 20
	TypeBarrierReply     Type = 21
	TypeRoleRequest      Type = 24
	TypeRoleReply        Type = 25
	TypeGetAsyncRequest  Type = 26
	TypeGetAsyncReply    Type = 27
	TypeSetAsync         Type = 28
	TypeMeterMod         Type = 29
	TypeRoleStatus       Type = 30
	TypeTableStatus      Type = 31
	TypeRequestForward   Type = 32
	TypeBundleControl    Type = 33
	TypeBundleAdd        Type = 34
	TypeControllerStatus Type = 35
)

var typeNames = [...]string{
	"HELLO", "ERROR", "ECHO_REQUEST", "ECHO_REPLY", "EXPERIMENTER", "FEATURES_REQUEST", "FEATURES_REPLY",
	"GET_CONFIG_REQUEST", "GET_CONFIG_REPLY", "SET_CONFIG", "PACKET_IN", "FLOW_REMOVED", "PORT_STATUS", "PACKET_OUT",
	"FLOW_MOD", "GROUP_MOD", "PORT_MOD", "TABLE_MOD", "MULTIPART_REQUEST", "MULTIPART_REPLY", "BARRIER_REQUEST",
	"BARRIER_REPLY", "", "", "ROLE_REQUEST", "ROLE_REPLY", "GET_ASYNC_REQUEST", "GET_ASYNC_REPLY", "SET_ASYNC",
	"METER_MOD", "ROLE_STATUS", "TABLE_STATUS", "REQUESTFORWARD", "BUNDLE_CONTROL", "BUNDLE_ADD_MESSAGE",
	"CONTROLLER_STATUS",
}

// String returns the name OpenFlow gives the type, without its OFPT_.
func (t Type) String() string {
	if int(t) < len(typeNames) && typeNames[t] != "" {
		return typeNames[t]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Experimenter ids (OpenFlow 1.5.1 §7.2.8).
const (
	experimenterNicira = 0x00002320
)

// Nicira message subtypes (nicira-ext.h of Open vSwitch).
const (
	niciraSetPacketInFormat = 16
	niciraSetControllerID   = 20
	niciraPacketIn2         = 30
)

// A Message is what can be sent. AppendTo appends its wire form to b and
// returns the extended buffer, or b unchanged with an error that says why the
// message cannot be expressed.
type Message interface {
	AppendTo(b []byte, xid uint32) ([]byte, error)
}

// A Frame is one received message, header included: len(f) is the length its
// header claims, and at least HeaderLen.
type Frame []byte

// Version returns the protocol version of the header.
func (f Frame) Version() uint8 { return f[0] }

// Type returns the message type.
func (f Frame) Type() Type { return Type(f[1]) }

// Length returns the length the header claims, header included.
func (f Frame) Length() int { return int(binary.BigEndian.Uint16(f[2:])) }

// XID returns the transaction id.
func (f Frame) XID() uint32 { return binary.BigEndian.Uint32(f[4:]) }

// Body returns what follows the header, aliasing f.
func (f Frame) Body() []byte { return f[HeaderLen:] }

// Experimenter returns the experimenter id and subtype of an EXPERIMENTER
// message and what follows them; ok is false for any other message.
func (f Frame) Experimenter() (id, subtype uint32, body []byte, ok bool) {
	if f.Type() != TypeExperimenter || len(f) < HeaderLen+8 {
		return 0, 0, nil, false
	}
	return binary.BigEndian.Uint32(f[8:]), binary.BigEndian.Uint32(f[12:]), f[16:], true
}

// IsPacketIn reports whether f is an NXT_PACKET_IN2, which PacketIn.Decode reads.
func (f Frame) IsPacketIn() bool {
	id, subtype, _, ok := f.Experimenter()
	return ok && id == experimenterNicira && subtype == niciraPacketIn2
}

// ParseFrame returns b as a Frame if b is exactly one message of this version.
func ParseFrame(b []byte) (Frame, error) {
	if len(b) < HeaderLen {
		return nil, fmt.Errorf("openflow: message of %d bytes is shorter than its header", len(b))
	}
	f := Frame(b)
	if f.Version() != Version {
		return nil, fmt.Errorf("openflow: message has version 0x%02x, want 0x%02x", f.Version(), Version)
	}
	if f.Length() != len(b) {
		return nil, fmt.Errorf("openflow: %v claims %d bytes and has %d", f.Type(), f.Length(), len(b))
	}
	return f, nil
}

// expect checks that f can be read as a message of type t with a body of at least n bytes.
func (f Frame) expect(t Type, n int) ([]byte, error) {
	if len(f) < HeaderLen {
		return nil, errShort("message", len(f), HeaderLen)
	}
	if f.Type() != t {
		return nil, fmt.Errorf("openflow: got %v, want %v", f.Type(), t)
	}
	if len(f)-HeaderLen < n {
		return nil, errShort(t.String(), len(f), HeaderLen+n)
	}
	return f.Body(), nil
}

// ErrTooLong is wrapped by the errors of messages that would be longer than MaxMessage.
var ErrTooLong = errors.New("longer than 65535 bytes")

func errShort(what string, have, need int) error {
	return fmt.Errorf("openflow: %s: length %d, need %d", what, have, need)
}

// begin appends the header of a message, its length still zero; end sets it.
func begin(b []byte, t Type, xid uint32) []byte {
	b = append(b, Version, byte(t), 0, 0)
	return binary.BigEndian.AppendUint32(b, xid)
}

// beginNicira is begin for a Nicira extension message.
func beginNicira(b []byte, subtype, xid uint32) []byte {
	b = begin(b, TypeExperimenter, xid)
	b = binary.BigEndian.AppendUint32(b, experimenterNicira)
	return binary.BigEndian.AppendUint32(b, subtype)
}

// end sets the length of the message that begins at start.
func end(b []byte, start int) ([]byte, error) {
	n := len(b) - start
	if n > MaxMessage {
		t := Type(b[start+1])
		return b[:start], fmt.Errorf("openflow: %v: %w (%d)", t, ErrTooLong, n)
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16(n))
	return b, nil
}

var zeros [64]byte

// pad appends n zero bytes.
func pad(b []byte, n int) []byte { return append(b, zeros[:n]...) }

// align8 returns how many bytes follow n to reach a multiple of 8.
func align8(n int) int { return -n & 7 }

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// properties calls each for the TLVs of b: type, length (header included, padding
// not), value, zero padding to 8 bytes, as OpenFlow 1.5 lays out all its property lists.
func properties(what string, b []byte, each func(typ uint16, value []byte) error) error {
	for len(b) > 0 {
		if len(b) < 4 {
			return errShort(what+": property", len(b), 4)
		}
		typ, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		padded := n + align8(n)
		if n < 4 || padded > len(b) {
			return fmt.Errorf("openflow: %s: property %d has length %d, %d bytes are left", what, typ, n, len(b))
		}
		if err := each(typ, b[4:n]); err != nil {
			return err
		}
		b = b[padded:]
	}
	return nil
}
