package dhcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/tunbridge/tunbridge/api/model"
)

// Lengths of the headers in front of the options: Ethernet II, IPv4 without options, UDP, and BOOTP
// with the magic cookie.
const (
	ethernetLen = 14
	ipv4Len     = 20
	udpLen      = 8
	bootpLen    = 240
)

// Offsets within the BOOTP message (RFC 2131 figure 1):
//
//	 0 op, htype, hlen, hops    4 xid    8 secs    10 flags
//	12 ciaddr   16 yiaddr   20 siaddr   24 giaddr   28 chaddr (16 bytes)
//	44 sname (64 bytes)   108 file (128 bytes)   236 magic cookie   240 options
const (
	atXID    = 4
	atFlags  = 10
	atCiaddr = 12
	atYiaddr = 16
	atSiaddr = 20
	atGiaddr = 24
	atChaddr = 28
	atSname  = 44
	atFile   = 108
	atCookie = 236
)

const (
	cookie        = 0x63825363
	flagBroadcast = 0x8000
)

// request is a client's message. Its slices are parts of the frame.
type request struct {
	source      model.MAC // of the frame: the client, or a relay
	xid         uint32
	flags       uint16
	ciaddr      netip.Addr // the address the client uses; 0.0.0.0: none
	giaddr      netip.Addr // the relay's address; 0.0.0.0: none
	chaddr      model.MAC
	message     MessageType
	requested   netip.Addr // option 50; the zero Addr: none
	server      netip.Addr // option 54; the zero Addr: none
	parameters  []byte     // option 55; empty: everything
	maxSize     int        // option 57, the IP datagram's; 0: not given
	clientID    []byte     // option 61
	fqdn        []byte     // option 81
	ipxe        bool       // it is iPXE: option 175, or its user class (77)
	relayAgent  []byte     // option 82
	overloading byte       // option 52
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", Malformed, fmt.Sprintf(format, args...))
}

// parse reads an untagged Ethernet frame that holds a DHCP request. The UDP checksum is not looked
// at: a guest with checksum offload leaves it unfinished.
func (r *request) parse(frame []byte) error {
	if len(frame) < ethernetLen+ipv4Len {
		return malformed("frame of %d bytes", len(frame))
	}
	if t := binary.BigEndian.Uint16(frame[12:]); t != 0x0800 {
		return malformed("ethertype 0x%04x", t)
	}
	r.source = model.MAC(frame[6:])
	ip := frame[ethernetLen:]
	header, total := int(ip[0]&0x0f)*4, int(binary.BigEndian.Uint16(ip[2:]))
	switch {
	case ip[0]>>4 != 4:
		return malformed("ip version %d", ip[0]>>4)
	case header < ipv4Len || total < header+udpLen || total > len(ip):
		return malformed("ip header of %d and datagram of %d bytes in %d", header, total, len(ip))
	case binary.BigEndian.Uint16(ip[6:])&0x3fff != 0:
		return malformed("fragment")
	case ip[9] != 17:
		return malformed("ip protocol %d", ip[9])
	case checksum(0, ip[:header]) != 0:
		return malformed("ip header checksum")
	}
	udp := ip[header:total]
	if n := int(binary.BigEndian.Uint16(udp[4:])); n < udpLen+bootpLen || n > len(udp) {
		return malformed("udp length %d of %d bytes", n, len(udp))
	} else {
		udp = udp[:n]
	}
	if port := binary.BigEndian.Uint16(udp[2:]); port != serverPort {
		return malformed("udp port %d", port)
	}
	return r.parseMessage(udp[udpLen:])
}

// parseMessage reads the BOOTP message, of at least bootpLen bytes.
func (r *request) parseMessage(b []byte) error {
	const bootRequest, ethernet = 1, 1
	if b[0] != bootRequest || b[1] != ethernet || b[2] != 6 {
		return malformed("op %d, hardware type %d, hardware address of %d bytes", b[0], b[1], b[2])
	}
	if c := binary.BigEndian.Uint32(b[atCookie:]); c != cookie {
		return malformed("magic cookie 0x%08x", c)
	}
	r.xid = binary.BigEndian.Uint32(b[atXID:])
	r.flags = binary.BigEndian.Uint16(b[atFlags:])
	r.ciaddr = netip.AddrFrom4([4]byte(b[atCiaddr:]))
	r.giaddr = netip.AddrFrom4([4]byte(b[atGiaddr:]))
	r.chaddr = model.MAC(b[atChaddr:])
	if err := r.parseOptions(b[bootpLen:]); err != nil {
		return err
	}
	if r.overloading&overloadFile != 0 {
		if err := r.parseOptions(b[atFile:atCookie]); err != nil {
			return err
		}
	}
	if r.overloading&overloadSname != 0 {
		if err := r.parseOptions(b[atSname:atFile]); err != nil {
			return err
		}
	}
	if r.message == 0 {
		return malformed("no message type (BOOTP is not served)")
	}
	return nil
}

// parseOptions reads one field of options (RFC 2132 section 2). A missing end is forgiven.
func (r *request) parseOptions(b []byte) error {
	for len(b) > 0 {
		code := b[0]
		switch {
		case code == optPad:
			b = b[1:]
			continue
		case code == optEnd:
			return nil
		case len(b) < 2 || len(b)-2 < int(b[1]):
			return malformed("option %d goes past the end", code)
		}
		value := b[2 : 2+int(b[1])]
		b = b[2+len(value):]
		if want := fixedLength(code); want != 0 && len(value) != want {
			return malformed("option %d of %d bytes", code, len(value))
		}
		switch code {
		case optRequestedAddress:
			r.requested = netip.AddrFrom4([4]byte(value))
		case optOverload:
			r.overloading |= value[0]
		case optMessageType:
			r.message = MessageType(value[0])
		case optServerID:
			r.server = netip.AddrFrom4([4]byte(value))
		case optParameters:
			r.parameters = value
		case optMaxSize:
			r.maxSize = int(binary.BigEndian.Uint16(value))
		case optClientID:
			r.clientID = value
		case optFQDN:
			r.fqdn = value
		case optUserClass:
			r.ipxe = r.ipxe || bytes.Contains(value, []byte("iPXE"))
		case optIPXE:
			r.ipxe = true
		case optRelayAgent:
			r.relayAgent = value
		}
	}
	return nil
}

// fixedLength is the length that an option we read must have; 0: any.
func fixedLength(code byte) int {
	switch code {
	case optRequestedAddress, optServerID:
		return 4
	case optMaxSize:
		return 2
	case optOverload, optMessageType:
		return 1
	}
	return 0
}

// checksum is the Internet checksum (RFC 1071) of b; sum is that of what goes before, as 16-bit words.
func checksum(sum uint32, b []byte) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
