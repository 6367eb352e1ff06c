package dhcp

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"github.com/tunbridge/tunbridge/api/model"
)

// Lengths of headers: IPv6 without extensions, and the DHCPv6 message's own (type and transaction).
const (
	ipv6Len      = 40
	v6MessageLen = 4
)

const (
	etherTypeIPv6  = 0x86dd
	protocolUDP    = 17
	protocolICMPv6 = 58
)

// v6MaxDUID is the longest client identifier (RFC 8415 section 11.1): 128 bytes behind the type.
const v6MaxDUID = 130

// v6Request is a client's message. Its slices are parts of the frame.
type v6Request struct {
	source      model.MAC
	from        netip.Addr // the client's link-local address
	message     V6Message
	transaction [3]byte
	client      []byte // its DUID
	server      []byte // the DUID of the server that is meant; nil: any
	limited     bool   // it said which options it wants
	wanted      []byte // their numbers, two bytes each
	rapidCommit bool
	associates  bool   // it is about addresses or prefixes
	ipxe        bool   // its user class says so
	fqdn        []byte // option 39, its flags and a name; nil: none
	options     []byte // all of them, of right lengths
}

// parseIPv6 reads the headers of an untagged Ethernet frame that holds an IPv6 packet of a protocol, and
// gives what is behind them.
func parseIPv6(frame []byte, protocol byte) (source model.MAC, from netip.Addr, payload []byte, err error) {
	if len(frame) < ethernetLen+ipv6Len {
		return source, from, nil, malformed("frame of %d bytes", len(frame))
	}
	if t := binary.BigEndian.Uint16(frame[12:]); t != etherTypeIPv6 {
		return source, from, nil, malformed("ethertype 0x%04x", t)
	}
	ip := frame[ethernetLen:]
	length := int(binary.BigEndian.Uint16(ip[4:]))
	switch {
	case ip[0]>>4 != 6:
		return source, from, nil, malformed("ip version %d", ip[0]>>4)
	case length > len(ip)-ipv6Len:
		return source, from, nil, malformed("payload of %d bytes in %d", length, len(ip)-ipv6Len)
	case ip[6] != protocol: // extension headers too: no client needs them
		return source, from, nil, malformed("next header %d", ip[6])
	}
	return model.MAC(frame[6:]), netip.AddrFrom16([16]byte(ip[8:])), ip[ipv6Len : ipv6Len+length], nil
}

// parse reads a frame that holds a DHCPv6 message (RFC 8415 section 8). As with IPv4, the UDP checksum
// is not looked at.
func (r *v6Request) parse(frame []byte) (err error) {
	var udp []byte
	if r.source, r.from, udp, err = parseIPv6(frame, protocolUDP); err != nil {
		return err
	}
	switch {
	case !r.from.IsLinkLocalUnicast():
		return malformed("from %s: no link-local address", r.from)
	case len(udp) < udpLen:
		return malformed("udp header of %d bytes", len(udp))
	}
	length := int(binary.BigEndian.Uint16(udp[4:]))
	switch {
	case length < udpLen+v6MessageLen || length > len(udp):
		return malformed("udp length %d of %d bytes", length, len(udp))
	case binary.BigEndian.Uint16(udp[2:]) != v6ServerPort:
		return malformed("udp port %d", binary.BigEndian.Uint16(udp[2:]))
	}
	b := udp[udpLen:length]
	r.message, r.transaction, r.options = V6Message(b[0]), [3]byte(b[1:]), b[v6MessageLen:]
	if r.message == V6RelayForward {
		return nil // its header is another, and it is not for us
	}
	return r.parseOptions()
}

// parseOptions reads the options, and makes sure of the lengths of those that are read again.
func (r *v6Request) parseOptions() error {
	for rest := r.options; len(rest) > 0; {
		code, value, after, ok := v6NextOption(rest)
		if !ok {
			return malformed("option goes past the end")
		}
		rest = after
		switch code {
		case v6OptClientID:
			if len(value) < 3 || len(value) > v6MaxDUID {
				return malformed("DUID of %d bytes", len(value))
			}
			r.client = value
		case v6OptServerID:
			r.server = value
		case v6OptIANA, v6OptIAPD:
			if len(value) < 12 || !v6AddressesFit(value[12:]) {
				return malformed("identity association of %d bytes", len(value))
			}
			r.associates = true
		case v6OptIATA:
			if len(value) < 4 || !v6AddressesFit(value[4:]) {
				return malformed("identity association of %d bytes", len(value))
			}
			r.associates = true
		case v6OptWanted:
			if len(value)%2 != 0 {
				return malformed("option request of %d bytes", len(value))
			}
			r.limited, r.wanted = true, value
		case v6OptRapidCommit:
			r.rapidCommit = true
		case v6OptUserClass:
			r.ipxe = bytes.Contains(value, []byte("iPXE"))
		case v6OptFQDN:
			if len(value) < 1 {
				return malformed("FQDN without flags")
			}
			r.fqdn = value
		}
	}
	return nil
}

// v6NextOption cuts the first option off b (RFC 8415 section 21.1: number and length of two bytes
// each, value).
func v6NextOption(b []byte) (code uint16, value, rest []byte, ok bool) {
	if len(b) < 4 {
		return 0, nil, nil, false
	}
	length := int(binary.BigEndian.Uint16(b[2:]))
	if length > len(b)-4 {
		return 0, nil, nil, false
	}
	return binary.BigEndian.Uint16(b), b[4 : 4+length], b[4+length:], true
}

// v6AddressesFit says whether the options within an identity association are of right lengths.
func v6AddressesFit(b []byte) bool {
	for len(b) > 0 {
		code, value, rest, ok := v6NextOption(b)
		if !ok || code == v6OptAddress && len(value) < 24 {
			return false
		}
		b = rest
	}
	return true
}

// v6NextAddress cuts the options of an identity association, which fit, behind the first address; the
// zero Addr: there is none.
func v6NextAddress(b []byte) (address netip.Addr, rest []byte) {
	for len(b) > 0 {
		code, value, after, _ := v6NextOption(b)
		b = after
		if code == v6OptAddress {
			return netip.AddrFrom16([16]byte(value)), b
		}
	}
	return netip.Addr{}, nil
}

// wants says whether the client wants an option; one that does not say what it wants, gets all.
func (r *v6Request) wants(code uint16) bool {
	for b := r.wanted; len(b) >= 2; b = b[2:] {
		if binary.BigEndian.Uint16(b) == code {
			return true
		}
	}
	return !r.limited
}
