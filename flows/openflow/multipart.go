package openflow

import (
	"encoding/binary"
	"fmt"
)

// MultipartType says what a multipart message asks for or carries (OpenFlow 1.5.1 §7.3.5).
type MultipartType uint16

const (
	MultipartDesc        MultipartType = 0
	MultipartFlowDesc    MultipartType = 1
	MultipartGroupDesc   MultipartType = 7
	MultipartMeterStats  MultipartType = 9
	MultipartMeterDesc   MultipartType = 10
	MultipartPortDesc    MultipartType = 13
	MultipartFlowMonitor MultipartType = 16
)

const multipartMore = 1

// ParseMultipart takes the header off a MULTIPART_REPLY. The body aliases f; more
// says that another message with the same xid follows. Each reply holds whole
// entries, which the Parse function of their kind reads one after another.
func ParseMultipart(f Frame) (typ MultipartType, more bool, body []byte, err error) {
	b, err := f.expect(TypeMultipartReply, 8)
	if err != nil {
		return 0, false, nil, err
	}
	return MultipartType(binary.BigEndian.Uint16(b)), binary.BigEndian.Uint16(b[2:])&multipartMore != 0, b[8:], nil
}

// beginMultipart appends the header of a multipart request.
func beginMultipart(b []byte, typ MultipartType, xid uint32) []byte {
	b = begin(b, TypeMultipartRequest, xid)
	b = binary.BigEndian.AppendUint16(b, uint16(typ))
	return pad(b, 6)
}

// entry returns the entry at the start of b, whose first 16 bits are its length,
// and what follows it.
func entry(what string, b []byte, least int) (e, rest []byte, err error) {
	if len(b) < least {
		return nil, nil, errShort(what, len(b), least)
	}
	n := int(binary.BigEndian.Uint16(b))
	if n < least || n > len(b) {
		return nil, nil, fmt.Errorf("openflow: %s: length %d, %d bytes are left", what, n, len(b))
	}
	return b[:n], b[n:], nil
}

// DescRequest asks for the switch's Desc.
type DescRequest struct{}

func (DescRequest) AppendTo(b []byte, xid uint32) ([]byte, error) {
	start := len(b)
	return end(beginMultipart(b, MultipartDesc, xid), start)
}

// Desc is what the switch says of itself.
type Desc struct {
	Manufacturer string // "Nicira, Inc."
	Hardware     string // "Open vSwitch"
	Software     string // "3.1.0"
	Serial       string
	Datapath     string // other_config:dp-desc of the bridge, else "None"
}

// ParseDesc reads the body of a DESC reply.
func ParseDesc(b []byte) (Desc, error) {
	if len(b) != 4*256+32 {
		return Desc{}, errShort("desc", len(b), 4*256+32)
	}
	return Desc{cString(b[:256]), cString(b[256:512]), cString(b[512:768]), cString(b[768:800]), cString(b[800:])}, nil
}

// cString is a string that ends at its first zero byte.
func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
