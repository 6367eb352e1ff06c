package openflow

import (
	"encoding/binary"
	"fmt"
)

// PortDescRequest asks for ports; the replies are read by ParsePort.
type PortDescRequest struct{ Port uint32 } // PortAny for all

func (m PortDescRequest) AppendTo(b []byte, xid uint32) ([]byte, error) {
	start := len(b)
	b = beginMultipart(b, MultipartPortDesc, xid)
	return end(pad(binary.BigEndian.AppendUint32(b, m.Port), 4), start)
}

// Port is one port of the switch (OpenFlow 1.5.1 §7.2.1).
type Port struct {
	Number uint32
	MAC    MAC
	Name   string // at most 15 bytes of the interface's name
	Config PortConfig
	State  PortState
}

// PortConfig is what was configured.
type PortConfig uint32

const (
	PortDown       PortConfig = 1 << 0
	PortNoReceive  PortConfig = 1 << 2
	PortNoForward  PortConfig = 1 << 5
	PortNoPacketIn PortConfig = 1 << 6
)

// PortState is what the port reports.
type PortState uint32

const (
	PortLinkDown PortState = 1 << 0
	PortBlocked  PortState = 1 << 1
	PortLive     PortState = 1 << 2
)

const portLen = 40

// ParsePort reads the port at the start of a PORT_DESC reply's body and returns what
// follows it.
func ParsePort(b []byte) (p Port, rest []byte, err error) {
	if len(b) < portLen {
		return p, nil, errShort("port", len(b), portLen)
	}
	n := int(binary.BigEndian.Uint16(b[4:]))
	if n < portLen || n > len(b) {
		return p, nil, fmt.Errorf("openflow: port: length %d, %d bytes are left", n, len(b))
	}
	return Port{
		Number: binary.BigEndian.Uint32(b),
		MAC:    MAC(b[8:14]),
		Name:   cString(b[16:32]),
		Config: PortConfig(binary.BigEndian.Uint32(b[32:])),
		State:  PortState(binary.BigEndian.Uint32(b[36:])),
	}, b[n:], nil
}

// PortStatus tells of a port that came, went or changed.
type PortStatus struct {
	Reason PortReason
	Port   Port
}

// PortReason is what happened to a port.
type PortReason uint8

const (
	PortAdded PortReason = iota
	PortDeleted
	PortModified
)

// Decode reads a PORT_STATUS.
func (m *PortStatus) Decode(f Frame) error {
	b, err := f.expect(TypePortStatus, 8+portLen)
	if err != nil {
		return err
	}
	m.Reason = PortReason(b[0])
	m.Port, _, err = ParsePort(b[8:])
	return err
}
